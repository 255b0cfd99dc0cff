"""Every exception that toolcache raises.

    ToolCacheError
    ├── SettingsError               a setting is unknown or out of range
    ├── UnsupportedKeyError         a value that cannot be part of a key
    ├── MissingScopeError           nobody has said for whom, where a function keeps results apart by it
    ├── SerializationError          a value that cannot be stored and come back equal
    │   └── ValueTooLargeError      a value above ``max_entry``
    ├── StoredCallError             a function failed before, and that is kept for a while
    ├── CacheClosedError            a call after ``aclose()``, or a write that it did not wait for
    ├── CacheWriteError             a delete (or, with ``strict=True``, any write) that is safe nowhere
    ├── BackupError                 a backup or copy that cannot be made, or a file that cannot be believed
    ├── ReentrantFlightError        a computation that waits for itself
    ├── FlightAbortedError          a computation that cancelled itself
    ├── ComputeTimeoutError         a computation that took longer than ``hard_timeout``
    ├── DispatchError               a request that is to run once was not answered by its run
    │   ├── AlreadyInProgressError      it is running, and the caller did not want to wait
    │   ├── WaitTimeoutError            it is still running after ``wait_timeout``
    │   ├── TaskMismatchError           its key was used before, to ask for something else
    │   ├── TakeoverLimitError          each process that ran it died
    │   ├── RunTimeoutError             a try of it took longer than ``timeout``
    │   ├── StoredAgentError            it failed elsewhere or earlier; this tells how
    │   ├── StoresUnavailableError      no store can promise that it runs once
    │   └── TemplateError               a template and its arguments do not fit
    ├── SessionError                a session was not saved, or cannot be told
    │   ├── SessionConflictError        somebody else has saved it meanwhile
    │   └── SessionUnavailableError     the store that keeps it does not answer
    ├── CircuitOpenError            the breaker refuses (only for those who use a breaker alone)
    └── UnsupportedEventLoopError   called outside asyncio

A store that is down, slow, full, read-only or lying raises nothing at the caller of a cache; only what is to run
once is not run where no store can promise it, and a session, which nobody could compute again, is not lost unsaid.
"""

from typing import Any, ClassVar


class ToolCacheError(Exception):
    """The root of all errors of this package."""


class SettingsError(ToolCacheError, ValueError):
    """A setting is unknown, unreadable or out of range; the text names it, its source and the mend."""


class UnsupportedKeyError(ToolCacheError, TypeError):
    """A value has no canonical form, so two different ones could share a key."""


class MissingScopeError(ToolCacheError, LookupError):
    """A function keeps its results apart by a scope that nobody has said: nothing was looked for or computed.

    ``scope`` is its name.
    """

    def __init__(self, owner: str, scope: str) -> None:
        super().__init__(f"nobody has said the scope {scope!r} of {owner}: call it inside of 'with scope({scope}=...)'")
        self.scope = scope


class StoredCallError(ToolCacheError):
    """A function failed a while ago with an error that it keeps, and was not called again.

    ``type`` is the name of that error's class, ``message`` its text. No class is ever rebuilt from them, unless the function
    was told how: ``cache_errors={NotFound: NotFound}``.
    """

    def __init__(self, type: str, message: str = "") -> None:  # noqa: A002 - the record's own word
        super().__init__(type, message)
        self.type = type
        self.message = message

    def __str__(self) -> str:
        what = f"{self.type}: {self.message}" if self.message else self.type
        return f"the function failed a while ago with {what}, which is kept: refresh() calls it again"


class SerializationError(ToolCacheError, TypeError):
    """A value cannot be stored so that it comes back equal and of the same type.

    Nothing was changed. ``path`` says where in the value the trouble is. ``result`` is what a run returned that is not
    to run twice: its work is done, and this is the only copy. None in all other cases, as None can be stored.
    """

    def __init__(self, message: str, *, path: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.path = path
        self.result = result


class ValueTooLargeError(SerializationError):
    """An encoded value is larger than ``max_entry``; ``size`` and ``limit`` are bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the encoded value takes {size:,} bytes, more than max_entry={limit:,}: "
            "store it elsewhere and cache its address, or raise max_entry"
        )
        self.size = size
        self.limit = limit


class CacheClosedError(ToolCacheError, RuntimeError):
    """The cache was closed; open a new one. Also for a write that ``aclose(drain=)`` did not wait for."""

    def __init__(self, message: str = "this cache is closed: open a new one") -> None:
        super().__init__(message)


class CacheWriteError(ToolCacheError):
    """A write is safe nowhere: a configured layer may still hold the old value, and nothing durable says otherwise.

    The memory of this process has dropped the key. ``operation`` is ``"delete"``, ``"clear"`` or ``"delete_result"``;
    with ``strict=True`` also ``"set"``, ``"add"`` or ``"set_result"``.
    """

    def __init__(self, operation: str, reason: str) -> None:
        super().__init__(f"{operation} could be made safe in no layer ({reason}): repeat it once a store is back")
        self.operation = operation
        self.reason = reason


class BackupError(ToolCacheError):
    """A backup cannot be written, read or believed, or a layer that it needs cannot be asked; the text says which and why.

    An export that ended so goes on where it was when it is called again. An import says so before it changes anything
    where the file is damaged, cut off or of another secret; where a layer fails in the middle, what it had done stays.
    """


class ReentrantFlightError(ToolCacheError, RuntimeError):
    """A computation asked, directly or through others, for the key it is computing."""

    def __init__(
        self, message: str = "this computation waits for itself: it asks for a key being computed for it"
    ) -> None:
        super().__init__(message)


class ComputeTimeoutError(ToolCacheError, TimeoutError):
    """A computation took longer than ``hard_timeout``, and no older value could stand in."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"the computation was given up after {seconds:g} s (hard_timeout): make it quicker, or allow it more"
        )


class FlightAbortedError(ToolCacheError):
    """The computation was cancelled from within, while its waiters were not."""

    def __init__(self, message: str = "the computation cancelled itself; the next call starts a new one") -> None:
        super().__init__(message)


class DispatchError(ToolCacheError):
    """A request that is to run once was not answered by its run.

    ``key`` is the first 8 hex digits of the request's digest, as events tell it, or empty.
    """

    _SAYS: ClassVar[str] = "this request was not answered by its run"

    def __init__(self, message: str = "", *, key: str = "") -> None:
        super().__init__(message or self._SAYS)
        self.key = key

    def __str__(self) -> str:
        return f"{super().__str__()} (request {self.key})" if self.key else super().__str__()


class AlreadyInProgressError(DispatchError):
    """With ``wait="raise"``: the request is running, in this process or another. Nothing was run by this call."""

    _SAYS = 'this request is running already: ask again later, or wait for its answer with wait="join"'


class WaitTimeoutError(DispatchError, TimeoutError):
    """The request is still running after ``wait_timeout``. The run goes on, and a later call gets its answer."""

    _SAYS = "this request is still running, and goes on: ask again for its answer, or wait longer with wait_timeout"


class RunTimeoutError(DispatchError, TimeoutError):
    """A try of the run took longer than ``timeout`` seconds, and was ended: a failure like any other."""

    def __init__(self, message: str = "", *, key: str = "", timeout: float = 0.0) -> None:
        super().__init__(
            message
            or f"the run took longer than timeout={timeout:g} s and was ended: allow it more, or have it do less",
            key=key,
        )
        self.timeout = timeout


class TaskMismatchError(DispatchError):
    """The key of the request was used before, to ask for something else. Nothing was run, and the record is as it was."""

    _SAYS = (
        "this idempotency key was used before to ask for something else, so nothing was run: "
        "give each request a key of its own, or repeat it with the same agent, template, model and arguments"
    )


class TakeoverLimitError(DispatchError):
    """Each process that ran the request died or stopped, ``attempts`` of them; it is not run again for now."""

    def __init__(self, message: str = "", *, key: str = "", attempts: int = 0) -> None:
        begun = f"{attempts} times" if attempts else "as often as max_attempts allows"
        super().__init__(
            message
            or f"this request was begun {begun} and no run came to its end, so it is not run again: find out what "
            "ends its process, then forget() it, or wait until its record expires",
            key=key,
        )
        self.attempts = attempts


class StoredAgentError(DispatchError):
    """The run failed, and this call did not run it: in another process, or before, and the failure is stored.

    The exception itself stays where it was raised. What is told of it is text, and no class is ever rebuilt from it.
    ``type`` is the name of its class, such as ``"ValueError"`` or ``"httpx.ReadTimeout"``, ``message`` its text.
    """

    def __init__(self, type: str, message: str = "", *, key: str = "") -> None:  # noqa: A002 - the record's own word
        super().__init__(key=key)
        self.args = (type, message)
        self.type = type
        self.message = message

    def __str__(self) -> str:
        what = f"{self.type}: {self.message}" if self.message else self.type
        asked = f" of request {self.key}" if self.key else ""
        return f"the run{asked} failed, not in this call, with {what}; to run it again before its record expires, forget() it"


class StoresUnavailableError(DispatchError):
    """No store could promise that the request runs once, so nothing was run; ``reason`` says what each one lacks."""

    def __init__(self, message: str = "", *, key: str = "", reason: str = "") -> None:
        why = f" ({reason})" if reason else ""
        super().__init__(
            message
            or f"no store can promise that this request runs once{why}, so nothing was run: repeat it once one is back "
            '(health() tells), or pass on_store_down="run" if running twice does no harm',
            key=key,
        )
        self.reason = reason


class TemplateError(DispatchError, ValueError):
    """A template cannot be filled with its arguments. Nothing was run, and nothing stored.

    ``argument`` is the name that the trouble is with, and ``position`` where in the template it is, counted from 0;
    each is None where there is none.
    """

    def __init__(self, message: str, *, argument: str | None = None, position: int | None = None) -> None:
        super().__init__(message)
        self.argument = argument
        self.position = position


class SessionError(ToolCacheError):
    """A session was not saved, or cannot be told."""


class SessionConflictError(SessionError):
    """The session was saved by others since it was resumed, and this is not what they have made of it. Nothing was saved.

    ``revision`` is the one that stands there now; None where there is no session any more.
    """

    def __init__(self, message: str, *, revision: str | None = None) -> None:
        super().__init__(message)
        self.revision = revision


class SessionUnavailableError(SessionError):
    """The store that keeps sessions does not answer, so nobody can tell what stands there; ``reason`` is its fault.

    Unlike a cached value a session cannot be computed again: to answer "there is none", or to save it where others do not
    see it, would lose turns. A save may or may not have been done. The same ``append`` with a ``turn_id`` is done once, however
    often it is repeated; in all other cases resume the session, and look.
    """

    def __init__(self, store: str, reason: str) -> None:
        super().__init__(
            f"the store that keeps sessions ({store}) does not answer ({reason}): repeat it once it is back, health() tells; "
            "a save under way may or may not have been done"
        )
        self.store = store
        self.reason = reason


class CircuitOpenError(ToolCacheError):
    """The breaker refuses calls for now; ``retry_after`` is in seconds, None while it is forced open."""

    def __init__(self, retry_after: float | None = None) -> None:
        when = "until it is reset" if retry_after is None else f"for {retry_after:.3f} s"
        super().__init__(f"the circuit is open {when}")
        self.retry_after = retry_after


class UnsupportedEventLoopError(ToolCacheError, RuntimeError):
    """toolcache was called outside a running asyncio event loop, for example under trio."""

    def __init__(self, message: str = "toolcache needs a running asyncio event loop (trio is not supported)") -> None:
        super().__init__(message)
