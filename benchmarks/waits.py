"""How long does anybody wait while a value is large, the server is frozen, or everything happens at once?"""

import asyncio
import random
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Final

from benchmarks.busy import Busy, Noise
from benchmarks.harness import Goal, Pass, Task, at_share, check_equal
from benchmarks.main import main
from benchmarks.ours import Ours, OursRedis
from benchmarks.peers import (
    AiocacheRedis,
    CashewsRedis,
    Coredis,
    Glide,
    KeyValueRedis,
    LitellmRedis,
    RedisPy,
)
from benchmarks.place import Place
from benchmarks.subject import Subject
from benchmarks.table import number
from benchmarks.values import payloads, texts
from toolcache import Settings

_LARGE: Final = 8_000_000  # bytes; an entry may hold a little more by default
_LITTLE: Final = 50
_GETS: Final = 1_000
_CALLS: Final = 200
_PAUSE: Final = 2e-3
_LEAVE: Final = 10.0  # seconds after which nobody waits any longer
_OPENED: Final = "toolcache, its breaker open"


class Observed(Subject):
    """A cache that is watched once.

    Args:
        maker: the cache.
        name: what the tables call it, if not as the cache.
        kind: what it is, if not what the cache is.
    """

    def __init__(self, maker: Callable[[], Subject], *, name: str = "", floor: bool = False) -> None:
        self._subject = maker()
        self.name, self.needs = name or self._subject.name, self._subject.needs
        self.kind = "floor" if floor else self._subject.kind

    async def open(self, place: Place) -> None:
        self._place = place
        self._patience = _LEAVE / 10 if place.quick else _LEAVE
        await self._subject.open(place)

    async def close(self) -> None:
        await self._subject.close()

    async def observe(self) -> list[float]:
        """Seconds of each wait."""
        raise NotImplementedError

    async def fill(self) -> list[str]:
        """Store little values; the keys, which are more than memory holds."""
        keys = [f"little:{number}" for number in range(_LITTLE)]
        value = b"little" if self._subject.raw else "little"
        for key in keys:
            await self._subject.set(key, value)
        check_equal([await self._subject.get(key) for key in keys], [value] * _LITTLE, "reads")
        return keys


class Beside(Observed):
    """Little values, while somebody asks for a large one again and again."""

    async def observe(self) -> list[float]:
        keys = await self.fill()
        fetching = None if self.kind == "floor" else await self._fetching()
        took: list[float] = []
        chance = random.Random(7)
        give_up = time.monotonic() + self._patience / 2
        while len(took) < _GETS and time.monotonic() < give_up:
            await asyncio.sleep(chance.random() * _PAUSE)  # or it would always ask in the same breath as the other
            begun = time.perf_counter()
            await self._subject.get(keys[len(took) % _LITTLE])
            took.append(time.perf_counter() - begun)
        self._ended = True  # a task that is cancelled goes on where its client takes that for a time that is up
        if fetching:
            await fetching
        self.note = f"{number(at_share(took, 0.99) * 1e3)} ms for 99 of 100; {len(took):,} gets"
        if fetching:
            self.note += f", {self._fetched:,} of the large value"
        return [at_share(took, step / 100) for step in range(101)]

    async def _fetching(self) -> "asyncio.Task[None]":
        size = _LARGE // 8 if self._place.quick else _LARGE
        made = texts(size, 2) if self._subject.text else payloads(size, 2)
        mapping = {f"large {key}": body for key, body in made.items()}
        for key, body in mapping.items():
            await self._subject.set(key, body)
        check_equal([await self._subject.get(key) for key in mapping], mapping.values(), "reads")
        self._fetched, self._ended = 0, False

        async def fetch() -> None:
            for key in cycle(mapping):  # two: none of them is in memory when its turn comes
                if self._ended:
                    break
                await self._subject.get(key)
                await asyncio.sleep(0)
                self._fetched += 1

        return asyncio.create_task(fetch())


class Frozen(Observed):
    """A server that is stopped, its connections open, and the first call that meets it."""

    async def observe(self) -> list[float]:
        keys = await self.fill()
        with self._place.frozen():
            return [await self._ask(keys[0])]

    async def _ask(self, key: str) -> float:
        begun = time.perf_counter()
        try:
            async with asyncio.timeout(self._patience) as patience:
                found = await self._subject.get(key)
            self.note = "answers" if found else "answers that there is nothing"
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller knows now
            self.note = "is waiting still" if patience.expired() else f"raises {type(error).__name__}"
        return time.perf_counter() - begun


class Opened(Frozen):
    """The same as soon as the cache has given the server up."""

    async def observe(self) -> list[float]:
        assert isinstance(self._subject, Ours)
        keys = await self.fill()
        with self._place.frozen():
            while (await self._subject.cache.health(probe=False)).redis.breaker != "open":  # type: ignore[union-attr]  # there is one
                await self._ask(keys[0])
                keys.append(keys.pop(0))
            return [await self._ask(keys[number % _LITTLE]) for number in range(_CALLS)]


async def observe(subject: Subject) -> list[float]:
    assert isinstance(subject, Observed)
    return await subject.observe()


async def busy(subject: Subject) -> Pass:
    assert isinstance(subject, Busy | Noise)
    await subject.window()  # what is there once is there from now on
    return subject.window


PEERS: Final = (RedisPy, partial(Glide, patience_ms=None), Coredis, CashewsRedis, AiocacheRedis)

UNHURRIED: Final = partial(OursRedis, op_timeout=5)
"""Ours on a machine on which 8 MB take their time."""

TASKS: Final = (
    Task(
        "large",
        f"A get of a little value while one of {_LARGE / 1e6:.0f} MB is on its way",
        "ms",
        (
            partial(Beside, UNHURRIED, name="floor: toolcache, nothing large on its way", floor=True),
            *(partial(Beside, maker) for maker in (UNHURRIED, *PEERS)),
        ),
        observe,
        [Goal(5e-3, share=0.99)],
    ),
    Task(
        "frozen",
        "A get when the server is frozen: the first one, and those after the breaker opened",
        "ms",
        (
            partial(Frozen, OursRedis),
            partial(Opened, OursRedis, name=_OPENED),
            *(partial(Frozen, maker) for maker in (*PEERS, KeyValueRedis, LitellmRedis)),
        ),
        observe,
        [Goal(Settings().op_timeout + 0.1), Goal(1e-4, who=_OPENED, share=0.9)],
    ),
    Task(
        "busy",
        "The longest stall of the event loop in half a second of everything at once, with values of up to 64 KB",
        "ms",
        (Noise, Busy, partial(Busy, callbacks=True)),
        busy,
        [Goal(5e-3, share=0.5), Goal(5e-3, who="toolcache, one callback", share=0.5)],
        slow=True,
        patience=2.0,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
