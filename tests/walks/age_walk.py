"""The same where values age: nothing that was forgotten stands in for what cannot be computed, or not in time.

To what ``fence_walk`` does come short lives with a long grace, computations that fail, callers without patience, refreshes,
and ``expire``. In the end nobody can compute any more, and whoever asks takes what stands in: it was not forgotten.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from walks.fence_walk import DOCS, TRUST, FenceWalk, Play

from toolcache.cache import Cache
from toolcache.entry import MISSING
from toolcache.freshness import Freshness
from toolcache.modes import Mode

_LIVES = (0.002, 0.05, 3_600.0)


class AgeWalk(FenceWalk):
    """Interleavings over one layering; see ``FenceWalk``."""

    def __init__(self, seed: int, directory: Path, layering: str | None = None) -> None:
        super().__init__(seed, directory, layering)
        self.stood_in = 0

    async def _interleave(self, step: int) -> None:
        play = AgePlay(self, step)
        await self._begin(play)
        acts = play.acts()
        self.chance.shuffle(acts)
        await self.gates.drive([asyncio.create_task(self._late(act)) for act in acts])
        await self.gates.drive([asyncio.create_task(self._settled())])
        self.clock.advance(0.1)
        for cache in [play.changer, *self.caches]:
            if cache is not play.changer:
                self.clock.advance(TRUST + 1)  # what others were not told of, they ask for then
                await cache._machine._follower.catch_up()
            for asking in (cache.get(play.key, MISSING), play.ask(cache, fails=True, freshness=Freshness(grace=1e6))):
                (value,) = await self._alone(asking)
                assert value is MISSING or value[0] >= play.forgotten, f"{value} was given, {play.forgotten} forgotten"
                self.stood_in += value is not MISSING
            play.check_memory(cache)
            await self.gates.drive([asyncio.create_task(self._settled())])

    async def _begin(self, play: "AgePlay") -> None:
        """Most often there is something already, and memories know of it."""
        if self.chance.random() < 0.7:
            cache, ttl = self.chance.choice(self.caches), self.chance.choice(_LIVES)
            await self._alone(play.ask(cache, ttl=ttl, freshness=Freshness(grace=1e6)))
            await self.gates.drive([asyncio.create_task(self._settled())])
            for reader in self.chance.sample(self.caches, self.chance.randint(0, len(self.caches))):
                await self._alone(reader.get(play.key))
            self.clock.advance(self.chance.choice((0.001, 0.06)))


class AgePlay(Play):
    """One interleaving."""

    def acts(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on at the same time."""
        expiring = [self._expire(self.chance.choice(self.walk.caches))] if self.chance.random() < 0.5 else []
        return [*super().acts(), *expiring]

    async def compute(self, cache: Cache) -> None:
        """Ask for the key, with whatever patience; the source fails now and then."""
        chance, before = self.chance, self.forgotten
        freshness = Freshness(
            grace=1e6,
            grace_retry=chance.choice((0.001, 10.0)),
            refresh_ahead=chance.choice((None, 0.01)),
            soft_timeout=chance.choice((None, None, 1e-5)),
        )
        mode = Mode.REFRESH if chance.random() < 0.15 else None
        fails, ttl = chance.random() < 0.3, chance.choice(_LIVES)
        value = await self.ask(cache, fails=fails, ttl=ttl, freshness=freshness, mode=mode)
        if cache is self.changer and value is not MISSING:
            assert value[0] >= before, f"{value} was brought to who asked when {before} had been forgotten"

    async def ask(self, cache: Cache, *, fails: bool = False, **how: Any) -> Any:
        """The value, MISSING where the source fails and nothing stands in."""

        async def run() -> list[int]:
            await self.walk.gates.step()
            value = [self.source]
            await self.walk.gates.step()
            if fails:
                raise OSError
            return value

        try:
            return await cache._machine.compute(self.key, run, DOCS, tags=self.tags, own=self.own, **how)
        except OSError:
            return MISSING

    async def _expire(self, cache: Cache) -> None:
        await cache._machine.expire(self.key, DOCS)
