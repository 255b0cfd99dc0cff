"""What ``doctor`` finds where Redis is more than one server: behind sentinels, and in a cluster."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from deployments import RedisCluster, WatchedServers
from servers import RedisServer, free_port

from toolcache import Settings
from toolcache.cli.advice import for_redis
from toolcache.cli.checks import redis
from toolcache.cli.checks.finding import Finding


@pytest.fixture(scope="module")
def watched() -> Iterator[WatchedServers]:
    """Servers and sentinels of this module."""
    with WatchedServers(down_after_ms=20_000) as watched:  # on a busy machine a server may say nothing for a while
        yield watched


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """A cluster of this module, a replica to each primary."""
    with RedisCluster(replicas=1) as cluster:
        yield cluster


async def found(url: str) -> list[Finding]:
    """All that is found."""
    return await redis.redis(Settings(redis_url=url, op_timeout=5.0))


class TestBehindSentinels:
    async def test_the_master_is_asked(self, watched: WatchedServers) -> None:
        """It is named, and asked what a single server is."""
        seen = await found(watched.url)
        assert seen[0].says == f"the sentinels name 127.0.0.1:{watched.master.port} as the master"
        assert {one.check for one in seen} == {"redis", "eviction", "clock", "tracking"}
        assert {one.status for one in seen} <= {"ok", "note"}

    async def test_what_is_wrong_there(self, watched: WatchedServers) -> None:
        """What is wrong at the master is told; its replica is not asked."""
        watched.master.config(maxmemory_policy="allkeys-lru", maxmemory="1gb")
        watched.replica.config(maxmemory_policy="volatile-lru")
        try:
            seen = await found(watched.url)
        finally:
            watched.master.config(maxmemory_policy="noeviction", maxmemory=0)
            watched.replica.config(maxmemory_policy="noeviction")
        assert [one.says[:35] for one in seen if one.status != "ok"] == ["maxmemory-policy is allkeys-lru: se"]

    async def test_a_service_that_they_do_not_know(self, watched: WatchedServers) -> None:
        """A wrong name in the URL is told as that."""
        (one,) = await found(watched.url.replace("/main", "/other"))
        assert (one.status, one.do) == ("bad", for_redis("MasterNotFoundError"))
        assert "cannot be reached: MasterNotFoundError" in one.says
        assert "service" in one.do

    async def test_sentinels_that_are_away(self) -> None:
        """Where none answers, that is what is wrong."""
        (one,) = await found("redis+sentinel://app:hidden@127.0.0.1:1/main")
        assert one.status == "bad"
        assert "cannot be reached: connection refused" in one.says
        assert "hidden" not in one.says


class TestCluster:
    async def test_each_primary_is_asked(self, cluster: RedisCluster) -> None:
        """What is well at all of them is told once; that the URL names a replica is no matter."""
        seen = await found(f"redis+cluster://127.0.0.1:{cluster.replicas[0][0].port}")
        well = [one for one in seen if one.status == "ok"]
        assert sorted(one.check for one in well) == ["clock", "eviction", "redis", "tracking"]
        assert all(one.says.startswith("3 primaries: ") for one in well)
        assert {one.status for one in seen} <= {"ok", "note"}

    async def test_one_that_is_set_up_otherwise(self, cluster: RedisCluster) -> None:
        """What is wrong at one of them is told, with where."""
        third = cluster.primaries[2]
        third.config(maxmemory_policy="allkeys-lfu")
        try:
            seen = await found(cluster.url)
        finally:
            third.config(maxmemory_policy="noeviction")
        (one,) = [one for one in seen if one.status == "warn"]
        assert one.says.startswith(f"127.0.0.1:{third.port}: maxmemory-policy is allkeys-lfu")
        assert any(one.says.startswith("2 of 3 primaries: maxmemory-policy is noeviction") for one in seen)

    async def test_one_that_does_not_answer(self) -> None:
        """A primary that hangs is told as that, beside what the others say; that the URL names it first is no matter."""
        with RedisCluster() as cluster, cluster.primaries[0].frozen():
            seen = await redis.redis(Settings(redis_url=cluster.url, op_timeout=5.0, connect_timeout=5.0))
        (one,) = [one for one in seen if one.status == "bad"]
        assert one.says.startswith(f"127.0.0.1:{cluster.primaries[0].port}: ")
        assert "cannot be reached: timed out" in one.says
        assert any(one.says.startswith("2 of 3 primaries: ") for one in seen)

    async def test_a_node_that_knows_of_no_other(self) -> None:
        """A cluster that was not set up yet is no cluster without faults."""
        with closing(RedisServer("--cluster-enabled", "yes", "--cluster-port", str(free_port()))) as node:
            (one,) = await found(f"redis+cluster://127.0.0.1:{node.port}")
        assert one.status == "bad"
        assert "cannot be reached: RedisClusterException" in one.says
        assert "redis-cli --cluster create" in one.do
