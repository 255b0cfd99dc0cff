"""Callers leave, loops end, processes fork."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import anyio
from faults.oracle import Act
from faults.scenarios import scenario
from faults.stage import Stage
from faults.values import KEYS
from faults.workload import LagMeter
from programs import run, start

from toolcache.entry import MISSING

_REPLAYING = "import sys; from faults.replaying import main; main(*sys.argv[1:])"
_FORKING = "import sys; from faults.forked import main; main(*sys.argv[1:])"


@scenario("F-22")
async def cancellation_storm(stage: Stage) -> None:
    """Callers leave at any moment, over a slow network."""
    proxy = await stage.proxy()
    proxy.delay = 0.01
    cache = stage.open(proxy.url, max_entries=8)
    work, chance = stage.work, stage.chance
    stage.oracle.ordered = False

    async def call(key: str) -> None:
        kind = chance.choice((work.get, work.set, work.delete, work.get_or_set))
        if chance.random() < 0.2:
            with anyio.move_on_after(chance.uniform(0, 0.05)):
                await kind(key)
        else:
            await kind(key)

    for _ in range(stage.times(500)):
        key = chance.choice(KEYS)
        task = asyncio.create_task(call(key))
        await asyncio.sleep(chance.uniform(0, 0.005))
        loop = asyncio.get_running_loop()
        for _ in range(chance.choice((1, 1, 2))):
            loop.call_later(chance.uniform(0, 0.06), task.cancel)
        task.add_done_callback(lambda done: _judge_end(stage, done))
    await asyncio.sleep(0.2)
    proxy.delay = 0.0
    for key in KEYS:
        await work.set(key)
    stage.oracle.ordered = True
    cache._parts.memory.clear()
    values = await asyncio.gather(*(work.get(key) for key in KEYS))
    if MISSING in values:
        stage.oracle.violated("a value that was just set is not there")


def _judge_end(stage: Stage, task: "asyncio.Task[None]") -> None:
    stage.work.counts["cancelled" if task.cancelled() else "answered"] += 1
    if not task.cancelled() and (error := task.exception()) is not None:
        stage.oracle.violated(f"I1: a call that was left raised {error!r}")


@scenario("F-23")
async def fork(stage: Stage) -> None:
    """A process forks while it works, and all of them go on."""
    cache = stage.open()
    seconds = stage.span(2)
    out, _ = await stage.do(run, _FORKING, stage.server.url, stage.directory / "files", stage.seed, seconds)
    told: list[dict[str, Any]] = json.loads(out)
    for process in told:
        for violation in process["violations"]:
            stage.oracle.violated(f"{process['name']}: {violation}")
        stage.work.counts.update(process["counts"])
        stage.oracle.acknowledged.update(process["acknowledged"])
        for key, acts in process["acts"].items():
            stage.oracle.acts[key] = [Act.heard(*act) for act in acts]
    if len({process["node"] for process in told}) != 3:
        stage.oracle.violated("processes share a node id")
    if len({tuple(process["address"]) for process in told}) != 3:
        stage.oracle.violated("processes share a socket")
    await cache.get(KEYS[0])


@scenario("F-16")
async def crash_during_replay(stage: Stage) -> None:
    """Processes are killed while they tell Redis what it missed."""
    cache = stage.open()
    left = []
    assert cache._parts.files is not None
    files: Any = cache._parts.files.store
    for number in range(5 if stage.quick else 50):
        base = 1 + number * len(KEYS)
        program = await stage.do(start, _REPLAYING, stage.server.url, stage.directory / "files", stage.seed, base)
        out, err = await stage.do(_until_ready, program)
        await asyncio.sleep(stage.chance.uniform(0.001, 0.2))
        program.kill()
        await stage.do(program.communicate)
        if not out:
            stage.oracle.violated(f"round {number}: the program did not get ready: {err}")
            return
        for key, *act in out:
            stage.oracle.hear(key, *act)
            stage.work.counts[act[0]] += 1
        await files.open()
        left.append(cache._machine.journal.pending)
    stage.facts["left by each"] = left
    await cache.get(KEYS[0])


def _until_ready(program: Any) -> tuple[list[Any], str]:
    line = program.stdout.readline()
    return (json.loads(line), "") if line else ([], program.stderr.read())


@scenario("F-24")
async def loops(stage: Stage) -> None:
    """One cache, one loop after another, in two threads by turns."""
    stage.open()

    async def life() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: stage.oracle.violated(f"I1: a loop was told of {context}"))
        work = replace(stage.work, meter=LagMeter())
        meter = asyncio.create_task(work.meter.run())
        async with work.running():
            await asyncio.sleep(stage.span(0.2))
        meter.cancel()

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for number in range(stage.times(30)):
            await asyncio.get_running_loop().run_in_executor((one, other)[number % 2], asyncio.run, life())
    await stage.work.get(KEYS[0])
