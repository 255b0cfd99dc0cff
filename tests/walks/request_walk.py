"""Walks of requests that run once: processes of two hosts, swap by swap, in every weather, watched by an oracle.

A walk is a number of *episodes*. In each some requests are asked for, and some kinds of trouble may come; at its end all is
mended, and every call has to end.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from fake_redis import FakeRedis, State
from walks.gates import WALKERS, Fate, GatedLogStore, GatedRedis, Gates, Parked, SteppedHold
from walks.oracle import HOSTS, Oracle, Request
from walks.walk import STEPS, DivergedError
from walks.world import OwnLogStore, ProcessClock

from toolcache import runs
from toolcache.blob import EPOCH, read_header
from toolcache.cache import Cache
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.course import Settled
from toolcache.errors import (
    AlreadyInProgressError,
    CacheClosedError,
    CacheWriteError,
    FlightAbortedError,
    StoredAgentError,
)
from toolcache.events import Announcer
from toolcache.layer import Layer
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.parts import Parts
from toolcache.protocols import Store, Write
from toolcache.record import State as RecordState
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.swaps import Standing
from toolcache.terms import Terms
from toolcache.testing import FakeClock
from toolcache.versions import ZERO, HybridClock
from toolcache.work import RunContext

NAMESPACE: Final = "walk"
EPISODE: Final = 100
LEASE: Final = 600.0
"""So long that no timer of the loop comes to it."""
RETENTION: Final = 30_000.0
"""So short that no tombstone ends before what it has ended, and so long that no episode takes as long by itself."""
MAY: Final = (
    "partitions", "restarts", "silence", "full", "kills", "pauses", "failures", "cancels", "forgets", "clears", "expiries",
    "closes",
)  # fmt: skip
_ROUNDS: Final = 3_000


class BoomError(Exception):
    """What a run fails with."""


class Marked(HybridClock):
    """Tells of the epochs that it mints."""

    def __init__(self, clock: ProcessClock, node: bytes, told: Callable[[bytes], None]) -> None:
        super().__init__(clock, node=node)
        self._told = told

    def epoch(self) -> bytes:
        """An epoch."""
        version = super().epoch()
        self._told(version)
        return version


class Process:
    """One of them."""

    def __init__(self, at: int, cache: Cache, redis: GatedRedis, files: GatedLogStore) -> None:
        self.at = at
        self.host = HOSTS[at]
        self.cache = cache
        self.redis = redis
        self.files = files
        self.paused = False
        self.holds: list[SteppedHold] = []
        self.tasks: dict[asyncio.Task[None], str] = {}
        """What is under way, and of which request."""
        self.looking: dict[str, tuple[bytes, float]] = {}
        """Of requests that it looks for: what the host had forgotten by then, and when that was."""
        self.storing: set[str] = set()
        """Requests that it has run, and stores the answers of."""
        self.cleared = ZERO

    def refuses(self) -> bool:
        """Whether its breakers keep it from Redis."""
        layer = self.cache._parts.redis
        return layer is not None and (layer.refuses(mutation=True) or layer.refuses(mutation=False))


class RequestWalk:
    """A walk over a world of its own.

    Args:
        seed: decides everything.
        directory: for files.
    """

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.server = FakeRedis(self.clock.time)
        self.gates = Gates()
        self.oracle = Oracle(self.clock.time, self.alive)
        self.linked = [True, True]
        self.roots = [directory / "one", directory / "two"]
        self.observers = [
            OwnLogStore(root, clock=self.clock, hybrid=HybridClock(self.clock), fsync="never") for root in self.roots
        ]
        self.told: list[str] = []
        self.numbers = count(1)
        self.keys: list[str] = []
        self.terms: dict[str, Terms] = {}
        self.may: frozenset[str] = frozenset()
        self.lapses: set[tuple[str, str, bytes]] = set()
        """Claims that were not renewed in time: the store, the key and the owner."""
        self.fault: BaseException | None = None
        self.processes: list[Process] = []

    # -- the world --------------------------------------------------------------------------------------------------

    def begin(self, at: int) -> Process:
        """A process begins."""
        clock = ProcessClock(self.clock, 0.0)
        hybrid = Marked(clock, self.chance.randbytes(8), partial(self.cleared, at))
        announce = Announcer(clock)
        redis = GatedRedis(self.server, clock, self.gates, at, partial(self.swapped, at), partial(self.wrote, at))
        files = GatedLogStore(self.roots[HOSTS[at]], clock=clock, hybrid=hybrid, fsync="never")
        files.gates, files.at = self.gates, at
        files.noted, files.wrote = partial(self.swapped, at), partial(self.wrote, at)
        parts = Parts(
            metrics=False,  # whose records take versions, too
            namespace=NAMESPACE,
            clock=clock,
            hybrid=hybrid,
            memory=MemoryStore(clock=clock, policy=S3FIFO(), max_bytes=2**24),
            coder=Coder(),
            envelope=Envelope(),
            announce=announce,
            redis=_guarded(redis, clock),
            files=_guarded(files, clock),
            trust=5.0,
        )
        cache = Cache(parts)
        cache._machine.journal.run = _never  # type: ignore[method-assign]  # only when the walk says so
        cache._machine._follower.run = _never  # type: ignore[method-assign]  # as well
        cache._machine.sweeper.arm = lambda: None  # type: ignore[method-assign]  # it goes by the loop's clock
        process = Process(at, cache, redis, files)
        WALKERS[cache._machine.homes] = self.gates, at, process, process.holds
        return process

    def swapped(self, at: int, store: str, name: str, raw: bytes, standing: Standing) -> None:
        """The oracle hears of each swap."""
        self.try_(self.oracle.swapped, at, store, name, raw, standing)

    def wrote(self, at: int, writes: Sequence[Write]) -> None:
        """And of each epoch that is written."""
        for write in writes:
            header = read_header(write.blob)
            if header is not None and header.flags & EPOCH:
                self.cleared(at, header.version)

    def cleared(self, at: int, version: bytes) -> None:
        """And of each that is minted: from then on its process goes by it."""
        self.oracle.clears.add(version)
        for request in self.oracle.requests.values():
            request.forget(version)
        self.processes[at].cleared = max(self.processes[at].cleared, version)

    def try_(self, call: Callable[..., None], *args: Any, **options: Any) -> None:
        """What is wrong is told at the end of the step: here the code under test would hear of it."""
        try:
            call(*args, **options)
        except BaseException as fault:  # noqa: BLE001 - told later
            self.fault = self.fault or fault

    def alive(self, owner: bytes) -> int | None:
        """The process that has an attempt of this owner under way."""
        for process in self.processes:
            for hold in process.holds:
                if hold.attempt.owner == owner and hold.holds:
                    return process.at
        return None

    # -- going ------------------------------------------------------------------------------------------------------

    async def go(self, steps: int = STEPS) -> None:
        """All of it; nothing is left behind.

        Raises:
            DivergedError: somewhere.
        """
        with patch.object(runs, "Hold", SteppedHold):
            self.processes = [self.begin(at) for at in range(len(HOSTS))]
            done = 0
            try:
                for episode in count():
                    self.open(episode)
                    for _ in range(min(EPISODE, steps - done)):
                        await self.step()
                        done += 1
                    await self.rest()
                    if done >= steps:
                        return
            except Exception as fault:
                last = "\n  ".join(self.told[-100:])
                raise DivergedError(
                    f"SEED={self.seed}, step {done}: {type(fault).__name__}: {fault}\n  {last}"
                ) from fault
            finally:
                for process in self.processes:
                    await self.bury(process)
                for observer in self.observers:
                    await observer.aclose()

    def open(self, episode: int) -> None:
        """New requests, and what may come."""
        self.keys.clear()
        self.oracle.requests.clear()
        some = self.chance.choice([0, 1, 1, 2, 2, 3, len(MAY)])
        self.may = frozenset(self.chance.sample(MAY, some))
        for number in range(self.chance.choice([1, 1, 2])):
            key = f"{episode}.{number}"
            hosts = self.chance.choice([frozenset({0}), frozenset({0, 1}), frozenset({0, 1})])
            name = self.processes[0].cache._machine.ledger.name(f"once:{key}")
            self.keys.append(key)
            attempts = self.chance.choice([1, 2, 3])
            self.oracle.requests[name] = Request(hosts, max_attempts=attempts)
            self.terms[key] = Terms.of(
                {
                    "lease": LEASE,
                    "retention": RETENTION,
                    "error_ttl": RETENTION,
                    "max_attempts": attempts,
                    "on_error": self.chance.choice(["forget", "forget", "store"]),
                    "on_abandon": self.chance.choice(["finish", "cancel"]),
                }
            )
        self.told = [f"-- episode {episode}: {', '.join(sorted(self.may)) or 'nothing'} may come"]

    def name(self, key: str) -> str:
        """The store key of a request."""
        return self.processes[0].cache._machine.ledger.name(f"once:{key}")

    async def step(self) -> None:
        """One, whatever it is."""
        steps: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (60, self.let_one),
            (10, self.ask),
            (3, self.beat),
            (3, self.pass_time),
            (3, self.replay),
            *(
                (weight, step)
                for what, weight, step in (
                    ("partitions", 3, self.link),
                    ("restarts", 1, self.restart),
                    ("full", 2, self.fill),
                    ("kills", 2, self.kill),
                    ("pauses", 2, self.pause),
                    ("cancels", 2, self.cancel),
                    ("forgets", 2, self.forget),
                    ("clears", 1, self.clear),
                    ("expiries", 1, self.expire),
                    ("closes", 1, self.close),
                )
                if what in self.may
            ),
        ]
        if self.gates.late:
            steps.append((4, self.arrive))
        if any(process.paused for process in self.processes):
            steps.append((4, self.resume))
        ((_, step),) = self.chance.choices(steps, [weight for weight, _ in steps])
        self.clock.advance(0.002)
        self.note_lapses()
        await step()
        await self.check()

    async def check(self) -> None:
        """Whether anything has gone wrong."""
        await self.gates.still()
        for process in self.processes:
            for task in [task for task in process.tasks if task.done()]:
                del process.tasks[task]
                if not task.cancelled() and (fault := task.exception()) is not None:
                    self.fault = self.fault or fault
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault

    def say(self, what: str) -> None:
        """For people."""
        self.told.append(what)

    # -- calls ------------------------------------------------------------------------------------------------------

    async def ask(self) -> None:
        """A call begins."""
        key = self.chance.choice(self.keys)
        request = self.oracle.requests[self.name(key)]
        process = self.chance.choice([one for one in self.processes if one.host in request.hosts])
        if process.paused or len(process.tasks) > 2:
            return
        raising = self.chance.random() < 0.1
        self.say(f"p{process.at} asks for {key}{', without waiting' if raising else ''}")
        self.start(process, self.asks(process, key, raising=raising), key)
        await self.gates.still()

    def start(self, process: Process, work: Coroutine[Any, Any, None], key: str) -> None:
        """What the process does from now on, beside all else."""
        process.tasks[asyncio.create_task(work)] = self.name(key) if key else ""

    async def asks(self, process: Process, key: str, *, raising: bool = False) -> None:
        """One call, and what has come of it."""
        name, terms = self.name(key), self.terms[key]
        if raising:
            terms = Terms(**{**{one: getattr(terms, one) for one in terms._fields}, "wait": "raise"})
        born, began = self.oracle.requests[name].known[process.host], self.clock.time()
        # Who joins one that looks for an answer, or stores one, has what that has found.
        if sum(other == name and not task.done() for task, other in process.tasks.items()) == 1:
            process.looking[name] = born, began
            process.storing.discard(name)
        storing = name in process.storing
        looked = process.looking[name]
        machine = process.cache._requests
        mine: list[bytes] = []
        try:
            settled: Settled = await machine.once(
                f"once:{key}",
                partial(self.run, process, name, mine),
                terms,
                process.cache._request_domain,
                fingerprint="",
            )
        except AlreadyInProgressError:
            assert raising, "it was to wait"
            self.say(f"p{process.at} finds {key} in progress")
            return
        except (CacheClosedError, FlightAbortedError):
            assert process.cache._machine.homes.closed or process in self.gates.dead, "it was not closed"
            return
        if settled.record is None or not settled.record.answers:
            assert isinstance(settled.error, BoomError | StoredAgentError), f"{settled}"
            self.say(f"p{process.at} hears that {key} has failed")
            return
        self.say(f"p{process.at} has its answer for {key}: {settled.record.owner.hex()[:6]}")
        own = not settled.replayed
        looked = (born, began) if own and not storing else looked
        self.try_(self.oracle.answered, process.at, name, settled.record, *looked, own=own)

    async def run(self, process: Process, name: str, mine: list[bytes], context: RunContext) -> Any:
        """The work itself."""
        (hold,) = [one for one in process.holds if one.runs and one.name == name][-1:]
        number, owner = next(self.numbers), hold.attempt.owner
        mine.append(owner)
        request = self.oracle.requests[name]
        if not all(self.linked) or self.server.state is not State.UP or any(one.refuses() for one in self.processes):
            request.faults += 1
        self.say(f"p{process.at} executes #{number} as {owner.hex()[:6]}, attempt {context.attempt}")
        self.try_(self.oracle.ran, name, number, owner, context.attempt)
        await self.gates.wait(process.at, process, "run", f"#{number}")
        process.storing.add(name)
        if "failures" in self.may and self.chance.random() < 0.4:
            self.say(f"#{number} fails")
            request.slips += 1
            raise BoomError
        return {"number": number}

    async def let_one(self) -> None:
        """One that waits goes on."""
        some = [one for one in self.gates.parked if not self.processes[one.at].paused]
        if not some:
            return
        weights = [{"wait": 1, "run": 2}.get(one.what, 4) for one in some]
        (parked,) = self.chance.choices(some, weights)
        fate = self.fate(parked)
        self.say(f"p{parked.at} {parked.what} {parked.why}: {fate.value}")
        if fate is Fate.LAST:
            await self.die(self.processes[parked.at], parked)
        else:
            await self.gates.let(parked, fate)

    def fate(self, parked: Parked) -> Fate:
        """What becomes of it."""
        if parked.what not in ("redis", "file"):
            return Fate.DONE
        luck = self.chance.random()
        if parked.what == "redis" and not self.linked[HOSTS[parked.at]]:
            return Fate.REFUSED
        if parked.what == "redis" and "silence" in self.may and luck < 0.06:
            self.ill()
            return self.chance.choice([Fate.VAIN, Fate.LOST, Fate.LATE])
        if "kills" in self.may and luck > 0.98:
            return Fate.LAST
        return Fate.DONE

    def ill(self) -> None:
        """Redis has one more fault."""
        for request in self.oracle.requests.values():
            request.faults += 1

    async def beat(self) -> None:
        """A heartbeat begins."""
        holds = [hold for one in self.processes if not one.paused for hold in one.holds]
        if holds:
            hold = self.chance.choice(holds)
            self.say(f"p{hold.at} renews")
            hold.beat()
            await self.gates.still()

    async def pass_time(self) -> None:
        """Time passes; nearly always all renew in time."""
        seconds = self.chance.choice([0.001, 0.5, 5.1, LEASE / 3, LEASE + 1, 3 * LEASE + 1])
        self.say(f"{seconds} s pass")
        await self.elapse(seconds)

    async def elapse(self, seconds: float) -> None:
        """Time passes, in slices within which each lease is renewed."""
        while seconds > 0:
            part = min(seconds, LEASE / 3)
            seconds -= part
            self.clock.advance(part)
            await self.renew()
            self.note_lapses()

    async def renew(self) -> None:
        """All that run renew, and what they hold is told."""
        beats = [task for one in self.processes if not one.paused for hold in one.holds for task in hold.beat()]
        await self.gates.still()
        for _ in range(_ROUNDS):
            mine = [one for one in self.gates.parked if one.task in beats]
            if not mine:
                break
            refused = mine[0].what == "redis" and not self.linked[HOSTS[mine[0].at]]
            await self.gates.let(mine[0], Fate.REFUSED if refused else Fate.DONE)

    def note_lapses(self) -> None:
        """Who has not renewed in time is as good as dead to others."""
        for place, stands in self.oracle.stands.items():
            for name, (record, standing) in stands.items():
                request = self.oracle.requests.get(name)
                if request is None or record is None or record.state is not RecordState.RUNNING:
                    continue
                left = self.left(place, standing.raw[len(standing.blob) :])
                lapse = (place, name, record.owner)
                if left > 0:
                    self.lapses.discard(lapse)
                else:
                    self.oracle.lapsed.add(record.owner)
                    if lapse not in self.lapses and self.alive(record.owner) is not None:
                        self.lapses.add(lapse)
                        request.slips += 1
                        self.say(f"the lease of {record.owner.hex()[:6]} in {place} has lapsed")

    def left(self, place: str, stamp: bytes) -> float:
        """Seconds of a lease, by the stamp behind it."""
        until_ms = int.from_bytes(stamp[-8:], "big")
        return until_ms / 1000 - (self.clock.time() if place == "redis" else self.clock.boottime())

    async def replay(self) -> None:
        """Redis is told what it missed."""
        process = self.chance.choice(self.processes)
        if not process.paused:
            self.say(f"p{process.at} replays")
            self.start(process, self.replays(process), "")
            await self.gates.still()

    async def replays(self, process: Process) -> None:
        """As far as it comes."""
        with suppress(CacheClosedError):
            await process.cache._machine.journal.replay()

    # -- what befalls them ------------------------------------------------------------------------------------------

    async def link(self) -> None:
        """A host loses Redis, or has it again."""
        host = self.chance.randrange(2)
        self.linked[host] = not self.linked[host]
        self.say(f"host {host} {'has Redis again' if self.linked[host] else 'loses Redis'}")
        self.ill()

    async def fill(self) -> None:
        """Redis takes nothing more, or does again."""
        self.server.state = State.FULL if self.server.state is State.UP else State.UP
        self.say(f"Redis is {self.server.state.value}")
        self.ill()

    async def restart(self) -> None:
        """Redis is another, and empty."""
        self.say("Redis restarts empty")
        self.server.restart()
        self.oracle.stands["redis"].clear()
        self.ill()

    async def arrive(self) -> None:
        """What was on the wire arrives."""
        self.say("a late one arrives")
        self.gates.late.pop(self.chance.randrange(len(self.gates.late)))()

    async def kill(self) -> None:
        """A process is killed, and another begins."""
        process = self.chance.choice(self.processes)
        self.say(f"p{process.at} is killed")
        await self.die(process)

    async def die(self, process: Process, last: Parked | None = None) -> None:
        """A process dies, of what it did last."""
        self.slip(process)
        if last is not None:
            await self.gates.let(last, Fate.LAST)
        await self.bury(process)
        self.processes[process.at] = self.begin(process.at)

    def slip(self, process: Process) -> None:
        """Something befell a process."""
        for name in set(process.tasks.values()):
            if name in self.oracle.requests:
                self.oracle.requests[name].slips += 1
        for hold in process.holds:
            if hold.runs and hold.name not in process.tasks.values():
                self.oracle.requests[hold.name].slips += 1

    async def bury(self, process: Process) -> None:
        """Nothing of it goes on; its files are let go of, as the kernel would."""
        self.gates.dead |= {process, process.redis, process.files}
        home = process.cache._machine.homes.here()
        for _ in range(20):
            tasks = {
                *home._tasks,
                *home.flights.tasks(),
                *home.runs.tasks(),
                *home._attendants.values(),
                *process.tasks,
            }
            tasks = {task for task in tasks if not task.done()}
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.1)
        assert not tasks, f"they do not end: {tasks}"
        process.tasks.clear()
        process.cache._machine.entrance.used = False
        await process.files.aclose()

    async def close(self) -> None:
        """A process closes its cache without patience, and another begins."""
        process = self.chance.choice(self.processes)
        if process.paused:
            return
        self.say(f"p{process.at} closes")
        self.slip(process)
        task = asyncio.create_task(process.cache.aclose(0))
        for _ in range(_ROUNDS):
            await self.gates.still()
            mine = [one for one in self.gates.parked if one.at == process.at]
            if task.done() and not mine:
                break
            if mine:
                refused = mine[0].what == "redis" and not self.linked[process.host]
                await self.gates.let(mine[0], Fate.REFUSED if refused else Fate.DONE)
            else:
                await asyncio.wait([task, *process.tasks], timeout=0.6, return_when=asyncio.FIRST_COMPLETED)
        await task
        await self.check_ended(process)
        await self.bury(process)
        self.processes[process.at] = self.begin(process.at)

    async def check_ended(self, process: Process) -> None:
        """All that was under way has ended."""
        await self.gates.still()
        assert all(task.done() for task in process.tasks), "calls outlive their cache"
        for task in process.tasks:
            if not task.cancelled() and (fault := task.exception()) is not None:
                raise fault

    async def pause(self) -> None:
        """A process stands still, and time may pass it by."""
        process = self.chance.choice(self.processes)
        process.paused = True
        self.say(f"p{process.at} is paused")
        if self.chance.random() < 0.5:
            await self.pass_time()

    async def resume(self) -> None:
        """It goes on."""
        self.wake(self.chance.choice([one for one in self.processes if one.paused]))

    def wake(self, process: Process) -> None:
        """It may have been paused for longer than what it holds in its own memory was leased for."""
        process.paused = False
        self.say(f"p{process.at} goes on")
        for hold in process.holds:
            if hold.holds and (request := self.oracle.requests.get(hold.name)) is not None:
                self.oracle.lapsed.add(hold.attempt.owner)
                request.slips += 1

    async def cancel(self) -> None:
        """A caller gives up."""
        pairs = [
            (one, task, name) for one in self.processes if not one.paused for task, name in one.tasks.items() if name
        ]
        if pairs:
            process, task, name = self.chance.choice(pairs)
            self.say(f"a caller of p{process.at} gives up")
            self.oracle.requests[name].slips += 1
            task.cancel()
            await self.gates.still()

    async def forget(self) -> None:
        """One is forgotten."""
        key = self.chance.choice(self.keys)
        request = self.oracle.requests[self.name(key)]
        process = self.chance.choice([one for one in self.processes if one.host in request.hosts])
        if not process.paused:
            self.say(f"p{process.at} forgets {key}")
            self.start(process, self.forgets(process, key), "")
            await self.gates.still()

    async def forgets(self, process: Process, key: str) -> None:
        """Until that is acknowledged."""
        try:
            await process.cache.forget(key)
        except (CacheClosedError, CacheWriteError):
            assert process.cache._machine.homes.closed, "it was not closed"
            return
        self.say(f"p{process.at} has forgotten {key}")
        known = self.oracle.requests[self.name(key)].known
        known[process.host] = max(known[process.host], self.oracle.floors[process.host, self.name(key)])

    async def clear(self) -> None:
        """All are forgotten."""
        process = self.chance.choice(self.processes)
        if not process.paused:
            self.say(f"p{process.at} clears")
            self.start(process, self.clears(process), "")
            await self.gates.still()

    async def clears(self, process: Process) -> None:
        """Until that is acknowledged."""
        try:
            await process.cache.clear()
        except (CacheClosedError, CacheWriteError):
            assert process.cache._machine.homes.closed, "it was not closed"
            return
        self.say(f"p{process.at} has cleared")
        self.clock.advance(0.06)  # till then what others claim, who have not heard of it, counts as older
        for request in self.oracle.requests.values():
            request.known[process.host] = max(request.known[process.host], process.cleared)

    async def expire(self) -> None:
        """All answers end."""
        self.say("all answers end")
        for request in self.oracle.requests.values():
            request.slips += len(request.hosts)
        self.clock.advance(RETENTION + 1)
        await self.renew()
        self.note_lapses()

    # -- at rest ----------------------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """All is mended: every call ends, everybody has an answer, and Redis and each host hold it."""
        self.say("-- all is mended")
        self.linked = [True, True]
        self.server.state = State.UP
        self.may -= {"silence", "kills", "failures"}
        while self.gates.late:
            await self.arrive()
        for process in self.processes:
            if process.paused:
                self.wake(process)
        await self.until_all_end()
        self.ill()
        await self.elapse(LEASE)  # breakers rest for a while
        for process in self.processes:  # one probe at a time
            self.start(process, self.knocks(process), "")
        await self.until_all_end()
        await self.tell_all()
        await self.ask_all()
        await self.tell_all()
        for request in self.oracle.requests.values():
            newest = max(request.known.values(), default=ZERO)
            request.known.update(dict.fromkeys(request.hosts, newest))
        await self.ask_all()
        for key in self.keys:
            await self.check_rest(self.name(key))
        for process in self.processes:
            process.holds.clear()

    async def knocks(self, process: Process) -> None:
        """Has its breakers see that Redis is back."""
        await process.cache.get("nothing")
        await process.cache.set("anything", 1)

    async def ask_all(self) -> None:
        """Each process asks for everything."""
        for process in self.processes:
            for key in self.keys:
                if process.host in self.oracle.requests[self.name(key)].hosts:
                    self.start(process, self.asks(process, key), key)
        await self.until_all_end()

    async def tell_all(self) -> None:
        """Redis is told all that it missed."""
        for _ in range(2):
            for process in self.processes:
                self.start(process, self.replays(process), "")
                await self.until_all_end()
            await self.elapse(5.0)

    async def until_all_end(self) -> None:
        """Every call does."""
        for rounds in range(_ROUNDS):
            await self.check()
            busy = [one for one in self.gates.parked if one.what != "wait"]
            if not any(process.tasks for process in self.processes) and not busy:
                return
            if busy:
                await self.gates.let(busy[0])
            else:
                await self.elapse(LEASE / 6)
                for parked in [*self.gates.parked]:
                    await self.gates.let(parked)
            assert rounds < _ROUNDS - 1, f"they never end: {[(one.at, one.why) for one in self.gates.parked]}"

    async def check_rest(self, name: str) -> None:
        """Of one request."""
        request = self.oracle.requests[name]
        shared = self.oracle.standing("redis", name)
        for host in request.hosts:
            observer = self.observers[host]
            await observer.open()
            assert observer.pending(name) is None, f"host {host} owes Redis {name}"
            kept = self.oracle.standing(f"file {host}", name)
            assert kept is not None, f"host {host} has no answer to {name}"
            assert kept.answers, f"host {host} has no answer to {name}"
            assert shared is not None, f"Redis has no answer to {name}"
            assert shared.answers, f"Redis has no answer to {name}"
            told = [record.fence for record in (kept, shared)]
            assert min(told) > max(request.known.values(), default=ZERO), f"{name}: what was forgotten is held"


def _guarded(store: Store, clock: ProcessClock) -> Layer:
    def breaker(kind: str) -> CircuitBreaker:
        return CircuitBreaker(name=f"{store.name}.{kind}", clock=clock, recovery_time=1.0, jitter=0.0)

    guard = Guard(
        breaker=breaker("conn"), write_breaker=breaker("write"), timeout=1e6, clock=clock, layer=store.name
    )  # a slow walk is no fault
    return Layer(store, guard, clock=clock)


async def _never() -> None:
    await asyncio.Event().wait()
