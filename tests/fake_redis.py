"""A Redis in memory, for walks that are to be the same each time: the clock is the test's, and faults come on command.

It speaks at the level of a store, and does to blobs exactly what ``put.lua`` does, and to records what ``swap.lua`` does; a
test has it and a real server do the same things.
"""

import asyncio
import math
import zlib
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import count
from typing import Final

from redis import exceptions as replies

from toolcache.blob import TOMBSTONE, end_of, read_header
from toolcache.groups import Grouped, header_of
from toolcache.listing import HEAD, Glimpse, Page
from toolcache.protocols import Clock, PutResult, PutStatus, Write
from toolcache.swaps import Standing, Swapped
from toolcache.versions import ZERO

_HEAD: Final = 74
_VERSION: Final = slice(4, 20)
_GONE: Final = slice(36, 44)
_DIGEST: Final = slice(48, 64)
_ENDLESS: Final = 1e14
_STAMP: Final = 8
_PAGE: Final = 100


class State(Enum):
    """How a server fares."""

    UP = "up"
    DOWN = "down"
    FROZEN = "frozen"
    """It answers nobody, and does what it was told to once it is thawed."""
    FULL = "full"
    """It answers reads, and refuses whatever would be stored."""


class OtherType:
    """A value of another type than a string."""


Held = bytes | OtherType


class FakeRedis:
    """The server. ``data`` maps keys to what is there and the millisecond at which it goes.

    Args:
        time: seconds since the epoch, by the server's clock.
    """

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._runs = count(1)
        self.state = State.UP
        self.run_id = f"run{next(self._runs)}"
        self.data: dict[str, tuple[Held, float]] = {}
        self.groups: dict[str, dict[str, bytes]] = {}
        self.backlog: list[Sequence[Write]] = []
        self.lose_reply: BaseException | None = None
        """Raised once, after the next write has been applied."""

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        return self._time()

    def restart(self, data: dict[str, tuple[Held, float]] | None = None) -> None:
        """Another process, empty or with what was saved; what had not been done is forgotten."""
        self.run_id = f"run{next(self._runs)}"
        self.data = dict(data or {})
        self.groups.clear()
        self.backlog.clear()
        self.state = State.UP

    def thaw(self) -> None:
        """Answer again, having done what came meanwhile."""
        self.state = State.UP
        backlog, self.backlog = self.backlog, []
        for writes in backlog:
            self.put(writes)

    def get(self, key: str) -> Held | None:
        """What is there."""
        return self._get(key, int(self.now * 1000))

    def put(self, writes: Sequence[Write]) -> list[PutResult]:
        """As ``put.lua``, for which time stands still."""
        now_ms = int(self.now * 1000)
        return [self._put(write, now_ms) for write in writes]

    def swap(self, key: str, expected: bytes, new: bytes | None, *, ttl: float, lease: float | None) -> Swapped:
        """As ``swap.lua``; nobody is told."""
        now_ms = int(self.now * 1000)
        there = self._get(key, now_ms) or b""
        if isinstance(there, OtherType):
            raise replies.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
        if there != expected:
            return Swapped(False, _standing(there, now_ms))
        if new is None:
            self.data.pop(key, None)
            return Swapped(True, Standing())
        if self.state is State.FULL:
            raise replies.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        if lease is not None:
            new += (now_ms + max(1, int(lease * 1000))).to_bytes(_STAMP, "big")
        self.data[key] = (new, math.inf if math.isinf(ttl) else now_ms + max(1, int(ttl * 1000)))
        return Swapped(True, _standing(new, now_ms))

    def gather(self, record: Grouped) -> None:
        """As ``put_grouped.lua``; a group does not expire, its records do."""
        group = self.groups.setdefault(record.group, {})
        held, now_ms = group.get(record.name, b""), self.now * 1000
        older = not _known(held, record.blob) or held[_VERSION] < record.blob[_VERSION]
        if _gone(record.blob) > now_ms and (older or _gone(held) <= now_ms):
            group[record.name] = record.blob

    def _get(self, key: str, now_ms: int) -> Held | None:
        held, until = self.data.get(key, (None, math.inf))
        return held if now_ms < until else None

    def _put(self, write: Write, now_ms: int) -> PutResult:
        there, new = self._get(write.key, now_ms), write.blob[_VERSION]
        if isinstance(there, OtherType):
            return PutResult(PutStatus.FOREIGN, ZERO)
        if there is None or not _known(there, write.blob):
            return self._store(write, now_ms, was_live=False)
        held, live = there[_VERSION], not there[3] & TOMBSTONE and _gone(there) > now_ms
        if new > held and not (write.once and live and write.dead < held):
            return self._store(write, now_ms, was_live=live)
        if not _whole(there):
            return self._store(write, now_ms, was_live=False)
        return PutResult(PutStatus.ALREADY if new == held else PutStatus.NEWER, held, live)

    def _store(self, write: Write, now_ms: int, *, was_live: bool) -> PutResult:
        if self.state is State.FULL:
            raise replies.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        left = _gone(write.blob) - now_ms
        until = math.inf if left > _ENDLESS else now_ms + max(left, 1)
        self.data[write.key] = (write.blob, until)
        return PutResult(PutStatus.STORED, write.blob[_VERSION], was_live)


class FakeRedisStore:
    """One process's way to the server.

    Args:
        server: to talk to.
        clock: set to the server's time at each connect.
    """

    name = "redis"
    hears = False

    def __init__(self, server: FakeRedis, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self.run_id: str | None = None

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, in order."""
        self._connect()
        found = [self._server.get(key) for key in keys]
        return [None if isinstance(held, OtherType) else held or None for held in found]

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes, if the server can be asked."""
        if self._server.state is State.FROZEN:
            self._server.backlog.append(writes)
        self._connect()
        results = self._server.put(writes)
        if lost := self._server.lose_reply:
            self._server.lose_reply = None
            raise lost
        return results

    async def put_grouped(self, records: Sequence[Grouped], /) -> None:
        """Store records, if the server can be asked."""
        for record in records:
            header_of(record)
        self._connect()
        if self._server.state is State.FULL:
            raise replies.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
        for record in records:
            self._server.gather(record)

    async def read_groups(self, groups: Sequence[str], /) -> list[dict[str, bytes]]:
        """The records by name."""
        self._connect()
        return [
            {name: blob for name, blob in self._server.groups.get(group, {}).items() if read_header(blob)}
            for group in groups
        ]

    async def page(self, prefix: str, cursor: int | None = None, /) -> Page:
        """Some of the keys, with the beginnings of their blobs."""
        self._connect()
        start = cursor or 0
        keys = [key for key in self._server.data if key.startswith(prefix)]
        found = [(key, self._server.get(key)) for key in keys[start : start + _PAGE]]
        glimpses = [Glimpse(key, held[:HEAD]) for key, held in found if isinstance(held, bytes)]
        return Page(glimpses, start + _PAGE if start + _PAGE < len(keys) else None)

    async def swap(
        self,
        key: str,
        expected: bytes,
        new: bytes | None,
        /,
        *,
        ttl: float,
        lease: float | None = None,
        durable: bool = False,
        pending: bool = False,
    ) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands, if the server can be asked."""
        self._connect()
        return self._server.swap(key, expected, new, ttl=ttl, lease=lease)

    async def until_ended(self, key: str, standing: Standing, /) -> None:
        """Nobody tells."""
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        """Nothing is open."""

    def _connect(self) -> None:
        if self._server.state is State.DOWN:
            raise ConnectionRefusedError
        if self._server.state is State.FROZEN:
            raise replies.TimeoutError("no answer")
        if self.run_id != self._server.run_id:
            self.run_id = self._server.run_id
            self._clock.align(self._server.now)


def _standing(raw: bytes, now_ms: int) -> Standing:
    end = end_of(raw)
    if end is None or len(raw) - end != _STAMP:
        return Standing(raw, raw if end is None else raw[:end])
    return Standing(raw, raw[:end], (int.from_bytes(raw[end:], "big") - now_ms) / 1000)


def _known(there: bytes, blob: bytes) -> bool:
    return len(there) >= _HEAD and there[:3] == b"TC\1" and there[_DIGEST] == blob[_DIGEST]


def _gone(blob: bytes) -> int:
    return int.from_bytes(blob[_GONE], "big")


def _whole(there: bytes) -> bool:
    return zlib.crc32(there[: _HEAD - 4]) == int.from_bytes(there[_HEAD - 4 : _HEAD], "big")
