"""LRU keeps its contract, its order and the published hit counts."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st
from traces import QUICK, hits_on, made_trace, read_trace, reference, traces

from toolcache.memory.lru import LRU
from toolcache.testing import MemoryPolicyContract
from toolcache.testing.policies import PolicyDriver


class TestContract(MemoryPolicyContract):
    def make(self) -> LRU:
        return LRU()


@given(st.lists(st.tuples(st.sampled_from(["use", "forget", "evict"]), st.integers(0, 9)), max_size=200))
def test_order(moves: list[tuple[str, int]]) -> None:
    """The key that was neither read nor written for longest is named, as an ordered dictionary would tell."""
    driver = PolicyDriver(LRU())
    order: OrderedDict[str, None] = OrderedDict()
    for move, number in moves:
        key = str(number)
        if move == "forget":
            driver.forget(key)
            order.pop(key, None)
        elif move == "evict":
            if order:
                assert driver.evict() == order.popitem(last=False)[0]
        else:
            if number % 2 or not driver.hit(key):
                driver.write(key)
            order[key] = None
            order.move_to_end(key)
    assert driver.drain() == list(order)


def plain_lru(trace: list[str], size: int) -> int:
    """Hits of the textbook's LRU."""
    order: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for key in trace:
        hits += key in order
        order[key] = None
        order.move_to_end(key)
        if len(order) > size:
            order.popitem(last=False)
    return hits


def test_reference() -> None:
    """The exact hits of the textbook's LRU; on recorded traces, those that two independent simulators agree on."""
    trace = made_trace()
    for size in (10, 100, 1_000):
        assert hits_on(trace, LRU(), size) == plain_lru(trace, size)
    for name in traces(*QUICK):
        recorded = read_trace(name)
        for size, counts in reference(name).items():
            assert hits_on(recorded, LRU(), size) == counts["exact_hits"]["LRU"]
