"""Workers, as whoever employs them sees them: they are told what to ask for, killed, stopped and replaced."""

import contextlib
import itertools
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from math import inf
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from faults.accounts import Accounts, Pause
from faults.worker import Step
from programs import start

_CODE: Final = "import sys; from faults.worker import main; main(*sys.argv[1:])"


class Hand:
    """One worker: a process."""

    def __init__(self, name: str, program: "subprocess.Popen[str]", accounts: Accounts) -> None:
        self.name = name
        self._program = program
        self._accounts = accounts
        self._pause: Pause | None = None
        self.ended = False

    @property
    def alive(self) -> bool:
        """Whether its process has not ended."""
        return self._program.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether it was stopped, and does not go on yet."""
        return self._pause is not None

    def tell(self, *steps: Step) -> None:
        """Have it play steps."""
        assert self._program.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it may have died
            self._program.stdin.write("".join(step.line() for step in steps))
            self._program.stdin.flush()

    def finish(self) -> None:
        """There are no more steps."""
        assert self._program.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._program.stdin.close()

    def kill(self) -> None:
        """SIGKILL, also while it stands still."""
        self.died()
        self._program.kill()
        self._reap()

    def died(self) -> None:
        """It is dead from now on, or kills itself."""
        self._accounts.deaths.setdefault(self.name, time.monotonic())

    def stop(self) -> None:
        """SIGSTOP."""
        self._pause = Pause(self.name, time.monotonic(), inf)
        self._accounts.pauses.append(self._pause)
        self._program.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        if self._pause is not None:
            self._program.send_signal(signal.SIGCONT)
            self._pause.until = time.monotonic()
            self._pause = None

    def end(self, patience: float) -> str:
        """Let it finish; what it complains of, "" for nothing."""
        self.finish()
        watchdog = threading.Timer(patience, self._program.kill)
        watchdog.start()
        err = self._reap()
        watchdog.cancel()
        return err if self._program.returncode == 0 else f"{err}ended with {self._program.returncode}"

    def _reap(self) -> str:
        self.ended = True
        assert self._program.stdout is not None
        assert self._program.stderr is not None
        with self._program:
            self.finish()
            err = self._program.stderr.read()
            self._program.stdout.read()
        return err


class Crew:
    """Workers of one host or of several that share a Redis.

    Args:
        url: of their Redis.
        directory: where they keep their accounts, and each host its files.
        lease: seconds.
        door: what they ask: see ``DOORS``.
        parallel: how many steps each plays at the same time.
        options: of each call.
    """

    def __init__(
        self, url: str, directory: Path, *, lease: float, door: str = "toolcache", parallel: int = 100, **options: Any
    ) -> None:
        self.directory = directory
        self.notes = directory / "accounts"
        self.accounts = Accounts(lease)
        self.complaints: list[str] = []
        self._words = (door, url)
        self._options = json.dumps({"lease": lease, "parallel": parallel, **options})
        self._hands: list[Hand] = []
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for hand in self._hands:
            if not hand.ended:
                hand.kill()

    def files(self, host: str) -> Path:
        """Where a host keeps its files."""
        return self.directory / host

    def hire(self, host: str = "here") -> Hand:
        """Another worker."""
        name = f"{host}-{next(self._numbers)}"
        program = start(_CODE, name, *self._words, self.files(host), self.notes, self._options)
        hand = Hand(name, program, self.accounts)
        self._hands.append(hand)
        self.accounts.hosts[name] = host
        return hand

    def end(self, hands: Iterable[Hand] | None = None, patience: float = 60.0) -> None:
        """Have workers finish, all unless given, and note what they complain of."""
        hands = [hand for hand in (self._hands if hands is None else hands) if not hand.ended]
        for hand in hands:
            hand.finish()
        until = time.monotonic() + patience
        for hand in hands:
            if complaint := hand.end(max(0.1, until - time.monotonic())):
                self.complaints.append(f"I1: {hand.name} did not end well: {complaint[-2_000:]}")

    def settle(self) -> Accounts:
        """The accounts of all, once all have ended."""
        self.accounts.read(self.notes)
        return self.accounts
