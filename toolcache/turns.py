"""Turns: of the processes that lack one value, one computes it, the others wait.

    look → claim → look once more → compute → store → release

Each computation of a process stands for all its callers. Claims are taken from near to far: on the files of the host, then on
Redis, so that of each host one process waits there. Whoever finds another's claim waits until it is told of its end, looks
whether the value is there, and claims next if it is not. This saves work, and promises nothing: where no store can say, one
computes, and what may be stored is decided by versions alone.
"""

import asyncio
import os
from contextlib import suppress
from typing import Final

from toolcache.claim import Claimant, Verdict
from toolcache.forks import watch
from toolcache.home import Homes
from toolcache.keys.text import store_key
from toolcache.layer import Layer
from toolcache.parts import Due, Parts
from toolcache.swaps import NOTHING, UNKNOWN, Move, Standing
from toolcache.waiting import Waiting

_PAUSES: Final = (0.05, 1.0)
"""Seconds between two attempts to tell a store that a turn is over, first and longest."""

_REMEMBERED: Final = 1024
"""Turns that a store is to be told of; what they claimed and it is not told of, lapses."""


class Turns:
    """The turns of one cache.

    Args:
        parts: the cache's parts.
        homes: whose tasks renew and release.
    """

    def __init__(self, parts: Parts, homes: Homes) -> None:
        self.parts = parts
        self.homes = homes
        layers = (parts.files, parts.redis) if parts.enabled else ()
        self.layers = [layer for layer in layers if layer is not None and layer.claims is not None]
        self.life = object()
        self.over: dict[bytes, Turn] = {}
        """Those that have ended and whose claims may stand yet, by owner: nobody here waits for them."""
        watch(self)

    def forked(self) -> None:
        """The turns of the parent go on there: what a child has of them ends nothing."""
        self.life = object()
        self.over.clear()

    def turn(self, key: str, due: Due) -> "Turn":
        """One computation's.

        Args:
            key: the place of the value.
            due: what the call has left to spend on the layers.
        """
        if self.over:
            self.homes.here().attend(self._tell)
        return Turn(self, store_key("c", self.parts.namespace, key), due)

    def let_go(self, turn: "Turn", after: asyncio.Task[None] | None) -> None:
        """End its claims in a task that nobody waits for; where the loop is ending, whoever comes next on another one does."""
        if _ending():
            self._owe(turn)
            return

        def left(task: asyncio.Task[None]) -> None:
            if task.cancelled():  # an interrupt has ended the loop
                self._owe(turn)

        self.homes.here().own(self._end(turn, after)).add_done_callback(left)

    async def _end(self, turn: "Turn", after: asyncio.Task[None] | None) -> None:
        if after is not None:
            await asyncio.wait([after])
        self._owe(turn)
        if await turn.release():
            self.over.pop(turn.owner, None)
        elif not self.homes.closed:
            self.homes.here().attend(self._tell)

    def _owe(self, turn: "Turn") -> None:
        while len(self.over) >= _REMEMBERED:
            self.over.pop(next(iter(self.over)), None)
        self.over[turn.owner] = turn

    async def _tell(self) -> None:
        """Have the stores know of what has ended while they did not answer: other processes wait for it."""
        pause = _PAUSES[0]
        while True:
            for owner, turn in tuple(self.over.items()):
                if await turn.release():
                    self.over.pop(owner, None)
            if not self.over:
                return
            await self.parts.clock.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])


class Turn:
    """One computation's turn.

    Attributes:
        due: what its call has left to spend on the layers; waiting for others is not charged.
        owner: who claims.

    Examples:
        >>> while await turn.ahead():
        ...     if (value := await look(turn.due)) is not None:
        ...         return value
        >>> return await compute()
    """

    def __init__(self, turns: Turns, key: str, due: Due) -> None:
        self.due = due
        self._turns = turns
        self._parts = parts = turns.parts
        self._key = key
        self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self._now = parts.clock.monotonic
        self._patient_until = self._now() + parts.lock_timeout
        self._waiting = Waiting()
        self.owner = os.urandom(16)
        self._claimant = Claimant(
            key, self.owner, parts.hybrid.next(), now=parts.clock.time(), lease=parts.lease, over=turns.over
        )
        self._held: dict[Layer, Standing] = {}
        self._renewal: asyncio.TimerHandle | None = None
        self._come = self._over = False
        self._life = turns.life

    async def ahead(self) -> bool:
        """Wait; True when the value may be there by now, False when it is for this one to compute it."""
        for layer in () if self._come else self._turns.layers:
            while layer not in self._held and (standing := await self._claim(layer)) is not None:
                if self._over or self._now() >= self._patient_until:
                    return False
                if await self._told(layer, standing):
                    return True
        before, self._come = self._come, True
        if self._over:  # a detached one's, taken meanwhile
            self.end()
        # Who had the claim until a moment ago may have left the value.
        return not before and any(standing is not UNKNOWN for standing in self._held.values())

    def end(self, after: asyncio.Task[None] | None = None) -> None:
        """Let the next one have its turn, once what was computed is stored; by a task for which nobody waits."""
        self._over = True
        if self._renewal is not None and self._loop is _running():
            self._renewal.cancel()
        self._renewal = self._loop = None  # it may outlive both
        if self._held and self._life is self._turns.life:
            self._turns.let_go(self, after)

    async def release(self) -> bool:
        """End what is held; whether all stores were told. One that is feeling its way back is left to those who wait."""
        for layer, standing in reversed(tuple(self._held.items())):
            if (
                not layer.guard.probing(mutation=True)
                and await layer.settle(self._key, self._claimant.release, standing) is not None
            ):
                self._held.pop(layer, None)
        return not self._held

    async def _claim(self, layer: Layer) -> Standing | None:
        """What stands in the way; None if the claim is ours, or nobody can say."""
        if layer.guard.refuses(mutation=True):
            return None
        self._held[layer] = UNKNOWN  # it may be ours although nobody says so, or this is cancelled
        answer = await layer.settle(self._key, self._claimant.claim, NOTHING, until=self._until(layer))
        if answer is None:
            return None
        verdict, standing = answer
        if verdict is Verdict.BUSY:
            self._held.pop(layer, None)
            return standing
        self._held[layer] = standing
        if self._renewal is None:
            self._renew_later()
        return None

    async def _told(self, layer: Layer, standing: Standing) -> bool:
        """Wait for the end of another's claim; False if it was not told and one might look."""
        store, begun = layer.claims, self._now()
        at_most = self._patient_until - begun
        told = store is not None and await self._waiting.until_ended(store, self._key, standing, at_most=at_most)
        waited = self._now() - begun
        self.due = Due(self.due.redis + waited, self.due.files + waited)
        return told

    def _until(self, layer: Layer) -> float:
        return self.due.redis if layer is self._parts.redis else self.due.files

    def _renew_later(self) -> None:
        """Most computations are over before it is time, and cost no task."""
        own = self._turns.homes.here().own
        if self._loop is not None:
            self._renewal = self._loop.call_later(self._parts.lease / 3, lambda: own(self._renew()))

    async def _renew(self) -> None:
        """Keep what is held from lapsing."""
        for layer, standing in tuple(self._held.items()):
            answer = None if standing is UNKNOWN else await layer.settle(self._key, self._prolong, standing)
            if answer is not None and not self._over:  # another's by now: both compute, and the newer one is kept
                self._held[layer] = answer[1]
        if not self._over:
            self._renew_later()

    def _prolong(self, standing: Standing) -> Move[Verdict] | Verdict:
        return Verdict.OVER if self._over else self._claimant.renew(standing)


def _running() -> asyncio.AbstractEventLoop | None:
    with suppress(RuntimeError):
        return asyncio.get_running_loop()
    return None


def _ending() -> bool:
    """Whether this is among the last that happens on a loop: all its tasks are being cancelled, or it is gone already."""
    if (loop := _running()) is None:
        return True
    me = asyncio.current_task()
    return me is not None and me.cancelling() > 0 and all(task.cancelling() for task in asyncio.all_tasks(loop))
