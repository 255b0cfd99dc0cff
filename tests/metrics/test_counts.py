"""Counts and spreads add up, whatever is added first, and can be taken apart again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.metrics.record import Record, decode, encode
from toolcache.metrics.snapshot import Process, Snapshot
from toolcache.series import Series
from toolcache.spread import BUCKETS, Spread, bucket_of, middle_of, top_of

numbers = st.integers(0, 2**40)
floats = st.floats(0, 1e12).map(lambda value: round(value, 3))
spreads = st.builds(
    Spread, st.dictionaries(st.integers(0, BUCKETS - 1), st.integers(1, 10**6), min_size=1, max_size=3), floats
) | st.just(Spread())


def built(kind: type) -> st.SearchStrategy:
    kinds = {int: numbers, float: floats, Spread: spreads}
    return st.builds(kind, **{name: kinds[type(value)] for name, value in vars(kind()).items()})


counts, layers, dispatches = built(Counts), built(LayerCounts), built(DispatchCounts)
names = st.text(max_size=20)
series = st.builds(Series, names.filter(bool), names, names, names)


@settings(max_examples=40)
@given(st.lists(counts, max_size=4))
def test_sums_do_not_depend_on_the_order(several: list[Counts]) -> None:
    one, other = Counts.sum(several), Counts.sum(reversed(several))
    assert (one.hits, one.misses, one.latency.counts) == (other.hits, other.misses, other.latency.counts)
    assert one.dollars_spent == pytest.approx(other.dollars_spent)


@settings(max_examples=40)
@given(counts, counts)
def test_what_was_added_can_be_told_again(one: Counts, other: Counts) -> None:
    came = (one + other) - one
    assert came.hits == other.hits
    assert came.misses == other.misses
    assert came.times.count == pytest.approx(other.times.count) or not other.sampled.counts
    assert came.latency.counts == other.latency.counts


@given(st.floats(1e-7, 400))
def test_a_latency_lies_in_its_bucket(latency: float) -> None:
    bucket = bucket_of(latency)
    assert latency <= top_of(bucket) * 1.0001
    assert middle_of(bucket) == pytest.approx(latency, rel=0.11)


def test_quantiles_of_a_spread_are_those_of_its_latencies() -> None:
    latencies = [0.001 * number for number in range(1, 1001)]
    halves = [Spread({}, 0.0), Spread({}, 0.0)]
    for number, latency in enumerate(latencies):
        halves[number % 2] += Spread({bucket_of(latency): 1}, latency)
    spread = halves[0] + halves[1]
    assert spread.count == 1000
    assert spread.longest == 1.0
    assert spread.p50 == pytest.approx(0.5, rel=0.12)
    assert spread.p95 == pytest.approx(0.95, rel=0.12)
    assert spread.p99 == pytest.approx(0.99, rel=0.12)
    assert Spread().p99 == 0.0


def test_hits_of_memory_count_as_many_as_they_were_among_the_times() -> None:
    both = Counts(hits_memory=1024, sampled=Spread({10: 1}, 1e-6), latency=Spread({60: 2}, 0.01)).times
    assert both.count == 1026
    assert both.p50 < 1e-5
    assert both.longest == 0.01


@settings(max_examples=40)
@given(st.dictionaries(series, counts, max_size=3), st.dictionaries(names, layers, max_size=3), dispatches)
def test_a_record_says_again_what_was_written(
    rows: dict[Series, Counts], by_layer: dict[str, LayerCounts], dispatch: DispatchCounts
) -> None:
    snapshot = Snapshot(
        60, 120, series=rows, layers=by_layer, dispatch=dispatch, unit_usd=dict.fromkeys(list(rows)[:1], 0.5)
    )
    process = Process("0" * 16, "host", 7, 1.5, 2.5, 3, 4, 5, 6, "tracking", {"redis": "open"})
    record = Record(process, snapshot, {"sampled": 1})
    assert decode(encode(record), "0" * 16, 60, 120) == record


@given(st.binary(max_size=60))
def test_foreign_bytes_are_no_record(body: bytes) -> None:
    assert decode(body, "0" * 16, 0, 60) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\xa6misses\x05", b"\xa6misses\xc3"),
        (b"\xa6misses\x05", b"\xa6misses\xa1x"),
        (b"\xa1v\x01", b"\xa1v\x02"),
        (b"\xa5other", b"\xc4\x04oth"),
    ],
)
def test_a_record_with_a_field_of_another_kind_is_none(before: bytes, after: bytes) -> None:
    row = Series("other")
    body = encode(Record(Process("0" * 16), Snapshot(0, 60, series={row: Counts(misses=5, hits_memory=1)})))
    assert decode(body, "0" * 16, 0, 60) is not None
    damaged = body.replace(before, after)
    assert damaged != body
    assert decode(damaged, "0" * 16, 0, 60) is None
