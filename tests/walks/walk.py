"""One walk: two thousand steps of the real code, each compared with the model."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, Final

from fake_redis import State
from redis import exceptions as replies
from walks.model import EPOCH, TOMBSTONE_TTL, DiedError, Model, Record, Way
from walks.world import HOSTS, TRUST, Process, World

from toolcache.blob import EPOCH as EPOCH_FLAG
from toolcache.blob import NEVER, TOMBSTONE, read_header
from toolcache.entry import MISSING
from toolcache.protocols import Write

STEPS: Final = 2_000
KEYS: Final = ("a", "b", "c")
TTLS: Final = (None, 3.0, 30.0, 300.5, 100_000.0)
WAITS: Final = (0.001, 0.06, 0.5, 1.1, 4.0, 7.0, 29.0, 301.0, 90_000.0)
OFF: Final = (0.0, 0.0, 0.03, -0.03, 7.0, -7.0, 3600.0, -3600.0)
DEATHS: Final = ("redis before", "redis after", "file before", "file after")


class DivergedError(AssertionError):
    """The code and the model do not agree. Tells the seed, the step and the last of what led there."""


class Walk:
    """A walk over a world of its own.

    Args:
        seed: decides everything. With an even one clocks may go wrong: without, and until Redis loses something, the
            newest write must win. With each third one the values are mirrored on file.
        directory: for files.
    """

    def __init__(self, seed: int, directory: Path) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.skewed, mirrored = seed % 2 == 0, seed % 3 == 0
        self.world = World(directory, self.chance, mirrored=mirrored)
        self.model = Model(mirrored=mirrored)
        self.processes = [self.world.begin(at) for at in range(len(HOSTS))]
        self.numbers = count(1)
        self.known: dict[bytes, int] = {}
        """The number of the write of each version that was ever minted."""
        self.newest: dict[str, int] = {}
        """The number of the last acknowledged write of each key; 0 for none, or a delete."""
        self.owned: list[dict[str, tuple[int, int, float]]] = [{}, {}]
        """Of the last write of each key that each host has acknowledged: its number, by which process, and when."""
        self.lossless = True
        self.backlog: list[tuple[str, Record]] = []
        self.told: list[str] = []
        machine = self.processes[0].cache._machine
        self.names = {key: machine._entries.name(key) for key in KEYS} | {EPOCH: machine._epochs.namespace}
        self.keys = {name: key for key, name in self.names.items()}

    async def go(self, steps: int = STEPS) -> None:
        """All of it; nothing is left behind.

        Raises:
            DivergedError: somewhere.
        """
        try:
            await self._go(steps)
        finally:
            await self._aclose()

    async def _go(self, steps: int) -> None:
        every = self.steps()
        for at in range(steps):
            ((label, _, step),) = self.chance.choices(every, [weight for _, weight, _ in every])
            self.world.clock.advance(0.002)
            try:
                await self.check(label, step)
            except Exception as fault:
                last = "\n  ".join(self.told[-25:])
                raise DivergedError(
                    f"SEED={self.seed}, step {at}: {type(fault).__name__}: {fault}\n  {last}"
                ) from fault
        try:
            await self.rest()
        except Exception as fault:
            raise DivergedError(f"SEED={self.seed}, at rest: {type(fault).__name__}: {fault}") from fault

    async def _aclose(self) -> None:
        for process in self.processes:
            await process.bury()
        await self.world.aclose()

    def steps(self) -> list[tuple[str, int, Callable[[], Awaitable[None]]]]:
        """Names, weights and what to do."""
        return [
            ("get", 30, self.get),
            ("set", 16, self.set),
            ("delete", 8, self.delete),
            ("clear", 2, self.clear),
            ("get_or_set", 14, self.get_or_set),
            ("replay", 8, self.replay),
            ("follow", 5, self.follow),
            ("wait", 10, self.wait),
            ("redis up", 5, self.redis_up),
            ("redis down", 2, self.redis_down),
            ("redis frozen", 2, self.redis_frozen),
            ("redis full", 2, self.redis_full),
            ("redis flushed", 1, self.redis_flushed),
            ("redis saves", 1, self.redis_saves),
            ("redis restarts", 2, self.redis_restarts),
            ("kill", 3, self.kill),
            ("reopen", 2, self.reopen),
            *([("clock", 2, self.clock)] if self.skewed else []),
        ]

    async def check(self, label: str, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step, and compare all that can be seen from outside."""
        self.model.time = self.world.clock.time()
        self.told.append(label)
        await step()
        server, model = self.world.server, self.model
        self.backlog = [self.heard(write) for writes in server.backlog for write in writes]
        holds = {self.keys[name]: _head(held) for name in server.data if (held := server.get(name)) is not None}
        expected = {key: _flagged(record) for key in self.names if (record := model.there(key)) is not None}
        assert holds == expected, f"Redis holds {self.tell(holds)}, not {self.tell(expected)}"
        for host, what in enumerate(model.hosts):
            owed = {self.keys[name]: at for name, at in (await self.world.owed(host, [*self.keys])).items()}
            should = {key: what.log[key].version for key in what.pending}
            assert owed == should, f"host {host} owes {self.tell(owed)}, not {self.tell(should)}"

    def heard(self, write: Write) -> tuple[str, Record]:
        """What a frozen server will do later."""
        header = read_header(write.blob)
        assert header is not None
        number = 0 if header.flags & TOMBSTONE else -1 if header.flags & EPOCH_FLAG else self.known[header.version]
        return self.keys[write.key], Record(header.version, number, header.created_ms, header.gone_ms)

    def tell(self, versions: dict[str, bytes]) -> dict[str, str]:
        """For people."""
        return {key: f"#{self.known.get(at[-16:])} {at.hex()}" for key, at in sorted(versions.items())}

    # -- calls --------------------------------------------------------------------------------------------------------

    def somebody(self) -> tuple[Process, str]:
        """Who calls, and on what."""
        process, key = self.chance.choice(self.processes), self.chance.choice(KEYS)
        self.told[-1] += f" p{process.at} {key}"
        return process, key

    def way(self, process: Process) -> Way:
        """How the process is placed."""
        process.hybrid.minted.clear()
        return Way(
            now=process.clock.time(),
            monotonic=process.clock.monotonic(),
            reads=not process.refuses(mutation=False),
            writes=not process.refuses(mutation=True),
        )

    def fate(self, process: Process, way: Way) -> None:
        """Now and then a reply is lost, or the process dies of the call."""
        luck = self.chance.random()
        if luck < 0.05:
            way.lost = self.chance.choice(["timeout", "reset"])
            lost = {"timeout": replies.TimeoutError("no answer"), "reset": ConnectionResetError()}
            self.world.server.lose_reply = lost[way.lost]
            self.told[-1] += f", a reply lost by {way.lost}"
        elif luck < 0.1:
            way.dies = self.chance.choice(DEATHS)
            layer, when = way.dies.split()
            process.doom(layer, applied=when == "after")
            self.told[-1] += f", dies: {way.dies}"

    async def get(self) -> None:
        """The model's value, or nothing."""
        process, key = self.somebody()
        way = self.way(process)
        expected = self.model.read(process.at, key, way)
        self.saw(process, key, await process.do(process.cache.get(key, MISSING)), expected, way)

    def saw(self, process: Process, key: str, got: Any, expected: Record | None, way: Way) -> None:
        """A read brought something."""
        number = 0 if got is MISSING else got["number"]
        self.told[-1] += f" -> #{number}"
        assert number == (0 if expected is None else expected.number), f"{key}: #{number}, not {expected}"
        if number and self.lossless:
            own, by, at = self.owned[process.host].get(key, (0, 0, 0.0))
            told = self.model.up and way.reads and self.world.clock.time() - at >= TRUST
            assert number >= own or (by != process.at and not told), f"{key}: #{number}, having acknowledged #{own}"

    async def set(self) -> None:
        """Where the value is safe."""
        process, key = self.somebody()
        ttl, number, way = self.chance.choice(TTLS), next(self.numbers), self.way(process)
        self.told[-1] += f" #{number} ttl {ttl}"
        self.fate(process, way)
        got = await process.do(process.cache.set(key, {"number": number}, ttl))
        versions = self.minted(process, number)

        def begin() -> Record:
            now_ms = int(way.now * 1000)
            gone_ms = NEVER if ttl is None else now_ms + int(ttl * 1000)
            record = Record(next(versions), number, now_ms, gone_ms)
            self.above_all(process, key, record)
            self.model.take_in(process.at, key, record, way)
            return record

        def done(record: Record, durability: Any) -> None:
            assert got is durability, f"{got}, not {durability}"
            held = self.model.memories[process.at].held.get(key)
            if held is not None:
                held.record = record

        await self.written(process, key, begin, versions, way, done)

    async def delete(self) -> None:
        """Gone, once it has returned."""
        process, key = self.somebody()
        way = self.way(process)
        self.fate(process, way)
        await process.do(process.cache.delete(key))
        versions = self.minted(process, 0)

        def begin() -> Record:
            now_ms = int(way.now * 1000)
            record = Record(next(versions), 0, now_ms, now_ms + int(TOMBSTONE_TTL * 1000))
            self.above_all(process, key, record)
            self.model.memories[process.at].held.pop(key, None)
            return record

        await self.written(process, key, begin, versions, way, lambda _record, _durability: None)

    async def clear(self) -> None:
        """Everything gone."""
        process, _ = self.somebody()
        way = self.way(process)
        self.fate(process, way)
        got = await process.do(process.cache.clear())
        versions = self.minted(process, -1)

        def begin() -> Record:
            record = Record(next(versions), -1, int(way.now * 1000), NEVER)
            self.model.hear(process.at, record.version)
            self.model.memories[process.at].held.clear()
            return record

        def done(record: Record, durability: Any) -> None:
            self.model.hear(process.at, record.version)
            said = "done" if durability.name == "REDIS" else "queued"
            assert got is not None
            assert (got.redis, got.files) == (said, "done"), f"{got}"

        await self.written(process, EPOCH, begin, versions, way, done)
        if self.chance.random() < 0.5:
            self.world.clock.advance(0.06)  # till then what others write, who have not heard of it, counts as older

    async def written(
        self,
        process: Process,
        key: str,
        begin: Callable[[], Record],
        versions: Any,
        way: Way,
        done: Callable[[Record, Any], None],
    ) -> None:
        """A live write: what became of it, of the process, and of the rest."""
        self.spared(process, way)
        try:
            self.model.greet(process.at, way)
            record, durability, _ = self.model.write(process.at, key, begin(), versions, way)
        except DiedError:
            assert process.dead, "it should have died"
        else:
            assert not process.dead, "it should have lived"
            assert next(versions, None) is None, "it has tried more often than it had to"
            done(record, durability)
            self.told[-1] += f" -> {durability.name}"
            for each in KEYS if key == EPOCH else [key]:
                self.acknowledged(process, each, max(0, record.number))
        await self.outlive(process, way)

    def spared(self, process: Process, way: Way) -> None:
        """A read ahead of the write may have opened the breaker that spared the process."""
        if way.dies == "redis before" and not self.model.up and not process.dead:
            way.writes = False

    def acknowledged(self, process: Process, key: str, number: int) -> None:
        """A write was; 0 for a delete, which every later write is above."""
        floor = number or next(self.numbers)
        self.newest[key] = number
        self.owned[process.host][key] = (floor, process.at, self.world.clock.time())

    async def get_or_set(self) -> None:
        """What is there, or what is computed."""
        process, key = self.somebody()
        ttl, number, way = self.chance.choice(TTLS), next(self.numbers), self.way(process)
        self.fate(process, way)
        got = await process.do(process.cache.get_or_set(key, lambda: {"number": number}, ttl=ttl))
        self.spared(process, way)
        versions = self.minted(process, number)
        held = self.model.current(process.at, key)
        if held is not None and way.monotonic < held.settled_until:
            found, version = held.record, held.record.version
        else:
            try:
                found, version = self.model.find(process.at, key, way)  # type: ignore[assignment]  # none found
            except DiedError:
                assert process.dead, "it should have died"
                await self.outlive(process, way)
                return
        if found is not None:
            self.saw(process, key, got, found, way)
            await self.outlive(process, way)
            return
        self.told[-1] += f" computes #{number} ttl {ttl}"
        assert process.dead or got == {"number": number}, f"{got}, and nothing is there"
        if self.model.memories[process.at].heard > version:
            # It has heard of a write while it looked, and found it nowhere: it may be yet to come.
            self.told[-1] += " -> stored nowhere"
            await self.outlive(process, way)
            return
        now_ms = int(way.now * 1000)
        record = Record(next(versions), number, now_ms, NEVER if ttl is None else now_ms + int(ttl * 1000))
        assert record.version > max(version, self.model.memories[process.at].epoch)
        self.model.take_in(process.at, key, record, way)
        try:
            record, durability, superseded = self.model.write(process.at, key, record, versions, way, live=False)
        except DiedError:
            assert process.dead, "it should have died"
        else:
            assert not process.dead, "it should have lived"
            if superseded:
                self.model.memories[process.at].held.pop(key, None)
            else:
                self.acknowledged(process, key, number)
            self.told[-1] += f" -> {durability.name}"
        await self.outlive(process, way)

    def minted(self, process: Process, number: int) -> Any:
        """The versions that a call took."""
        self.known.update(dict.fromkeys(process.hybrid.minted, number))
        return iter([*process.hybrid.minted])

    def above_all(self, process: Process, key: str, record: Record) -> None:
        """A write is above the epoch, and what the process knows of the key."""
        me = self.model.memories[process.at]
        held = me.held.get(key)
        assert record.version > me.epoch
        assert held is None or record.version > held.record.version

    async def outlive(self, process: Process, way: Way) -> None:
        """The next process comes where one has died, or was about to."""
        self.world.server.lose_reply = None
        if way.dies:
            await process.bury()
            self.begin(process.at)

    def begin(self, at: int) -> None:
        """A process begins."""
        self.processes[at] = self.world.begin(at)
        self.model.begin(at)

    async def replay(self) -> None:
        """Redis is told what it missed."""
        process, _ = self.somebody()
        way = self.way(process)
        self.fate(process, way)
        if way.dies.startswith("file") or self.model.full:
            process.spare()
            way.dies = ""
        host = self.model.hosts[process.host]
        before, names = set(host.pending), [*self.keys]
        await process.do(process.cache._machine.journal.replay())
        given_up = bool(way.lost) and process.refuses(mutation=True)
        try:
            self.model.replay(process.at, replace(way, dies="redis after") if given_up else way)
        except DiedError:
            assert process.dead or given_up, "it should have died"
        else:
            assert not process.dead, "it should have lived"
        if self.model.full:
            # It took what changes nothing, till the breaker opened.
            owed = {self.keys[name] for name in await self.world.owed(process.host, names)}
            assert host.pending <= owed <= before
            host.pending = owed
        await self.outlive(process, way)

    async def follow(self) -> None:
        """A process hears what its host's files have been told."""
        process, _ = self.somebody()
        await process.do(process.cache._machine._follower.catch_up())
        self.model.follow(process.at)
        # Its first call will have it follow once more.
        self.model.memories[process.at].behind = not process.cache._machine.entrance.used

    # -- what befalls them --------------------------------------------------------------------------------------------

    async def wait(self) -> None:
        """Time passes."""
        seconds = self.chance.choices(WAITS, [4] * (len(WAITS) - 1) + [1])[0]
        self.told[-1] += f" {seconds}"
        self.world.clock.advance(seconds)
        self.model.time = self.world.clock.time()

    async def redis_up(self) -> None:
        """It works again; what a frozen one had been told happens now."""
        self.thaw()
        self.state(State.UP)

    async def redis_down(self) -> None:
        """Nobody is there; what it holds it keeps."""
        self.thaw()
        self.state(State.DOWN)

    async def redis_frozen(self) -> None:
        """It is there, and says nothing."""
        self.thaw()
        self.state(State.FROZEN)

    async def redis_full(self) -> None:
        """It takes nothing more."""
        self.thaw()
        self.state(State.FULL)

    def thaw(self) -> None:
        """What came meanwhile is done."""
        self.world.server.thaw()
        self.state(State.UP)
        for key, record in self.backlog:
            self.model.put(key, record)
        self.backlog.clear()

    def state(self, state: State) -> None:
        """So it fares from now on."""
        self.world.server.state = state
        self.model.up = state in {State.UP, State.FULL}
        self.model.full = state is State.FULL

    async def redis_flushed(self) -> None:
        """All is gone, and nobody told."""
        self.world.server.data.clear()
        self.model.redis.clear()
        self.lossless = False

    async def redis_saves(self) -> None:
        """What a restart may bring back."""
        self.saved = dict(self.world.server.data)
        self.model.saved = dict(self.model.redis)

    async def redis_restarts(self) -> None:
        """As another, empty or with old data."""
        old = self.chance.random() < 0.5
        self.told[-1] += " with old data" if old else " empty"
        self.world.server.restart(getattr(self, "saved", {}) if old else None)
        self.model.redis = dict(self.model.saved) if old else {}
        self.model.run_id = self.world.server.run_id
        self.backlog.clear()
        self.state(State.UP)
        self.lossless = False

    async def kill(self) -> None:
        """A process ends between two calls, and another begins."""
        process, _ = self.somebody()
        await process.bury()
        self.begin(process.at)

    async def reopen(self) -> None:
        """A process closes its cache, and another begins."""
        process, _ = self.somebody()
        await process.cache.aclose()
        self.begin(process.at)

    async def clock(self) -> None:
        """The wall clock of a host is set, right or wrong: processes that begin go by it until Redis tells better."""
        host = self.chance.randrange(2)
        self.world.off[host] = self.chance.choice(OFF)
        self.told[-1] += f" of host {host} off by {self.world.off[host]}"
        self.lossless = False

    # -- at rest ------------------------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """All is up, and everybody has replayed: all find the same, and nothing is owed."""
        await self.check("redis up", self.redis_up)
        for _ in range(2):
            self.world.clock.advance(TRUST + 60.0)
            for process in self.processes:
                await process.cache.get("nothing")
                await process.cache._machine.journal.replay()
        for host in (0, 1):
            assert not await self.world.owed(host, [*self.keys])
        for key in KEYS:
            found = [await process.cache.get(key, MISSING) for process in self.processes]
            # A clear of a clock ahead that a flush has taken from Redis is known to the host that made it, and nobody else.
            assert self.skewed or found[0] == found[1] == found[2], f"{key}: {found}"
            if self.lossless and found[0] is not MISSING:
                assert found[0]["number"] == self.newest.get(key, 0), f"{key}: {found[0]}, not #{self.newest.get(key)}"


def _head(held: Any) -> bytes:
    """The flags and the version of a blob."""
    return bytes(held[3:20])


def _flagged(record: Record) -> bytes:
    """The same of a record."""
    return bytes([TOMBSTONE if record.number == 0 else EPOCH_FLAG if record.number < 0 else 0]) + record.version
