"""What is counted, in numbers that add up: over time, over series, over processes."""

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final, Self

from toolcache.fields import Frozen, each
from toolcache.spread import Spread

_FEW: Final = 2


class _Sum(Frozen):
    """Numbers and spreads, each of which adds up."""

    _zeros = dict[str, Any]()  # noqa: RUF012 - an annotation would make it a field

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._zeros = vars(cls())

    def __add__(self, other: Self) -> Self:
        theirs = vars(other)
        return self._made({name: number + theirs[name] for name, number in vars(self).items()})

    def __sub__(self, other: Self) -> Self:
        theirs = vars(other)
        return self._made({name: number - theirs[name] for name, number in vars(self).items()})

    @classmethod
    def having(cls, numbers: Mapping[str, Any]) -> Self:
        """One of these numbers, in which all others are zero."""
        return cls._made({**cls._zeros, **numbers})

    @classmethod
    def sum(cls, several: Iterable[Self]) -> Self:
        """All of them together, column by column: those who read a fleet add up tens of thousands."""
        rows = tuple(several)
        if len(rows) <= _FEW:
            return sum(rows[1:], rows[0]) if rows else cls()
        columns = zip(*map(attrgetter(*cls._fields), rows), strict=True)
        sums = ((Spread.sum if type(column[0]) is Spread else sum)(column) for column in columns)
        return cls._made(dict(zip(cls._fields, sums, strict=True)))

    @classmethod
    def _made(cls, numbers: dict[str, Any]) -> Self:
        """One of all of these, in a fifth of the time that the constructor takes: they are known to be all."""
        made = object.__new__(cls)
        vars(made).update(numbers)
        return made


class Counts(_Sum):
    """What one series, or several together, came to.

    Attributes:
        hits_memory: calls that memory answered.
        hits_redis: calls that Redis answered; so ``hits_file``.
        hits_waited: calls that waited for another's computation, here or in another process.
        hits_replayed: requests that run once and had been; what they save is told in ``DispatchCounts``.
        hits_semantic: of all hits, those by a value close in meaning rather than of the same key.
        misses: calls that found no value good enough.
        stale: of the misses, those answered by a value past its time.
        refreshed: values computed although there was one: ahead of its end, or because the caller wanted a new one.
        bypassed: calls that did not want to know of the cache.
        sets: values stored by callers; ``deletes`` removed by them.
        computed: computations, which took ``compute_seconds`` together.
        not_stored: computed values that could not be stored.
        evictions: entries that left this memory to make room.
        seconds_saved: what computing had taken that the hits did not.
        told: computations that said what they cost; ``dollars_spent`` and ``tokens_spent`` together.
        priced: of those told, the ones that said it in dollars; ``metered`` in tokens.
        unpriced_tokens: of the tokens spent, those of computations that did not say dollars.
        latency: of calls that memory did not answer at once.
        sampled: of a few of those that it did.
    """

    hits_memory: int = 0
    hits_redis: int = 0
    hits_file: int = 0
    hits_waited: int = 0
    hits_replayed: int = 0
    hits_semantic: int = 0
    misses: int = 0
    stale: int = 0
    refreshed: int = 0
    bypassed: int = 0
    sets: int = 0
    deletes: int = 0
    computed: int = 0
    compute_seconds: float = 0.0
    not_stored: int = 0
    evictions: int = 0
    seconds_saved: float = 0.0
    told: int = 0
    dollars_spent: float = 0.0
    tokens_spent: float = 0.0
    priced: int = 0
    metered: int = 0
    unpriced_tokens: float = 0.0
    latency: Spread = each(factory=Spread)
    sampled: Spread = each(factory=Spread)

    @property
    def hits(self) -> int:
        """Calls that were answered by a value in its time."""
        return self.hits_memory + self.hits_redis + self.hits_file + self.hits_waited + self.hits_replayed

    @property
    def exact(self) -> int:
        """Of the hits, those by the same key."""
        return self.hits - self.hits_semantic

    @property
    def hit_rate(self) -> float:
        """The share of hits in hits and misses; 0.0 where there are none."""
        looked = self.hits + self.misses
        return self.hits / looked if looked else 0.0

    @property
    def times(self) -> Spread:
        """Latencies of all calls that read or computed; those of memory's hits are scaled from a sample."""
        return self.sampled.scaled(self.hits_memory) + self.latency


class LayerCounts(_Sum):
    """What one layer came to: "memory", "redis" or "file".

    Attributes:
        hits: keys that were there; ``misses`` that were not.
        writes: entries and marks that it took, or was to take.
        faults: operations that failed; ``refused`` those that the breaker spared.
        rejected: stored bytes that could not be used.
        evictions: entries that made room before their end.
        opened: how often a breaker of its opened.
        down_seconds: how long it could not be used, summed over processes.
        latency: of its operations; of memory a sample.
    """

    hits: int = 0
    misses: int = 0
    writes: int = 0
    faults: int = 0
    refused: int = 0
    rejected: int = 0
    evictions: int = 0
    opened: int = 0
    down_seconds: float = 0.0
    latency: Spread = each(factory=Spread)

    @property
    def hit_rate(self) -> float:
        """The share of hits in hits and misses; 0.0 where there are none."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0


class DispatchCounts(_Sum):
    """Requests that run once; the fields are those of ``DispatchStats``, which says what each one counts."""

    executions: int = 0
    replays: int = 0
    joins: int = 0
    failures: int = 0
    timeouts: int = 0
    takeovers: int = 0
    leases_lost: int = 0
    duplicates: int = 0
    mismatches: int = 0
    degraded: int = 0
    seconds_saved: float = 0.0
    cost_usd: float = 0.0
    tokens: int = 0
    cost_usd_saved: float = 0.0
    tokens_saved: int = 0
