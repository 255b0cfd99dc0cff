"""What exporters are given in these tests: snapshots of every number, made by hand or at random."""

from typing import Any, Final

from hypothesis import strategies as st

from toolcache.fields import Frozen
from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.series import Series
from toolcache.spread import BUCKETS, Spread

SEARCH: Final = Series("search", agent="planner", tool="web", model="m-1")
PLAIN: Final = Series("general")


def numbers(kind: type[Frozen], step: int) -> dict[str, Any]:
    """Another number for each field that is one."""
    names = [name for name, default in kind._defaults.items() if isinstance(default, int | float)]
    return {name: step * place for place, name in enumerate(names, 1)}


def snapshot() -> Snapshot:
    """One in which no two numbers are the same by accident."""
    spread = Spread({40: 3, 60: 5, 100: 2}, 2.5)
    return Snapshot(
        1_700_000_000.0,
        1_700_000_060.0,
        series={
            SEARCH: Counts(**numbers(Counts, 3), latency=spread, sampled=Spread({10: 7}, 1e-6)),
            PLAIN: Counts(hits_memory=1_000, misses=10),
        },
        unit_usd={SEARCH: 0.25},
        unit_tokens={SEARCH: 1_500.0},
        layers={
            "memory": LayerCounts(**numbers(LayerCounts, 5)),
            "redis": LayerCounts(**numbers(LayerCounts, 7), latency=spread),
        },
        dispatch=DispatchCounts(**numbers(DispatchCounts, 11)),
    )


def process(host: str = "one", seen_at: float = 1_700_000_050.0, **fields: Any) -> Process:
    """One of a fleet."""
    held: dict[str, Any] = {
        "entries": 5,
        "bytes": 700,
        "max_bytes": 1_000,
        "pending": 2,
        "breakers": {"redis": "closed"},
    }
    return Process("0123456789abcdef", host=host, seen_at=seen_at, **held | fields)


def fleet(*processes: Process, complete: bool = True) -> Metrics:
    """The metrics of these."""
    one = snapshot()
    return Metrics(**{name: getattr(one, name) for name in one._fields}, processes=processes, complete=complete)


TEXTS: Final = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["\n", '"', "\\", '\\"', "\\n", 'a\\\nb"c', "{}", ",", "ünï", "\ud800", "# HELP", " ", "\x85\u2028"]
    ),
)
COUNTS: Final = st.integers(0, 2**53)
SPREADS: Final = st.builds(
    lambda counts: Spread(counts, 1.0), st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(0, 10**6), max_size=5)
)
SNAPSHOTS: Final = st.builds(
    Snapshot,
    since=st.just(0.0),
    until=st.just(60.0),
    series=st.dictionaries(
        st.builds(Series, TEXTS, TEXTS, TEXTS, TEXTS),
        st.builds(Counts, hits_memory=COUNTS, misses=COUNTS, latency=SPREADS, sampled=SPREADS),
        max_size=3,
    ),
    layers=st.dictionaries(
        st.sampled_from(["memory", "redis", "file"]), st.builds(LayerCounts, hits=COUNTS, latency=SPREADS)
    ),
)
