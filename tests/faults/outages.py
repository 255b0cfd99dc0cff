"""Redis is away, or hangs, or comes and goes."""

import asyncio
import time

from faults.scenarios import scenario
from faults.stage import KEEPING, Stage
from faults.values import KEYS, value_of
from faults.workload import TASKS

from toolcache.blob import read_header
from toolcache.clock import SystemClock


def opened(stage: Stage) -> bool:
    """Whether a read was spared."""
    return any(call.kind == "get" and call.refused for call in stage.work.calls)


def judge_opened(stage: Stage) -> None:
    """Nobody waited for a Redis that was known to be away; how long their reads took is judged with the rest."""
    if not opened(stage):
        stage.oracle.violated("the breaker did not open")


async def _outage(stage: Stage, *, keeps: bool) -> None:
    stage.open()
    async with stage.work.running():
        await stage.during("before", 2)
        await stage.kill(keeps=keeps)
        await stage.during("outage", 3)
        await stage.do(stage.server.start)
        await stage.during("after", 3)
    judge_opened(stage)


@scenario("F-01")
async def outage(stage: Stage) -> None:
    """Redis is killed, and comes back empty."""
    await _outage(stage, keeps=False)


@scenario("F-27")
async def clock(stage: Stage) -> None:
    """The clock of the host jumps by an hour, again and again, before, in and after an outage."""
    skewed, chance = SystemClock(), stage.chance
    cache = stage.open(clock=skewed)
    stage.oracle.steady = False
    stage.work.ttl = chance.choice((1_800.0, 10_800.0))
    jumps: list[int] = []

    async def jump(phase: str) -> None:
        jumps.append(chance.choice((-3600, 3600)))
        _expire(stage, skewed.time(), skewed.time() + jumps[-1])
        skewed.align(skewed.time() + jumps[-1])
        await stage.during(phase, 1)

    async with stage.work.running():
        await stage.during("before", 1)
        await jump("before")
        await stage.kill()
        await jump("outage")
        await jump("outage")
        wrong = skewed.time()
        await stage.do(stage.server.start)
        stage.work.phase = "after"
        while abs(skewed.time() - time.time()) > 1.0:  # noqa: ASYNC110 - until the server's time is taken
            await asyncio.sleep(0.02)
        await stage.during("after", 1)
        _expire(stage, wrong, time.time())
        await jump("after")
    _expire(stage, skewed.time(), time.time())  # to those who look now, and whose clocks are right
    stage.facts["jumps"] = jumps
    await stage.heal("the outage")
    # Till then a delete by the clock that was ahead is unknown to Redis, and newer than what others write.
    while cache._machine.journal._is_another():  # noqa: ASYNC110 - until Redis has been told anew
        await asyncio.sleep(0.02)
    there = stage.another(directory=stage.directory / "elsewhere", clock=SystemClock())
    for key in KEYS[::5]:
        act = stage.oracle.begin("set", key)
        stage.oracle.end(act, await there.set(key, value_of(key, act.number), ttl=stage.work.ttl), ttl=stage.work.ttl)
        cache._parts.memory.remove(key)
        early = skewed.time() > time.time() + stage.work.ttl
        if not early and await stage.work.get(key) != value_of(key, act.number):
            stage.oracle.violated(f"I3: {key}: a write of another host, whose clock is right, is lost")
    for key in KEYS:
        name = f"tc1:v:default:{key}"
        left = await stage.do(stage.server.command, "PTTL", name)
        header = read_header(await stage.do(stage.server.command, "GET", name) or b"")
        if header is not None and not header.is_tombstone and left > stage.work.ttl * 1000:
            stage.oracle.violated(f"I8: {key}: Redis keeps it for {left / 1000:.0f} s, longer than it was good for")


def _expire(stage: Stage, before: float, after: float) -> None:
    """To a clock that goes forward, be it to the right time, everything written is so much older."""
    if after - before >= stage.work.ttl:
        stage.oracle.lost()


@scenario("F-02", *KEEPING)
async def outage_with_data(stage: Stage) -> None:
    """Redis is killed, and comes back with what was deleted meanwhile."""
    await _outage(stage, keeps=True)


@scenario("F-03")
async def hang(stage: Stage) -> None:
    """Redis stands still, and then does what it had been told before."""
    stage.open(failure_threshold=3)
    async with stage.work.running():
        await stage.during("before", 2)
        stage.server.freeze()
        await stage.during("frozen", 5)
        for _ in range(20):  # on a busy machine it takes longer until somebody has waited often enough
            if opened(stage):
                break
            await stage.during("frozen", 1)
        stage.server.thaw()
        await stage.during("after", 2)
    judge_opened(stage)


@scenario("F-04")
async def flapping(stage: Stage) -> None:
    """Redis dies again and again."""
    stage.open()
    dials, deaths = stage.dials(), stage.times(20)
    async with stage.work.running():
        await stage.during("before", 1)
        before = len(dials)
        for _ in range(deaths):
            await stage.kill()
            await asyncio.sleep(0.2)
            await stage.do(stage.server.start)
            await stage.during("flapping", stage.chance.uniform(0.1, 0.6))
        await stage.during("after", 2)
    # For each death: as many as open the breaker, those that were under way then, the probes, and two that succeed.
    most = deaths * (stage.cache.settings.failure_threshold + TASKS + 4)
    stage.facts["connects"] = f"{len(dials) - before}, {most} at most"
    if len(dials) - before > most:
        stage.oracle.violated(f"{deaths} deaths cost {len(dials) - before} attempts to connect")


@scenario("F-05")
async def connection_kills(stage: Stage) -> None:
    """The server closes every connection, again and again."""
    stage.open()
    async with stage.work.running():
        await stage.during("before", 1)
        stage.work.phase = "kills"
        for _ in range(stage.times(30)):
            await stage.do(stage.server.command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.1)
        await stage.during("after", 1)


@scenario("F-06")
async def pause(stage: Stage) -> None:
    """The server takes no writes for a while, and then nothing at all."""
    stage.open(max_entries=4, op_timeout=0.2, failure_threshold=2)
    async with stage.work.running():
        await stage.during("before", 1)
        for kind in ("WRITE", "ALL"):
            await stage.do(stage.server.command, "CLIENT", "PAUSE", int(stage.span(1.5) * 1000), kind)
            await stage.during(f"pause {kind}", 1.5)
            await stage.during("between", 1)
            await stage.heal(f"pause {kind}")
            stage.facts[kind] = {name: stage.changes(f"redis.{name}").count("open") for name in ("conn", "write")}
    reads = [call.took for call in stage.work.calls if (call.kind, call.phase) == ("get", "pause WRITE")]
    if max(reads) > stage.cache.settings.op_timeout * 0.75:
        stage.oracle.violated(f"while writes were paused a read took {max(reads):.3f} s")
    if stage.facts["WRITE"]["conn"] or not stage.facts["WRITE"]["write"]:
        stage.oracle.violated(f"while writes were paused the breakers opened so often: {stage.facts['WRITE']}")
    if not stage.facts["ALL"]["conn"]:
        stage.oracle.violated("while all was paused the breaker did not open")


@scenario("F-09")
async def loading(stage: Stage) -> None:
    """Redis comes back, and takes its time to load what it had."""
    cache = stage.open()
    await stage.do(stage.server.command, "DEBUG", "POPULATE", stage.times(3_000))
    async with stage.work.running():
        await stage.during("before", 1)
    await stage.do(stage.server.command, "SAVE")
    await stage.kill(keeps=True)
    async with stage.work.running():
        await stage.during("outage", 2)
        await stage.do(
            stage.server.start, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"
        )
        stage.work.phase = "loading"
        while b"loading:1" in await stage.do(stage.server.command, "INFO", "persistence"):
            stage.facts["replayed while loading"] = cache.stats().replayed
            await asyncio.sleep(0.05)
        await stage.heal("the data was loaded")
        await stage.during("after", 1)
    if stage.facts.get("replayed while loading") != 0:
        stage.oracle.violated("a server that was loading was told, or it had nothing to load")
