"""Opens connections to a server, and learns its time and identity on the way."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from toolcache.causes import describe
from toolcache.errors import CacheClosedError, SettingsError
from toolcache.events import Event, RedisAvailable, RedisUnavailable
from toolcache.protocols import Clock
from toolcache.stores.redis.credentials import Credentials
from toolcache.stores.redis.ear import Ear
from toolcache.stores.redis.lanes import Lanes
from toolcache.stores.redis.url import Address
from toolcache.stores.redis.wire import pack, run_id_of

if TYPE_CHECKING:
    from toolcache.stores.redis.connection import Connection

_DRIVER: Final = "toolcache.stores.redis.driver"
_SHOWN: Final = ("host", "port", "path", "db", "username", "password")
_HASTE: Final = 0.9
"""Of the patience that callers have: when connecting takes that long, the cause is told."""
_STALLED: Final = 0.1
"""Seconds. A timer that fires later than this says that the loop stood still, not the server."""


class Dialer:
    """How to reach one server.

    Args:
        address: where it is; without meaning if there is a client.
        client: a client or pool of ``redis.asyncio`` whose settings are borrowed, or None.
        credentials: what logs in instead of the address' user and password, or None.
        clock: set to the server's time when it is met.
        timeout: seconds that connecting may take.
        patience: seconds after which a silent server is given up.
        announce: told of the first failure to connect, of the first after a success, and of the success after one.

    Attributes:
        run_id: of the server process last dialled; None before that, and where it does not say.
    """

    def __init__(
        self,
        address: Address,
        *,
        client: Any,
        credentials: Credentials | None,
        clock: Clock,
        timeout: float,
        patience: float,
        announce: Callable[[Event], None],
    ) -> None:
        self._address = address
        self._pool = getattr(client, "connection_pool", client)
        if client is not None and not hasattr(self._pool, "connection_class"):
            raise SettingsError("client takes a redis.asyncio client or pool of a single server")
        if credentials is not None and (client is not None or address.username or address.password):
            raise SettingsError("credentials take the place of user, password, and a client's own: give one of them")
        borrowed = getattr(self._pool, "connection_kwargs", {})
        self._name = borrowed.get("client_name") or address.client_name
        self._credentials = credentials
        self._clock = clock
        self._timeout = timeout
        self._patience = patience
        self._announce = announce
        self._lost = False
        self.run_id: str | None = None

    @property
    def redacted_url(self) -> str:
        """Where the server is, without the password."""
        if self._pool is None:
            return self._address.redacted
        known = self._pool.connection_kwargs
        return Address(**{name: known[name] for name in _SHOWN if known.get(name)}).redacted

    def lanes(self) -> Lanes:
        """The connections of one more loop, none of them open yet."""
        return Lanes(self.dial)

    async def dial(self, anew: bool) -> "Connection":
        """A new connection, its server's ``run_id`` read; and the clock set, if it is met ``anew`` or is another."""
        return await self._told(partial(self._meet, anew=anew))

    async def track(
        self,
        lanes: Sequence[Lanes],
        prefixes: Sequence[str],
        watch: Ear,
        *,
        run_id: Callable[[], str | None] | None = None,
    ) -> None:
        """Tell ``watch`` what changes beneath ``prefixes`` on the server, until that is not certain.

        Args:
            lanes: this loop's connections to it; the server is dialled over them first, so that it is known which is read.
            prefixes: of keys.
            watch: to tell.
            run_id: tells which server is read, as of now, which has to be the one that tells; the one dialled last.

        Raises:
            UntrackedError: the server is too old, or the user may not use CLIENT, or the channel of its messages.
            RedisError: (redis-py's) the server cannot be reached, or has fallen silent, or is another one now.
        """
        await lanes[0].small.connection()
        driver = await load_driver()
        raw = self._connection(driver)
        await driver.establish(raw, within=self._timeout)
        tracking = driver.Tracking(raw, name=self._name.encode(), within=self._timeout)
        await tracking.run(prefixes, watch, run_id=run_id or (lambda: self.run_id))

    async def _told(self, opener: "Callable[[], Awaitable[Connection]]") -> "Connection":
        # Those who wait are about to leave without an answer: the cause is told before what comes of it.
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def late(due: float) -> None:
            nonlocal timer
            if (now := loop.time()) - due > _STALLED:  # it is this process that slept
                timer = loop.call_at(now + _STALLED, late, now + _STALLED)
            else:
                asking = self._credentials is not None and self._credentials.asking
                self._failed("no credentials (the provider has not answered yet)" if asking else "no answer")

        due = loop.time() + _HASTE * self._patience
        timer = loop.call_at(due, late, due)
        try:
            connection = await opener()
        except CacheClosedError:
            raise
        except Exception as error:
            self._failed(describe(error))
            raise
        finally:
            timer.cancel()
        if self._lost:
            self._lost = False
            self._announce(RedisAvailable(self.redacted_url))
        return connection

    def _failed(self, reason: str) -> None:
        if not self._lost:
            self._lost = True
            self._announce(RedisUnavailable(self.redacted_url, reason))

    async def _dial(self) -> "Connection":
        return await self._greet(self._connection(await load_driver()))

    def _connection(self, driver: Any) -> Any:
        """redis-py's connection to the server, not connected yet."""
        if self._pool is None:
            return driver.connection_to(self._address, self._credentials, self._timeout)
        return driver.connection_like(self._pool, self._timeout)

    async def _greet(self, raw: Any, *, farewells: tuple[type[Exception], ...] = ()) -> "Connection":
        """Connect, and say who we are."""
        driver = await load_driver()
        connection: Connection = await driver.connect(
            raw, within=self._timeout, patience=self._patience, farewells=farewells
        )
        try:
            # By ourselves and whatever the reply: a user without this permission may cache all the same. One who has not
            # said a password that the server wants may not.
            (said,) = await connection.call(pack(b"CLIENT", b"SETNAME", self._name.encode()))
            if type(said).__name__ == "AuthenticationError":
                raise said  # noqa: TRY301 - closed below
        except BaseException:
            connection.close()
            raise
        return connection

    async def _meet(self, *, anew: bool) -> "Connection":
        connection = await self._dial()
        try:
            (info,) = await connection.call(pack(b"INFO", b"server"))
            before, self.run_id = self.run_id, run_id_of(info)
            connection.server = self.run_id or connection.server
            if anew or self.run_id != before:
                await self._align(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _align(self, connection: "Connection") -> None:
        sent_at = self._clock.monotonic()
        (said,) = await connection.call(pack(b"TIME"))
        took = self._clock.monotonic() - sent_at
        # A slow reply tells little: a clock that may be right is left alone.
        if (now := _instant(said)) is not None and not now <= self._clock.time() <= now + took:
            self._clock.align(now + took / 2)


async def load_driver() -> Any:
    """The module that imports redis-py: a tenth of a second and more, which the loop need not stand still for."""
    if _DRIVER not in sys.modules:
        await asyncio.to_thread(import_module, _DRIVER)
    return sys.modules[_DRIVER]


def _instant(said: Any) -> float | None:
    """Seconds since the epoch, of a reply to TIME; None where the server does not tell."""
    try:
        seconds, microseconds = said
        return int(seconds) + int(microseconds) / 1e6
    except (TypeError, ValueError):
        return None
