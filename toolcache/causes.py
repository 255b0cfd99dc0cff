"""Why a store failed, in words that may be told: what lies beneath an exception, without its text.

Messages are left out: they carry addresses, keys, and now and then a password. redis-py's classes are told by name, so
that nothing here imports it.
"""

import errno
import os
import re
import socket
import ssl
from typing import Final

_TOLD_CODES: Final = {"NOAUTH", "WRONGPASS", "DENIED", "NOPERM", "WRONGTYPE"} | {
    *("BUSY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "READONLY", "MISCONF", "NOREPLICAS")
}
_ACCESS: Final = {"AuthenticationError", "AuthorizationError", "AuthenticationWrongNumberOfArgsError"}
_NO_PERMISSION_TEXTS: Final = ("the user executing the script can't", "acl failure in script")
_SEVERAL: Final = r"\[Errno (\d+)\]"


def describe(exc: BaseException) -> str:
    """What ``exc`` comes down to: "unknown host", "connection refused", "timed out", or its type and code.

    Args:
        exc: as a store raised it.
    """
    names = redis_names(exc)
    origin = origin_of(exc, names)
    if words := _words(exc, origin, names | redis_names(origin)):
        return words
    code = reply_code(exc, names)
    return f"{type(exc).__name__} {code}" if code in _TOLD_CODES else type(exc).__name__


def _words(exc: BaseException, origin: BaseException, names: set[str]) -> str:  # noqa: PLR0911 - one return per row
    if isinstance(origin, ssl.SSLError):
        return "certificate not trusted" if isinstance(origin, ssl.SSLCertVerificationError) else "TLS failed"
    if isinstance(origin, socket.gaierror):
        return "unknown host"
    if isinstance(origin, OSError) and (number := errno_of(origin)) is not None:
        return _system_words(number)
    if type(exc).__name__ in {"NoCredentialsError", "LateCredentialsError"}:
        return str(exc)  # words of our own
    if isinstance(origin, TimeoutError) or "TimeoutError" in names:
        return "timed out"
    if names & _ACCESS:
        return "access denied"
    if "ResponseError" in names and type(exc) is not type(origin) and _about_database(str(origin)):
        return "no such database"
    if "max number of clients" in str(exc) and names:
        return "too many clients"
    if type(exc).__name__ == "ConnectionError" or isinstance(origin, ConnectionError | EOFError):
        return "connection lost"
    return ""


def _about_database(text: str) -> bool:
    return "db index" in text.lower() or "select is not allowed" in text.lower()


def errno_of(fault: OSError) -> int | None:
    """The errno; for a host of several addresses, of the first: asyncio joins what each of them said into one text."""
    if fault.errno is not None:
        return fault.errno
    several = re.search(_SEVERAL, str(fault))
    return int(several[1]) if several else None


def _system_words(number: int) -> str:
    if number not in errno.errorcode:
        return ""
    if number == errno.EDQUOT:
        return "the disk's quota, or max_disk, is used up"
    words = os.strerror(number)
    return words[:1].lower() + words[1:]


def redis_names(exc: BaseException) -> set[str]:
    """The names of the classes of redis-py that ``exc`` is an instance of."""
    return {cls.__name__ for cls in type(exc).__mro__ if cls.__module__ == "redis.exceptions"}


def origin_of(exc: BaseException, names: set[str]) -> BaseException:
    """What redis-py's ``ConnectionError`` and ``TimeoutError`` were raised for, or ``exc`` itself.

    redis-py raises them within ``except OSError``, mostly without ``from``, so the context counts as well; but only
    beneath its own wrappers: the context of anything else may be what the caller was handling when it called.
    """
    for _ in range(4):
        beneath = exc.__cause__ or exc.__context__
        if beneath is None or not names & {"ConnectionError", "TimeoutError"}:
            break
        exc, names = beneath, redis_names(beneath)
    return exc


def reply_code(exc: BaseException, names: set[str]) -> str:
    """The word that begins an error reply, such as MISCONF; empty for what is no reply."""
    if "ResponseError" not in names:
        return ""
    if "NoPermissionError" in names:
        return "NOPERM"
    text = str(exc)
    if any(mark in text.lower() for mark in _NO_PERMISSION_TEXTS):
        return "NOPERM"
    # Before Redis 7 a script's own failure stood inside the reply: "Error running script (…): -OOM command not …".
    head, dash, inner = text.partition(": -")
    words = (inner if dash and head.startswith("Error running script") else text).split(maxsplit=1)
    return words[0] if words else ""
