"""A cache in a process that forks."""

import json
from typing import Any

import pytest
from programs import run

LAYERINGS = ("memory+file", "memory+redis", "memory+redis+file")

_PRELUDE = """
    import asyncio, json, os, signal, sys, threading, time, warnings
    from toolcache import MISSING, ToolCache
    from toolcache.blob import read_header
    warnings.simplefilter("ignore", ResourceWarning)
    warnings.filterwarnings("ignore", "This process", DeprecationWarning)
    url, files, directory = sys.argv[1:]
    cache = ToolCache(redis_url=url or None, files=files == "True", directory=directory, op_timeout=20, file_timeout=30)

    def fork(work):
        pid = os.fork()
        if pid:
            return pid
        signal.alarm(40)  # a child that hangs is an error, not a wait for ever
        try:
            work()
            code = 0
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr)
            code = 1
        os._exit(code)

    def reap(*pids):
        for pid in pids:
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == 0, status
"""


def program(code: str, options: dict[str, Any]) -> str:
    """What a program that forks prints."""
    out, err = run(_PRELUDE + code, options["redis_url"] or "", options["files"], options["directory"])
    assert err == ""
    return out


@pytest.mark.parametrize("layering", LAYERINGS)
def test_parent_and_child_go_on(options: dict[str, Any], layering: str) -> None:
    """LC-09: 500 gets each at the same time, all values right; sockets, log segments and node ids of their own."""
    out = program(
        """
    def nodes(store, key):
        (blob,) = asyncio.run(store.get_many([key]))
        return read_header(blob).version[8:].hex()

    async def work(name, peer):
        await cache.set(f"from {name}", name)
        for number in range(500):
            key = f"shared{number % 100}"
            if number % 2:
                cache._parts.memory.remove(key)
            assert await cache.get(key) == {"key": key}, key
        assert await cache.get(f"from {name}") == name

    async def before():
        await cache.set_many({f"shared{number}": {"key": f"shared{number}"} for number in range(100)})
        assert await cache.get("shared1") == {"key": "shared1"}

    asyncio.run(before())
    pids = [fork(lambda name=name: asyncio.run(work(name, "parent"))) for name in ("one", "two")]
    asyncio.run(work("parent", "one"))
    reap(*pids)

    async def versions():
        layer = cache._parts.redis or cache._parts.files
        blobs = await layer.store.get_many([f"tc1:v:default:from%20{name}" for name in ("one", "two", "parent")])
        print(json.dumps([read_header(blob).version[8:].hex() for blob in blobs]))
        print(json.dumps([await cache.get(f"from {name}") for name in ("one", "two", "parent")]))
        await cache.aclose()

    asyncio.run(versions())
        """,
        options,
    )
    nodes, values = map(json.loads, out.splitlines())
    assert len(set(nodes)) == 3
    assert values == ["one", "two", "parent"]


@pytest.mark.parametrize("layering", LAYERINGS)
def test_sockets_are_not_shared(options: dict[str, Any], layering: str) -> None:
    """LC-09: while the child reads, the server sees one connection more; the parent's are those it had."""
    if options["redis_url"] is None:
        return
    out = program(
        """
    from redis import Redis
    cache = ToolCache(cache.settings, coherence=False)

    def addresses():
        with Redis.from_url(url) as client:
            return sorted(each["addr"] for each in client.client_list() if each["name"] == "toolcache")

    async def main():
        await cache.set("key", 1)
        cache._parts.memory.clear()
        assert await cache.get("key") == 1
        before = addresses()
        ready, done = os.pipe(), os.pipe()

        def child():
            async def use():
                cache._parts.memory.clear()
                assert await cache.get("key") == 1
                os.write(ready[1], b"r")
                await asyncio.to_thread(os.read, done[0], 1)
                await cache.aclose()
            asyncio.run(use())

        pid = fork(child)
        os.read(ready[0], 1)
        during = addresses()
        os.write(done[1], b"d")
        await asyncio.to_thread(reap, pid)
        cache._parts.memory.clear()
        assert await cache.get("key") == 1
        print(json.dumps([before, during, addresses()]))
        await cache.aclose()

    asyncio.run(main())
        """,
        options,
    )
    before, during, after = json.loads(out)
    assert len(before) == 2  # one for reads, one for writes
    assert set(before) < set(during)
    assert len(during) == 3
    assert after == before


@pytest.mark.parametrize("layering", LAYERINGS)
def test_the_child_starts_with_nothing_in_memory(options: dict[str, Any], layering: str) -> None:
    """LC-09, BUG-28: what the parent writes or deletes after the fork is seen by the child, which held the old value."""
    out = program(
        """
    async def main():
        await cache.set_many({"set": "old", "deleted": "old", "cleared": "old"})
        go = os.pipe()

        def child():
            os.read(go[0], 1)
            print(json.dumps(asyncio.run(cache.get_many(["set", "deleted"]))), flush=True)

        pid = fork(child)
        await cache.set("set", "new")
        await cache.delete("deleted")
        os.write(go[1], b"g")
        await asyncio.to_thread(reap, pid)
        await cache.aclose()

    asyncio.run(main())
        """,
        options,
    )
    assert json.loads(out) == {"set": "new"}


@pytest.mark.parametrize("layering", ["memory", *LAYERINGS])
def test_a_fork_while_other_threads_are_at_work(options: dict[str, Any], layering: str) -> None:
    """LC-09: whichever lock another thread holds at the fork, the child can read, write, compute and close."""
    out = program(
        """
    stop = threading.Event()

    async def churn():
        number = 0
        while not stop.is_set():
            number += 1
            await cache.set(f"key{number % 7}", [number])
            await cache.get_or_set(f"made{number % 50}", lambda: number, ttl=0.001)
            await cache.delete(f"key{number % 5}")

    async def use():
        mine = f"mine{os.getpid()}"
        await cache.set(mine, "child's")
        assert await cache.get(mine) == "child's"
        assert await cache.get_or_set("made", lambda: 1) == 1
        assert await cache.delete(mine) is True
        await cache.aclose()

    thread = threading.Thread(target=asyncio.run, args=(churn(),))
    thread.start()
    pids = []
    for _ in range(12):
        time.sleep(0.005)
        pids.append(fork(lambda: asyncio.run(use())))
    reap(*pids)
    stop.set()
    thread.join()
    asyncio.run(cache.aclose())
    print("well")
        """,
        options,
    )
    assert out == "well\n"


@pytest.mark.parametrize("layering", ["memory+redis"])
def test_a_child_does_not_hear_by_its_parents_ears(options: dict[str, Any], layering: str) -> None:
    """LC-09: who waits for the end of a claim looks now and then, until this process is told itself."""
    out = program(
        """
    store = cache._machine.parts.redis.store

    async def parent():
        await cache.get("warm")
        while not store.hears:
            await asyncio.sleep(0.01)

        def child():
            assert not store.hears

        reap(fork(child))
        await cache.aclose()
        print("heard")

    asyncio.run(parent())
        """,
        options,
    )
    assert out.split() == ["heard"]
