"""The demonstrations: those of a checkout where there is one, else a short one."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolcache.cli.call import Answer, Call
from toolcache.cli.problems import Code, Problem
from toolcache.cli.verb import verb

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen

_PACKAGED = "tour"


@verb("demo")
@click.argument("name", required=False)
@click.option("--list", "listed", is_flag=True, help="List those that there are.")
def demo(call: Call, name: str | None, listed: bool) -> Answer:
    """Demonstrate.

    In a checkout these are the programs of examples/; elsewhere a tour of a minute. Each runs in a process and a directory of
    its own; with USE_REDIS=true they use a Redis too.
    """
    there = demos()
    if listed:
        return Answer({"demos": sorted(there)}, lambda screen: screen.show(*sorted(there)))
    chosen = [_chosen(there, name)] if name else sorted(there)
    environ = dict(os.environ)
    if call.choices.redis_url:
        environ |= {"USE_REDIS": "true", "TOOLCACHE_REDIS_URL": call.choices.redis_url}
    elif call.choices.backend in {"file", "memory"}:
        environ["USE_REDIS"] = "false"
    results = []
    for one in chosen:
        began = time.monotonic()
        # What a demonstration prints is for a person; standard output is the document's where one is wanted.
        done = subprocess.run(  # noqa: S603 - programs of this project
            there[one], env=environ, check=False, stdout=sys.stderr if call.as_json else None
        )
        results.append({"demo": one, "code": done.returncode, "seconds": time.monotonic() - began})
    failed: list[Any] = [one["demo"] for one in results if one["code"]]

    def show(screen: "Screen") -> None:
        if failed:
            screen.note(f"failed: {', '.join(failed)}")

    return Answer({"demos": results}, show, Code.FOUND if failed else Code.OK)


def demos() -> dict[str, list[str]]:
    """The command line of each, by name."""
    examples = Path(__file__).parents[2] / "examples"
    found = {path.stem: [sys.executable, str(path)] for path in sorted(examples.glob("[0-9]*_*.py"))}
    return found or {_PACKAGED: [sys.executable, "-m", "toolcache.cli.tour"]}


def _chosen(there: dict[str, list[str]], name: str) -> str:
    """The one that is meant by a name, or by the beginning or end of one."""
    meant = [one for one in there if one == name] or [one for one in there if name in one]
    if len(meant) != 1:
        raise Problem(f"there is no demo {name!r}; there are {', '.join(sorted(there))}")
    return meant[0]
