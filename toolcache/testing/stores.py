"""The contract of stores, as tests to inherit, and the blobs they are made with."""

import asyncio
import hashlib
import struct
import zlib
from typing import ClassVar

from toolcache.blob import NEVER, TOMBSTONE, Header, pack_header, read_header
from toolcache.listing import Glimpse, SupportsPages
from toolcache.peeks import SupportsPeek
from toolcache.protocols import Clock, PutStatus, Store, SupportsCount, SupportsScan, Write

_NO_META = b"\x80"
_CRC = struct.Struct(">I")


def version_of(number: int) -> bytes:
    """The ``number``-th of a row of rising versions; they lie long before any clock."""
    return number.to_bytes(6, "big") + bytes(2) + b"contract"


def blob_of(
    key: str,
    body: bytes = b"body",
    *,
    version: bytes | int = 1,
    now: float,
    ttl: float | None = 600.0,
    flags: int = 0,
) -> bytes:
    """A whole, valid blob.

    Args:
        key: the store key; its digest goes into the header.
        body: any bytes.
        version: 16 bytes, or a number for ``version_of``.
        now: seconds since the epoch, for the instants.
        ttl: seconds; negative for one whose life has ended, None for one without end.
        flags: of the header, such as ``toolcache.blob.TOMBSTONE``.
    """
    created_ms = int(now * 1000)
    gone_ms = NEVER if ttl is None else created_ms + int(ttl * 1000)
    header = Header(
        flags=flags,
        version=version_of(version) if isinstance(version, int) else version,
        created_ms=created_ms,
        fresh_until_ms=gone_ms,
        gone_ms=gone_ms,
        cost_ms=0,
        digest=hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:16],
        meta_len=len(_NO_META),
        body_len=len(body),
    )
    rest = _NO_META + body
    return pack_header(header) + rest + _CRC.pack(zlib.crc32(rest))


class StoreContract:
    """What every store promises.

    A subclass provides the fixtures ``store`` (an open, empty one; closing it is the fixture's affair) and ``clock``
    (the one the store was given), and overrides ``damage``. Nothing here lets time pass.

    Examples:
        >>> class TestMyStore(StoreContract):
        ...     @pytest.fixture
        ...     async def store(self, clock): ...
    """

    prefix: ClassVar[str] = "tc1:v:contract:"
    """What the keys begin with."""

    async def damage(self, store: Store, key: str) -> None:
        """Replace what the store holds for the key by bytes that are no blob."""
        raise NotImplementedError

    def key(self, text: str = "k") -> str:
        """A store key."""
        return self.prefix + text

    async def put(
        self,
        store: Store,
        clock: Clock,
        version: int,
        body: bytes = b"body",
        *,
        text: str = "k",
        ttl: float | None = 600.0,
        flags: int = 0,
        once: bool = False,
    ) -> tuple[PutStatus, bytes, bool]:
        """Write one blob; the outcome."""
        key = self.key(text)
        blob = blob_of(key, body, version=version, now=clock.time(), ttl=ttl, flags=flags)
        (result,) = await store.put_many([Write(key, blob, once=once)])
        return result.status, result.version, result.was_live

    async def body(self, store: Store, text: str = "k") -> bytes | None:
        """The body under a key: None for nothing, ``b"TOMBSTONE"`` for a tombstone."""
        (blob,) = await store.get_many([self.key(text)])
        if blob is None:
            return None
        header = read_header(blob)
        assert header is not None
        if header.is_tombstone:
            return b"TOMBSTONE"
        start = len(blob) - header.body_len - _CRC.size
        return blob[start : start + header.body_len]

    async def test_has_a_name(self, store: Store) -> None:
        """Events and statistics need a word for it."""
        assert store.name

    async def test_holds_nothing_at_first(self, store: Store) -> None:
        """A key never written is None, one per key asked for."""
        assert await store.get_many([self.key("a"), self.key("b")]) == [None, None]

    async def test_of_nothing(self, store: Store) -> None:
        """Empty requests have empty answers."""
        assert await store.get_many([]) == []
        assert await store.put_many([]) == []

    async def test_returns_the_very_bytes(self, store: Store, clock: Clock) -> None:
        """Every byte value, no bytes, and a megabyte come back as they were."""
        bodies = {"all": bytes(range(256)), "none": b"", "large": bytes(range(256)) * 4096}
        writes = [Write(self.key(k), blob_of(self.key(k), body, now=clock.time())) for k, body in bodies.items()]
        results = await store.put_many(writes)
        assert [r.status for r in results] == [PutStatus.STORED] * 3
        assert await store.get_many([w.key for w in writes]) == [w.blob for w in writes]

    async def test_answers_in_the_order_asked(self, store: Store, clock: Clock) -> None:
        """Same length, same order: missing keys and repeated ones keep their places."""
        await self.put(store, clock, 1, text="a")
        await self.put(store, clock, 1, text="b")
        a, none, b, again = await store.get_many([self.key(t) for t in ("a", "missing", "b", "a")])
        assert none is None
        assert a == again
        assert a is not None
        assert b is not None
        assert a != b

    async def test_a_newer_version_replaces(self, store: Store, clock: Clock) -> None:
        """The outcome names the version now present, and whether a live value was there."""
        assert await self.put(store, clock, 1, b"one") == (PutStatus.STORED, version_of(1), False)
        assert await self.put(store, clock, 2, b"two") == (PutStatus.STORED, version_of(2), True)
        assert await self.body(store) == b"two"

    async def test_an_older_version_changes_nothing(self, store: Store, clock: Clock) -> None:
        """A delayed or repeated write is harmless."""
        await self.put(store, clock, 2, b"two")
        status, version, _ = await self.put(store, clock, 1, b"one")
        assert (status, version) == (PutStatus.NEWER, version_of(2))
        assert await self.body(store) == b"two"

    async def test_the_same_version_is_already_there(self, store: Store, clock: Clock) -> None:
        """An attempt that arrived after all is recognised."""
        await self.put(store, clock, 3, b"three")
        status, version, _ = await self.put(store, clock, 3, b"three")
        assert (status, version) == (PutStatus.ALREADY, version_of(3))

    async def test_a_tombstone_is_a_blob(self, store: Store, clock: Clock) -> None:
        """It is returned, its life ends like a value's, and it tells whether a live value was there."""
        await self.put(store, clock, 1)
        assert await self.put(store, clock, 2, b"", flags=TOMBSTONE) == (PutStatus.STORED, version_of(2), True)
        assert await self.body(store) == b"TOMBSTONE"
        assert await self.put(store, clock, 3, b"", flags=TOMBSTONE) == (PutStatus.STORED, version_of(3), False)

    async def test_a_tombstone_stops_what_is_older(self, store: Store, clock: Clock) -> None:
        """A write from before the delete never resurrects the key; one from after it does."""
        await self.put(store, clock, 2, b"", flags=TOMBSTONE)
        for once in (False, True):
            status, version, _ = await self.put(store, clock, 1, b"late", once=once)
            assert (status, version) == (PutStatus.NEWER, version_of(2))
        assert await self.body(store) == b"TOMBSTONE"
        assert (await self.put(store, clock, 3, b"new"))[0] is PutStatus.STORED
        assert await self.body(store) == b"new"

    async def test_once_keeps_the_first(self, store: Store, clock: Clock) -> None:
        """Where a live value is, a write-once write changes nothing, whatever its version."""
        assert (await self.put(store, clock, 1, b"first", once=True))[0] is PutStatus.STORED
        assert await self.put(store, clock, 2, b"second", once=True) == (PutStatus.NEWER, version_of(1), True)
        assert await self.body(store) == b"first"

    async def test_once_again_is_already_there(self, store: Store, clock: Clock) -> None:
        """A repeated write-once write finds itself."""
        await self.put(store, clock, 1, b"first", once=True)
        status, version, _ = await self.put(store, clock, 1, b"first", once=True)
        assert (status, version) == (PutStatus.ALREADY, version_of(1))

    async def test_once_over_what_is_not_live(self, store: Store, clock: Clock) -> None:
        """Tombstones, and values past their end, do not count."""
        await self.put(store, clock, 1, b"", flags=TOMBSTONE)
        assert (await self.put(store, clock, 2, b"new", once=True))[0] is PutStatus.STORED
        await self.put(store, clock, 1, b"old", text="gone", ttl=-5.0)
        status, _, was_live = await self.put(store, clock, 2, b"new", text="gone", once=True)
        assert status is PutStatus.STORED
        assert not was_live
        assert await self.body(store, "gone") == b"new"

    async def test_a_value_without_end(self, store: Store, clock: Clock) -> None:
        """``gone_ms`` may be NEVER."""
        await self.put(store, clock, 1, b"for ever", ttl=None)
        assert await self.body(store) == b"for ever"

    async def test_a_batch_is_applied_in_order(self, store: Store, clock: Clock) -> None:
        """Each outcome stands in its write's place; a batch that names a key twice meets its own first write."""
        key, other = self.key("a"), self.key("b")
        blobs = [blob_of(key, b"%d" % v, version=v, now=clock.time()) for v in (2, 1, 3)]
        writes = [
            Write(key, blobs[0]),
            Write(other, blob_of(other, now=clock.time())),
            *(Write(key, b) for b in blobs[1:]),
        ]
        results = await store.put_many(writes)
        stored = PutStatus.STORED
        assert [r.status for r in results] == [stored, stored, PutStatus.NEWER, stored]
        assert [r.version for r in results] == [version_of(n) for n in (2, 1, 2, 3)]
        assert await self.body(store, "a") == b"3"

    async def test_of_many_writers_the_highest_version_wins(self, store: Store, clock: Clock) -> None:
        """Whatever the order in which concurrent writes arrive."""
        shuffled = [n * 7 % 41 for n in range(1, 41)]
        results = await asyncio.gather(*(self.put(store, clock, v, b"%d" % v) for v in shuffled))
        assert await self.body(store) == b"40"
        assert {status for status, _, _ in results} <= {PutStatus.STORED, PutStatus.NEWER}

    async def test_of_many_write_once_writers_one_wins(self, store: Store, clock: Clock) -> None:
        """Exactly one is told that it stored, and its value is what is read."""
        results = await asyncio.gather(*(self.put(store, clock, v, b"%d" % v, once=True) for v in range(1, 21)))
        (winner,) = [version for status, version, _ in results if status is PutStatus.STORED]
        assert {version for _, version, _ in results} == {winner}
        assert await self.body(store) == b"%d" % int.from_bytes(winner[:6], "big")

    async def test_a_cancelled_write_is_whole_or_absent(self, store: Store, clock: Clock) -> None:
        """A caller that leaves breaks neither the value nor the writes of others."""
        tasks = [asyncio.create_task(self.put(store, clock, v, b"%d" % v * 999)) for v in range(1, 21)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [r for r in done if isinstance(r, Exception)]
        last = await self.put(store, clock, 99, b"last")
        assert last[0] is PutStatus.STORED
        assert await self.body(store) == b"last"

    async def test_bytes_that_are_no_blob_count_as_absent(self, store: Store, clock: Clock) -> None:
        """What was damaged is never returned as the value, and is overwritten even by an older version."""
        await self.put(store, clock, 5, b"precious", text="bad")
        await self.put(store, clock, 5, b"neighbour", text="good")
        await self.damage(store, self.key("bad"))
        (blob,) = await store.get_many([self.key("bad")])
        assert blob is None or read_header(blob) is None
        assert (await self.put(store, clock, 4, b"new", text="bad"))[0] is PutStatus.STORED
        assert await self.body(store, "bad") == b"new"
        assert await self.body(store, "good") == b"neighbour"

    async def test_a_peek_says_what_a_read_would_say_or_nothing(self, store: Store, clock: Clock) -> None:
        """Where it can: values, tombstones, what has ended and what never was, of one key and of several."""
        if not isinstance(store, SupportsPeek):
            return
        keys = [self.key(text) for text in ("a", "b", "gone", "never")]
        assert store.peek(keys) in (None, [None] * 4)
        await self.put(store, clock, 1, b"one", text="a")
        await self.put(store, clock, 2, b"", text="b", flags=TOMBSTONE)
        await self.put(store, clock, 3, text="gone", ttl=-5.0)
        read = await store.get_many(keys)
        assert store.peek(keys) in (None, read)
        assert store.peek(keys[:1]) in (None, read[:1])
        await self.put(store, clock, 4, b"two", text="a")
        assert store.peek(keys[:1]) in (None, await store.get_many(keys[:1]))
        await self.damage(store, keys[0])
        assert store.peek(keys[:1]) in (None, [None])
        await store.aclose()
        assert store.peek(keys) is None

    async def test_lists_and_counts_keys(self, store: Store, clock: Clock) -> None:
        """Where it can: every key under a prefix, none outside it."""
        for text in ("a:1", "a:2", "b:1"):
            await self.put(store, clock, 1, text=text)
        if isinstance(store, SupportsScan):
            assert {key async for key in store.scan(self.key("a:"))} == {self.key("a:1"), self.key("a:2")}
            assert {key async for key in store.scan(self.key("*"))} == set()
        if isinstance(store, SupportsCount):
            assert await store.count() >= 3

    async def test_lists_what_it_holds_page_after_page(self, store: Store, clock: Clock) -> None:
        """Where it can: of each blob the header and more, however long its meta; a page asked for again says the same."""
        if not isinstance(store, SupportsPages):
            return
        await asyncio.gather(*(self.put(store, clock, 1, b"v" * 5_000, text=f"a:{n}") for n in range(300)))
        await self.put(store, clock, 1, text="b:1")
        found: list[Glimpse] = []
        cursor, first = None, True
        while first or cursor is not None:
            page = await store.page(self.key("a:"), cursor)
            again = await store.page(self.key("a:"), cursor)
            assert {one.key for one in page.found} == {one.key for one in again.found}
            found += page.found
            cursor, first = page.cursor, False
        assert {one.key for one in found} == {self.key(f"a:{n}") for n in range(300)}
        headers = [read_header(one.head) for one in found]
        assert {header and header.body_len for header in headers} == {5_000}
        assert max(len(one.head) for one in found) < 5_000

    async def test_closing_twice_is_harmless(self, store: Store, clock: Clock) -> None:
        """Closing waits for what was begun; closing again does nothing."""
        await self.put(store, clock, 1)
        await asyncio.gather(store.aclose(), store.aclose())
        await store.aclose()
        assert store.name
