"""What does Redis cost behind the cache, one operation after another and many at once?"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from benchmarks.harness import (
    Goal,
    Pass,
    Task,
    WrongAnswerError,
    at_once,
    by_tasks,
    check_equal,
    check_together,
    in_one_call,
    one_by_one,
)
from benchmarks.main import main
from benchmarks.ours import Ours, OursRedis, asked
from benchmarks.peers import (
    AiocacheRedis,
    CashewsRedis,
    Coredis,
    DogpileRedis,
    Glide,
    KeyValueRedis,
    LitellmRedis,
    RedisPy,
    RedisPyPipeline,
    RedisPyWaiting,
)
from benchmarks.place import Place
from benchmarks.subject import Subject
from benchmarks.values import small

_MANY: Final = 1_000
_TASKS: Final = 100
_FILLED_AT_ONCE: Final = 50  # fewer than any peer's pool holds


class SocketFloor(Subject):
    """A blocking socket: the round trip, and nothing else."""

    name = "floor: a blocking socket"
    kind = "floor"

    async def open(self, place: Place) -> None:
        self._socket = socket.create_connection(("127.0.0.1", place.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send(b"SELECT", place.database().rpartition("/")[2].encode())
        self.get, self.set = self._get, self._set

    def _send(self, *words: bytes) -> bytes:
        parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%b" % (len(words), parts))
        return self._socket.recv(4096)

    async def _get(self, key: str) -> Any:
        return self._send(b"GET", key.encode())

    async def _set(self, key: str, value: Any) -> Any:
        return self._send(b"SET", key.encode(), value)

    async def close(self) -> None:
        self._socket.close()


class TaskFloor(Subject):
    """Tasks that do nothing, or only wait for the next turn of the loop."""

    kind = "floor"

    def __init__(self, *, turns: int) -> None:
        self.name = "floor: tasks that wait a turn" if turns else "floor: tasks that do nothing"
        self._turns = turns

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a task needs no place
        self.get = self._wait
        self.set = self._wait

    async def _wait(self, *_given: Any) -> None:
        for _ in range(self._turns):
            await asyncio.sleep(0)


def value_for(subject: Subject, number: int) -> Any:
    """A small dict, or about as many bytes for those that take no others."""
    return b"x" * 60 if subject.raw or subject.kind == "floor" else small(number)


async def filled(subject: Subject, size: int) -> dict[str, Any]:
    """Keys and values, stored."""
    mapping = {f"tool:{number}": value_for(subject, number) for number in range(size)}
    pairs = list(mapping.items())
    for start in range(0, size, _FILLED_AT_ONCE):
        await asyncio.gather(*[subject.set(*pair) for pair in pairs[start : start + _FILLED_AT_ONCE]])
    return mapping


async def check_reads(subject: Subject, mapping: dict[str, Any], read: Callable[[], Awaitable[list[Any]]]) -> None:
    """Raise unless every value comes back, out of Redis."""
    before = asked(subject, "redis")
    found = await read()
    if subject.kind != "floor":
        check_equal(found, mapping.values(), "reads")
    if isinstance(subject, Ours) and asked(subject, "redis") - before < len(mapping) - 1:
        raise WrongAnswerError("reads were answered from memory")


async def gets(subject: Subject, *, size: int) -> Pass:
    mapping = await filled(subject, size)

    async def read() -> list[Any]:
        return [await subject.get(key) for key in mapping]

    await check_reads(subject, mapping, read)
    return one_by_one(subject.get, [(key,) for key in mapping])


async def gets_at_once(subject: Subject, *, size: int) -> Pass:
    mapping = await filled(subject, size)
    keys = [(key,) for key in mapping]
    await check_reads(subject, mapping, partial(check_together, subject.get, keys, "reads"))
    return at_once(subject.get, keys)


async def sustained(subject: Subject) -> Pass:
    mapping = await filled(subject, 2 * _MANY)
    return by_tasks(subject.get, [(key,) for key in mapping], _TASKS)


async def sets(subject: Subject, *, size: int) -> Pass:
    return one_by_one(subject.set, list((await filled(subject, size)).items()))


async def sets_at_once(subject: Subject, *, size: int) -> Pass:
    pairs = list((await filled(subject, size)).items())
    await check_together(subject.set, pairs, "writes")
    return at_once(subject.set, pairs)


async def batch(subject: Subject) -> Pass:
    mapping = await filled(subject, _MANY)

    async def read() -> list[Any]:
        found = await subject.get_many(list(mapping))
        return list(found.values() if isinstance(found, dict) else found)

    await check_reads(subject, mapping, read)
    return in_one_call(subject.get_many, list(mapping), len(mapping))


OURS: Final = (OursRedis, partial(OursRedis, files=False))
CLIENTS: Final = (RedisPy, RedisPyWaiting, Coredis, Glide)
CACHES: Final = (CashewsRedis, AiocacheRedis, KeyValueRedis, LitellmRedis)
REDIS: Final = (*OURS, *CLIENTS, *CACHES)
STILL: Final = partial(TaskFloor, turns=0)
GLIDE: Final = "valkey-glide"

TASKS: Final = (
    Task(
        "get",
        "Gets, one after another",
        "µs",
        (SocketFloor, *REDIS, DogpileRedis),
        partial(gets, size=100),
        [Goal(0.4, "cashews"), Goal(1.0, GLIDE)],
    ),
    Task(
        "set",
        "Sets, one after another",
        "µs",
        (SocketFloor, *REDIS, DogpileRedis),
        partial(sets, size=100),
        [Goal(0.4, "cashews")],
    ),
    Task(
        "get100",
        "100 gets at once, for each",
        "µs",
        (STILL, *REDIS),
        partial(gets_at_once, size=100),
        [Goal(0.1, "cashews")],
    ),
    Task(
        "get1000",
        f"{_MANY:,} gets at once, for each",
        "µs",
        (STILL, *REDIS),
        partial(gets_at_once, size=_MANY),
        [Goal(0.1, "cashews"), Goal(0.4, GLIDE)],
    ),
    Task(
        "sustained",
        f"{_TASKS} tasks with 20 gets each, one after another, for each get",
        "µs",
        (partial(TaskFloor, turns=1), *REDIS),
        sustained,
        [Goal(1 / 15, "cashews"), Goal(0.25, GLIDE)],
    ),
    Task(
        "set1000",
        f"{_MANY:,} sets at once, for each",
        "µs",
        (STILL, *REDIS),
        partial(sets_at_once, size=_MANY),
        [Goal(1 / 6, "cashews")],
    ),
    Task(
        "many",
        f"get_many of {_MANY:,}, for each key",
        "µs",
        (*OURS, RedisPy, RedisPyPipeline, Coredis, Glide, *CACHES, DogpileRedis),
        batch,
        [Goal(1.0, "redis-py")],
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
