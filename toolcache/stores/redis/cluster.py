"""A cluster: how to reach its nodes, and which of them are the primaries."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from toolcache.errors import SettingsError
from toolcache.protocols import UntrackedError
from toolcache.stores.redis.cluster_lanes import ClusterLanes
from toolcache.stores.redis.dialer import Dialer
from toolcache.stores.redis.ear import Ear
from toolcache.stores.redis.lanes import Lanes
from toolcache.stores.redis.slots import SlotMap
from toolcache.stores.redis.url import Address, Place
from toolcache.stores.redis.wire import pack

if TYPE_CHECKING:
    from toolcache.stores.redis.connection import Connection
    from toolcache.stores.redis.lanes import Dial


class Cluster:
    """How to reach the nodes of a cluster.

    Args:
        address: of some of its nodes.
        client: None; a client is borrowed from for single servers only.
        **options: what ``Dialer`` takes.
    """

    def __init__(self, address: Address, *, client: Any, **options: Any) -> None:
        if client is not None:
            raise SettingsError("a client brings its own address: give either a client, or a URL and options")
        self.address = address
        self._options = options
        self._dialers: dict[Place, Dialer] = {}
        self._primaries: tuple[Place, ...] = ()
        self._at(address.nodes[0])  # what is wrong with the options is said now

    @property
    def redacted_url(self) -> str:
        """Where the nodes are, without the password."""
        return self.address.redacted

    @property
    def run_id(self) -> str | None:
        """Of all primaries together, so that it is another when one of them is; None until each has told its own."""
        own = [self._at(place).run_id for place in self._primaries]
        if not own or None in own:
            return None
        return hashlib.sha1("".join(sorted(map(str, own))).encode(), usedforsecurity=False).hexdigest()

    def lanes(self) -> ClusterLanes:
        """The connections of one more loop, none of them open yet."""
        return ClusterLanes(self)

    def learned(self, slots: SlotMap) -> None:
        """These are the nodes now."""
        self._primaries = tuple(slots.primaries())
        known = {*slots.places(), *self.address.nodes}
        self._dialers = {place: dialer for place, dialer in self._dialers.items() if place in known}

    def lanes_to(self, place: Place) -> Lanes:
        """The connections of one loop to one node."""
        dialer = self._at(place)
        if not self.address.read_from_replicas:
            return dialer.lanes()
        return Lanes(partial(_for_reading, dialer.dial))

    async def track(self, lanes: Sequence[Lanes], prefixes: Sequence[str], watch: Ear) -> None:
        """Tell ``watch`` what changes beneath ``prefixes`` on any node, until that is not certain of one of them.

        Raises:
            UntrackedError: replicas are read, which may be behind what the primaries tell; or as ``Dialer.track``.
            RedisError: (redis-py's) a primary cannot be reached, has fallen silent, or is none any more.
        """
        if self.address.read_from_replicas:
            raise UntrackedError("REPLICAS")
        places = self._primaries
        chorus = _Chorus(watch, len(places))

        def of(dialer: Dialer) -> Callable[[], str | None]:
            return lambda: dialer.run_id if self._primaries == places else None

        tasks = []
        for place, one in zip(places, lanes, strict=True):
            dialer = self._at(place)
            tasks.append(asyncio.create_task(dialer.track([one], prefixes, chorus, run_id=of(dialer))))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _at(self, place: Place) -> Dialer:
        dialer = self._dialers.get(place)
        if dialer is None:
            dialer = self._dialers[place] = Dialer(self.address.at(place), client=None, **self._options)
        return dialer


class _Chorus(Ear):
    """Several nodes told as one: what is true when all of them say it. The ends of claims are told by each."""

    def __init__(self, ear: Ear, voices: int) -> None:
        super().__init__(ear, ear.channel, ear.messages, ear.wakes)
        self._ear = ear
        self._missing = voices

    def armed(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._ear.armed()
            self._ear.hears = self.hears

    def heard(self) -> None:
        if not self._missing:
            self._ear.heard()


async def _for_reading(dial: "Dial", anew: bool) -> "Connection":
    """A connection on which a replica answers for its primary; to a primary it makes no difference."""
    connection: Connection = await dial(anew)
    await connection.call(pack(b"READONLY"))
    return connection
