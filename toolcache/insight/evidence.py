"""The evidence: what was counted and what was sampled in a period, by all who share the stores."""

from collections.abc import Mapping
from typing import Final

from toolcache.durations import Duration, seconds
from toolcache.fields import Frozen, each
from toolcache.insight.sketch import Sketch
from toolcache.machine import Machine
from toolcache.metrics.counts import Counts
from toolcache.metrics.snapshot import Metrics, Snapshot
from toolcache.metrics.spans import DAY, Reach
from toolcache.pieces import Pieces

_DAY: Final = 86_400.0
_HOUR: Final = 3_600.0


class Evidence(Frozen):
    """What advice is given on.

    Attributes:
        counted: what was counted in the period.
        sketch: what was sampled, of whole days.
        max_bytes: what memory may take now; so ``max_entries``.
        ttls: how long values live now, in seconds, by domain; None for ever.
        near: whether there is nothing below memory.
    """

    counted: Snapshot
    sketch: Sketch
    max_bytes: int
    max_entries: int | None = None
    ttls: Mapping[str, float | None] = each(factory=dict)
    near: bool = True

    @property
    def memory_rate(self) -> float:
        """The share of lookups that memory has answered."""
        counts = self.counted.total
        looked = counts.hits + counts.misses
        return counts.hits_memory / looked if looked else 0.0

    def of(self, domain: str | None) -> Counts:
        """The counts of a domain, or of all."""
        return self.counted.total if domain is None else self.counted.by("domain").get(domain, Counts())

    def a_day(self, lookups: float) -> float:
        """How many that would be in a day, of so many in the time of the sketch; a short one is taken for an hour."""
        return lookups * _DAY / max(_HOUR, self.sketch.until - self.sketch.since)

    def unit_usd(self, domain: str) -> float:
        """What computing one value costs, in US dollars: as the domain says, or on the average of what computations told."""
        own = [usd for series, usd in self.counted.unit_usd.items() if series.domain == domain]
        counts = self.of(domain)
        if own:
            return sum(own) / len(own)
        return counts.dollars_spent / counts.told if counts.told else 0.0

    def mean_usd(self) -> float:
        """The same on the average of all lookups."""
        domains = self.sketch.domains
        asked = sum(one.asked for one in domains.values())
        return sum(self.unit_usd(name) * one.asked for name, one in domains.items()) / asked if asked else 0.0


async def gather(machine: Machine, period: Duration, ttls: Mapping[str, float | None]) -> Evidence:
    """The evidence of a period."""
    counted = await machine.history.metrics(period)
    parts = machine.parts
    now = parts.clock.time()
    today, first = DAY.begun(now), DAY.begun(now - seconds(period, name="period"))
    days = Reach(DAY, (today - first) // DAY.seconds + 1)
    records, _ = await machine.history.records(days, now)
    own = None if machine.recorder is None else machine.recorder.owner
    others = [
        (at, one) for at, several in records.items() for one in several if (one.process.owner, at) != (own, today)
    ]
    sketch = Sketch() if machine.insight is None else machine.insight.own()
    async for some in Pieces(others):
        read = [(at, Sketch.read(record.sketch)) for at, record in some]
        sketch += Sketch.sum(one for at, one in read if one is not None and at <= one.since < at + DAY.seconds)
    return Evidence(
        counted=counted,
        sketch=sketch,
        max_bytes=parts.memory.max_bytes if machine.insight else _room(counted) or parts.memory.max_bytes,
        max_entries=parts.memory.max_entries if machine.insight else None,
        ttls=ttls,
        near=parts.redis is None and parts.files is None,
    )


def _room(counted: Metrics) -> int:
    """What the memory of those who count may take: the most that any has."""
    return max((one.max_bytes for one in counted.processes), default=0)
