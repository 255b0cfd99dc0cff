"""Events of the application, between processes: who hears them, how often, and what else may come."""

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hearing import Open, state, until
from hypothesis import given
from hypothesis import strategies as st
from programs import run, start
from servers import RedisServer

from toolcache import Durability, ToolCache
from toolcache.codec.envelope import Envelope
from toolcache.encoded import Encoded
from toolcache.events import MessageRejected, MessagesRefused
from toolcache.keys.text import key_digest
from toolcache.messages import MAX_MESSAGE
from toolcache.protocols import Write
from toolcache.reactions import Emitted
from toolcache.testing import Recorder

CHANNEL = "tc1:x:default"


def collect(cache: ToolCache, name: str = "*") -> list[Emitted]:
    """The events that a cache hands to a handler."""
    seen: list[Emitted] = []
    cache.on(name)(seen.append)
    return seen


async def test_every_process_hears_once(hearing: Open) -> None:
    """C13: handlers of the emitting process and of every other get an event, once, with what it says."""
    caches = [await hearing() for _ in range(3)]
    seen = [collect(cache, "data.updated") for cache in caches]
    said = {"data_type": "products", "ids": [1, 2], "at": (0.5, None)}
    emission = await caches[0].emit("data.updated", **said)
    assert (emission.redis, emission.files) in {("done", None), (None, "done")}
    await until(lambda: all(seen))
    last = await caches[1].emit("data.updated", data_type="last")
    await until(lambda: all(events[-1].data_type == "last" for events in seen))
    for cache, events in zip(caches, seen, strict=True):
        assert [event["data_type"] for event in events] == ["products", "last"]
        assert [event.local for event in events] == [cache is caches[0], cache is caches[1]]
        assert dict(events[0]) == said
        assert [event.id for event in events] == [emission.event.id, last.event.id]
        assert events[0].emitted_at == pytest.approx(emission.event.emitted_at, abs=0.002)
    assert [cache.reactions.heard for cache in caches] == [1, 1, 2]


async def test_namespaces_do_not_hear_one_another(hearing: Open) -> None:
    """C13: an event stays within its namespace."""
    one, same, other = await hearing(), await hearing(), await hearing(namespace="other")
    seen, heard = collect(other), collect(same)
    await one.emit("data.updated", data_type="a")
    await until(lambda: heard)
    await asyncio.sleep(0.05)  # what is not to come has no sign by which to know it
    assert seen == []


async def test_what_others_forget(hearing: Open) -> None:
    """C13: what an event makes wrong is forgotten by the emitter alone, and gone in every process."""
    one, two = await hearing(), await hearing()
    seen = collect(two)
    await one.set("page", 1, tags=["products:phones"])
    assert await two.get("page") == 1
    emission = await one.emit("data.updated", data_type="products")
    assert emission.forgotten is not None
    assert emission.forgotten.memory == "done"
    await until(lambda: seen)
    assert await one.get("page") is None
    assert await two.get("page") is None


async def test_where_nobody_else_is(cache: ToolCache) -> None:
    """C13: without Redis and files, handlers of the process itself are called, and the receipt says that nobody else was told."""
    seen = collect(cache)
    emission = await cache.emit("data.updated", data_type="a")
    await emission.handled()
    assert (emission.redis, emission.files, emission.handlers) == (None, None, 1)
    assert [event.local for event in seen] == [True]


PROGRAM = """
    import asyncio, sys
    from toolcache import Durability, ToolCache

    async def main(url, directory):
        options = {"redis_url": url} if url else {}
        async with ToolCache(**options, files=bool(directory), directory=directory or None) as cache:
            @cache.on("data.*")
            async def hear(event):
                if not event.local:
                    await cache.emit("answer", said=[event.name, event.data_type])
                    done.set()
            done = asyncio.Event()
            await cache.get("anything")
            while url and cache._machine.bus.state != "tracking":
                await asyncio.sleep(0.005)
            print("ready", flush=True)
            await asyncio.wait_for(done.wait(), 30)
            await asyncio.sleep(0)

    asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("by", ["redis", "files"])
async def test_a_process_of_its_own_hears_and_answers(by: str, redis_server: RedisServer, tmp_path: Path) -> None:
    """C13: over Redis alone and over shared files alone, two processes hear each other."""
    url, directory = (redis_server.url, "") if by == "redis" else ("", str(tmp_path / "files"))
    options: dict[str, Any] = {"redis_url": url} if url else {"directory": directory}
    program = await asyncio.to_thread(start, PROGRAM, url, directory)
    try:
        assert program.stdout is not None
        assert await asyncio.to_thread(program.stdout.readline) == "ready\n"
        async with ToolCache(**options, files=not url) as cache:
            heard = collect(cache, "answer")
            await cache.get("anything")
            await until(lambda: not url or state(cache) == "tracking")
            await cache.emit("data.updated", data_type="products")
            await until(lambda: heard)
            assert [(event.said, event.local) for event in heard] == [(["data.updated", "products"], False)]
        _, err = await asyncio.to_thread(program.communicate, timeout=20)
        assert (program.returncode, err) == (0, "")
    finally:
        program.kill()
        await asyncio.to_thread(program.wait)


def message(cache: ToolCache, name: str = "data.updated", **payload: Any) -> bytes:
    """What goes over the wire for an event."""
    said, blob = cache._machine.messages.pack(name, payload)
    cache._machine.messages._seen.clear()
    return said.id.encode() + blob


def forged(value: Any, *, size: int = 0, number: str = "", gone_ms: int = 1 << 60) -> bytes:
    """A message made by somebody else."""
    from toolcache.codec.coder import Coder

    number = number or os.urandom(16).hex()
    encoded = Coder().encode(value) if not size else Encoded(b"\xc6" + size.to_bytes(4, "big") + bytes(size), "m")
    blob = Envelope().pack(
        encoded,
        digest=key_digest(f"{CHANNEL}:{number}"),
        version=bytes(16),
        created_ms=1,
        fresh_until_ms=2,
        gone_ms=gone_ms,
    )
    return number.encode() + blob


async def test_hostile_messages_are_dropped(redis_server: RedisServer) -> None:
    """BUG-32: whatever is published by others is bounded in size and shape, dropped and counted; listening goes on."""
    async with ToolCache(redis_url=redis_server.url, files=False) as cache:
        recorder = Recorder()
        cache.subscribe(recorder)
        seen = collect(cache)
        await cache.get("warm")
        await until(lambda: state(cache) == "tracking")
        good = message(cache, data_type="products")
        flipped = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(0, len(good), 7)]
        hostile = [
            b"",
            b"nonsense",
            b"\x00" * (MAX_MESSAGE * 4),
            good[:-1],
            good + b"x",
            b"g" * 32 + good[32:],
            b"0" * 32 + good[32:],  # another's id: the blob is not that message
            *flipped,
            forged(["late", {}], gone_ms=int(time.time() * 1000) - 1),
            forged("text"),
            forged(["name"]),
            forged(["name", {1: 2}]),
            forged(["bad name", {}]),
            forged(["bus.gap", {"layer": "redis", "seconds": 1}]),  # which no other process can know of
            forged(["data.updated", [1]]),
            forged([["data.updated"], {}]),
            forged(None, size=MAX_MESSAGE * 100),  # compressed to a few bytes
        ]
        for raw in hostile:
            await asyncio.to_thread(redis_server.command, "PUBLISH", CHANNEL, raw)
        await asyncio.to_thread(redis_server.command, "PUBLISH", CHANNEL, forged(["still.here", {"n": 1}]))
        await until(lambda: seen)
        assert [(event.name, dict(event)) for event in seen] == [("still.here", {"n": 1})]
        assert cache.reactions.rejected == len(hostile) == len(recorder.of(MessageRejected))
        assert state(cache) == "tracking"


async def test_hostile_files_are_dropped(tmp_path: Path) -> None:
    """BUG-32: what others write into the directory as events, and is none, is dropped and counted; what is one is heard."""
    async with ToolCache(directory=tmp_path) as cache, ToolCache(directory=tmp_path) as other:
        seen = collect(cache)
        for one in (cache, other):
            await one.set("key", 1)
        files = other._parts.files
        assert files is not None
        others = (forged("text"), forged(["bad name", {}]), forged(None, size=MAX_MESSAGE * 100))
        hostile = [(said[:32], said[32:]) for said in others]
        hostile += [(b"nonsense", forged(["name", {}])[32:]), (b"0" * 32, forged(["name", {}])[32:])]
        for number, blob in hostile:
            assert await files.write([Write(f"{CHANNEL}:{number.decode()}", blob)])
        await other.emit("still.here")
        await until(lambda: seen)
        assert [event.name for event in seen] == ["still.here"]
        assert cache.reactions.rejected == len(hostile)


async def test_only_those_with_the_secret_are_heard(redis_server: RedisServer) -> None:
    """BUG-32: with ``secret`` set, a message that is not sealed with it is dropped, whoever may publish."""
    options: dict[str, Any] = {"redis_url": redis_server.url, "files": False}
    async with (
        ToolCache(**options, secret="s" * 32) as cache,
        ToolCache(**options, secret="s" * 32) as friend,
        ToolCache(**options) as stranger,
    ):
        seen = collect(cache)
        await cache.get("warm")
        await until(lambda: state(cache) == "tracking")
        await stranger.emit("evil")
        await friend.emit("good")
        await until(lambda: seen)
        assert [event.name for event in seen] == ["good"]
        assert cache.reactions.rejected == 1


async def test_a_message_that_comes_twice(redis_server: RedisServer) -> None:
    """C13: the nodes of a cluster all pass a message on, and a lost reply has it sent again: it is heard once."""
    async with ToolCache(redis_url=redis_server.url, files=False) as cache:
        seen = collect(cache)
        await cache.get("warm")
        await until(lambda: state(cache) == "tracking")
        raw = forged(["again", {}])
        for one in (raw, raw, raw, forged(["last", {}])):
            await asyncio.to_thread(redis_server.command, "PUBLISH", CHANNEL, one)
        await until(lambda: len(seen) > 1)
        assert [event.name for event in seen] == ["again", "last"]
        assert cache.reactions.rejected == 0


async def test_a_gap_is_told_once(own_redis: RedisServer) -> None:
    """C13: who was not listened to for a while is told so, once, when it is listened to again; not at the start."""
    async with ToolCache(redis_url=own_redis.url, files=False) as cache:
        gaps, seen = collect(cache, "bus.gap"), collect(cache, "data.*")
        await cache.get("warm")
        await until(lambda: state(cache) == "tracking")
        assert gaps == []

        def more(number: int) -> bool:
            return len(gaps) == number

        for number in (1, 2):
            await asyncio.to_thread(own_redis.command, "CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: state(cache) == "timed")
            assert len(gaps) == number - 1  # nothing to be done about it yet
            await until(lambda: state(cache) == "tracking")
            await until(partial(more, number))
        assert gaps[0].layer == "redis"
        assert 0 <= gaps[0].seconds < 20
        assert not any(gap.id for gap in gaps)
        assert cache.reactions.gaps == 2
        await asyncio.to_thread(own_redis.command, "PUBLISH", CHANNEL, forged(["data.updated", {}]))
        await until(lambda: seen)
        assert len(gaps) == 2


async def test_what_is_missed_lies_in_a_gap(own_redis: RedisServer) -> None:
    """C13: whatever befalls the listener, an event is heard, once, or a gap is told that it lies in."""
    options: dict[str, Any] = {"redis_url": own_redis.url, "files": False, "op_timeout": 10}
    async with ToolCache(**options) as one, ToolCache(**options, namespace="default") as two:
        await asyncio.gather(one.get("warm"), two.get("warm"))
        await until(lambda: state(one) == state(two) == "tracking")
        seen, gaps = collect(two, "count"), collect(two, "bus.gap")
        emitted: dict[int, float] = {}

        async def emit() -> None:
            for number in range(400):
                emitted[number] = (await one.emit("count", number=number)).event.emitted_at
                await asyncio.sleep(0.001)

        emitting = asyncio.create_task(emit())
        while not emitting.done():
            await asyncio.to_thread(own_redis.command, "CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.sleep(0.06)
        await until(lambda: state(two) == "tracking")
        await one.emit("count", number=400)
        await until(lambda: seen and seen[-1].number == 400)
        heard = [event.number for event in seen]
        assert heard == sorted(set(heard))
        missed = emitted.keys() - set(heard)
        told = [(gap.emitted_at - gap.seconds, gap.emitted_at) for gap in gaps]
        slack = 0.5  # what was heard last may have been under way for a while
        assert missed
        assert all(any(begin - slack <= emitted[n] <= end for begin, end in told) for n in missed)


async def test_files_that_were_not_followed_are_a_gap(tmp_path: Path) -> None:
    """C13: where more was written to the files than is remembered, handlers are told that something may be missing."""
    async with ToolCache(directory=tmp_path) as cache:
        gaps = collect(cache, "bus.gap")
        await cache.set("key", 1)
        assert cache._parts.files is not None
        post = cache._parts.files.store._post  # type: ignore[attr-defined]  # of the log
        post.add([(f"tc1:v:default:{number}", bytes(16)) for number in range(10_001)])
        await until(lambda: gaps)
        assert gaps[0].layer == "file"


async def test_in_an_outage_the_host_is_told_by_its_files(own_redis: RedisServer, tmp_path: Path) -> None:
    """C13: where Redis cannot be told, the processes that share the files are; the receipt says so."""
    options: dict[str, Any] = {"redis_url": own_redis.url, "directory": tmp_path, "op_timeout": 0.3}
    async with ToolCache(**options) as one, ToolCache(**options) as two:
        seen = collect(two, "data.updated")
        for cache in (one, two):
            await cache.get("warm")
        await until(lambda: state(one) == state(two) == "tracking")
        await asyncio.to_thread(own_redis.stop)
        emission = await one.emit("data.updated", data_type="a")
        assert (emission.redis, emission.files) == ("failed", "done")
        await until(lambda: seen)
        assert [event.data_type for event in seen] == ["a"]


@pytest.mark.parametrize("right", ["publish", "listen"])
async def test_a_user_without_the_right(own_redis: RedisServer, right: str) -> None:
    """C13: a user who may not publish, or listen, on the channel caches all the same; what that costs is said."""
    rights = ["+@all", "~*", "resetchannels", "&__redis__:invalidate", "&tc1:w:*"]
    if right == "publish":
        rights += ["&tc1:x:*", "-publish"]
    own_redis.command("ACL", "SETUSER", "agent", "on", ">secret", *rights)
    url = own_redis.url.replace("redis://", "redis://agent:secret@")
    recorder = Recorder()
    async with ToolCache(redis_url=url, files=False) as cache:
        cache.subscribe(recorder)
        seen = collect(cache)
        await cache.get("warm")
        await until(lambda: state(cache) == "tracking")
        emission = await cache.emit("data.updated", data_type="a")
        assert emission.redis == "failed"
        await emission.handled()
        assert len(seen) == 1
        assert await cache.set("key", 1) is Durability.REDIS
        assert (await cache.health()).status == "ok"
        assert len(recorder.of(MessagesRefused)) == (right == "listen")


@given(raw=st.binary(max_size=400) | st.builds(lambda tail: b"0" * 32 + b"TC\x01" + tail, st.binary(max_size=200)))
def test_whatever_bytes_come(raw: bytes) -> None:
    """BUG-32: no bytes make the listener raise, and none but a whole message of ours is heard."""
    cache = ToolCache(files=False)
    seen = collect(cache)
    cache._machine.messages.told(raw)
    assert seen == []
    assert cache.reactions.rejected == 1


async def test_a_cache_that_keeps_nothing(hearing: Open) -> None:
    """C13: with ``enabled=False`` nothing is cached, and events go on."""
    one, two = await hearing(enabled=False), await hearing(enabled=False)
    seen = collect(two)
    await until(lambda: two._parts.redis or two._machine._follower._opened)  # who listens opens the log
    await one.emit("data.updated", data_type="a")
    await until(lambda: seen)


async def test_several_loops(hearing: Open) -> None:
    """C13: what is emitted on another event loop of the process is handled there, once; ``once`` holds for all of them."""
    one, two = await hearing(), await hearing()
    loops, heard = list[object](), collect(two, "data.updated")
    one.on("data.updated")(lambda _event: loops.append(asyncio.get_running_loop()))
    firsts = list[Emitted]()
    one.on("data.updated", once=True)(firsts.append)

    def elsewhere() -> object:
        async def emit() -> object:
            emission = await one.emit("data.updated", data_type="a")
            await emission.handled()
            return asyncio.get_running_loop()

        return asyncio.run(emit())

    others = await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(4)))
    await until(lambda: len(heard) == 4)
    assert set(loops) == set(others)
    assert len(loops) == 4
    assert len(firsts) == 1


FORKING = """
    import asyncio, os, sys
    from toolcache import ToolCache

    def emit(cache, name):
        async def go():
            emission = await cache.emit("data.updated", data_type=name)
            await emission.handled()
        asyncio.run(go())

    cache = ToolCache(redis_url=sys.argv[1], files=False, op_timeout=10)
    seen = []
    cache.on("data.updated")(lambda event: seen.append(event.data_type))
    emit(cache, "first")
    emit(cache, "second")  # another event loop
    child = os.fork()
    if child == 0:
        seen.clear()
        emit(cache, "child")
        asyncio.run(cache.aclose())
        os._exit(0 if seen == ["child"] else 1)
    status = os.waitpid(child, 0)[1]
    emit(cache, "third")
    asyncio.run(cache.aclose())
    print(status, seen)
"""


async def test_loops_one_after_another_and_a_fork(redis_server: RedisServer) -> None:
    """BUG-13: handlers run on whichever loop there is, and in a child as in its parent; nothing is left waiting."""
    out, err = await asyncio.to_thread(run, FORKING, redis_server.url)
    assert (out, err) == ("0 ['first', 'second', 'third']\n", "")
