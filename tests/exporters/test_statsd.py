"""What a StatsD server hears: real datagrams, of a cache whose clock the test moves."""

import asyncio
import logging
import re
import select
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hearing import until
from hypothesis import given, settings
from readings import SNAPSHOTS, process, snapshot

from toolcache import SettingsError, ToolCache
from toolcache.exporters.reading import Reading
from toolcache.exporters.statsd import MAX_PACKET, StatsD, packets
from toolcache.metrics.snapshot import Snapshot
from toolcache.testing import FakeClock


def readable(one: socket.socket) -> bool:
    return bool(select.select([one], [], [], 0)[0])


class Server:
    """Hears datagrams."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> list[str]:
        """The lines that have come since the last time."""
        lines: list[str] = []
        while True:
            try:
                packet = self._socket.recv(65_536)
            except BlockingIOError:
                return lines
            assert len(packet) <= MAX_PACKET
            lines += packet.decode("ascii").splitlines()

    async def wait(self) -> list[str]:
        """The same, once there are any."""
        await until(lambda: readable(self._socket))
        return self.heard()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
async def cache(clock: FakeClock) -> AsyncIterator[ToolCache]:
    async with ToolCache(namespace="shop", files=False, clock=clock) as cache:
        yield cache


def totals(lines: list[str], kind: str) -> dict[str, float]:
    """The sum of what was said of each name."""
    found: dict[str, float] = {}
    for line in lines:
        name, value, is_of = re.fullmatch(r"([^:|]+):([0-9.]+)\|([cg])", line).groups()  # type: ignore[union-attr]  # it matches
        if is_of == kind:
            found[name] = found.get(name, 0.0) + float(value)
    return found


async def ready(statsd: StatsD) -> None:
    """Until it has found its host, and waits."""
    await until(lambda: statsd._socket is not None)


async def use(cache: ToolCache, times: int = 1) -> None:
    for _ in range(times):
        await cache.get("a key that nobody is to read")


class TestSending:
    async def test_counts_are_what_has_come_since_the_last_time(
        self, cache: ToolCache, server: Server, clock: FakeClock
    ) -> None:
        """D8: each interval tells its own, what was before the start is told by none, and the sum is that of the cache."""
        await use(cache, 7)
        async with StatsD(cache, port=server.port, every="10s") as statsd:
            await ready(statsd)
            told = 0.0
            for times in (3, 2):
                await use(cache, times)
                clock.advance(10)
                lines = await server.wait()
                assert totals(lines, "c")["toolcache.lookups.shop.general.miss"] == times
                told += times
            await use(cache, 4)
        assert totals(server.heard(), "c")["toolcache.lookups.shop.general.miss"] == 4
        assert told + 4 + 7 == cache.stats().misses

    async def test_nothing_is_said_of_what_has_not_changed(
        self, cache: ToolCache, server: Server, clock: FakeClock
    ) -> None:
        """D8: where nothing was counted there is no counter and no quantile; sizes are told all the same."""
        await cache.set("key", "value")
        async with StatsD(cache, port=server.port) as statsd:
            await ready(statsd)
            clock.advance(10)
            lines = await server.wait()
            assert totals(lines, "c") == {}
            gauges = totals(lines, "g")
            assert gauges["toolcache.memory_entries.shop"] == 1
            assert gauges["toolcache.memory_bytes.shop"] == cache.stats().bytes
            assert not [name for name in gauges if name.endswith(".p95")]

    async def test_latencies_are_quantiles_of_the_interval(
        self, cache: ToolCache, server: Server, clock: FakeClock
    ) -> None:
        """D8: a slow call is told in its interval, and not in the next one."""

        async def slow() -> str:
            clock.advance(4)
            return "value"

        async with StatsD(cache, port=server.port, every="1m") as statsd:
            await ready(statsd)
            await cache.get_or_set("slow", slow)
            clock.advance(56)
            assert 3.5 < totals(await server.wait(), "g")["toolcache.call_seconds.shop.general.p95"] < 4.5
            await use(cache, 10)
            clock.advance(60)
            assert totals(await server.wait(), "g")["toolcache.call_seconds.shop.general.p99"] < 0.1

    async def test_no_key_is_told(self, cache: ToolCache, server: Server) -> None:
        """D8: lines hold no text of a key."""
        async with StatsD(cache, port=server.port):
            await use(cache)
        assert "nobody" not in "".join(server.heard())


class TestTrouble:
    async def test_a_host_that_nobody_knows_is_told_once(
        self, cache: ToolCache, clock: FakeClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D8: the log says it once, the cache goes on, and what was counted is sent when the host is known."""
        loop, known, asked = asyncio.get_running_loop(), asyncio.Event(), 0
        server = Server()

        async def look_up(*_: Any, **__: Any) -> list[Any]:
            nonlocal asked
            asked += 1
            if not known.is_set():
                raise socket.gaierror("no such host")
            return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", server.port))]

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        with caplog.at_level(logging.WARNING):
            async with StatsD(cache, "nowhere.example", server.port):
                await asyncio.sleep(0)
                for _ in range(5):
                    await use(cache)
                    clock.advance(10)
                    await asyncio.sleep(0.001)
                known.set()
                clock.advance(10)
                assert totals(await server.wait(), "c")["toolcache.lookups.shop.general.miss"] == 5
        assert asked > 5
        (said,) = [record.message for record in caplog.records]
        assert said.startswith(f"StatsD at nowhere.example:{server.port} cannot be told (gaierror)")
        server.close()

    async def test_a_server_that_is_gone_costs_nothing(
        self, cache: ToolCache, clock: FakeClock, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        """D8: datagrams to nobody are lost without a word, and so are those that the system does not take."""
        server.close()
        async with StatsD(cache, port=server.port) as statsd:
            await ready(statsd)
            for _ in range(3):
                await use(cache)
                clock.advance(10)
                await asyncio.sleep(0.001)
            refusing = _Refusing(BlockingIOError())
            assert statsd._socket is not None
            statsd._socket.close()
            statsd._socket = refusing  # type: ignore[assignment]  # stands in for it
            await use(cache)
            clock.advance(10)
            await asyncio.sleep(0.001)
            assert refusing.asked > 0
            assert not caplog.records
            refusing.fault = OSError("the network is down")
            for _ in range(2):
                await use(cache)
                clock.advance(10)
                await asyncio.sleep(0.001)
            assert len(caplog.records) == 1
        assert len(caplog.records) == 1

    async def test_a_name_is_looked_up_again_after_a_while(
        self, cache: ToolCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, server: Server
    ) -> None:
        """D8: a server that has moved is found."""
        asked = 0

        async def look_up(*_: Any, **__: Any) -> list[Any]:
            nonlocal asked
            asked += 1
            return [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", ("127.0.0.1", server.port if asked > 1 else 1))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
        async with StatsD(cache, "statsd.example"):
            await asyncio.sleep(0)
            for _ in range(31):
                clock.advance(10)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert await server.wait()
        assert asked == 2

    async def test_it_begins_and_ends_once(self, cache: ToolCache, server: Server) -> None:
        """D8: starting and closing twice is harmless, and no task is left."""
        statsd = StatsD(cache, port=server.port)
        await statsd.aclose()
        before = asyncio.all_tasks()
        statsd.start()
        statsd.start()
        assert len(asyncio.all_tasks() - before) == 1
        await statsd.aclose()
        await statsd.aclose()
        assert asyncio.all_tasks() == before

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"tags": "dogstats"}, "did you mean 'dogstatsd'"),
            ({"port": 0}, "port is a number"),
            ({"port": True}, "port is a number"),
            ({"every": "soon"}, "every"),
            ({"every": 0}, "every"),
        ],
    )
    async def test_what_cannot_be_is_refused(self, cache: ToolCache, options: dict[str, Any], says: str) -> None:
        """D8: an option that cannot be is named, with what it may be."""
        with pytest.raises(SettingsError, match=says):
            StatsD(cache, **options)


class _Refusing:
    """A socket that takes nothing."""

    def __init__(self, fault: OSError) -> None:
        self.fault = fault
        self.asked = 0

    def sendto(self, _packet: bytes, _address: Any) -> int:
        self.asked += 1
        raise self.fault

    def close(self) -> None:
        """Nothing is open."""


class TestLines:
    @pytest.fixture
    def statsd(self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Makes what tells of a snapshot."""

        def made(one: Snapshot, **options: Any) -> StatsD:
            reading = Reading.of(one, "shop", [process()])
            monkeypatch.setattr("toolcache.exporters.statsd.read", lambda _: reading)
            cache = ToolCache(files=False, clock=clock)
            return StatsD(cache, **options)

        return made

    @pytest.mark.parametrize(
        ("tags", "line"),
        [
            ("none", "app.lookups.shop.search.hit.redis:6|c"),
            (
                "dogstatsd",
                "app.lookups:6|c|#namespace:shop,domain:search,agent:planner,tool:web,model:m-1,result:hit,layer:redis",
            ),
            (
                "influx",
                "app.lookups,namespace=shop,domain=search,agent=planner,tool=web,model=m-1,result=hit,layer=redis:6|c",
            ),
        ],
    )
    def test_labels_are_told_as_the_server_takes_them(self, statsd: Any, tags: str, line: str) -> None:
        """D8: in the name, or as tags of either kind; the prefix is one's own."""
        assert line in statsd(snapshot(), tags=tags, prefix="app")._changes()

    def test_a_count_that_falls_is_not_told(self, statsd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """D8: no counter is negative; what comes after is told from where it was highest."""
        one = statsd(snapshot())
        one._changes()
        layers = snapshot().layers
        told: dict[int, list[str]] = {}
        for hits in (2, 12):
            later = snapshot()._replace(layers={"redis": layers["redis"]._replace(hits=hits)})
            reading = Reading.of(later, "shop")
            monkeypatch.setattr("toolcache.exporters.statsd.read", lambda _, it=reading: it)
            told[hits] = [line for line in one._changes() if line.startswith("toolcache.layer_lookups.shop.redis.hit")]
        assert told == {2: [], 12: ["toolcache.layer_lookups.shop.redis.hit:5|c"]}

    @settings(max_examples=15, deadline=None)
    @given(SNAPSHOTS)
    def test_hostile_labels_break_no_line(self, hostile: Snapshot) -> None:
        """D8: whatever an agent is called, each line is one, in plain letters, and a packet is small."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("toolcache.exporters.statsd.read", lambda _: Reading.of(hostile, "shop", [process()]))
            for tags in ("none", "dogstatsd", "influx"):
                statsd = StatsD(_Clocked(), tags=tags)  # type: ignore[arg-type]  # all that it asks of a cache
                lines = statsd._changes()
                assert all(re.fullmatch(r"[\w.,=-]+:[0-9.]+\|[cg](\|#[\w.,:-]+)?", line, re.ASCII) for line in lines)
                sent = list(packets(lines))
                assert all(len(packet) <= MAX_PACKET for packet in sent)
                assert b"\n".join(sent).decode().splitlines() == lines


class _Clocked:
    class _parts:  # noqa: N801 - as a cache calls them
        clock = FakeClock()


def test_a_packet_is_as_full_as_it_may_be() -> None:
    """D8: lines share a datagram up to the last byte of it, and no line is cut."""
    lines = ["a" * 4, "b" * 5, "c" * 9, "d"]
    assert list(packets(lines, 10)) == [b"aaaa\nbbbbb", b"ccccccccc", b"d"]
    assert list(packets(lines, 9)) == [b"aaaa", b"bbbbb", b"ccccccccc", b"d"]
    assert list(packets([])) == []
