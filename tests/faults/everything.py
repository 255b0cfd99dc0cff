"""F-28: whatever may happen to the server, the network and the disk, at random and at the same time."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from faults.refusals import FullDisk
from faults.scenarios import scenario
from faults.stage import KEEPING, Stage
from proxy import FaultProxy, Mode
from servers import free_port

_SETTINGS: Final = {
    "full": (("maxmemory", 1 << 20), ("maxmemory", 0)),
    "without replicas": (("min-replicas-to-write", 1), ("min-replicas-to-write", 0)),
    "locked": (("requirepass", "a password"), ("requirepass", "")),
}
_WORDS: Final = {
    "scripts forgotten": ("SCRIPT", "FLUSH"),
    "connections closed": ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"),
    "writes paused": ("CLIENT", "PAUSE", 300, "WRITE"),
    "paused": ("CLIENT", "PAUSE", 300, "ALL"),
    "emptied": ("FLUSHALL",),
}
_MODES: Final[tuple[Mode, ...]] = ("hold", "up", "down", "truncate")


class Troubles:
    """One trouble of the server after the other, of the network and of the disk, each lane by itself."""

    def __init__(self, stage: Stage, proxy: FaultProxy, disk: FullDisk) -> None:
        self._stage = stage
        self._proxy = proxy
        self._disk = disk
        self.past: list[str] = []

    async def run(self, trouble: Callable[[], Awaitable[str]], until: float) -> None:
        """Have one trouble after the other."""
        chance = self._stage.chance
        while time.monotonic() < until:
            await asyncio.sleep(chance.expovariate(2.0))
            self.past.append(await trouble())

    async def server(self) -> str:
        """The server dies, stands still, is emptied, or refuses."""
        stage, chance = self._stage, self._stage.chance
        name = chance.choice(("killed", "killed and emptied", "frozen", "demoted", *_SETTINGS, *_WORDS))
        if name in _WORDS:
            await self._command(*_WORDS[name])
            if name == "emptied":
                stage.oracle.lost()
        elif name in _SETTINGS:
            begin, cure = _SETTINGS[name]
            await self._command("CONFIG", "SET", *begin)
            await self._last()
            await self._command("CONFIG", "SET", *cure, password="a password" if name == "locked" else None)
        elif name == "demoted":
            await self._command("REPLICAOF", "127.0.0.1", free_port())
            await self._last()
            await self._command("REPLICAOF", "NO", "ONE")
        elif name == "frozen":
            with stage.server.frozen():
                await self._last()
        else:
            await stage.kill(keeps=name == "killed")
            if name != "killed":
                await stage.do(shutil.rmtree, stage.server.directory / "appendonlydir")
            await self._last()
            await stage.do(stage.server.start)
        return name

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
        """There is no room."""
        self._disk.full = True
        await self._last()
        self._disk.full = False
        return "disk full"

    async def _last(self) -> None:
        await asyncio.sleep(self._stage.chance.uniform(0.05, 1.2))

    async def _command(self, *words: Any, password: str | None = None) -> None:
        await self._stage.do(self._stage.server.command, *words, password=password)


@scenario("F-28", *KEEPING)
async def everything(stage: Stage) -> None:
    """Troubles of the server, the network and the disk, at random."""
    proxy, disk = await stage.proxy(), FullDisk()
    stage.open(proxy.url)
    stage.disk(disk)
    stage.work.may_refuse = True
    troubles = Troubles(stage, proxy, disk)
    until = time.monotonic() + (5.0 if stage.quick else 60.0)
    async with stage.work.running():
        stage.work.phase = "troubles"
        await asyncio.gather(
            troubles.run(troubles.server, until),
            troubles.run(troubles.network, until),
            troubles.run(troubles.disk, until),
        )
        await stage.during("after", 1)
    stage.facts["troubles"] = ", ".join(troubles.past)
