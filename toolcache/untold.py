"""Answers that no store took when there was something to tell: they are told as soon as one does."""

from typing import Final

from toolcache.answers import Answers
from toolcache.entry import Durability
from toolcache.hold import Hold
from toolcache.home import Homes
from toolcache.loops import PerLoop
from toolcache.protocols import Clock
from toolcache.record import Record

_PAUSES: Final = (0.5, 5.0)
"""Seconds between two attempts, first and longest."""


class Untold:
    """What memory alone knows. Its claims are held until it is told: who asks elsewhere waits, and does not run it again.

    Args:
        answers: commits them.
        homes: whose attendant tells.
        clock: how long to wait, and until when an answer is good.
    """

    def __init__(self, answers: Answers, homes: Homes, clock: Clock) -> None:
        self._answers = answers
        self._homes = homes
        self._clock = clock
        self._untold: PerLoop[dict[Hold, Record]] = PerLoop(dict)

    def add(self, hold: Hold, record: Record) -> None:
        """Tell it later."""
        hold.begin()
        self._untold.here()[hold] = record
        self._homes.here().attend(self._tell)

    async def _tell(self) -> None:
        untold, pause = self._untold.here(), _PAUSES[0]
        try:
            while untold:
                await self._clock.sleep(pause)
                pause = min(2 * pause, _PAUSES[1])
                for hold, record in tuple(untold.items()):
                    if not await self._told(hold, record):
                        hold.begin()
                        continue
                    del untold[hold]
                    await hold.settle(keeping=True)
        finally:  # closed: nobody holds it any more
            left = tuple(untold)
            untold.clear()
            for hold in left:
                await hold.settle(keeping=True)

    async def _told(self, hold: Hold, record: Record) -> bool:
        """Whether there is nothing more to tell of it."""
        if self._clock.time() >= record.expires_at:
            return True
        committed = await self._answers.commit(hold.name, hold.attempt, record, hold.leave, again=True)
        return committed.record is None or committed.durability is not Durability.MEMORY
