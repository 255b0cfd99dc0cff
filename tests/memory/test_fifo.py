"""FIFO keeps its contract, its order and the published hit counts."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from traces import QUICK, hits_on, made_trace, read_trace, reference, traces

from toolcache.memory.fifo import FIFO
from toolcache.testing import MemoryPolicyContract
from toolcache.testing.policies import PolicyDriver


class TestContract(MemoryPolicyContract):
    def make(self) -> FIFO:
        return FIFO()


def test_a_hit_calls_nothing() -> None:
    """BUG-92: hits change nothing, so none is told."""
    assert FIFO().touch is None


@given(st.lists(st.tuples(st.sampled_from(["write", "hit", "forget", "evict"]), st.integers(0, 9)), max_size=200))
def test_order(moves: list[tuple[str, int]]) -> None:
    """Keys leave in the order in which they came, whatever was read or written anew meanwhile."""
    driver = PolicyDriver(FIFO())
    order: deque[str] = deque()
    for move, number in moves:
        key = str(number)
        if move == "write":
            driver.write(key)
            if key not in order:
                order.append(key)
        elif move == "hit":
            assert driver.hit(key) == (key in order)
        elif move == "forget":
            driver.forget(key)
            if key in order:
                order.remove(key)
        elif order:
            assert driver.evict() == order.popleft()
    assert driver.drain() == list(order)


def plain_fifo(trace: list[str], size: int) -> int:
    """Hits of the textbook's FIFO."""
    held: dict[str, None] = {}
    hits = 0
    for key in trace:
        if key in held:
            hits += 1
            continue
        if len(held) == size:
            del held[next(iter(held))]
        held[key] = None
    return hits


def test_reference() -> None:
    """The exact hits of the textbook's FIFO; on recorded traces, those that two independent simulators agree on."""
    trace = made_trace()
    for size in (10, 100, 1_000):
        assert hits_on(trace, FIFO(), size) == plain_fifo(trace, size)
    for name in traces(*QUICK):
        recorded = read_trace(name)
        for size, counts in reference(name).items():
            assert hits_on(recorded, FIFO(), size) == counts["exact_hits"]["FIFO"]
