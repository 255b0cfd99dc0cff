"""What an action is told."""

from typing import Any

from toolcache.alerts.rule import AlertRule
from toolcache.alerts.state import Change
from toolcache.fields import Frozen, each


class Alert(Frozen):
    """An alert that fires, or has resolved; it tells no key and no value of the cache.

    Attributes:
        id: of this telling alone: whoever gets it twice, which may be, knows by it.
        key: the same of whatever is told of this alert in this namespace: what fires and resolves belongs together by it.
        name: the alert's.
        status: "firing" or "resolved".
        metric: as the rule has it; so ``condition``, ``threshold`` and ``window``.
        value: what the metric came to.
        fired_at: when it fired, in seconds since the epoch.
        at: when this happened.
        namespace: the cache's.
        host: who tells it.
        only: what the rule is about alone, such as ``{"domain": "search"}``.
        text: all of it in one sentence.
    """

    id: str
    key: str
    name: str
    status: Change
    metric: str
    condition: str
    threshold: float
    window: float
    value: float
    fired_at: float
    at: float
    namespace: str
    host: str
    only: dict[str, str] = each(factory=dict)
    text: str = ""

    def __hash__(self) -> int:
        return hash((self.id, self.status))

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {name: getattr(self, name) for name in self._fields}


def sentence(rule: AlertRule, status: Change, value: float, seconds: float) -> str:
    """What has happened, for people."""
    about = ", ".join(f"{label} {name}" for label, name in rule.only.items())
    metric = f"{rule.metric} of {about}" if about else rule.metric
    told = f"{metric} is {rule.shown(value)}"
    if status == "firing":
        return f"{rule.name}: {told} ({rule.condition} {rule.shown(rule.threshold)} over the last {span(rule.window)})"
    return f"{rule.name}: resolved after {span(seconds)}, {told}"


def span(seconds: float) -> str:
    """A span of time in at most two units."""
    left, parts = max(0, round(seconds)), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"
