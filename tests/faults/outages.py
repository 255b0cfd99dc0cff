"""Redis is away, or hangs, or comes and goes."""

import asyncio

from faults.scenarios import scenario
from faults.stage import KEEPING, Stage
from faults.workload import TASKS
from programs import resident

READ: float = 0.010
"""Seconds: the p99 of a read while the breaker is open."""

GROWTH: float = 20.0
"""MiB that the process may grow by."""


def judge_reads(stage: Stage) -> None:
    """Nobody waits for a Redis that is known to be away."""
    took = sorted(call.took for call in stage.work.calls if call.kind == "get" and call.refused)
    if not took:
        stage.oracle.violated("the breaker did not open")
    elif (p99 := took[len(took) * 99 // 100]) >= READ:
        stage.oracle.violated(f"in the outage the p99 of a read was {p99 * 1000:.1f} ms")


async def _outage(stage: Stage, *, keeps: bool) -> None:
    stage.open()
    async with stage.work.running():
        await stage.during("before", 2)
        await stage.kill(keeps=keeps)
        await stage.during("outage", 3)
        await stage.do(stage.server.start)
        await stage.during("after", 3)
    judge_reads(stage)


@scenario("F-01")
async def outage(stage: Stage) -> None:
    """Redis is killed, and comes back empty."""
    await _outage(stage, keeps=False)


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
        stage.server.thaw()
        await stage.during("after", 2)
    judge_reads(stage)


@scenario("F-04")
async def flapping(stage: Stage) -> None:
    """Redis dies again and again."""
    stage.open()
    dials, deaths = stage.dials(), stage.times(20)
    async with stage.work.running():
        await stage.during("before", 1)
        before, connected = resident(), len(dials)
        for _ in range(deaths):
            await stage.kill()
            await asyncio.sleep(0.2)
            await stage.do(stage.server.start)
            await stage.during("flapping", stage.chance.uniform(0.1, 0.6))
        await stage.during("after", 2)
        grown = (resident() - before) / 2**20
    # For each death: as many as open the breaker, those that were under way then, the probes, and two that succeed.
    most = deaths * (stage.cache.settings.failure_threshold + TASKS + 4)
    stage.facts["connects"] = f"{len(dials) - connected}, {most} at most"
    stage.facts["growth"] = f"{grown:.1f} MiB"
    if len(dials) - connected > most:
        stage.oracle.violated(f"{deaths} deaths cost {len(dials) - connected} attempts to connect")
    if grown > GROWTH:
        stage.oracle.violated(f"memory has grown by {grown:.1f} MiB")


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
