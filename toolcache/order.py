"""Order: who changes a key comes after those who came before, however long their values take to be made."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from threading import Lock

from toolcache.forks import watch


class _Turn:
    """One caller's turn with some places: ``ahead`` counts those it waits for, ``behind`` has those that wait for it."""

    __slots__ = ("ahead", "behind", "called", "left", "places")

    def __init__(self, places: Sequence[str]) -> None:
        self.places = places
        self.ahead = 0
        self.behind: list[_Turn] = []
        self.left = False
        self.called: Future[None] = Future()
        self.called.set_running_or_notify_cancel()  # who waits for it and is cancelled does not cancel it


class Order:
    """The turns of one cache, in whatever loops.

    Attributes:
        last: by place, the last of those who have come and are not done.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.last: dict[str, _Turn] = {}
        watch(self)

    def forked(self) -> None:
        """Whoever had a turn, it was in the parent."""
        self._lock = Lock()
        self.last.clear()

    @asynccontextmanager
    async def turn(self, places: Sequence[str]) -> AsyncIterator[None]:
        """A turn with these places, behind those who have come before with any of them."""
        turn = _Turn(places)
        with self._lock:
            ahead = {self.last[place] for place in places if place in self.last}
            turn.ahead = len(ahead)
            for other in ahead:
                other.behind.append(turn)
            self.last.update(dict.fromkeys(places, turn))
        try:
            if ahead:
                await asyncio.wrap_future(turn.called)
            yield
        finally:
            self._leave(turn)

    def _leave(self, turn: _Turn) -> None:
        """Call who comes next. A turn that somebody leaves before it has come still holds its place in the order."""
        called: list[_Turn] = []
        with self._lock:
            turn.left = True
            ended = [] if turn.ahead else [turn]
            while ended:
                one = ended.pop()
                for place in one.places:
                    if self.last.get(place) is one:
                        del self.last[place]
                for other in one.behind:
                    other.ahead -= 1
                    if not other.ahead:
                        (ended if other.left else called).append(other)
        for other in called:
            other.called.set_result(None)
