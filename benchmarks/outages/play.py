"""One fault, played to all caches at the same time: each in a process of its own, against a server of its own."""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from servers import RedisServer

from benchmarks.outages.faults import KEEPING, Fault
from benchmarks.outages.report import Row, measure
from benchmarks.outages.subjects import SUBJECTS
from benchmarks.outages.workload import CANARY

_OPEN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.05
_SPARE: Final = 30.0
_SOME: Final = 3


@dataclass(frozen=True)
class Times:
    """How long it is: before, during and after the outage, and until a call is given up, in seconds."""

    before: float = 5.0
    outage: float = 60.0
    after: float = 15.0
    limit: float = 30.0

    @classmethod
    def quick(cls) -> Self:
        """For a smoke run."""
        return cls(before=0.5, outage=0.5, after=3.0, limit=3.0)

    @property
    def total(self) -> float:
        """All of it."""
        return self.before + self.outage + self.after


class FailedError(Exception):
    """A process did not do its job."""


class Process:
    """A process that does a job for one cache."""

    def __init__(self, folder: Path, name: str, verb: str, subject: str, url: str, host: str, **more: Any) -> None:
        self._into = folder / f"{name}.json"
        self.job = {"verb": verb, "subject": subject, "url": url, "folder": str(folder / host), "into": str(self._into)}
        (folder / host).mkdir(exist_ok=True)
        self._errors = (folder / f"{name}.log").open("w+b")
        command = [sys.executable, "-m", "benchmarks.outages.workload", json.dumps(self.job | more)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, cwd=Path(__file__).parents[2]
        )

    def ready(self) -> None:
        """Wait until its cache is open."""
        assert self._process.stdout is not None
        timer = threading.Timer(_OPEN_SECONDS, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            raise FailedError(f"{self.job['subject']} does not open: {self._last_words()}")

    def begin(self) -> None:
        """Have it call."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"begin\n")
        self._process.stdin.flush()

    def told(self, seconds: float) -> dict[str, Any]:
        """What it gave, when it has ended."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise FailedError(f"{self.job['subject']} does not end") from None
        if self._process.returncode:
            raise FailedError(f"{self.job['subject']} ends with {self._process.returncode}: {self._last_words()}")
        told: dict[str, Any] = json.loads(self._into.read_text("utf-8"))
        return told

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it says nothing"


class Stand:
    """One cache with a server of its own, and the folders of two hosts.

    Args:
        stack: ends what is started here.
        name: the cache.
    """

    def __init__(self, stack: contextlib.ExitStack, name: str) -> None:
        self.name = name
        self.server = stack.enter_context(RedisServer(*KEEPING))
        self._folder = Path(tempfile.mkdtemp(prefix="toolcache-outages-"))
        stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._stack = stack

    def start(self, verb: str, host: str, **more: Any) -> Process:
        """A process on one of the hosts."""
        process = Process(self._folder, f"{verb}-{host}", verb, self.name, self.server.url, host, **more)
        self._stack.callback(process.close)
        return process

    def look(self) -> list[dict[str, int | None]]:
        """What is there in the end: for a new process of the host, and for one of another host, which has Redis alone."""
        processes = [self.start("look", host) for host in ("here", "there")]
        return [process.told(_LOOK_SECONDS) for process in processes]


def play(fault: Fault, names: Sequence[str], times: Times, seed: str) -> tuple[list[Row], dict[str, str]]:
    """What callers of each cache noticed; and of a cache that did not come to an end, why there is no telling.

    Raises:
        FailedError: a cache cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        stands = [Stand(stack, name) for name in names]
        processes = [stand.start("work", "here", seed=seed, seconds=times.total, limit=times.limit) for stand in stands]
        for process in processes:
            process.ready()
        begun = time.monotonic()
        for process in processes:
            process.begin()
        _sleep_until(begun + times.before)
        fault.play([stand.server for stand in stands], times.outage)
        phases = begun, begun + times.before, time.monotonic(), begun + times.total
        told_again = _await_canaries({stand.name: stand.server for stand in stands}, phases[2], phases[3])
        rows, failures = [], {}
        for stand, process in zip(stands, processes, strict=True):
            try:
                told, found = process.told(times.limit * 2 + times.after + _SPARE), stand.look()
            except FailedError as failed:
                failures[stand.name] = str(failed)
            else:
                rows.append(measure(fault.name, stand.name, told, found, phases, told_again.get(stand.name)))
        return rows, failures


def _await_canaries(servers: dict[str, RedisServer], since: float, until: float) -> dict[str, float]:
    """Seconds until each server holds a key that was written after the outage."""
    tell = {name: _grown(server) if SUBJECTS[name].hides else _told(server, since) for name, server in servers.items()}
    seen: dict[str, float] = {}
    while len(seen) < len(servers) and time.monotonic() < until:
        for name in servers.keys() - seen.keys():
            if tell[name]():
                seen[name] = time.monotonic() - since
        time.sleep(_POLL_SECONDS)
    return seen


def _told(server: RedisServer, since: float) -> Callable[[], bool]:
    """Whether there is a canary that is young enough."""

    def told() -> bool:
        keys = server.command("KEYS", f"*{CANARY}:*")
        return any(int(key.rpartition(b":")[2]) >= since * 1000 for key in keys)

    return told


def _grown(server: RedisServer) -> Callable[[], bool]:
    """Whether there are some more keys, where their names tell nothing."""
    before = server.command("DBSIZE")
    return lambda: bool(server.command("DBSIZE") >= before + _SOME)


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))
