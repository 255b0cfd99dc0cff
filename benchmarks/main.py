"""The command line of a script, and of all of them."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import FULL, QUICK, Result, Task, measure
from benchmarks.place import Place, describe
from benchmarks.progress import bar
from benchmarks.table import table

_DISTRIBUTIONS = (
    "agent-toolcache", "aiocache", "aiofiles", "async-lru", "aws-lambda-powertools", "cachebox", "cachetools", "cashews",
    "coredis", "diskcache", "dogpile.cache", "hiredis", "idemkit", "langchain-classic", "langchain-community", "litellm",
    "msgpack", "numpy", "py-key-value-aio", "redis", "redisvl", "theine", "valkey-glide",
)  # fmt: skip


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The options that every script knows."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a smoke run: few rounds, figures that mean little")
    parser.add_argument("--only", metavar="NAMES", help="these tasks, with commas in between")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure of every round")
    parser.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)  # tasks of a larger run: done, and all
    return parser


def main(about: str | None, tasks: Sequence[Task], *, server: bool = False) -> None:
    """Run one script: print a table for each task."""
    options = arguments(about).parse_args()
    wanted = chosen(tasks, options.only)
    logging.disable(logging.CRITICAL)  # what others have to say of a frozen server is long
    with Place(server=server, quick=options.quick) as place:
        machine = describe(_DISTRIBUTIONS)
        with asyncio.Runner() as runner, bar(*(options.part or (0, len(wanted)))) as watched:
            results = []
            for number, task in enumerate(wanted):
                effort = QUICK if options.quick else FULL
                results.append(runner.run(measure(task, place, effort, watched(number))))
                print(table(results[-1]), flush=True)
    if options.json:
        told = [asdict(result) for result in results]
        write(options.json, {"question": about, "machine": machine, "quick": options.quick, "results": told})
    if failures := list(failing(results)):
        sys.exit("\n".join(failures))


def failing(results: Iterable[Result]) -> Iterable[str]:
    """What is ours, or a floor, and fails: that is no slowness, and is not to be passed over."""
    for result in results:
        for row in result.rows:
            if row.kind != "peer" and row.failure:
                yield f"{result.name}: {row.name} fails: {row.failure}"


def chosen(tasks: Iterable[Task], names: str | None) -> list[Task]:
    """The tasks named; all if none is."""
    by_name = {task.name: task for task in tasks}
    wanted = list(by_name) if names is None else names.split(",")
    if unknown := [name for name in wanted if name not in by_name]:
        sys.exit(f"no task {', '.join(unknown)} here: there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def write(file: Path, run: dict[str, Any]) -> None:
    """A run as JSON, a line for each row of a table."""
    text = json.dumps(run, ensure_ascii=False, separators=(",", ":"))
    file.write_text(text.replace('{"name"', '\n{"name"') + "\n", encoding="utf-8")


def read(file: Path) -> dict[str, Any]:
    """A run that was written."""
    run: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return run
