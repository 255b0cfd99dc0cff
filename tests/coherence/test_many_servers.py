"""Memory is told by all nodes of a cluster, and by the master that sentinels name."""

import asyncio
from collections.abc import Iterator

import pytest
from deployments import RedisCluster, WatchedServers
from hearing import Open, fill, settled, state, until

from toolcache.events import CoherenceChanged
from toolcache.testing import Recorder

KEYS = [f"key:{number}" for number in range(12)]
"""Enough for each node to have some."""


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    """Three primaries, with a replica of each."""
    with RedisCluster(replicas=1) as nodes:
        yield nodes


@pytest.fixture
def watched() -> Iterator[WatchedServers]:
    """A master, a replica, and sentinels."""
    with WatchedServers() as servers:
        yield servers


async def test_every_node_of_a_cluster_tells(cluster: RedisCluster, open_cache: Open) -> None:
    """SPEC 5.6: one listener for each primary; together they are one: where one is lost, all is in doubt until it is back."""
    heard = Recorder()
    one, two = await open_cache(redis_url=cluster.url), await open_cache(redis_url=cluster.url)
    two.subscribe(heard)
    for round_ in range(2):
        await one.set_many(dict.fromkeys(KEYS, round_))
        assert [await fill(two, key) for key in KEYS] == [round_] * len(KEYS)
        await one.set_many(dict.fromkeys(KEYS, "newer"))
        await until(lambda: not any(settled(two, key) for key in KEYS))
        if round_ == 0:
            heard.clear()
            await asyncio.to_thread(cluster.primaries[1].command, "CLIENT", "KILL", "TYPE", "pubsub")
            await until(lambda: len(heard.of(CoherenceChanged)) == 2)
            assert state(two) == "tracking"
            await until(lambda: state(one) == "tracking")
    await one.clear()
    await until(lambda: not any(settled(two, key) for key in KEYS))
    assert await two.get_many(KEYS) == {}

    seen: list[int] = []  # every node passes on what is emitted: it is handled once
    two.on("data.updated")(lambda event: seen.append(event.number))
    for number in range(3):
        assert (await one.emit("data.updated", number=number, data_type="a")).redis == "done"
    await until(lambda: two.reactions.handled == 3)
    await asyncio.sleep(0.05)
    assert seen == [0, 1, 2]


async def test_a_replica_that_takes_over_tells(cluster: RedisCluster, open_cache: Open) -> None:
    """SPEC 5.6: a primary that is none any more ends the listening; the one that has its slots now is listened to."""
    one, two = [await open_cache(redis_url=cluster.url) for _ in range(2)]
    (successor,) = cluster.replicas[0]
    await asyncio.to_thread(cluster.ask, successor, "CLUSTER", "FAILOVER", "TAKEOVER")

    async def told() -> bool:
        await one.set_many(dict.fromkeys(KEYS, "old"))
        for key in KEYS:
            await fill(two, key)
        before = state(two)
        await one.set_many(dict.fromkeys(KEYS, "new"))
        await asyncio.sleep(0.1)  # told at once, or it is tried again: the servers are still coming to an understanding
        return before == state(two) == "tracking" and not any(settled(two, key) for key in KEYS)

    async with asyncio.timeout(20):
        while b"role:master" not in await asyncio.to_thread(successor.command, "INFO") or not await told():  # noqa: ASYNC110 - servers
            await asyncio.sleep(0.05)
    assert [await two.get(key) for key in KEYS] == ["new"] * len(KEYS)


async def test_where_replicas_are_read_nobody_listens(
    cluster: RedisCluster, open_cache: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """DECISIONS: a replica may be behind what its primary tells; what is read from one is trusted for five seconds."""
    cache = await open_cache(redis_url=cluster.url + "?read_from_replicas=true", listening=False)
    await until(lambda: "Replicas are read" in caplog.text)
    assert state(cache) == "timed"


async def test_the_master_of_the_day_tells(watched: WatchedServers, open_cache: Open) -> None:
    """SPEC 5.6: after a failover the new master is read and listened to, and what the old one said is in doubt."""
    one, two = await open_cache(redis_url=watched.url), await open_cache(redis_url=watched.url)
    recorders = [Recorder(), Recorder()]
    for cache, heard in zip((one, two), recorders, strict=True):
        cache.subscribe(heard)
    await one.set("key", "old")
    assert await fill(two, "key") == "old"
    for heard in recorders:
        heard.clear()
    await asyncio.to_thread(watched.fail_over)
    # both: whoever still has to do with the old master may write there what is lost
    await until(lambda: all(len(heard.of(CoherenceChanged)) >= 2 for heard in recorders))
    await until(lambda: state(two) == state(one) == "tracking")
    await one.set("key", "new")
    await until(lambda: not settled(two, "key"))
    assert await two.get("key") == "new"
