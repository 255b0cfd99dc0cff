"""One store, several event loops, threads and processes."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from servers import RedisServer

from toolcache.errors import CacheClosedError
from toolcache.protocols import PutStatus, Write
from toolcache.stores.redis.store import RedisStore
from toolcache.testing.stores import blob_of

_ROOT = Path(__file__).parents[2]


def write(key: str, *, version: int = 1) -> Write:
    """A write of a whole blob, as of now."""
    return Write(key, blob_of(key, key.encode() * 10, version=version, now=time.time()))


async def rounds(store: RedisStore, name: str, count: int) -> int:
    """Write and read keys of one's own; how many came back as they were."""
    right = 0
    for start in range(0, count, 20):
        writes = [write(f"{name}:{n}") for n in range(start, start + 20)]
        await store.put_many(writes)
        found = await asyncio.gather(*(store.get_many([one.key]) for one in writes))
        right += sum(blobs == [one.blob] for blobs, one in zip(found, writes, strict=True))
    return right


def clients(server: RedisServer) -> int:
    """Connections of ours that the server sees."""
    count: int = server.command("CLIENT", "LIST").count(b"name=toolcache ")
    return count


def test_one_store_in_many_runs(own_redis: RedisServer) -> None:
    """BUG-14: 30 times ``asyncio.run`` on one store, never closed in between; no error and no connection left over."""
    store = RedisStore(own_redis.url, op_timeout=5.0)
    for number in range(30):
        assert asyncio.run(rounds(store, f"run{number}", 20)) == 20
    asyncio.run(store.aclose())
    gc.collect()
    assert clients(own_redis) == 0


def test_a_closed_loop_is_forgotten(redis_server: RedisServer) -> None:
    """BUG-14: loops are known by themselves, not by an id that the next one may have; none is kept alive for long."""
    store = RedisStore(redis_server.url, op_timeout=5.0)
    seen: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def use() -> None:
        seen.append(weakref.ref(asyncio.get_running_loop()))
        await store.get_many(["k"])

    for _ in range(5):
        asyncio.run(use())
        gc.collect()
    asyncio.run(store.aclose())
    gc.collect()
    assert [loop() for loop in seen] == [None] * 5


def test_several_loops_at_the_same_time(redis_server: RedisServer) -> None:
    """LC-02: 4 threads with a loop each, 1,000 operations each, over one store."""
    store = RedisStore(redis_server.url, op_timeout=10.0)
    right: list[int] = []

    def work(name: str) -> None:
        async def main() -> None:
            right.append(await rounds(store, name, 500))

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(f"thread{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [500] * 4
    asyncio.run(store.aclose())


def test_closing_reaches_the_other_loops(own_redis: RedisServer) -> None:
    """LC-02: what another thread's loop still holds is closed there, and that loop is told."""
    store = RedisStore(own_redis.url, op_timeout=5.0)
    ready, closed = threading.Event(), threading.Event()
    told: list[type[BaseException]] = []

    def elsewhere() -> None:
        async def main() -> None:
            await store.put_many([write("k")])
            ready.set()
            await asyncio.to_thread(closed.wait, 10)
            await asyncio.sleep(0.05)
            try:
                await store.get_many(["k"])
            except CacheClosedError as error:
                told.append(type(error))

        asyncio.run(main())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    assert ready.wait(10)
    asyncio.run(store.aclose())
    closed.set()
    thread.join()
    assert told == [CacheClosedError]
    assert clients(own_redis) == 0


def in_child(work: Coroutine[Any, Any, bool]) -> int:
    """Fork, run ``work`` on a loop of the child's own, and leave without tidying up; the child's pid."""
    pid = os.fork()
    if pid:
        work.close()
        return pid
    code = 1
    try:
        code = 0 if asyncio.run(work) else 2
    finally:
        os._exit(code)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_fork_after_use(own_redis: RedisServer) -> None:
    """LC-09: parent and two children do 500 reads each at the same time; all right, over sockets of their own."""
    store = RedisStore(own_redis.url, op_timeout=10.0)
    await store.put_many([write("shared")])
    expected = await store.get_many(["shared"])
    address = next(
        line.split(b"addr=")[1].split()[0]
        for line in own_redis.command("CLIENT", "LIST").splitlines()
        if b"name=toolcache " in line
    )

    async def child(name: str) -> bool:
        same = await store.get_many(["shared"]) == expected
        right = await rounds(store, name, 500)
        await store.aclose()
        return same and right == 500

    pids = [in_child(child(f"child{n}")) for n in range(2)]
    assert await rounds(store, "parent", 500) == 500
    for pid in pids:
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
    assert await store.get_many(["shared"]) == expected
    assert b"addr=" + address in own_redis.command("CLIENT", "LIST")  # the parent's connection is the one it had
    await store.aclose()


def test_a_program_that_never_closes(own_redis: RedisServer) -> None:
    """BUG-102: leaving without ``aclose`` loses nothing that was acknowledged and prints no error."""
    code = (
        "import asyncio, sys, time\n"
        "from toolcache.stores.redis.store import RedisStore\n"
        "from toolcache.testing.stores import blob_of\n"
        "from toolcache.protocols import Write\n"
        "async def main():\n"
        "    store = RedisStore(sys.argv[1])\n"
        "    await store.put_many([Write('k', blob_of('k', now=time.time()))])\n"
        "    return store\n"
        "kept = asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, own_redis.url],
        capture_output=True,
        text=True,
        cwd=_ROOT,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert own_redis.command("EXISTS", "k") == 1


async def test_outcomes_are_exact_across_loops(redis_server: RedisServer) -> None:
    """LC-02: of two loops writing one version, one stores and the other finds it there."""
    store = RedisStore(redis_server.url, op_timeout=5.0)
    one = write("same")

    def other() -> PutStatus:
        async def main() -> PutStatus:
            return (await store.put_many([one]))[0].status

        return asyncio.run(main())

    here, there = await asyncio.gather(store.put_many([one]), asyncio.to_thread(other))
    assert {here[0].status, there} == {PutStatus.STORED, PutStatus.ALREADY}
    await store.aclose()
