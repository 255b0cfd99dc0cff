"""The connection over which a server tells what others write: CLIENT TRACKING, in broadcasting mode.

Over RESP2, redirected to itself and received as messages of a subscription; that needs redis-py's public methods alone,
and is the same on its releases from 5.3 on, on Redis from 6.2 and on Valkey. The server sends one message for all keys
that changed while it was at work, at the same time as it replies to those who changed them; what expired is among them.

Messages come in order, so a pong says that everything changed before its ping has been told.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from toolcache.protocols import UntrackedError
from toolcache.stores.redis.ear import Ear
from toolcache.stores.redis.wire import pack, run_id_of

PING_EVERY: Final = 1.0
_CHANNEL: Final = b"__redis__:invalidate"
_STALL_SECONDS: Final = 0.1
_KEYS_AT_ONCE: Final = 1_000

# Error replies that say nothing about what the user may do, or the server can.
_PASSING: Final = (exceptions.BusyLoadingError, exceptions.AuthenticationError)


class Tracking:
    """One such connection, for one event loop.

    Args:
        raw: redis-py's connection, connected.
        name: under which the server lists it.
        within: seconds in which the server has to answer while it is being armed.
    """

    def __init__(self, raw: AbstractConnection, *, name: bytes, within: float) -> None:
        self._raw = raw
        self._name = name
        self._within = within
        self._pinged = False

    async def run(self, prefixes: Sequence[str], watch: Ear, *, run_id: Callable[[], str | None]) -> None:
        """Tell ``watch`` of every change beneath ``prefixes``; ends by raising, when that is no longer certain.

        Args:
            prefixes: of keys; none may be the beginning of another.
            watch: who is told.
            run_id: of the server that is read. A change on another one would not be told here.

        Raises:
            UntrackedError: the server cannot track, or the user may not have it do so.
            RedisError: (redis-py's) the connection is gone, silent, or leads to another server.
        """
        tasks: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.timeout(self._within):
                mine = await self._arm(prefixes)
                watch.listens(await self._listen(watch))
            _agree(mine, run_id())
            watch.armed()
            tasks |= {asyncio.create_task(self._pump(watch), name="toolcache-redis-listen")}
            tasks |= {asyncio.create_task(self._ping(lambda: _agree(mine, run_id())), name="toolcache-redis-ping")}
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            with contextlib.suppress(Exception):
                await self._raw.disconnect(nowait=True)
            if tasks:
                await asyncio.wait(tasks)

    async def _arm(self, prefixes: Sequence[str]) -> str | None:
        """Have the server track; the run id of that server."""
        await self._send(pack(b"CLIENT", b"SETNAME", self._name) + pack(b"INFO", b"server") + pack(b"CLIENT", b"ID"))
        with contextlib.suppress(exceptions.ResponseError):  # as on the other connections: it is not vital
            await self._read()
        info: Any = None
        with contextlib.suppress(exceptions.ResponseError):
            info = await self._read()
        try:
            number = await self._read()
            beneath = [word for prefix in prefixes for word in (b"PREFIX", prefix.encode())]
            await self._send(
                pack(b"CLIENT", b"TRACKING", b"ON", b"REDIRECT", b"%d" % number, b"BCAST", *beneath)
                + pack(b"SUBSCRIBE", _CHANNEL)
                + pack(b"PING")
            )
            while _kind(await self._read()) != b"pong":  # what is told meanwhile is before all that counts
                pass
        except _PASSING:
            raise
        except exceptions.ResponseError as refusal:
            denied = isinstance(refusal, exceptions.NoPermissionError)
            raise UntrackedError("NOPERM" if denied else "ERR") from refusal
        return run_id_of(info)

    async def _listen(self, watch: Ear) -> set[str]:
        """Subscribe to what is published as well: one channel at a time, since the user may have a right to some alone."""
        commands = [pack(b"SUBSCRIBE", channel.encode()) for channel in watch.channels]
        await self._send(b"".join(commands) + pack(b"PING"))
        may: set[str] = set()
        while True:
            try:
                said = await self._read()
            except exceptions.NoPermissionError:
                continue
            if _kind(said) == b"pong":
                return may
            if _kind(said) == b"subscribe":
                may.add(said[1].decode())
            elif _kind(said) == b"message":
                await _tell(watch, said)

    async def _pump(self, watch: Ear) -> None:
        while True:
            said = await self._read()
            kind = _kind(said)
            if kind == b"pong":
                self._pinged = False
                watch.heard()
            elif kind == b"message":
                await _tell(watch, said)

    async def _ping(self, agree: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._pinged = True
            await self._send(pack(b"PING"))
            due = loop.time() + PING_EVERY
            await asyncio.sleep(PING_EVERY)
            if loop.time() - due > _STALL_SECONDS:  # it is this process that slept; the pong may lie in the socket
                await asyncio.sleep(_STALL_SECONDS)
            if self._pinged:
                raise exceptions.ConnectionError(f"the server sent nothing for {PING_EVERY:g} s")
            agree()

    async def _read(self) -> Any:
        return await self._raw.read_response(disable_decoding=True, disconnect_on_error=False)

    async def _send(self, command: bytes) -> None:
        await self._raw.send_packed_command(command, check_health=False)


def _kind(said: Any) -> Any:
    return said[0] if isinstance(said, list) and said else None


def _agree(mine: str | None, read: str | None) -> None:
    if mine != read:
        raise exceptions.ConnectionError("the server that tracks is not the one that is read")


async def _tell(watch: Ear, said: list[Any]) -> None:
    """What a message says. All keys at once would hold up the loop, if somebody wrote very many."""
    channel, keys = said[1:3]
    if channel != _CHANNEL:
        if isinstance(keys, bytes):
            watch.published(channel.decode(errors="replace"), keys)
        return
    if not isinstance(keys, list):  # the database was flushed; or somebody publishes nonsense
        watch.changed(None)
        return
    names = [key.decode(errors="replace") for key in keys if isinstance(key, bytes)]
    for start in range(0, len(names), _KEYS_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        watch.changed(names[start : start + _KEYS_AT_ONCE])
