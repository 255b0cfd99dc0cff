"""Plays scenarios with injected faults: ``make faults SCENARIO=F-03 SEED=7``."""

import argparse
import asyncio
import json
import sys
import traceback

from faults import (  # noqa: F401 - they register
    dispatching,
    endings,
    everything,
    lifecycles,
    outages,
    refusals,
    replies,
)
from faults.report import Report, table
from faults.scenarios import SCENARIOS, play


def main() -> int:
    """Play what was asked for; 1 if anything did not hold."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--scenario", default=",".join(sorted(SCENARIOS)), help="names, with commas; all unless given")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--quick", action="store_true", help="shortened times")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    names = [name.strip() for name in options.scenario.split(",")]
    if unknown := [name for name in names if name not in SCENARIOS]:
        sys.exit(f"no scenario {', '.join(unknown)}: there are {', '.join(sorted(SCENARIOS))}")
    reports: list[Report] = []
    failed: list[str] = []
    for name in names:
        for seed in range(options.seed, options.seed + options.seeds):
            sys.stderr.write(f"{name} SEED={seed}: {SCENARIOS[name].play.__doc__}\n")
            try:
                reports.append(asyncio.run(play(name, seed, quick=options.quick)))
            except Exception:  # noqa: BLE001 - the other runs are wanted all the same
                failed.append(f"{name} SEED={seed}: not played to the end")
                traceback.print_exc()
    if options.json:
        sys.stdout.write(json.dumps([report.as_dict() for report in reports], indent=1) + "\n")
    else:
        sys.stdout.write("\n".join([table(reports), *failed, ""]))
    return 0 if not failed and all(report.holds for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
