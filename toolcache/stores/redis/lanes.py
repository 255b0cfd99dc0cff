"""Connections by event loop, each opened in the background when first asked for.

A connection belongs to the loop that opened it: a second loop gets its own, those of a closed loop are dropped. A
forked child drops them all. It cannot close what it inherits: asyncio would take the sockets out of an ``epoll`` set
that it shares with its parent.
"""

import asyncio
import contextlib
import contextvars
import math
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from toolcache.errors import CacheClosedError
from toolcache.forks import watch

if TYPE_CHECKING:
    from toolcache.stores.redis.connection import Connection

    Loop = asyncio.AbstractEventLoop
    Opener = Callable[[], Awaitable[Connection]]
    Dial = Callable[[bool], Awaitable[Connection]]

T = TypeVar("T")

_REST_SECONDS: Final = 1.0


class Joint(Generic[T]):
    """Something slow that is done once for all who wait for it, and goes on when they leave.

    Args:
        work: does it; the next who asks after its end has it done again.
        name: of the task.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], name: str) -> None:
        self._work = work
        self._name = name
        self._task: asyncio.Task[T] | None = None
        self.closed = False

    def start(self) -> "asyncio.Task[T]":
        """Begin, unless it is under way.

        Raises:
            CacheClosedError: after ``close()``.
        """
        if self.closed:
            raise CacheClosedError
        if self._task is None:
            # In a context of its own: what comes of it outlives the request that happened to need it first.
            self._task = asyncio.get_running_loop().create_task(
                self._do(), name=self._name, context=contextvars.Context()
            )
            self._task.add_done_callback(_retrieve)
        return self._task

    async def result(self) -> T:
        """What comes of it; all who wait are told the same failure."""
        return await asyncio.shield(self.start())

    def close(self) -> None:
        """Give it up."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """Give it up, and wait for the end of it."""
        task = self._task
        self.close()
        if task is not None:
            await asyncio.wait([task])

    async def _do(self) -> T:
        try:
            return await self._work()
        except asyncio.CancelledError:
            if not self.closed:
                raise
            raise CacheClosedError from None  # those who wait are not cancelled themselves
        finally:
            self._task = None


class Lane:
    """One connection, opened when it is needed and again when it was lost.

    Args:
        opener: opens it; may take longer than any operation has.
    """

    def __init__(self, opener: "Opener") -> None:
        self._opener = opener
        self._connection: Connection | None = None
        self._opening = Joint(self._open, "toolcache-redis-connect")
        self._prepared_at = -math.inf

    @property
    def ready(self) -> bool:
        """Whether its connection stands."""
        return self.standing is not None

    @property
    def standing(self) -> "Connection | None":
        """The connection, if it stands."""
        return self._connection if self._connection is not None and self._connection.alive else None

    async def connection(self) -> "Connection":
        """The connection; opening one goes on if the caller leaves, and all who wait are told the same failure."""
        return self.standing or await self._opening.result()

    def prepare(self) -> None:
        """Open it, if it is not open and this has not been tried a moment ago, without anybody's waiting."""
        now = asyncio.get_running_loop().time()
        if not self.ready and not self._opening.closed and now - self._prepared_at > _REST_SECONDS:
            self._prepared_at = now
            self._opening.start()

    def keep_to(self, server: str | None) -> None:
        """End a connection that leads to another server than this."""
        if self._connection is not None and self._connection.server != server:
            self._connection.close()

    async def _open(self) -> "Connection":
        self._connection = await self._opener()
        return self._connection

    def close(self) -> None:
        """Close at once, from the lane's own loop."""
        self._opening.close()
        if self._connection is not None:
            self._connection.close()

    async def aclose(self) -> None:
        """Let what is under way end, and close."""
        await self._opening.aclose()
        if self._connection is not None:
            await self._connection.aclose()


class Lanes:
    """The connections of one loop to one server: reads apart from writes, and what would hold up others apart.

    A server may hold back writes for a while and answer reads all the same, so neither waits behind the other. All lead
    to one and the same server: where one is opened and finds another, as after a failover, the others end. Or reads
    would go on asking the server that was, of which the writes have taken leave.

    Args:
        dial: opens one of them; told whether none stands, so that the server is to be met anew.

    Attributes:
        small: for reads that hold up nobody.
    """

    def __init__(self, dial: "Dial") -> None:
        self._dial = dial
        self._lanes = {(bulk, reading): Lane(self._open) for bulk in (False, True) for reading in (False, True)}
        self.small = self.lane(bulk=False, reading=True)

    @property
    def stands(self) -> bool:
        """Whether reads have their connection."""
        return self.small.ready

    def lane(self, *, bulk: bool, reading: bool) -> Lane:
        """The one for such commands."""
        return self._lanes[bulk, reading]

    async def exchange(
        self,
        commands: Sequence[bytes],
        keys: Sequence[bytes],  # noqa: ARG002 - a cluster goes by them
        *,
        bulk: bool = False,
        reading: bool = False,
    ) -> list[Any]:
        """The replies to commands, in order; error replies are among them as exceptions, not raised.

        Args:
            commands: packed.
            keys: one that each command is about.
            bulk: whether they would hold up others.
            reading: whether they change nothing.

        Raises:
            RedisError: (redis-py's) the server cannot be reached.
        """
        lane = self._lanes[bulk, reading]
        connection = lane.standing or await lane.connection()
        return await connection.call(b"".join(commands), len(commands))

    @staticmethod
    def together(keys: Sequence[bytes]) -> list[list[int]]:
        """Which of the keys, by their places, may stand in one command."""
        return [list(range(len(keys)))]

    async def primaries(self) -> "list[Lanes]":
        """Those to all servers that have keys which no other has."""
        return [self]

    def close(self) -> None:
        """Close all at once."""
        for lane in self._lanes.values():
            lane.close()

    async def aclose(self) -> None:
        """Close all when what is under way has ended."""
        await asyncio.gather(*(lane.aclose() for lane in self._lanes.values()))

    async def _open(self) -> "Connection":
        connection = await self._dial(not any(lane.ready for lane in self._lanes.values()))
        for lane in self._lanes.values():
            lane.keep_to(connection.server)
        return connection


class Network(Protocol):
    """The connections of one loop, to one server or to many."""

    @property
    def stands(self) -> bool:
        """As ``Lanes.stands``, at all servers that have keys which no other has."""
        ...

    async def exchange(
        self, commands: Sequence[bytes], keys: Sequence[bytes], *, bulk: bool = False, reading: bool = False
    ) -> list[Any]:
        """As ``Lanes.exchange``."""
        ...

    def together(self, keys: Sequence[bytes]) -> list[list[int]]:
        """As ``Lanes.together``."""
        ...

    async def primaries(self) -> list[Lanes]:
        """As ``Lanes.primaries``."""
        ...

    def close(self) -> None:
        """As ``Lanes.close``."""
        ...

    async def aclose(self) -> None:
        """As ``Lanes.aclose``."""
        ...


class LoopLanes:
    """The lanes of each loop that uses a store, from any thread.

    Args:
        make: the lanes of a loop that has none yet.
    """

    def __init__(self, make: Callable[[], Network]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._lanes: dict[Loop, Network] = {}
        self._closed = False
        watch(self)

    def here(self) -> Network:
        """Those of the running loop."""
        loop = asyncio.get_running_loop()
        lanes = self._lanes.get(loop)
        return self._add(loop) if lanes is None else lanes

    @property
    def stand(self) -> bool:
        """Whether reads have their connections in the running loop."""
        lanes = self._lanes.get(asyncio.get_running_loop())
        return lanes is not None and lanes.stands

    async def aclose(self) -> None:
        """Close this loop's, and have the other loops close theirs."""
        with self._lock:
            self._closed = True
            lanes, self._lanes = self._lanes, {}
        mine = lanes.pop(asyncio.get_running_loop(), None)
        for loop, others in lanes.items():
            with contextlib.suppress(RuntimeError):  # that loop is closed, and its sockets with it
                loop.call_soon_threadsafe(others.close)
        if mine is not None:
            await mine.aclose()

    def _add(self, loop: "Loop") -> Network:
        with self._lock:
            if self._closed:
                raise CacheClosedError
            # Lanes refer to their loop: without this both would be kept for ever.
            for other in [other for other in self._lanes if other.is_closed()]:
                del self._lanes[other]
            return self._lanes.setdefault(loop, self._make())

    def forked(self) -> None:
        """Leave the parent's connections alone, open as they are."""
        _INHERITED.append(self._lanes)
        self._lock = threading.Lock()
        self._lanes = {}


_INHERITED: Final[list[Any]] = []  # kept alive in a child, lest their finalizers close something


def _retrieve(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # looked at, so that nobody complains if all who waited have left
