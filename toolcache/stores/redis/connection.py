"""One connection that carries everybody's commands.

Commands are sent in the order they come, those of one tick of the loop together, and replies are paired with them in
the same order. A caller that leaves keeps its place in the queue, and its reply is dropped when it comes, so nobody
ever gets another's. redis-py reads, writes and names the errors, by its public methods alone.

There is no timeout per command: callers have their own deadlines. One timer per connection closes it when its oldest
command is overdue and no reply at all has come for as long; a busy server that still answers keeps its connection.
"""

import asyncio
import contextlib
import contextvars
from collections import deque
from collections.abc import Awaitable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any, Final

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

MAX_COMMANDS: Final = 65_536
MAX_BYTES: Final = 64 * 2**20
_STALL_SECONDS: Final = 0.1

# Error replies. Two of redis-py's classes for them are kinds of its ConnectionError, yet the connection stands.
_ERROR_REPLIES: Final = (exceptions.ResponseError, exceptions.BusyLoadingError, exceptions.AuthenticationError)


class _Call:
    """Commands sent as one, and what became of them."""

    __slots__ = ("count", "future", "left", "replies", "sent_at", "size")

    def __init__(self, future: "asyncio.Future[list[Any]]", count: int, size: int, sent_at: float) -> None:
        self.future = future
        self.count = self.left = count
        self.replies: list[Any] = []
        self.size = size
        self.sent_at = sent_at


class Connection:
    """A connection shared by all tasks of one event loop.

    Args:
        raw: redis-py's connection, connected.
        patience: seconds after which a silent server that owes a reply is given up.
        farewells: error replies by which the server says that it is the right one no more; they end the connection.

    Attributes:
        server: what tells the server from others, as far as is known.
    """

    def __init__(
        self, raw: AbstractConnection, *, patience: float, farewells: tuple[type[Exception], ...] = ()
    ) -> None:
        self._raw = raw
        self._patience = patience
        self._farewells = farewells
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._waiting: deque[_Call] = deque()
        self._commands = 0
        self._bytes = 0
        self._outbox: list[bytes] = []
        self._flushing = False
        self._pushing: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._watchdog: asyncio.TimerHandle | None = None
        self._fault: Exception | None = None
        self.server: str | None = None
        self._task = self._loop.create_task(self._run(), name="toolcache-redis-read")

    @property
    def alive(self) -> bool:
        """Whether commands can be given to it."""
        return self._fault is None

    def call(self, command: bytes, replies: int = 1) -> "asyncio.Future[list[Any]]":
        """Send ``command``, which holds as many packed commands as ``replies`` says.

        The future has one reply for each, in order; error replies are among them as exceptions, not raised.

        Raises:
            ConnectionError: (redis-py's) the connection is gone, or, from the future, breaks before the last reply.
            MaxConnectionsError: (redis-py's) too much is under way; nothing was sent.
        """
        if self._fault is not None:
            raise _lost(self._fault)
        size = len(command)
        if self._commands + replies > MAX_COMMANDS or (self._bytes and self._bytes + size > MAX_BYTES):
            raise exceptions.MaxConnectionsError("too many commands are under way on this connection")
        now = self._loop.time()
        call = _Call(self._loop.create_future(), replies, size, now)
        self._waiting.append(call)
        self._commands += replies
        self._bytes += size
        self._outbox.append(command)
        if self._watchdog is None:
            self._watch_at(now + self._patience)
        if not self._flushing:
            if len(self._waiting) == 1:  # nobody to share a packet with
                self._flush()
            else:
                self._flushing = True
                self._loop.call_soon(self._flush, context=self._context)
        return call.future

    def close(self, reason: Exception | None = None) -> None:
        """Close it now; who waits is told that the connection was lost."""
        self._end(reason or exceptions.ConnectionError("the connection was closed"))
        self._task.cancel()

    async def aclose(self) -> None:
        """Wait for what is under way, as long as patience goes, and close."""
        if self._waiting:
            await asyncio.wait([self._waiting[-1].future], timeout=self._patience)
        self.close()
        await asyncio.wait([self._task])
        await self._disconnect()  # a task cancelled before its first step has not

    async def _run(self) -> None:
        try:
            await self._read()
        except Exception as error:  # noqa: BLE001 - whatever it was, the stream cannot be trusted any more
            self._end(error)
        finally:
            self._end(exceptions.ConnectionError("the connection was closed"))
            await self._disconnect()

    async def _read(self) -> None:
        read, waiting, clock = self._raw.read_response, self._waiting, self._loop.time
        while True:
            try:
                reply = await read(disable_decoding=True, disconnect_on_error=False)
            except _ERROR_REPLIES as error:
                if isinstance(error, self._farewells):
                    raise exceptions.ConnectionError("the server is not the master any more") from error
                reply = _discreet(error)
            self._heard_at = clock()
            if not waiting:
                raise exceptions.ConnectionError("the server sent a reply that nobody asked for")
            call = waiting[0]
            call.left -= 1
            if not call.future.done():
                call.replies.append(reply)
            if not call.left:
                waiting.popleft()
                self._commands -= call.count
                self._bytes -= call.size
                if not call.future.done():
                    call.future.set_result(call.replies)

    def _flush(self) -> None:
        """Send what has come meanwhile. Without a task, as long as the transport takes it at once."""
        self._flushing = False
        if not self._outbox:
            return
        packed, self._outbox = self._outbox, []
        sending = self._raw.send_packed_command(packed, check_health=False)
        try:
            awaited = sending.send(None)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - a dying transport has raised TypeError and AttributeError, too
            self.close(error)
            return
        self._flushing = True
        self._pushing = self._loop.create_task(
            self._push(_resumed(sending, awaited)), name="toolcache-redis-write", context=self._context
        )
        self._pushing.add_done_callback(lambda _task: _drop(sending))

    async def _push(self, sending: Awaitable[None]) -> None:
        """Wait until a transport that is full takes more, and send what has come meanwhile."""
        try:
            await sending
        except Exception as error:  # noqa: BLE001 - as in _flush
            self.close(error)
        else:
            self._flush()

    def _watch_at(self, when: float) -> None:
        self._watchdog = self._loop.call_at(when, self._watch, when, context=self._context)

    def _watch(self, due: float) -> None:
        self._watchdog = None
        if not self._waiting:
            return
        now = self._loop.time()
        patient_until = max(self._waiting[0].sent_at, self._heard_at) + self._patience
        if now - due > _STALL_SECONDS:  # it is this process that slept; the replies may lie in the socket
            patient_until = max(patient_until, now + _STALL_SECONDS)
        if now < patient_until:
            self._watch_at(patient_until)
        else:
            self.close(exceptions.ConnectionError(f"the server sent nothing for {self._patience:g} s"))

    def _end(self, reason: Exception) -> None:
        if self._fault is not None:
            return
        self._fault = reason
        if self._watchdog is not None:
            self._watchdog.cancel()
        for call in self._waiting:
            if not call.future.done():
                call.future.set_exception(_lost(reason))
        self._waiting.clear()
        self._outbox.clear()
        if self._pushing is not None:
            self._pushing.cancel()

    async def _disconnect(self) -> None:
        with contextlib.suppress(Exception):
            await self._raw.disconnect(nowait=True)


@coroutine
def _resumed(begun: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """What is left of a coroutine that waits for something already."""
    while True:
        try:
            answer = yield awaited
        except BaseException as error:  # noqa: BLE001 - it is for the coroutine to see, its cancellation above all
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, answer)
        try:
            awaited = step()
        except StopIteration:
            return


def _drop(begun: Coroutine[Any, Any, None]) -> None:
    """End a coroutine whose task was cancelled before its first step: left alone, it would complain when it is collected."""
    with contextlib.suppress(
        Exception
    ):  # redis-py wants to disconnect then, which takes a task; that is done elsewhere
        begun.close()


def _lost(reason: Exception) -> exceptions.ConnectionError:
    """An error of one waiter's own for a connection that broke."""
    told = (
        str(reason)
        if isinstance(reason, exceptions.ConnectionError)
        else f"the connection broke with {type(reason).__name__}"
    )
    error = exceptions.ConnectionError(told)
    error.__cause__ = reason
    return error


def _discreet(error: Exception) -> Exception:
    """The error reply, without the arguments (keys among them) that servers repeat for commands they do not know."""
    told, repeats, _ = str(error).partition(", with args")
    return type(error)(told) if repeats else error
