"""Lists of keys, page after page: a scan goes on where the page before ended, and is given up when nobody asks any more.

A cursor stands for one page of one scan, known to this server alone: it cannot be guessed or changed, and the same one may be
asked for again, as after an answer that was lost.
"""

import asyncio
import secrets
from collections import OrderedDict
from typing import Final, NamedTuple

from toolcache.catalogue import KeyInfo, Scan
from toolcache.protocols import Clock
from toolcache.web.problems import Problem

MOST: Final = 16
"""Scans under way; the one that was not asked for longest makes room."""
KEPT: Final = 60.0
"""Seconds without a question after which a scan is given up."""
TURN: Final = 2.0
"""Seconds that a page may take to be filled; then what was found is told."""


class Page(NamedTuple):
    """Some entries of a list.

    Attributes:
        found: them.
        cursor: of the next page; empty at the end.
        complete: whether every layer could be listed, so far.
    """

    found: list[KeyInfo]
    cursor: str
    complete: bool


_NONE: Final[tuple[str | None, Page]] = (None, Page([], "", complete=True))


class Listing:
    """One scan.

    Args:
        owner: who asked for it, and how; nobody else's cursor is it.
        found: what is scanned.
    """

    def __init__(self, owner: tuple[str, str], found: Scan[KeyInfo]) -> None:
        self.owner = owner
        self.asked_at = 0.0
        self._found = found
        self._lock = asyncio.Lock()
        self._filling: asyncio.Task[bool] | None = None
        self._ready: list[KeyInfo] = []
        self._next: str | None = ""
        self._last = _NONE

    async def page(self, cursor: str, limit: int) -> Page | None:
        """Some of the entries; None where that page is past.

        Args:
            cursor: of this page, or of the one before; empty for the first.
            limit: entries of a page.
        """
        async with self._lock:
            if cursor == self._last[0]:
                return self._last[1]
            if cursor != self._next:
                return None
            self._next = None  # if this fails: what has failed tells nothing more, as if it were at its end
            ended = await self._fill(limit)
            some, self._ready = self._ready[:limit], self._ready[limit:]
            following = "" if ended and not self._ready else secrets.token_urlsafe(16)
            page = Page(some, following, self._found.complete)
            self._last, self._next = (cursor, page), following or None
            return page

    async def _fill(self, limit: int) -> bool:
        """Have so many ready, if there are as many, and it takes no longer than a turn; whether that is all."""
        if self._filling is None:
            self._filling = asyncio.create_task(self._take(limit))
        await asyncio.wait({self._filling}, timeout=TURN)
        if not self._filling.done():
            return False
        task, self._filling = self._filling, None
        return task.result()

    async def _take(self, limit: int) -> bool:
        while len(self._ready) < limit:
            try:
                one = await anext(self._found)  # first: a page may be taken meanwhile, and another list begun
            except StopAsyncIteration:
                return True
            self._ready.append(one)
        return False

    async def aclose(self) -> None:
        """Give it up."""
        async with self._lock:  # who is being answered gets the answer
            if self._filling is not None:
                self._filling.cancel()
                await asyncio.wait({self._filling})
            self._next, self._last = None, _NONE
            await self._found.aclose()


class Listings:
    """The scans under way.

    Args:
        clock: tells how long nobody asked for one.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: OrderedDict[str, Listing] = OrderedDict()

    async def begin(self, listing: Listing, limit: int) -> Page:
        """The first page."""
        page = await listing.page("", limit)
        assert page is not None  # noqa: S101 - nobody has asked for another
        if not page.cursor:
            await listing.aclose()
            return page
        name = secrets.token_urlsafe(16)
        listing.asked_at = self._clock.monotonic()
        self._open[name] = listing
        await self._give_up()
        return page._replace(cursor=f"{name}.{page.cursor}")

    async def go_on(self, cursor: str, owner: tuple[str, str], limit: int) -> Page:
        """The page of a cursor.

        Raises:
            Problem: there is no such page any more.
        """
        await self._give_up()
        name, _, at = cursor.partition(".")
        listing = self._open.get(name)
        page = None
        if listing is not None and listing.owner == owner and at:
            listing.asked_at = self._clock.monotonic()
            self._open.move_to_end(name)
            page = await listing.page(at, limit)
        if page is None:
            raise Problem(410, "that cursor has ended: begin anew without one", at="query.cursor")
        return page._replace(cursor=f"{name}.{page.cursor}") if page.cursor else page

    async def _give_up(self) -> None:
        """Those that nobody has asked for, and those that are too many."""
        now = self._clock.monotonic()
        for name, listing in list(self._open.items()):
            if len(self._open) > MOST or now - listing.asked_at > KEPT:
                self._open.pop(name, None)
                await listing.aclose()

    async def aclose(self) -> None:
        """Give up all."""
        while self._open:
            await self._open.popitem()[1].aclose()
