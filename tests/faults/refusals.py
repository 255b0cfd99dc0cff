"""Redis, or the disk, is there and takes no writes."""

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from faults.scenarios import scenario
from faults.stage import KEEPING, Stage
from faults.values import SECRET
from fileops import MUTATIONS, MeddlingOps, SlowOps
from servers import free_port


class FullDisk(MeddlingOps):
    """While ``full``, a write takes half, and the next nothing at all."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self._short = False

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        """Write, as far as there is room."""
        if not self.full:
            return super().write(fd, parts)
        self._short = not self._short
        if self._short and len(data := b"".join(parts)) > 1:
            return os.write(fd, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "no space left on device")


class SickDisk(FullDisk):
    """Has one ``trouble`` at a time, or none: "full", "forbidden", "slow", "unsynced"."""

    trouble: str

    def __init__(self) -> None:
        super().__init__()
        self.trouble = ""

    def write(self, fd: int, parts: Sequence[bytes | memoryview]) -> int:
        """Write, unless it is full."""
        self.full = self.trouble == "full"
        return super().write(fd, parts)

    def before(self, name: str, *args: Any) -> None:
        """Refuse, or wait."""
        if self.trouble == "forbidden" and name in MUTATIONS:
            raise PermissionError(errno.EACCES, "permission denied")
        if self.trouble == "unsynced" and name == "fdatasync":
            raise OSError(errno.EIO, "input/output error")
        if self.trouble == "slow" and name in {"write", "pread", "fdatasync", "fsync_dir"}:
            time.sleep(0.1)


class Forbidden(MeddlingOps):
    """Nothing may be changed."""

    def before(self, name: str, *args: Any) -> None:
        """Refuse."""
        if name in MUTATIONS:
            raise PermissionError(errno.EACCES, "permission denied")


async def _misconf(stage: Stage, command: Callable[..., Awaitable[Any]]) -> None:
    # A snapshot whose file is a directory cannot be written, not even by root.
    (stage.server.directory / "taken").mkdir(exist_ok=True)
    await command("CONFIG", "SET", "dbfilename", "taken")
    await command("BGSAVE")
    while b"rdb_last_bgsave_status:err" not in await command("INFO", "persistence"):  # noqa: ASYNC110 - the server is asked
        await asyncio.sleep(0.02)
    await command("CONFIG", "SET", "save", "1000 1000")


@scenario("F-07")
async def write_refusal(stage: Stage) -> None:
    """The server answers reads and refuses writes, for one reason after the other."""

    async def command(*words: Any) -> Any:
        return await stage.do(stage.server.command, *words)

    faults: dict[str, tuple[Callable[[], Awaitable[Any]], tuple[str, ...]]] = {
        "OOM": (lambda: command("CONFIG", "SET", "maxmemory", 1 << 20), ("CONFIG", "SET", "maxmemory", "0")),
        "READONLY": (lambda: command("REPLICAOF", "127.0.0.1", free_port()), ("REPLICAOF", "NO", "ONE")),
        "MISCONF": (lambda: _misconf(stage, command), ("CONFIG", "SET", "save", "")),
        "NOREPLICAS": (
            lambda: command("CONFIG", "SET", "min-replicas-to-write", 1),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
        ),
        "NOPERM": (lambda: command("ACL", "SETUSER", "default", "-set"), ("ACL", "SETUSER", "default", "+@all")),
    }
    stage.open()
    async with stage.work.running():
        await stage.during("before", 1)
        for name, (begin, cure) in faults.items():
            await begin()
            await asyncio.sleep(0.05)  # what was under way has been answered
            before = stage.acknowledgements()
            await stage.during(name, 2)
            during = stage.acknowledgements() - before
            if during["REDIS"] or during["MEMORY"] or not during["FILE"]:
                stage.oracle.violated(f"{name}: writes were acknowledged as {dict(during)}")
            await command(*cure)
            await stage.heal(name)
        await stage.during("after", 0.5)
    if opened := stage.changes("redis.conn"):
        stage.oracle.violated(f"the breaker for all operations went to {opened}")


class _Vault:
    """Gives the password of the day."""

    def __init__(self, password: str) -> None:
        self.password = password

    async def get_credentials_async(self) -> tuple[str, str]:
        """User and password."""
        return "app", self.password


@scenario("F-08")
async def auth(stage: Stage) -> None:
    """The password is rotated, and the cache's connections are cut; a while later it is given the new one."""

    async def command(*words: Any) -> Any:
        return await stage.do(stage.server.command, *words)

    old, new = f"{SECRET}-of-spring", f"{SECRET}-of-autumn"
    await command("ACL", "SETUSER", "app", "on", f">{old}", "~*", "&*", "+@all")
    vault = _Vault(old)
    # The breaker would rest for a minute: what ends the outage is that the credentials are others.
    stage.open(credentials=vault, recovery_time=("0.2s", "60s"))
    async with stage.work.running():
        await stage.during("before", 1)
        await command("ACL", "SETUSER", "app", "resetpass", f">{new}")
        await command("CLIENT", "KILL", "USER", "app")
        await asyncio.sleep(0.1)  # what was under way has been answered
        before = stage.acknowledgements()
        await stage.during("denied", 3)
        during = stage.acknowledgements() - before
        if during["REDIS"] or not during["FILE"]:
            stage.oracle.violated(f"without access writes were acknowledged as {dict(during)}")
        vault.password = new
        await stage.heal("the provider had the new password")
        before = stage.acknowledgements()
        await stage.during("after", 1)
        if not (stage.acknowledgements() - before)["REDIS"]:
            stage.oracle.violated("with the new password nothing came to Redis")
    stage.facts["breaker"] = stage.changes("redis.conn")
    stage.facts["warnings"] = len(stage.witness.warnings("access denied"))
    if stage.facts["warnings"] != 1:
        stage.oracle.violated(f"it was told {stage.witness.warnings('access denied')}")


@scenario("F-13", *KEEPING)
async def disk_full(stage: Stage) -> None:
    """Redis is killed and the disk is full; there is room again, and then Redis."""
    disk = FullDisk()
    stage.open()
    stage.disk(disk)
    stage.work.may_refuse = True
    async with stage.work.running():
        await stage.during("before", 1)
        await stage.kill(keeps=True)
        await stage.during("outage", 1)
        disk.full = True
        await stage.during("full", 2)
        for _ in range(20):  # on a busy machine it takes longer until somebody has written and somebody deleted
            if noticed := bool(stage.oracle.acknowledged["MEMORY"] and stage.work.counts["refused"]):
                break
            await stage.during("full", 1)
        disk.full = False
        await stage.during("outage", 3)
        await stage.do(stage.server.start)
        await stage.during("after", 2)
    if not noticed:
        stage.oracle.violated("nobody noticed that the disk was full")


@scenario("F-14")
async def no_permission(stage: Stage) -> None:
    """The files may not be used, from the start; and then Redis is killed, too."""
    stage.open()
    stage.disk(Forbidden())
    stage.work.may_refuse = True
    async with stage.work.running():
        await stage.during("before", 2)
        if any(call.kind == "delete" for call in stage.work.calls) and stage.work.counts["refused"]:
            stage.oracle.violated("a delete was refused although Redis took it")
        await stage.kill()
        await stage.during("outage", 2)
        await stage.do(stage.server.start)
        await stage.during("after", 2)
    if len(told := stage.witness.warnings("files in")) != 1:
        stage.oracle.violated(f"it was told {len(told)} times: {told[:3]}")


@scenario("F-25")
async def slow_disk(stage: Stage) -> None:
    """Each call to the disk takes half a second; Redis is well."""
    disk = SlowOps(0.0)
    stage.open()
    stage.disk(disk)
    async with stage.work.running():
        await stage.during("before", 3)
        disk.seconds = 0.5
        await stage.during("slow", 5)
        disk.seconds = 0.0
        disk.let_go.set()
    # The p99; of the few calls of a quick run the p90.
    share, most = (0.90 if stage.quick else 0.99), {}
    for phase in ("before", "slow"):
        # Redis' calls; a delete is on the disk as well.
        took = sorted(call.took for call in stage.work.calls if call.phase == phase and call.kind in {"get", "set"})
        most[phase] = took[int(len(took) * share)]
    if most["slow"] > most["before"] + 0.005:
        stage.slow.append(f"most reads and writes took {most['before']:.4f} s before, and now {most['slow']:.4f} s")
    if opened := stage.changes("redis.conn") + stage.changes("redis.write"):
        stage.oracle.violated(f"the breakers of Redis went to {opened}")
