"""What dispatches came to: who ran what, and who got which answer.

Each process keeps an account of its own, and each request has witnesses outside of any cache: a file to which every
execution appends a line as it begins, so that it counts whatever becomes of the process it is in.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final, TypeVar

LAPSES: Final = 2 / 3
"""A claim is renewed three times in a lease, so a pause of so much of one may let it lapse."""
_ACCOUNT: Final = "account"
_WITNESS: Final = "witness"


@dataclass(slots=True)
class Run:
    """One execution; ``token`` is what it could hand to whoever acts. Instants are monotonic, the same for a host."""

    request: str
    worker: str
    name: str
    begun_at: float
    attempt: int = 1
    token: str = ""
    ended_at: float = inf
    raised: bool = False


@dataclass(slots=True)
class Call:
    """One call, and the run whose output it got; ``error`` names what it raised instead."""

    request: str
    worker: str
    asked_at: float
    told_at: float = inf
    run: str | None = None
    error: str | None = None


@dataclass(slots=True)
class Pause:
    """A process stood still, stopped by somebody or kept from its turn."""

    worker: str
    since: float
    until: float


Noted = TypeVar("Noted", Run, Call)


def by_request(noted: Iterable[Noted]) -> dict[str, list[Noted]]:
    """Runs or calls of each request."""
    found: defaultdict[str, list[Noted]] = defaultdict(list)
    for one in noted:
        found[one.request].append(one)
    return dict(found)


@dataclass
class Accounts:
    """All that was done and told.

    Args:
        lease: seconds for which a claim is its holder's without a word from it.
        hosts: where each worker lives.
        deaths: when each worker that was killed was.
    """

    lease: float
    hosts: dict[str, str] = field(default_factory=dict)
    deaths: dict[str, float] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)

    @property
    def long_pauses(self) -> list[Pause]:
        """Those in which a lease may have lapsed; what the stopped and whoever stopped it both noted is one."""
        found: list[Pause] = []
        for pause in sorted(self.pauses, key=lambda each: (each.worker, each.since)):
            if pause.until - pause.since < self.lease * LAPSES:
                continue
            if found and found[-1].worker == pause.worker and pause.since <= found[-1].until:
                found[-1] = Pause(pause.worker, found[-1].since, max(found[-1].until, pause.until))
            else:
                found.append(pause)
        return found

    def counts(self) -> dict[str, int]:
        """How many there were of each."""
        requests = {call.request for call in self.calls}
        told = [call for call in self.calls if call.run is not None]
        begun = {(run.worker, run.name): run.begun_at for run in self.runs}
        ran = sum(begun.get((call.worker, call.run or ""), -inf) >= call.asked_at for call in told)
        answers = {request: {call.run for call in some} for request, some in by_request(told).items()}
        return {
            "requests": len(requests),
            "calls": len(self.calls),
            "executions": len(self.runs),
            "answers": len(told),
            "replays": len(told) - ran,
            "deaths": len(self.deaths),
            "pauses": len(self.long_pauses),
            "extra executions": len(self.runs) - len(by_request(self.runs)),
            "more than one answer": sum(len(some) > 1 for some in answers.values()),
            "without an answer": len(requests - answers.keys()),
        }

    def read(self, directory: Path) -> None:
        """Take in what workers noted."""
        self.runs, self.calls, self.events = [], [], Counter()
        # First the accounts: what they tell of has been witnessed before.
        told = {path.name: _lines(path) for path in sorted((directory / _ACCOUNT).iterdir())}
        for path in sorted((directory / _WITNESS).iterdir()):
            self.runs += [Run(**line) for line in _lines(path)]
        runs = {(run.worker, run.name): run for run in self.runs}
        for worker, lines in told.items():
            calls: dict[int, Call] = {}
            for kind, *what in lines:
                if kind == "asked":
                    number, request, at = what
                    calls[number] = Call(request, worker, at)
                elif kind == "told":
                    number, at, run, error = what
                    calls[number].told_at, calls[number].run, calls[number].error = at, run, error
                elif kind == "ended":
                    name, at, raised = what
                    runs[worker, name].ended_at, runs[worker, name].raised = at, raised
                elif kind == "stood still":
                    self.pauses.append(Pause(worker, *what))
                else:
                    self.events[what[0]] += 1
            self.calls += calls.values()


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


class Account:
    """What one process notes of itself, a line at a time, in files that outlive it.

    Args:
        directory: where the accounts and witnesses of all lie.
        worker: who it is.
    """

    def __init__(self, directory: Path, worker: str) -> None:
        self.worker = worker
        self._witnesses = directory / _WITNESS
        self._witnesses.mkdir(parents=True, exist_ok=True)
        (directory / _ACCOUNT).mkdir(exist_ok=True)
        self._file = _open(directory / _ACCOUNT / worker)

    def note(self, *what: Any) -> None:
        """Note a line."""
        os.write(self._file, json.dumps(what).encode() + b"\n")

    def begin(self, run: Run) -> None:
        """An execution begins."""
        with_name = {
            "request": run.request, "worker": run.worker, "name": run.name, "begun_at": run.begun_at,
            "attempt": run.attempt, "token": run.token,
        }  # fmt: skip
        witness = _open(self._witnesses / run.request)
        os.write(witness, json.dumps(with_name).encode() + b"\n")
        os.close(witness)

    def close(self) -> None:
        """No more is noted."""
        os.close(self._file)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


class Reader:
    """Counts, while they are written, the calls that were answered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / _ACCOUNT
        self._read: Counter[Path] = Counter()
        self.told = 0

    def look(self) -> int:
        """How many by now."""
        for path in self._directory.iterdir() if self._directory.is_dir() else ():
            with path.open("rb") as file:
                file.seek(self._read[path])
                lines = file.read()
            self._read[path] += len(lines)
            self.told += lines.count(b'["told"')
        return self.told


def runs_of(directory: Path, request: str) -> list[Run]:
    """Who was seen to run a request so far."""
    path = directory / _WITNESS / request
    return [Run(**line) for line in _lines(path)] if path.exists() else []
