"""The cache between the steps of a pipeline."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from operator import attrgetter, mul
from typing import Any

import pytest
from hearing import until

from toolcache import KeyInfo, SettingsError, ToolCache, UnsupportedKeyError, stage
from toolcache.testing import FakeClock


@pytest.fixture
async def cache(clock: FakeClock) -> AsyncIterator[ToolCache]:
    """Where results are."""
    async with ToolCache(files=False, clock=clock) as made:
        yield made


class Work:
    """Steps that remember what they were asked for, and how many were at work at once."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.at_work = self.most = 0
        self.cancelled: list[Any] = []

    async def double(self, item: int) -> int:
        """Twice as much, the later the more."""
        self.asked.append(item)
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        try:
            await asyncio.sleep(0.0001 * (item % 3))
            return item * 2
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        finally:
            self.at_work -= 1

    async def embed(self, items: list[str]) -> list[list[float]]:
        """A vector for each."""
        self.asked.append(list(items))
        await asyncio.sleep(0)
        return [[float(len(item))] for item in items]


@pytest.fixture
def work() -> Work:
    """Steps."""
    return Work()


async def numbers(count: int, taken: list[int] | None = None) -> AsyncGenerator[int, None]:
    """So many, one after another; what was taken is noted."""
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield number
        await asyncio.sleep(0)


async def test_results_come_in_order_and_are_kept(cache: ToolCache, work: Work) -> None:
    """C16: what comes out is in the order of what comes in, and is not made again."""
    pipeline = stage(work.double, cache=cache)
    assert await pipeline.collect(numbers(50)) == [number * 2 for number in range(50)]
    assert await pipeline.collect(range(50)) == [number * 2 for number in range(50)]
    assert sorted(work.asked) == list(range(50))


@pytest.mark.parametrize("most", [1, 3, 8])
async def test_no_more_are_at_work_than_may_be(cache: ToolCache, work: Work, most: int) -> None:
    """BUG-106: ``max_parallel`` are at work at once, and no fewer where there is enough to do."""
    await stage(work.double, cache=cache, max_parallel=most).collect(range(1, 60, 3))
    assert work.most == most


async def test_no_more_is_taken_in_than_is_wanted(cache: ToolCache, work: Work) -> None:
    """C16: whoever takes slowly is not flooded: at most ``max_parallel`` items of each step are ahead."""
    taken: list[int] = []
    pipeline = stage(work.double, cache=cache, max_parallel=2) | stage(work.double, cache=cache, max_parallel=2)
    async with aclosing(pipeline(numbers(100, taken))) as results:
        async for result in results:
            if result == 8:
                break
            for _ in range(50):
                await asyncio.sleep(0.0001)
            assert len(taken) <= result // 4 + 1 + 5


async def test_a_result_does_not_wait_for_the_next_item(cache: ToolCache, work: Work) -> None:
    """C16: with a source that has pauses, what is made is given at once."""
    more = asyncio.Event()

    async def slow() -> AsyncGenerator[int, None]:
        yield 1
        await more.wait()
        yield 2

    async with asyncio.timeout(20):
        results = stage(work.double, cache=cache)(slow())
        assert await anext(results) == 2
        more.set()
        assert [result async for result in results] == [4]


async def test_equal_items_are_made_once(cache: ToolCache, work: Work) -> None:
    """C16: items that come twice are made once, though both are under way; and so across pipelines."""
    pipelines = [stage(work.double, cache=cache).collect([1, 2, 1, 1, 2]) for _ in range(3)]
    assert await asyncio.gather(*pipelines) == [[2, 4, 2, 2, 4]] * 3
    assert sorted(work.asked) == [1, 2]


async def test_steps_follow_one_another(cache: ToolCache, work: Work) -> None:
    """C16: stages are joined by ``|``, with plain functions too, whose results are not kept."""
    seen: list[Any] = []

    async def show(vector: list[float]) -> str:
        seen.append(vector)
        return f"<{vector[0]}>"

    def name(number: int) -> str:
        return "x" * number

    pipeline = stage(work.double, cache=cache) | name | stage(work.embed, cache=cache, batch_size=2) | show
    for _ in range(2):
        assert await pipeline.collect([3, 1, 2]) == ["<6.0>", "<2.0>", "<4.0>"]
    assert work.asked == [3, 1, 2, ["xxxxxx", "xx"], ["xxxx"]]
    assert len(seen) == 6
    assert repr(pipeline) == "<Stage of 4>"
    with pytest.raises(TypeError):
        _ = pipeline | 7  # type: ignore[operator]  # the mistake


async def test_batches_hold_what_is_missing(cache: ToolCache, work: Work) -> None:
    """C16: with ``batch_size`` a function gets lists of what is missing, each item once; results are everybody's own."""
    pipeline = stage(work.embed, cache=cache, batch_size=4, max_parallel=1)
    first = await pipeline.collect(["a", "bb", "a", "ccc", "dddd"])
    assert first == [[1.0], [2.0], [1.0], [3.0], [4.0]]
    assert work.asked == [["a", "bb", "ccc"], ["dddd"]]
    first[0].append(9.0)
    assert first[2] == [1.0]
    assert await pipeline.collect(["eeeee", "bb", "a"]) == [[5.0], [2.0], [1.0]]
    assert work.asked[2:] == [["eeeee"]]

    async def too_few(items: list[str]) -> list[int]:
        return [1]

    with pytest.raises(ValueError, match="1 results for 2 items"):
        await stage(too_few, cache=cache, batch_size=2).collect(["a", "b"])


async def all_of(results: AsyncIterator[Any]) -> tuple[list[Any], Exception | None]:
    """What comes out, and what is raised at last."""
    got: list[Any] = []
    try:
        while True:
            got.append(await anext(results))
    except StopAsyncIteration:
        return got, None
    except (KeyError, OSError) as error:
        return got, error


async def test_a_failure_comes_in_its_place(cache: ToolCache) -> None:
    """C16: what was before a failure is given, the failure is raised as it is, the rest is ended; what was made is kept."""
    made: list[int] = []
    broken = True

    async def fragile(item: int) -> int:
        if item == 5 and broken:
            raise KeyError(item)
        made.append(item)
        return item

    pipeline = stage(fragile, cache=cache, max_parallel=3)
    got, error = await all_of(pipeline(range(10)))
    assert (got, repr(error)) == ([0, 1, 2, 3, 4], "KeyError(5)")
    broken = False
    assert await pipeline.collect(range(10)) == list(range(10))
    assert len(made) == len(set(made))


async def test_a_source_whose_own_wait_was_cancelled(cache: ToolCache, work: Work) -> None:
    """C16: a source that waited for what somebody has cancelled ends the pipeline; nobody waits for ever."""

    async def source() -> AsyncIterator[int]:
        yield 1
        lost = asyncio.get_running_loop().create_future()
        lost.cancel()
        await lost

    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await stage(work.double, cache=cache).collect(source())


async def test_a_batch_of_results_has_an_order(cache: ToolCache) -> None:
    """C16: a function that returns a dict, a set or a text for a list of items is refused: these have no result for each."""
    for given in ({"a": 1, "b": 2}, {1, 2}, "xy"):

        async def answers(_items: list[str], given: Any = given) -> Any:
            return given

        with pytest.raises(TypeError, match="give a list, of one result for each item"):
            await stage(answers, cache=cache, batch_size=2).collect(["a", "b"])


async def test_a_source_that_fails_is_heard_last(cache: ToolCache, work: Work) -> None:
    """C16: what a source has given before it failed comes out first."""

    async def source() -> AsyncGenerator[int, None]:
        yield 1
        yield 2
        raise OSError("unplugged")

    got, error = await all_of(stage(work.double, cache=cache)(source()))
    assert (got, str(error)) == ([2, 4], "unplugged")


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_who_leaves_leaves_nothing_behind(cache: ToolCache, work: Work, how: str) -> None:
    """C16: stopping early ends what is under way, in every step, and closes the source; no task is left."""
    closed: list[str] = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            for number in range(1, 1000, 3):
                yield number
        finally:
            closed.append("source")

    async def forever(item: int) -> int:
        if item > 6:
            try:
                await asyncio.Event().wait()
            finally:
                closed.append("step")
        return item

    pipeline = stage(work.double, cache=cache, max_parallel=2) | stage(forever, cache=cache, max_parallel=2)
    before = asyncio.all_tasks()

    async def use() -> int:
        async with aclosing(pipeline(source())) as results:
            first = await anext(results)
            return first if how == "close" else await anext(results)

    using = asyncio.create_task(use())
    if how == "cancel":
        await until(lambda: work.asked[2:])
        using.cancel()
    await asyncio.wait([using])
    assert using.cancelled() if how == "cancel" else using.result() == 2
    await asyncio.sleep(0)
    assert "source" in closed
    assert asyncio.all_tasks() <= before


async def test_who_leaves_ends_the_scan_that_it_was_fed_by(cache: ToolCache) -> None:
    """Like any generator."""
    await cache.set_many({f"key:{number}": number for number in range(100)})
    scan = cache.scan("key:*")

    async def size_of(info: KeyInfo) -> int:
        return info.size

    async with aclosing(stage(size_of, cache=cache, key=attrgetter("key"), max_parallel=1)(scan)) as sizes:
        assert await anext(sizes) > 0
    assert [info async for info in scan] == []


async def test_what_decides_a_result_can_be_chosen(cache: ToolCache) -> None:
    """BUG-106: with ``key`` it decides alone; without, the whole item, which has to have a canonical form."""
    made: list[Any] = []

    async def read(page: dict[str, Any]) -> str:
        made.append(page)
        return str(page["url"])

    pages = [{"url": "a", "at": 1}, {"url": "a", "at": 2}]
    assert await stage(read, cache=cache, key=lambda page: page["url"]).collect(pages) == ["a", "a"]
    assert len(made) == 1
    await stage(read, cache=cache).collect(pages)
    assert len(made) == 3
    with pytest.raises(UnsupportedKeyError):
        await stage(read, cache=cache).collect([object()])  # type: ignore[list-item]  # the mistake


async def test_steps_are_told_apart_by_name(cache: ToolCache, work: Work) -> None:
    """BUG-106: results are found by the function's name, or ``name``, which what has none of its own must be given."""
    assert await stage(work.double, cache=cache).collect([2]) == [4]
    assert await stage(partial(mul, 3), cache=cache, name="triple").collect([2]) == [6]
    assert await stage(work.double, cache=cache, name="triple").collect([2]) == [6]
    for nameless in (lambda item: item, partial(work.double, 1)):
        with pytest.raises(SettingsError, match="name="):
            stage(nameless, cache=cache)


async def test_results_have_a_lifetime_and_tags(cache: ToolCache, work: Work, clock: FakeClock) -> None:
    """BUG-106: ``ttl``, ``tags`` and freshness are those of the results, alone and in batches."""
    for name, made in (
        ("one", stage(work.double, cache=cache, ttl="10s", tags=["n"])),
        ("many", stage(work.embed, cache=cache, ttl=10, tags=["n"], batch_size=2)),
    ):
        items: Any = [1] if name == "one" else ["a"]
        work.asked.clear()
        await made.collect(items)
        clock.advance(9)
        await made.collect(items)
        assert len(work.asked) == 1
        clock.advance(2)
        await made.collect(items)
        assert len(work.asked) == 2
        await cache.invalidate(tags=["n"])
        await made.collect(items)
        assert len(work.asked) == 3

    async def fails(item: int) -> int:
        raise KeyError(item)

    await stage(work.double, cache=cache, name="graceful", ttl=10, grace=100).collect([1])
    clock.advance(50)
    assert await stage(fails, cache=cache, name="graceful", ttl=10, grace=100).collect([1]) == [2]


async def test_tenants_have_results_of_their_own(work: Work) -> None:
    """BUG-111: the key of a result is its tenant's alone."""
    keys: list[set[str]] = []
    for tenant in ("a", "b"):
        async with ToolCache(files=False, tenant=tenant) as cache:
            await stage(work.double, cache=cache).collect([1])
            keys.append({key async for key in _keys(cache)})
    assert len(keys[0]) == len(keys[1]) == 1
    assert keys[0] != keys[1]


async def _keys(cache: ToolCache) -> AsyncGenerator[str, None]:
    async for info in cache.scan():
        yield info.key


async def test_the_default_cache_is_the_process_own(
    monkeypatch: pytest.MonkeyPatch, cache: ToolCache, work: Work
) -> None:
    """BUG-105: without ``cache`` results are in the process's own, looked up when something is made."""
    monkeypatch.setattr("toolcache.stages.get_cache", lambda: cache)
    await stage(work.double).collect([1])
    assert len([key async for key in _keys(cache)]) == 1


make: Any = stage
"""The same, for calls that no checker lets pass."""


@pytest.mark.parametrize(
    ("mistake", "error", "match"),
    [
        (lambda: make(len, max_parallel=0), ValueError, "max_parallel"),
        (lambda: make(len, batch_size=0), ValueError, "batch_size"),
        (lambda: make(len, ttl=-1), ValueError, "ttl"),
        (lambda: make(len, tags="news"), ValueError, "tags"),
        (lambda: make(len, graec=1), TypeError, "grace"),
        (lambda: make(len, batch_size=2, grace=1), TypeError, "grace"),
        (lambda: make(7), TypeError, "function"),
        (lambda: make(len)("abc"), TypeError, "several"),
    ],
)
def test_what_cannot_be_is_refused(mistake: Callable[[], Any], error: type[Exception], match: str) -> None:
    """BUG-106: an option that cannot be is refused where it is given."""
    with pytest.raises(error, match=match):
        mistake()
