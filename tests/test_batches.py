"""What the callers of one tick ask for leaves as one."""

import asyncio

import pytest

from toolcache.batches import ALONE, Batches
from toolcache.home import Home


class Carrier:
    """Answers in capitals, and remembers what was asked for at once."""

    def __init__(self) -> None:
        self.carried: list[list[str]] = []
        self.fault: Exception | None = None

    async def __call__(self, asks: list[str]) -> list[str]:
        self.carried.append(asks)
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return [ask.upper() for ask in asks]


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


@pytest.fixture
def home() -> Home:
    return Home()


@pytest.fixture
def batches(carrier: Carrier, home: Home) -> Batches[str, str]:
    return Batches(carrier, home)


async def test_what_one_tick_asks_for_goes_as_one(batches: Batches[str, str], carrier: Carrier) -> None:
    """Callers of one tick share a batch, and each gets its own answer; who comes later goes with the next one."""
    assert await asyncio.gather(*(batches.ask(item) for item in "abca")) == ["A", "B", "C", "A"]
    assert await batches.ask("d") == "D"
    assert carrier.carried == [["a", "b", "c", "a"], ["d"]]


async def test_who_leaves_takes_nobody_along(batches: Batches[str, str], carrier: Carrier) -> None:
    """A caller's cancellation is its own affair, even that of the first."""
    first, second = batches.ask("a"), batches.ask("b")
    first.cancel()
    assert await second == "B"
    assert carrier.carried == [["a", "b"]]


async def test_a_loop_whose_tasks_begin_at_once_batches_as_well(batches: Batches[str, str], carrier: Carrier) -> None:
    """What a loop's task factory does is no concern of the batches: everybody of the tick goes along."""

    def factory(loop: asyncio.AbstractEventLoop, work: object, **_options: object) -> asyncio.Future[object]:
        raise AssertionError("a batch was begun by the loop's factory")

    loop = asyncio.get_running_loop()
    loop.set_task_factory(factory)  # type: ignore[arg-type]  # it makes none
    try:
        together = [batches.ask("a"), batches.ask("b")]
        assert [await ask for ask in together] == ["A", "B"]
    finally:
        loop.set_task_factory(None)
    assert carrier.carried == [["a", "b"]]


async def test_a_batch_that_was_cancelled_before_it_began(
    batches: Batches[str, str], carrier: Carrier, home: Home
) -> None:
    """Nobody waits for a batch that never left, and the next one leaves."""
    asking = batches.ask("a")
    (batch,) = home._tasks
    batch.cancel()
    assert await asking is None
    assert await batches.ask("b") == "B"
    assert carrier.carried == [["b"]]


async def test_an_error_is_everybodys(batches: Batches[str, str], carrier: Carrier) -> None:
    """A fault of ours is told to all who wait, instead of having them wait for ever."""
    carrier.fault = ZeroDivisionError()
    together = [batches.ask("a"), batches.ask("b")]
    for ask in together:
        with pytest.raises(ZeroDivisionError):
            await ask


async def test_a_home_waits_for_its_batches(batches: Batches[str, str], home: Home) -> None:
    """What is under way is seen through when the home is left."""
    asking = batches.ask("a")
    await home.drain(5.0)
    assert asking.done()
    assert asking.result() == "A"


async def test_what_is_much_goes_alone(batches: Batches[str, str], carrier: Carrier) -> None:
    """It leaves in the same tick, and nobody who asks for little has to wait for it."""
    together = [batches.ask("a"), batches.ask("much", alone=True), batches.ask("b")]
    assert [await ask for ask in together] == ["A", "MUCH", "B"]
    assert sorted(carrier.carried) == [["a", "b"], ["much"]]


async def test_who_asks_alone_carries_it_unaided(batches: Batches[str, str], carrier: Carrier) -> None:
    """Of what is of no use without its caller no batch is made, unless somebody else asks in the same tick."""
    assert await batches.share("a") is ALONE
    assert carrier.carried == []
    assert await asyncio.gather(*(batches.share(item) for item in "abc")) == ["A", "B", "C"]
    assert await batches.share("d") is ALONE
    assert carrier.carried == [["a", "b", "c"]]


async def test_the_first_of_a_tick_takes_nobody_along(batches: Batches[str, str], carrier: Carrier) -> None:
    """The first is cancelled before the tick is over: the others are answered all the same, and so is who comes later."""
    first, second = (asyncio.ensure_future(batches.share(item)) for item in "ab")
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "B"
    assert first.cancelled()
    assert carrier.carried == [["a", "b"]]
    assert await batches.share("c") is ALONE


async def test_who_is_alone_and_leaves_is_forgotten(batches: Batches[str, str], carrier: Carrier) -> None:
    """The only one is cancelled before the tick is over: nothing is asked, and the next tick begins anew."""
    only = asyncio.ensure_future(batches.share("a"))
    await asyncio.sleep(0)
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    assert await batches.share("b") is ALONE
    assert carrier.carried == []


async def test_where_all_of_a_tick_leave_nothing_is_asked(batches: Batches[str, str], carrier: Carrier) -> None:
    """LC-02: as when a loop ends, which is to begin nothing new that could not end."""
    everybody = [asyncio.ensure_future(batches.share(item)) for item in "abc"]
    await asyncio.sleep(0)
    for one in everybody:
        one.cancel()
    await asyncio.wait(everybody)
    await asyncio.sleep(0)
    assert batches.idle
    assert carrier.carried == []
    assert await batches.share("d") is ALONE


async def test_very_many_of_one_tick_have_a_turn_each(batches: Batches[str, str], carrier: Carrier) -> None:
    """Fact: where a hundred come at once, the loop goes round in between; in their order, and nobody is forgotten."""

    async def come(item: str) -> str | None:
        await batches.turn()
        return await batches.ask(item)

    items = [f"a{number}" for number in range(100)]
    assert await asyncio.gather(*map(come, items)) == [item.upper() for item in items]
    assert [item for asks in carrier.carried for item in asks] == items
    assert max(map(len, carrier.carried)) <= 16
    await asyncio.wait_for(batches.turn(), 1)


async def test_who_leaves_the_line_holds_up_nobody(batches: Batches[str, str], carrier: Carrier) -> None:
    """Fact: one who had a turn and asked for nothing, or is cancelled while waiting for it, keeps none behind waiting."""

    async def come(item: str) -> str | None:
        await batches.turn()
        return None if item.startswith("-") else await batches.ask(item)

    tasks = [asyncio.ensure_future(come(f"{'-' if 20 <= number < 60 else ''}{number}")) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[50:80]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, str)] == [
        str(number) for number in range(100) if not 20 <= number < 80
    ]


async def test_nobody_overtakes_who_has_just_been_called(batches: Batches[str, str]) -> None:
    """Fact: who comes in the tick in which the last of the line are called comes after them."""
    order: list[int] = []

    async def come(number: int) -> None:
        await batches.turn()
        order.append(number)
        await batches.ask(str(number))

    tasks = [asyncio.create_task(come(number)) for number in range(17)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == list(range(16))
    await come(17)
    await asyncio.gather(*tasks)
    assert order == list(range(18))
