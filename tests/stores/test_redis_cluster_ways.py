"""Which way commands take through a cluster, by nodes that answer what a test wants."""

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from redis import exceptions

from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis import cluster_lanes
from toolcache.stores.redis.cluster import Cluster
from toolcache.stores.redis.cluster_lanes import ClusterLanes
from toolcache.stores.redis.slots import SLOTS
from toolcache.stores.redis.url import Address, Place
from toolcache.stores.redis.wire import pack
from toolcache.testing import FakeClock

_A, _B, _C = ("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)
_GET = pack(b"GET", b"k")
_SLOTS_OF = pack(b"CLUSTER", b"SLOTS")


class Lane:
    """Open or not, as it is told."""

    def __init__(self) -> None:
        self.ready = True

    def prepare(self) -> None:
        """Nothing to do."""


class Node:
    """Answers to commands, one by one; ``asked`` is what it was asked, without questions for the map."""

    def __init__(self, nodes: "Nodes", place: Place) -> None:
        self._nodes = nodes
        self._place = place
        self.small = Lane()
        self.asked: list[bytes] = []
        self.views = 0
        self.closed = False

    def lane(self, *, bulk: bool, reading: bool) -> Lane:
        """The only one."""
        assert not bulk
        assert isinstance(reading, bool)
        return self.small

    async def exchange(
        self, commands: Sequence[bytes], keys: Sequence[bytes], *, bulk: bool = False, reading: bool = False
    ) -> list[Any]:
        """Answer."""
        assert not bulk
        assert isinstance(reading, bool)
        assert not keys
        await asyncio.sleep(0)
        if list(commands) == [_SLOTS_OF]:
            self.views += 1
            answer: Any = self._nodes.maps[self._place]
            if isinstance(answer, Exception):
                raise answer
            return [answer]
        self.asked += commands
        answers = [self._nodes.says(self._place, command) for command in commands]
        for answer in answers:
            if isinstance(answer, OSError):
                raise answer
        return answers

    def close(self) -> None:
        """Note it."""
        self.closed = True

    async def aclose(self) -> None:
        """Note it."""
        self.closed = True


class Nodes(Cluster):
    """A cluster of such nodes: what each says of the map, and to commands."""

    def __init__(self, says: Callable[[Place, bytes], Any], **options: Any) -> None:
        address = Address(deployment="cluster", nodes=(_A, _B), **options)
        super().__init__(
            address,
            client=None,
            credentials=None,
            clock=FakeClock(),
            timeout=1.0,
            patience=1.0,
            announce=lambda _event: None,
        )
        self.says = says
        self.maps: dict[Place, Any] = {place: whole(_A) for place in (_A, _B, _C)}
        self.nodes: dict[Place, Node] = {}

    def lanes_to(self, place: Place) -> Any:
        """A new node in place of any that was there."""
        self.nodes[place] = Node(self, place)
        return self.nodes[place]


def whole(primary: Place, *replicas: Place) -> list[Any]:
    """A reply to CLUSTER SLOTS: all slots are there."""
    return [[0, SLOTS - 1, *([host.encode(), port] for host, port in (primary, *replicas))]]


Make = Callable[..., ClusterLanes]


@pytest.fixture
async def lanes_of() -> AsyncIterator[Make]:
    """Makes the connections of this loop to nodes, and closes them."""
    made: list[ClusterLanes] = []

    def make(nodes: Nodes) -> ClusterLanes:
        made.append(nodes.lanes())
        return made[-1]

    yield make
    for lanes in made:
        await lanes.aclose()


async def test_a_primary_on_the_wrong_side_of_a_split(lanes_of: Make) -> None:
    """BUG-103: it says CLUSTERDOWN and believes in itself; the others are asked, and what they say is done."""
    nodes = Nodes(lambda place, _: exceptions.ClusterDownError("down") if place == _A else b"v")
    lanes = lanes_of(nodes)
    await lanes.primaries()
    nodes.maps[_B] = nodes.maps[_C] = whole(_B, _A)
    assert await lanes.exchange([_GET], [b"k"]) == [b"v"]
    assert nodes.nodes[_B].asked == [_GET]


async def test_a_cluster_that_is_down(lanes_of: Make) -> None:
    """EC-04: where nobody else has the slots, the error reply is the answer, of class CONN."""
    nodes = Nodes(lambda *_: exceptions.ClusterDownError("down"))
    (reply,) = await lanes_of(nodes).exchange([_GET], [b"k"])
    assert classify(reply) is FaultKind.CONN
    assert nodes.nodes[_A].asked == [_GET]


async def test_nodes_that_send_one_another_commands_for_ever(lanes_of: Make) -> None:
    """EC-04: after a few hops it is a failure of class CONN."""
    nodes = Nodes(lambda place, _: exceptions.MovedError("5 10.0.0.2:2" if place == _A else "5 10.0.0.1:1"))
    with pytest.raises(exceptions.ClusterError) as raised:
        await lanes_of(nodes).exchange([_GET], [b"k"])
    assert classify(raised.value) is FaultKind.CONN
    assert len(nodes.nodes[_A].asked) + len(nodes.nodes[_B].asked) == 10


async def test_a_redirection_without_a_host(lanes_of: Make) -> None:
    """BUG-103: means the same host and another port."""
    nodes = Nodes(lambda place, _: exceptions.MovedError("5 :77") if place == _A else b"v")
    assert await lanes_of(nodes).exchange([_GET], [b"k"]) == [b"v"]
    assert nodes.nodes["10.0.0.1", 77].asked == [_GET]


async def test_a_node_that_fails_is_looked_for_elsewhere(lanes_of: Make) -> None:
    """BUG-103: within the same call, if another has its slots by now; else its failure is the answer."""
    nodes = Nodes(lambda place, _: ConnectionResetError() if place == _A else b"v")
    lanes = lanes_of(nodes)
    with pytest.raises(ConnectionResetError):
        await lanes.exchange([_GET], [b"k"])
    nodes.maps[_A], nodes.maps[_B] = exceptions.ConnectionError("gone"), whole(_C)
    assert await lanes.exchange([_GET], [b"k"]) == [b"v"]
    assert nodes.nodes[_C].asked == [_GET]


async def test_a_node_that_nobody_waits_for_long_enough(lanes_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-103: where connecting takes longer than a caller has, the next one finds a new map all the same."""
    monkeypatch.setattr(cluster_lanes, "_SETTLE_SECONDS", -1.0)
    nodes = Nodes(lambda *_: b"v")
    lanes = lanes_of(nodes)
    await lanes.primaries()
    nodes.nodes[_A].small.ready = False
    nodes.maps = dict.fromkeys(nodes.maps, whole(_B))
    never = asyncio.Event()

    async def connect(*_: object, **__: object) -> Any:
        await never.wait()

    monkeypatch.setattr(nodes.nodes[_A], "exchange", connect)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await lanes.exchange([_GET], [b"k"])
    assert await lanes.exchange([_GET], [b"k"]) == [b"v"]
    assert nodes.nodes[_B].asked == [_GET]


async def test_too_much_under_way_says_nothing_about_nodes(lanes_of: Make) -> None:
    """BUG-103: back-pressure is raised as it is, and nobody is asked for the map."""
    nodes = Nodes(lambda *_: b"v")
    lanes = lanes_of(nodes)
    await lanes.primaries()

    def full(*_: object) -> Any:
        raise exceptions.MaxConnectionsError("too much")

    nodes.says = full
    with pytest.raises(exceptions.MaxConnectionsError):
        await lanes.exchange([_GET], [b"k"])
    assert sum(node.views for node in nodes.nodes.values()) == 1


async def test_who_left_the_cluster_is_left(lanes_of: Make) -> None:
    """BUG-103: connections to a node that no map names any more are closed, and nothing is remembered of it."""
    nodes = Nodes(lambda *_: b"v")
    lanes = lanes_of(nodes)
    await lanes.exchange([_GET], [b"k"])
    left = nodes.nodes[_A]
    for place in nodes.maps:
        nodes.maps[place] = whole(_B)
    await lanes.primaries()
    await asyncio.sleep(0)
    assert left.closed
    assert not nodes.nodes[_B].closed


@pytest.mark.parametrize("trouble", ["loading", "master down", "lost", "moved"])
async def test_a_replica_in_trouble(lanes_of: Make, trouble: str) -> None:
    """BUG-103: its primary answers within the same call; no map is read for it, unless it says that a slot has moved."""
    troubles: dict[str, Any] = {
        "loading": exceptions.BusyLoadingError("loading"),
        "master down": exceptions.MasterDownError("link"),
        "lost": ConnectionResetError(),
        "moved": exceptions.MovedError("5 10.0.0.1:1"),
    }
    nodes = Nodes(lambda place, _: b"v" if place == _A else troubles[trouble], read_from_replicas=True)
    nodes.maps = dict.fromkeys(nodes.maps, whole(_A, _C))
    lanes = lanes_of(nodes)
    assert await lanes.exchange([_GET], [b"k"], reading=True) == [b"v"]
    assert nodes.nodes[_C].asked == [_GET]
    assert sum(node.views for node in nodes.nodes.values()) == 1


async def test_replicas_take_turns_and_nobody_waits_for_one(lanes_of: Make) -> None:
    """BUG-104: reads go round those that are connected; where none is, to the primary; writes always go there."""
    nodes = Nodes(lambda place, _: str(place).encode(), read_from_replicas=True)
    nodes.maps = dict.fromkeys(nodes.maps, whole(_A, _B, _C))
    lanes = lanes_of(nodes)
    said = [(await lanes.exchange([_GET], [b"k"], reading=True))[0] for _ in range(4)]
    assert set(said) == {str(_B).encode(), str(_C).encode()}
    nodes.nodes[_B].small.ready = False
    said = [(await lanes.exchange([_GET], [b"k"], reading=True))[0] for _ in range(4)]
    assert set(said) == {str(_C).encode()}
    nodes.nodes[_C].small.ready = False
    assert await lanes.exchange([_GET], [b"k"], reading=True) == [str(_A).encode()]
    nodes.nodes[_B].small.ready = True
    assert await lanes.exchange([_GET], [b"k"]) == [str(_A).encode()]


async def test_a_caller_that_leaves_before_its_commands_do(lanes_of: Make) -> None:
    """LC-06: cancelled at any moment, a call for several nodes leaves nothing half done behind."""
    nodes = Nodes(lambda _place, _command: b"v")
    halves = [[0, 8191, [_A[0].encode(), _A[1]]], [8192, SLOTS - 1, [_B[0].encode(), _B[1]]]]
    nodes.maps = dict.fromkeys((_A, _B), halves)
    lanes = lanes_of(nodes)
    commands, keys = [_GET, _GET], [b"foo", b"bar"]  # of one half each
    assert await lanes.exchange(commands, keys) == [b"v", b"v"]
    assert all(node.asked for node in nodes.nodes.values())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for ticks in range(6):
            call = asyncio.ensure_future(lanes.exchange(commands, keys))
            for _ in range(ticks):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])
        gc.collect()
    assert [str(one.message) for one in said] == []
