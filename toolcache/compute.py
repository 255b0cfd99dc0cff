"""Running what makes a missing value."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from math import inf
from types import FunctionType
from typing import Any, Final, TypeAlias, TypeVar

from toolcache.durations import Duration
from toolcache.entry import Held
from toolcache.errors import ComputeTimeoutError
from toolcache.freshness import DEFAULT, Policy
from toolcache.tags import labels

T = TypeVar("T")

_LONGEST: Final = 256

Compute: TypeAlias = Callable[[], Any] | Callable[[], Awaitable[Any]] | Callable[["Context"], Any]


class Context:
    """What a computation may say of its value, if it takes an argument.

    Attributes:
        ttl: how long the value stays good; as given by the caller unless the computation sets it.
        tags: the same for its tags.
        etag: what the source calls this state of the value, kept with it: of the older value until the computation sets
            another, None where there is none.

    Examples:
        >>> async def compute(context):
        ...     answer = await ask()
        ...     context.ttl = answer.max_age
        ...     if answer.partial:
        ...         context.skip()
        ...     return answer.text
    """

    def __init__(
        self, ttl: Duration | None, tags: tuple[str, ...], policy: Policy = DEFAULT, own: tuple[str, ...] = ()
    ) -> None:
        self.ttl = ttl
        self.tags = tags
        self.own = own
        self.etag: str | None = None
        self.skipped = False
        self.insists = False  # what it raises is for those who wait, and nothing stands in for it
        self.stale: Held | None = None
        self.cost_usd: float | None = None
        self.tokens: int | None = None
        self.policy = policy
        self.raises = 0

    def met(self, older: Held | None) -> None:
        """There is an older value; or there is none any more."""
        self.stale = older
        self.etag = getattr(older, "etag", "") or None

    @property
    def labels(self) -> tuple[str, ...]:
        """All that the value can be invalidated by: its tags, and the cache's own labels.

        Raises:
            ValueError: the computation has set tags that cannot be.
        """
        return labels(self.tags) + self.own

    @property
    def stale_value(self) -> Any:
        """The value that is past its time, a copy of the computation's own; None where there is none."""
        return None if self.stale is None else self.stale.own()

    def not_modified(self) -> Any:
        """The value that is past its time is still right: return this, and it is kept as if it were new.

        Raises:
            LookupError: there is none.
        """
        if self.stale is None:
            raise LookupError("there is no older value that could be right: compute one")
        return self.stale.own()

    def cost(self, *, usd: float | None = None, tokens: int | None = None) -> None:
        """Report what the computation has spent; several reports add up, and statistics tell of them.

        Raises:
            ValueError: an amount is below zero, or no number.
        """
        self.cost_usd, self.tokens = spent(self.cost_usd, usd, self.tokens, tokens)

    def skip(self) -> None:
        """Do not store the value; those who wait get it all the same."""
        self.skipped = True


async def run(compute: Compute, context: Context) -> Any:
    """The value: ``compute`` is sync or async, and takes no argument or the context.

    Raises:
        ComputeTimeoutError: it has taken longer than the policy allows.
        Exception: whatever it raises.
    """
    value = compute(context) if takes_context(compute) else compute()  # type: ignore[call-arg]  # told apart just before
    return await within(context.policy.hard_timeout, value) if inspect.isawaitable(value) else value


async def within(limit: float | None, value: Awaitable[T]) -> T:
    """What is awaited, if it comes in so many seconds.

    Raises:
        ComputeTimeoutError: it does not.
        Exception: whatever it raises.
    """
    if limit is None:
        return await value
    try:
        async with asyncio.timeout(limit) as timeout:
            return await value
    except TimeoutError:
        if not timeout.expired():
            raise
        raise ComputeTimeoutError(limit) from None


def spent(
    dollars: float | None, usd: float | None, so_far: int | None, tokens: int | None
) -> tuple[float | None, int | None]:
    """What was spent, in US dollars and tokens, with what is reported now.

    Raises:
        ValueError: an amount is below zero, or no number.
    """
    for name, amount in (("usd", usd), ("tokens", tokens)):
        if amount is not None and not 0 <= amount < inf:
            raise ValueError(f"{name} is an amount of zero or more, not {amount!r}")
    return (
        dollars if usd is None else (dollars or 0.0) + float(usd),
        so_far if tokens is None else (so_far or 0) + int(tokens),
    )


def etag_of(etag: object) -> str:
    """An etag, looked at.

    Raises:
        ValueError: it is no text, or longer than 256 characters.
    """
    if not isinstance(etag, str) or len(etag) > _LONGEST:
        raise ValueError(f"an etag is a text of at most {_LONGEST} characters")
    return etag


def takes_context(compute: Callable[..., Any]) -> bool:
    """Whether it wants an argument."""
    if type(compute) is FunctionType and not vars(compute):  # as nearly all are: it takes a microsecond instead of ten
        return compute.__code__.co_argcount > len(compute.__defaults__ or ())
    try:
        parameters = inspect.signature(compute).parameters.values()
    except (TypeError, ValueError):  # some built-ins have no signature; they know nothing of contexts
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
