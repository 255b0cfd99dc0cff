"""Requests that are to run once, whatever else goes on: asked for over and over, by several callers at once."""

import asyncio
import random
import time
from collections import Counter
from typing import Final

from faults.stage import Stage

from toolcache.errors import StoresUnavailableError

_OFTEN: Final = 30
"""Requests from which a caller chooses; now and then there is a new one."""
_NEW: Final = 0.2
_PAUSE: Final = 0.03


class Errands:
    """Requests of the cache that is tried.

    Args:
        stage: where they are asked for.
        safe: whether the files can be relied on: then each runs once, and has one answer, whatever Redis does.
    """

    def __init__(self, stage: Stage, *, safe: bool) -> None:
        self._stage = stage
        self._safe = safe
        self._chance = random.Random(f"errands/{stage.seed}")
        self._known = 1
        self._ran: Counter[str] = Counter()
        self._answers: dict[str, int] = {}
        self.counts: Counter[str] = Counter()

    async def run(self, until: float) -> None:
        """Ask until then, and for each once more."""
        chance = self._chance
        while time.monotonic() < until:
            self._known += chance.random() < _NEW
            name = f"errand {self._known - min(self._known, chance.randint(1, _OFTEN))}"
            await asyncio.gather(*(self.ask(name) for _ in range(chance.randint(1, 3))))
            await asyncio.sleep(chance.expovariate(1 / _PAUSE))

    async def again(self) -> None:
        """Ask for each once more."""
        for number in range(self._known):
            await self.ask(f"errand {number}")

    async def ask(self, name: str) -> None:
        """Ask, and judge."""

        async def act() -> int:
            self._ran[name] += 1
            if self._safe and self._ran[name] > 1:
                self._stage.oracle.violated(f"G4: {name} ran {self._ran[name]} times")
            await asyncio.sleep(0.02)
            return self._ran[name]

        try:
            answer = await self._stage.cache.once(name, act)
        except StoresUnavailableError:
            self.counts["refused"] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._stage.oracle.violated(f"I1: {name} raised {error!r}")
        else:
            self.counts["answered"] += 1
            if self._answers.setdefault(name, answer) != answer and self._safe:
                self._stage.oracle.violated(f"G6: {name} was {self._answers[name]}, and is {answer}")
