"""Tries alert rules: what would be told if the cache came to this and that."""

import os
from collections.abc import Iterable
from typing import Any

from toolcache.alerts import toml
from toolcache.alerts.actions import Log
from toolcache.alerts.judge import judge
from toolcache.alerts.rule import AlertRule, rule_of
from toolcache.alerts.state import AlertState, step
from toolcache.durations import Duration, seconds
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.recorder import plus
from toolcache.metrics.snapshot import Metrics, Snapshot
from toolcache.metrics.spans import MINUTE
from toolcache.series import Series
from toolcache.testing.clock import FakeClock

_WORD = f"https://example.org/{'x' * 32}"
"""Does for a URL and for a secret."""


class AlertTester:
    """Judges rules over counts of your own, on a clock that moves when you say so; tells nobody.

    Args:
        rules: as ``cache.alerts.create`` and ``cache.alerts.load`` return them, or the path of a TOML file, of which the
            environment variables need not be set.
        every: from one round of judging to the next.
        clock: another than one of its own.

    Attributes:
        told: the name of each alert that fired or resolved, and which of both, in order.
        states: how the alerts stand, by name.

    Examples:
        >>> rule = cache.alerts.create("few hits", metric="hit_rate", condition="< 50%", window="5m")
        >>> tester = AlertTester([rule])
        >>> tester.run("10m", hits_memory=10, misses=90)
        >>> tester.run("10m", hits_memory=90, misses=10)
        >>> tester.told
        [('few hits', 'firing'), ('few hits', 'resolved')]
    """

    def __init__(
        self,
        rules: Iterable[AlertRule] | str | os.PathLike[str],
        *,
        every: Duration = "15s",
        clock: FakeClock | None = None,
    ) -> None:
        self.rules = _declared(rules) if isinstance(rules, str | os.PathLike) else [*rules]
        self.told: list[tuple[str, str]] = []
        self.states = {rule.name: AlertState(rule.name) for rule in self.rules}
        self.clock = FakeClock() if clock is None else clock
        self._every = seconds(every, name="every")
        self._counted: dict[int, Snapshot] = {}

    @property
    def firing(self) -> list[str]:
        """The names of the alerts that fire now."""
        return [name for name, state in self.states.items() if state.status == "firing"]

    def run(
        self,
        span: Duration,
        *,
        complete: bool = True,
        domain: str = "general",
        agent: str = "",
        tool: str = "",
        model: str = "",
        layers: dict[str, LayerCounts] | None = None,
        **counts: Any,
    ) -> None:
        """Let time pass in which the cache counts so much in every minute, and judge all along.

        Args:
            span: how long.
            complete: whether all stores can be asked meanwhile.
            domain: where it is counted.
            agent: by whom; so ``tool`` and ``model``.
            tool: of which tool.
            model: of which model.
            layers: what "memory", "redis" and "file" count in every minute.
            counts: fields of ``Counts``, such as ``hits_memory=10, misses=90``.
        """
        left, series = seconds(span, name="span"), Series(domain, agent, tool, model)
        while left > 0:
            passing = min(self._every, left)
            now = self.clock.time()
            share = passing / MINUTE.seconds
            some: dict[str, Any] = {
                name: value * share if isinstance(value, int | float) else value for name, value in counts.items()
            }
            shares = {name: _part(layer, share) for name, layer in (layers or {}).items()}
            self._count(now, Snapshot(now, now + passing, {series: Counts(**some)}, layers=shares))
            self.clock.advance(passing)
            left -= passing
            self.judge(complete=complete)

    def judge(self, metrics: Metrics | None = None, *, complete: bool = True) -> None:
        """Judge once: by what was counted, or by these metrics."""
        for rule in self.rules:
            seen = self._metrics(rule.window, complete=complete) if metrics is None else metrics
            now = self.clock.time()
            self.states[rule.name], told = step(rule, self.states[rule.name], judge(rule, seen), now)
            if told is not None:
                self.told.append((rule.name, told))

    def _count(self, now: float, some: Snapshot) -> None:
        """By the minute, as caches do."""
        minute = MINUTE.begun(now)
        before = self._counted.get(minute)
        self._counted[minute] = some if before is None else plus(before, some)

    def _metrics(self, window: float, *, complete: bool) -> Metrics:
        now = self.clock.time()
        whole = Snapshot(MINUTE.begun(now - window), now)
        points = tuple(point for minute, point in self._counted.items() if minute >= whole.since)
        for point in points:
            whole = plus(whole, point)
        return Metrics(**vars(whole), points=points, complete=complete)


def _part(layer: LayerCounts, share: float) -> LayerCounts:
    numbers = {name: getattr(layer, name) for name in layer._fields if name != "latency"}
    return LayerCounts(**{name: value * share for name, value in numbers.items()}, latency=layer.latency)


class _Anything(dict[str, str]):
    """An environment in which everything is set."""

    def get(self, _name: str, _default: Any = None) -> str:
        return _WORD

    def __getitem__(self, _name: str) -> str:
        return _WORD


def _declared(path: str | os.PathLike[str]) -> list[AlertRule]:
    declared = toml.load(path, _Anything())
    return [rule_of(name, options, lambda _: (Log(),)) for name, options in declared.alerts.items()]
