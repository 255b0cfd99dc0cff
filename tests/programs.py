"""Programs of their own for what one test process cannot show, and what a process holds."""

import asyncio
import contextlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Final

from servers import RedisServer

ROOT: Final = Path(__file__).parents[1]
_PATH: Final = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python program in which warnings are errors, with the package to import."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": _PATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, *arguments: object) -> tuple[str, str]:
    """What a program that ends well writes to stdout and to stderr."""
    with start(code, *arguments) as program:
        try:
            out, err = program.communicate(timeout=50)
        except BaseException:
            program.kill()
            raise
    assert program.returncode == 0, f"ended with {program.returncode}:\n{out}\n{err}"
    return out, err


def resident() -> int:
    """Bytes of memory that this process has; 0 where nobody tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> list[str]:
    """What the open files of this process lead to."""
    found = []
    for entry in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that was opened to list them
            found.append(str(entry.readlink()))
    return sorted(found)


def threads() -> set[tuple[str, int | None]]:
    """The threads of caches that run: their names and numbers."""
    return {(thread.name, thread.ident) for thread in threading.enumerate() if thread.name.startswith("toolcache")}


def tasks() -> set[str]:
    """The names of what else runs on this loop."""
    return {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}


def clients(server: RedisServer) -> list[str]:
    """The addresses of the caches that are connected to a server."""
    lines = server.command("CLIENT", "LIST").decode().splitlines()
    fields = [dict(word.split("=", 1) for word in line.split()) for line in lines]
    return [client["addr"] for client in fields if client.get("name") == "toolcache"]
