"""Processes that measure, and the server between them."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.place import Place

_PATIENCE: Final = 5.0


class Worker:
    """A process with a cache of its own; see ``worker``."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        command = [sys.executable, "-m", "benchmarks.scale.worker", json.dumps(settings)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, do: str, **order: Any) -> None:
        """Have it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self._process.stdin.flush()

    def hear(self) -> dict[str, float]:
        """What it has to say, when it is done."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a process of the fleet ended with {self._process.wait()}")
        told: dict[str, float] = json.loads(line)
        return told

    def do(self, duty: str, **order: Any) -> dict[str, float]:
        """Tell, and wait."""
        self.tell(duty, **order)
        return self.hear()

    def close(self) -> None:
        """End it, by force if it takes too long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Fleet:
    """Some such processes, ready; a context manager that ends them."""

    def __init__(self, settings: Sequence[Mapping[str, Any]]) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for settings in self._settings:
                self.workers.append(Worker(settings))
                stack.callback(self.workers[-1].close)
            for worker in self.workers:
                worker.hear()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def all(self, duty: str, **order: Any) -> list[dict[str, float]]:
        """All of them do the same, at the same time; ``seed`` differs."""
        for number, worker in enumerate(self.workers):
            worker.tell(duty, **order, **({"seed": number} if duty == "work" else {}))
        return [worker.hear() for worker in self.workers]


class Server:
    """What the server says of itself."""

    def __init__(self, place: Place) -> None:
        from redis import Redis

        self._place = place
        self._client = Redis(port=place.port)

    def database(self) -> str:
        """The URL of an empty database; all others are emptied."""
        self._client.flushall()
        return self._place.database()

    def gauge(self) -> dict[str, float]:
        """Processor seconds, bytes sent and received, bytes of memory, connections."""
        told = self._client.info("everything")
        return {
            "cpu": told["used_cpu_user"] + told["used_cpu_sys"],
            "sent": told["total_net_output_bytes"],
            "received": told["total_net_input_bytes"],
            "memory": told["used_memory"],
            "connections": told["connected_clients"],
        }

    def close(self) -> None:
        """Leave it alone."""
        self._client.close()
