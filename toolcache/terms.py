"""Terms: on what conditions a request is run once."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

from toolcache.durations import Duration
from toolcache.entry import MISSING, Missing
from toolcache.fields import Frozen
from toolcache.spelling import choice, count, nearest, span, unlimited

if TYPE_CHECKING:
    from tenacity import AsyncRetrying

OnError: TypeAlias = Literal["forget", "store"] | tuple[type[Exception], ...]


class OnceOptions(TypedDict, total=False):
    """What a caller may say; see ``Terms``."""

    timeout: Duration | None
    retry: "AsyncRetrying | None"
    wait: Literal["join", "raise"]
    wait_timeout: Duration | None
    on_error: OnError
    error_ttl: Duration
    on_abandon: Literal["finish", "cancel"]
    on_store_down: Literal["raise", "run"]
    retention: Duration | Missing | None
    lease: Duration
    max_attempts: int


class Terms(Frozen):
    """On what conditions a request is run once. Spans in seconds.

    Attributes:
        timeout: how long one try may take; a longer one is ended, and has failed. None for no limit.
        retry: a ``tenacity.AsyncRetrying``: which failures are tried again within one claim, how often and when.
        wait: while another runs it: "join" waits for its answer, "raise" raises AlreadyInProgressError.
        wait_timeout: how long to wait for another's answer before WaitTimeoutError. None for no limit.
        on_error: whether a failure is kept as the answer: "forget" has the next call run anew, "store" keeps each, a tuple of
            exception types those.
        error_ttl: how long a failure is kept.
        on_abandon: when the last caller has left: "finish" goes on, and keeps the answer; "cancel" ends the run.
        on_store_down: when no configured store can say whether it was run: "raise" raises StoresUnavailableError, "run"
            runs it, once in this process.
        retention: how long an answer is kept, from when it is there; MISSING for the time of the domain.
        lease: how long others wait for a process that gives no word any more.
        max_attempts: how many processes may die at it before it is given up.
    """

    timeout: float | None = None
    retry: "AsyncRetrying | None" = None
    wait: str = "join"
    wait_timeout: float | None = None
    on_error: OnError = "forget"
    error_ttl: float = 60.0
    on_abandon: str = "finish"
    on_store_down: str = "raise"
    retention: float | Missing | None = MISSING
    lease: float = 30.0
    max_attempts: int = 3

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Terms":
        """The terms that a caller's options say.

        Raises:
            TypeError: an option is unknown, or of a wrong kind.
            ValueError: one is out of range.
        """
        for name in options:
            if name not in _READERS:
                raise TypeError(f"there is no option {name!r}{nearest(name, _READERS)}")
        return cls(**{name: _READERS[name](value, name) for name, value in options.items()})

    def keeps(self, error: BaseException) -> bool:
        """Whether a failure is kept as the answer."""
        return isinstance(error, self.on_error) if isinstance(self.on_error, tuple) else self.on_error == "store"


def _retry(value: Any, name: str) -> Any:
    if value is None:
        return None
    from tenacity import AsyncRetrying

    if not isinstance(value, AsyncRetrying):
        raise TypeError(
            f"{name} is a tenacity.AsyncRetrying, such as AsyncRetrying(stop=…), not {type(value).__name__}"
        )
    return value


def _on_error(value: Any, name: str) -> OnError:
    if isinstance(value, tuple) and all(isinstance(one, type) and issubclass(one, Exception) for one in value):
        return value
    if not isinstance(value, str) or value not in {"forget", "store"}:
        raise ValueError(f"{name} is 'forget', 'store' or a tuple of exception types, not {value!r}")
    return "store" if value == "store" else "forget"


def _retention(value: Any, name: str) -> Any:
    return value if value is MISSING else unlimited(span)(value, name)


_READERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "timeout": unlimited(span),
    "retry": _retry,
    "wait": choice("join", "raise"),
    "wait_timeout": unlimited(span),
    "on_error": _on_error,
    "error_ttl": span,
    "on_abandon": choice("finish", "cancel"),
    "on_store_down": choice("raise", "run"),
    "retention": _retention,
    "lease": span,
    "max_attempts": count,
}
assert set(_READERS) == set(Terms._fields)  # noqa: S101 - each is read
