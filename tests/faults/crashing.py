"""Processes that write until they are killed: ``python -m faults.crashing URL DIRECTORY ROUNDS SEED FIRST``.

After each one it is read what is left. A line for each: what the process said of its writes, and what was found.
"""

import asyncio
import itertools
import json
import random
import sys
import warnings
from functools import partial

from crash.kill_writer import killed
from faults.fresh import PATIENT, look
from faults.telling import Telling
from faults.values import KEYS
from faults.workload import TASKS, LagMeter, Workload

from toolcache.tool_cache import ToolCache


async def write(url: str, directory: str, seed: str, first: int, pipe: int) -> None:
    """Write without a pause; every third write is a delete."""
    cache = ToolCache(redis_url=url, directory=directory, **PATIENT)
    work = Workload(cache, Telling(pipe=pipe, _numbers=itertools.count(first)), LagMeter(), seed)

    async def task(number: int) -> None:
        chance = random.Random(f"{seed}/{number}")
        for count in itertools.count(number):
            key = chance.choice(KEYS[number::TASKS])
            await (work.set(key) if count % 3 else work.delete(key))

    await asyncio.gather(*map(task, range(TASKS)))


def main(url: str, directory: str, rounds: str, seed: str, first: str) -> None:
    """Live and die, over and over."""
    warnings.simplefilter("ignore", ResourceWarning)
    warnings.filterwarnings("ignore", "This process", DeprecationWarning)
    chance, number = random.Random(seed), int(first)
    for turn in range(int(rounds)):
        lines = killed(partial(write, url, directory, f"{seed}/{turn}", number), chance.uniform(0.01, 0.08))
        said = [json.loads(line) for line in lines]
        number = max([number, *(act[2] + 1 for act in said)])
        sys.stdout.write(json.dumps((said, asyncio.run(look(url, directory)))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:6])
