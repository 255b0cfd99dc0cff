"""Processes of their own that ask for requests to be run once, told what to do by lines of stdin.

Each line says one thing to do, and is answered by a line of stdout, whenever it is done; what is begun says so at once. Each
execution leaves a line in a file outside of any cache, so that it counts whatever becomes of its process.
"""

import asyncio
import contextlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from hearing import state, until
from programs import start

_CHILD: Final = "import sys, asyncio; from dispatch import askers; asyncio.run(askers.serve(*sys.argv[1:]))"
_PATIENCE: Final = 30.0
_NOBODY_LOOKS: Final = 300.0


class _Child:
    """What such a process does.

    Args:
        name: its own.
        cache: its cache.
        witness: where its executions leave a line.
    """

    def __init__(self, name: str, cache: Any, witness: Path) -> None:
        self._name = name
        self._cache = cache
        self._witness = witness
        self._sent = _count_commands()
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: list[str] = []
        cache.subscribe(lambda event: self._events.append(type(event).__name__))

    async def work(self) -> None:
        """Do what stdin says, until its end."""
        terminate = lambda: self._own(self._terminate())  # noqa: E731 - as short as it is
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        _say({"ready": self._name})
        while line := await asyncio.to_thread(sys.stdin.readline):
            self._own(self._do(json.loads(line)))

    def _own(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, step: dict[str, Any]) -> None:
        if step["do"] == "once":
            told = await self._once(step)
        elif step["do"] == "forget":
            told = {"known": await self._cache.forget(step["key"])}
        else:
            told = {"events": self._events, "pending": self._cache._machine.journal.pending}
        _say({"did": step["id"], **told})

    async def _once(self, step: dict[str, Any]) -> dict[str, Any]:
        ended_at = 0.0

        async def run(context: Any) -> str:
            nonlocal ended_at
            output = await self._run(step, context)
            ended_at = time.monotonic()
            return output

        async def one() -> Any:
            try:
                return await self._cache.once(step["key"], run, fingerprint=step["asks"], **step["options"])
            except Exception as error:  # noqa: BLE001 - told by its name
                return f"! {type(error).__name__}"

        before = self._sent[0]
        outputs = await asyncio.gather(*(one() for _ in range(step["callers"])))
        done_at, sent = time.monotonic(), self._sent[0] - before
        return {"outputs": sorted(set(outputs)), "ended_at": ended_at, "done_at": done_at, "sent": sent}

    async def _run(self, step: dict[str, Any], context: Any) -> str:
        with self._witness.open("a") as file:
            file.write(f"{step['key']} {self._name} {context.attempt} {context.idempotency_key}\n")
        _say({"begun": step["key"], "attempt": context.attempt})
        if step["how"] == "die":
            os._exit(9)
        while step["until"] and not Path(step["until"]).exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.002)
        if step["how"] == "raise":
            raise ValueError("not today")
        return f"of {self._name}"

    async def _terminate(self) -> None:
        await self._cache.aclose(drain=0)
        await asyncio.gather(*(self._tasks - {asyncio.current_task()}))
        _say({"closed": True})
        os._exit(0)  # a thread waits for stdin


async def serve(name: str, url: str, directory: str, witness: str, options: str) -> None:
    """The process: one cache, until stdin ends."""
    from toolcache import ToolCache, waiting

    logging.getLogger("toolcache").addHandler(logging.NullHandler())  # stderr is for what nobody expected
    given = json.loads(options)
    if given.pop("deaf", False):  # who is not told, waits for long
        setattr(waiting, "_PAUSES", (_NOBODY_LOOKS, _NOBODY_LOOKS))  # noqa: B010 - a checker would not let it be assigned
    places: dict[str, Any] = {"redis_url": url or None, "directory": directory or None, "files": bool(directory)}
    async with ToolCache(**places, **{"op_timeout": 2, "file_timeout": 10} | given) as cache:
        await cache.get("warm")
        if url and given.get("coherence", True):
            await until(lambda: state(cache) == "tracking")
        await _Child(name, cache, Path(witness)).work()


def _count_commands() -> list[int]:
    """How many commands this process has sent to Redis."""
    from toolcache.stores.redis.connection import Connection

    count, call = [0], Connection.call

    def counted(self: Connection, command: bytes, replies: int = 1) -> "asyncio.Future[list[Any]]":
        count[0] += replies
        return call(self, command, replies)

    setattr(Connection, "call", counted)  # noqa: B010 - a checker would not let it be assigned
    return count


def _say(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


class Asker:
    """One of these processes, seen from outside.

    Args:
        name: what its outputs and its lines in ``witness`` say.
        url: of Redis; empty for none.
        directory: of its host's files; None for none.
        witness: where executions leave a line.
        options: of its cache; ``deaf`` has it look after minutes only, where it is not told.
    """

    def __init__(self, name: str, url: str, directory: Path | None, witness: Path, **options: Any) -> None:
        self.name = name
        self.process = start(_CHILD, name, url, directory or "", witness, json.dumps(options))
        self._said: queue.Queue[dict[str, Any]] = queue.Queue()
        self._put_by: list[dict[str, Any]] = []
        self._asked = 0
        self._listening = threading.Thread(target=self._listen, daemon=True)
        self._listening.start()

    def ready(self) -> "Asker":
        """Wait until it takes steps."""
        self.hear(ready=self.name)
        return self

    def do(self, what: str, **step: Any) -> int:
        """Tell it to do something; the number of the step."""
        self._asked += 1
        line = json.dumps({"id": self._asked, "do": what, **step})
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._asked

    def ask(self, key: str, *, until: Path | None = None, how: str = "", callers: int = 1, **options: Any) -> int:
        """Have some callers ask for a request, which goes on until there is a file."""
        asks = options.pop("asks", None)
        path = str(until or "")
        return self.do("once", key=key, until=path, how=how, callers=callers, asks=asks, options=options)

    def once(self, key: str, **how: Any) -> Any:
        """Ask for a request, and wait: the one output of all the callers, or the error's name."""
        return self.output(self.ask(key, **how))

    def output(self, step: int) -> Any:
        """The one output of all the callers of a step, or the error's name."""
        (output,) = self.done(step)["outputs"]
        return output

    def done(self, step: int) -> dict[str, Any]:
        """What a step has come to."""
        return self.hear(did=step)

    def hear(self, **about: Any) -> dict[str, Any]:
        """Wait for it to say something."""
        give_up = time.monotonic() + _PATIENCE
        for told in self._put_by:
            if about.items() <= told.items():
                self._put_by.remove(told)
                return told
        while True:
            try:
                told = self._said.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"{self.name} did not say {about}, but {self._put_by}") from None
            if about.items() <= told.items():
                return told
            assert "gone" not in told, f"{self.name} is gone: {told}"
            self._put_by.append(told)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """SIGTERM: it closes its cache without draining it, and ends."""
        self.process.terminate()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def leave(self) -> None:
        """Have it end by itself, unless it has ended."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def close(self) -> None:
        """Wait for its end."""
        self.leave()
        try:
            assert self.process.wait(_PATIENCE) in (0, -signal.SIGKILL, 9)
        finally:
            self.process.kill()
            self._listening.join()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            self._said.put(json.loads(line))
        self._said.put({"gone": True, "stderr": self.process.stderr.read()})
        self.process.stdout.close()
        self.process.stderr.close()


def runs(witness: Path, key: str) -> list[tuple[str, int]]:
    """Who has begun to run a request, and the number of the attempt."""
    lines = witness.read_text().splitlines() if witness.exists() else []
    words = [line.split() for line in lines]
    return [(name, int(attempt)) for found, name, attempt, _ in words if found == key]
