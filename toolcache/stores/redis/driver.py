"""redis-py's connections, made and opened as the store wants them, on every release from 5.3 on."""

import asyncio
import contextlib
import re
import ssl
from typing import Any, Final

from redis import exceptions
from redis.asyncio import connection as driver
from redis.credentials import CredentialProvider

from toolcache.stores.redis.connection import Connection
from toolcache.stores.redis.tracking import Tracking
from toolcache.stores.redis.url import Address

__all__ = ["Connection", "Credentials", "Tracking", "connect", "connection_like", "connection_to", "establish"]

# A timeout around each read would cost as much as the read; retries, health checks and time limits are ours.
_OURS: Final[dict[str, Any]] = {"protocol": 2, "decode_responses": False, "socket_timeout": None}
with contextlib.suppress(ImportError):  # older ones have no such class, and read their version when imported
    from redis.driver_info import DriverInfo

    _OURS["driver_info"] = DriverInfo()  # made once: each looks its version up among the installed files
_NOT_OURS: Final = re.compile("retry|health_check|maint|oss_cluster|orig_|event_dispatcher")


class NotAdmittedError(exceptions.ConnectionError):
    """The server answered one of the commands that make a connection usable, such as SELECT, with an error."""


class Credentials(CredentialProvider):
    """A user's credential provider, asked off the loop if it can only block; its failures tell no secrets.

    Args:
        provider: anything with ``get_credentials_async`` or ``get_credentials``, as redis-py describes them.
    """

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    async def get_credentials_async(self) -> Any:
        """The password, or user and password, as a tuple."""
        ask = getattr(type(self._provider), "get_credentials_async", None)
        try:
            if ask is None or ask is CredentialProvider.get_credentials_async:
                return await asyncio.to_thread(self._provider.get_credentials)
            return await self._provider.get_credentials_async()
        except Exception as error:  # noqa: BLE001 - a provider may raise anything, with the token in its text
            raise exceptions.AuthenticationError(f"the credential provider raised {type(error).__name__}") from None


def connection_to(address: Address, provider: Any, timeout: float) -> driver.AbstractConnection:
    """redis-py's connection to an address, not yet connected; ``timeout`` is of the socket alone."""
    options: dict[str, Any] = {"socket_connect_timeout": timeout, **_OURS, **address.extra}
    options |= {"db": address.db, "username": address.username, "password": address.password}
    if provider is not None:
        options["credential_provider"] = Credentials(provider)
    if address.path is not None:
        return driver.UnixDomainSocketConnection(path=address.path, **options)
    options |= {"host": address.host, "port": address.port, "socket_keepalive": True}
    if not address.tls:
        return driver.Connection(**options)
    required = options.setdefault("ssl_cert_reqs", "required")
    options.setdefault("ssl_check_hostname", required != "none")  # redis-py has not always done so
    return driver.SSLConnection(**options)


def connection_like(pool: Any, timeout: float) -> driver.AbstractConnection:
    """Another connection such as a pool of redis-py makes, with our own timeouts, protocol and patience."""
    theirs = {name: value for name, value in pool.connection_kwargs.items() if not _NOT_OURS.match(name)}
    made: driver.AbstractConnection = pool.connection_class(**theirs | _OURS | {"socket_connect_timeout": timeout})
    return made


async def connect(
    raw: driver.AbstractConnection,
    *,
    within: float,
    patience: float,
    farewells: tuple[type[Exception], ...] = (),
) -> Connection:
    """A connection for commands, over ``raw``; raises as ``establish`` does."""
    await establish(raw, within=within)
    return Connection(raw, patience=patience, farewells=farewells)


async def establish(raw: driver.AbstractConnection, *, within: float) -> None:
    """Connect, authenticate and select, ``within`` seconds.

    Raises:
        RedisError: (redis-py's) the server cannot be reached or will not have us.
        SSLCertVerificationError: the server's certificate is not to be trusted.
    """
    try:
        async with asyncio.timeout(within):
            await raw.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it so
    except TimeoutError:
        await raw.disconnect(nowait=True)
        raise exceptions.TimeoutError(f"the server did not answer within {within:g} s of connecting") from None
    except BaseException as error:
        await raw.disconnect(nowait=True)
        found = _beneath(error) or error
        if isinstance(found, exceptions.NoPermissionError):
            raise exceptions.AuthorizationError("the user may not do what connecting takes") from None
        if isinstance(found, exceptions.ResponseError):
            raise NotAdmittedError("the server answered with an error while connecting") from found
        if found is not error:
            raise found from None
        raise


def _beneath(error: BaseException) -> BaseException | None:
    """What redis-py hid in a plain ConnectionError: a refusal met while connecting to a Unix socket, or TLS trouble."""
    cause = error.__cause__ or error.__context__
    hidden = type(error) is exceptions.ConnectionError and isinstance(
        cause, exceptions.RedisError | ssl.SSLCertVerificationError
    )
    return cause if hidden else None
