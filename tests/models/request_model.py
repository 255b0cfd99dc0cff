"""One request that is to run once, as a model: claims, commits and what befalls them, in every interleaving.

Several processes, one file of records for each host, one Redis before them all. Each process asks for the answer of one
request, again and again: it claims the file, claims Redis, executes, commits to Redis, commits to the file, answers;
each of these is one swap, and between any two of them anything may happen. *Faults* are Redis': a host loses it, it
loses a reply or all that it holds, a swap arrives when its sender has long given it up. *Slips* are the processes': one
is killed (another begins at once in its place), is paused for longer than its lease, fails, is abandoned, or forgets the
request.
"""

from collections.abc import Iterator
from typing import TypeAlias

from models.explorer import Explored, explore
from models.request_state import (
    LEAVES,
    LIMIT,
    Process,
    Record,
    Rules,
    World,
    answer_of,
    forget,
    in_progress,
    owners,
    put,
    tell,
)

Steps: TypeAlias = Iterator[tuple[str, World]]

AT_REDIS = ("claims", "commits", "failing", "abandoning", "forgets", "tells")
"""What a process does at Redis, or without it."""


class Model:
    """The steps of the protocol under ``rules``.

    Args:
        rules: what holds.
        may: which faults and slips there are.
        hosts: the host of each process.
        attempts: how many there may be.
        prompt: whether heartbeats and replays come before whatever else could happen.
    """

    def __init__(
        self, rules: Rules, *may: str, hosts: tuple[int, ...] = (0, 0), attempts: int = 9, prompt: bool = False
    ) -> None:
        self.rules = rules
        self.may = frozenset(may)
        self.hosts = hosts
        self.attempts = attempts
        self.prompt = prompt
        self.start = World((), (), (), (), (), 0, 0)

    def begin(self, faults: int, slips: int) -> World:
        """Nothing has been asked yet."""
        count = max(self.hosts) + 1
        nothing = (Process(),) * len(self.hosts), (Record(),) * count, (True,) * count, ((0, 0),) * count, (0,) * count
        self.start = World(*nothing, faults, slips)
        return self.start

    def explore(self, faults: int = 0, slips: int = 0) -> Explored:
        """All worlds with at most so many faults and slips."""
        return explore(self.begin(faults, slips), self.steps, self.wrong)

    def steps(self, world: World) -> Steps:
        """Whatever may happen next."""
        if self.prompt and (kept := list(self.housekeeping(world))):
            yield from kept
            return
        yield from self.moves(world)
        yield from self.time(world)
        if world.faults:
            yield from self.befalls(world, world._replace(faults=world.faults - 1))
        if world.slips:
            yield from self.slip(world._replace(slips=world.slips - 1))

    def moves(self, world: World) -> Steps:
        """What the processes do, each its next step."""
        yield from self.housekeeping(world)
        for at, process in enumerate(world.processes):
            if process.phase == "asks":
                yield from self.ask(world, at)
            elif process.phase == "runs":
                ran = process._replace(phase="commits", result=world.runs + 1, made=process.fence)
                if not self.rules.redis_first:
                    ran = ran._replace(phase="keeps")
                yield f"p{at} executes", self.with_(world._replace(runs=world.runs + 1), at, ran)
            elif process.phase in AT_REDIS:
                if world.linked[self.hosts[at]]:
                    yield f"p{at} {process.phase} at Redis", self.at_redis(world, at, process)
                else:
                    yield f"p{at} {process.phase} alone", self.alone(world, at, process)
            elif process.phase == "keeps":
                yield f"p{at} commits to the file", self.keep(world, at, process)
            elif process.phase == "forgets here":
                yield f"p{at} has forgotten", self.forgotten(world, at, process)
            else:
                yield f"p{at} {process.phase} in the file", self.leave(world, at, process)

    # -- the file first ------------------------------------------------------------------------------------------------

    def ask(self, world: World, at: int) -> Steps:
        """The host's answer; or its claim, unless another process has that."""
        host = self.hosts[at]
        file = world.files[host]
        if file.kind == "C":
            yield f"p{at} answers", self.answer(world, at, file.result, file.fence, world.acknowledged[host])
            return
        dead = file.kind == "I" and (file.lapsed or file.owner not in owners(world))
        if file.kind == "I" and not dead:
            return
        attempts = min(file.attempts, self.attempts) + 1 if dead else 1
        floor = file.floor if self.rules.floor else 0
        process = Process("claims", self.owner(world, at), attempts, world.forgets, floor)
        process = process._replace(born=world.acknowledged[host])
        if dead and self.rules.pass_on:
            process = process._replace(passed=(*(file.passed if self.rules.lineage else ()), file.owner))
        mine = in_progress(process)
        if not self.rules.limit_asks and attempts > self.attempts:
            process = process._replace(phase="keeps", result=LIMIT, made=process.fence)
        if not self.rules.file_first and world.linked[host]:
            yield f"p{at} goes to Redis", self.with_(world, at, process)
        else:
            yield f"p{at} {'takes over' if dead else 'claims'} the file", self.with_(world, at, process, mine)

    def owner(self, world: World, at: int) -> int:
        """One that nobody else has, and nothing stands of."""
        taken = {record.owner for record in (world.redis, *world.files, *(world.late or ()))}
        taken.update(*(file.passed for file in world.files), *(process.passed for process in world.processes))
        count = len(world.processes)
        return next(owner for owner in range(at + 1, 9 * count, count) if owner not in taken)

    # -- then Redis ----------------------------------------------------------------------------------------------------

    def at_redis(self, world: World, at: int, process: Process) -> World:
        """What the next step of a process does at Redis, and what the process makes of it."""
        redis, floor = world.redis, max(world.redis.floor, process.floor if self.rules.floor else 0)
        phase = process.phase
        done = redis.kind == "C" and redis.fence >= process.floor
        if phase == "claims":
            world, process = self.claim(world, at, process, done=done, floor=floor)
        elif phase == "forgets":
            world, process = tell(world, process.floor), process._replace(phase="forgets here")
        elif phase in ("failing", "abandoning"):
            process = process._replace(phase="fails" if phase == "failing" else "abandons")
            if redis.owner == process.owner or not self.rules.owned:
                world = world._replace(redis=Record(LEAVES[process.phase], floor=self.heir(floor)))
        elif self.rules.fenced and redis.floor > process.made:
            process = process._replace(phase="ends", floor=redis.floor)
        elif done and self.stays(redis):
            process = process._replace(phase="keeps", result=redis.result, made=redis.fence)
        else:
            world = world._replace(redis=Record("C", 0, 0, process.made, self.heir(floor), process.result))
            process = process._replace(phase="keeps")
        if phase == "tells":
            return self.answer(world, at, *answer_of(world.files[self.hosts[at]]), process.born)
        return self.with_(world, at, process)

    def claim(self, world: World, at: int, process: Process, *, done: bool, floor: int) -> tuple[World, Process]:
        """Adopt what is completed; wait for another's claim; or claim."""
        redis = world.redis
        if done and self.rules.through_file:
            return world, process._replace(phase="keeps", result=redis.result, made=redis.fence)
        if done:
            return world, process._replace(phase="answers", result=redis.result, made=redis.fence)
        theirs = redis.kind == "I" and redis.owner != process.owner
        dead = redis.lapsed or redis.owner in process.passed
        if theirs and not dead and redis.fence >= process.floor:
            return world, process._replace(phase="backs", passed=())
        if theirs:
            process = process._replace(attempts=max(process.attempts, min(redis.attempts, self.attempts) + 1))
        if self.rules.above:
            process = process._replace(fence=max(process.fence, redis.floor))
        process = process._replace(floor=floor, passed=())
        if self.prompt and self.elsewhere(world, self.hosts[at]):
            world = world._replace(wrong="runs what another host runs, or has answered")
        return world._replace(redis=in_progress(process)), self.run(process)

    def mine(self, world: World, at: int) -> bool:
        """Whether the file was claimed at all, as it always should be."""
        process = world.processes[at]
        return self.rules.file_first or world.files[self.hosts[at]].owner == process.owner

    def elsewhere(self, world: World, here: int) -> bool:
        """Whether another host that has Redis executes, or has answered."""
        running = {process.owner for process in world.processes if process.phase == "runs"}
        return any(
            link and host != here and (file.kind == "C" or (file.owner in running and not file.lapsed))
            for host, (link, file) in enumerate(zip(world.linked, world.files, strict=True))
        )

    def run(self, process: Process) -> Process:
        """Claimed: execute, unless that was tried too often."""
        if process.attempts > self.attempts and self.rules.limited:
            return process._replace(phase="commits", result=LIMIT, made=process.fence)
        return process._replace(phase="runs", passed=())

    def alone(self, world: World, at: int, process: Process) -> World:
        """Redis is unusable, or has not answered."""
        if process.phase == "tells":
            return self.answer(world, at, *answer_of(world.files[self.hosts[at]]), process.born)
        then = {"commits": "keeps", "failing": "fails", "abandoning": "abandons", "forgets": "forgets here"}
        if process.phase == "claims":
            return self.with_(world, at, self.run(process) if self.mine(world, at) else Process())
        return self.with_(world, at, process._replace(phase=then[process.phase]))

    def stays(self, completed: Record) -> bool:
        """Whether a commit leaves it."""
        return self.rules.write_once and (self.rules.limit_stays or completed.result != LIMIT)

    # -- and the file again --------------------------------------------------------------------------------------------

    def keep(self, world: World, at: int, process: Process) -> World:
        """What the host's file holds then is the answer, of this and of every later call."""
        file = world.files[self.hosts[at]]
        if self.rules.fenced and file.floor > process.made:
            return self.leave(world, at, process._replace(phase="ends"))
        if file.kind != "C" or not self.stays(file) or file.fence < process.floor:
            floor = max(file.floor, process.floor if self.rules.floor else 0)
            file = Record("C", 0, 0, process.made, self.heir(floor), process.result)
        if not self.rules.redis_first and process.made == process.fence:
            return self.with_(world, at, process._replace(phase="tells"), file)
        return self.answer(self.with_(world, at, process, file), at, *answer_of(file), process.born)

    def leave(self, world: World, at: int, process: Process) -> World:
        """The claim is given back. Who has executed tells its own callers, whatever stands there now."""
        host = self.hosts[at]
        file = world.files[host]
        if file.owner == process.owner or (not self.rules.owned and process.phase in ("fails", "abandons")):
            floor = max(file.floor, process.floor) if self.rules.floor else file.floor
            world = self.with_(world, at, process, Record(LEAVES[process.phase], floor=self.heir(floor)))
        if process.phase == "answers":
            return self.answer(world, at, process.result, process.made, process.born)
        if process.phase == "ends" and process.made < process.born:
            world = world._replace(wrong="answers what was forgotten")
        return self.with_(world, at, Process())

    def heir(self, floor: int) -> int:
        """The floor of what takes a claim's place."""
        return floor if self.rules.heirs else 0

    def forgotten(self, world: World, at: int, process: Process) -> World:
        """The file has forgotten too: that is acknowledged."""
        host = self.hosts[at]
        known = put(world.acknowledged, host, max(process.floor, world.acknowledged[host]))
        return self.with_(world._replace(acknowledged=known), at, Process(), forget(world.files[host], process.floor))

    def answer(self, world: World, at: int, result: int, fence: int, born: int) -> World:
        """A call has its answer, and the process may ask again."""
        host = self.hosts[at]
        before, older = world.answers[host]
        if fence < born:
            world = world._replace(wrong="answers what was forgotten")
        elif before and result != before and fence <= older:
            world = world._replace(wrong="a host changes its answer")
        return self.with_(world._replace(answers=put(world.answers, host, (result, fence))), at, Process())

    # -- what goes on beside -------------------------------------------------------------------------------------------

    def housekeeping(self, world: World) -> Steps:
        """Heartbeats, and what Redis lacks."""
        for at, process in enumerate(world.processes):
            if process.phase in ("runs", "commits"):
                file = world.files[self.hosts[at]]
                if file.owner == process.owner and file.lapsed:
                    yield f"p{at} renews the file", self.with_(world, at, process, file._replace(lapsed=False))
                if world.linked[self.hosts[at]]:
                    yield from self.renew(world, at, process)
        for host, file in enumerate(world.files):
            if self.rules.replay and world.linked[host] and (replayed := self.replay(world, file)) != world:
                yield f"h{host} tells Redis", replayed

    def renew(self, world: World, at: int, process: Process) -> Steps:
        """A heartbeat at Redis."""
        redis = world.redis
        if redis.owner == process.owner and redis.lapsed:
            yield f"p{at} renews Redis", world._replace(redis=redis._replace(lapsed=False))
        elif self.rules.reassert and not redis.kind and redis.floor <= process.fence:
            mine = in_progress(process)
            yield f"p{at} asserts its claim", world._replace(redis=mine._replace(floor=max(mine.floor, redis.floor)))

    def replay(self, world: World, file: Record) -> World:
        """What the file knows of forgets and answers, Redis knows."""
        if file.floor > world.redis.floor:
            world = tell(world, file.floor)
        redis = world.redis
        if file.kind == "C" and redis.kind != "C" and file.fence >= redis.floor:
            world = world._replace(redis=file._replace(floor=max(file.floor, redis.floor)))
        return world

    def time(self, world: World) -> Steps:
        """Leases in Redis that nobody can renew, and failures, end."""
        redis = world.redis
        if world.late is not None:
            expected, new = world.late
            there = expected == redis._replace(lapsed=expected.lapsed)
            yield "a swap arrives late", world._replace(redis=new if there else redis, late=None)
        if redis.kind == "I" and not redis.lapsed:
            holders = [at for at, process in enumerate(world.processes) if process.owner == redis.owner]
            if not any(world.linked[self.hosts[at]] for at in holders):
                yield "a lease in Redis ends", world._replace(redis=redis._replace(lapsed=True))
        if redis.kind == "F":
            yield "a failure in Redis ends", world._replace(redis=Record(floor=redis.floor))

    # -- what befalls them ---------------------------------------------------------------------------------------------

    def befalls(self, world: World, after: World) -> Steps:
        """Anything that may go wrong with Redis, once more."""
        if "partitions" in self.may:
            for host, link in enumerate(world.linked):
                said = f"h{host} {'loses Redis' if link else 'has Redis again'}"
                yield said, after._replace(linked=put(world.linked, host, not link))
        if "restarts" in self.may and world.redis != Record():
            yield "Redis restarts empty", after._replace(redis=Record(), told=0)
        if "silence" in self.may:
            for at, process in enumerate(world.processes):
                if process.phase in AT_REDIS and world.linked[self.hosts[at]]:
                    yield from self.silence(world, after, at, process)

    def silence(self, world: World, after: World, at: int, process: Process) -> Steps:
        """Redis does not answer, and has not done what it was asked, or has, or will."""
        yield f"p{at} {process.phase} unanswered and in vain", self.alone(after, at, process)
        done = self.at_redis(after, at, process)
        heard = after._replace(redis=done.redis, told=done.told)
        yield f"p{at} {process.phase} unanswered", self.alone(heard, at, process)
        if done.redis != world.redis and world.late is None and "delays" in self.may:
            late = after._replace(late=(world.redis, done.redis))
            yield f"p{at} {process.phase} into the wire", self.alone(late, at, process)

    def slip(self, world: World) -> Steps:
        """Anything that may go wrong with a process, once more."""
        for at, process in enumerate(world.processes):
            file = world.files[self.hosts[at]]
            if "kills" in self.may and process.phase != "asks":
                yield f"p{at} is killed", self.with_(world, at, Process())
            if "pauses" in self.may and file.owner == process.owner != 0:
                paused = self.with_(world, at, process, file._replace(lapsed=True))
                yield f"p{at} is paused", paused
                if world.redis.owner == process.owner:
                    yield f"p{at} is paused for long", paused._replace(redis=world.redis._replace(lapsed=True))
            if process.phase == "runs":
                if "failures" in self.may:
                    ran = world._replace(runs=world.runs + 1)
                    yield f"p{at} executes and fails", self.with_(ran, at, process._replace(phase="failing"))
                if "cancels" in self.may:
                    yield f"p{at} is cancelled", self.with_(world, at, process._replace(phase="abandoning"))
            if "forgets" in self.may and process.phase == "asks":
                begun = Process("forgets", floor=world.forgets + 1)
                yield f"p{at} forgets", self.with_(world._replace(forgets=world.forgets + 1), at, begun)

    # -- what must hold ------------------------------------------------------------------------------------------------

    def wrong(self, world: World) -> str:
        """What does not."""
        if world.wrong:
            return world.wrong
        if any(
            file.kind == "C" and file.fence < known for file, known in zip(world.files, world.acknowledged, strict=True)
        ):
            return "a file holds what was forgotten"
        redis = world.redis
        if redis.kind == "C" and redis.fence < world.forgets and redis.fence < max(world.told, *self.at_rest(world)):
            return "Redis holds what was forgotten"
        faults, slips = self.start.faults - world.faults, self.start.slips - world.slips
        doubled = faults * (1 + world.forgets) if len(world.files) > 1 else 0
        if world.runs > 1 + slips + doubled:
            return "too many executions"
        if not faults:
            given = [answer for answer in world.answers if answer[0]]
            if any(fence == older and one != other for one, fence in given for other, older in given):
                return "two answers"
        return "more attempts than there may be" if world.runs > self.attempts else ""

    def at_rest(self, world: World) -> Iterator[int]:
        """The forgets acknowledged by hosts that have nothing to tell Redis."""
        for file, link, known in zip(world.files, world.linked, world.acknowledged, strict=True):
            yield known if link and self.replay(world, file) == world else 0

    def with_(self, world: World, at: int, process: Process, file: Record | None = None) -> World:
        """This process, and its host's file."""
        world = world._replace(processes=put(world.processes, at, process))
        return world if file is None else world._replace(files=put(world.files, self.hosts[at], file))
