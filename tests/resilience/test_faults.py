"""What each exception means, with the classes of the installed redis-py."""

import asyncio
import errno
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable

import pytest
from redis import exceptions as redis_errors
from redis.credentials import CredentialProvider

from toolcache.blob import CorruptBlobError
from toolcache.causes import describe
from toolcache.errors import CacheClosedError, SerializationError
from toolcache.resilience.faults import FaultKind, classify, connection_lost

CANCEL, LOCAL, AUTH = FaultKind.CANCEL, FaultKind.LOCAL, FaultKind.AUTH
CONN, WRITE_REFUSED, SEMANTIC = FaultKind.CONN, FaultKind.WRITE_REFUSED, FaultKind.SEMANTIC

SECRET = "hunter2"


def oserror(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def wrapped(origin: BaseException) -> BaseException:
    """As redis-py raises it: within ``except``, without ``from``."""
    wrapper = redis_errors.ConnectionError("Error connecting")
    wrapper.__context__ = origin
    return wrapper


def several(number: int) -> OSError:
    """As asyncio says it of a host with several addresses, none of which would have us."""
    one = f"[Errno {number}] Connect call failed"
    return OSError(f"Multiple exceptions: {one} ('::1', 6379, 0, 0), {one} ('127.0.0.1', 6379)")


EITHER = [  # of reads and of mutations alike
    (asyncio.CancelledError(), CANCEL),
    (GeneratorExit(), CANCEL),
    (KeyboardInterrupt(), CANCEL),
    (SystemExit(), CANCEL),
    (redis_errors.MaxConnectionsError("Too many connections"), LOCAL),
    (redis_errors.ConnectionError("No connection available."), LOCAL),
    (redis_errors.DataError("Invalid input of type: 'dict'"), LOCAL),
    (RuntimeError("Event loop is closed"), LOCAL),
    (RuntimeError("Task got Future attached to a different loop"), LOCAL),
    (RuntimeError("<asyncio.Lock> is bound to a different event loop"), LOCAL),
    (RuntimeError("cannot schedule new futures after shutdown"), LOCAL),
    (RuntimeError("can't start new thread"), LOCAL),
    (oserror(errno.EMFILE), LOCAL),
    (oserror(errno.ENFILE), LOCAL),
    (oserror(errno.ENOMEM), LOCAL),
    (wrapped(oserror(errno.EMFILE)), LOCAL),
    (MemoryError(), LOCAL),
    (RecursionError(), LOCAL),
    (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), LOCAL),
    (SerializationError("a set of sets"), LOCAL),
    (CorruptBlobError("crc"), LOCAL),
    (CacheClosedError(), LOCAL),
    (redis_errors.AuthenticationError("Authentication required."), AUTH),
    (redis_errors.AuthorizationError("no"), AUTH),
    (redis_errors.AuthenticationWrongNumberOfArgsError("wrong number"), AUTH),
    (redis_errors.ResponseError("NOAUTH Authentication required."), AUTH),
    (redis_errors.ResponseError("WRONGPASS invalid username-password pair or user is disabled."), AUTH),
    (redis_errors.ResponseError("DENIED Redis is running in protected mode"), AUTH),
    (redis_errors.ConnectionError("invalid username-password pair"), AUTH),
    (ssl.SSLCertVerificationError("self-signed certificate"), AUTH),
    (wrapped(ssl.SSLCertVerificationError("self-signed certificate")), AUTH),
    (redis_errors.ConnectionError("Connection closed by server."), CONN),
    (redis_errors.ConnectionError("max number of clients reached"), CONN),
    (redis_errors.TimeoutError("Timeout reading from socket"), CONN),
    (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), CONN),
    (redis_errors.MasterDownError("Link with MASTER is down"), CONN),
    (redis_errors.ClusterDownError("The cluster is down"), CONN),
    (redis_errors.ClusterError("TTL exhausted."), CONN),
    (redis_errors.RedisClusterException("no node answers"), CONN),
    (redis_errors.SlotNotCoveredError("slot 1 is not covered"), CONN),
    (redis_errors.TryAgainError("during resharding"), CONN),
    (redis_errors.ChildDeadlockedError(), CONN),
    (redis_errors.InvalidResponse("Protocol Error"), CONN),
    (redis_errors.ResponseError("BUSY Redis is busy running a script."), CONN),
    (TimeoutError(), CONN),
    (asyncio.TimeoutError(), CONN),  # noqa: UP041 - that it is the same is the point
    (asyncio.IncompleteReadError(b"", 2), CONN),
    (ConnectionResetError(errno.ECONNRESET, "reset"), CONN),
    (wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), CONN),
    (wrapped(ssl.SSLError(1, "wrong version number")), CONN),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), CONN),
    (oserror(errno.EHOSTUNREACH), CONN),
    (oserror(errno.EIO), CONN),
    (oserror(errno.ENOENT), CONN),
    (TypeError("'NoneType' object is not callable"), CONN),
    (AttributeError("'NoneType' object has no attribute 'write'"), CONN),
    (ValueError("of a third party's store"), CONN),
    (redis_errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), WRITE_REFUSED),
    (redis_errors.ReadOnlyError("You can't write against a read only replica."), WRITE_REFUSED),
    (redis_errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), WRITE_REFUSED),
    (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), WRITE_REFUSED),
    (
        redis_errors.ResponseError("Error running script (call to f_1): @user_script:1: -OOM command not allowed"),
        WRITE_REFUSED,
    ),
    (redis_errors.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), SEMANTIC),
    (redis_errors.NoScriptError("No matching script. Please use EVAL."), SEMANTIC),
    (redis_errors.ClusterCrossSlotError("Keys in request don't hash to the same slot"), SEMANTIC),
    (redis_errors.ResponseError("unknown command 'NOPE'"), SEMANTIC),
    (redis_errors.ResponseError("a value that says: -OOM and MISCONF"), SEMANTIC),
    (redis_errors.ResponseError(""), SEMANTIC),
]


def name_of(value: object) -> str | None:
    if isinstance(value, BaseException):
        return f"{type(value).__module__.split('.')[0]}.{type(value).__name__}"
    return value.value if isinstance(value, FaultKind) else None


@pytest.mark.parametrize(("exc", "kind"), EITHER, ids=name_of)
@pytest.mark.parametrize("mutation", [False, True], ids=["read", "write"])
def test_kinds(exc: BaseException, kind: FaultKind, mutation: bool) -> None:
    """EC-01: each exception is of the kind that the table says, whether the operation reads or writes.

    EC-03: every class of timeout, and OSError, is a fault of the connection. EC-04: so are redis-py's exceptions that
    are no RedisError. BUG-53: waiting for a place in the pool is no failure of the server.
    """
    assert classify(exc, mutation=mutation) is kind


NO_PERMISSION = [
    redis_errors.NoPermissionError("this user has no permissions to run the 'set' command"),
    redis_errors.ResponseError("NOPERM this user has no permissions to run the 'set' command"),
    redis_errors.ResponseError("The user executing the script can't run this command or subcommand script: 1f"),
    redis_errors.ResponseError("ACL failure in script: User u has no permissions to run the 'set' command"),
]


@pytest.mark.parametrize("exc", NO_PERMISSION, ids=lambda exc: str(exc)[:12])
def test_a_missing_permission(exc: Exception) -> None:
    """EC-01: where a read may not, we are not welcome; where only a write may not, writes are refused."""
    assert classify(exc) is AUTH
    assert classify(exc, mutation=True) is WRITE_REFUSED


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM"])
def test_a_file_system_that_takes_no_writes(name: str) -> None:
    """EC-01: a full, read-only or forbidden file system refuses writes; met by a read, it cannot be reached."""
    exc = oserror(getattr(errno, name))
    assert classify(exc, mutation=True) is WRITE_REFUSED
    assert classify(exc) is CONN


class Provider(CredentialProvider):
    """One whose vault is locked."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def get_credentials(self) -> tuple[str]:
        raise self.fault


@pytest.mark.parametrize("fault", [ValueError(SECRET), OSError(SECRET), TypeError(SECRET)], ids=name_of)
def test_a_failing_credential_provider(fault: Exception) -> None:
    """EC-15: whatever a credential provider raises is of the kind AUTH, and its text is not told."""
    with pytest.raises(type(fault)) as caught:
        Provider(fault).get_credentials()
    assert classify(caught.value) is AUTH
    assert SECRET not in describe(caught.value)
    outer = redis_errors.ConnectionError(SECRET)
    outer.__cause__ = caught.value
    assert classify(outer) is AUTH


def test_what_the_caller_was_handling_does_not_count() -> None:
    """An exception raised while the caller handles another one is judged by itself."""
    for context in (redis_errors.AuthenticationError("somebody else's"), ssl.SSLCertVerificationError("the same")):
        own = ValueError("lost")
        own.__context__ = context
        assert classify(own) is CONN

    unrelated = redis_errors.ConnectionError("Connection closed by server.")
    unrelated.__context__ = redis_errors.AuthenticationError("somebody else's")
    assert classify(unrelated) is CONN


def test_chains_without_end_are_left() -> None:
    """A chain of exceptions that leads back to itself is followed a few steps only."""
    one, other = redis_errors.ConnectionError("one"), redis_errors.ConnectionError("other")
    one.__cause__, other.__cause__ = other, one
    assert classify(one) is CONN


@pytest.mark.parametrize(
    ("exc", "lost"),
    [
        (redis_errors.ConnectionError("Connection closed by server."), True),
        (wrapped(ConnectionResetError(errno.ECONNRESET, "reset")), True),
        (ConnectionResetError(), True),
        (BrokenPipeError(), True),
        (asyncio.IncompleteReadError(b"", 2), True),
        (wrapped(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), False),
        (ConnectionRefusedError(), False),
        (wrapped(several(errno.ECONNREFUSED)), False),
        (wrapped(socket.gaierror(socket.EAI_NONAME, "unknown")), False),
        (redis_errors.ConnectionError("max number of clients reached"), False),
        (redis_errors.BusyLoadingError("loading"), False),
        (redis_errors.AuthenticationError("no"), False),
        (redis_errors.TimeoutError("Timeout reading"), False),
        (TimeoutError(), False),
        (redis_errors.ResponseError("BUSY"), False),
        (oserror(errno.ENOSPC), False),
    ],
    ids=name_of,
)
def test_a_lost_connection(exc: BaseException, lost: bool) -> None:
    """Only a connection that stood and broke is worth another attempt at once; an answer is an answer."""
    assert connection_lost(exc) is lost


@pytest.mark.parametrize(
    ("exc", "told"),
    [
        (OSError(errno.ENOSPC, SECRET, f"/home/{SECRET}"), "no space left on device"),
        (OSError(errno.EDQUOT, SECRET), "the disk's quota, or max_disk, is used up"),
        (OSError(123456, "of another system"), "OSError"),
        (wrapped(ConnectionRefusedError(errno.ECONNREFUSED, SECRET)), "connection refused"),
        (wrapped(several(errno.ECONNREFUSED)), "connection refused"),
        (wrapped(socket.gaierror(socket.EAI_NONAME, SECRET)), "unknown host"),
        (wrapped(FileNotFoundError(errno.ENOENT, SECRET)), "no such file or directory"),
        (wrapped(ssl.SSLCertVerificationError(1, SECRET)), "certificate not trusted"),
        (wrapped(ssl.SSLError(1, SECRET)), "TLS failed"),
        (redis_errors.TimeoutError(SECRET), "timed out"),
        (TimeoutError(), "timed out"),
        (wrapped(redis_errors.ResponseError("DB index is out of range")), "no such database"),
        (redis_errors.ConnectionError(SECRET), "connection lost"),
        (redis_errors.ConnectionError("max number of clients reached"), "too many clients"),
        (redis_errors.ResponseError(f"MISCONF {SECRET}"), "ResponseError MISCONF"),
        (redis_errors.ResponseError(f"{SECRET} said a script"), "ResponseError"),
        (redis_errors.AuthenticationError(f"redis://user:{SECRET}@host"), "access denied"),
        (ValueError(SECRET), "ValueError"),
    ],
    ids=name_of,
)
def test_what_is_told(exc: BaseException, told: str) -> None:
    """EC-15: a fault is told by its cause in words, or its type and known code, never by its text."""
    assert describe(exc) == told


def test_redis_need_not_be_there() -> None:
    """Judging exceptions imports nothing of redis-py."""
    program = (
        "import sys; from toolcache.resilience.faults import classify; "
        "print(classify(ConnectionResetError()).value, any(name.split('.')[0] == 'redis' for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["conn", "False"]


def test_every_class_of_redis_has_a_kind() -> None:
    """EC-01: whatever redis-py's module of exceptions holds is judged without failing."""
    makers: list[Callable[[], BaseException]] = []
    for found in vars(redis_errors).values():
        if isinstance(found, type) and issubclass(found, Exception):
            text = "1234 127.0.0.1:7000" if issubclass(found, redis_errors.AskError) else "text"
            makers.append(lambda found=found, text=text: found(text))  # type: ignore[misc]  # bound now
    kinds = {classify(make()) for make in makers}
    assert len(makers) > 25
    assert kinds == {LOCAL, AUTH, CONN, WRITE_REFUSED, SEMANTIC}
