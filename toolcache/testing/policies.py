"""The contract of memory policies, as tests to inherit, and the entries they are made with."""

import gc
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolcache.blob import NEVER
from toolcache.entry import Held
from toolcache.protocols import MemoryPolicy

_KEYS = [f"k{i}" for i in range(12)]
_MOVES = st.lists(
    st.tuples(st.sampled_from(["write", "write", "hit", "hit", "forget", "evict", "clear"]), st.sampled_from(_KEYS)),
    max_size=150,
)


class NoCounts:
    """Counts that nobody reads."""

    hits: int = 0
    seconds_saved: float = 0.0


_NOBODY = NoCounts()


def held_of(
    key: str = "",
    value: object = b"value",
    *,
    size: int = 100,
    version: bytes | int = 1,
    created_ms: int = 0,
    gone_ms: int = NEVER,
    settled_until: float = 0.0,
) -> Held:
    """An entry as memory holds it.

    Args:
        key: as the store would set it.
        value: what it holds.
        size: bytes.
        version: 16 bytes, or a number that orders like one.
        created_ms: milliseconds since the epoch.
        gone_ms: the same; without it the entry has no end.
        settled_until: monotonic seconds.
    """
    held = Held.of(
        value,
        None,
        settled_until=settled_until,
        size=size,
        version=version.to_bytes(16, "big") if isinstance(version, int) else version,
        created_ms=created_ms,
        span_ms=NEVER if gone_ms == NEVER else gone_ms - created_ms,
        tally=_NOBODY,
    )
    held.key = key
    return held


class PolicyDriver:
    """Calls a policy as the memory store does, and fails where it names a key that is not held.

    Args:
        policy: a fresh one.
    """

    def __init__(self, policy: MemoryPolicy) -> None:
        self.policy = policy
        self.held: dict[str, Held] = {}

    def write(self, key: str, size: int = 100) -> None:
        """Put an entry at a key, new or not."""
        entry, old = held_of(key, size=size), self.held.get(key)
        self.held[key] = entry
        if old is None:
            self.policy.admit(key, entry)
        else:
            entry.hits = old.hits
            self.policy.replace(key, entry, old)

    def hit(self, key: str) -> bool:
        """Read a key; whether it is held."""
        entry = self.held.get(key)
        if entry is None:
            return False
        entry.hits += 1
        if self.policy.touch is not None:
            self.policy.touch(key, entry)
        return True

    def forget(self, key: str) -> None:
        """Remove a key, if it is held."""
        if (entry := self.held.pop(key, None)) is not None:
            self.policy.forget(key, entry)

    def evict(self) -> str:
        """Let the policy choose; at least one key must be held."""
        key = self.policy.evict()
        assert key in self.held, "the policy named a key that is not held"
        del self.held[key]
        return key

    def clear(self) -> None:
        """Remove all."""
        self.policy.clear()
        self.held.clear()

    def drain(self) -> list[str]:
        """Evict until nothing is held; the keys in that order."""
        return [self.evict() for _ in range(len(self.held))]


class MemoryPolicyContract:
    """What every policy promises.

    A subclass says with ``make`` how to come by a fresh policy.

    Examples:
        >>> class TestMyPolicy(MemoryPolicyContract):
        ...     def make(self):
        ...         return MyPolicy()

    Attributes:
        forgets: whether a favourite of the past leaves in the end; False for exact counts over all time.
    """

    forgets = True

    def make(self) -> MemoryPolicy:
        """A fresh policy; to be overridden."""
        raise NotImplementedError

    # Each subclass runs it for itself, with a policy that keeps no state between examples.
    @settings(suppress_health_check=[HealthCheck.differing_executors])
    @given(_MOVES)
    def test_whatever_happens_it_names_keys_that_are_held_and_each_once(self, moves: list[tuple[str, str]]) -> None:
        """After any history, evicting everything names every key that is held, once, and no other."""
        driver = PolicyDriver(self.make())
        for move, key in moves:
            if move == "write":
                driver.write(key)
            elif move == "hit":
                driver.hit(key)
            elif move == "forget":
                driver.forget(key)
            elif move == "clear":
                driver.clear()
            elif driver.held:
                driver.evict()
        held = set(driver.held)
        drained = driver.drain()
        assert set(drained) == held
        assert len(drained) == len(held)

    def test_a_key_that_left_may_come_back(self) -> None:
        """What was evicted, forgotten or cleared is admitted like any other."""
        driver = PolicyDriver(self.make())
        driver.write("a")
        driver.evict()
        driver.write("a")
        driver.forget("a")
        driver.write("a")
        driver.clear()
        driver.write("a")
        assert driver.drain() == ["a"]

    def test_a_forgotten_key_is_not_named(self) -> None:
        """Forgetting one of several leaves the others, and only them, to be named."""
        driver = PolicyDriver(self.make())
        for key in "abcde":
            driver.write(key)
        driver.forget("c")
        assert sorted(driver.drain()) == ["a", "b", "d", "e"]

    def test_a_replaced_entry_is_let_go_and_its_key_kept(self) -> None:
        """The policy holds on to the new entry, not to the one that was replaced."""
        driver = PolicyDriver(self.make())
        for key in "abc":
            driver.write(key)
        old = driver.held["b"]
        driver.write("b", size=5_000)
        assert all(found is not old for found in _reachable(driver.policy))
        assert sorted(driver.drain()) == ["a", "b", "c"]

    def test_an_entry_that_left_is_let_go(self) -> None:
        """Neither what was evicted nor what was forgotten is kept alive, nor does it keep others alive."""
        driver = PolicyDriver(self.make())
        for key in "abcdef":
            driver.write(key)
        before = dict(driver.held)
        gone = before[driver.evict()]
        driver.forget(next(iter(driver.held)))
        reachable = list(_reachable(driver.policy))
        for key, entry in before.items():
            assert (key in driver.held) or all(found is not entry for found in reachable)
        assert not any(isinstance(found, Held) for found in _reachable(gone) if found is not gone)

    def test_what_it_remembers_is_bounded(self) -> None:
        """100,000 keys that come and go leave no more behind than the 100 that are held warrant."""
        driver = PolicyDriver(self.make())
        for number in range(50_000):
            driver.write(f"evicted {number}")
            driver.write(f"forgotten {number}")
            if number % 3:
                driver.hit(f"evicted {number}")
            driver.forget(f"forgotten {number}")
            if len(driver.held) > 100:
                driver.evict()
        assert sum(sys.getsizeof(found) for found in _reachable(driver.policy)) < 256_000

    def test_hits_alone_take_no_room(self) -> None:
        """100,000 hits of one key leave nothing behind, and do not make it immortal."""
        driver = PolicyDriver(self.make())
        driver.write("often")
        driver.write("once")
        for _ in range(100_000):
            driver.hit("often")
        assert sum(sys.getsizeof(found) for found in _reachable(driver.policy)) < 64_000
        assert sorted(driver.drain()) == ["often", "once"]

    def test_a_favourite_of_the_past_leaves_in_the_end(self) -> None:
        """A key that was hit a thousand times and never again does not stay for ever; unless counts are exact, it does."""
        driver = PolicyDriver(self.make())
        driver.write("favourite")
        for _ in range(1_000):
            driver.hit("favourite")
        for number in range(10_000):
            driver.write(f"n{number}")
            driver.hit(f"n{number}")
            driver.hit(f"n{number}")
            if len(driver.held) > 20:
                driver.evict()
        assert ("favourite" not in driver.held) == self.forgets


def _reachable(root: object) -> Iterator[object]:
    """What ``root`` keeps alive, itself included; code and types do not count."""
    seen, front = {id(root)}, [root]
    while front:
        found = front.pop()
        yield found
        for one in gc.get_referents(found):
            if id(one) not in seen and not isinstance(one, type | ModuleType | FunctionType):
                seen.add(id(one))
                front.append(one)
