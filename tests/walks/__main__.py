"""Walks: ``make walks SEEDS=200``, ``make walks SEED=7``."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from walks.walk import STEPS, DivergedError, Walk


def main() -> int:
    """Walk; 1 if the code and the model did not always agree."""
    parser = argparse.ArgumentParser(prog="make walks", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--steps", type=int, default=STEPS, help="of each walk")
    options = parser.parse_args()
    diverged = 0
    for seed in range(options.seed, options.seed + options.seeds):
        begun = time.monotonic()
        with tempfile.TemporaryDirectory() as directory:
            try:
                asyncio.run(Walk(seed, Path(directory)).go(options.steps))
            except DivergedError as fault:
                diverged += 1
                sys.stdout.write(f"{fault}\n")
        sys.stderr.write(f"SEED={seed}: {time.monotonic() - begun:.1f} s\n")
    sys.stdout.write(f"{options.seeds} walks of {options.steps} steps, {diverged} diverged\n")
    return int(diverged > 0)


if __name__ == "__main__":
    sys.exit(main())
