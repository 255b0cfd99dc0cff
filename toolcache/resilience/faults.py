"""What an exception out of a store means: the one place that decides.

The kinds are tried from top to bottom, because the classes overlap: redis-py's ``AuthenticationError`` and
``MaxConnectionsError`` are its ``ConnectionError``, a failed TLS verification is an ``OSError``, and several of its
exceptions are not its ``RedisError`` at all. redis-py's classes are told by name, so that nothing here imports it and
a class that an older release lacks is simply never met.
"""

import asyncio
import errno
import socket
import ssl
from enum import Enum
from typing import Final

from toolcache.blob import CorruptBlobError
from toolcache.causes import errno_of, origin_of, redis_names, reply_code
from toolcache.errors import ToolCacheError
from toolcache.protocols import StoreRestingError


class FaultKind(Enum):
    """What a failure says, and about whom."""

    CANCEL = "cancel"
    """The caller left. Says nothing."""
    LOCAL = "local"
    """Says nothing of the store: out of descriptors, a closed loop, a value that cannot be packed, a store at rest."""
    AUTH = "auth"
    """The store knows us and will not have us; asking again soon is useless."""
    CONN = "conn"
    """The store cannot be reached, or cannot answer now."""
    WRITE_REFUSED = "write_refused"
    """The store answers, and takes no writes."""
    WRITE_LOST = "write_lost"
    """A write cannot reach the store, or goes unanswered, while reads have a way of their own that stands."""
    SEMANTIC = "semantic"
    """The store answers that this request makes no sense to it."""


_LOCAL_ERRNOS: Final = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}
_REFUSING_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}
_UNREACHED: Final = {errno.ECONNREFUSED, errno.ENOENT, errno.EHOSTUNREACH, errno.ENETUNREACH}
_LOOP_TROUBLE: Final = ("event loop", "different loop", "new futures after", "new thread")

_LOCAL_NAMES: Final = {"MaxConnectionsError", "DataError"}
_AUTH_NAMES: Final = {
    "AuthenticationError",
    "AuthorizationError",
    "AuthenticationWrongNumberOfArgsError",
    "ExternalAuthProviderError",
}
_AUTH_CODES: Final = {"NOAUTH", "WRONGPASS", "DENIED"}
_CONN_NAMES: Final = {
    "ConnectionError",
    "TimeoutError",
    "InvalidResponse",
    "ClusterError",
    "RedisClusterException",
    "TryAgainError",
    "ChildDeadlockedError",
}
_CONN_CODES: Final = {"BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN"}
_REFUSED_NAMES: Final = {"OutOfMemoryError", "ReadOnlyError"}
_REFUSED_CODES: Final = {"OOM", "READONLY", "MISCONF", "NOREPLICAS"}
_PROVIDER_METHODS: Final = {"get_credentials", "get_credentials_async"}


def classify(exc: BaseException, *, mutation: bool = False) -> FaultKind:  # noqa: PLR0911 - one return per row
    """What ``exc``, raised inside a store, means.

    Args:
        exc: as it came out of the operation.
        mutation: whether the operation was a write; a missing permission then concerns the write alone.
    """
    if isinstance(exc, asyncio.CancelledError) or not isinstance(exc, Exception):
        return FaultKind.CANCEL
    names = redis_names(exc)
    origin = origin_of(exc, names)
    code = reply_code(exc, names)
    if _is_local(exc, names, origin):
        return FaultKind.LOCAL
    if _is_auth(exc, names, origin, code):
        return FaultKind.AUTH
    if code == "NOPERM":
        return FaultKind.WRITE_REFUSED if mutation else FaultKind.AUTH
    if names & _CONN_NAMES or code in _CONN_CODES:
        return FaultKind.CONN
    if names & _REFUSED_NAMES or code in _REFUSED_CODES:
        return FaultKind.WRITE_REFUSED
    if "ResponseError" in names:
        return FaultKind.SEMANTIC
    if mutation and isinstance(exc, OSError) and exc.errno in _REFUSING_ERRNOS:
        return FaultKind.WRITE_REFUSED
    # Every other OSError, and what nobody foresaw: TypeError and AttributeError out of a dying transport, the errors
    # of a third party's store. A store that fails in an unknown way is best left alone for a while.
    return FaultKind.CONN


def connection_lost(exc: BaseException) -> bool:
    """Whether a connection that had stood broke under the operation, so that another may carry it at once."""
    names = redis_names(exc)
    if not names:
        return isinstance(exc, ConnectionResetError | ConnectionAbortedError | BrokenPipeError | EOFError)
    origin = origin_of(exc, names)
    # The subclasses (loading, authentication, pool limit) are answers; a failure to connect is one too.
    return (
        type(exc).__name__ == "ConnectionError"
        and not isinstance(origin, ConnectionRefusedError | TimeoutError | socket.gaierror)
        and (not isinstance(origin, OSError) or errno_of(origin) not in _UNREACHED)
        and "max number of clients" not in str(exc)
    )


def _is_local(exc: Exception, names: set[str], origin: BaseException) -> bool:
    if isinstance(origin, OSError) and origin.errno in _LOCAL_ERRNOS:
        return True
    if isinstance(exc, RuntimeError) and any(text in str(exc).lower() for text in _LOOP_TROUBLE):
        return True
    if "ConnectionError" in names and "No connection available" in str(exc):
        return True  # redis-py's blocking pool, tired of waiting for a place in itself
    return bool(names & _LOCAL_NAMES) or isinstance(
        exc, ToolCacheError | StoreRestingError | CorruptBlobError | UnicodeError | MemoryError | RecursionError
    )


def _is_auth(exc: Exception, names: set[str], origin: BaseException, code: str) -> bool:
    if names & _AUTH_NAMES or code in _AUTH_CODES or isinstance(origin, ssl.SSLCertVerificationError):
        return True
    if names and "invalid username-password pair" in str(exc).lower():
        return True
    return "TimeoutError" not in names and (_from_provider(exc) or _from_provider(origin))


def _from_provider(exc: BaseException) -> bool:
    """Whether ``exc`` came out of a credential provider, which may raise anything."""
    trace = exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name in _PROVIDER_METHODS:
            return True
        trace = trace.tb_next
    return False
