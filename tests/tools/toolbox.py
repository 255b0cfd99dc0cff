"""Tools that count their runs, and definitions of tools."""

from collections.abc import Iterator
from typing import Any, Final

from hearing import until

from toolcache import Cache
from toolcache.testing import FakeClock


def defined(name: str, *, server_says: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A definition as a server lists it."""
    hints = {} if server_says is None else {"annotations": server_says}
    return {"name": name, "inputSchema": {"type": "object"}, **hints, **more}


READS: Final = {"readOnlyHint": True}
AGAIN: Final = {"readOnlyHint": False, "idempotentHint": True}


class Tool:
    """A tool that answers with what it was told to, one after another, the last one for ever; counts its runs."""

    def __init__(self, *answers: Any) -> None:
        self._answers: Iterator[Any] = iter(answers)
        self._last: Any = None
        self.runs = 0
        self.params: list[dict[str, Any]] = []

    async def __call__(self, **params: Any) -> Any:
        self.runs += 1
        self.params.append(params)
        self._last = next(self._answers, self._last)
        answer = self._last() if callable(self._last) else self._last
        if isinstance(answer, Exception):
            raise answer
        return self.runs if answer is None else answer


async def settle(*caches: Cache) -> None:
    """Wait until all that was computed is written, and heard of: before another process asks, or time goes on."""
    homes = [cache._machine.homes.here() for cache in caches]
    await until(lambda: not any(home._tasks or len(home.flights) for home in homes))
    for cache in caches:
        await cache._machine._follower.catch_up()


async def later(cache: Cache, clock: FakeClock, seconds: float) -> None:
    """Let time go on."""
    await settle(cache)
    clock.advance(seconds)
