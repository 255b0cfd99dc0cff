"""Walks: ``make walks SEEDS=200``, ``make walks SEED=7``, ``make walks WHAT=requests``."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from walks.age_walk import AgeWalk
from walks.fence_walk import FenceWalk
from walks.request_walk import RequestWalk
from walks.walk import STEPS, DivergedError, Walk

WALKS: Final[dict[str, type[Walk] | type[RequestWalk] | type[FenceWalk]]] = {
    "values": Walk,
    "requests": RequestWalk,
    "invalidations": FenceWalk,
    "ages": AgeWalk,
}


def main() -> int:
    """Walk; 1 if the code and the model did not always agree."""
    parser = argparse.ArgumentParser(prog="make walks", description=__doc__)
    parser.add_argument(
        "--what", choices=WALKS, help="values, requests that run once, invalidations, or ages; all unless given"
    )
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each walk")
    options = parser.parse_args()
    diverged = 0
    kinds = [options.what] if options.what else [*WALKS]
    for seed in range(options.seed, options.seed + options.seeds):
        for what in kinds:
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as directory:
                try:
                    asyncio.run(WALKS[what](seed, Path(directory)).go(options.steps))
                except DivergedError as fault:
                    diverged += 1
                    sys.stdout.write(f"{what}: {fault}\n")
            sys.stderr.write(f"{what}, SEED={seed}: {time.monotonic() - begun:.1f} s\n")
    sys.stdout.write(f"{options.seeds * len(kinds)} walks of {options.steps} steps, {diverged} diverged\n")
    return int(diverged > 0)


if __name__ == "__main__":
    sys.exit(main())
