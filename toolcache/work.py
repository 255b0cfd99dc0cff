"""Working a request off: its tries, each within its time, as its terms say."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeAlias

from toolcache.compute import spent, takes_context
from toolcache.errors import RunTimeoutError
from toolcache.terms import Terms

Work: TypeAlias = Callable[[], Any] | Callable[[], Awaitable[Any]] | Callable[["RunContext"], Any]


class RunContext:
    """What a run is told of itself, and what it may say, if it takes an argument.

    Attributes:
        attempt: 1, or one more for each process that has died at the request.
        idempotency_key: the same text in every attempt at the request, and another one after ``forget``: for whoever acts outside
            and takes such a key, so that an action is not repeated where a run has to be.
        tries: how often this process has tried it, by ``retry``.
        cost_usd: what it has cost so far, as reported; None for nothing.
        tokens: the same in tokens.

    Examples:
        >>> async def pay(context):
        ...     receipt = await bank.transfer(order, idempotency_key=context.idempotency_key)
        ...     context.cost(usd=receipt.fee)
        ...     return receipt.id
    """

    def __init__(self, attempt: int, idempotency_key: str) -> None:
        self.attempt = attempt
        self.idempotency_key = idempotency_key
        self.tries = 0
        self.cost_usd: float | None = None
        self.tokens: int | None = None

    @classmethod
    def current(cls) -> "RunContext":
        """That of the run which the caller is part of, where it is not handed down: in functions with ``@idempotent``.

        Raises:
            LookupError: nothing is being run here.
        """
        try:
            return _CURRENT.get()
        except LookupError:
            raise LookupError("this is no part of a run: call it by way of once, or of @idempotent") from None

    def cost(self, *, usd: float | None = None, tokens: int | None = None) -> None:
        """Report what the run has spent; several reports add up. It is kept with the answer.

        Raises:
            ValueError: an amount is below zero, or no number.
        """
        self.cost_usd, self.tokens = spent(self.cost_usd, usd, self.tokens, tokens)


_CURRENT: Final[ContextVar[RunContext]] = ContextVar("toolcache.run")


async def work_off(work: Work, context: RunContext, terms: Terms) -> Any:
    """What the work comes to.

    Raises:
        RunTimeoutError: the last try took too long.
        Exception: whatever the last try raised.
    """
    _CURRENT.set(context)  # of this task, which is the run's own
    attempt = partial(_try, work, context, terms.timeout)
    if terms.retry is None:
        return await attempt()
    from tenacity import RetryError

    try:
        return await terms.retry.copy()(attempt)
    except RetryError as error:
        raise (error.last_attempt.exception() or error) from None


async def _try(work: Work, context: RunContext, timeout: float | None) -> Any:  # noqa: ASYNC109 - None is no limit
    context.tries += 1
    if timeout is None:
        return await _call(work, context)
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await _call(work, context)
    except TimeoutError:
        if limit.expired():
            raise RunTimeoutError(timeout=timeout) from None
        raise


async def _call(work: Work, context: RunContext) -> Any:
    value = work(context) if takes_context(work) else work()  # type: ignore[call-arg]  # told apart just before
    return await value if inspect.isawaitable(value) else value
