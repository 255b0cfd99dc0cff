"""A stack of keys by last use is what it says it is, whatever is done to it."""

from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache.insight.stack import Stack

MOST = 12

does = st.one_of(
    st.tuples(st.just("use"), st.integers(0, MOST - 1), st.integers(1, 10_000)),
    st.tuples(st.sampled_from(["rest", "wake", "drop", "again"]), st.integers(0, MOST - 1), st.just(0)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(does, max_size=250))
def test_it_tells_what_was_used_since(done: list[tuple[str, int, int]]) -> None:
    """Of each key: how many others were used since, and their bytes; what rests lies on top of all, also after renumbering."""
    stack, order, costs, resting = Stack(MOST), list[int](), dict[int, int](), set[int]()
    for what, slot, cost in done:
        if what == "use" and slot not in resting:
            stack.use(slot, cost)
            costs[slot] = cost
            order = [one for one in order if one != slot] + [slot]
        elif what == "again" and slot in costs and slot not in resting:
            stack.use(slot)
            order = [one for one in order if one != slot] + [slot]
        elif what == "rest" and slot in costs and slot not in resting:
            stack.rest(slot)
            resting.add(slot)
        elif what == "wake" and slot in resting:
            stack.wake(slot)
            resting.discard(slot)
        elif what == "drop" and slot in costs:
            stack.drop(slot)
            order.remove(slot)
            costs.pop(slot)
            resting.discard(slot)
        assert stack.bytes == sum(costs.values())
        for at, one in enumerate(order):
            if one not in resting:
                above = {*order[at + 1 :], *resting}
                assert stack.above(one) == (len(above), sum(costs[other] for other in above))
                assert stack.cost(one) == costs[one]
