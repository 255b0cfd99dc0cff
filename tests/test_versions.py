"""Versions: unique, growing, and not led astray by clocks that are wrong."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from toolcache import versions
from toolcache.testing import FakeClock
from toolcache.versions import ZERO, HybridClock, process_clock, split

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NODE = b"12345678"
START = 1_800_000_000.0
MS = 1_800_000_000_000
LAST = b"\xff" * 16


def version(ms: int, count: int, node: bytes = NODE) -> bytes:
    return ms.to_bytes(6, "big") + count.to_bytes(2, "big") + node


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
def hybrid(clock: FakeClock) -> HybridClock:
    return HybridClock(clock, node=NODE)


def test_golden_layout(hybrid: HybridClock) -> None:
    """The layout is frozen: milliseconds, counter, node, big-endian."""
    assert hybrid.next().hex() == "01a3185c5000" + "0000" + NODE.hex()
    assert hybrid.next().hex() == "01a3185c5000" + "0001" + NODE.hex()
    assert split(hybrid.next()) == (MS, 2)
    assert len(ZERO) == 16
    assert hybrid.next() > ZERO


def test_it_follows_the_clock(hybrid: HybridClock, clock: FakeClock) -> None:
    """As the clock moves on, versions carry its milliseconds and count from nothing."""
    hybrid.next()
    clock.advance(1.5)
    assert split(hybrid.next()) == (MS + 1500, 0)


@given(st.floats(-0.049, 0.049), st.binary(min_size=8, max_size=8), st.lists(st.floats(0, 0.01), max_size=5))
def test_what_yields_is_below_what_anybody_writes_from_now_on(off: float, node: bytes, waits: list[float]) -> None:
    """BUG-35: also by a clock that is 50 ms behind, in the same millisecond, whatever the nodes are."""
    clock, other = FakeClock(START), FakeClock(START + off)
    mine, theirs = HybridClock(clock, node=NODE), HybridClock(other, node=node)
    yields = [mine.yielding() for _ in range(3)]
    assert len(set(yields)) == 3
    assert mine.next() > max(yields)
    for wait in waits:
        other.advance(wait)
    assert theirs.next() > max(yields)


def test_what_yields_is_right_above_what_was_there(hybrid: HybridClock) -> None:
    """Above what was found, however far ahead that is, and below what is written above that."""
    for found in (hybrid.next(), hybrid.epoch(), version(2 * MS, 7)):
        above = [hybrid.yielding(found) for _ in range(3)]
        assert len(set(above)) == 3
        assert all(found < one < HybridClock(FakeClock(0.0), node=bytes(8)).next(found) for one in above)
    assert versions.just_above(LAST) == LAST


def test_it_takes_a_millisecond_that_was_just_read(hybrid: HybridClock) -> None:
    """A caller who knows the time spares the clock; the order is kept all the same."""
    assert split(hybrid.next(now=MS + 7)) == (MS + 7, 0)
    assert split(hybrid.next(now=MS + 3)) == (MS + 7, 1)


def test_it_never_runs_backward(hybrid: HybridClock, clock: FakeClock) -> None:
    """As the clock steps back, versions go on growing from where they were."""
    first = hybrid.next()
    clock.step_wall(-3600)
    second, third = hybrid.next(), hybrid.next()
    assert first < second < third
    assert split(third) == (MS, 2)


def test_a_full_counter_carries(hybrid: HybridClock) -> None:
    """More writes in a millisecond than the counter holds borrow from the next."""
    seen = [hybrid.next() for _ in range(0x10000 + 2)]
    assert split(seen[-3]) == (MS, 0xFFFF)
    assert split(seen[-1]) == (MS + 1, 1)
    assert seen == sorted(set(seen))


def test_above_is_exceeded_and_adopted(hybrid: HybridClock) -> None:
    """A version somewhat ahead is exceeded, and so are all that follow."""
    ahead = version(MS + 59_000, 7, LAST[:8])
    first = hybrid.next(ahead)
    assert split(first) == (MS + 59_000, 8)
    assert hybrid.next() > first


@pytest.mark.parametrize("count", [7, 0xFFFF])
def test_a_far_future_is_exceeded_and_not_adopted(hybrid: HybridClock, count: int) -> None:
    """A version of a clock far ahead is exceeded once; the next write goes by this clock again."""
    far = version(MS + 3_600_000, count, LAST[:8])
    assert hybrid.next(far) > far
    assert split(hybrid.next())[0] == MS


def test_two_writes_above_one_far_version_differ(hybrid: HybridClock) -> None:
    """Two writes that both read the same far-future version never get the same: one would pass for the other."""
    far = version(MS + 3_600_000, 7)
    made = [hybrid.next(far) for _ in range(1000)]
    assert made == sorted(set(made))
    assert made[0] > far


def test_writes_above_several_far_versions_differ(hybrid: HybridClock) -> None:
    """BUG-66: nor do a delete above what it has read and a set above the epoch alone, however near these lie."""
    far = [version(MS + 3_600_000, count) for count in (7, 6, 5, 7, 0, 0xFFFF, 3)]
    made = [hybrid.next(above) for above in far]
    assert len({*made, *far}) == 2 * len(far) - 1
    assert all(new > above for new, above in zip(made, far, strict=True))


@pytest.mark.parametrize("hostile", [LAST, LAST[:8] + ZERO[:8], LAST[:6] + ZERO[:10], LAST[:7] + ZERO[:9]])
def test_no_version_is_too_high_to_be_read(hybrid: HybridClock, hostile: bytes) -> None:
    """Bytes from a store that no clock can have made raise nothing, and do not stay in the clock."""
    made = hybrid.next(hostile)
    assert len(made) == 16
    assert made > hostile or hostile[:8] == LAST[:8]
    assert not hybrid.observe(hostile)
    assert split(hybrid.next())[0] == MS
    assert split(hybrid.epoch())[0] == MS + 50


def test_equal_instants_are_told_apart_by_the_node(clock: FakeClock) -> None:
    """Two processes never mint the same version."""
    one, other = HybridClock(clock), HybridClock(clock)
    assert one.node != other.node
    assert not {one.next() for _ in range(100)} & {other.next() for _ in range(100)}


def test_observing(hybrid: HybridClock) -> None:
    """What was seen in a store is exceeded by what follows, unless it is more than a minute ahead."""
    assert hybrid.observe(version(MS + 60_000, 3))
    assert split(hybrid.next()) == (MS + 60_000, 4)
    assert hybrid.observe(version(MS - 5, 0))
    assert not hybrid.observe(version(MS + 60_001, 0))
    assert split(hybrid.next()) == (MS + 60_000, 5)


def test_what_lies_ahead_is_not_passed(hybrid: HybridClock, clock: FakeClock) -> None:
    """What was minted in the course of time is passed; what exceeds a far future never is, but what comes after it."""
    assert hybrid.passed(hybrid.next())
    leap = hybrid.next(version(MS + 90_000, 0))
    clock.advance(40)
    hybrid.next()
    assert not hybrid.passed(leap)
    clock.advance(60)
    later = hybrid.next()
    assert later > leap
    assert hybrid.passed(later)
    assert not hybrid.passed(leap)


def test_an_epoch_covers_what_clocks_slightly_ahead_wrote(hybrid: HybridClock, clock: FakeClock) -> None:
    """An epoch is above all minted here, and above others up to 50 ms ahead; the next write is above the epoch."""
    others = HybridClock(FakeClock(START + 0.049))
    before = [hybrid.next(), hybrid.next(), others.next()]
    epoch = hybrid.epoch()
    assert all(written < epoch for written in before)
    assert epoch < hybrid.next()
    assert hybrid.epoch() > epoch
    clock.advance(1)
    assert split(hybrid.next()) == (MS + 1000, 0)


def test_renewal_makes_another_node(hybrid: HybridClock) -> None:
    """A forked child is another node, even where its parent held the lock; its versions go on growing."""
    before = hybrid.next()
    with hybrid._lock:
        hybrid.forked()
        assert hybrid.next()[8:] != NODE
    assert hybrid.next() > before


@pytest.mark.parametrize("node", [b"", b"1234567", b"123456789"])
def test_a_node_is_eight_bytes(node: bytes) -> None:
    """A node of another length would make versions of another length."""
    with pytest.raises(ValueError, match="a node is 8 bytes"):
        HybridClock(node=node)


def test_threads_share_one_clock(clock: FakeClock) -> None:
    """Versions minted by several threads at once are all different, and grow in each."""
    hybrid = HybridClock(clock, node=NODE)
    minted: list[list[bytes]] = [[] for _ in range(4)]

    def mint(mine: list[bytes]) -> None:
        mine.extend(hybrid.next() for _ in range(2_000))

    threads = [threading.Thread(target=mint, args=(mine,)) for mine in minted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each for mine in minted for each in mine}) == 8_000
    assert all(mine == sorted(mine) for mine in minted)


def test_the_process_has_one_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """All threads that ask first at the same time get the same clock."""
    watched: list[Any] = []
    monkeypatch.setattr(versions, "_shared", None)
    monkeypatch.setattr(versions, "watch", watched.append)
    barrier, found = threading.Barrier(8), []

    def ask() -> None:
        barrier.wait()
        found.append(process_clock())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    assert watched == [found[0]]


FORK = """
import os
from toolcache.versions import process_clock
print(process_clock().node.hex(), flush=True)
if os.fork() == 0:
    print(process_clock().node.hex(), flush=True)
    os._exit(0)
os.wait()
print(process_clock().node.hex())
"""


def test_a_forked_child_is_another_node() -> None:
    """After a fork the child's clock is another node than its parent's, which stays what it was."""
    root = str(Path(versions.__file__).parents[1])
    ran = subprocess.run([sys.executable, "-c", FORK], env={"PYTHONPATH": root}, capture_output=True, check=True)
    parent, child, again = ran.stdout.split()
    assert parent == again != child
    assert len(child) == 16


class Clocks(RuleBasedStateMachine):
    """Two processes with clocks of their own that write, read each other, clear, and are stepped about."""

    def __init__(self) -> None:
        super().__init__()
        self.clocks = [FakeClock(START), FakeClock(START + 5)]
        self.hybrids = [HybridClock(clock) for clock in self.clocks]
        self.newest = [ZERO, ZERO]
        self.minted: set[bytes] = set()

    @rule(who=st.integers(0, 1), step=st.floats(-100, 100))
    def step(self, who: int, step: float) -> None:
        self.clocks[who].step_wall(step)

    @rule(who=st.integers(0, 1))
    def write(self, who: int) -> None:
        self._take(who, self.hybrids[who].next())

    @rule(who=st.integers(0, 1))
    def write_over_the_other(self, who: int) -> None:
        above = self.newest[1 - who]
        made = self.hybrids[who].next(above)
        assert made > above
        assert made not in self.minted
        if split(made)[0] <= self.clocks[who].time() * 1000 + 60_000:
            self._take(who, made)

    @rule(who=st.integers(0, 1))
    def read_the_other(self, who: int) -> None:
        seen = self.newest[1 - who]
        if self.hybrids[who].observe(seen):
            assert split(self.hybrids[who].next()) > split(seen)

    @rule(who=st.integers(0, 1))
    def clear(self, who: int) -> None:
        self._take(who, self.hybrids[who].epoch())

    def _take(self, who: int, made: bytes) -> None:
        assert made > self.newest[who]
        assert made not in self.minted
        self.newest[who] = made
        self.minted.add(made)

    @invariant()
    def all_are_whole(self) -> None:
        assert all(len(made) == 16 for made in self.minted)


TestClocks = Clocks.TestCase
TestClocks.settings = settings(patient, max_examples=60, stateful_step_count=30)


@patient
@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**40))
def test_any_version_is_exceeded(above: bytes, milliseconds: int) -> None:
    """Whatever 16 bytes a store holds, the next write is above them, but for the last milliseconds of the calendar."""
    made = HybridClock(FakeClock(milliseconds / 1000)).next(above)
    assert len(made) == 16
    assert made > above or above[:8] == LAST[:8]
