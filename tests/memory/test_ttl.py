"""TTL keeps its contract and its order: what ends soonest leaves first."""

from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache.entry import Held
from toolcache.memory.store import MemoryStore
from toolcache.memory.ttl import TTL
from toolcache.testing import FakeClock, MemoryPolicyContract
from toolcache.testing.policies import held_of


class Ending(TTL):
    """The same of entries that each have an end, by their keys."""

    def admit(self, key: str, entry: Held, /) -> None:
        span = crc32(key.encode()) % 5_000
        entry.span_ms, entry.gone_until = span * 1000, 100.0 + span
        super().admit(key, entry)


class TestContract(MemoryPolicyContract):
    forgets = True

    def make(self) -> TTL:
        return TTL()


class TestContractWithEnds(MemoryPolicyContract):
    forgets = crc32(b"favourite") % 5_000 < 4_900

    def make(self) -> TTL:
        return Ending()


def test_a_hit_calls_nothing() -> None:
    """BUG-92: hits change nothing, so none is told."""
    assert TTL().touch is None


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "remove", "evict"]),
            st.integers(0, 9),
            st.one_of(st.none(), st.integers(1, 10**6)),
        ),
        max_size=120,
    )
)
def test_order(moves: list[tuple[str, int, int | None]]) -> None:
    """What is named ends no later than any other that is held, but for a 256th of its life; without an end is the last resort."""
    policy, held = TTL(), dict[str, Held]()
    for move, number, span in moves:
        key = str(number)
        if move == "put":
            entry, old = held_of(key), held.get(key)
            if span is not None:
                entry.span_ms, entry.gone_until = span * 1000, 50.0 + span
            held[key] = entry
            if old is None:
                policy.admit(key, entry)
            else:
                policy.replace(key, entry, old)
        elif move == "remove" and key in held:
            policy.forget(key, held.pop(key))
        elif move == "evict" and held:
            named = held.pop(policy.evict())
            for other in held.values():
                assert named.gone_until <= other.gone_until + other.span_ms / 256_000 + 1 / 16
    drained = [held[policy.evict()] for _ in held]
    assert len({one.key for one in drained}) == len(held)
    ends = [one.gone_until for one in drained]
    assert ends == sorted(ends) or max(one.span_ms for one in drained) > 256_000 / 16


def test_equal_ends_leave_in_the_order_in_which_they_came() -> None:
    """Where all live equally long, or for ever, the first that came leaves first."""
    policy = TTL()
    for number in range(9):
        entry = held_of(f"k{number}")
        if number >= 4:
            entry.span_ms, entry.gone_until = 60_000, 75.0
        policy.admit(entry.key, entry)
    assert [policy.evict() for _ in range(9)] == [f"k{number}" for number in (4, 5, 6, 7, 8, 0, 1, 2, 3)]


def test_in_the_store_the_shortest_lived_make_room() -> None:
    """Entries of a minute leave before those of a day, whenever they came and however often they were asked for."""
    clock = FakeClock()
    store = MemoryStore(clock=clock, policy=TTL(), max_bytes=10**6, max_entries=10)
    now_ms = int(clock.time() * 1000)

    def put(key: str, ttl: int) -> None:
        assert store.put(key, held_of(created_ms=now_ms, gone_ms=now_ms + ttl * 1000))

    for number in range(5):
        put(f"day{number}", 86_400)
        put(f"minute{number}", 60)
        minute = store.find(f"minute{number}")
        assert minute is not None
        minute.hits += 100
    for number in range(5):
        put(f"hour{number}", 3_600)
    assert sorted(store.keys()) == sorted([*(f"day{n}" for n in range(5)), *(f"hour{n}" for n in range(5))])


def test_what_it_keeps_is_bounded_as_time_goes_on() -> None:
    """BUG-97: 6,000 entries with ends of their own that come and go leave few rings behind, evicted or expired."""
    clock, policy = FakeClock(), TTL()
    store = MemoryStore(clock=clock, policy=policy, max_bytes=10**9, max_entries=500)
    for number in range(6_000):
        now_ms = int(clock.time() * 1000)
        store.put(f"k{number}", held_of(created_ms=now_ms, gone_ms=now_ms + 60_000 + number * 37 % 90_000))
        if number % 3 == 0:
            store.remove(f"k{number - 5}")
        clock.advance(0.2)
        store.sweep()
    assert 200 < len(store) <= 500
    assert len(policy._rings) <= 1_000
    clock.advance(200)
    while store.sweep():
        pass
    assert (len(store), len(policy._rings), len(policy._dues)) == (0, 0, 0)
