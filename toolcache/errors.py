"""Every exception that toolcache raises.

    ToolCacheError
    ├── SettingsError               a setting is unknown or out of range
    ├── UnsupportedKeyError         a value that cannot be part of a key
    ├── SerializationError          a value that cannot be stored and come back equal
    │   └── ValueTooLargeError      a value above ``max_entry``
    ├── CacheClosedError            a call after ``aclose()``, or a write that it did not wait for
    ├── CacheWriteError             a delete (or, with ``strict=True``, any write) that is safe nowhere
    ├── ReentrantFlightError        a computation that waits for itself
    ├── FlightAbortedError          a computation that cancelled itself
    ├── CircuitOpenError            the breaker refuses (only for those who use a breaker alone)
    └── UnsupportedEventLoopError   called outside asyncio

A store that is down, slow, full, read-only or lying raises nothing at the caller of a cache.
"""


class ToolCacheError(Exception):
    """The root of all errors of this package."""


class SettingsError(ToolCacheError, ValueError):
    """A setting is unknown, unreadable or out of range; the text names it, its source and the mend."""


class UnsupportedKeyError(ToolCacheError, TypeError):
    """A value has no canonical form, so two different ones could share a key."""


class SerializationError(ToolCacheError, TypeError):
    """A value cannot be stored so that it comes back equal and of the same type.

    Nothing was changed. ``path`` says where in the value the trouble is.
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


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


class ReentrantFlightError(ToolCacheError, RuntimeError):
    """A computation asked, directly or through others, for the key it is computing."""

    def __init__(
        self, message: str = "this computation waits for itself: it asks for a key being computed for it"
    ) -> None:
        super().__init__(message)


class FlightAbortedError(ToolCacheError):
    """The computation was cancelled from within, while its waiters were not."""

    def __init__(self, message: str = "the computation cancelled itself; the next call starts a new one") -> None:
        super().__init__(message)


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
