"""Running what makes a missing value."""

import inspect
from collections.abc import Awaitable, Callable
from types import FunctionType
from typing import Any, TypeAlias

from toolcache.durations import Duration

Compute: TypeAlias = Callable[[], Any] | Callable[[], Awaitable[Any]] | Callable[["Context"], Any]


class Context:
    """What a computation may say of its value, if it takes an argument.

    Attributes:
        ttl: how long the value stays good; as given by the caller unless the computation sets it.
        tags: the same for its tags.

    Examples:
        >>> async def compute(context):
        ...     answer = await ask()
        ...     context.ttl = answer.max_age
        ...     if answer.partial:
        ...         context.skip()
        ...     return answer.text
    """

    def __init__(self, ttl: Duration | None, tags: tuple[str, ...]) -> None:
        self.ttl = ttl
        self.tags = tags
        self.skipped = False

    def skip(self) -> None:
        """Do not store the value; those who wait get it all the same."""
        self.skipped = True


async def run(compute: Compute, context: Context) -> Any:
    """The value: ``compute`` is sync or async, and takes no argument or the context."""
    value = compute(context) if takes_context(compute) else compute()  # type: ignore[call-arg]  # told apart just before
    return await value if inspect.isawaitable(value) else value


def takes_context(compute: Callable[..., Any]) -> bool:
    """Whether it wants an argument."""
    if type(compute) is FunctionType and not vars(compute):  # as nearly all are: it takes a microsecond instead of ten
        return compute.__code__.co_argcount > len(compute.__defaults__ or ())
    try:
        parameters = inspect.signature(compute).parameters.values()
    except (TypeError, ValueError):  # some built-ins have no signature; they know nothing of contexts
        return False
    return any(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
