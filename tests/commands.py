"""Runs the command line: in this process, in one of its own, and on a terminal."""

import contextlib
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import Final, NamedTuple, Self

import pytest
import rich.console  # noqa: F401 - it asks for the working directory when it is loaded, which may not happen on a loop that is watched

import toolcache

ROOT: Final = Path(toolcache.__file__).parent.parent
_NOT_OURS: Final = (
    "TOOLCACHE_",
    "REDIS_",
    "USE_REDIS",
    "AI_CACHE_",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "TERM",
)


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """The variables of this process without those that the command line heeds, and with others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    return kept | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | more


def command(*arguments: str, cwd: Path, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Ran:
    """A process of its own, with pipes."""
    line = [sys.executable, "-m", "toolcache", *arguments]
    done = subprocess.run(
        line, input=stdin, capture_output=True, check=False, cwd=cwd, env=environment(**(environ or {})), timeout=30
    )
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """The same in this process."""
    from toolcache.cli import main

    capsys.readouterr()
    code = main(list(arguments))
    told = capsys.readouterr()
    return Ran(code, told.out, told.err)


class Terminal:
    """A command on a pseudo-terminal.

    Args:
        arguments: of the command.
        cwd: where it runs.
        columns: how wide the terminal is.
        environ: further variables.
    """

    def __init__(
        self, arguments: Sequence[str], cwd: Path, *, columns: int = 80, environ: Mapping[str, str] | None = None
    ) -> None:
        self._near, far = pty.openpty()
        self.resize(columns)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "toolcache", *arguments],
            stdin=far,
            stdout=far,
            stderr=far,
            cwd=cwd,
            env=environment(**(environ or {})),
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - one call, in tests that have no other threads
        )
        os.close(far)
        self.text = ""

    def resize(self, columns: int, rows: int = 40) -> None:
        """Make the terminal another size."""
        ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, text: str) -> None:
        """What a person types."""
        os.write(self._near, text.encode())

    def until(self, what: str, times: int = 1, within: float = 20.0) -> None:
        """Read on until this was shown so often."""
        self._read(lambda: self.text.count(what) >= times, within)
        assert self.text.count(what) >= times, self.text

    def interrupt(self) -> "Ran":
        """Press Ctrl-C until it ends: one that comes in the very moment before the reading begins, Python does not hear."""
        for _ in range(20):
            self.press("\x03")
            self._read(lambda: self._process.poll() is not None, 1.0)
            if self._process.poll() is not None:
                break
        return self.end()

    def terminate(self) -> None:
        """End it as systems do."""
        self._process.terminate()

    def end(self, within: float = 20.0) -> Ran:
        """Wait for it to end."""
        self._read(lambda: False, within)
        return Ran(self._process.wait(within), self.text.replace("\r\n", "\n"), "")

    def _read(self, enough: Callable[[], bool], within: float) -> None:
        until = time.monotonic() + within
        while not enough() and time.monotonic() < until:
            ready, _, _ = select.select([self._near], [], [], 0.05)
            if ready:
                try:
                    some = os.read(self._near, 65_536)
                except OSError:  # the other end is closed
                    return
                if not some:
                    return
                self.text += some.decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        os.close(self._near)


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it
    ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches the process
