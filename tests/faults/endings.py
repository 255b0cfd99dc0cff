"""Processes end: killed, told to, or with the power."""

import asyncio
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from crash.crash_states import of_segments, restored, states
from faults.scenarios import scenario
from faults.serving import WORKING
from faults.stage import Stage
from fileops import RecordOps
from programs import run, start

from toolcache.tool_cache import ToolCache

_CRASHING: Final = "import sys; from faults.crashing import main; main(*sys.argv[1:])"
_SERVING: Final = "import sys; from faults.serving import main; main(*sys.argv[1:])"
_AT_ONCE: Final = 25
_GRACE: Final = 1.0
_LOOKED_AT: Final = 20
_STONES: Final = tuple(f"amber-{number}" for number in range(5))


@scenario("F-15")
async def crashes(stage: Stage) -> None:
    """Processes are killed while they write, with Redis away, and then with Redis there."""
    stage.open()
    number, rounds = 1, 10 if stage.quick else 200
    for away in (True, False):
        await (stage.kill() if away else stage.do(stage.server.start))
        for done in range(0, rounds, _AT_ONCE):
            some, seed = min(_AT_ONCE, rounds - done), f"{stage.seed}/{away}/{done}"
            out, _ = await stage.do(run, _CRASHING, stage.server.url, stage.files, some, seed, number)
            for line in out.splitlines():
                said, found = json.loads(line)
                number = max([number, *(act[2] + 1 for act in said)])
                _hear(stage, said)
                for key, (read, gone_at) in found.items():
                    stage.oracle.found(key, read, gone_at, "the next process")
    stage.facts["killed in a write"] = sum(
        act.durability is None for acts in stage.oracle.acts.values() for act in acts
    )
    await stage.take_over()


@scenario("F-17")
async def power_cut(stage: Stage) -> None:
    """The power goes at any moment of a life with an outage, and in every way that a file system is allowed."""
    cache, disk, chance = stage.open(), RecordOps(), stage.chance
    stage.disk(disk)
    files: Any = cache._parts.files.store  # type: ignore[union-attr]  # there are files
    stage.witness.secrets.update(_STONES)
    numbers = itertools.count(1)

    async def write(count: int, *, promised: bool, keys: Sequence[str] = _STONES) -> None:
        for _ in range(count):
            key, number = chance.choice(keys), next(numbers)
            kind = chance.choice(("set", "set", "delete"))
            disk.acknowledge(("begun", key, kind, number))
            await (cache.set(key, number) if kind == "set" else cache.delete(key))
            if promised:  # by the files: what Redis has taken, a power cut here does not touch
                disk.acknowledge(("promised", key, kind, number))

    for _ in range(2 if stage.quick else 8):
        await write(3, promised=False)
        await stage.kill()
        for _ in range(3):
            await asyncio.gather(
                *(write(stage.times(4), promised=True, keys=keys) for keys in (_STONES[:2], _STONES[2:]))
            )
            await files.compact()
        await stage.do(stage.server.start)
        await stage.heal("the outage")
    left = await stage.do(states, of_segments(disk.recorded, stage.files))
    chosen = chance.sample(left, min(len(left), 80 if stage.quick else 2_000))
    stage.facts["cuts"] = f"{len(chosen)} of {len(left)}"
    for acks, names in chosen:
        with restored(stage.files, names) as root:
            async with ToolCache(directory=root) as cut:
                found = {key: await cut.get(key) for key in _STONES}
        for key, number in found.items():
            if wrong := missing(number, [(word, kind, at) for word, name, kind, at in acks if name == key]):
                stage.oracle.violated(f"I5: after a power cut {key} is {number}: {wrong}")


def missing(found: int | None, acks: list[tuple[str, str, int]]) -> str | None:
    """What is wrong with what is found of a key, after these words about it; None if nothing is."""
    floor = max(((at, kind) for word, kind, at in acks if word == "promised"), default=(0, "delete"))
    later = [(kind, at) for word, kind, at in acks if word == "begun" and at > floor[0]]
    right = {at for kind, at in [*later, (floor[1], floor[0])] if kind == "set"}
    if floor[1] == "delete" or any(kind == "delete" for kind, _ in later):
        right.add(0)
    return None if (found or 0) in right else f"one of {sorted(right)} was promised"


@scenario("F-26")
async def shutdown(stage: Stage) -> None:
    """A process is told to end while it works, whatever Redis does just then."""
    stage.open()
    number, troubles = 1, ["nothing", "killed", "frozen"]
    stage.chance.shuffle(troubles)
    for turn in range(2 if stage.quick else 15):
        trouble, drain = troubles[turn % 3], stage.chance.choice((0.1, 0.5, 2.0))
        seed = f"{stage.name}/{stage.seed}/{turn}"
        program = await stage.do(start, _SERVING, stage.server.url, stage.files, seed, number, drain)
        said: list[Any] = []
        listening = asyncio.create_task(stage.do(_listen, program, said))
        while WORKING not in said and not listening.done():  # noqa: ASYNC110 - said by a thread
            await asyncio.sleep(0.01)
        await asyncio.sleep(stage.chance.uniform(0.2, stage.span(2.0)))
        if trouble == "killed":
            await stage.kill()
        elif trouble == "frozen":
            stage.server.freeze()
        await asyncio.sleep(stage.chance.uniform(0.0, 0.3))
        program.terminate()
        err = await listening
        if trouble == "killed":
            await stage.do(stage.server.start)
        elif trouble == "frozen":
            stage.server.thaw()
        acts = [line for line in said if isinstance(line, list)]
        number = max([number, *(act[2] + 1 for act in acts)])
        _hear(stage, acts)
        _judge_end(stage, f"{trouble}, {drain} s to drain", said[-1:], err)
        await stage.take_over()
        await stage.ask_others()
        await _judge_requests(stage, trouble, [line for line in said[:-1] if isinstance(line, dict)])


def _judge_end(stage: Stage, how: str, account: list[Any], err: str) -> None:
    last = account[0] if account else None
    if err or not isinstance(last, dict):
        stage.oracle.violated(f"I1: {how}: a process did not end well: {err[-2_000:]}")
        return
    stage.facts[f"closing, {how}"] = f"{last['took']:.3f} s"
    for violation in last["violations"]:
        stage.oracle.violated(f"{how}: {violation}")
    if last["took"] > last["drain"] + _GRACE:
        stage.oracle.violated(f"I2: {how}: closing took {last['took']:.3f} s")
    if last["left"] != [0, [], []]:
        stage.oracle.violated(f"I9: {how}: descriptors, threads, tasks are left: {last['left']}")


async def _judge_requests(stage: Stage, trouble: str, said: list[dict[str, Any]]) -> None:
    """What was answered is still the answer; what was being run is to be had at once."""

    def again() -> None:
        raise AssertionError("it ran again")

    answers = [line for line in said if "request" in line]
    stage.facts["answered before the end"] = stage.facts.get("answered before the end", 0) + len(answers)
    for line in answers[-_LOOKED_AT:]:
        try:
            output = await stage.cache.once(line["request"], again)
        except AssertionError as error:
            output = error
        if output != line["output"]:
            stage.oracle.violated(f"G6: {trouble}: {line['request']} was {line['output']}, and is {output}")
    for line in said:
        if "held" in line:
            begun = time.monotonic()
            attempt = await stage.cache.once(line["held"], lambda context: context.attempt)
            if time.monotonic() - begun > _GRACE:
                stage.oracle.violated(
                    f"ID: {trouble}: a run that was given up held its claim for {time.monotonic() - begun:.1f} s"
                )
            if attempt > 1 and trouble == "nothing":
                stage.oracle.violated(f"ID: {trouble}: a run that was given up counts as one that died")


def _listen(program: "subprocess.Popen[str]", said: list[Any]) -> str:
    """Hear what a process says until it ends; what it complains of. It has half a minute."""
    watchdog = threading.Timer(30, program.kill)
    watchdog.start()
    with program:
        assert program.stdout is not None
        assert program.stderr is not None
        said.extend(map(json.loads, program.stdout))
        err = program.stderr.read()
    watchdog.cancel()
    return err if program.returncode == 0 else f"{err}ended with {program.returncode}"


def _hear(stage: Stage, said: list[Any]) -> None:
    for key, *act in said:
        stage.oracle.hear(key, *act)
        stage.work.counts[act[0]] += act[3] < float("inf")
