"""Plays many workers that share many requests, while Redis and they themselves die: ``make fleet PROCESSES=8 SEED=7``."""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from faults.accounts import Reader
from faults.crew import Crew, Hand
from faults.judging import Judge
from faults.worker import Step
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from servers import RedisServer

MODES: Final = ("healthy", "down", "killed", "emptied", "hung")
_LEASE: Final = 2.0
_GLANCE: Final = 0.02
_PATIENCE: Final = 60.0
"""Seconds without an answer after which nobody is waited for any longer."""
_BATCH: Final = 10
_LONG: Final = 0.01
_SHOWN: Final = 20


@dataclass(frozen=True)
class Outcome:
    """What a fleet came to: ``counts`` by name, and what did not hold."""

    mode: str
    seed: int
    seconds: float
    counts: dict[str, int]
    events: dict[str, int]
    violations: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"holds": not self.violations}


class Fleet:
    """So many workers, each with a list of requests of which most stand on the lists of others too.

    Args:
        mode: what becomes of Redis: "healthy", "down" from the start, "killed" at some time and left so, "emptied" by a
            restart at some time, or "hung" for longer than a lease.
        seed: decides who asks for what, and how much must be done before each trouble.
        processes: how many workers there are at a time.
        requests: how many there are.
        deaths: how many workers are killed, and replaced by another with the same list.
        pauses: how many are stopped for longer than their lease.
        hosts: among how many hosts, with files of their own, they are divided. Of several, each may run a request once where
            Redis fails.
        lease: seconds.
        door: what workers ask.
        watch: is told, over and over, how many calls were answered, of how many.
    """

    def __init__(
        self,
        mode: str,
        seed: int,
        *,
        processes: int = 8,
        requests: int = 500,
        deaths: int | None = None,
        pauses: int | None = None,
        hosts: int = 1,
        lease: float = _LEASE,
        door: str = "toolcache",
        watch: Callable[[int, int], None] = lambda _told, _of: None,
    ) -> None:
        self._mode = mode
        self._seed = seed
        self._chance = random.Random(f"fleet/{mode}/{seed}")
        self._names = [f"{self._chance.choice(('task', 'key'))}-{number:04}" for number in range(requests)]
        self._processes = processes
        self._hosts = [f"host{number}" for number in range(hosts)]
        self._lease = lease
        self._door = door
        self._watch = watch
        self._lists: dict[str, list[Step]] = {}
        self._crew: Crew
        self._hands: list[Hand] = []
        self._due: list[tuple[float, Callable[[], None]]] = []
        """What happens at an instant."""
        self._troubles: list[tuple[float, Callable[[], None]]] = [
            *((self._part(), self._kill) for _ in range(processes if deaths is None else deaths)),
            *((self._part(), self._stop) for _ in range(processes // 2 if pauses is None else pauses)),
        ]
        """What happens once so much of the work is done."""

    def play(self) -> Outcome:
        """Have everybody work, and judge."""
        begun = time.monotonic()
        with RedisServer() as server, tempfile.TemporaryDirectory(prefix="toolcache-fleet-") as directory:
            if self._mode == "down":
                server.stop()
            elif self._mode != "healthy":
                happens: dict[str, Callable[[], None]] = {
                    "killed": server.stop,
                    "emptied": server.restart,
                    "hung": partial(self._hang, server),
                }
                self._troubles.append((self._part(), happens[self._mode]))
            self._crew = Crew(
                server.url, Path(directory), lease=self._lease, door=self._door, parallel=4, max_attempts=100
            )
            with self._crew:
                for number, steps in enumerate(self._deal()):
                    self._hire(steps, self._hosts[number % len(self._hosts)])
                self._work(Reader(self._crew.notes))
                self._crew.end()
                late = self._crew.hire(self._hosts[0])  # it has missed everything, and nothing is left to run
                late.tell(Step(tuple(self._names)))
                self._crew.end([late])
                accounts = self._crew.settle()
                apart = len(self._hosts) > 1 and self._mode != "healthy"
                wrong = [*self._crew.complaints, *Judge(accounts).judge(apart=apart)]
        counts = accounts.counts()
        return Outcome(self._mode, self._seed, time.monotonic() - begun, counts, dict(accounts.events), wrong)

    def _part(self) -> float:
        return self._chance.uniform(0.05, 0.8)

    def _deal(self) -> list[list[Step]]:
        """A list for each worker: each request is on several, several times."""
        chance = self._chance
        lists: list[list[str]] = [[] for _ in range(self._processes)]
        for name in self._names:
            for one in chance.sample(lists, chance.randint(2, self._processes)):
                one.extend([name] * chance.randint(1, 3))
        return [self._batches(one) for one in lists]

    def _batches(self, names: list[str]) -> list[Step]:
        chance, steps = self._chance, []
        chance.shuffle(names)
        while names:
            some = tuple(names.pop() for _ in range(min(len(names), chance.randint(1, _BATCH))))
            long = chance.random() < _LONG
            steps.append(Step(some, self._lease * 1.5 if long else chance.uniform(0.005, 0.1)))
        return steps

    def _hire(self, steps: list[Step], host: str) -> None:
        hand = self._crew.hire(host)
        self._hands.append(hand)
        self._lists[hand.name] = steps
        hand.tell(*steps)
        hand.finish()

    def _work(self, reader: Reader) -> None:
        """Until every list is done."""
        total = sum(len(step.requests) for steps in self._lists.values() for step in steps)
        told, told_at = 0, time.monotonic()
        while any(hand.alive for hand in self._hands):
            time.sleep(_GLANCE)
            before, told = told, reader.look()
            self._watch(min(told, total), total)
            now = time.monotonic()
            told_at = now if told > before else told_at
            if now - told_at > _PATIENCE:  # whoever still waits is found to be without an answer
                break
            for trouble in [trouble for trouble in self._troubles if told >= trouble[0] * total]:
                self._troubles.remove(trouble)
                trouble[1]()
            for due in [due for due in self._due if due[0] <= now]:
                self._due.remove(due)
                due[1]()
        self._watch(total, total)

    def _kill(self) -> None:
        """One is killed, and another does what was to be done."""
        if hands := [hand for hand in self._hands if hand.alive]:
            victim = self._chance.choice(hands)
            victim.kill()
            steps = list(self._lists[victim.name])
            self._chance.shuffle(steps)
            self._hire(steps, self._crew.accounts.hosts[victim.name])

    def _hang(self, server: RedisServer) -> None:
        """Redis stands still beyond a lease."""
        server.freeze()
        self._due.append((time.monotonic() + self._lease * 1.5, server.thaw))

    def _stop(self) -> None:
        """One stands still beyond its lease."""
        if hands := [hand for hand in self._hands if hand.alive and not hand.stopped]:
            victim = self._chance.choice(hands)
            victim.stop()
            self._due.append((time.monotonic() + self._lease * self._chance.uniform(1.2, 2.0), victim.go_on))


def table(outcomes: Sequence[Outcome]) -> str:
    """A column for each mode, and below what did not hold."""
    rows = [("", *(outcome.mode for outcome in outcomes))]
    rows += [(name, *(f"{outcome.counts[name]:,}" for outcome in outcomes)) for name in outcomes[0].counts]
    rows += [("seconds", *(f"{outcome.seconds:.1f}" for outcome in outcomes))]
    rows += [("verdict", *("BROKEN" if outcome.violations else "holds" for outcome in outcomes))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    for outcome in outcomes:
        told = ", ".join(f"{count} x {name}" for name, count in sorted(outcome.events.items()))
        lines += [f"{outcome.mode} SEED={outcome.seed}: {wrong}" for wrong in outcome.violations[:_SHOWN]]
        if (more := len(outcome.violations) - _SHOWN) > 0:
            lines.append(f"{outcome.mode} SEED={outcome.seed}: and {more:,} more")
        lines += [f"{outcome.mode} SEED={outcome.seed}: events: {told}"] if told else []
    return "\n".join(lines)


def main() -> int:
    """Play what was asked for; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    parser.add_argument("--processes", type=int, default=8, help="workers at a time; 8 unless given")
    parser.add_argument("--requests", type=int, default=500, help="requests; 500 unless given")
    parser.add_argument("--mode", default=",".join(MODES), help="what becomes of Redis, with commas; all unless given")
    parser.add_argument("--seed", type=int, default=None, help="any unless given")
    parser.add_argument("--hosts", type=int, default=1, help="among which they are divided; 1 unless given")
    parser.add_argument("--lease", type=float, default=_LEASE, help="seconds")
    parser.add_argument("--door", default="toolcache", help="what workers ask; others are there to be found wrong")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    modes = [mode.strip() for mode in options.mode.split(",")]
    if unknown := [mode for mode in modes if mode not in MODES]:
        sys.exit(f"no mode {', '.join(unknown)}: there are {', '.join(MODES)}")
    sys.stderr.write(f"SEED={seed}\n")
    shown = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} calls"),
    )
    outcomes: list[Outcome] = []
    with Progress(*shown, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        for mode in modes:
            bar = progress.add_task(f"Redis {mode}", total=1)

            def watch(told: int, total: int, bar: Any = bar) -> None:
                progress.update(bar, completed=told, total=total)

            fleet = Fleet(
                mode,
                seed,
                processes=options.processes,
                requests=options.requests,
                hosts=options.hosts,
                lease=options.lease,
                door=options.door,
                watch=watch,
            )
            outcomes.append(fleet.play())
    if options.json:
        told = {"seed": seed, "fleets": [outcome.as_dict() for outcome in outcomes]}
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        sys.stdout.write(f"{table(outcomes)}\n")
    return 1 if any(outcome.violations for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
