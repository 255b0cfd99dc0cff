"""Plays everything at once for as long as you like: ``make soak MINUTES=30 SEED=7``.

A minute of F-28 after the other, each with the next seed, so that a minute can be played again by itself.
"""

import argparse
import asyncio
import json
import math
import random
import sys
import time
import traceback
from collections import Counter
from typing import Final

from faults import everything  # noqa: F401 - it registers
from faults.report import Report, table
from faults.scenarios import play
from faults.stage import Stage
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_NAME: Final = "F-28"
_ONE: Final = 60.0
_GLANCE: Final = 0.2


class Soak:
    """So many minutes of faults.

    Args:
        minutes: in all, fractions too; judging each minute comes on top.
        seed: of the first minute.
        progress: where it is shown.
    """

    def __init__(self, minutes: float, seed: int, progress: Progress) -> None:
        self._left = minutes * 60
        self._seed = seed
        self._progress = progress
        self._bar = progress.add_task("", total=self._left, found="")
        self.reports: list[Report] = []
        self.failed: list[str] = []

    def run(self) -> None:
        """Play."""
        for number in range(max(1, math.ceil(self._left / _ONE))):
            seed, seconds = self._seed + number, min(_ONE, self._left - number * _ONE)
            try:
                self.reports.append(asyncio.run(play(_NAME, seed, seconds=seconds, onlooker=self._look)))
            except Exception:  # noqa: BLE001 - the other minutes are wanted all the same
                self.failed.append(f"{_NAME} SEED={seed}: not played to the end: {traceback.format_exc()}")

    async def _look(self, stage: Stage) -> None:
        await stage.opened.wait()
        begun, done = time.monotonic(), len(self.reports) * _ONE
        found = sum(len(report.violations) + len(report.slow) for report in self.reports) + len(self.failed)
        while True:
            calls = sum(map(_calls, self.reports)) + len(stage.work.calls)
            words = f"{calls:,} calls, {found + len(stage.oracle.violations)} violations"
            passed = min(_ONE, time.monotonic() - begun)
            self._progress.update(
                self._bar, description=f"{_NAME} SEED={stage.seed}", completed=done + passed, found=words
            )
            await asyncio.sleep(_GLANCE)


def _calls(report: Report) -> int:
    return sum(report.counts.get(kind, 0) for kind in ("get", "set", "delete", "get_or_set"))


def _summary(reports: list[Report]) -> dict[str, int | float | bool]:
    acknowledged: Counter[str] = Counter()
    for report in reports:
        acknowledged.update(report.acknowledged)
    return {
        "calls": sum(map(_calls, reports)),
        "acknowledged": sum(acknowledged.values()),
        "replayed": sum(report.replayed for report in reports),
        "longest": max((report.longest for report in reports), default=0.0),
        "healed": max((report.healed for report in reports), default=0.0),
        "grown": sum(report.grown for report in reports),
        "violations": sum(len(report.violations) + len(report.slow) for report in reports),
    }


def main() -> int:
    """Play what was asked for; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long; 1 unless given")
    parser.add_argument("--seed", type=int, default=None, help="the first seed; any unless given")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    sys.stderr.write(f"SEED={seed}\n")
    shown = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[found]}"), TimeElapsedColumn())
    with Progress(*shown, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        soak = Soak(options.minutes, seed, progress)
        soak.run()
    summary = _summary(soak.reports)
    if options.json:
        told = {
            "seed": seed,
            **summary,
            "reports": [report.as_dict() for report in soak.reports],
            "failed": soak.failed,
        }
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
    else:
        words = ", ".join(f"{name} {number:,.6g}" for name, number in summary.items())
        sys.stdout.write("\n".join([table(soak.reports), *soak.failed, f"in all: {words}; SEED={seed}", ""]))
    return 1 if soak.failed or not all(report.holds for report in soak.reports) else 0


if __name__ == "__main__":
    sys.exit(main())
