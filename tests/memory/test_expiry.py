"""The index of ends finds what has ended, all of it and nothing else, and stays small."""

import gc
import math

from hypothesis import given
from hypothesis import strategies as st

from toolcache.entry import Held
from toolcache.memory.expiry import Expiry
from toolcache.testing.policies import held_of

NOW = 1_000.0


def ending(at: float) -> Held:
    held = held_of()
    held.gone_until = at
    return held


@given(
    st.lists(st.floats(0.001, 4e9), max_size=60),
    st.lists(st.floats(0.01, 1e9), max_size=12),
    st.sets(st.integers(0, 59)),
)
def test_what_has_ended_is_found(spans: list[float], steps: list[float], dropped: set[int]) -> None:
    """BUG-99: whatever the spans, at any time all that ended more than a 16th of a second ago is handed out, once."""
    expiry = Expiry()
    entries = [ending(NOW + span) for span in spans]
    for entry in entries:
        expiry.add(entry, NOW)
    waiting = {id(entry): entry for entry in entries}
    for number in dropped & set(range(len(entries))):
        expiry.discard(entries[number])
        del waiting[id(entries[number])]
    now = NOW
    for step in [*sorted(steps), 5e9]:
        now += step
        while found := expiry.take(now, 7, 1_000):
            for entry in found:
                assert waiting.pop(id(entry)).gone_until <= now
        assert all(entry.gone_until > now - 1 / 16 for entry in waiting.values())
        assert expiry.due > now
    assert not waiting
    assert expiry.due == math.inf


@given(
    st.lists(
        st.tuples(st.floats(0.001, 1e6), st.lists(st.one_of(st.floats(0.001, 1e6), st.just(math.inf)))), max_size=20
    ),
    st.lists(st.floats(0.01, 1e5), max_size=12),
)
def test_what_takes_the_place_of_another_is_found_at_its_own_end(
    written: list[tuple[float, list[float]]], steps: list[float]
) -> None:
    """BUG-99: however often an entry is overwritten, to end sooner, later or never, the last one is handed out in time."""
    expiry, waiting = Expiry(), set[Held]()
    for first, others in written:
        entry = ending(NOW + first)
        expiry.add(entry, NOW)
        for span in others:
            old, entry = entry, ending(NOW + span)
            expiry.replace(entry, old, NOW)
        if entry.gone_until < math.inf:
            waiting.add(entry)
    now = NOW
    for step in [*sorted(steps), 5e9]:
        now += step
        while expiry.due <= now:
            for entry in expiry.take(now, 7, 1_000):
                assert entry.gone_until <= now
                waiting.remove(entry)
        assert all(entry.gone_until > now - 1 / 16 for entry in waiting)
    assert not waiting
    assert expiry.due == math.inf


def test_what_never_ends_is_not_filed() -> None:
    """An entry without an end takes no room in the index, and leaves it without a trace."""
    expiry = Expiry()
    entry = ending(math.inf)
    expiry.add(entry, NOW)
    expiry.discard(entry)
    assert len(expiry) == 0
    assert expiry.due == math.inf


def test_the_limit_is_kept() -> None:
    """No more are handed out than were asked for; the rest waits for the next call."""
    expiry = Expiry()
    for number in range(10):
        expiry.add(ending(NOW + 1 + number / 100), NOW)
    assert [len(expiry.take(NOW + 5, 4, 100)) for _ in range(4)] == [4, 4, 2, 0]


def test_patience_is_kept() -> None:
    """A call that finds only entries that end later files a few of them anew and gives up."""
    expiry = Expiry()
    for number in range(100):
        expiry.add(ending(NOW + 3_600 + number / 100), NOW)
    due = expiry.due
    assert NOW + 3_400 < due <= NOW + 3_600
    assert expiry.take(due, 10, 30) == []
    assert expiry.due == due
    assert expiry.take(due, 10, 100) == []
    assert expiry.due > due


def test_a_few_filings_a_life() -> None:
    """BUG-99: an entry of a year is filed anew a few times, not once a second."""
    expiry = Expiry()
    expiry.add(ending(NOW + 365 * 86_400), NOW)
    visits = 0
    while not expiry.take(expiry.due, 1, 1):
        visits += 1
    assert visits <= 7


def test_the_number_of_buckets_is_bounded() -> None:
    """BUG-97: a key written 100,000 times with lives from a second to a century leaves no heap of buckets behind."""
    expiry = Expiry()
    now, most = NOW, 0
    for number in range(100_000):
        now += 0.01
        entry = ending(now + 1.0003**number % 3e9)
        expiry.add(entry, now)
        expiry.discard(entry)
        expiry.take(now, 10, 10)
        most = max(most, len(expiry))
    assert most <= 64 * 33


def test_a_closed_bucket_waits_for_no_collector() -> None:
    """Buckets and entries die by their reference counts alone."""
    expiry = Expiry()
    gc.collect()
    gc.disable()
    try:
        for number in range(1_000):
            expiry.add(ending(NOW + number), NOW)
        while expiry.take(NOW + 2_000, 100, 100):
            pass
        assert gc.collect() == 0
    finally:
        gc.enable()
