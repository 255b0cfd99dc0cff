"""An epoch that one process raises reaches the memories of the others."""

import asyncio
from pathlib import Path

from hearing import Open, fill, settled, until
from servers import RedisServer

from toolcache import MISSING, ToolCache


def calls(server: RedisServer, command: str) -> int:
    """How often a server has executed a command."""
    lines = server.command("INFO", "commandstats").decode().splitlines()
    return sum(int(line.split("calls=")[1].split(",")[0]) for line in lines if line.startswith(f"cmdstat_{command}:"))


async def test_a_tag_that_another_process_invalidates(open_cache: Open) -> None:
    """C2, C12: what memory holds under the tag is gone, without waiting; what it holds besides stays."""
    one, two = await open_cache(), await open_cache()
    for number in range(3):
        await one.set("covered", number, tags=["products:phones"])
        await one.set("spared", number, tags=["news"])
        assert (await fill(two, "covered"), await fill(two, "spared")) == (number, number)
        await one.invalidate(tags=["products"])
        await until(lambda: not settled(two, "covered"))
        assert await two.get("covered", MISSING) is MISSING
        assert settled(two, "spared")
    await one.clear()
    await until(lambda: not settled(two, "spared"))


async def test_what_is_told_is_not_asked_for(open_cache: Open, own_redis: RedisServer) -> None:
    """DECISIONS: an epoch is fetched with the first entry that names it; after that, a read is one command."""
    cache = await open_cache()
    keys = [f"key:{number}" for number in range(5)]
    await cache.set_many(dict.fromkeys(keys, 1), tags=["a:b", "c"])
    await fill(cache, keys[0])
    before = calls(own_redis, "getrange")
    for key in keys[1:]:
        assert await cache.get(key) == 1
    assert calls(own_redis, "getrange") - before == len(keys) - 1


async def test_an_epoch_that_is_raised_while_it_is_asked_for(open_cache: Open) -> None:
    """SPEC 5.6: word of it comes before the answer that does not know of it yet; that answer is not remembered."""
    one, two = await open_cache(), await open_cache()
    epochs = two._machine._epochs
    name = epochs.name("t")
    token = epochs.ask([name])
    assert two._machine._horizon.concerns(name)
    epochs.learn([name], token)
    assert epochs.unknown([name]) == [name]
    await one.set("key", 1, tags=["t"])
    await fill(two, "key")
    assert epochs.unknown([name]) == []
    assert not two._machine._horizon.concerns(epochs.name("nobody's"))


async def test_what_was_told_is_forgotten_when_nobody_tells(open_cache: Open, own_redis: RedisServer) -> None:
    """BUG-30: an epoch that was raised while the listener was away is asked for anew."""
    one, two = await open_cache(), await open_cache(listening=False, coherence=False)
    await two.set("key", 1, tags=["t"])
    await fill(one, "key")
    heard = one._machine.bus
    await asyncio.to_thread(own_redis.command, "CLIENT", "KILL", "TYPE", "pubsub")
    await two.invalidate(tags=["t"])
    await until(lambda: not heard.live)
    assert await one.get("key", MISSING) is MISSING
    await until(lambda: heard.live)
    assert await one.get("key", MISSING) is MISSING


async def test_word_of_an_epoch_is_kept_on_file(open_cache: Open, own_redis: RedisServer, tmp_path: Path) -> None:
    """SPEC 5.6: a mirrored copy that another host has invalidated does not come back in the next outage."""
    host = {"directory": tmp_path / "host", "files": True, "mirror": ["general"], "op_timeout": 1}
    one, two = await open_cache(), await open_cache(**host)
    for key, tag in (("covered", "t"), ("spared", "u")):
        await two.set(key, 1, tags=[tag])
        await fill(two, key)
    await one.invalidate(tags=["t"])
    await until(lambda: not settled(two, "covered"))
    await asyncio.gather(*two._machine.homes.here()._tasks)
    await two.aclose()
    own_redis.stop()
    async with ToolCache(redis_url=own_redis.url, **host) as again:  # type: ignore[arg-type]  # of several types
        assert await again.get("covered", MISSING) is MISSING
        assert await again.get("spared") == 1


async def test_nobody_joins_what_another_process_has_invalidated(open_cache: Open) -> None:
    """DECISIONS: an epoch ends flights under it in every process, also where nobody has ever read anything under it."""
    one, two = await open_cache(), await open_cache(lock=False)
    gate, runs = asyncio.Event(), 0

    async def compute() -> int:
        nonlocal runs
        runs += 1
        mine = runs
        if mine == 1:
            await gate.wait()
        return mine

    first = asyncio.create_task(two.get_response("bot", "goal", model="m", compute=compute))
    await until(lambda: runs)
    flights = two._machine.homes.here().flights
    await one.invalidate(agent="bot")
    await until(lambda: not flights.keys())
    assert await two.get_response("bot", "goal", model="m", compute=compute) == 2
    gate.set()
    assert await first == 1
