"""What tests of alerts share: counts made by hand, and an alert as actions get it."""

from collections.abc import Awaitable, Callable
from typing import Any

from toolcache.alerts import Alert, AlertRule, Alerts, Log
from toolcache.alerts.rule import rule_of
from toolcache.cache import Cache
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Metrics
from toolcache.series import Series

WINDOW = 300.0


def counted(
    *, complete: bool = True, layers: dict[str, LayerCounts] | None = None, series: Series | None = None, **counts: Any
) -> Metrics:
    """What a fleet came to in five minutes, in one series."""
    by = {series or Series("general"): Counts(**counts)}
    return Metrics(1_000.0, 1_000.0 + WINDOW, by, layers=layers or {}, complete=complete)


def rule(name: str = "few hits", **options: Any) -> AlertRule:
    """A rule, about the hit rate unless told otherwise."""
    chosen = {"metric": "hit_rate", "condition": "<", "threshold": 0.5} | options
    return rule_of(name, chosen, lambda given: tuple(given or (Log(),)))


FEW = counted(hits_memory=10, misses=90)
MANY = counted(hits_memory=90, misses=10)


class Fleet:
    """What all processes read: the counts of now."""

    def __init__(self, metrics: Metrics = MANY) -> None:
        self.metrics = metrics
        self.reads = 0
        self.fault: Exception | None = None

    async def read(self, _window: float) -> Metrics:
        """As ``cache.metrics`` does."""
        self.reads += 1
        if self.fault is not None:
            raise self.fault
        return self.metrics


Open = Callable[..., Awaitable["Watcher"]]


class Watcher:
    """A process with alerts: what it was told, and what it is made of."""

    def __init__(self, cache: Cache, fleet: Fleet, domains: Any = tuple) -> None:
        self.cache = cache
        self.fleet = fleet
        self.told: list[Alert] = []
        self.alerts = Alerts(cache._parts, cache._machine.homes, fleet.read, self._begin, domains)
        self.begins = False

    def _begin(self, start: Callable[[], None]) -> None:
        if self.begins:  # else it judges when the test says so
            self.cache._machine.entrance.attend(start)

    async def action(self, alert: Alert) -> None:
        """Keep it."""
        self.told.append(alert)

    def create(self, name: str = "few hits", **options: Any) -> None:
        """Have an alert, about the hit rate unless told otherwise."""
        chosen: dict[str, Any] = {
            "metric": "hit_rate",
            "condition": "< 0.5",
            "cooldown": "15m",
            "actions": [self.action],
        }
        self.alerts.create(name, **chosen | options)

    async def judge(self) -> str:
        """Judge once; who did, and what was told by this process meanwhile."""
        before = len(self.told)
        found = await self.alerts.evaluate()
        await found.delivered()
        told = " ".join(alert.status for alert in self.told[before:])
        return f"{found.where or 'nobody'} {'leads' if found.leads else 'follows'} {told}".strip()


def an_alert(**changes: Any) -> Alert:
    """As actions get it."""
    given: dict[str, Any] = {
        "id": "0123456789abcdef",
        "key": "fedcba9876543210",
        "name": "few hits",
        "status": "firing",
        "metric": "hit_rate",
        "condition": "<",
        "threshold": 0.5,
        "window": WINDOW,
        "value": 0.1,
        "fired_at": 1_000.0,
        "at": 1_000.0,
        "namespace": "test",
        "host": "here",
        "only": {"domain": "search"},
        "text": "few hits: hit_rate is 10 %",
    }
    return Alert(**given | changes)
