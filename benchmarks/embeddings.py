"""What do embeddings cost: 1,536 floats each, in memory, through Redis, and on the wire?"""

from array import array
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from benchmarks.harness import Goal, Pass, Task, WrongAnswerError, check_equal, in_one_call, one_by_one
from benchmarks.main import main
from benchmarks.ours import Ours, OursMemory, OursRedis, asked, fill
from benchmarks.peers import AiocacheMemory, AiocacheRedis, CashewsMemory, CashewsRedis, RedisPy
from benchmarks.place import Place
from benchmarks.subject import Subject
from benchmarks.values import DIMENSIONS, vectors

_HELD: Final = 100
_BATCH: Final = 1_000
_PIECE: Final = 100
_MODEL: Final = "text-embedding-3-small"

Vector = list[float]


class ByText(Ours):
    """The domain of embeddings: keys are made of the texts, vectors are checked and packed."""

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.get = partial(self.cache.get_embedding, model=_MODEL)
        self.get_many = partial(self.cache.get_embeddings, model=_MODEL)
        self.set, self.set_many = self._set, self._set_many

    async def _set(self, key: str, value: Vector) -> Any:
        return await self.cache.set_embedding(key, _MODEL, value)

    async def _set_many(self, mapping: Mapping[str, Vector]) -> Any:
        return await self.cache.set_embeddings(list(mapping), _MODEL, list(mapping.values()))


class TextMemory(ByText, OursMemory):
    """The domain over memory."""


class TextRedis(ByText, OursRedis):
    """The domain over Redis."""


class ArrayMemory(OursMemory):
    """NumPy arrays over memory, under keys of the caller's own."""

    needs = ("numpy",)
    arrays = True


class ArrayRedis(OursRedis):
    """NumPy arrays over Redis, under keys of the caller's own."""

    needs = ("numpy",)
    arrays = True


class ReferenceFloor(Subject):
    """A dict, which gives away its own object, or a copy of it."""

    kind = "floor"

    def __init__(self, *, copied: bool) -> None:
        self.name = "floor: a dict, its list copied" if copied else "floor: a dict"
        self._copied = copied

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a dict needs no place
        data: dict[str, Vector] = {}

        async def get(key: str) -> Any:
            return data[key]

        async def copy(key: str) -> Any:
            return list(data[key])

        async def put(key: str, value: Vector) -> None:
            data[key] = value

        self.get, self.set = copy if self._copied else get, put


class PackedFloor(RedisPy):
    """32-bit floats in pieces of a hundred over redis-py, as arrays or as lists."""

    kind = "floor"
    note = f"in MGETs and MSETs of {_PIECE}"

    def __init__(self, *, arrays: bool) -> None:
        self.name = "floor: packed floats over redis-py, " + ("as arrays" if arrays else "as lists")
        self.needs = ("redis", "numpy") if arrays else ("redis",)
        self.arrays = arrays

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.get_many, self.set_many = self._get_packed, self._set_packed

    async def _get_packed(self, keys: Iterable[str]) -> list[Any]:
        wanted = list(keys)
        bodies: list[Any] = []
        for start in range(0, len(wanted), _PIECE):
            bodies += await self._client.mget(wanted[start : start + _PIECE])
        return [_as_array(body) if self.arrays else array("f", body).tolist() for body in bodies]

    async def _set_packed(self, mapping: Mapping[str, Any]) -> None:
        pairs = list(mapping.items())
        for start in range(0, len(pairs), _PIECE):
            await self._client.mset({key: _packed(value) for key, value in pairs[start : start + _PIECE]})


def _as_array(body: bytes) -> Any:
    import numpy as np

    return np.frombuffer(body, dtype="<f4")


def _packed(value: Any) -> bytes:
    return bytes(value.tobytes()) if hasattr(value, "tobytes") else array("f", value).tobytes()


def values(subject: Subject, count: int) -> dict[str, Any]:
    """Vectors by text, as the subject takes them."""
    made = vectors(count)
    if not subject.arrays:
        return dict(made)
    import numpy as np

    return {text: np.array(vector, dtype=np.float32) for text, vector in made.items()}


async def hit(subject: Subject) -> Pass:
    mapping = values(subject, _HELD)
    await fill(subject, mapping)
    check_equal([await subject.get(key) for key in mapping], mapping.values(), "hits")
    return one_by_one(subject.get, [(key,) for key in mapping])


async def read_batch(subject: Subject) -> Pass:
    mapping = values(subject, _BATCH)
    await subject.set_many(mapping)
    before = asked(subject, "redis")
    found = await subject.get_many(list(mapping))
    check_equal(found.values() if isinstance(found, dict) else found, mapping.values(), "reads")
    if isinstance(subject, Ours) and asked(subject, "redis") - before < _BATCH - 1:
        raise WrongAnswerError("reads were answered from memory")
    return in_one_call(subject.get_many, list(mapping), _BATCH)


async def write_batch(subject: Subject) -> Pass:
    mapping = values(subject, _BATCH)
    await subject.set_many(mapping)
    return in_one_call(subject.set_many, mapping, _BATCH)


async def weigh(subject: Subject) -> Pass:
    await subject.set_many(values(subject, 1))
    from redis.asyncio import Redis

    async with Redis.from_url(subject.database) as client:
        sizes = [await client.strlen(key) async for key in client.scan_iter()]

    async def once() -> float:
        return float(max(sizes))  # whatever else is kept is smaller than a vector

    return once


TASKS: Final = (
    Task(
        "hit",
        f"A hit of {DIMENSIONS:,} floats, a list; ours is the caller's own, found by its text",
        "µs",
        (
            partial(ReferenceFloor, copied=False),
            partial(ReferenceFloor, copied=True),
            partial(TextMemory, note="get_embedding(text, model)"),
            CashewsMemory,
            AiocacheMemory,
        ),
        hit,
        [Goal(20e-6)],
    ),
    Task(
        "hit-array",
        f"A hit of {DIMENSIONS:,} floats, a read-only NumPy array",
        "µs",
        (partial(ReferenceFloor, copied=False), ArrayMemory),
        hit,
        [Goal(1.5e-6)],
    ),
    Task(
        "get",
        f"{_BATCH:,} vectors out of Redis as lists, in one call, for each",
        "µs",
        (partial(PackedFloor, arrays=False), TextRedis, CashewsRedis, AiocacheRedis),
        read_batch,
        [Goal(1 / 3, "aiocache")],
        slow=True,
    ),
    Task(
        "get-array",
        f"{_BATCH:,} vectors out of Redis as NumPy arrays, in one call, for each",
        "µs",
        (partial(PackedFloor, arrays=True), ArrayRedis),
        read_batch,
        slow=True,
    ),
    Task(
        "set",
        f"{_BATCH:,} vectors, lists, into Redis in one call, for each",
        "µs",
        (partial(PackedFloor, arrays=False), TextRedis, CashewsRedis, AiocacheRedis),
        write_batch,
        slow=True,
    ),
    Task(
        "bytes",
        f"One vector of {DIMENSIONS:,} floats in Redis",
        "bytes",
        (partial(PackedFloor, arrays=False), TextRedis, CashewsRedis, AiocacheRedis),
        weigh,
        [Goal(6_300.0)],
        slow=True,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
