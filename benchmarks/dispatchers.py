"""Those who run a task once, whoever asks for it and how often: ours, the peers, and floors that promise nothing."""

import asyncio
import itertools
import os
import time
import warnings
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from benchmarks.place import Place
from benchmarks.redis_ops import SocketFloor
from benchmarks.subject import FRESH, Subject
from benchmarks.values import small

_LEASE_MS: Final = 30_000
"""Of peers that have to be told; as long as ours lasts by default."""
_PATIENCE: Final = 10.0
"""Seconds for ours, which the peers do not limit: a machine that others use may stand still for a moment."""
_NOTHING: Final = b"$-1\r\n"


class Dispatcher(Subject):
    """Who runs tasks once.

    Attributes:
        once: ``await once(number)``, the answer to the task of that number, run now or before.
        all: ``await all(numbers, seconds, width)``, the answers to many tasks, each of which takes so long, so many at a
            time.
        runs: how often the agent was asked.
        exact: whether a task that is repeated is not run again: floors promise nothing.
    """

    exact: bool = True
    once: Callable[[int], Awaitable[Any]]
    all: Callable[[Sequence[int], float, int], Awaitable[list[Any]]]

    def __init__(self) -> None:
        self.runs = 0
        self._seconds = 0.0
        self._numbers = itertools.count()

    def fresh(self, count: int) -> list[int]:
        """Numbers of tasks that were never run."""
        return list(itertools.islice(self._numbers, count))

    async def agent(self, task: dict[str, Any]) -> Any:
        """Wait, and answer."""
        self.runs += 1
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return small(task["id"])

    def agent_of_a_thread(self, task: dict[str, Any]) -> Any:
        """The same, where nobody awaits."""
        self.runs += 1
        if self._seconds:
            time.sleep(self._seconds)
        return small(task["id"])

    async def gather(self, numbers: Sequence[int], seconds: float, width: int) -> list[Any]:
        """Tasks of the loop behind a semaphore: what a program writes that has no dispatch of its own."""
        self._seconds, turns = seconds, asyncio.Semaphore(width)

        async def one(number: int) -> Any:
            async with turns:
                return await self.once(number)

        return await asyncio.gather(*[one(number) for number in numbers])

    def in_threads(self, call: Callable[[int], Any], width: int) -> Callable[..., Awaitable[list[Any]]]:
        """``all`` by a pool of threads, for which the event loop stands still: it has nothing else to do."""
        self._pool = ThreadPoolExecutor(width)

        async def run(numbers: Sequence[int], seconds: float, _width: int) -> list[Any]:
            self._seconds = seconds
            return list(self._pool.map(call, numbers))

        return run


def task_of(number: int) -> dict[str, Any]:
    """What the agent is asked."""
    return {"id": number, "text": f"what does the tool number {number} do?", "tags": ["tool", "question"]}


# -- Floors -----------------------------------------------------------------------------------------------------------


class Calls(Dispatcher):
    """Calls the agent, and remembers nothing."""

    name = "floor: no idempotency"
    kind = "floor"
    exact = False

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a call needs no place
        self.once, self.all = self._once, self.gather

    async def _once(self, number: int) -> Any:
        return await self.agent(task_of(number))


class Gathered(Calls):
    name = "floor: gather and a semaphore, no idempotency"


class Threads(Calls):
    """A pool of threads that remembers nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.name, self._width = f"floor: {width} threads, no idempotency", width

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.all = self.in_threads(lambda number: self.agent_of_a_thread(task_of(number)), self._width)

    async def close(self) -> None:
        self._pool.shutdown()


class Sockets(Dispatcher):
    """The least that Redis can be asked by who claims and commits: ``SET … NX`` and ``SET``; ``GET`` for a replay."""

    kind = "floor"
    exact = False

    def __init__(self, *, replay: bool = False) -> None:
        super().__init__()
        self.name = "floor: a GET, blocking socket" if replay else "floor: SET NX and SET, blocking socket"
        self._replay = replay

    async def open(self, place: Place) -> None:
        self._wire = SocketFloor()
        await self._wire.open(place)
        self.once = self._get if self._replay else self._set

    async def _set(self, number: int) -> Any:
        key, ttl, body = b"task:%d" % number, b"%d" % FRESH, b"x" * 120
        self._wire._send(b"SET", key, body, b"NX", b"EX", ttl)  # noqa: SLF001 - a floor's own
        self._wire._send(b"SET", key, body, b"EX", ttl)  # noqa: SLF001 - a floor's own
        return body

    async def _get(self, number: int) -> Any:
        found = await self._wire.get(f"task:{number}")
        return await self._set(number) if found == _NOTHING else found

    async def close(self) -> None:
        await self._wire.close()


class Synced(Dispatcher):
    """The least that a file can do for a result that is to survive a power cut: one append, synced."""

    name = "floor: an append, synced"
    kind = "floor"
    note = "blocks the event loop"
    exact = False

    async def open(self, place: Place) -> None:
        self._file = os.open(place.folder() / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.once = self._append

    async def _append(self, number: int) -> Any:
        os.write(self._file, b"%120d" % number)
        os.fsync(self._file)

    async def close(self) -> None:
        os.close(self._file)


# -- Ours -------------------------------------------------------------------------------------------------------------


class Ours(Dispatcher):
    """toolcache, its records in Redis and files, or in fewer places."""

    kind = "ours"

    def __init__(self, *, redis: bool = True, files: bool = True) -> None:
        super().__init__()
        self._redis, self._files = redis, files
        where = "memory only" if not (redis or files) else "no files" if redis else "no Redis" if files else ""
        self.name = "toolcache" if redis and files else f"toolcache, {where}"
        self.note = "Redis, and a synced file" if redis and files else ""

    async def open(self, place: Place) -> None:
        from toolcache import ToolCache, idempotent

        settings: dict[str, Any] = {"directory": place.folder()} if self._files else {"files": False}
        settings |= {"op_timeout": _PATIENCE, "file_timeout": _PATIENCE}
        if self._redis:
            self.database = place.database()
            # A namespace of its own: Redis tells of the changes in all databases.
            settings |= {"redis_url": self.database, "namespace": f"database{self.database.rpartition('/')[2]}"}
        self.cache = ToolCache(**settings)
        self._run = idempotent(key_params=["task"], cache=self.cache)(self.agent)
        self.once, self.all = self._once, self._all

    async def _once(self, number: int) -> Any:
        return await self._run(task_of(number))

    async def _all(self, numbers: Sequence[int], seconds: float, width: int) -> list[Any]:
        from toolcache import AgentTask, dispatch_agents

        self._seconds = seconds
        tasks = [AgentTask("guide", "say what {task} does", {"task": task_of(number)}) for number in numbers]
        results = await dispatch_agents(tasks, self._ask, cache=self.cache, max_parallel=width)
        return [result.unwrap() for result in results]

    async def _ask(self, task: Any) -> Any:
        return await self.agent(task.args["task"])

    async def close(self) -> None:
        await self.cache.aclose()


# -- Peers ------------------------------------------------------------------------------------------------------------


class _Context:
    """What Powertools asks of the platform that runs it: how long it has left, which is the lease of a claim."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return _LEASE_MS


class Powertools(Dispatcher):
    """AWS Lambda Powertools, outside Lambda, over its Redis layer: blocking calls."""

    name = "Powertools"
    needs = ("aws-lambda-powertools", "redis")
    note = "blocks the event loop"

    def __init__(self, *, local: bool = False, width: int = 0) -> None:
        super().__init__()
        self._local, self._width = local, width
        if local:
            self.name = "Powertools with its local cache"
        if width:
            self.name, self.note = f"Powertools in {width} threads", ""

    async def open(self, place: Place) -> None:
        from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent_function
        from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer
        from redis import Redis

        self.database = place.database()
        self._client = Redis.from_url(self.database)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own alias of an older name
            store = CachePersistenceLayer(client=self._client)
        config = IdempotencyConfig(use_local_cache=self._local, lambda_context=_Context())
        self._run = idempotent_function(
            self.agent_of_a_thread, data_keyword_argument="task", persistence_store=store, config=config
        )
        self.once = self._once
        self.all = self.in_threads(self._call, self._width) if self._width else self._one_by_one

    def _call(self, number: int) -> Any:
        return self._run(task=task_of(number))

    async def _once(self, number: int) -> Any:
        return self._run(task=task_of(number))

    async def _one_by_one(self, numbers: Sequence[int], seconds: float, _width: int) -> list[Any]:
        self._seconds = seconds
        return [self._call(number) for number in numbers]

    async def close(self) -> None:
        if self._width:
            self._pool.shutdown()
        self._client.close()


class PowertoolsInThread(Powertools):
    """Powertools from asyncio, which is not to stand still: each call in a thread."""

    name = "Powertools in a thread"
    note = ""

    async def _once(self, number: int) -> Any:
        return await asyncio.to_thread(self._call, number)


class Idemkit(Dispatcher):
    """idemkit's decorator over its Redis backend."""

    name = "idemkit"
    needs = ("idemkit", "redis")

    def __init__(self, *, local: bool = False) -> None:
        super().__init__()
        self._local = local
        if local:
            self.name = "idemkit with its local cache"

    async def open(self, place: Place) -> None:
        from idemkit import MethodConfig, RedisBackend, idempotent

        self.database = place.database()
        self._backend = RedisBackend.from_url(self.database)
        config = MethodConfig(key_fields=["task"], scope=lambda: "all", use_local_cache=self._local)
        self._run = idempotent(backend=self._backend, config=config)(self.agent)
        self.once, self.all = self._once, self.gather

    async def _once(self, number: int) -> Any:
        return await self._run(task_of(number))

    async def close(self) -> None:
        await self._backend.aclose()
