"""A cache of which everything is asked at once, and an event loop that is watched meanwhile."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.ours import Ours
from benchmarks.place import Place
from benchmarks.subject import FRESH, Kind, Subject
from benchmarks.values import payloads, small, vectors

_WORKERS: Final = 10
_WINDOW: Final = 0.5
_KEYS: Final = 500
_TEXTS: Final = 100
_MODEL: Final = "text-embedding-3-small"
_SIZES: Final = (64, 1 << 10, 4 << 10, 16 << 10, 64 << 10)


class Noise(Subject):
    """As many workers that want nothing: what the machine itself takes."""

    name = "floor: workers that do nothing"
    kind: Kind = "floor"

    async def open(self, place: Place) -> None:
        self._place = place
        self._chance = random.Random(7)

    async def window(self) -> float:
        """The longest stall while the workers work."""
        with self._place.spread():
            workers = [asyncio.create_task(self._work(time.monotonic() + _WINDOW)) for _ in range(_WORKERS)]
            return await self._watch(asyncio.gather(*workers))

    async def _work(self, until: float) -> None:
        while time.monotonic() < until:  # noqa: ASYNC110 - taking turns is what it does
            await asyncio.sleep(0)

    async def _watch(self, working: "asyncio.Future[Any]") -> float:
        """The longest time between two turns of the loop."""
        longest, then = 0.0, time.perf_counter()
        while not working.done():
            await asyncio.sleep(0)
            longest, then = max(longest, (now := time.perf_counter()) - then), now
        await working
        return longest


class Busy(Ours, Noise):
    """Memory that is too small, Redis and files, and ten workers who choose by chance what they want next.

    Args:
        callbacks: whether it is the longest callback that is told, not the longest turn of the loop with all its callbacks.
    """

    kind = "ours"

    def __init__(self, *, callbacks: bool = False) -> None:
        self.name = "toolcache, one callback" if callbacks else "toolcache"
        self._callbacks = callbacks

    def settings(self, place: Place) -> dict[str, Any]:
        self.database = place.database()
        namespace = f"database{self.database.rpartition('/')[2]}"
        return {
            "redis_url": self.database,
            "namespace": namespace,
            "directory": place.folder(),
            "mirror": ["general"],
            "max_memory": "4MB",
            "op_timeout": 5,
        }

    async def open(self, place: Place) -> None:
        await Noise.open(self, place)
        await super().open(place)
        bodies = [payloads(size, 1)["tool:0"] for size in _SIZES]
        trees = [{"tools": [small(number) for number in range(size // 64)]} for size in _SIZES]
        self._values = [*bodies, *trees]
        self._vectors = vectors(_TEXTS)
        self.wants: list[Callable[[], Awaitable[Any]]] = [
            self._get, self._get, self._get, self._set, self._get_or_set, self._call, self._get_several,
            self._set_several, self._get_vectors, self._set_vectors, self._forget,
        ]  # fmt: skip

        @self.decorate
        async def called(number: int, *, exact: bool = False) -> Any:
            return self._values[number % len(self._values)], exact

        self._called = called

    async def _work(self, until: float) -> None:
        while time.monotonic() < until:
            await self._chance.choice(self.wants)()

    async def _watch(self, working: "asyncio.Future[Any]") -> float:
        if not self._callbacks:
            return await super()._watch(working)
        with longest_callback() as told:
            await working
        return told()

    def _key(self) -> str:
        return f"tool:{self._chance.randrange(_KEYS)}"

    def _value(self) -> Any:
        return self._chance.choice(self._values)

    async def _get(self) -> None:
        await self.cache.get(self._key())

    async def _set(self) -> None:
        await self.cache.set(self._key(), self._value(), FRESH, tags=[f"tag:{self._chance.randrange(20)}"])

    async def _get_or_set(self) -> None:
        await self.cache.get_or_set(self._key(), self._value)

    async def _call(self) -> None:
        await self._called(self._chance.randrange(_KEYS), exact=True)

    async def _get_several(self) -> None:
        await self.cache.get_many([self._key() for _ in range(20)])

    async def _set_several(self) -> None:
        await self.cache.set_many({self._key(): self._value() for _ in range(5)})

    async def _get_vectors(self) -> None:
        await self.cache.get_embeddings(self._chance.sample(list(self._vectors), 10), _MODEL)

    async def _set_vectors(self) -> None:
        texts = self._chance.sample(list(self._vectors), 10)
        await self.cache.set_embeddings(texts, _MODEL, [self._vectors[text] for text in texts])

    async def _forget(self) -> None:
        await self.cache.invalidate(tags=[f"tag:{self._chance.randrange(20)}"])


@contextmanager
def longest_callback() -> Iterator[Callable[[], float]]:
    """Time each callback that any loop runs inside the block; what is given tells the longest."""
    run, longest = asyncio.Handle._run, 0.0  # noqa: SLF001 - every callback passes there

    def timed(handle: asyncio.Handle) -> None:
        nonlocal longest
        begun = time.perf_counter()
        run(handle)
        longest = max(longest, time.perf_counter() - begun)

    asyncio.Handle._run = timed  # type: ignore[method-assign, assignment]  # noqa: SLF001 - the class is a plain one
    try:
        yield lambda: longest
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]  # noqa: SLF001 - as it was
