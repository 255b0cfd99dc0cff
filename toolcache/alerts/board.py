"""Where the sheet of a namespace's alerts stands, and who may write on it.

It is one record in the most widely shared store that answers: Redis, else the files of this host, else this process. Whoever
puts it there leases it, and judges the alerts until the lease ends. The same record is the lease and what is known, so
whoever takes it over knows what fires; and whoever has lost it finds another record there, and has told nothing.

Where Redis is configured and does not answer, each host goes on by itself, on its files: from what it last read in Redis. When
Redis is back, what fires there is carried over, so that it is told to be over once. What is told while Redis works is noted on
the files, too: who begins in an outage is to know it. Without files nobody can say who else is there: whoever held the lease
last goes on, or who has never been told that another does.
"""

import os
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from msgpack import packb

from toolcache.alerts.sheet import BLANK, Sheet, body_of, merged, sheet_of
from toolcache.blob import CLAIM, CorruptBlobError
from toolcache.codec.msgpack import MsgpackCodec
from toolcache.encoded import Encoded
from toolcache.events import BlobRejected
from toolcache.forks import watch
from toolcache.keys.text import key_digest, store_key
from toolcache.layer import Layer
from toolcache.memory.claims import MemoryClaims
from toolcache.parts import Parts
from toolcache.swaps import UNKNOWN, Move, Standing

_KEPT: Final = 30 * 86_400.0
"""Seconds that a sheet is kept on which nobody writes."""
_TEXT: Final = "~alerts"
"""No key that a user can have becomes this text."""


class Seat(NamedTuple):
    """What one found at the board.

    Attributes:
        where: the store that answered.
        leads: whether the lease is ours.
        sheet: what it says.
    """

    where: "Place"
    leads: bool
    sheet: Sheet
    standing: Standing = UNKNOWN


class Place:
    """A store that may hold the sheet; ``layer`` is None for memory, which cannot fail."""

    def __init__(self, layer: Layer | None, clock: Any) -> None:
        self.name = "memory" if layer is None else layer.name
        self.layer = layer
        self._memory = MemoryClaims(clock)

    async def settle(
        self, key: str, decide: Callable[[Standing], Move[bool] | bool], standing: Standing
    ) -> tuple[bool, Standing] | None:
        """As ``Layer.settle``."""
        if self.layer is not None:
            return await self.layer.settle(key, decide, standing)
        while True:
            move = decide(standing)
            if not isinstance(move, Move):
                return move, standing
            said = await self._memory.swap(key, move.expected, move.new, ttl=move.ttl, lease=move.lease)
            standing = said.standing
            if said.done:
                return move.then, standing


class Board:
    """The board of one cache.

    Args:
        parts: the cache's parts.
        lease: tells for how many seconds whoever writes on it holds it.
    """

    def __init__(self, parts: Parts, lease: Callable[[], float]) -> None:
        self._parts = parts
        self._lease = lease
        self._key = store_key("c", parts.namespace, _TEXT)
        self._digest = key_digest(self._key)
        self._far = _place(parts.redis, parts)
        self._near = _place(parts.files, parts) or Place(None, parts.clock)
        self._fleet = self._host = BLANK
        self._noted: dict[str, float] = {}
        self._follows = False
        self._strayed = self._far is not None
        self.owner = os.urandom(16)
        watch(self)

    def forked(self) -> None:
        """What the parent holds, it holds alone."""
        self.owner = os.urandom(16)

    async def sit(self) -> Seat | None:
        """Take the lease, if it is free, or see who has it; None where nobody can say, and it is not for us to go on."""
        if self._far is None:
            return await self._claim(self._near, BLANK)
        seat = await self._claim(self._far, self._fleet)
        if seat is not None:
            self._follows = not seat.leads
            seat = await self._come_back(seat) if self._strayed else seat
            self._fleet = seat.sheet
            return seat
        self._strayed = True
        if self._near.layer is None and self._follows:
            return None
        return await self._claim(self._near, self._fleet)

    async def look(self) -> Sheet:
        """What the sheet says; what was last known of it, where no store can say."""
        if self._far is not None and (said := await self._far.settle(self._key, _only_look, UNKNOWN)) is not None:
            return self._read(self._far, said[1])[1]
        said = await self._near.settle(self._key, _only_look, UNKNOWN)
        return self._fleet if said is None else merged(self._read(self._near, said[1])[1], self._fleet)

    async def write(self, seat: Seat, change: Callable[[Sheet], Sheet], *, leave: bool = False) -> Seat | None:
        """Change the sheet, whoever holds it meanwhile; None if nobody knows whether that was done.

        Args:
            seat: as ``sit`` said.
            change: what is to stand on it, of what does; may be asked more than once.
            leave: whether the lease ends with it.
        """
        now = self._parts.clock.time()
        sheet = seat.sheet

        def decide(standing: Standing) -> Move[bool] | bool:
            nonlocal sheet
            if standing is UNKNOWN:
                return _only_look(standing)
            holder, before = self._read(seat.where, standing)
            ours = holder in {self.owner, b""} or standing.left <= 0
            sheet = change(before).without_old(now)
            if not ours:
                return Move(standing.raw, self._pack(holder, sheet), False, _KEPT, standing.left)
            return Move(standing.raw, self._pack(self.owner, sheet), True, _KEPT, 0.001 if leave else self._lease())

        said = await seat.where.settle(self._key, decide, seat.standing)
        if said is None:
            return None
        if seat.where is self._far:
            self._fleet = sheet
            await self._note(sheet)
        else:
            self._host = sheet
        return Seat(seat.where, said[0], sheet, said[1])

    async def _claim(self, place: Place, known: Sheet) -> Seat | None:
        """Have the lease of a place's sheet be ours, unless it is another's; ``known`` is what was known elsewhere."""
        sheet = BLANK

        def decide(standing: Standing) -> Move[bool] | bool:
            nonlocal sheet
            if standing is UNKNOWN:
                return _only_look(standing)
            holder, before = self._read(place, standing)
            # A Redis that has lost the sheet is told again what was on it; one that has it knows better.
            adopted = known.states and (place is not self._far or not standing.raw)
            sheet = merged(before, known) if adopted else before
            if holder and standing.left > 0:
                if holder != self.owner:
                    return False
                if sheet == before:  # nothing need be written to know that
                    return True
            return Move(standing.raw, self._pack(self.owner, sheet), True, _KEPT, self._lease())

        said = await place.settle(self._key, decide, UNKNOWN)
        return None if said is None else Seat(place, said[0], sheet, said[1])

    async def _come_back(self, seat: Seat) -> Seat:
        """Carry over what this host has noted by itself; where that cannot be read, what this process knows of it."""
        said = await self._near.settle(self._key, _only_look, UNKNOWN)
        noted = self._host if said is None else self._read(self._near, said[1])[1]
        after = await self.write(seat, lambda sheet: merged(sheet, noted)) if noted.states else seat
        self._strayed = said is None or after is None
        return after or seat

    async def _note(self, sheet: Sheet) -> None:
        """Have this host know what has been told, should Redis be gone when somebody begins here."""
        words = sheet.words
        if self._near.layer is not None and words != self._noted:
            seat = Seat(self._near, False, BLANK)
            if await self.write(seat, lambda before: merged(before, sheet), leave=True) is not None:
                self._noted = words

    def _read(self, place: Place, standing: Standing) -> tuple[bytes, Sheet]:
        """Who holds a sheet, and what it says; one that cannot be read is blank, and nobody's."""
        if not standing.blob:
            return b"", BLANK
        try:
            _, _, encoded = self._parts.envelope.unpack(standing.blob, self._digest)
            return sheet_of(None if encoded is None else self._parts.coder.decode(encoded))
        except CorruptBlobError as fault:
            self._parts.announce(BlobRejected(place.name, fault.reason, self._digest[:4].hex()))
            return b"", BLANK

    def _pack(self, owner: bytes, sheet: Sheet) -> bytes:
        now_ms = int(self._parts.clock.time() * 1000)
        gone_ms = now_ms + int(_KEPT * 1000)
        return self._parts.envelope.pack(
            Encoded(packb(body_of(owner, sheet), unicode_errors="surrogatepass"), MsgpackCodec.name),
            digest=self._digest,
            version=self._parts.hybrid.next(),
            created_ms=now_ms,
            fresh_until_ms=gone_ms,
            gone_ms=gone_ms,
            flags=CLAIM,
        )


def _place(layer: Layer | None, parts: Parts) -> Place | None:
    return None if layer is None or layer.claims is None else Place(layer, parts.clock)


def _only_look(standing: Standing) -> Move[bool] | bool:
    return Move(standing.raw, None, False) if standing is UNKNOWN else False
