"""Two hosts, three processes, one Redis that any of them may lose: in the end all agree on what was written last."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from hosts import files, out, redis, replay
from rig import Rig

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability

Act: TypeAlias = Callable[[int], Awaitable[None]]

KEYS: Final = tuple("abcdefgh")
STEP: Final = 7.0
"""Seconds from one call to the next: memory asks again, and versions are in the order of the calls."""
WALKS: Final = int(os.environ.get("TOOLCACHE_WALKS", "1"))
"""How many times as many as in the gate: TOOLCACHE_WALKS=100 pytest tests/cache/test_agreement.py"""


class Walk:
    """One walk: calls and outages at random, and what the last call on each key has left."""

    def __init__(self, rig: Rig, tmp_path: Path, seed: int) -> None:
        self.rig = rig
        self.chance = random.Random(seed)
        self.places = (tmp_path / "one", tmp_path / "one", tmp_path / "two")
        self.caches: list[Cache] = []
        self.away = [False, False, False]
        self.now: dict[str, tuple[Any, int, bool, float]] = dict.fromkeys(KEYS, (MISSING, 0, True, 0.0))
        """By key: the value, the process that made it so, whether Redis knew at once, when it ends."""
        self.number = 0
        self.said: list[str] = []

    async def open(self, at: int) -> Cache:
        """Begin a process."""
        cache = await self.rig.open(directory=self.places[at], namespace=f"walk{id(self)}")
        for layer in (cache._parts.redis, cache._parts.files):
            if layer is not None:
                layer.guard.timeout = 60.0  # a slow machine is no fault
        if self.away[at]:
            out(cache)
        return cache

    def acts(self) -> list[Act]:
        """What may happen; the more often it stands here, the more likely."""
        acts = [self.set] * 6 + [self.delete] * 2 + [self.look] * 6 + [self.lose, self.recover] * 2
        return [*acts, self.reopen, self.compact, self.compact, self.wait, self.clear, self.compute, self.again]

    def judge(self, at: int, key: str, got: Any, *, last: bool = False) -> None:
        """It is what was written last, if the process must know."""
        if last or self.known(at, key):
            assert got == self.living(key), (key, at, self.said)

    def wrote(self, key: str, value: Any, at: int, gone_at: float) -> None:
        """Take note of it."""
        self.now[key] = (value, at, not self.away[at], gone_at)
        self.said.append(f"{key}={value}")

    async def run(self, steps: int) -> None:
        """Walk, and look at the end."""
        self.caches = [await self.open(at) for at in range(3)]
        for cache in self.caches:
            await cache.get("meet")
        acts = self.acts()
        for _ in range(steps):
            self.rig.clock.advance(STEP)
            at = self.chance.randrange(3)
            act = self.chance.choice(acts)
            self.said.append(f"{act.__name__} by {at}")
            await act(at)
            await asyncio.gather(*(t for c in self.caches for t in c._machine.homes.here()._tasks))
        for at in range(3):
            await self.recover(at)
        self.rig.clock.advance(STEP)
        fresh = [await self.open(at) for at in range(3)]
        for at, cache in enumerate((*self.caches, *fresh)):
            for key in KEYS:
                self.judge(at % 3, key, await cache.get(key, MISSING), last=True)

    def living(self, key: str) -> Any:
        """What is there."""
        value, _, _, gone_at = self.now[key]
        return value if self.rig.clock.time() < gone_at else MISSING

    async def set(self, at: int) -> None:
        """A value, for a while or for long."""
        key, ttl = self.chance.choice(KEYS), self.chance.choice([60.0, 1_000.0, 80_000.0, 10_000_000.0])
        self.number += 1
        gone_at = self.rig.clock.time() + ttl
        durability = await self.caches[at].set(key, self.number, ttl=ttl)
        assert durability is (Durability.FILE if self.away[at] else Durability.REDIS)
        self.wrote(key, self.number, at, gone_at)

    async def again(self, at: int) -> None:
        """Several values at once."""
        for _ in range(3):
            await self.set(at)
            self.rig.clock.advance(0.01)

    async def compute(self, at: int) -> None:
        """A value, if none is there; a host that cannot ask may compute what is."""
        key = self.chance.choice(KEYS)
        if self.known(at, key):
            self.number += 1
            before, gone_at = self.living(key), self.rig.clock.time() + 1_000
            got = await self.caches[at].get_or_set(key, lambda: self.number, ttl=1_000)
            if got == self.number:
                assert before is MISSING, self.said
                self.wrote(key, got, at, gone_at)
            else:
                assert got == before, self.said

    async def delete(self, at: int) -> None:
        """Whatever it was, it is gone."""
        key = self.chance.choice(KEYS)
        await self.caches[at].delete(key)
        self.wrote(key, MISSING, at, 0.0)

    async def clear(self, at: int) -> None:
        """All of it."""
        await self.caches[at].clear()
        for key in KEYS:
            self.wrote(key, MISSING, at, 0.0)

    def known(self, at: int, key: str) -> bool:
        """Whether this process must know: it can ask Redis, which was told; or files, where its host has kept the call."""
        value, by, told, _ = self.now[key]
        here = self.places[at] == self.places[by]
        return (told and not self.away[at]) or (here and (value is MISSING or not told))

    async def look(self, at: int) -> None:
        """What a read answers."""
        for key in KEYS:
            self.judge(at, key, await self.caches[at].get(key, MISSING))

    async def lose(self, at: int) -> None:
        """Redis cannot be reached from here."""
        self.away[at] = True
        out(self.caches[at])

    async def recover(self, at: int) -> None:
        """It can, and is told what this host has written."""
        self.away[at] = False
        cache = self.caches[at]
        redis(cache).heal()
        self.rig.clock.advance(61)
        await cache.get("probe")
        await replay(self.rig, cache)
        assert cache._machine.journal.pending == 0, self.said
        for key, (value, by, told, gone_at) in self.now.items():
            self.now[key] = (value, by, told or self.places[by] == self.places[at], gone_at)

    async def reopen(self, at: int) -> None:
        """The process ends, another begins."""
        await self.caches[at].aclose()
        self.caches[at] = await self.open(at)

    async def compact(self, at: int) -> None:
        """The files are tidied."""
        self.rig.clock.advance(self.chance.choice([0.0, 100.0, 3_700.0]))
        store = files(self.caches[at])
        await store.open()
        store._shared.writer._seal()
        await store.compact()

    async def wait(self, at: int) -> None:
        """Hours pass."""
        self.rig.clock.advance(self.chance.choice([100.0, 7_200.0]))


@pytest.mark.parametrize("seed", range(4 * WALKS))
async def test_all_agree_in_the_end(hosts: Rig, tmp_path: Path, seed: int) -> None:
    """I3, I4, I5, OR-05, BUG-59, BUG-61: a process that must know answers right at each step, all of them in the end."""
    await Walk(hosts, tmp_path, seed).run(80)


class LossyWalk(Walk):
    """One on which Redis forgets, too: it begins anew, empty or with what it held some time ago.

    What it had alone may be gone, or be older again. What had been deleted is not back: nowhere on the host that deleted
    it, and nowhere at all once that has told Redis.
    """

    def __init__(self, rig: Rig, tmp_path: Path, seed: int) -> None:
        super().__init__(rig, tmp_path, seed)
        self.since: dict[str, dict[Any, float]] = {key: {} for key in KEYS}
        """By key: what was set since it was last deleted, and when that ends."""
        self.ended: dict[str, tuple[int, bool]] = dict.fromkeys(KEYS, (0, True))
        """By key: who deleted it last, and whether Redis knows."""
        self.snapshot = self.rig.clock.time()

    def acts(self) -> list[Act]:
        """What may happen."""
        return [*super().acts(), self.forget, self.forget, self.save, self.save]

    def judge(self, at: int, key: str, got: Any, *, last: bool = False) -> None:
        """Nothing, or what was set since it was deleted."""
        if got is MISSING or not (last or self.knows_the_end(at, key)):
            return
        assert self.rig.clock.time() < self.since[key].get(got, 0.0), (key, at, got, "; ".join(self.said))

    def knows_the_end(self, at: int, key: str) -> bool:
        """Whether this process must know that what was there before is gone."""
        by, told = self.ended[key]
        return self.places[at] == self.places[by] or (told and not self.away[at])

    def wrote(self, key: str, value: Any, at: int, gone_at: float) -> None:
        """Take note of it."""
        super().wrote(key, value, at, gone_at)
        if value is MISSING:
            self.since[key].clear()
            self.ended[key] = (at, not self.away[at])
        else:
            self.since[key][value] = gone_at

    async def compute(self, at: int) -> None:
        """A value, if none is there."""
        key = self.chance.choice(KEYS)
        self.number += 1
        gone_at = self.rig.clock.time() + 1_000
        got = await self.caches[at].get_or_set(key, lambda: self.number, ttl=1_000)
        if got == self.number:
            self.wrote(key, got, at, gone_at)
        else:
            self.judge(at, key, got)

    async def recover(self, at: int) -> None:
        """Redis is told, also of what it has forgotten."""
        await super().recover(at)
        for key, (by, told) in self.ended.items():
            self.ended[key] = (by, told or self.places[by] == self.places[at])

    async def save(self, _: int) -> None:
        """What Redis holds is kept."""
        assert self.rig.server is not None
        self.rig.server.command("SAVE")
        self.snapshot = self.rig.clock.time()

    async def forget(self, _: int) -> None:
        """Redis dies; what had been kept less than a day ago is there again."""
        server = self.rig.server
        assert server is not None
        await asyncio.to_thread(server.stop)
        if self.rig.clock.time() - self.snapshot > 80_000 or self.chance.random() < 0.3:
            (server.directory / "dump.rdb").unlink(missing_ok=True)
        await asyncio.to_thread(server.start)
        self.rig.clock.advance(61)
        for cache in self.caches:
            await cache.get("probe")
        self.ended = {key: (by, False) for key, (by, _) in self.ended.items()}
        self.now = {key: (value, by, False, gone_at) for key, (value, by, _, gone_at) in self.now.items()}


@pytest.mark.parametrize("seed", range(3 * WALKS))
async def test_what_was_deleted_is_not_back_whatever_redis_forgets(hosts: Rig, tmp_path: Path, seed: int) -> None:
    """G3, I4, OR-07, OR-21: also where it forgets that it was told."""
    await LossyWalk(hosts, tmp_path, seed).run(60)
