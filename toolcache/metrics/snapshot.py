"""Snapshots: what was counted in a span of time, and series of them."""

from collections.abc import Iterator, Mapping
from typing import Literal

from toolcache.fields import Frozen, each
from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.series import Series

Label = Literal["domain", "agent", "tool", "model"]


class Process(Frozen):
    """One cache of a process that has counted.

    Attributes:
        owner: sixteen letters that stand for it.
        host: the name of its host.
        pid: its number there.
        began_at: when the cache was made, in seconds since the epoch.
        seen_at: when it last wrote what it had counted.
        entries: entries in its memory then; ``bytes`` what they took, of ``max_bytes``.
        pending: writes of its host that Redis had not taken then.
        coherence: how its memory learned of others' writes; see ``Health``.
        breakers: the state of each remote layer's breaker.
    """

    owner: str
    host: str = ""
    pid: int = 0
    began_at: float = 0.0
    seen_at: float = 0.0
    entries: int = 0
    bytes: int = 0
    max_bytes: int = 0
    pending: int = 0
    coherence: str = "off"
    breakers: Mapping[str, str] = each(factory=dict)

    def __hash__(self) -> int:
        return hash((self.owner, self.seen_at))


class Snapshot(Frozen):
    """What was counted from one instant to another.

    Attributes:
        since: seconds since the epoch; so ``until``.
        series: the counts of each series; see ``by`` for sums.
        unit_usd: of series whose domain says so, what computing one value costs in US dollars; so ``unit_tokens``.
        layers: the counts of "memory", "redis" and "file", as far as they are configured.
        dispatch: requests that run once.
    """

    since: float
    until: float
    series: Mapping[Series, Counts] = each(factory=dict)
    unit_usd: Mapping[Series, float] = each(factory=dict)
    unit_tokens: Mapping[Series, float] = each(factory=dict)
    layers: Mapping[str, LayerCounts] = each(factory=dict)
    dispatch: DispatchCounts = each(factory=DispatchCounts)

    @property
    def timestamp(self) -> float:
        """When it begins, in seconds since the epoch."""
        return self.since

    @property
    def total(self) -> Counts:
        """All series together."""
        return Counts.sum(self.series.values())

    @property
    def hits(self) -> int:
        """Those of all series."""
        return sum(counts.hits for counts in self.series.values())

    @property
    def misses(self) -> int:
        """Those of all series."""
        return sum(counts.misses for counts in self.series.values())

    @property
    def hit_rate(self) -> float:
        """That of all series."""
        return self.total.hit_rate

    def by(self, label: Label) -> dict[str, Counts]:
        """Sums by one label, such as ``by("domain")``; of the others, what has none is left out."""
        sums: dict[str, list[Counts]] = {}
        for series, counts in self.series.items():
            name = getattr(series, label)
            if name:
                sums.setdefault(name, []).append(counts)
        return {name: Counts.sum(several) for name, several in sorted(sums.items())}

    def __hash__(self) -> int:
        return hash((self.since, self.until))


class Metrics(Snapshot):
    """What a fleet counted in a period: as a whole, and minute by minute, hour by hour or day by day.

    Going through it goes through its ``points``, oldest first.

    Attributes:
        step: seconds that a point spans: 60, 3,600 or 86,400.
        points: one for each step of the period, also where nothing was counted.
        processes: who has counted in the period, the last seen first.
        complete: False where counts may be missing: a layer that is configured could not be asked, or not for all it has, or a newer
            version of the library has written what this one cannot read.

    Examples:
        >>> metrics = await cache.metrics(period="1h")
        >>> for point in metrics:
        ...     print(f"{point.timestamp}: {point.hits} hits, {point.misses} misses")
    """

    step: float = 60.0
    points: tuple[Snapshot, ...] = ()
    processes: tuple[Process, ...] = ()
    complete: bool = True

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)
