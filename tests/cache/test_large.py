"""Large values, which are made and read aside: the event loop has its turn meanwhile."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest
from rig import Rig
from servers import RedisServer

from toolcache.aside import LARGE
from toolcache.blob import NEVER
from toolcache.cache import Cache
from toolcache.codec import envelope
from toolcache.codec.coder import Coder
from toolcache.codec.compress import Compressor, decompress
from toolcache.encoded import Encoded
from toolcache.entry import MISSING
from toolcache.errors import CacheClosedError, SerializationError, ValueTooLargeError
from toolcache.keys.text import key_digest
from toolcache.testing import FakeClock
from toolcache.versions import ZERO

MANY: list[Any] = [
    "text " * LARGE,
    "\u00e9\ud800" * LARGE,
    b"\x00\xff" * LARGE,
    list(range(50_000)),
    [*range(20_000), 2**80, None, *range(20_000)],
    {f"key{number}": number / 3 for number in range(20_000)},
    {number: str(number) for number in range(20_000)},
    [{"name": f"n{number}", "tags": ["a", ("b", 1)], "big": -(2**70)} for number in range(5_000)],
    ({"deep": [[[number] * 30 for number in range(900)]]}, {*range(9_000)}),
    {"body": "text " * LARGE, "ok": True},
]


class Page:
    """A value of the tests' own."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Page) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]  # it can be changed


class PageCodec:
    """Keeps pages, says in which thread it did what, and can be held up there."""

    name = "page/1"

    def __init__(self) -> None:
        self.threads: list[tuple[str, bool]] = []
        self.loop = threading.get_ident()
        self.go_on = threading.Event()
        self.go_on.set()
        self.held = threading.Event()

    def accepts(self, value: object, /) -> bool:
        return type(value) is Page

    def encode(self, value: object, /) -> Encoded:
        assert isinstance(value, Page)
        self._note("encode")
        return Encoded(value.text.encode(), self.name)

    def decode(self, body: bytes, _dtype: str, /) -> Any:
        self._note("decode")
        return Page(body.decode())

    def _note(self, what: str) -> None:
        aside = threading.get_ident() != self.loop
        self.threads.append((what, aside))
        if aside:
            self.held.set()
            assert self.go_on.wait(30)

    def hold(self) -> None:
        """Keep from now on whoever works aside."""
        self.held.clear()
        self.go_on.clear()

    async def reached(self) -> None:
        """Wait until somebody is being kept."""
        await asyncio.to_thread(self.held.wait, 30)


SMALL, GREAT = Page("a page"), Page("x" * (2 * LARGE))


@pytest.fixture
def codec() -> PageCodec:
    """A codec for pages."""
    return PageCodec()


@pytest.fixture
async def pages(rig: Rig, codec: PageCodec) -> AsyncIterator[Cache]:
    """A cache that keeps pages."""
    yield await rig.open(coder=Coder(codecs=[codec]))
    codec.go_on.set()


async def reader_of(rig: Rig, cache: Cache, codec: PageCodec) -> Cache:
    """One that must ask the layers, where there are any."""
    return await rig.open(coder=Coder(codecs=[codec])) if rig.far else cache


@pytest.mark.parametrize(("page", "aside"), [(SMALL, False), (GREAT, True)])
async def test_a_codec_works_on_the_loop_for_what_is_small_and_elsewhere_for_what_is_large(
    rig: Rig, pages: Cache, codec: PageCodec, page: Page, aside: bool
) -> None:
    """Up to a size a thread would cost more than it saves; above it the loop would stand still."""
    await pages.set("page", page)
    await pages.set_many({"a": page, "b": page})
    assert await pages.add("added", page)
    assert await pages.get_or_set("computed", lambda: page) == page
    for cache in (pages, await reader_of(rig, pages, codec)):
        assert await cache.get("page") == page
        assert await cache.get_many(["a", "b"]) == {"a": page, "b": page}
        entry = await cache.get_entry("added")
        assert entry is not None
        assert entry.value == page
        assert await cache.get_or_set("computed", lambda: SMALL) == page
    assert set(codec.threads) == {("encode", aside), ("decode", aside)}


async def test_others_go_on_while_a_large_value_is_made(pages: Cache, codec: PageCodec) -> None:
    """A get and a set of something else wait for nothing but their stores."""
    await pages.set("other", 1)
    codec.hold()
    writing = asyncio.create_task(pages.set("page", GREAT))
    await codec.reached()
    assert await pages.get("other") == 1
    await pages.set("another", [2])
    assert await pages.delete("other")
    assert await pages.get("page") is None
    assert not writing.done()
    codec.go_on.set()
    await writing
    assert await pages.get("page") == GREAT


async def test_others_go_on_while_a_large_value_is_read(rig: Rig, pages: Cache, codec: PageCodec) -> None:
    """Be it out of a layer or out of memory."""
    await pages.set_many({"page": GREAT, "other": 1})
    for cache in (pages, await reader_of(rig, pages, codec)):
        codec.hold()
        reading = asyncio.create_task(cache.get("page"))
        await codec.reached()
        assert await cache.get("other") == 1
        assert not reading.done()
        codec.go_on.set()
        assert await reading == GREAT


async def test_who_asks_in_the_same_tick_does_not_wait_for_what_is_known_to_be_large(
    clock: FakeClock, tmp_path: Path, redis_server: RedisServer, codec: PageCodec
) -> None:
    """What leaves for Redis as one comes back as one; so what was large before goes by itself."""
    rig = Rig("memory+redis", clock, tmp_path, redis_server)
    cache = await rig.open(coder=Coder(codecs=[codec]), max_entries=0)
    await cache.set_many({"page": GREAT, "other": 1})
    assert await cache.get("page") == GREAT
    codec.hold()
    reading, other = asyncio.create_task(cache.get("page")), asyncio.create_task(cache.get("other"))
    await codec.reached()
    assert await other == 1
    assert not reading.done()
    codec.go_on.set()
    assert await reading == GREAT
    await rig.aclose()


async def test_the_order_of_calls_holds_while_a_large_value_is_made(rig: Rig, pages: Cache, codec: PageCodec) -> None:
    """The last call counts, whichever took longest, and everywhere; those of other keys are not held up."""
    await pages.set("last", "before")
    codec.hold()
    calls: list[Coroutine[Any, Any, Any]] = [
        pages.set("gone", GREAT),
        pages.set("last", GREAT),
        pages.set("great", "small"),
    ]
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(call) for call in calls]
    await codec.reached()
    later: list[Coroutine[Any, Any, Any]] = [
        pages.delete("gone"),
        pages.set("last", [1]),
        pages.set_many({"last": [2], "x": 1}),
        pages.set("great", GREAT),
    ]
    tasks += [asyncio.create_task(call) for call in later]
    await tasks[2]
    assert await pages.get("last") == "before"
    codec.go_on.set()
    assert (await asyncio.gather(*tasks))[3] is True
    for cache in (pages, await reader_of(rig, pages, codec)):
        assert await cache.get("gone", MISSING) is MISSING
        assert await cache.get_many(["last", "x", "great"]) == {"last": [2], "x": 1, "great": GREAT}


async def test_what_is_set_while_a_large_value_is_computed_wins(pages: Cache, codec: PageCodec) -> None:
    """The computed one goes to who waits for it, and nowhere else."""
    codec.hold()
    computing = asyncio.create_task(pages.get_or_set("page", lambda: GREAT))
    await codec.reached()
    await pages.set("page", SMALL)
    codec.go_on.set()
    assert await computing == GREAT
    assert await pages.get("page") == SMALL


async def test_the_order_of_calls_holds_between_loops_and_ends_with_a_fork(
    rig: Rig, pages: Cache, codec: PageCodec
) -> None:
    """Another loop waits for its turn, too; a child has nobody to wait for."""
    codec.hold()
    writing = asyncio.create_task(pages.set("page", GREAT))
    await codec.reached()
    coming = pages._machine._changes.coming
    first = coming["page"]
    there = asyncio.create_task(asyncio.to_thread(asyncio.run, pages.set("page", "there")))
    while coming["page"] is first:  # noqa: ASYNC110 - it comes from another thread
        await asyncio.sleep(0)
    assert not there.done()
    codec.go_on.set()
    await asyncio.gather(writing, there)
    assert await pages.get("page") == "there"
    codec.hold()
    writing = asyncio.create_task(pages.set("page", GREAT))
    await codec.reached()
    pages._machine._changes._order.forked()
    await pages.set("page", "in the child")
    assert await pages.get("page") == "in the child"
    codec.go_on.set()
    await writing


async def test_who_closes_waits_for_large_values_as_long_as_for_other_writes(
    rig: Rig, pages: Cache, codec: PageCodec
) -> None:
    """What was begun is finished; what takes longer is told so, and has changed nothing."""
    for patience, error in ((30.0, None), (0.01, CacheClosedError)):
        cache = await rig.open(coder=Coder(codecs=[codec]))
        codec.hold()
        writing = asyncio.create_task(cache.set(f"page{patience}", GREAT))
        await codec.reached()
        closing = asyncio.create_task(cache.aclose(drain=patience))
        if error is None:
            await asyncio.sleep(0)
            assert not closing.done()
            codec.go_on.set()
            await asyncio.gather(writing, closing)
        else:
            await closing
            codec.go_on.set()
            with pytest.raises(error):
                await writing
    if rig.far:
        assert await pages.get_many(["page30.0", "page0.01"]) == {"page30.0": GREAT}


async def test_who_is_cancelled_while_a_large_value_is_made_has_changed_nothing(pages: Cache, codec: PageCodec) -> None:
    """And nobody waits behind it any more."""
    await pages.set("page", "before")
    codec.hold()
    writing = asyncio.create_task(pages.set("page", GREAT))
    await codec.reached()
    behind = asyncio.create_task(pages.set("page", "behind"))
    waiting = asyncio.create_task(pages.delete("page"))
    await asyncio.sleep(0)
    waiting.cancel()
    writing.cancel()
    await asyncio.wait([writing, waiting])
    assert writing.cancelled()
    assert waiting.cancelled()
    await behind
    codec.go_on.set()
    assert await pages.get("page") == "behind"


async def test_who_leaves_before_its_turn_lets_nobody_overtake(rig: Rig, pages: Cache, codec: PageCodec) -> None:
    """DECISIONS Versions: those who come after a cancelled caller are still behind those who were ahead of it."""
    codec.hold()
    writing = asyncio.create_task(pages.set("page", GREAT))
    await codec.reached()
    leaving = [asyncio.create_task(pages.set("page", number)) for number in range(3)]
    behind = asyncio.create_task(pages.set("page", "behind"))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.wait(leaving)
    later = asyncio.create_task(pages.set("page", "later"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert await pages.get("page", MISSING) is MISSING
    codec.go_on.set()
    await asyncio.gather(writing, behind, later)
    assert not pages._machine._changes.coming
    for cache in (pages, await reader_of(rig, pages, codec)):
        assert await cache.get("page") == "later"


@pytest.mark.parametrize("value", ["small", GREAT])
async def test_tags_that_can_be_gone_through_once_are_kept(pages: Cache, value: Any) -> None:
    """SPEC 6: whatever list they are, and however large the value."""
    calls: list[Callable[[Iterable[str]], Awaitable[Any]]] = [
        lambda tags: pages.set("key", value, tags=tags),
        lambda tags: pages.set_many({"key": value}, tags=tags),
        lambda tags: pages.add("key", value, tags=tags),
    ]
    for give in calls:
        await give(iter(["tag"]))
        assert await pages.get("key") == value
        await pages.invalidate(tags=["tag"])
        assert await pages.get("key", MISSING) is MISSING


async def test_what_callers_get_of_a_large_output_is_made_aside(pages: Cache, codec: PageCodec) -> None:
    """Each of them a copy of its own, while others go on."""
    assert await pages.once("report", lambda: GREAT) == GREAT
    codec.hold()
    asking = asyncio.create_task(pages.once("report", lambda: SMALL))
    await codec.reached()
    await pages.set("other", 1)
    assert await pages.get("other") == 1
    assert not asking.done()
    codec.go_on.set()
    assert await asking == GREAT
    assert ("decode", False) not in codec.threads


@pytest.mark.parametrize("value", MANY, ids=lambda value: type(value).__name__)
async def test_large_values_come_back_equal_and_are_ones_own(rig: Rig, cache: Cache, value: Any) -> None:
    """LR-04: of whatever kind; and what a caller does to its copy, nobody else sees."""
    await cache.set("key", value)
    for reader in (cache, await rig.open() if rig.far else cache):
        for _ in range(2):
            got = await reader.get("key")
            assert got == value
            assert type(got) is type(value)
            if type(got) in (list, dict):
                assert got is not value
                got.clear()


async def test_what_is_wrong_with_a_large_value_is_told_as_of_any_other(cache: Cache) -> None:
    """The place, the same words, and nothing was changed."""
    await cache.set("key", "before")
    for value, path in (
        ([*range(30_000), object()], "$[30000]"),
        ({"a": [[0] * 20_000, {"b": [{1, (object(),)}]}]}, None),
    ):
        with pytest.raises(SerializationError) as told:
            await cache.set("key", value)
        assert told.value.path == path or (path is None and told.value.path.startswith("$.a[1].b[0]["))
        with pytest.raises(SerializationError):
            await cache.set_many({"other": 1, "key": value})
        with pytest.raises(SerializationError):
            await cache.add("new", value)
        assert await cache.get_or_set("computed", lambda value=value: value) is value
    with pytest.raises(ValueTooLargeError):
        await cache.set("key", b"\x00" * (9 << 20))
    assert await cache.get_many(["key", "other", "new", "computed"]) == {"key": "before"}


async def test_large_hits_are_counted_as_hits_of_memory(clock: FakeClock, tmp_path: Path) -> None:
    """And their entries as used."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    cache = await rig.open()
    await cache.set("key", [*range(50_000)])
    await cache.get("key")
    await cache.get_many(["key", "absent"])
    stats, entry = cache.stats(), await cache.get_entry("key")
    assert (stats.layers["memory"].hits, stats.hits, stats.misses) == (2, 2, 1)
    assert entry is not None
    assert entry.hits == 3
    await rig.aclose()


async def test_a_large_value_among_small_ones_is_found(rig: Rig, cache: Cache) -> None:
    """Wherever in a batch it stands, and though one in a thousand hits is timed: that of a large value cannot be."""
    values: dict[str, Any] = {"small": [1], "large": [*range(50_000)], "other": [2]}
    await cache.set_many(values)
    for keys in (["small", "large"], ["large", "small"], ["small", "other", "large"]):
        fresh = await rig.open() if rig.far else cache
        for _ in range(2):
            assert await fresh.get_many(keys) == {key: values[key] for key in keys}
            assert await cache.get_many(keys) == {key: values[key] for key in keys}


async def test_large_bodies_are_compressed_and_decompressed_aside(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of which little is left: what counts is how large they are without compression."""
    here, threads = threading.get_ident(), list[tuple[int, bool]]()
    compress = Compressor.compress

    def compressed(compressor: Compressor, body: bytes) -> bytes:
        threads.append((len(body), threading.get_ident() != here))
        return compress(compressor, body)

    def decompressed(data: bytes, name: str, size: int) -> bytes:
        threads.append((size, threading.get_ident() != here))
        return decompress(data, name, size)

    monkeypatch.setattr(Compressor, "compress", compressed)
    monkeypatch.setattr(envelope, "decompress", decompressed)
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    cache = await rig.open(max_entries=0)
    for size in (LARGE // 2, 16 * LARGE):
        await cache.set("key", "a" * size)
        assert await cache.get("key") == "a" * size
    assert [aside for size, aside in threads if size > LARGE] == [True, True]
    assert [aside for size, aside in threads if size < LARGE] == [False, False]
    await rig.aclose()


async def test_many_values_are_read_aside_where_they_are_large_together(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is large, and yet the loop would stand still."""
    rig = Rig("memory+file", clock, tmp_path / "files", None)
    cache = await rig.open(max_entries=0)
    mapping = {f"key{number}": [number] * 10_000 for number in range(40)}
    await cache.set_many(mapping)
    here, threads, thaw = threading.get_ident(), list[int](), Coder.thaw

    def thawing(coder: Coder, encoded: Encoded) -> Any:
        threads.append(threading.get_ident())
        return thaw(coder, encoded)

    monkeypatch.setattr(Coder, "thaw", thawing)
    assert await cache.get_many(list(mapping)) == mapping
    assert len(threads) == len(mapping)
    assert here not in threads
    await rig.aclose()


async def test_what_is_large_in_the_place_of_an_epoch_raises_nothing(
    clock: FakeClock, tmp_path: Path, own_redis: RedisServer
) -> None:
    """G1, G7: whatever a store holds where an epoch should be, a read is answered."""
    rig = Rig("memory+redis", clock, tmp_path, own_redis)
    cache = await rig.open()
    await cache.set("key", 1, tags=["tag"])
    epochs = cache._machine._epochs
    for name in (epochs.namespace, *epochs.names(("tag",))):
        small = cache._parts.envelope.pack(  # as long as it is compressed
            Encoded(bytes(2 * LARGE), "m"),
            digest=key_digest(name),
            version=ZERO,
            created_ms=0,
            fresh_until_ms=NEVER,
            gone_ms=NEVER,
        )
        for blob in (small, small + bytes(LARGE)):
            await asyncio.to_thread(own_redis.command, "SET", name, blob)
            assert await (await rig.open()).get("key") == 1
    await rig.aclose()
