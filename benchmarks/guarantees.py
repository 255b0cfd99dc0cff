"""What do the guarantees cost?"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks import members, outage
from benchmarks.harness import Goal, Pass, Task, at_share
from benchmarks.main import main
from benchmarks.ours import OursRedis
from benchmarks.place import Place
from benchmarks.redis_ops import gets, sets, sets_at_once
from benchmarks.staleness import measure
from benchmarks.subject import Subject
from benchmarks.values import small
from toolcache.blob import NEVER
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.keys.text import key_digest
from toolcache.protocols import Write
from toolcache.stores.redis.store import RedisStore
from toolcache.stores.redis.wire import pack
from toolcache.versions import process_clock

_MANY: Final = 1_000
_PLAIN: Final = "floor: plain GET and SET"

# -- Redis, operation by operation ------------------------------------------------------------------------------------


class Store(Subject):
    """The store alone: the same commands, connection and batches as the cache's, without the cache."""

    name = "floor: the store alone, blobs packed"
    kind = "floor"
    note = "one script call for each write"

    async def open(self, place: Place) -> None:
        self.database = place.database()
        self._store = RedisStore(self.database)
        self._envelope, self._encoded = Envelope(), Coder().encode(small(0))
        self.get, self.set = self._get, self._set

    def blob(self, key: str) -> bytes:
        """What the cache would write."""
        digest, version = key_digest(key), process_clock().next()
        created = time.time_ns() // 1_000_000
        return self._envelope.pack(
            self._encoded, digest=digest, version=version, created_ms=created, fresh_until_ms=NEVER, gone_ms=NEVER
        )

    async def _get(self, key: str) -> Any:
        return await self._store.get_many([key])

    async def _set(self, key: str, _value: Any) -> Any:
        return await self._store.put_many([Write(key, self.blob(key))])

    async def close(self) -> None:
        await self._store.aclose()


class Plain(Store):
    """Redis' own commands, with the same bytes, through the very connection that the store has."""

    name = _PLAIN
    note = "bytes alone: no joining of a tick's calls, no deadline, breaker, decoding or memory"

    async def open(self, place: Place) -> None:
        await super().open(place)
        await self._store.get_many([""])
        connection = await self._store._lanes.here().small.connection()  # type: ignore[attr-defined]  # noqa: SLF001 - that is the point
        blob = self.blob("")
        self.get = lambda key: connection.call(pack(b"GET", key.encode()))
        self.set = lambda key, _value: connection.call(pack(b"SET", key.encode(), blob))


async def sets_at_once_shared(subject: Subject, *, size: int) -> Pass:
    """As ``sets_at_once``; the note says which share the server's own work has."""
    work = await sets_at_once(subject, size=size)
    before, took = await _at_work(subject), 0.0
    for _ in range(rounds := 5):
        took += await work() * size
    used = await _at_work(subject) - before
    subject.note = f"{used / rounds / size * 1e6:.1f} µs, {used / took:.0%}, are the server's own work"
    return work


async def _at_work(subject: Subject) -> float:
    """Seconds that the server has spent on writes."""
    async with Redis.from_url(subject.database) as client:
        told = await client.info("commandstats")
    names = ["cmdstat_set"] if isinstance(subject, Plain) else ["cmdstat_evalsha", "cmdstat_eval"]
    return float(sum(told[name]["usec"] for name in names if name in told)) / 1e6


# -- What another process has overwritten -----------------------------------------------------------------------------


class Told(Subject):
    """Two processes, one of which writes, and the other reads."""

    def __init__(self, name: str, *, writes: int, pause: float, long: bool = False, **how: bool) -> None:
        self.name, self.long, self.kind = name, long, "floor" if how.get("plain") else "ours"
        self._writes, self._pause, self._how = writes, pause, how

    async def open(self, place: Place) -> None:
        self._place = place

    async def observe(self) -> list[float]:
        """Seconds of staleness: of all writes, in 101 steps."""
        writes = min(self._writes, 300) if self._place.quick else self._writes
        with self._place.spread():
            seen = await measure(self._place.database(), writes, self._pause, **self._how)
        killed = f", {seen.killed:,} connections killed" if seen.killed else ""
        p99 = at_share(seen.stale, 0.99) * 1e3
        self.note = f"{p99:,.3g} ms for 99 of 100; {writes:,} writes, {seen.reads:,} reads{killed}"
        return [at_share(seen.stale, step / 100) for step in range(101)]


async def staleness(subject: Subject) -> list[float]:
    assert isinstance(subject, Told)
    return await subject.observe()


_ROWS: Final[Sequence[Callable[[], Subject]]] = (
    Plain,
    Store,
    partial(OursRedis, files=False, coherence=False),
    partial(OursRedis, files=False),
    partial(OursRedis, coherence=False),
    OursRedis,
)

TASKS: Final = (
    Task(
        "get-plain", "Gets out of Redis, one after another", "µs", _ROWS, partial(gets, size=100), [Goal(1.15, _PLAIN)]
    ),
    Task("set-plain", "Sets into Redis, one after another", "µs", _ROWS, partial(sets, size=100), [Goal(1.25, _PLAIN)]),
    Task(
        "set1000-plain",
        f"{_MANY:,} sets into Redis at once, for each",
        "µs",
        _ROWS,
        partial(sets_at_once_shared, size=_MANY),
    ),
    Task(
        "forget",
        "invalidate(tags=[…]) and clear(), by the number of members",
        "µs",
        tuple(members.rows()),
        members.forgetting,
        members.FLAT,
        slow=True,  # the first one, which has the most to forget, is to be among the figures
    ),
    Task(
        "staleness",
        "How long a process serves what another has overwritten, write by write",
        "ms",
        (
            partial(Told, "floor: a plain PUBLISH", writes=5_000, pause=2e-3, plain=True),
            partial(Told, "told", writes=5_000, pause=2e-3),
            partial(Told, "told, its connection killed twice a second", writes=5_000, pause=2e-3, killing=True),
            partial(Told, "asks every 5 s", writes=1_000, pause=20e-3, long=True, coherence=False),
        ),
        staleness,
        [Goal(5e-3, who="told", share=0.99)],
    ),
    Task(
        "owed",
        "Memory for each write of an outage that Redis is owed",
        "bytes",
        (
            partial(outage.Owing, owed=False, name="floor: as many on file, without Redis", kind="floor"),
            outage.Owing,
        ),
        outage.memory,
    ),
    Task(
        "replay",
        "From Redis' return until it is owed nothing",
        "s",
        (outage.Pace, outage.Owing),
        outage.paced,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
