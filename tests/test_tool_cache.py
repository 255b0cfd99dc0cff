"""ToolCache on every layering: the domains, opening and closing, the process's own cache."""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from servers import RedisServer

import toolcache
from toolcache import MISSING, AgentTask, Digest, Durability, Settings, ToolCache, get_cache
from toolcache.errors import (
    CacheClosedError,
    CacheWriteError,
    SerializationError,
    SettingsError,
    UnsupportedKeyError,
    ValueTooLargeError,
)
from toolcache.keys.canonical import digest
from toolcache.pieces import PIECE
from toolcache.testing import FakeClock

LAYERINGS = ("memory", "memory+file", "memory+redis", "memory+redis+file")
HOUR = 3600.0
DAY = 24 * HOUR
TASK = AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small")

Open = Callable[..., ToolCache]


@pytest.fixture
def clock() -> FakeClock:
    """A clock to move that agrees with the Redis server when the test begins: each connect asks the server."""
    return FakeClock(time.time())


@pytest.fixture(params=LAYERINGS)
def layering(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_cache(
    layering: str, tmp_path: Path, clock: FakeClock, request: pytest.FixtureRequest
) -> AsyncIterator[Open]:
    """Opens caches of the layering that share their stores, as two processes would."""
    opened: list[ToolCache] = []
    options: dict[str, Any] = {"directory": tmp_path / "files", "files": "file" in layering}
    if "redis" in layering:
        options["redis_url"] = request.getfixturevalue("redis_server").url

    def open_one(**more: Any) -> ToolCache:
        cache = ToolCache(clock=clock, **options | more)
        opened.append(cache)
        return cache

    yield open_one
    for cache in opened:
        await cache.aclose()


@pytest.fixture
def cache(open_cache: Open) -> ToolCache:
    return open_cache()


@pytest.fixture
def durability(layering: str) -> Durability:
    """Where a write is safe while all is well."""
    if "redis" in layering:
        return Durability.REDIS
    return Durability.FILE if "file" in layering else Durability.MEMORY


class Counted:
    """A computation that tells how often it ran."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.runs = 0

    async def __call__(self) -> Any:
        self.runs += 1
        return self.value


class Embedder:
    """Makes a vector of each text, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.called = asyncio.Semaphore(0)
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(texts)
        self.called.release()
        await self.gate.wait()
        return [vector_of(text) for text in texts]


def vector_of(text: str) -> list[float]:
    return [float(len(text)), 0.1, -0.0]


class Row:
    """How one domain is got, set and deleted; ``other`` is a call that must not meet the first."""

    def __init__(
        self,
        name: str,
        ttl: float,
        get: Callable[..., Awaitable[Any]],
        put: Callable[..., Awaitable[Durability]],
        delete: Callable[[ToolCache], Awaitable[bool]],
        others: list[Callable[[ToolCache], Awaitable[Any]]],
        value: Any,
    ) -> None:
        self.name = name
        self.ttl = ttl
        self.get = get
        self.put = put
        self.delete = delete
        self.others = others
        self.value = value


ROWS = [
    Row(
        "catalog",
        DAY,
        lambda cache, **how: cache.get_catalog("https://a", **how),
        lambda cache, value, **how: cache.set_catalog("https://a", value, **how),
        lambda cache: cache.delete_catalog("https://a"),
        [
            lambda cache: cache.get_catalog("https://b"),
            lambda cache: cache.get_catalog("https://a", version="v3"),
        ],
        {"tools": [{"name": "search", "args": {"q": "text"}}]},
    ),
    Row(
        "embedding",
        7 * DAY,
        lambda cache, **how: cache.get_embedding("hello", "ada-002", **how),
        lambda cache, value, **how: cache.set_embedding("hello", "ada-002", value, **how),
        lambda cache: cache.delete_embedding("hello", "ada-002"),
        [
            lambda cache: cache.get_embedding("hello ", "ada-002"),
            lambda cache: cache.get_embedding("hello", "ada-003"),
            lambda cache: cache.get_embedding("hello", "ada-002", variant="256d"),
        ],
        [0.1, -2.5, 1e-30],
    ),
    Row(
        "search",
        HOUR,
        lambda cache, **how: cache.get_search_results("weather", **how),
        lambda cache, value, **how: cache.set_search_results("weather", value, **how),
        lambda cache: cache.delete_search_results("weather"),
        [
            lambda cache: cache.get_search_results("Weather"),
            lambda cache: cache.get_search_results("weather", catalog_version="v3"),
            lambda cache: cache.get_search_results("weather", top_k=5),
        ],
        [("get_weather", 0.93), ("get_forecast", 0.81)],
    ),
    Row(
        "metadata",
        DAY,
        lambda cache, **how: cache.get_metadata("get_weather", **how),
        lambda cache, value, **how: cache.set_metadata("get_weather", value, **how),
        lambda cache: cache.delete_metadata("get_weather"),
        [
            lambda cache: cache.get_metadata("get_forecast"),
            lambda cache: cache.get_metadata("get_weather", version="2"),
        ],
        {"name": "get_weather", "schema": {"type": "object"}},
    ),
]


@pytest.fixture(params=ROWS, ids=[row.name for row in ROWS])
def row(request: pytest.FixtureRequest) -> Row:
    found: Row = request.param
    return found


# -- what every domain does ----------------------------------------------------------------------------------------


async def test_a_value_that_was_set_is_got_until_it_is_deleted(
    cache: ToolCache, row: Row, durability: Durability
) -> None:
    """A1, LR-10, LR-12: set, get, delete; on any layering the same, and the write says where it is safe."""
    assert await row.get(cache) is None
    assert await row.put(cache, row.value) is durability
    assert await row.get(cache) == row.value
    assert await row.delete(cache) is True
    assert await row.get(cache) is None
    assert await row.delete(cache) is False


async def test_other_arguments_are_another_entry(cache: ToolCache, row: Row) -> None:
    """A4, A9: version, model, variant, top_k and the text itself each make an entry of its own."""
    await row.put(cache, row.value)
    assert [await other(cache) for other in row.others] == [None] * len(row.others)


async def test_a_miss_is_computed_once_and_kept(cache: ToolCache, row: Row) -> None:
    """C2: with compute= a getter computes, stores and returns; twenty at once are one computation."""
    compute = Counted(row.value)
    values = await asyncio.gather(*(row.get(cache, compute=compute) for _ in range(20)))
    assert values == [row.value] * 20
    assert await row.get(cache, compute=compute) == row.value
    assert await row.get(cache) == row.value
    assert compute.runs == 1


async def test_a_value_lives_as_long_as_its_domain_says(cache: ToolCache, row: Row, clock: FakeClock) -> None:
    """A1, BUG-101: the domain's lifetime is applied to what is set and to what is computed."""
    await row.put(cache, row.value)
    clock.advance(row.ttl - 1)
    assert await row.get(cache) == row.value
    clock.advance(2)
    assert await row.get(cache) is None
    await cache._machine._follower.catch_up()  # who hears of a write late takes what is computed since for overtaken
    await row.get(cache, compute=Counted(row.value))
    await asyncio.gather(*cache._machine.homes.here()._tasks)  # a day is more than a write may take
    clock.advance(row.ttl - 1)
    assert await row.get(cache) == row.value
    clock.advance(2)
    assert await row.get(cache) is None


async def test_a_setter_can_say_otherwise(cache: ToolCache, row: Row, clock: FakeClock) -> None:
    """C4: ttl= of one call wins, None is for ever, and what is no span changes nothing."""
    await row.put(cache, row.value, ttl="5m")
    clock.advance(301)
    assert await row.get(cache) is None
    await row.put(cache, row.value, ttl=None)
    with pytest.raises(ValueError, match="ttl"):
        await row.put(cache, row.value, ttl=0)
    clock.advance(10 * 365 * DAY)
    assert await row.get(cache) == row.value


async def test_tags_are_kept_with_the_entry(open_cache: Open, row: Row) -> None:
    """Tags given to a setter are those of the entry."""
    cache = open_cache(coherence=False)
    await row.put(cache, row.value, tags=["products:phones", "eu"])
    (name,) = [key for shard in cache._parts.memory.shards for key in shard]
    entry = await cache.get_entry(name)
    assert entry is not None
    assert entry.tags == ("products:phones", "eu")


async def test_another_process_finds_it(open_cache: Open, row: Row, layering: str) -> None:
    """LR-01: what one cache stored, another over the same stores reads; memory alone is nobody else's."""
    first, second = open_cache(), open_cache()
    await row.put(first, row.value)
    assert await row.get(second) == (None if layering == "memory" else row.value)


async def test_nobody_can_spoil_anothers_copy(cache: ToolCache, row: Row) -> None:
    """LR-08: what a caller changes, before or after, stays the caller's."""
    mine = row.value.copy()
    await row.put(cache, mine)
    mine.clear()
    (await row.get(cache)).clear()
    assert await row.get(cache) == row.value


async def test_a_computation_may_say_how_long_its_value_is_good(cache: ToolCache, clock: FakeClock) -> None:
    """A computation that takes a context sets lifetime and tags, or keeps its value out of the cache."""

    def short(context: Any) -> str:
        context.ttl = "1m"
        return "soon stale"

    def partial(context: Any) -> str:
        context.skip()
        return "half an answer"

    assert await cache.get_metadata("a", compute=short) == "soon stale"
    assert await cache.get_metadata("b", compute=partial) == "half an answer"
    assert await cache.get_metadata("b") is None
    clock.advance(61)
    assert await cache.get_metadata("a") is None


async def test_a_failing_computation_is_the_callers_own(cache: ToolCache, row: Row) -> None:
    """C2: its exception comes through untouched, nothing is stored, and the next call tries again."""

    def fail() -> Any:
        raise ZeroDivisionError("of the computation")

    with pytest.raises(ZeroDivisionError, match="of the computation"):
        await row.get(cache, compute=fail)
    assert await row.get(cache, compute=Counted(row.value)) == row.value


# -- keys ----------------------------------------------------------------------------------------------------------


async def test_keys_are_as_the_manual_says(open_cache: Open) -> None:
    """A4: readable parts, percent-encoded, and 64 digits of what cannot be read; a raw get finds them."""
    cache = open_cache(coherence=False)
    await cache.set_catalog({"b": 1, "a": [2]}, "C")
    await cache.set_embedding("text", "llama3:8b", [1.0])
    await cache.set_embedding("text", "ada", [2.0], variant="256d")
    await cache.set_search_results("q", "S", top_k=3)
    await cache.set_metadata("mcp/weather", "M")
    names = {str(key) for shard in cache._parts.memory.shards for key in shard}
    assert names == {
        f"catalog:v2:{digest({'a': [2], 'b': 1})}",
        f"embedding:llama3%3A8b:{digest('text')}",
        f"embedding:ada:256d:{digest('text')}",
        f"search:v2:3:{digest('q')}",
        "metadata:mcp/weather:1",
    }
    assert await cache.get("metadata:mcp/weather:1") == "M"


async def test_parts_of_a_key_cannot_run_into_each_other(cache: ToolCache) -> None:
    """BUG-72: a colon in a name is the name's own."""
    await cache.set_metadata("a:b", "one", version="c")
    assert await cache.get_metadata("a", version="b:c") is None
    await cache.set_embedding("t", "m:x", [1.0])
    assert await cache.get_embedding("t", "m", variant="x") is None


async def test_a_digest_computed_elsewhere_stands_for_its_text(cache: ToolCache) -> None:
    """A4: who has the digest need not have the text."""
    await cache.set_embedding("text", "ada", [1.0])
    assert await cache.get_embedding(Digest(digest("text")), "ada") == [1.0]
    assert await cache.get_embedding(str(digest("text")), "ada") is None


async def test_what_cannot_be_part_of_a_key_is_refused(cache: ToolCache) -> None:
    """KY-03, A4: never the repr of an object, never a number for a text."""
    with pytest.raises(UnsupportedKeyError):
        await cache.get_catalog(object())
    with pytest.raises(UnsupportedKeyError):
        await cache.get_metadata(7)  # type: ignore[call-overload]  # the point of the test
    wrong: list[Any] = [0, -1, True, 2.0, "3"]
    for top_k in wrong:
        with pytest.raises(ValueError, match="top_k"):
            await cache.get_search_results("q", top_k=top_k)


async def test_tenants_share_no_entry(open_cache: Open, row: Row) -> None:
    """BUG-111: one store, one namespace, two tenants: neither reads nor deletes what is the other's."""
    ours, theirs, nobodys = open_cache(tenant="ours"), open_cache(tenant="theirs"), open_cache()
    for owner in (ours, theirs, nobodys):
        assert await row.get(owner) is None
        await row.put(owner, row.value)
        assert await row.delete(owner) is True
    await row.put(ours, row.value)
    assert await row.delete(theirs) is False
    assert await row.get(theirs) is None
    assert await row.get(ours) == row.value


async def test_namespaces_share_no_entry(open_cache: Open, row: Row) -> None:
    """A10: clearing one namespace leaves the other."""
    shop, bank = open_cache(namespace="shop"), open_cache(namespace="bank")
    await row.put(shop, row.value)
    assert await row.get(bank) is None
    await row.put(bank, row.value)
    await shop.clear()
    assert await row.get(shop) is None
    assert await row.get(bank) == row.value


# -- embeddings by the batch ---------------------------------------------------------------------------------------


async def test_a_batch_computes_what_is_missing_once_and_answers_in_order(cache: ToolCache) -> None:
    """BUG-113: hits are not computed again, each distinct text is embedded once, and the order is the caller's."""
    await cache.set_embedding("bb", "ada", [7.0, 7.0, 7.0])
    embedder = Embedder()
    texts = ["ccc", "bb", "a", "ccc", "a"]
    vectors = await cache.get_embeddings(texts, "ada", compute=embedder)
    assert vectors == [vector_of("ccc"), [7.0, 7.0, 7.0], vector_of("a"), vector_of("ccc"), vector_of("a")]
    assert embedder.asked == [["ccc", "a"]]
    assert await cache.get_embeddings(texts, "ada") == vectors
    assert await cache.get_embeddings(texts, "ada", compute=embedder) == vectors
    assert len(embedder.asked) == 1
    vectors[0].clear()
    assert vectors[3] == vector_of("ccc")


async def test_a_vector_that_was_just_made_is_nobody_elses(cache: ToolCache) -> None:
    """BUG-79, LR-08: changing what came back, or what the model returned and still has, changes nothing in the cache."""
    kept = [[0.5, 1.0], [0.1, 2.0]]
    vectors = await cache.get_embeddings(["a", "bb"], "ada", compute=lambda _texts: kept)
    single = await cache.get_embedding("ccc", "ada", compute=lambda: kept[1])
    assert [*vectors, single] == [[0.5, 1.0], [0.1, 2.0], [0.1, 2.0]]
    for vector in (*vectors, single, *kept):
        vector.clear()
    assert await cache.get_embeddings(["a", "bb", "ccc"], "ada") == [[0.5, 1.0], [0.1, 2.0], [0.1, 2.0]]


async def test_a_domain_may_say_how_long_its_vectors_are(cache: ToolCache) -> None:
    """BUG-114: a vector of another length is refused, alone and in a batch, and nothing is stored."""
    cache._rows["embedding"] = cache._rows["embedding"]._replace(dimensions=2)
    with pytest.raises(SerializationError, match="3 elements, not 2"):
        await cache.set_embedding("a", "ada", [1.0, 2.0, 3.0])
    with pytest.raises(SerializationError, match="3 elements, not 2"):
        await cache.set_embeddings(["a", "b"], "ada", [[1.0, 2.0, 3.0]] * 2)
    assert await cache.get_embeddings(["a", "b"], "ada") == [None, None]
    await cache.set_embedding("a", "ada", [1.0, 2.0])
    assert await cache.get_embedding("a", "ada") == [1.0, 2.0]


async def test_a_batch_without_compute_says_what_is_missing(cache: ToolCache) -> None:
    """A miss is None in its place; an empty batch asks nobody."""
    await cache.set_embedding("bb", "ada", [1.0])
    assert await cache.get_embeddings(["a", "bb"], "ada") == [None, [1.0]]
    embedder = Embedder()
    assert await cache.get_embeddings([], "ada", compute=embedder) == []
    assert embedder.asked == []


async def test_batches_of_a_size(cache: ToolCache) -> None:
    """``batch_size`` bounds what compute is given; what early batches made is kept when a later one fails."""
    embedder = Embedder()
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    await cache.get_embeddings(texts, "ada", compute=embedder, batch_size=2)
    assert embedder.asked == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]

    async def fails_late(texts: list[str]) -> list[list[float]]:
        if "ccc" in texts:
            raise ConnectionError("rate limit")
        return await embedder(texts)

    with pytest.raises(ConnectionError, match="rate limit"):
        await cache.get_embeddings(texts, "other", compute=fails_late, batch_size=2)
    assert await cache.get_embeddings(texts, "other") == [vector_of("a"), vector_of("bb"), None, None, None]
    with pytest.raises(ValueError, match="batch_size"):
        await cache.get_embeddings(texts, "third", compute=embedder, batch_size=0)


async def test_concurrent_batches_share_what_they_both_want(cache: ToolCache) -> None:
    """BUG-113: a text that is being embedded for one batch is not embedded for another, nor for a single get."""
    embedder = Embedder()
    embedder.gate.clear()
    first = asyncio.create_task(cache.get_embeddings(["a", "bb"], "ada", compute=embedder))
    await embedder.called.acquire()
    second = asyncio.create_task(cache.get_embeddings(["bb", "ccc"], "ada", compute=embedder))
    single = asyncio.create_task(cache.get_embedding("a", "ada", compute=Counted([9.0])))
    await embedder.called.acquire()
    embedder.gate.set()
    assert await first == [vector_of("a"), vector_of("bb")]
    assert await second == [vector_of("bb"), vector_of("ccc")]
    assert await single == vector_of("a")
    assert embedder.asked == [["a", "bb"], ["ccc"]]


async def test_one_bad_vector_does_not_lose_the_batch(cache: ToolCache) -> None:
    """BUG-113, BUG-114: what cannot be stored goes to its caller alone; the others are kept."""

    def embed(texts: list[str]) -> list[list[float]]:
        return [[float("nan"), 1.0] if text == "bad" else [0.5, 1.0] for text in texts]

    vectors = await cache.get_embeddings(["a", "bad", "b"], "ada", compute=embed)
    assert vectors[0] == vectors[2] == [0.5, 1.0]
    assert vectors[1][1] == 1.0
    assert await cache.get_embeddings(["a", "bad", "b"], "ada") == [[0.5, 1.0], None, [0.5, 1.0]]


async def test_a_computation_that_answers_wrongly_is_told(cache: ToolCache) -> None:
    """BUG-114: another number of vectors, or vectors of various lengths, are refused, and nothing is stored."""
    with pytest.raises(SerializationError, match="1 vectors for 2 texts"):
        await cache.get_embeddings(["a", "b"], "ada", compute=lambda _texts: [[1.0]])
    with pytest.raises(SerializationError, match="vector 2 has 1 elements, not 2"):
        await cache.get_embeddings(["a", "b", "c"], "ada", compute=lambda _: [[1.0, 2.0], [1.0, 2.0], [1.0]])
    assert await cache.get_embeddings(["a", "b", "c"], "ada") == [None, None, None]


@pytest.mark.parametrize("vector", [[], [float("nan")], [float("inf")], ["1.0"], "text", None])
async def test_a_vector_that_is_none_is_refused(cache: ToolCache, vector: Any) -> None:
    """BUG-114: empty, not finite, not floats: refused when it is set, and the old value stays."""
    await cache.set_embedding("a", "ada", [1.0])
    with pytest.raises((SerializationError, TypeError)):
        await cache.set_embedding("a", "ada", vector)
    assert await cache.get_embedding("a", "ada") == [1.0]


async def test_vectors_are_set_together_or_not_at_all(cache: ToolCache, durability: Durability) -> None:
    """BUG-114: a batch of various lengths, or with too few vectors, changes nothing."""
    assert await cache.set_embeddings(["a", "b"], "ada", [[1.0], [2.0]], ttl="1h") == [durability, durability]
    with pytest.raises(SerializationError, match="vector 1 has 2 elements"):
        await cache.set_embeddings(["a", "b", "c"], "ada", [[3.0], [3.0, 3.0], [3.0]])
    with pytest.raises(ValueError, match="2 texts and 1 vectors"):
        await cache.set_embeddings(["a", "b"], "ada", [[3.0]])
    with pytest.raises(TypeError, match="texts is one text"):
        await cache.get_embeddings("ab", "ada")
    assert await cache.get_embeddings(["a", "b", "c"], "ada") == [[1.0], [2.0], None]
    assert await cache.set_embeddings([], "ada", []) == []


async def test_many_vectors_leave_the_loop_its_turns(cache: ToolCache) -> None:
    """However many vectors are asked for, computed or stored, others have their turn after a few of them at most."""
    texts, embedder, turns = [f"text {number}" for number in range(20 * PIECE)], Embedder(), 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(others())
    try:
        for work in (
            lambda: cache.get_embeddings(texts, "ada", compute=embedder),
            lambda: cache.get_embeddings(texts, "ada", compute=embedder),
            lambda: cache.get_embeddings(texts, "ada"),
            lambda: cache.set_embeddings(texts, "ada", [vector_of(text) for text in texts]),
            lambda: cache.get_embeddings(texts, "other"),
        ):
            turns = 0
            await work()
            assert turns >= 20
    finally:
        task.cancel()
    assert embedder.asked == [texts]
    assert await cache.get_embeddings(texts, "ada") == [vector_of(text) for text in texts]


async def test_redis_is_asked_for_a_piece_at_a_time(open_cache: Open) -> None:
    """A batch reaches Redis as operations of a piece or two, so that none holds up the loop, or others, for long."""
    texts = [f"text {number}" for number in range(5 * PIECE)]
    vectors = [vector_of(text) for text in texts]
    first, second = open_cache(), open_cache()
    await first.set_embeddings(texts, "ada", vectors)
    layer = second._parts.redis
    if layer is None:
        return
    asked: list[int] = []
    get_many = layer.store.get_many

    async def counted(keys: Sequence[str], /) -> list[bytes | None]:
        asked.append(len(keys))
        return await get_many(keys)

    layer.store.get_many = counted  # type: ignore[method-assign]  # a spy
    assert await second.get_embeddings(texts, "ada") == vectors
    assert sum(asked) >= len(texts)
    assert max(asked) <= 2 * PIECE + 1  # the epoch of the namespace goes with the first


async def test_a_batch_with_a_bad_vector_at_its_end_stores_none(cache: ToolCache) -> None:
    """BUG-114: all vectors are looked at before the first is stored, in however many pieces that is done."""
    texts = [f"text {number}" for number in range(3 * PIECE)]
    vectors: list[list[float]] = [[1.0, 2.0] for _ in texts]
    vectors[-1][1] = float("nan")
    with pytest.raises(SerializationError, match="element 1"):
        await cache.set_embeddings(texts, "ada", vectors)
    assert await cache.get_embeddings(texts, "ada") == [None] * len(texts)


async def test_a_batch_with_too_large_a_vector_at_its_end_stores_none(open_cache: Open) -> None:
    """What takes 64 bits may be too large where what takes 32 is not; nothing is stored then, either."""
    cache = open_cache(max_entry=100)
    texts = [f"text {number}" for number in range(3 * PIECE)]
    vectors = [[0.5] * 20 for _ in texts[1:]] + [[0.1] * 20]
    with pytest.raises(ValueTooLargeError):
        await cache.set_embeddings(texts, "ada", vectors)
    assert await cache.get_embeddings(texts, "ada") == [None] * len(texts)


async def test_a_large_batch_may_name_a_text_twice(cache: ToolCache) -> None:
    """Each place has a list of its own, the last vector of a text counts, and what is not there is None."""
    texts = [f"text {number % (2 * PIECE)}" for number in range(4 * PIECE)]
    kept = await cache.set_embeddings(texts, "ada", [[float(number)] for number in range(4 * PIECE)])
    assert len(kept) == 4 * PIECE
    vectors = await cache.get_embeddings([*texts, "absent"], "ada")
    expected = [[float(2 * PIECE + number % (2 * PIECE))] for number in range(4 * PIECE)]
    assert vectors == [*expected, None]
    assert len({id(vector) for vector in vectors}) == len(vectors)


async def test_large_batches_share_what_they_both_want(cache: ToolCache) -> None:
    """BUG-113: of two large batches under way, each text is embedded once; one that leaves takes nothing from the other."""
    embedder = Embedder()
    embedder.gate.clear()
    texts = [f"text {number}" for number in range(4 * PIECE)]
    first = asyncio.create_task(cache.get_embeddings(texts[: 3 * PIECE], "ada", compute=embedder))
    await embedder.called.acquire()
    second = asyncio.create_task(cache.get_embeddings(texts[PIECE:], "ada", compute=embedder))
    await embedder.called.acquire()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    embedder.gate.set()
    assert await second == [vector_of(text) for text in texts[PIECE:]]
    assert embedder.asked == [texts[: 3 * PIECE], texts[3 * PIECE :]]


async def test_a_large_batch_that_nobody_waits_for_is_given_up(cache: ToolCache) -> None:
    """SF-05: when its only caller leaves, the computation is cancelled, and its keys are free."""
    embedder = Embedder()
    embedder.gate.clear()
    texts = [f"text {number}" for number in range(3 * PIECE)]
    only = asyncio.create_task(cache.get_embeddings(texts, "ada", compute=embedder))
    await embedder.called.acquire()
    only.cancel()
    with pytest.raises(asyncio.CancelledError):
        await only
    embedder.gate.set()
    assert await cache.get_embeddings(texts, "ada", compute=embedder) == [vector_of(text) for text in texts]
    assert len(embedder.asked) == 2


async def test_a_large_batch_in_the_midst_of_which_the_cache_is_closed_is_refused(cache: ToolCache) -> None:
    """Who stores it is told, and does not wait for ever."""
    texts = [f"text {number}" for number in range(10 * PIECE)]
    storing = asyncio.create_task(cache.set_embeddings(texts, "ada", [vector_of(text) for text in texts]))
    await asyncio.sleep(0)
    await cache.aclose()
    with pytest.raises(CacheClosedError):
        await storing


async def test_a_strict_batch_is_stored_as_well_as_it_can_be(open_cache: Open, layering: str) -> None:
    """With ``strict`` the caller is told that no shared store took it; this process has all of it all the same."""
    if layering != "memory+redis":
        return
    cache = open_cache(strict=True, redis_url="redis://127.0.0.1:1")
    texts = [f"text {number}" for number in range(3 * PIECE)]
    with pytest.raises(CacheWriteError):
        await cache.set_embeddings(texts, "ada", [vector_of(text) for text in texts])
    assert await cache.get_embeddings(texts, "ada") == [vector_of(text) for text in texts]


async def test_arrays_come_back_as_arrays(open_cache: Open, layering: str) -> None:
    """A NumPy array comes back read-only, of its type, from memory and from the stores; a matrix is a batch."""
    first, second = open_cache(), open_cache()
    matrix = np.array([[0.1, 0.2], [0.3, 0.4]], dtype=np.float32)
    computed = await first.get_embeddings(["a", "b"], "ada", compute=lambda _texts: matrix)
    assert np.array_equal(computed, matrix)
    await first.set_embeddings(["a", "b"], "ada", matrix)
    for reader in (first,) if layering == "memory" else (first, second):
        vector: Any = await reader.get_embedding("b", "ada")
        assert vector.dtype == np.float32
        assert np.array_equal(vector, matrix[1])
        assert not vector.flags.writeable


# -- results -------------------------------------------------------------------------------------------------------


async def test_a_result_is_kept_once(open_cache: Open, durability: Durability, layering: str) -> None:
    """ID-01: the first output stays, whoever comes later with another; the same task made anew finds it."""
    cache, other = open_cache(), open_cache()
    again = AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small")
    assert await cache.get_result(TASK) is None
    assert await cache.set_result(TASK, {"label": "greeting"}) is durability
    await cache.set_result(again, {"label": "other"})
    assert await cache.get_result(again) == {"label": "greeting"}
    if layering != "memory":
        await other.set_result(again, {"label": "third"})
        assert await other.get_result(again) == {"label": "greeting"}


@pytest.mark.parametrize("output", [None, 0, "", False, [], {}, (1, 2), np.array([1.0])])
async def test_any_output_is_a_result(cache: ToolCache, output: Any) -> None:
    """ID-01: falsy outputs and None are results; MISSING as the default tells them from a miss."""
    assert await cache.get_result(TASK, MISSING) is MISSING
    await cache.set_result(TASK, output)
    found = await cache.get_result(TASK, MISSING)
    assert found is not MISSING
    assert type(found) is type(output)
    assert np.array_equal(found, output) if isinstance(output, np.ndarray) else found == output


async def test_a_result_is_forgotten_by_command_or_in_time(cache: ToolCache, clock: FakeClock) -> None:
    """ID-32: after delete_result, after an hour or the ttl given, the task may run again."""
    await cache.set_result(TASK, "first")
    assert await cache.delete_result(TASK) is True
    assert await cache.delete_result(TASK) is False
    assert await cache.get_result(TASK) is None
    await cache.set_result(TASK, "second")
    clock.advance(HOUR - 1)
    assert await cache.get_result(TASK) == "second"
    clock.advance(2)
    assert await cache.get_result(TASK) is None
    short = AgentTask("classifier", "classify {text}", {"text": "short"})
    await cache.set_result(short, "third", ttl="1m")
    assert await cache.get_result(short) == "third"
    clock.advance(61)
    assert await cache.get_result(short) is None


async def test_results_belong_to_namespace_and_tenant(open_cache: Open) -> None:
    """ID-21: another namespace or tenant is another record; a task's own tenant wins over the cache's."""
    plain, other, acme = open_cache(), open_cache(namespace="other"), open_cache(tenant="acme")
    await plain.set_result(TASK, "plain")
    assert await other.get_result(TASK) is None
    assert await acme.get_result(TASK) is None
    mine = AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small", tenant="acme")
    await acme.set_result(TASK, "acme's")
    assert await acme.get_result(mine) == "acme's"


async def test_a_result_needs_a_task(cache: ToolCache) -> None:
    """A text is no task."""
    with pytest.raises(TypeError, match="AgentTask, not to str"):
        await cache.get_result("task")  # type: ignore[arg-type]  # the point of the test


# -- opening and closing -------------------------------------------------------------------------------------------


async def test_a_dead_redis_and_an_unwritable_directory_are_no_error(tmp_path: Path) -> None:
    """LC-11, BUG-105: opening does nothing; using works on memory; health() says what is wrong, without passwords."""
    (tmp_path / "file").write_text("in the way")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with ToolCache(
        redis_url=f"redis://:hunter2@127.0.0.1:{port}", directory=tmp_path / "file" / "cache"
    ) as cache:
        assert await cache.set_catalog("a", [1]) is Durability.MEMORY
        assert await cache.get_catalog("a") == [1]
        assert await cache.get_metadata("b", compute=Counted("computed")) == "computed"
        health = await cache.health()
        assert health.status == "degraded"
        assert health.fallback is True
        assert health.redis is not None
        assert health.redis.usable is not True
        assert health.redis.where == f"redis://:***@127.0.0.1:{port}/0"
        assert health.files is not None
        assert health.files.usable is not True
        assert health.files.where == str(tmp_path / "file" / "cache")
        assert "hunter2" not in repr(health) + repr(cache) + repr(cache.settings)


async def test_an_unwritable_directory_leaves_redis_alone(redis_server: RedisServer, tmp_path: Path) -> None:
    """LR-09: with Redis up, everything works; no file is needed."""
    (tmp_path / "file").write_text("in the way")
    options: dict[str, Any] = {"redis_url": redis_server.url, "directory": tmp_path / "file" / "cache"}
    async with ToolCache(**options) as cache, ToolCache(**options) as other:
        assert await cache.set_catalog("a", [1]) is Durability.REDIS
        assert await other.get_catalog("a") == [1]
        assert await cache.delete_catalog("a") is True


async def test_without_files_a_dead_redis_leaves_memory() -> None:
    """LR-11: memory alone, and the write says so."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with ToolCache(redis_url=f"redis://127.0.0.1:{port}", files=False) as cache:
        assert await cache.set_catalog("a", [1]) is Durability.MEMORY
        assert await cache.get_catalog("a") == [1]


def test_opening_does_nothing(tmp_path: Path) -> None:
    """LC-11, BUG-105: no socket, no file, no thread, no event loop is needed to make a cache."""
    threads = threading.active_count()
    cache = ToolCache(redis_url="redis://192.0.2.1", directory=tmp_path / "files")
    assert not (tmp_path / "files").exists()
    assert repr(cache) == "<ToolCache 'default' over memory → redis → file, 0 entries>"
    assert threading.active_count() == threads


async def test_a_closed_cache_refuses(cache: ToolCache) -> None:
    """LC-04: after aclose() every method says so; closing twice is harmless."""
    assert cache.closed is False
    await cache.aclose()
    await cache.aclose()
    assert cache.closed is True
    with pytest.raises(CacheClosedError):
        await cache.get_catalog("a")
    with pytest.raises(CacheClosedError):
        await cache.get_embeddings(["a"], "ada", compute=Embedder())
    with pytest.raises(CacheClosedError):
        await cache.set_result(TASK, 1)


async def test_what_is_stored_survives_a_restart(open_cache: Open, row: Row, layering: str) -> None:
    """A cache that is opened again over the same stores finds what the first one left."""
    if layering == "memory":
        assert open_cache().stats().entries == 0
        return
    first = open_cache()
    await row.get(first, compute=Counted(row.value))
    await first.aclose()
    assert await row.get(open_cache()) == row.value


def test_several_loops_one_after_another(layering: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """BUG-14: one cache in three event loops: each builds what it needs, and what was stored is there."""
    url = request.getfixturevalue("redis_server").url if "redis" in layering else None
    cache = ToolCache(redis_url=url, files="file" in layering, directory=tmp_path)
    for run in range(3):
        asyncio.run(cache.set_catalog(run, run))
        assert asyncio.run(cache.get_catalog(0)) == 0
    asyncio.run(cache.aclose())
    assert cache.closed


def test_settings_may_come_as_an_object_and_options_win(tmp_path: Path) -> None:
    """A1: one Settings for several caches, with single options changed."""
    shared = Settings(namespace="shop", files=False, directory=tmp_path)
    assert ToolCache(shared).settings == shared
    assert ToolCache(shared, namespace="bank").settings.namespace == "bank"
    assert ToolCache(shared, namespace="bank").settings.files is False
    with pytest.raises(SettingsError, match="did you mean 'namespace'"):
        ToolCache(shared, namespase="x")  # type: ignore[call-arg]  # misspelt
    assert ToolCache.from_url("redis://h?namespace=shop", strict=True).settings == Settings(
        redis_url="redis://h", namespace="shop", strict=True
    )


def test_a_url_for_settings_is_told_apart() -> None:
    """The first slip of a newcomer gets a text that says what to write, and not the URL back."""
    with pytest.raises(SettingsError, match="see from_url") as caught:
        ToolCache("redis://:hunter2@host")  # type: ignore[arg-type]  # the point of the test
    assert "hunter2" not in str(caught.value)


async def test_where_there_are_no_file_locks_files_are_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DECISIONS: on Windows memory and Redis work, and one warning says that files do not."""
    monkeypatch.setattr("toolcache.assembly.sys.platform", "win32")
    cache = ToolCache(directory=tmp_path / "files")
    monkeypatch.undo()
    async with cache:
        assert await cache.set_catalog("a", [1]) is Durability.MEMORY
        assert (await cache.health()).files is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_from_env_reads_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """E6, B9: the environment and a .env file make a cache; USE_REDIS=false makes one without Redis."""
    (tmp_path / ".env").write_text("TOOLCACHE_NAMESPACE=file\nREDIS_URL=redis://h\n")
    monkeypatch.chdir(tmp_path)
    assert "redis" in repr(ToolCache.from_env())
    monkeypatch.setenv("USE_REDIS", "false")
    cache = ToolCache.from_env(files=False)
    assert repr(cache) == "<ToolCache 'file' over memory, 0 entries>"


async def test_logs_and_events_tell_no_keys_values_or_passwords(
    own_redis: RedisServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """BUG-107: whatever goes wrong, what is logged and announced names neither keys nor values nor passwords."""
    caplog.set_level(logging.DEBUG)
    own_redis.config(requirepass="other")
    url = own_redis.url.replace("redis://", "redis://:hunter2-password@")
    told: list[Any] = []
    async with ToolCache(redis_url=url, directory=tmp_path, failure_threshold=1, max_entry="1kB") as cache:
        cache.subscribe(told.append)
        await cache.set("hunter2-key", "hunter2-value")
        await cache.get_metadata("hunter2-tool", compute=lambda: "hunter2-value" * 500)
        await cache.set_result(AgentTask("a", "hunter2", {"x": "hunter2"}), "hunter2-output")
        with pytest.raises(SerializationError) as refused:
            await cache.set("hunter2-key", {"hunter2-value": object()})
        await cache.get_catalog("hunter2-source")
    assert told
    assert caplog.text
    assert "hunter2" not in caplog.text + repr(told) + str(refused.value)


async def test_use_redis_false_opens_no_socket(tmp_path: Path) -> None:
    """B9: with USE_REDIS=false nobody ever knocks at the address, whatever the cache does."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        environ = {"USE_REDIS": "false", "REDIS_URL": f"redis://127.0.0.1:{door.getsockname()[1]}"}
        async with ToolCache.from_env(environ, dotenv=None, directory=tmp_path) as cache:
            assert await cache.set_catalog("a", [1]) is Durability.FILE
            assert await cache.get_catalog("a") == [1]
            await cache.set_result(TASK, 1)
            await cache.clear()
            health = await cache.health()
            assert health.redis is None
            assert health.fallback is False
        with pytest.raises(BlockingIOError):
            door.accept()


# -- the process's own ---------------------------------------------------------------------------------------------


@pytest.fixture
def own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLCACHE_DIRECTORY", str(tmp_path / "files"))
    monkeypatch.setenv("TOOLCACHE_NAMESPACE", "process")
    monkeypatch.setenv("USE_REDIS", "false")
    monkeypatch.setattr("toolcache.tool_cache._default", None)


@pytest.mark.usefixtures("own_environment")
async def test_the_process_has_one_cache() -> None:
    """C17: the same one for all who ask, from all threads, made from the environment; a new one once it is closed."""
    caches = await asyncio.gather(*(asyncio.to_thread(get_cache) for _ in range(8)))
    assert {id(cache) for cache in caches} == {id(get_cache())}
    assert get_cache().settings.namespace == "process"
    await get_cache().aclose()
    assert get_cache() is not caches[0]
    assert await get_cache().get_catalog("a", compute=Counted([1])) == [1]
    await get_cache().aclose()


# -- the package ---------------------------------------------------------------------------------------------------


def test_the_public_names_are_what_they_claim() -> None:
    """Each name of ``__all__`` is there, sorted, and nothing else answers."""
    assert (
        sorted(toolcache.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name)) == toolcache.__all__
    )
    for name in toolcache.__all__:
        assert getattr(toolcache, name) is not None
    assert set(toolcache.__all__) <= set(dir(toolcache))
    assert isinstance(toolcache.__version__, str)
    with pytest.raises(AttributeError, match="NoSuchName"):
        _ = toolcache.NoSuchName  # type: ignore[attr-defined]  # as checkers say too


def test_importing_costs_next_to_nothing() -> None:
    """BUG-105: importing the package loads no part of it; making a cache without Redis loads no Redis client."""
    code = (
        "import sys; before = set(sys.modules); import toolcache;"
        "own = {name for name in set(sys.modules) - before if name.startswith('toolcache')}; assert own == {'toolcache'}, own;"
        "from toolcache import ToolCache; ToolCache(files=False);"
        "heavy = {'redis', 'numpy', 'dotenv', 'platformdirs'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parent.parent)
