"""What callers change: memory first, so that who asks next has it, then the layers, as one with what others write in this tick.

A write goes on where its caller has left, and what the layers said of it is taken note of all the same.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from toolcache.aside import Lengthy, aside
from toolcache.blob import TOMBSTONE
from toolcache.domains import Domain
from toolcache.drafts import Draft, Outcome
from toolcache.durations import Duration
from toolcache.encoded import Encoded
from toolcache.entries import Entries
from toolcache.entry import Durability, Held, Missing
from toolcache.errors import CacheClosedError
from toolcache.found import Found
from toolcache.freshness import Life
from toolcache.home import Homes
from toolcache.order import Order
from toolcache.parts import Due, Parts
from toolcache.reader import Reader
from toolcache.risk import Risk
from toolcache.tallies import Tallies
from toolcache.writer import Writer


class Changes:
    """Sets and deletes for one cache. Keys are places.

    Args:
        parts: the cache's parts.
        entries: makes entries and drafts.
        writer: has the layers keep them.
        reader: whose reads under way must not overtake a write.
        risk: says what no layer has taken.
        homes: whose flights must not, either.
        tallies: count.
        find: what memory or the layers hold of a place.
        tells_of: whether Redis is going to tell this process, too, of a write that it took.

    Attributes:
        coming: by place, the writes under way that others have to wait for.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        entries: Entries,
        writer: Writer,
        reader: Reader,
        risk: Risk,
        homes: Homes,
        tallies: Tallies,
        find: Callable[[str, Domain, Due], Awaitable[Found]],
        tells_of: Callable[[Outcome], bool],
    ) -> None:
        self._parts = parts
        self._memory = parts.memory
        self._entries = entries
        self._writer = writer
        self._reader = reader
        self._risk = risk
        self._homes = homes
        self._tallies = tallies
        self._find = find
        self._tells_of = tells_of
        self._far = parts.redis is not None or parts.files is not None
        self._alone = parts.redis is None and parts.files is not None
        self._order = Order()
        self.coming: Mapping[str, object] = self._order.last
        self._steps = 0

    async def set(
        self, place: str, value: Any, domain: Domain, ttl: Duration | Missing | None, tags: tuple[str, ...]
    ) -> Durability:
        """Store a value; where it is safe. Raises Lengthy for ``set_many``, before anything was changed."""
        if self._alone:  # Redis takes what comes in one tick together, the log what comes while it is at work
            await self._writer.turn()
        life = self._entries.life(ttl, domain)
        encoded = self._entries.encode(value, domain, tags)
        if not self._parts.enabled:
            return Durability.MEMORY
        due = self._parts.due() if self._reader.met else await self.meet()
        if self.coming:  # one of them may be of this key
            raise Lengthy
        held = self._set_near(place, value, encoded, domain, life, tags)
        draft = self._entries.draft_of(place, held, encoded)
        return (await self._set_far((place,), (draft,), (held,), domain, due))[0].durability

    async def set_many(
        self,
        places: list[str],
        values: Sequence[Any],
        domain: Domain,
        ttl: Duration | Missing | None,
        tags: tuple[str, ...],
    ) -> list[Durability]:
        """Store values; where each is safe. If one cannot be stored, none is."""
        life = self._entries.life(ttl, domain)
        encode = partial(self._entries.encode_all, values, domain, tags)
        try:
            encoded: Sequence[Encoded] = [self._entries.encode(value, domain, tags) for value in values]
        except Lengthy:
            encoded = []
        near = [Durability.MEMORY] * len(places)
        if not self._parts.enabled:
            if len(encoded) < len(values):
                await aside(encode)
            return near
        due = await self.meet()
        if self.coming or len(encoded) < len(values):
            async with self._turn(places):
                if len(encoded) < len(values):
                    encoded = await aside(encode)
                self._check_open()
                helds = self._set_all_near(places, values, encoded, domain, life, tags)
            due = self._parts.due()
        else:
            helds = self._set_all_near(places, values, encoded, domain, life, tags)
        if not self._far:
            return near
        drafts = list(map(self._entries.draft_of, places, helds, encoded))
        return [outcome.durability for outcome in await self._set_far(places, drafts, helds, domain, due)]

    async def _set_far(
        self, places: Sequence[str], drafts: Sequence[Draft], helds: Sequence[Held], domain: Domain, due: Due
    ) -> list[Outcome]:
        """Have the layers keep what memory has."""
        outcomes = await self._writer.write(
            drafts, mirror=domain.name in self._parts.mirror, due=due, then=partial(self._landed, places, drafts, helds)
        )
        self._risk.report("set", drafts, outcomes, raising=self._parts.strict)
        return outcomes

    def _set_all_near(
        self,
        places: Sequence[str],
        values: Sequence[Any],
        encoded: Sequence[Encoded],
        domain: Domain,
        life: Life,
        tags: tuple[str, ...],
    ) -> list[Held]:
        return [
            self._set_near(place, value, body, domain, life, tags)
            for place, value, body in zip(places, values, encoded, strict=True)
        ]

    def _set_near(
        self, place: str, value: Any, encoded: Encoded, domain: Domain, life: Life, tags: tuple[str, ...]
    ) -> Held:
        """Store a value in memory."""
        tally = self._tallies.of(domain)
        tally.sets += 1
        held = self._entries.fresh(place, value, encoded, domain, tally, life, tags)
        self._put(place, held)
        return held

    async def add(
        self, place: str, value: Any, domain: Domain, ttl: Duration | Missing | None, tags: tuple[str, ...]
    ) -> bool:
        """Store a value only if none is there; whether it was stored."""
        life = self._entries.life(ttl, domain)
        try:
            encoded = self._entries.encode(value, domain, tags)
        except Lengthy:
            encode = partial(self._entries.encode_all, (value,), domain, tags)
            async with self._turn([place]):
                (encoded,) = await aside(encode)
            self._check_open()
        if not self._parts.enabled:
            return False
        due = self._parts.due()
        found = await self._find(place, domain, due)
        if found.held is not None:
            return False
        tally = self._tallies.of(domain)
        held = self._entries.fresh(place, value, encoded, domain, tally, life, tags, found.version)
        steps = self._steps  # deletes of this process, of whatever key
        if self._far:
            draft = self._entries.draft_of(place, held, encoded, once=True, dead=found.version)
            (outcome,) = await self._writer.write([draft], due=due)
            if outcome.superseded:
                return False
            self._risk.report("add", [draft], [outcome], raising=self._parts.strict)
            held.version, held.layer = draft.version, outcome.durability.name.lower()
            self._entries.time_anew(held)
        tally.sets += 1
        if self._far and outcome.durability is Durability.REDIS and (steps != self._steps or self._tells_of(outcome)):
            # Memory has it by the next read: who came later may have deleted it, and have been answered sooner.
            self._homes.detach(place)
            self._reader.forget([place])
            return True
        return self._put(place, held) or self._far

    async def delete_many(self, places: list[str], domain: Domain) -> list[bool]:
        """Remove them everywhere; for each, whether a value was there."""
        found = dict.fromkeys(places)  # one that comes twice, as another text, goes once
        was = dict(zip(found, (await self.remove(found, domain))[0], strict=True))
        return [was[place] for place in places]

    async def remove(self, found: Mapping[str, bytes | None], domain: Domain) -> tuple[list[bool], list[Outcome]]:
        """The same, and what the layers below memory made of it, where there are any.

        What was ``found`` goes up to a version, where one is given: what has been written above that stays.
        """
        places = list(found)
        self._tallies.of(domain).deletes += len(places)
        due = await self.come()
        if self.coming:
            async with self._turn(places):
                was, drafts = self._delete_near(found)
            due = self._parts.due()
        else:
            was, drafts = self._delete_near(found)
        if not self._far:
            return was, []
        outcomes = await self._writer.write(drafts, due=due, then=partial(self._landed, places, drafts, ()))
        self._risk.report("delete", *_done(drafts, outcomes), raising=True)
        return [here or there.was_live for here, there in zip(was, outcomes, strict=True)], outcomes

    def _delete_near(self, found: Mapping[str, bytes | None]) -> tuple[list[bool], list[Draft]]:
        """Remove them from memory; for each, whether a value was there, and what is to be written."""
        self._steps += 1
        was = [self._reader.alive(place) for place in found]
        drafts = [self._tombstone(place, version) for place, version in found.items()]
        for place in found:
            self._homes.detach(place)
        self._reader.forget(place for place, version in found.items() if not self._is_above(place, version))
        return was, drafts

    def _is_above(self, place: str, version: bytes | None) -> bool:
        """Whether memory holds something newer than what is meant."""
        held = None if version is None else self._memory.find(place)
        return held is not None and version is not None and held.version > version

    @asynccontextmanager
    async def _turn(self, places: Sequence[str]) -> AsyncIterator[None]:
        """A turn with these keys: behind those who have come before with any of them, in whatever loop.

        Who takes versions in it takes them in the order of calls, however long the values of each take to be encoded.
        """
        home = self._homes.here()
        home.enter()
        try:
            async with self._order.turn(places):
                yield
        finally:
            home.leave()

    def _check_open(self) -> None:
        if self._homes.here().given_up:
            raise CacheClosedError("the cache was closed before this write was begun: nothing was changed")

    def _tombstone(self, place: str, version: bytes | None = None) -> Draft:
        known = version or self._entries.version(place)
        draft = self._entries.draft(self._entries.name(place), known, self._parts.tombstone_ttl, flags=TOMBSTONE)
        draft.live = version is None
        return draft

    async def come(self) -> Due:
        """The budget of a call that deletes: behind the sets that were called before, which may stand in a line."""
        if self._alone:
            await self._writer.turn()
        return await self.meet()

    async def meet(self) -> Due:
        """The budget of a call that writes; before the first one Redis is asked for the time."""
        due = self._parts.due()
        if not self._reader.met:
            await self._reader.meet(due.redis)
        return due

    def written(self, place: str, draft: Draft, outcome: Outcome) -> None:
        """The layers have a version of the key."""
        self._reader.overtake(place, draft.version, told=self._tells_of(outcome))

    def _put(self, place: str, held: Held) -> bool:
        """A live write into memory: computations and reads under way must not overtake it."""
        self._homes.detach(place)
        self._reader.interrupt(place)
        return self._memory.put(place, held)

    def _landed(
        self, places: Sequence[str], drafts: Sequence[Draft], helds: Sequence[Held], outcomes: Sequence[Outcome]
    ) -> None:
        """What was read before it meanwhile goes, and who asks now joins none of that."""
        if helds:  # none of a delete
            for held, draft, outcome in zip(helds, drafts, outcomes, strict=True):
                held.version, held.layer = draft.version, outcome.layer
        for place, draft, outcome in zip(places, drafts, outcomes, strict=True):
            self._homes.detach(place)
            self._reader.overtake(place, draft.version, told=self._tells_of(outcome))


def _done(drafts: Sequence[Draft], outcomes: Sequence[Outcome]) -> tuple[list[Draft], list[Outcome]]:
    """Without those that gave way to something newer: they were for a layer to refuse."""
    done = [
        (draft, outcome)
        for draft, outcome in zip(drafts, outcomes, strict=True)
        if draft.live or not outcome.superseded
    ]
    return [draft for draft, _ in done], [outcome for _, outcome in done]
