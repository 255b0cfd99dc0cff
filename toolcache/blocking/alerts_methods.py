"""The methods of ``Alerts``, for callers that wait.

Written by tests/blocking_face.py.
"""

import os
from collections.abc import Mapping
from typing import Unpack

from toolcache.alerts.alerts import Alerts, Notices, Rules
from toolcache.alerts.rule import AlertOptions, AlertRule
from toolcache.alerts.state import AlertState
from toolcache.blocking.face import Face
from toolcache.blocking.portal import Portal


class BlockingAlerts(Face):
    """See ``Alerts``."""

    _cache: Alerts

    def __init__(self, room: Alerts, portal: Portal) -> None:
        super().__init__(portal)
        self._cache = room

    def create(self, name: str, **options: Unpack[AlertOptions]) -> AlertRule:
        """Have an alert: it fires when a condition holds, and resolves when it does not any longer.

        It fires once, however long the condition holds, and not again before the cool-down is over. Where it cannot be
        judged, since there were too few calls, or a store is down and others' counts are missing, it stays as it is; what is
        above a threshold by this host's counts alone is above it all the same.

        Args:
            name: by which the processes of the namespace know it.
            options: see ``AlertOptions``.

        Raises:
            ValueError: an option is unknown, missing or out of range, or there is an alert of that name.
            TypeError: one is of a wrong kind.

        Examples:
            >>> cache.alerts.create("redis is down", metric="down_seconds", layer="redis", condition="> 30", cooldown="1h")
        """
        return self._cache.create(name, **options)

    def load(self, path: str | os.PathLike[str], *, environ: Mapping[str, str] | None = None) -> Rules:
        """Have the alerts that a TOML file declares: all of them, or none if one cannot be.

        Args:
            path: of the file.
            environ: where the variables are that it names; the environment unless given.

        Raises:
            SettingsError: it cannot be read, or says what cannot be; the error tells where, and what can be written.
        """
        return self._cache.load(path, environ=environ)

    def from_toml(self, text: str, *, environ: Mapping[str, str] | None = None) -> Rules:
        """The same of a text."""
        return self._cache.from_toml(text, environ=environ)

    def list(self) -> Rules:
        """The alerts that this process has declared."""
        return self._cache.list()

    def remove(self, name: str) -> bool:
        """Have an alert no more, in this process; whether there was one. If it fires, nobody is told that it is over."""
        return self._cache.remove(name)

    def state(self) -> dict[str, AlertState]:
        """How the alerts of the namespace stand, by name, whichever process judges them."""
        return self._call(self._cache.state)

    def history(self) -> Notices:
        """What has fired and resolved in the namespace, the last first: the last fifty."""
        return self._call(self._cache.history)
