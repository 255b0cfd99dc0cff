"""Makes what is missing: the flight, the layers, the computation, the write behind it.

What was written while a computation ran, here or elsewhere, is newer than its version, and wins: the computed value
goes to those who waited and is stored nowhere.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from toolcache.aside import Lengthy, aside
from toolcache.compute import Compute, Context, etag_of, run, takes_context
from toolcache.crowd import ComputeMany, Crowd
from toolcache.domains import Domain
from toolcache.drafts import Draft, Outcome
from toolcache.encoded import Marked
from toolcache.entries import Entries
from toolcache.entry import MISSING, Aging, Held
from toolcache.epochs import Epochs
from toolcache.errors import ReentrantFlightError, SerializationError
from toolcache.events import StaleServed, ValueNotStored
from toolcache.flight import Flight
from toolcache.found import Found, found_in
from toolcache.freshness import Policy
from toolcache.home import Homes
from toolcache.keys.text import key_digest
from toolcache.parts import Due, Parts
from toolcache.pieces import Pieces, abreast
from toolcache.recall import Recall
from toolcache.tallies import Tallies
from toolcache.turns import Turn, Turns
from toolcache.versions import ZERO, just_above
from toolcache.writer import Writer

_REMEMBERED: Final = 10_000
"""Keys whose computation has failed of late, at most."""


class _Find(Protocol):
    def __call__(
        self, places: Sequence[str], domain: Domain, /, *, due: Due, counted: bool = True, final: bool = True
    ) -> Awaitable[dict[str, Found]]: ...


class _Late(NamedTuple):
    """What is in memory, and is to be written to the layers."""

    key: str
    held: Held
    draft: Draft


class Filler:
    """Computes for one cache.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared.
        entries: makes entries of values.
        writer: keeps them.
        find: what memory and the layers hold.
        recall: what memory holds is worth.
        homes: the flights.
        tallies: the counts.
        acknowledge: told of each place whose draft the layers have answered.
        settle: counts what was found, where that was not final.
    """

    def __init__(
        self,
        parts: Parts,
        epochs: Epochs,
        entries: Entries,
        writer: Writer,
        find: _Find,
        recall: Recall,
        homes: Homes,
        tallies: Tallies,
        acknowledge: Callable[[str, Draft, Outcome], None],
        settle: Callable[[str, Domain, Held | None], None],
    ) -> None:
        self._parts = parts
        self._settle = settle
        self._epochs = epochs
        self._entries = entries
        self._writer = writer
        self._find = find
        self._recall = recall
        self._homes = homes
        self._tallies = tallies
        self._turns = Turns(parts, homes)
        self._acknowledge = acknowledge
        self._now = parts.clock.monotonic
        self._throttled: dict[str, tuple[bytes, float]] = {}
        self._far = parts.redis is not None or parts.files is not None

    async def fill(
        self,
        key: str,
        compute: Compute,
        domain: Domain,
        context: Context,
        *,
        lock: bool | None = None,
        anew: bool = False,
    ) -> Any:
        """The value of a key: found, or computed once for all who ask; with ``lock`` those of other processes too.

        ``anew``: computed whatever there is, by a flight that none but such callers have joined.
        """
        begun, flights = self._now(), self._homes.here().flights
        patience = None if anew else context.policy.soft_timeout
        flight = flights.find(key)
        good = None
        if flight is not None and flight.refreshes and not anew:
            good = await self._still_good(key, flight, domain)
            flight = flights.find(key) if good is None else flight
        if flight is None or (anew and not flight.anew):
            locked = not anew and (self._parts.lock if lock is None else lock)
            start = partial(self._fly, key, compute, domain, context, locked=locked, anew=anew)
            under = self._epochs.names(context.labels)
            found = await flights.join(key, start, under=under, patience=patience, anew=anew)
            flight = None
        elif good is not None:
            found = good
        else:
            found = await self._ride(key, flight, patience, anew=anew)
        tally = self._tallies.of(domain)
        tally.latency.add(self._now() - begun)
        if isinstance(found.held, Aging) and self._now() >= found.held.fresh_until:
            tally.stale += 1
        elif flight is not None and found.held is not None:  # others were computing it
            tally.joined(found.held.seconds)
        return await _own(found, joined=flight is not None)

    async def _ride(self, key: str, flight: Flight[Found], patience: float | None, *, anew: bool) -> Found:
        """What comes of another's flight; where one for those who want none but a new value fails, an old one for others."""
        try:
            return await self._homes.here().flights.ride(key, flight, patience=patience)
        except ReentrantFlightError:
            raise
        except Exception:
            if anew or not flight.anew or flight.stand_in is None or flight.detached:
                raise
            return flight.stand_in

    async def fill_many(
        self, keys: Sequence[str], compute: ComputeMany, domain: Domain, context: Context, *, anew: bool = False
    ) -> dict[str, Any]:
        """The values of several keys; those that nobody has, by one computation. ``anew``: see ``fill``."""
        home, late = self._homes.here(), list[_Late]()
        crowd = Crowd(
            compute,
            lambda places: self._find(places, domain, due=self._parts.due(), counted=not anew),
            partial(self._keep, domain=domain, context=context, late=late, anew=anew),
            partial(self._version, tags=context.labels),
            self._now,
            home.flights.see,
            partial(self._rests, policy=context.policy),
            partial(self._give_up, domain=domain, policy=context.policy),
            limit=context.policy.hard_timeout,
            anew=anew,
        )

        async def travel(flights: dict[str, Flight[Found]]) -> dict[str, Found]:
            try:
                return await crowd.travel(flights)
            finally:
                if late:
                    home.own(self._write_back_all(late, domain))

        begun, under = self._now(), self._epochs.names(context.labels)
        landed, own = await home.flights.join_many(keys, travel, under=under, anew=anew)
        self._count(domain, landed.values(), begun, joined=[found for key, found in landed.items() if key not in own])
        values: dict[str, Any] = {}
        async for some in Pieces(keys):
            for key in some:
                values[key] = await _own(landed[key], joined=key not in own)
        return values

    def _count(self, domain: Domain, landed: Collection[Found], begun: float, *, joined: Collection[Found]) -> None:
        """Count what this call waited for, and as hits what others were computing."""
        tally = self._tallies.of(domain)
        tally.latency.add(self._now() - begun, len(landed))
        tally.joined(sum(found.held.seconds for found in joined if found.held is not None), len(joined))

    async def _fly(
        self,
        key: str,
        compute: Compute,
        domain: Domain,
        context: Context,
        flight: Flight[Found],
        /,
        *,
        locked: bool,
        anew: bool = False,
    ) -> Found:
        due, waits = self._parts.due(), locked and bool(self._turns.layers)
        # Whether it is a miss is known when its turn has come: others may be computing it.
        found = (await self._find((key,), domain, due=due, counted=not anew, final=not waits))[key]
        if found.held is not None and not anew:
            if self._recall.is_ripe(found.held, context.policy):
                self._refresh(
                    key, found.held, flight, partial(self._fly, key, compute, domain, context, locked=locked, anew=True)
                )
            return found
        answer = self._older(key, found, flight, context)
        turn = self._turns.turn(key, due) if waits and answer is None and not flight.detached else None
        flight.on_detach = None if turn is None else turn.end  # nobody is to wait for what will not be stored
        try:
            if turn is not None:
                found, answer = await self._wait_for(turn, key, found, domain, context, flight, anew=anew)
            if waits and not anew:
                self._settle(key, domain, found.held if answer is found else None)
            if answer is not None:
                return answer
            self._homes.here().flights.see(key, flight, found.version)
            # Taken before the computation: whatever is written meanwhile is newer, and wins.
            flight.version = version = self._version(above=found.version, tags=context.labels)
            context.raises, begun = self._epochs.raises, self._now()
            try:
                value = await self._run(compute, context, domain)
            except Exception as error:
                if flight.stand_in is None or flight.detached or flight.anew or context.insists:
                    raise
                self._give_up(key, flight.stand_in, error, domain=domain, policy=context.policy)
                return flight.stand_in
            took = self._now() - begun
            return await self._keep(
                key, value, domain=domain, context=context, version=version, took=took, flight=flight, anew=anew
            )
        finally:
            if turn is not None:
                turn.end(flight.written)

    async def _wait_for(
        self, turn: Turn, key: str, found: Found, domain: Domain, context: Context, flight: Flight[Found], *, anew: bool
    ) -> tuple[Found, Found | None]:
        """What was found last, and what of it answers, before it is this computation's turn."""
        ripe = found.version if anew else ZERO
        while await turn.ahead():
            found = (await self._find((key,), domain, counted=False, due=turn.due))[key]
            if found.held is not None and found.version > ripe:
                return found, found
            if (old := self._older(key, found, flight, context)) is not None:
                return found, old
        return found, None

    def _version(self, *, above: bytes = ZERO, tags: tuple[str, ...] = ()) -> bytes:
        """One above what was found, and every epoch that applies; below whatever is written from now on."""
        return self._parts.hybrid.yielding(max(above, self._epochs.newest(tags)))

    async def _run(self, compute: Compute, context: Context, domain: Domain) -> Any:
        if context.stale is not None and takes_context(compute):
            await context.prepare()
        return await self._tallies.of(domain).watch(run(compute, context), context)

    async def _still_good(self, key: str, flight: Flight[Found], domain: Domain) -> Found | None:
        """The value that a flight computes anew: as it found it, or as the layers have it where that was long ago."""
        old = flight.stand_in
        if old is None or old.held is None or self._recall.answers(old.held):
            return old
        found = (await self._find((key,), domain, due=self._parts.due(), counted=False))[key]
        if found.held is None:
            self._homes.hear(key, found.version)  # a flight that has not seen the end of the value is joined no more
            return None
        return found

    def _older(self, key: str, found: Found, flight: Flight[Found], context: Context) -> Found | None:
        """Take note of an older value, fresh or stale; the same if it stands in without another try."""
        fresh = found.held is not None
        flight.refreshes, flight.stand_in = fresh, found if fresh else None
        context.met(found.held or found.stale)
        if not fresh and found.stale is not None and self._rests(key, found, flight, policy=context.policy):
            return flight.stand_in
        return None

    def _rests(self, key: str, found: Found, flight: Flight[Found], *, policy: Policy) -> bool:
        """Take note of what may stand in for the value; whether it does, as it is not yet time to try again."""
        stale, now = found.stale, self._now()
        if not isinstance(stale, Aging) or policy.grace is None or now >= stale.fresh_until + policy.grace:
            return False
        flight.stand_in = found_in(stale)
        version, until = self._throttled.get(key, (ZERO, 0.0))
        return version == stale.version and now < until and not flight.anew

    def _give_up(self, key: str, old: Found, error: Exception, *, domain: Domain, policy: Policy) -> None:
        """No try for a while: the source has failed, and is asked once for all who want the value ``old`` stands in for."""
        now = self._now()
        self._throttled.pop(key, None)
        while len(self._throttled) >= _REMEMBERED:  # the one that has rested for longest
            self._throttled.pop(next(iter(self._throttled)), None)
        self._throttled[key] = old.version, now + policy.grace_retry
        name = key_digest(self._entries.name(key))[:4].hex()
        self._parts.announce(StaleServed(domain.name, type(error).__name__, name))

    def _refresh(
        self,
        key: str,
        held: Held,
        flight: Flight[Found],
        again: Callable[[Flight[Found]], Coroutine[Any, Any, Found]],
    ) -> None:
        """Compute a key anew in the background, once the flight that has found it ripe is over."""
        if isinstance(held, Aging):
            held.settle()
        home = self._homes.here()

        async def refresh() -> None:
            await asyncio.wait((flight.task,))
            # The value that is there is good for a while; then somebody tries again.
            with contextlib.suppress(Exception):
                await home.flights.join(key, again, under=flight.under)

        home.own(refresh())

    async def _keep(
        self,
        key: str,
        value: Any,
        *,
        domain: Domain,
        context: Context,
        version: bytes,
        took: float,
        flight: Flight[Found],
        late: list[_Late] | None = None,
        anew: bool = False,
    ) -> Found:
        """Make an entry of a computed value; store it, unless something newer was written meanwhile.

        What the layers are to be told, they are told by and by, or it is put down in ``late``.
        """
        tally = self._tallies.of(domain)
        tally.computed += 1
        tally.refreshed += anew
        tally.compute_seconds += took
        try:
            negative = value is None and context.policy.negative_ttl is not None
            ttl = context.policy.negative_ttl if negative else context.ttl
            life = self._entries.life(ttl, domain, context.policy, computed=True)
            tags = context.labels
            try:
                encoded = self._entries.encode(value, domain, tags)
            except Lengthy:
                (encoded,) = await aside(partial(self._entries.encode_all, (value,), domain, tags))
            if context.etag is not None:
                encoded = Marked(encoded, etag_of(context.etag))
        except (SerializationError, ValueError, TypeError) as error:  # or a ttl or tags that the computation set
            tally.not_stored += 1
            self._parts.announce(
                ValueNotStored(domain.name, type(error).__name__, key_digest(self._entries.name(key))[:4].hex())
            )
            # It goes to those who wait and is held nowhere.
            held = Held.of(value, None, settled_until=0.0, size=0, version=ZERO, created_ms=0, span_ms=0, tally=tally)
            held.seconds = took
            return Found(held, value=value)
        if self._epochs.covers(version, tags) and not self._epochs.raised_since(context.raises, tags):
            # Of tags that were named only now, and known from the start.
            version = just_above(self._epochs.newest(tags))
        era, overtaken = self._parts.memory.era, flight.detached or self._epochs.covers(version, tags)
        held = self._entries.made(
            value, encoded, domain, tally, version=version, era=era, life=life, tags=tags, took=took
        )
        if self._parts.enabled and not (context.skipped or overtaken):
            self._parts.memory.put(key, held)
            if flight.detached and self._parts.memory.find(key) is held:  # by another thread, just now
                self._parts.memory.remove(key)
            if self._far:
                draft = self._entries.draft_of(key, held, encoded, live=False)
                if late is None:
                    flight.written = self._homes.here().own(self._write_back([_Late(key, held, draft)], domain))
                else:
                    late.append(_Late(key, held, draft))
        return Found(held, version, self._parts.coder.copy(value, encoded))

    async def _write_back_all(self, late: Sequence[_Late], domain: Domain) -> None:
        await abreast(partial(self._write_back, domain=domain), late)

    async def _write_back(self, late: Sequence[_Late], domain: Domain) -> None:
        outcomes = await self._writer.write([it.draft for it in late], mirror=domain.name in self._parts.mirror)
        for (key, held, draft), outcome in zip(late, outcomes, strict=True):
            held.layer = outcome.durability.name.lower()
            if outcome.superseded and self._parts.memory.find(key) is held:
                self._parts.memory.remove(key)
            self._acknowledge(key, draft, outcome)


async def _own(found: Found, *, joined: bool) -> Any:
    """A value of the caller's own: the one that came with the entry, unless another's flight was joined."""
    value = found.value
    if found.held is not None and (joined or value is MISSING):
        try:
            return found.held.own()
        except Lengthy as lengthy:
            value = lengthy
    return await value.aside() if type(value) is Lengthy else value
