"""Sketches add up, are small, and nothing that is none is believed."""

import random
import struct
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import pytest
from followed import Followed
from hypothesis import given, settings
from hypothesis import strategies as st
from msgpack import packb, unpackb

from toolcache.cache import Cache
from toolcache.insight.analysis import LOOKUPS, analysis_of
from toolcache.insight.curve import curve_of
from toolcache.insight.evidence import Evidence
from toolcache.insight.scales import BYTES_BUCKETS, ENTRIES_BUCKETS, LIFETIMES
from toolcache.insight.sketch import Clue, DomainSketch, Sketch, merge
from toolcache.insight.watching import Insight
from toolcache.memory.lru import LRU
from toolcache.memory.store import MemoryStore
from toolcache.metrics.snapshot import Snapshot
from toolcache.parts import Parts
from toolcache.tallies import Tallies
from toolcache.testing import FakeClock


@cache
def some(seed: int, keys: int = 300) -> Sketch:
    """What a process has sampled."""
    dice = random.Random(seed)
    return Followed(seed=seed).run(dice.randrange(keys) for _ in range(1_500)).sketch()


def test_what_is_packed_is_read_again() -> None:
    """Counts come back whole, what varies in keys too."""
    clue = Clue("function:m.f", 100, 90, ("trace_id", "query~text"), 10)
    sketch = some(1)._replace(clues=(clue,))
    again = Sketch.read(unpackb(packb(sketch.pack())))
    assert again is not None
    assert again.by_bytes == sketch.by_bytes
    assert again.by_entries == sketch.by_entries
    assert again.lookups == sketch.lookups == 1_500
    assert again.domains["general"].asked == 1_500
    assert again.clues == (clue,)
    assert curve_of(again).points == curve_of(sketch).points


def test_processes_add_up() -> None:
    """Three sketches together say what each says, in proportion to its lookups, in any order."""
    three = [some(seed) for seed in (1, 2, 3)]
    whole = merge(one.pack() for one in three)
    assert whole.lookups == 4_500
    assert whole.by_bytes == tuple(map(sum, zip(*(one.by_bytes for one in three), strict=True)))
    assert whole.domains["general"].lived == tuple(
        map(sum, zip(*(one.domains["general"].lived for one in three), strict=True))
    )
    assert merge(one.pack() for one in reversed(three)).pack() == whole.pack()
    knee, alone = curve_of(whole).knee(), curve_of(three[0]).knee()
    assert knee is not None
    assert alone is not None
    assert knee.bytes == pytest.approx(alone.bytes, rel=0.1)  # each has a memory of its own
    assert (Sketch() + three[0]).pack() == (three[0] + Sketch()).pack() == three[0].pack()


def test_it_is_small_at_its_worst() -> None:
    """4 kB hold full scales, many domains with long names, and clues."""
    most = 4_000_000_000.0
    domain = DomainSketch(most, most / 4, most / 4, most / 4, most / 4, most, most, (most,) * len(LIFETIMES))
    worst = Sketch(
        *(1.7e9, 1.7e9 + 86_400, most, most, most, most, 0.000001, most, most),
        by_bytes=(most,) * BYTES_BUCKETS,
        by_entries=(most,) * ENTRIES_BUCKETS,
        domains={f"{number:032}": domain for number in range(40)},
        clues=tuple(Clue(f"function:{number:060}", 512, 512, ("field" * 10,), 3) for number in range(20)),
    )
    assert len(packb(worst.pack())) <= 4_096
    assert Sketch.read(worst.pack()) is not None
    usual = packb(some(1).pack())
    assert len(usual) < 1_000


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda one: st.lists(one) | st.dictionaries(st.text() | st.integers(), one),
        max_leaves=20,
    )
)
def test_what_is_no_sketch_is_none(told: Any) -> None:
    """SZ: nothing that a store may hold instead raises."""
    assert Sketch.read(told) is None
    assert merge([told]) == Sketch()


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from("vtnbedc"), st.none() | st.integers() | st.floats() | st.lists(st.integers(-3, 2**70)) | st.text()
)
def test_a_sketch_that_was_spoilt_raises_at_nobody(field: str, other: Any) -> None:
    """SZ: a field of another kind, or out of range, makes it none; or a sketch whose advice can be given."""
    packed = some(1).pack() | {field: other}
    sketch = Sketch.read(packed)
    if sketch is not None:
        evidence = Evidence(Snapshot(0.0, 1.0), sketch, 1_000)
        assert analysis_of(evidence).samples >= 0


def test_a_day_counts_by_itself(clock: FakeClock) -> None:
    """With a new day, of universal time, the sketch begins anew; so that days can be added up."""
    clock.advance(86_400 - clock.time() % 86_400 + 100)
    memory = MemoryStore(clock=clock, policy=LRU(), max_bytes=1_000)
    insight = Insight(cast("Parts", SimpleNamespace(clock=clock, memory=memory)), Tallies())
    insight.sampler.depths.samples = 5
    assert insight.own().samples == 5
    clock.advance(86_000)
    assert insight.own().samples == 5
    began = insight.own().since
    clock.advance(400)
    assert insight.own().samples == 0
    assert insight.own().since == began + 86_400


async def test_the_record_of_the_day_has_it(cache: Cache, clock: FakeClock) -> None:
    """What a process has sampled is in its record, where others read it: so the command line sees the fleet."""
    recorder = cache._machine.recorder
    assert recorder is not None
    await cache.set("a", 1)
    await cache.get("a")
    await recorder.look()
    sketch = merge([recorder.sketch() if recorder.sketch else None])
    assert sketch.samples == 1
    assert LOOKUPS > 1


_ROW = [1000.0, 100, 10, 10, 10, 600, 10, *[500.0] * 12]


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param({"n": [1e308] * 6}, id="numbers whose sum is none"),
        pytest.param({"n": [10**400] * 6}, id="numbers without end"),
        pytest.param({"t": [1e9, 1e300, 1.0]}, id="a day without end"),
        pytest.param({"t": [1e9, 1.0, 1.0]}, id="a day that ends before it begins"),
        pytest.param({"b": [10, struct.pack("<2f", 3e38, 3e38)]}, id="depths"),
        pytest.param({"d": {"general": struct.pack("<19f", *[3e38] * 19)}}, id="lookups"),
        pytest.param({"d": {"general": struct.pack("<19f", *_ROW[:7], *[5e8] * 12)}}, id="more hits than lookups"),
        pytest.param({"d": {"general": struct.pack("<19f", 9, *_ROW[1:])}}, id="more misses than lookups"),
        pytest.param({"d": {"gene\x1b[2Jral": struct.pack("<19f", *_ROW)}}, id="a name that paints the screen"),
        pytest.param({"c": [["general", 10**300, 9, 1, "x"]]}, id="calls"),
        pytest.param({"c": [["general", 512, 500, 20, "x\n"]]}, id="a field of two lines"),
    ],
)
def test_a_sketch_that_cannot_be_true_is_none(spoilt: dict[str, Any]) -> None:
    """SZ: numbers that nobody counts in a day are left out, so that what others have counted still tells."""
    packed = some(1).pack() | {"d": {"general": struct.pack("<19f", *_ROW)}}
    assert Sketch.read(packed) is not None
    assert merge([packed, packed | spoilt, packed | spoilt]) == Sketch.read(packed)
