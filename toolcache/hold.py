"""What one attempt at a request holds in the stores, and keeps from lapsing."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from toolcache.home import Homes
from toolcache.ledger import Answer, Ledger, Place
from toolcache.record import Attempt, Put, Seen, Verdict
from toolcache.swaps import NOTHING, UNKNOWN, Standing
from toolcache.waiting import Waiting

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
        self._loop = asyncio.get_running_loop()
        self._held: set[Place] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._beating: dict[Place, asyncio.Task[None]] = {}
        self.lost = False
        """Whether another has taken it over somewhere."""
        self._waiting = Waiting()

    async def take(self, place: Place) -> Answer | None:
        """Claim it in a store; None if that cannot say."""
        await self._ledger.heed(place)
        refused = place.refuses
        # It may be ours although nobody says so, or this is cancelled.
        self._standings[place] = UNKNOWN
        answer = await self._ledger.settle(place, self.name, self._claim)
        if answer is not None:
            self._standings[place] = answer.standing
            if answer.verdict is Verdict.OURS:
                self._keep(place)
        elif refused:
            del self._standings[place]
        return answer

    def _claim(self, seen: Seen) -> Put | Verdict:
        """Above all that is known by now to have been cleared: what is claimed beneath it would be run in vain."""
        self.attempt.heed(self._ledger.floor())
        return self.attempt.claim(seen, lease=self._lease)

    async def give_back(self) -> None:
        """Let the next one have what is held.

        Where Redis cannot be told, it is left to lapse there; on the host it is said who has ended, and need not be waited for.
        """
        await self.end()
        self.lost = False
        told = True
        for place in reversed(self._ledger.places):
            standing = self._standings.pop(place, None)
            if standing is None:
                continue
            abandon = partial(self.attempt.abandon, told=told, lease=self._lease)
            answer = await self._ledger.settle(place, self.name, abandon, standing)
            told = told and (answer is not None or place is not self._ledger.redis)
            if answer is None:
                self.over()

    def over(self) -> None:
        """It has ended, and a store where it may still stand was not told: at least nobody here is to wait for its lease."""
        self._ledger.end(self.attempt.owner)

    async def settle(self, *, keeping: bool = False) -> None:
        """It is answered: what is claimed in memory makes room, unless the answer stands there; elsewhere it does by itself."""
        await self.end()
        standing = self._standings.get(self._ledger.memory)
        self._standings.clear()
        if standing is not None and not keeping:
            abandon = partial(self.attempt.abandon, told=True, lease=self._lease)
            await self._ledger.settle(self._ledger.memory, self.name, abandon, standing)

    async def wait(self, place: Place, standing: Standing) -> None:
        """Wait until another's claim may have ended, or for a while, if nobody tells."""
        await self._waiting.until_ended(place.store, self.name, standing)

    def begin(self) -> None:
        """It runs: claim it from now on also where that could not be said before."""
        for place in self._ledger.places:
            self._keep(place)

    def hurry(self) -> None:
        """Renew now, whatever loop this is said on."""
        if self._timer is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._due)

    @property
    def stood_still(self) -> bool:
        """Whether the loop has been kept from renewing it for a whole lease, as by a run that does not await."""
        timer = self._timer
        return timer is not None and self._loop.time() > timer.when() + self._lease * (1 - 1 / _BEATS)

    async def leave(self, place: Place) -> Standing:
        """Renew it there no more; what is believed to stand there, after what was under way."""
        self._held.discard(place)
        if (beating := self._beating.pop(place, None)) is not None and not beating.done():
            if place is self._ledger.memory:
                beating.cancel()  # nobody has to be asked what has come of it
            else:
                await asyncio.wait([beating])
        return self._standings.get(place, NOTHING)

    async def end(self) -> None:
        """Renew no more; what is being renewed has been, after that."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for place in self._ledger.places:
            await self.leave(place)

    def _keep(self, place: Place) -> None:
        """Keep it from lapsing there. Most runs are over before it is time, and cost no task."""
        self._held.add(place)
        if self._timer is None:
            self._timer = self._loop.call_later(self._lease / _BEATS, self._due)

    def _due(self) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = self._loop.call_later(self._lease / _BEATS, self._due)
        # Each by itself: while one store keeps it waiting, it must not lapse in another.
        for place in self._ledger.places:
            if place in self._held and ((beating := self._beating.get(place)) is None or beating.done()):
                self._beating[place] = self._homes.here().own(self._beat(place))

    async def _beat(self, place: Place) -> None:
        """Renew a claim; also where a store has lost it, or was not there when it was taken."""
        held = self._standings.get(place, UNKNOWN) is not UNKNOWN
        renew = partial(self.attempt.renew, lease=self._lease)
        answer = await self._ledger.settle(place, self.name, renew, self._standings.get(place, NOTHING))
        if answer is None:
            return
        if answer.verdict is Verdict.OURS:
            self._standings[place] = answer.standing
        elif held and not (answer.record and answer.record.answers and answer.record.owner == self.attempt.owner):
            self.lost = True
            del self._standings[place]
            self._on_lost(place)
