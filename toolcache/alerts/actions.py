"""What is done when an alert fires or resolves: any callable, or one of these."""

import logging
from typing import Final

from toolcache.alerts.alert import Alert
from toolcache.spelling import nearest

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
logger = logging.getLogger("toolcache.alerts")


class Log:
    """Writes one line to the log ``toolcache.alerts``.

    Args:
        level: of alerts that fire; those that resolve are "info", unless this is lower.

    Raises:
        ValueError: it is no level.
    """

    def __init__(self, level: str = "warning") -> None:
        if not isinstance(level, str) or level.lower() not in LEVELS:
            raise ValueError(f"level: {level!r} is none of {', '.join(LEVELS)}{nearest(str(level), LEVELS)}")
        self.level = level.lower()

    async def __call__(self, alert: Alert, /) -> None:
        """Write it."""
        level = LEVELS[self.level]
        logger.log(level if alert.status == "firing" else min(level, logging.INFO), "%s", alert.text)

    def __repr__(self) -> str:
        return f"Log({self.level!r})"
