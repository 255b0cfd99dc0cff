"""A question that any of several servers can answer, where some of them may be dead.

The first is asked at once, each further one when those before have failed or been silent for a moment: a healthy
deployment is asked one question, and a dead server costs that moment, not the time that connecting to it may take.
(The same idea as RFC 8305, "Happy Eyeballs".)
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

_MOMENT: Final = 0.1
_REFUSALS: Final = {"AuthenticationError", "NoPermissionError", "SSLCertVerificationError"}


async def inquire(askers: Sequence[Callable[[], Awaitable[T]]]) -> AsyncGenerator[T | Exception, None]:
    """The answers, and the exceptions of those who gave none, as they come.

    To be closed (``contextlib.aclosing``) where not all of them are wanted; who has not answered by then is cancelled.

    Args:
        askers: ask one server each, in this order of preference.
    """
    waiting = list(askers)
    asked: set[asyncio.Future[T]] = set()
    try:
        while waiting or asked:
            if waiting:
                asked.add(asyncio.ensure_future(waiting.pop(0)()))
            done, asked = await asyncio.wait(
                asked, timeout=_MOMENT if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for outcome in [_outcome(one) for one in done]:
                yield outcome
    finally:
        for one in asked:
            one.cancel()
        await asyncio.gather(*asked, return_exceptions=True)


def _outcome(one: "asyncio.Future[Any]") -> Any:
    error = one.exception()
    if error is None:
        return one.result()
    if isinstance(error, Exception):
        return error
    raise error


def most_telling(faults: Sequence[Exception]) -> Exception:
    """Of what went wrong at several servers: the refusal that asking elsewhere does not mend, or else the first."""
    refusals = (fault for fault in faults if type(fault).__name__ in _REFUSALS)
    return next(refusals, faults[0])
