"""A class of somebody else's as a strategy: the contract passed through, and what becomes of one that breaks it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache.entry import Held
from toolcache.events import StrategyFailed
from toolcache.memory.guarded import Guarded, lacks
from toolcache.memory.store import MemoryStore
from toolcache.protocols import MemoryPolicy
from toolcache.testing import FakeClock, MemoryPolicyContract
from toolcache.testing.policies import PolicyDriver, held_of


class Largest:
    """Evicts the largest entry: a strategy of a few lines."""

    touch = None

    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}

    def admit(self, key: str, entry: Held, /) -> None:
        self.sizes[key] = entry.size

    def replace(self, key: str, entry: Held, _old: Held, /) -> None:
        self.sizes[key] = entry.size

    def evict(self) -> str:
        key = max(self.sizes, key=self.sizes.__getitem__)
        del self.sizes[key]
        return key

    def forget(self, key: str, _entry: Held, /) -> None:
        del self.sizes[key]

    def clear(self) -> None:
        self.sizes.clear()


class Touched(Largest):
    """The same, told of hits."""

    def touch(self, key: str, entry: Held, /) -> None:  # type: ignore[override]  # a method where the other has None
        self.sizes[key] = entry.size


class TestContractWhenGuarded(MemoryPolicyContract):
    def make(self) -> Guarded:
        return Guarded(Touched(), _never)


def _never(event: StrategyFailed) -> None:
    pytest.fail(str(event))


class TestContractOfTheOneThatTakesOver(MemoryPolicyContract):
    """The one that fails at the first eviction: from then on the default, which knows all that was held."""

    def make(self) -> Guarded:
        return Guarded(Broken("evict", RuntimeError()), lambda _event: None)


class Broken(Touched):
    """Does what it should not: raises, or names what it should not name, at the n-th call of a method."""

    def __init__(self, method: str, what: object, after: int = 0) -> None:
        super().__init__()
        self.method, self.what, self.left = method, what, after
        for name in ("admit", "replace", "evict", "forget", "clear", "touch"):
            setattr(self, name, self._wrapped(name, getattr(self, name)))

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            if name == self.method:
                self.left -= 1
                if self.left < 0:
                    if isinstance(self.what, Exception):
                        raise self.what
                    return self.what
            return call(*args)

        return wrapped


WHATS = [RuntimeError("secret"), KeyError("k1"), "no such key", None, 7, ["k1"], b"k1"]


@pytest.mark.parametrize("what", WHATS, ids=[str(i) for i in range(len(WHATS))])
@pytest.mark.parametrize("method", ["admit", "replace", "evict", "forget", "clear", "touch"])
@pytest.mark.parametrize("after", [0, 3])
def test_a_policy_that_breaks_its_promises_does_not_break_the_store(method: str, what: object, after: int) -> None:
    """BUG-97: whatever a policy raises or names, the store goes on within its bounds, and it is told once, without a key."""
    told: list[StrategyFailed] = []
    policy = Guarded(Broken(method, what, after), told.append)
    store = MemoryStore(clock=FakeClock(), policy=policy, max_bytes=10_000, max_entries=5)
    for turn in range(16):
        for number in range(8):
            assert store.put(f"k{number}", held_of(version=turn + 1, size=number * 10), force=True)
            found = store.find(f"k{number}")
            assert found is not None
            assert store.touch is not None
            store.touch(f"k{number}", found)
            assert len(store) == len(list(store.keys())) <= 5
        store.remove("k7")
        if turn % 4 == 3:
            store.clear()
            assert (len(store), store.bytes) == (0, 0)
    if isinstance(what, Exception) or method == "evict":
        assert len(told) == 1
    assert store.strategy == ("adaptive" if told else "Broken")
    for event in told:
        assert event.strategy == "Broken"
        assert event.operation == method or not isinstance(what, Exception)  # it lost track, and failed later
        assert "secret" not in str(event)
        assert "k1" not in str(event)


@settings(max_examples=60)
@given(
    st.sampled_from(["admit", "replace", "evict", "forget", "clear", "touch"]),
    st.integers(0, 30),
    st.lists(
        st.tuples(st.sampled_from(["write", "hit", "forget", "evict", "clear"]), st.integers(0, 9)),
        max_size=80,
    ),
)
def test_whenever_it_fails_what_is_held_is_known(method: str, after: int, moves: list[tuple[str, int]]) -> None:
    """After any history in which the policy fails at any time, evicting everything names each key that is held, once."""
    driver = PolicyDriver(Guarded(Broken(method, ValueError(), after), lambda _event: None))
    for move, number in moves:
        key = f"k{number}"
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
    kept = set(driver.held)
    assert set(driver.drain()) == kept


def test_links_of_its_own_do_no_harm() -> None:
    """A policy may put what it wants into the fields that are its own; a clear frees the entries all the same."""

    class Odd(Largest):
        def admit(self, key: str, entry: Held, /) -> None:
            super().admit(key, entry)
            entry.newer = entry.older = "anything"  # type: ignore[assignment]  # the point of the test

    store = MemoryStore(clock=FakeClock(), policy=Guarded(Odd(), _never), max_bytes=10_000)
    for number in range(5):
        store.put(f"k{number}", held_of())
    store.clear()
    assert store.sweep() == 5
    assert store.put("k", held_of())


def test_what_is_no_policy_is_told_what_it_lacks() -> None:
    """A class without some of the methods lacks these, and `touch` too where it says nothing of hits."""

    class Half:
        def admit(self, key: str, entry: Held, /) -> None: ...
        def evict(self) -> str: ...  # type: ignore[empty-body]  # not called

    assert lacks(Half) == ["replace", "forget", "clear", "touch (a method, or None)"]
    assert lacks(Largest) == lacks(Largest()) == []
    policy: MemoryPolicy = Largest()
    assert lacks(policy) == []
