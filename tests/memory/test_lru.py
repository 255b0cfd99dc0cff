"""LRU keeps its contract, its order and the published hit counts."""

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traces import hits_on, read_trace, reference, traces

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


@pytest.mark.parametrize("name", traces("glimpse", "multi1", "two_pools"))
def test_reference(name: str) -> None:
    """On recorded traces, LRU has the exact hits that two independent simulators agree on."""
    trace = read_trace(name)
    for size, counts in reference(name).items():
        assert hits_on(trace, LRU(), size) == counts["exact_hits"]["LRU"]
