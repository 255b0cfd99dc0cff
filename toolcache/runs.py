"""Runs: each request is run once, and everybody gets its one answer.

    answered before? → claim → run, with heartbeats → commit → answer

The callers of one loop share one run, which is a task of the cache's own: who is cancelled leaves alone. Those of other loops,
processes and hosts wait for its end, and find the answer, or the failure, in the records.
"""

import asyncio
from functools import partial
from hashlib import sha256
from typing import Any, Final

from toolcache.answers import Answers
from toolcache.course import Asked, Course, Settled, error_of
from toolcache.entry import Durability
from toolcache.errors import (
    CacheClosedError,
    DispatchError,
    FlightAbortedError,
    RunTimeoutError,
    SerializationError,
    StoresUnavailableError,
    TaskMismatchError,
)
from toolcache.events import DispatchDegraded, LeaseLost, TakenOver, TaskMismatch
from toolcache.flight import Flight, Flights
from toolcache.hold import Hold
from toolcache.home import Homes
from toolcache.ledger import Answer, Ledger, Place, short
from toolcache.loops import PerLoop
from toolcache.parts import Parts
from toolcache.record import RAISED, TIMEOUT, UNSTORABLE, Attempt, Failure, Record, Verdict
from toolcache.record_body import words_of
from toolcache.tallies import DispatchTally
from toolcache.terms import Terms
from toolcache.untold import Untold
from toolcache.work import RunContext, Work, work_off

_REMEMBERED: Final = 4_096
"""Requests of which it is remembered that they have come to an end here."""


class Runs:
    """The requests of one cache.

    Args:
        parts: the cache's parts.
        ledger: the records.
        answers: what requests have come to.
        homes: the flights.
    """

    def __init__(self, parts: Parts, ledger: Ledger, answers: Answers, homes: Homes) -> None:
        self.tally = DispatchTally()
        self._parts = parts
        self._ledger = ledger
        self._homes = homes
        self._answers = answers
        self._untold = Untold(answers, homes, parts.clock)
        self._courses: PerLoop[dict[str, Course]] = PerLoop(dict)
        self._holds: set[Hold] = set()
        self._settled: set[str] = set()

    async def once(self, key: str, work: Work, terms: Terms, *, fingerprint: str, retention: float) -> Settled:
        """What a request comes to, run now if it never was.

        Args:
            key: the place of the request.
            work: what runs it.
            terms: on what conditions.
            fingerprint: of what is asked.
            retention: seconds that the answer is kept.

        Raises:
            AlreadyInProgressError: it is running, and the caller will not wait.
            WaitTimeoutError: it is still running.
            TaskMismatchError: something else is being run under this key.
        """
        name = self._ledger.name(key)
        asked = Asked(name, work, terms, fingerprint, retention)
        while True:
            asked_at = self._ledger.version()
            if self._course(name) is None and self._looks_first(name):
                if (record := await self._answers.kept(name, self._ledger.patience())) is not None:
                    same = record.fingerprint == fingerprint
                    return self._replay(name, record) if same else Settled(None, False, self._mismatch(name))
                if self._homes.refusing:  # by now
                    raise CacheClosedError
            settled = await self._join(asked)
            # One that was forgotten before this call is none to join.
            if not settled.forgotten_before(asked_at):
                if settled.record is not None:
                    self._remember(name)
                return settled

    async def _join(self, asked: Asked) -> Settled:
        """What comes of the run under way here, or of one that begins."""
        runs: Flights[Settled] = self._homes.here().runs
        name, terms = asked.name, asked.terms
        course = known = self._course(name)
        if course is None:
            runs.detach(name)  # of a course that is over, and has not landed, or was forgotten
            course = self._courses.here()[name] = Course(asked)
        if course.asked.fingerprint != asked.fingerprint:
            raise self._mismatch(name)
        self.tally.joins += known is not None
        course.callers += 1
        flight = runs.join(name, partial(self._depart, course), goes_on=course.goes_on)
        try:
            if terms.wait == "join" and terms.wait_timeout is None:
                return await flight
            now = self._parts.clock.monotonic
            return await course.wait(asyncio.ensure_future(flight), terms, now, short(name), leads=known is None)
        finally:
            course.callers -= 1
            if not course.callers and not course.goes_on():  # its flight is over, or cancelled
                self._over(course)

    def _looks_first(self, name: str) -> bool:
        """Whether to look for an answer before claiming: where that is cheap, or likely to find one.

        In Redis alone a claim asks as well, and a look would be a question more for each request that is new.
        """
        redis = None if self._ledger.files else self._ledger.redis
        return redis is None or name in self._settled or redis.refuses

    def _remember(self, name: str) -> None:
        if len(self._settled) >= _REMEMBERED:
            self._settled.clear()
        self._settled.add(name)

    def _course(self, name: str) -> Course | None:
        """What is under way here, and not cleared."""
        course = self._courses.here().get(name)
        return None if course is None or course.lies_beneath(self._ledger.floor()) else course

    def forget(self, name: str) -> None:
        """A request was forgotten: who asks for it from now on waits for no run of before."""
        for courses in self._courses.all():
            courses.pop(name, None)

    def assert_anew(self) -> None:
        """Redis may have lost what it was told: have it know at once of what is being run here."""
        for hold in tuple(self._holds):
            hold.hurry()

    async def _depart(self, course: Course, _flight: Flight[Settled]) -> Settled:
        try:
            return await self._fly(course, course.asked)
        finally:
            self._over(course)

    def _over(self, course: Course) -> None:
        courses, name = self._courses.here(), course.asked.name
        if courses.get(name) is course:
            del courses[name]

    async def _fly(self, course: Course, asked: Asked) -> Settled:
        name, terms = asked.name, asked.terms
        try:
            attempt = self._ledger.attempt(
                asked.fingerprint,
                retention=asked.retention,
                error_ttl=terms.error_ttl,
                max_attempts=terms.max_attempts,
            )
            on_lost = partial(self._lost, name, attempt)
            hold = Hold(self._ledger, name, attempt, lease=terms.lease, homes=self._homes, on_lost=on_lost)
            if (record := await self._claim(course, hold, terms)) is not None:
                return self._replay(name, record)
        except DispatchError as error:
            return Settled(None, False, error)
        self._holds.add(hold)
        try:
            return await self._run(course, hold, asked.work, terms)
        finally:
            self._holds.discard(hold)

    # -- claiming -----------------------------------------------------------------------------------------------

    async def _claim(self, course: Course, hold: Hold, terms: Terms) -> Record | None:
        """Take it; the answer, if there is one after all.

        Raises:
            DispatchError: it cannot be had.
        """
        attempt, record = hold.attempt, None
        try:
            while record is None:
                met, unusable = await self._take(hold)
                if met is not None:
                    record = await self._meet(course, hold, *met)
                elif hold.lost or (
                    unusable and (record := await self._go_without(hold, unusable, terms)) is not None
                ):  # it took too long to claim it elsewhere
                    await hold.give_back()
                elif attempt.exhausted:
                    record = await self._adopt(hold, attempt.given_up())
                else:
                    break
        except BaseException:
            await hold.give_back()
            raise
        if record is not None:
            return record
        if attempt.attempts > 1:
            self.tally.takeovers += 1
            self._parts.announce(TakenOver(short(hold.name), attempt.attempts))
        return None

    async def _take(self, hold: Hold) -> tuple[tuple[Place, Answer] | None, list[Place]]:
        """Claim it from near to far: what stands in the way, if anything, and who cannot say."""
        unusable = []
        for place in self._ledger.places:
            answer = await hold.take(place)
            if answer is None:
                unusable.append(place)
            elif answer.verdict is not Verdict.OURS:
                return (place, answer), unusable
        return None, unusable

    async def _go_without(self, hold: Hold, unusable: list[Place], terms: Terms) -> Record | None:
        """Go on without stores that take no claim; the answer, where one can be read all the same."""
        if len(unusable) == len(self._ledger.layers):
            if (record := await self._answers.kept(hold.name, self._ledger.patience())) is not None:
                if record.fingerprint != hold.attempt.fingerprint:
                    raise self._mismatch(hold.name)
                return record
            if terms.on_store_down == "raise":
                raise StoresUnavailableError(key=short(hold.name), reason=self._ledger.faults())
        for place in unusable:
            self._degraded(hold.name, place)
        return None

    async def _meet(self, course: Course, hold: Hold, place: Place, answer: Answer) -> Record | None:
        """What to do about what stands in the way: the answer, or None to try again."""
        stands = answer.record
        if answer.verdict is Verdict.MISMATCH:
            raise self._mismatch(hold.name)
        if answer.verdict is Verdict.FAILED and stands is not None:
            await hold.give_back()
            return stands
        if answer.verdict is Verdict.KEPT and stands is not None:
            return await self._adopt(hold, stands)
        await hold.give_back()
        if answer.verdict is Verdict.BUSY and stands is not None:
            self.tally.joins += not hold.attempt.awaited
            hold.attempt.awaited.add(stands.owner)
            course.turn(busy=True)
            await hold.wait(place, answer.standing)
        return None

    async def _adopt(self, hold: Hold, record: Record) -> Record | None:
        """Answer with what was found: by way of this host's file, and with what stands there. None if it was forgotten."""
        ran = not hold.attempt.exhausted
        committed = await self._answers.commit(hold.name, hold.attempt, record, hold.leave, ran=ran)
        if committed.record is None:
            await hold.give_back()
        else:
            await hold.settle(keeping=committed.durability is Durability.MEMORY)
        return committed.record

    # -- running ------------------------------------------------------------------------------------------------

    async def _run(self, course: Course, hold: Hold, work: Work, terms: Terms) -> Settled:
        attempt = hold.attempt
        self.tally.executions += 1
        # After it was forgotten it is another request for those outside, too.
        told = sha256(hold.name.encode() + attempt.floor).hexdigest()[:32]
        context = RunContext(attempt.attempts, told)
        course.attempt = attempt
        course.turn(runs=True)
        hold.begin()
        error: Exception | None = None
        output = None
        try:
            output = await work_off(work, context, terms)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or me.cancelling():
                await hold.give_back()
                raise
            error = FlightAbortedError("the run cancelled itself; the next call starts a new one")
        except Exception as failed:  # noqa: BLE001 - it belongs to the callers
            error = failed
        except BaseException:
            await hold.give_back()
            raise
        if hold.stood_still:
            reason = "the event loop stood still for longer than the lease: have what blocks run in a thread"
            self._parts.announce(LeaseLost(short(hold.name), self._ledger.places[-1].name, reason))
        course.turn(ends=True)
        ending = self._fail(hold, context, terms, error) if error else self._finish(hold, context, output)
        if not self._ledger.layers:  # it waits for nothing
            return await ending
        # What has been done is not to be lost because its task is cancelled now.
        end = self._homes.here().see_out(ending)
        while True:
            try:
                return await asyncio.shield(end)
            except asyncio.CancelledError:
                if end.cancelled():
                    raise

    async def _finish(self, hold: Hold, context: RunContext, output: Any) -> Settled:
        """The run has come to an output: commit it."""
        attempt = hold.attempt
        try:
            encoded = self._parts.coder.encode(output)
            self._ledger.check(encoded)
            record = attempt.completed(encoded, cost_usd=context.cost_usd, tokens=context.tokens)
            record = _retried(record, context)
        except (SerializationError, ValueError) as unstorable:
            error = SerializationError(str(unstorable), path=getattr(unstorable, "path", ""), result=output)
            return await self._keep_failure(hold, context, error, UNSTORABLE)
        self._count(context)
        return await self._conclude(hold, record)

    async def _fail(self, hold: Hold, context: RunContext, terms: Terms, error: Exception) -> Settled:
        """The run has failed: tell those who wait, and let the next one have it, or keep that."""
        kind = TIMEOUT if isinstance(error, RunTimeoutError) else RAISED
        if terms.keeps(error):
            return await self._keep_failure(hold, context, error, kind)
        record = self._failure(hold.attempt, context, error, kind, kept=False)
        for place in reversed(self._ledger.places):
            fail = partial(hold.attempt.fail, failure=record, lease=terms.lease)
            await self._ledger.settle(place, hold.name, fail, await hold.leave(place))
        await hold.end()
        return Settled(record._replace(floor=hold.attempt.floor), False, error)

    async def _keep_failure(self, hold: Hold, context: RunContext, error: Exception, kind: str) -> Settled:
        record = self._failure(hold.attempt, context, error, kind, kept=True)
        settled = await self._conclude(hold, record)
        return settled if settled.replayed else settled._replace(error=error)

    def _failure(self, attempt: Attempt, context: RunContext, error: Exception, kind: str, *, kept: bool) -> Record:
        if kind is TIMEOUT:
            self.tally.timeouts += 1
        else:
            self.tally.failures += 1
        self._count(context)
        failure = Failure(kind, *words_of(error))
        record = attempt.failed(failure, kept=kept, cost_usd=context.cost_usd, tokens=context.tokens)
        return _retried(record, context)

    async def _conclude(self, hold: Hold, record: Record) -> Settled:
        """Commit what the run has come to; what was there first is the answer."""
        committed = await self._answers.commit(hold.name, hold.attempt, record, hold.leave)
        for place in committed.missed:
            self._degraded(hold.name, place)
        answer = committed.record
        if answer is None:  # forgotten meanwhile: its callers have it, and nobody else
            await hold.give_back()
            return Settled(record._replace(floor=hold.attempt.floor), False)
        if committed.missed and committed.durability is Durability.MEMORY:
            self._untold.add(hold, answer)
        else:
            if committed.missed:
                hold.over()
            await hold.settle(keeping=committed.durability is Durability.MEMORY)
        if answer.owner == record.owner:
            return Settled(answer, False)
        self.tally.duplicates += 1
        return self._replay(hold.name, answer, ran=True)

    # -- words --------------------------------------------------------------------------------------------------

    def _replay(self, name: str, record: Record, *, ran: bool = False) -> Settled:
        if not record.answers:  # the attempt that was waited for has failed
            return Settled(record, False, error_of(record, short(name)))
        return Settled(record, True, None if record.failure is None else error_of(record, short(name)), ran)

    def _count(self, context: RunContext) -> None:
        self.tally.spent(cost_usd=context.cost_usd or 0.0, tokens=context.tokens or 0)

    def _mismatch(self, name: str) -> TaskMismatchError:
        self.tally.mismatches += 1
        self._parts.announce(TaskMismatch(short(name)))
        return TaskMismatchError(key=short(name))

    def _lost(self, name: str, attempt: Attempt, place: Place) -> None:
        self.tally.leases_lost += 1
        reason = "it was forgotten" if attempt.is_forgotten else "another has taken it over"
        self._parts.announce(LeaseLost(short(name), place.name, reason))

    def _degraded(self, name: str, place: Place) -> None:
        self.tally.degraded += 1
        self._parts.announce(DispatchDegraded(short(name), place.name, place.fault))


def _retried(record: Record, context: RunContext) -> Record:
    """It was begun anew for each retry, too."""
    retries = context.tries - 1
    return record._replace(attempts=record.attempts + retries) if retries > 0 else record
