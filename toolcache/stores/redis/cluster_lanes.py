"""The connections of one loop to the nodes of a cluster.

Each command goes to the node that has its key, and follows when the key moves; commands for one node leave together.
The map of slots is read when it is first needed, when a node fails, and when one says that a slot has moved. Every
command may be repeated, so a lost node needs no other care than to ask the others who has its slots now.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from toolcache.errors import CacheClosedError
from toolcache.stores.redis.inquiry import inquire, most_telling
from toolcache.stores.redis.lanes import Joint, Lanes
from toolcache.stores.redis.slots import Shard, SlotMap, slot_of
from toolcache.stores.redis.url import Place
from toolcache.stores.redis.wire import pack

if TYPE_CHECKING:
    from toolcache.stores.redis.cluster import Cluster

_HOPS: Final = 10
_AT_ONCE: Final = 3
"""Hops that need no thought; who is sent on more often has come between nodes that do not agree yet."""
_AGREE_SECONDS: Final = 0.01
_ASKING: Final = pack(b"ASKING")
_SETTLE_SECONDS: Final = 1.0
_REPLICAS_SECONDS: Final = 60.0


class _Way(NamedTuple):
    """Where a command goes; ``asking`` where a slot is on its way there."""

    place: Place
    asking: bool = False


class _Round(NamedTuple):
    """What came back: replies by the places of their commands, and the nodes that failed."""

    replies: dict[int, Any]
    failed: dict[Place, Exception]


class ClusterLanes:
    """The connections of one loop to the nodes of a cluster, opened when they are needed.

    Args:
        cluster: how to reach them.
    """

    def __init__(self, cluster: "Cluster") -> None:
        self._cluster = cluster
        self._slots: SlotMap | None = None
        self._lanes: dict[Place, Lanes] = {}
        self._learning = Joint(self._learn, "toolcache-redis-slots")
        self._learned_at = 0.0
        self._doubted: set[Place] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._turns = count()

    async def exchange(
        self, commands: Sequence[bytes], keys: Sequence[bytes], *, bulk: bool = False, reading: bool = False
    ) -> list[Any]:
        """The replies to commands, in order; error replies are among them as exceptions, not raised.

        Args:
            commands: packed.
            keys: one that each command is about; others that it names are of the same slot.
            bulk: whether they would hold up others.
            reading: whether they change nothing.

        Raises:
            RedisError: (redis-py's) a node cannot be reached, and no other has its slots.
            RedisClusterException: (redis-py's) nobody has the slot, or the node is none of a cluster.
        """
        slots = [slot_of(key) for key in keys]
        ways = await self._plan(slots, bulk=bulk, reading=reading and self._cluster.address.read_from_replicas)
        replies: list[Any] = [None] * len(keys)
        for hop in range(_HOPS):
            if hop >= _AT_ONCE:
                await asyncio.sleep(_AGREE_SECONDS * 2 ** (hop - _AT_ONCE))
            back = await self._send(ways, commands, bulk=bulk)
            for at, reply in back.replies.items():
                replies[at] = reply
            ways = await self._follow(ways, back, slots)
            if not ways:
                return replies
        from redis.exceptions import ClusterError

        raise ClusterError("the nodes keep sending commands to one another")

    @staticmethod
    def together(keys: Sequence[bytes]) -> list[list[int]]:
        """Which of the keys, by their places, may stand in one command: those of one slot."""
        groups: dict[int, list[int]] = {}
        for at, key in enumerate(keys):
            groups.setdefault(slot_of(key), []).append(at)
        return list(groups.values())

    async def primaries(self) -> list[Lanes]:
        """Those to the nodes that have slots, as of now."""
        slots = await self._learning.result()
        return [self._to(place) for place in slots.primaries()]

    def close(self) -> None:
        """Close all at once."""
        self._learning.close()
        for lanes in self._lanes.values():
            lanes.close()
        for task in self._leaving:
            task.cancel()

    async def aclose(self) -> None:
        """Close all when what is under way has ended."""
        await self._learning.aclose()
        await asyncio.gather(*(lanes.aclose() for lanes in self._lanes.values()), *self._leaving)

    async def _plan(self, slots: Sequence[int], *, bulk: bool, reading: bool) -> dict[int, _Way]:
        """Where each command goes first."""
        known = self._slots
        if known is None or any(known.shard(slot) is None for slot in slots):
            known = await self._learning.result()
        elif reading and asyncio.get_running_loop().time() - self._learned_at > _REPLICAS_SECONDS:
            self._learning.start()  # nobody tells of a replica that is new
        chosen: dict[Shard, _Way] = {}
        ways = {}
        for at, slot in enumerate(slots):
            shard = _sure(known.shard(slot))
            if shard not in chosen:
                chosen[shard] = _Way(self._reader(shard, bulk=bulk) if reading else shard.primary)
            ways[at] = chosen[shard]
        self._suspect([way.place for way in chosen.values()])
        return ways

    def _suspect(self, places: Sequence[Place]) -> None:
        """Have the map read again if a node must be connected to anew: who waits for that may leave before it fails."""
        lost = {place for place in places if not self._to(place).small.ready}
        if lost and asyncio.get_running_loop().time() - self._learned_at > _SETTLE_SECONDS:
            self._doubted |= lost
            self._learning.start()

    def _reader(self, shard: Shard, *, bulk: bool) -> Place:
        """The replica whose turn it is, of those that are connected; nobody waits for one that is not."""
        turn = next(self._turns)
        for step in range(len(shard.replicas)):
            place = shard.replicas[(turn + step) % len(shard.replicas)]
            lanes = self._to(place)
            lane = lanes.bulk if bulk else lanes.small
            if lane.ready:
                return place
            lane.prepare()
        return shard.primary

    async def _send(self, ways: dict[int, _Way], commands: Sequence[bytes], *, bulk: bool) -> _Round:
        """Send each command its way, those for one node together."""
        parcels: dict[Place, list[int]] = {}
        for at, way in ways.items():
            parcels.setdefault(way.place, []).append(at)

        async def deliver(place: Place, parcel: list[int]) -> list[Any]:
            words = []
            for at in parcel:
                words += [_ASKING, commands[at]] if ways[at].asking else [commands[at]]
            said = iter(await self._to(place).exchange(words, (), bulk=bulk))
            return [(next(said), next(said))[1] if ways[at].asking else next(said) for at in parcel]

        if len(parcels) == 1:
            ((place, parcel),) = parcels.items()
            answers: list[Any] = [await _outcome(partial(deliver, place, parcel))]
        else:
            answers = await asyncio.gather(*(_outcome(partial(deliver, *one)) for one in parcels.items()))
        back = _Round({}, {})
        for (place, parcel), answer in zip(parcels.items(), answers, strict=True):
            if isinstance(answer, Exception):
                back.failed[place] = answer
            else:
                back.replies.update(zip(parcel, answer, strict=True))
        return back

    async def _follow(self, ways: dict[int, _Way], back: _Round, slots: Sequence[int]) -> dict[int, _Way]:
        """Where to send next what has not been answered yet; the failure, where there is nowhere else."""
        if not back.failed and not any(isinstance(reply, Exception) for reply in back.replies.values()):
            return {}
        from redis import exceptions

        onward: dict[int, _Way] = {}
        moved: dict[int, Place] = {}
        astray: dict[int, Exception] = {
            at: back.failed[way.place] for at, way in ways.items() if way.place in back.failed
        }
        for at, reply in back.replies.items():
            if isinstance(reply, exceptions.AskError):  # MovedError is one
                place = (reply.host or ways[at].place[0], reply.port)
                asking = not isinstance(reply, exceptions.MovedError)
                onward[at] = _Way(place, asking)
                if not asking:
                    moved[slots[at]] = place
            elif isinstance(reply, exceptions.ClusterDownError | exceptions.BusyLoadingError):
                astray[at] = reply
        await self._reconsider({ways[at].place for at in astray}, moved)
        for at, fault in astray.items():
            owner = self._owner(slots[at])
            if owner is not None and owner != ways[at].place:
                onward[at] = _Way(owner)
            elif at not in back.replies:
                raise fault
        return onward

    async def _reconsider(self, doubted: set[Place], moved: dict[int, Place]) -> None:
        """Read the map again where a primary failed, or slots have moved; it may be no better than the old one."""
        known = self._slots
        primaries = set(known.primaries()) if known is not None else set()
        rested = asyncio.get_running_loop().time() - self._learned_at > _SETTLE_SECONDS
        if doubted & primaries or (moved and rested):
            self._doubted |= doubted
            await _outcome(self._learning.result)
        if self._slots is not None:
            for slot, place in moved.items():
                self._slots.move(slot, place)

    def _owner(self, slot: int) -> Place | None:
        shard = None if self._slots is None else self._slots.shard(slot)
        return None if shard is None else shard.primary

    async def _learn(self) -> SlotMap:
        """Read the map of slots from whichever node answers first, those in doubt last."""
        doubted, self._doubted = self._doubted, set()
        known = () if self._slots is None else self._slots.places()
        places = list(dict.fromkeys([*known, *self._cluster.address.nodes]))
        places.sort(
            key=lambda place: (place in doubted, place not in self._lanes or not self._lanes[place].small.ready)
        )
        faults = []
        async with aclosing(inquire([partial(self._view, place) for place in places])) as answers:
            async for answer in answers:
                if isinstance(answer, SlotMap):
                    self._adopt(answer)
                    return answer
                faults.append(answer)
        raise most_telling(faults)

    async def _view(self, place: Place) -> SlotMap:
        """The map as one node sees it."""
        (reply,) = await self._to(place).exchange([pack(b"CLUSTER", b"SLOTS")], ())
        from redis.exceptions import RedisClusterException, ResponseError

        if isinstance(reply, ResponseError) and "cluster support disabled" in str(reply):
            raise RedisClusterException("the server is no node of a cluster: begin its URL with redis:// or rediss://")
        if isinstance(reply, Exception):
            raise reply
        try:
            slots = SlotMap.read(reply, asked=place)
        except ValueError as error:
            raise RedisClusterException(str(error)) from None
        if not slots.shards:
            raise RedisClusterException("the node knows of no slots")
        return slots

    def _adopt(self, slots: SlotMap) -> None:
        self._slots = slots
        self._learned_at = asyncio.get_running_loop().time()
        self._cluster.learned(slots)
        places = set(slots.places())
        for place in self._lanes.keys() - places:
            task = asyncio.get_running_loop().create_task(self._lanes.pop(place).aclose(), name="toolcache-redis-leave")
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for place in slots.primaries():  # also those that nothing is asked of yet: who they are matters
            self._to(place).small.prepare()

    def _to(self, place: Place) -> Lanes:
        if self._learning.closed:
            raise CacheClosedError
        lanes = self._lanes.get(place)
        if lanes is None:
            lanes = self._lanes[place] = self._cluster.lanes_to(place)
        return lanes


async def _outcome(work: Callable[[], Awaitable[Any]]) -> Any:
    """What comes of it, be it a failure; what says nothing about a node is raised."""
    try:
        return await work()
    except Exception as fault:
        if type(fault).__name__ == "MaxConnectionsError":  # ours: too much is under way
            raise
        return fault


def _sure(shard: Shard | None) -> Shard:
    if shard is None:
        from redis.exceptions import SlotNotCoveredError

        raise SlotNotCoveredError("no node has the slot of a key")
    return shard
