"""Requests that are run once, as a cache's callers ask for them."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from toolcache.answers import RunStatus
from toolcache.aside import LARGE, Lengthy, aside
from toolcache.blob import CorruptBlobError
from toolcache.course import Settled
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Missing
from toolcache.errors import CacheClosedError, CacheWriteError, FlightAbortedError, SerializationError
from toolcache.machine import Machine
from toolcache.record import Record
from toolcache.tags import labels
from toolcache.terms import Terms
from toolcache.work import Work


class Requests:
    """The requests of one cache; the keys are those of its records.

    Args:
        machine: the cache's machine.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._parts = machine.parts
        self._now = machine.parts.clock.monotonic

    async def once(self, key: str, work: Work, terms: Terms, domain: Domain, *, fingerprint: str) -> Settled:
        """What a request comes to; see ``Runs.once``."""
        (place,) = self._machine.enter((key,))
        retention = self._machine.lifetime(terms.retention, domain)
        begun = self._now()
        try:
            settled = await self._machine.runs.once(place, work, terms, fingerprint=fingerprint, retention=retention)
        except FlightAbortedError:
            if not self._machine.homes.closed:
                raise
            raise CacheClosedError("the cache was closed before this run came to its end: it may run again") from None
        tally = self._machine.tallies.of(domain)
        if settled.record is not None and settled.replayed:
            tally.far_hits += 1
            tally.replayed += 1
            self._count_replay(settled.record, ran=settled.ran)
            tally.latency.add(self._now() - begun)
        else:
            tally.misses += 1
        return settled

    def _count_replay(self, record: Record, *, ran: bool) -> None:
        """Count what a call was spared: each of those who waited for one look at the record; nothing where it was run as well."""
        tally = self._machine.runs.tally
        if ran:
            tally.replays += 1
        else:
            seconds = max(0.0, record.finished_at - record.started_at)
            tally.replayed(seconds, cost_usd=record.cost_usd or 0.0, tokens=record.tokens or 0)

    async def output(self, record: Record) -> Any:
        """A copy of a record's output; MISSING for what no codec here reads."""
        if record.output is None:
            return MISSING
        decode = partial(self._parts.coder.decode, record.output)
        try:
            return await aside(decode) if len(record.output.body) > LARGE else decode()
        except CorruptBlobError:
            return MISSING

    async def outcome(self, settled: Settled) -> Any:
        """A copy of what a request has come to.

        Raises:
            Exception: its error, if that is what it has come to.
        """
        if settled.error is not None:
            raise settled.error
        output = None if settled.record is None else await self.output(settled.record)
        if output is MISSING:
            raise unreadable()
        return output

    async def get(self, key: str, domain: Domain) -> Any:
        """A stored output, or MISSING."""
        (place,) = self._machine.enter((key,))
        begun = self._now()
        name = self._machine.ledger.name(place)
        record = await self._machine.answers.get(name)
        output = MISSING if record is None else await self.output(record)
        tally = self._machine.tallies.of(domain)
        tally.latency.add(self._now() - begun)
        tally.misses += output is MISSING
        tally.far_hits += output is not MISSING
        return output

    async def put(
        self,
        key: str,
        output: Any,
        domain: Domain,
        *,
        fingerprint: str,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store an output, unless an answer is stored already; where it is safe.

        Raises:
            CacheWriteError: with ``strict=True``, when memory alone took it although more is configured.
        """
        (place,) = self._machine.enter((key,))
        retention, own = self._machine.lifetime(ttl, domain), labels(tags)
        try:
            encoded = self._parts.coder.at_once(output)
        except Lengthy as lengthy:
            encoded = await lengthy.aside()
        self._machine.ledger.check(encoded)
        self._machine.tallies.of(domain).sets += 1
        name = self._machine.ledger.name(place)
        durability = await self._machine.homes.here().see_through(
            self._machine.answers.put(name, encoded, fingerprint=str(fingerprint), retention=retention, tags=own)
        )
        if self._parts.strict and self._machine.ledger.layers and durability is Durability.MEMORY:
            raise CacheWriteError("set_result", "no configured store took it")
        return durability

    async def forget(self, key: str, domain: Domain) -> bool:
        """Forget a request, so that it runs again; whether an answer was there."""
        (place,) = self._machine.enter((key,))
        self._machine.tallies.of(domain).deletes += 1
        return await self._machine.homes.here().see_through(self._forget(self._machine.ledger.name(place)))

    async def _forget(self, name: str) -> bool:
        known = await self._machine.answers.forget(name)
        self._machine.runs.forget(name)
        return known

    async def status(self, key: str) -> RunStatus:
        """How far a request has come."""
        (place,) = self._machine.enter((key,))
        return await self._machine.answers.status(self._machine.ledger.name(place))


def unreadable() -> SerializationError:
    """The error of who gets no output although there is one."""
    return SerializationError(
        "this request was run, and its output was stored by a codec that this cache does not have: register it here as well"
    )
