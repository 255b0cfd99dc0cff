"""The one list of what is exported: each exporter goes through it, and none knows a number of its own.

Counters are those that never fall while a cache lives: what has to be estimated, and may be estimated anew, is a gauge.
No label holds a key; the values of the labels of series are as many as a cache tells apart, 512.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from toolcache.exporters.reading import Reading
from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.series import Series
from toolcache.spread import BASE, PER_DOUBLING, Spread, middle_of

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]
Row: TypeAlias = tuple[tuple[str, ...], float | Spread]

STATES: Final = {
    "closed": "closed",
    "forced_closed": "closed",
    "half_open": "half_open",
    "open": "open",
    "forced_open": "open",
    "shut": "open",
}
"""Those of a breaker, and which of three each is told as."""

_PARTS: Final = tuple(name for name in Counts._fields if name.startswith("hits_") and name != "hits_semantic")
"""Those of the hits, each of which is in one."""


class Family(NamedTuple):
    """One name, and what it stands for.

    Attributes:
        name: in words joined by ``_``, the unit last; each exporter adds what its own names have besides.
        kind: a counter never falls; a histogram's rows are spreads.
        help: a sentence.
        labels: the names of the labels, besides that of the namespace.
        rows: the values of those labels, and the number.
        bounds: of a histogram, the ends of its buckets in doublings from 0.1 µs.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    rows: Callable[[Reading], Iterator[Row]]
    bounds: tuple[int, ...] = ()

    @property
    def unit(self) -> str:
        """Seconds or bytes, where it has one of these."""
        last = self.name.rpartition("_")[2]
        return last if last in {"seconds", "bytes"} else ""


class Steps(NamedTuple):
    """A spread as a histogram has it.

    Attributes:
        buckets: seconds, and how many did not exceed them; the last, infinite, are all.
        sum: seconds of all together, to about ±10 %.
    """

    buckets: list[tuple[float, float]]
    sum: float


def steps(spread: Spread, bounds: Iterable[int]) -> Steps:
    """Cumulative counts up to each bound; exact, as each of them is the end of a bucket."""
    rows, seen, buckets = sorted(spread.counts.items()), 0.0, list[tuple[float, float]]()
    place = 0
    for bound in bounds:
        while place < len(rows) and rows[place][0] < bound * PER_DOUBLING:
            seen += rows[place][1]
            place += 1
        buckets.append((round(BASE * 2**bound, 7), seen))
    buckets.append((float("inf"), seen + sum(count for _, count in rows[place:])))
    return Steps(buckets, sum(middle_of(bucket) * count for bucket, count in rows))


# -- rows -----------------------------------------------------------------------------------------------------------


def _series(read: Callable[[Counts], Iterable[Row]]) -> Callable[[Reading], Iterator[Row]]:
    """Rows of each series."""

    def rows(reading: Reading) -> Iterator[Row]:
        for series, counts in reading.snapshot.series.items():
            for values, number in read(counts):
                yield (*series, *values), number

    return rows


def _domains(read: Callable[[Counts], Spread]) -> Callable[[Reading], Iterator[Row]]:
    """A row of each domain."""

    def rows(reading: Reading) -> Iterator[Row]:
        for domain, counts in reading.snapshot.by("domain").items():
            yield (domain,), read(counts)

    return rows


def _layers(
    read: Callable[[LayerCounts], Iterable[Row]], *, but: str | None = None
) -> Callable[[Reading], Iterator[Row]]:
    """Rows of each layer."""

    def rows(reading: Reading) -> Iterator[Row]:
        for layer, counts in reading.snapshot.layers.items():
            for values, number in () if layer == but else read(counts):
                yield (layer, *values), number

    return rows


def _dispatch(read: Callable[[DispatchCounts], Iterable[Row]]) -> Callable[[Reading], Iterator[Row]]:
    return lambda reading: iter(read(reading.snapshot.dispatch))


def _one(read: Callable[[Reading], float | None]) -> Callable[[Reading], Iterator[Row]]:
    """One row, or none where there is nothing to tell."""

    def rows(reading: Reading) -> Iterator[Row]:
        number = read(reading)
        if number is not None:
            yield (), number

    return rows


def _fields(*names: str) -> Callable[[object], Iterable[Row]]:
    """The fields of that name, which is the value of a label too."""
    return lambda counts: [((name,), getattr(counts, name)) for name in names]


def _field(name: str) -> Callable[[object], Iterable[Row]]:
    return lambda counts: [((), getattr(counts, name))]


def _lookups(counts: Counts) -> Iterable[Row]:
    hits: list[Row] = [(("hit", name.removeprefix("hits_")), getattr(counts, name)) for name in _PARTS]
    return [*hits, (("miss", ""), counts.misses)]


def _kinds(counts: Counts) -> Iterable[Row]:
    several = {
        "exact": counts.exact,
        "semantic": counts.hits_semantic,
        "stale": counts.stale,
        "refreshed": counts.refreshed,
        "bypassed": counts.bypassed,
    }
    return [((kind,), number) for kind, number in several.items()]


def _layer_lookups(counts: LayerCounts) -> Iterable[Row]:
    return [(("hit",), counts.hits), (("miss",), counts.misses)]


def _ledger(name: str, *, saved: bool = False) -> Callable[[Reading], Iterator[Row]]:
    """A figure of what each series saves; of its unit costs, those that somebody knows."""

    def rows(reading: Reading) -> Iterator[Row]:
        for line in reading.ledger:
            number = getattr(line, name)
            if number or saved:
                yield tuple(line.series), number

    return rows


def _states(reading: Reading) -> dict[str, list[str]]:
    """Of each layer, the states of its breakers."""
    states: dict[str, list[str]] = {}
    for one in reading.witnesses:
        for layer, state in one.breakers.items():
            states.setdefault(layer, []).append(STATES.get(state, "open"))
    return dict(sorted(states.items()))


def _breakers(reading: Reading) -> Iterator[Row]:
    for layer, states in _states(reading).items():
        for state in ("closed", "half_open", "open"):
            yield (layer, state), states.count(state)


def _up(reading: Reading) -> Iterator[Row]:
    for layer, states in _states(reading).items():
        yield (layer,), float("open" not in states)


def _held(name: str) -> Callable[[Reading], Iterator[Row]]:
    return _one(lambda reading: sum(getattr(one, name) for one in reading.processes) if reading.processes else None)


def _pending(reading: Reading) -> float | None:
    """All processes of a host look at the same journal."""
    hosts: dict[str, int] = {}
    for one in reading.processes:
        hosts[one.host] = max(hosts.get(one.host, 0), one.pending)
    return sum(hosts.values()) if reading.processes else None


_BY_SERIES: Final = Series._fields
_SLOW: Final = tuple(range(10, 31))
"""From 0.1 ms to 107 s."""
_FAST: Final = tuple(range(1, 11))
"""From 0.2 µs to 0.1 ms."""

FAMILIES: Final = (
    Family(
        "lookups",
        "counter",
        "Calls that asked for a value: misses, and hits by the layer that answered, or as waited (for another's computation) "
        "or replayed (what runs once).",
        (*_BY_SERIES, "result", "layer"),
        _series(_lookups),
    ),
    Family(
        "calls",
        "counter",
        "Of what kind: hits of the same key (exact) or of a close one (semantic), misses answered by an old value (stale), "
        "values computed although there was one (refreshed), calls past the cache (bypassed).",
        (*_BY_SERIES, "kind"),
        _series(_kinds),
    ),
    Family("sets", "counter", "Values stored by callers.", _BY_SERIES, _series(_field("sets"))),
    Family("deletes", "counter", "Values removed by callers.", _BY_SERIES, _series(_field("deletes"))),
    Family("computed", "counter", "Computations of missing values.", _BY_SERIES, _series(_field("computed"))),
    Family(
        "compute_seconds", "counter", "What these computations took.", _BY_SERIES, _series(_field("compute_seconds"))
    ),
    Family("saved_seconds", "counter", "What computing had taken that hits did not.", _BY_SERIES, _series(_field("seconds_saved"))),
    Family(
        "not_stored", "counter", "Computed values that could not be stored.", _BY_SERIES, _series(_field("not_stored"))
    ),
    Family("evictions", "counter", "Entries that left memory to make room.", _BY_SERIES, _series(_field("evictions"))),
    Family("told", "counter", "Computations that said what they cost.", _BY_SERIES, _series(_field("told"))),
    Family("spent_usd", "counter", "US dollars that they said.", _BY_SERIES, _series(_field("dollars_spent"))),
    Family("spent_tokens", "counter", "Tokens that they said.", _BY_SERIES, _series(_field("tokens_spent"))),
    Family(
        "unit_usd",
        "gauge",
        "US dollars that one computation costs, and a hit saves: as the domain says, or the mean of what was reported.",
        _BY_SERIES,
        _ledger("unit_usd"),
    ),
    Family("unit_tokens", "gauge", "The same in tokens.", _BY_SERIES, _ledger("unit_tokens")),
    Family(
        "saved_usd",
        "gauge",
        "US dollars that hits have saved so far, at what a computation costs by what is known now.",
        _BY_SERIES,
        _ledger("cost_saved", saved=True),
    ),
    Family("saved_tokens", "gauge", "The same in tokens.", _BY_SERIES, _ledger("tokens_saved", saved=True)),
    Family(
        "call_seconds",
        "histogram",
        "Latency of calls that memory did not answer at once; the sum is an estimate.",
        ("domain",),
        _domains(lambda counts: counts.latency),
        _SLOW,
    ),
    Family(
        "memory_hit_seconds",
        "histogram",
        "Latency of a sample of the calls that memory answered; the sum is an estimate.",
        ("domain",),
        _domains(lambda counts: counts.sampled),
        _FAST,
    ),
    Family(
        "layer_lookups",
        "counter",
        "Keys that a layer was asked for.",
        ("layer", "result"),
        _layers(_layer_lookups),
    ),
    Family(
        "layer_operations",
        "counter",
        "What became of a layer's operations: writes; those that failed (faults), that the breaker spared (refused), "
        "whose bytes could not be used (rejected); entries that made room (evictions).",
        ("layer", "kind"),
        _layers(_fields("writes", "faults", "refused", "rejected", "evictions")),
    ),
    Family("breaker_opened", "counter", "How often a breaker opened.", ("layer",), _layers(_field("opened"))),
    Family(
        "layer_down_seconds",
        "counter",
        "How long a layer could not be used, summed over processes.",
        ("layer",),
        _layers(_field("down_seconds")),
    ),
    Family(
        "layer_seconds",
        "histogram",
        "Latency of a layer's operations; the sum is an estimate.",
        ("layer",),
        _layers(lambda counts: [((), counts.latency)], but="memory"),
        _SLOW,
    ),
    Family(
        "dispatch",
        "counter",
        "Requests that run once: what became of them.",
        ("kind",),
        _dispatch(
            _fields(
                *("executions", "replays", "joins", "failures", "timeouts"),
                *("takeovers", "leases_lost", "duplicates", "mismatches", "degraded"),
            )
        ),
    ),
    Family("dispatch_spent_usd", "counter", "US dollars that runs said they cost.", (), _dispatch(_field("cost_usd"))),
    Family("dispatch_spent_tokens", "counter", "Tokens that they said.", (), _dispatch(_field("tokens"))),
    Family(
        "dispatch_saved_usd", "counter", "US dollars that replays did not cost.", (), _dispatch(_field("cost_usd_saved"))
    ),
    Family("dispatch_saved_tokens", "counter", "The same in tokens.", (), _dispatch(_field("tokens_saved"))),
    Family("dispatch_saved_seconds", "counter", "The same in seconds.", (), _dispatch(_field("seconds_saved"))),
    Family("memory_entries", "gauge", "Entries in memory.", (), _held("entries")),
    Family("memory_bytes", "gauge", "What they take.", (), _held("bytes")),
    Family("memory_max_bytes", "gauge", "What they may take.", (), _held("max_bytes")),
    Family("pending_writes", "gauge", "Writes that Redis has not taken yet.", (), _one(_pending)),
    Family(
        "breakers", "gauge", "Processes by the state of a layer's breaker.", ("layer", "state"), _breakers
    ),
    Family("layer_up", "gauge", "1 where no process that runs has the layer's breaker open.", ("layer",), _up),
    Family("processes", "gauge", "Caches that count, in processes that run.", (), _one(lambda one: len(one.processes))),
    Family(
        "complete",
        "gauge",
        "0 where a layer could not be asked, so that counts of others are missing; no counter is told then.",
        (),
        _one(lambda one: float(one.complete)),
    ),
    Family(
        "since_seconds",
        "gauge",
        "When counting began, in seconds since the epoch.",
        (),
        _one(lambda one: one.snapshot.since),
    ),
)  # fmt: skip


def told(reading: Reading) -> Iterator[tuple[Family, Iterator[Row]]]:
    """Each family with its rows. Counters that lack those of others are left out: a gap, where a fall would mislead."""
    for family in FAMILIES:
        if reading.complete or family.kind == "gauge":
            yield family, family.rows(reading)
