"""LFU keeps its contract, its order and the published hit counts."""

import gc
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from traces import QUICK, hits_on, made_trace, read_trace, reference, traces

from toolcache.memory.lfu import LFU
from toolcache.testing import MemoryPolicyContract
from toolcache.testing.policies import PolicyDriver


class TestContract(MemoryPolicyContract):
    forgets = False

    def make(self) -> LFU:
        return LFU()


@given(
    st.lists(st.tuples(st.sampled_from(["hit", "hit", "write", "forget", "evict"]), st.integers(0, 9)), max_size=200)
)
def test_order(moves: list[tuple[str, int]]) -> None:
    """The key that was read and written least often is named, of several the one used longest ago, as a table would tell."""
    driver = PolicyDriver(LFU())
    used: dict[str, tuple[int, int]] = {}
    now = count()
    for move, number in moves:
        key = str(number)
        if move == "forget":
            driver.forget(key)
            used.pop(key, None)
        elif move == "evict":
            if used:
                rarest = min(used, key=used.__getitem__)
                del used[rarest]
                assert driver.evict() == rarest
        else:
            if move == "write":
                driver.write(key)
            elif not driver.hit(key):
                continue
            used[key] = (used.get(key, (0, 0))[0] + 1, next(now))
    assert driver.drain() == sorted(used, key=used.__getitem__)


def test_levels_leave_no_garbage() -> None:
    """A favourite that goes up hit by hit leaves nothing behind that only the garbage collector would free."""
    driver = PolicyDriver(LFU())
    driver.write("favourite")
    while gc.collect():  # what other tests have left, one finalizer after another
        pass
    for _ in range(10_000):
        driver.hit("favourite")
    assert gc.collect() < 100


def plain_lfu(trace: list[str], size: int) -> int:
    """Hits of the textbook's LFU: the count starts at one, and is forgotten when the key leaves."""
    used: dict[str, tuple[int, int]] = {}
    hits = 0
    for at, key in enumerate(trace):
        if key in used:
            hits += 1
        elif len(used) == size:
            del used[min(used, key=used.__getitem__)]
        used[key] = (used.get(key, (0, 0))[0] + 1, at)
    return hits


def test_reference() -> None:
    """The exact hits of the textbook's LFU; on recorded traces, those that two independent simulators agree on."""
    trace = made_trace()
    for size in (10, 100, 300):
        assert hits_on(trace, LFU(), size) == plain_lfu(trace, size)
    for name in traces(*QUICK):
        recorded = read_trace(name)
        for size, counts in reference(name).items():
            assert hits_on(recorded, LFU(), size) == counts["exact_hits"]["LFU"]
