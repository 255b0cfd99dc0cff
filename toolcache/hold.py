"""What one attempt at a request holds in the stores, and keeps from lapsing."""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Final

from toolcache.home import Homes
from toolcache.ledger import Answer, Ledger, Place
from toolcache.record import Attempt, Verdict
from toolcache.swaps import NOTHING, UNKNOWN, Standing

_PAUSES: Final = (0.05, 1.0)
"""Seconds until one looks whether something has changed untold, first and longest."""

_GROWTH: Final = 1.5
_BEATS: Final = 3
"""How often a lease is renewed within its time."""


class Hold:
    """The claims of one attempt.

    Args:
        ledger: the records.
        name: the store key of the request.
        attempt: who claims.
        lease: seconds.
        homes: whose tasks renew.
        on_lost: told of each place where the claim is another's by now.
    """

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        attempt: Attempt,
        *,
        lease: float,
        homes: Homes,
        on_lost: Callable[[Place], None],
    ) -> None:
        self.name = name
        self.attempt = attempt
        self._ledger = ledger
        self._lease = lease
        self._homes = homes
        self._on_lost = on_lost
        self._standings: dict[Place, Standing] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._pause = _PAUSES[0]

    def standing(self, place: Place) -> Standing:
        """What is believed to stand there."""
        return self._standings.get(place, NOTHING)

    async def take(self, place: Place) -> Answer | None:
        """Claim it in a store; None if that cannot say."""
        await self._ledger.heed(place)
        self.attempt.floor = max(self.attempt.floor, self._ledger.floor())
        refused = place.layer is not None and place.layer.refuses(mutation=True)
        # It may be ours although nobody says so, or this is cancelled.
        self._standings[place] = UNKNOWN
        claim = partial(self.attempt.claim, lease=self._lease)
        answer = await self._ledger.settle(place, self.name, claim)
        if answer is not None:
            self._standings[place] = answer.standing
        elif refused:
            del self._standings[place]
        return answer

    async def give_back(self) -> None:
        """Let the next one have what is held.

        Where Redis cannot be told, the claim of the host is left to lapse: whoever takes that over, takes over in Redis too.
        """
        await self.end()
        for place in reversed(self._ledger.places):
            standing = self._standings.pop(place, None)
            if standing is None:
                continue
            answer = await self._ledger.settle(place, self.name, self.attempt.abandon, standing)
            if answer is None and place is self._ledger.redis:
                return

    async def settle(self, *, keeping: bool = False) -> None:
        """It is answered: what is claimed in memory makes room, unless the answer stands there; elsewhere it does by itself."""
        await self.end()
        standing = self._standings.get(self._ledger.memory)
        self._standings.clear()
        if standing is not None and not keeping:
            await self._ledger.settle(self._ledger.memory, self.name, self.attempt.abandon, standing)

    async def wait(self, place: Place, standing: Standing) -> None:
        """Wait until another's claim may have ended, or for a while, if nobody tells."""
        if place.store.hears:
            self._pause = _PAUSES[1]
        pause = min(self._pause * random.uniform(0.75, 1.25), max(standing.left, 0.0))  # noqa: S311 - jitter
        self._pause = min(self._pause * _GROWTH, _PAUSES[1])
        try:
            async with asyncio.timeout(pause):
                await place.store.until_ended(self.name, standing)
        except TimeoutError:
            pass
        except Exception:  # noqa: BLE001 - what is wrong with the store, the next claim tells
            await asyncio.sleep(pause)

    def begin(self) -> None:
        """Keep what is held from lapsing, until ``end``. Most runs are over before it is time, and cost no task."""
        self._timer = asyncio.get_running_loop().call_later(self._lease / _BEATS, self._due)

    async def end(self) -> None:
        """Renew no more; what is being renewed has been, after that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._beating is not None and not self._beating.done():
            await asyncio.wait([self._beating])

    def _due(self) -> None:
        self.begin()
        if self._beating is None or self._beating.done():
            self._beating = self._homes.here().own(self._beat())

    async def _beat(self) -> None:
        """Renew each claim; also where a store has lost it, or was not there when it was taken."""
        renew = partial(self.attempt.renew, lease=self._lease)
        for place in self._ledger.places:
            held = place in self._standings
            answer = await self._ledger.settle(place, self.name, renew, self.standing(place))
            if answer is None:
                continue
            if answer.verdict is Verdict.OURS:
                self._standings[place] = answer.standing
            elif held:
                del self._standings[place]
                self._on_lost(place)
