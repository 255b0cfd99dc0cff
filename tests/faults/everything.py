"""F-28: whatever may happen to the server, the network, the disk and neighbours, at random and at the same time."""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Final

import redis
from faults.errands import Errands
from faults.neighbour import Neighbour
from faults.refusals import SickDisk
from faults.scenarios import scenario
from faults.stage import KEEPING, Stage
from faults.values import KEYS
from proxy import FaultProxy, Mode

_PASSWORD: Final = "battery-staple"
_WORDS: Final = {
    "scripts forgotten": ("SCRIPT", "FLUSH"),
    "connections closed": ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    "writes paused": ("CLIENT", "PAUSE", 300, "WRITE"),
    "paused": ("CLIENT", "PAUSE", 300, "ALL"),
    "emptied": ("FLUSHALL",),
}
_SET: Final = ("CONFIG", "SET")
_STATES: Final = {
    "full": ((*_SET, "maxmemory", "1mb"), (*_SET, "maxmemory", 0)),
    "without replicas": ((*_SET, "min-replicas-to-write", 1), (*_SET, "min-replicas-to-write", 0)),
    "locked": ((*_SET, "requirepass", _PASSWORD), (*_SET, "requirepass", "")),
    "crowded": ((*_SET, "maxclients", 2), (*_SET, "maxclients", 1_000)),
    "demoted": (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
    "forbidden": (("ACL", "SETUSER", "default", "-set", "-eval", "-evalsha"), ("ACL", "SETUSER", "default", "+@all")),
    "evicting": (
        (*_SET, "maxmemory", "1mb", "maxmemory-policy", "allkeys-random"),
        (*_SET, "maxmemory", 0, "maxmemory-policy", "noeviction"),
    ),
}
"""What begins it, and what ends it."""
_REST: Final = 30.0
"""Seconds for which files that refused leave are left alone."""
_SELDOM: Final = 0.25
_ALONE: Final = 0.6
_ENDLESS: Final = "while true do end"
_MODES: Final[tuple[Mode, ...]] = ("hold", "up", "down", "truncate")


class Troubles:
    """One trouble after the other, of the server, of the network, and so on, each lane by itself."""

    def __init__(self, stage: Stage, proxy: FaultProxy, disk: SickDisk, sibling: Neighbour, seconds: float) -> None:
        self._stage = stage
        self._proxy = proxy
        self._disk = disk
        self._sibling = sibling
        self.past: Counter[str] = Counter()
        # Seldom: files that refuse leave are left alone for long, and then nothing else happens to them.
        self._refusal = ("forbidden",) if seconds > _REST and stage.chance.random() < _SELDOM else ()

    async def run(self, trouble: Callable[[], Awaitable[str]], until: float) -> None:
        """Have one trouble after the other."""
        chance = self._stage.chance
        while time.monotonic() < until:
            await asyncio.sleep(chance.expovariate(2.0))
            self.past[await trouble()] += 1

    async def server(self) -> str:
        """The server dies, stands still, is emptied, or refuses."""
        stage, chance = self._stage, self._stage.chance
        name = chance.choice(("killed", "killed and emptied", "frozen", "busy", *_STATES, *_WORDS))
        if name in _WORDS:
            await self._command(*_WORDS[name])
        elif name in _STATES:
            await self._while(*_STATES[name])
        elif name == "busy":
            await self._command("CONFIG", "SET", "busy-reply-threshold", 50)
            with contextlib.suppress(redis.RedisError):  # that it was killed
                spell = asyncio.create_task(self._command("EVAL", _ENDLESS, 0))
                await self._last()
                while not spell.done():
                    with contextlib.suppress(redis.ResponseError):  # that it has not begun
                        await self._command("SCRIPT", "KILL")
                    await asyncio.sleep(0.01)
                await spell
        elif name == "frozen":
            with stage.server.frozen():
                await self._last()
        else:
            await stage.kill(keeps=name == "killed")
            if name != "killed":
                await stage.do(shutil.rmtree, stage.server.directory / "appendonlydir")
            await self._last()
            await stage.do(stage.server.start)
        if name in {"emptied", "evicting"}:
            stage.oracle.lost()
        return name

    async def _while(self, begin: Sequence[Any], end: Sequence[Any]) -> None:
        # Over one connection: there may be no room for another, or it would need a password.
        do = self._stage.do
        connection = await do(redis.Redis, port=self._stage.server.port, protocol=2, single_connection_client=True)
        await do(connection.execute_command, *begin)
        await self._last()
        await do(connection.execute_command, *end)
        await do(connection.close)

    async def network(self) -> str:
        """What passes is held, lost, cut or slow."""
        mode = self._stage.chance.choice((None, *_MODES))
        name = self._stage.chance.choice(("slow", "cut")) if mode is None else mode
        self._proxy.mode = mode or "pass"
        self._proxy.delay = 0.05 if name == "slow" else 0.0
        await self._last()
        self._proxy.mode, self._proxy.delay = "pass", 0.0
        if name == "cut" or self._stage.chance.random() < 0.3:
            self._proxy.reset()
        return name

    async def disk(self) -> str:
        """There is no room, or no leave, or it is slow, or does not keep what it takes."""
        self._disk.trouble = self._stage.chance.choice(("full", "slow", "unsynced", *self._refusal))
        name = f"disk {self._disk.trouble}"
        await self._last()
        if self._disk.trouble == "forbidden":
            self._stage.at_rest_until = time.monotonic() + _REST
        self._disk.trouble = ""
        return name

    async def neighbour(self) -> str:
        """Another process of this host is killed, and there is another."""
        await self._last()
        await self._stage.do(self._sibling.kill)
        await self._stage.do(self._sibling.start)
        await self._last()
        return "sibling killed"

    async def _last(self) -> None:
        await asyncio.sleep(self._stage.chance.uniform(0.05, 1.2))

    async def _command(self, *words: Any) -> None:
        await self._stage.do(self._stage.server.command, *words)


@scenario("F-28", *KEEPING)
async def everything(stage: Stage) -> None:
    """Troubles of the server, of the network, and of the disk or a neighbour, at random."""
    proxy, disk = await stage.proxy(), SickDisk()
    stage.witness.secrets.add(_PASSWORD)
    stage.open(proxy.url)
    stage.disk(disk)
    stage.work.may_refuse = True
    stage.work.keys, stage.oracle.foreign = KEYS[:30], frozenset(KEYS[30:])
    seed = f"{stage.name}/{stage.seed}"
    stranger = Neighbour(stage.server.url, stage.directory / "elsewhere", seed, slice(40, 50))
    sibling = Neighbour(stage.server.url, stage.files, seed, slice(30, 40))
    seconds = stage.seconds or (5.0 if stage.quick else 60.0)
    troubles, until = Troubles(stage, proxy, disk, sibling, seconds), time.monotonic() + seconds
    # Not both: what a sick disk could not note down, a sibling cannot know, and tells a Redis that has lost it all.
    alone = stage.chance.random() < _ALONE
    neighbours = [stranger] if alone else [stranger, sibling]
    for neighbour in neighbours:
        stage.afterwards(neighbour.kill)
        await stage.do(neighbour.start)
    errands = Errands(stage, safe=not alone)
    async with stage.work.running():
        stage.work.phase = "troubles"
        lanes = (troubles.server, troubles.network, troubles.disk if alone else troubles.neighbour)
        await asyncio.gather(*(troubles.run(lane, until) for lane in lanes), errands.run(until))
        await stage.during("after", 1)
    ends = await asyncio.gather(*(stage.do(neighbour.stop) for neighbour in neighbours))
    stage.oracle.foreign = frozenset()
    for neighbour, err in zip(neighbours, ends, strict=True):
        _hear(stage, neighbour, err)
    await stage.take_over()
    await errands.again()
    stage.facts["requests"] = ", ".join(f"{count} x {name}" for name, count in sorted(errands.counts.items()))
    stage.facts["troubles"] = ", ".join(f"{count} x {name}" for name, count in sorted(troubles.past.items()))


def _hear(stage: Stage, neighbour: Neighbour, err: str) -> None:
    for said in neighbour.said:
        if isinstance(said, list):
            stage.oracle.hear(*said)
            stage.work.counts[said[1]] += said[4] < inf
        else:
            for violation in said["violations"]:
                stage.oracle.violated(f"a neighbour: {violation}")
    if err or not isinstance(neighbour.said[-1], dict):
        stage.oracle.violated(f"I1: a neighbour did not end well: {err[-2_000:]}")
