"""Waiting for the end of another's claim: told of it, or looking now and then, less and less often."""

import asyncio
import math
from typing import Final

from toolcache.swaps import Standing, SupportsClaim

_PAUSES: Final = (0.05, 1.0)
"""Seconds until one looks whether a claim has ended untold, first and longest."""

_GROWTH: Final = 1.5


class Waiting:
    """How one waits for a key that others claim; each time for longer."""

    def __init__(self) -> None:
        self._pause = _PAUSES[0]

    async def until_ended(
        self, store: SupportsClaim, key: str, standing: Standing, *, at_most: float = math.inf
    ) -> bool:
        """Wait until another's claim has ended, or for a while; False if that was not told, and one might look.

        Args:
            store: where it stands.
            key: the store key.
            standing: the claim as it was seen.
            at_most: seconds.
        """
        from random import uniform

        if store.hears:
            self._pause = _PAUSES[1]
        jittered = self._pause * uniform(0.75, 1.25)  # noqa: S311 - jitter
        pause = max(0.0, min(jittered, standing.left, at_most))
        self._pause = min(self._pause * _GROWTH, _PAUSES[1])
        try:
            async with asyncio.timeout(pause):
                await store.until_ended(key, standing)
        except TimeoutError:
            return False
        except Exception:  # noqa: BLE001 - what is wrong with the store, the next claim tells
            await asyncio.sleep(pause)
            return False
        return True
