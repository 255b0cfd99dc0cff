"""Opens connections to one server, and learns its time and identity on the way."""

import asyncio
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from toolcache.errors import SettingsError
from toolcache.protocols import Clock
from toolcache.stores.redis.url import Address
from toolcache.stores.redis.wire import pack, run_id_of

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

    from toolcache.stores.redis.connection import Connection
    from toolcache.stores.redis.tracking import Tracking

_DRIVER: Final = "toolcache.stores.redis.driver"
_SHOWN: Final = ("host", "port", "path", "db", "username", "password")


class Dialer:
    """How to reach one server.

    Args:
        address: where it is; without meaning if there is a client.
        client: a client or pool of ``redis.asyncio`` whose settings are borrowed, or None.
        provider: a credential provider, or None.
        clock: set to the server's time by ``dial_and_align``.
        timeout: seconds that connecting may take.
        patience: seconds after which a silent server is given up.

    Attributes:
        run_id: of the server process last dialled; None before that, and where it does not say.
    """

    def __init__(
        self, address: Address, *, client: Any, provider: Any, clock: Clock, timeout: float, patience: float
    ) -> None:
        self._address = address
        self._pool = getattr(client, "connection_pool", client)
        if client is not None and not hasattr(self._pool, "connection_class"):
            raise SettingsError("client takes a redis.asyncio client or pool of a single server")
        if provider is not None and (client is not None or address.username or address.password):
            raise SettingsError("credential_provider takes the place of user, password, and a client's own credentials")
        borrowed = getattr(self._pool, "connection_kwargs", {})
        self._name = borrowed.get("client_name") or address.client_name
        self._provider = provider
        self._clock = clock
        self._timeout = timeout
        self._patience = patience
        self.run_id: str | None = None

    @property
    def redacted_url(self) -> str:
        """Where the server is, without the password."""
        if self._pool is None:
            return self._address.redacted
        known = self._pool.connection_kwargs
        return Address(**{name: known[name] for name in _SHOWN if known.get(name)}).redacted

    async def dial(self) -> "Connection":
        """A new connection."""
        raw = await self._raw()
        from toolcache.stores.redis.driver import Connection

        connection = Connection(raw, patience=self._patience)
        try:
            # By ourselves and without looking at the reply: a user without this permission may cache all the same.
            await connection.call(pack(b"CLIENT", b"SETNAME", self._name.encode()))
        except BaseException:
            connection.close()
            raise
        return connection

    async def dial_for_tracking(self) -> "Tracking":
        """A new connection that is told what others write, once it is armed."""
        raw = await self._raw()
        from toolcache.stores.redis.driver import Tracking

        return Tracking(raw, name=self._name.encode(), within=self._timeout)

    async def dial_and_align(self) -> "Connection":
        """A new connection; the clock is set by its server's, and ``run_id`` read."""
        connection = await self.dial()
        try:
            sent_at = self._clock.monotonic()
            (said,) = await connection.call(pack(b"TIME"))
            if (now := _instant(said)) is not None:
                self._clock.align(now + (self._clock.monotonic() - sent_at) / 2)
            (info,) = await connection.call(pack(b"INFO", b"server"))
        except BaseException:
            connection.close()
            raise
        self.run_id = run_id_of(info)
        return connection

    async def _raw(self) -> "AbstractConnection":
        """redis-py's connection, connected."""
        if _DRIVER not in sys.modules:  # a tenth of a second and more, which the loop need not stand still for
            await asyncio.to_thread(import_module, _DRIVER)
        from toolcache.stores.redis import driver

        if self._pool is None:
            raw = driver.connection_to(self._address, self._provider, self._timeout)
        else:
            raw = driver.connection_like(self._pool, self._timeout)
        await driver.establish(raw, within=self._timeout)
        return raw


def _instant(said: Any) -> float | None:
    """Seconds since the epoch, of a reply to TIME; None where the server does not tell."""
    try:
        seconds, microseconds = said
        return int(seconds) + int(microseconds) / 1e6
    except (TypeError, ValueError):
        return None
