"""What do embeddings cost: 1,536 floats each, in memory, through Redis, and on the wire?"""

import time
from array import array
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import count
from typing import Any, Final

from benchmarks.harness import Goal, Pass, Task, WrongAnswerError, check_equal, in_one_call, one_by_one
from benchmarks.main import main
from benchmarks.ours import Ours, OursMemory, OursRedis, asked, fill
from benchmarks.peers import (
    AiocacheMemory,
    AiocacheRedis,
    CashewsMemory,
    CashewsRedis,
    DogpileRedis,
    KeyValueMemory,
    KeyValueRedis,
    LangchainFiles,
    LangchainMemory,
    LangchainRedis,
    LitellmDual,
    LitellmRedis,
    RedisPy,
    Redisvl,
)
from benchmarks.place import Place
from benchmarks.subject import FRESH, Subject
from benchmarks.values import DIMENSIONS, decimals, vectors

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
        self.set, self.set_for, self.set_many = self._set, self._set, self._set_many

    async def _set(self, key: str, value: Vector, ttl: float = FRESH) -> Any:
        return await self.cache.set_embedding(key, _MODEL, value, ttl=ttl)

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


class Asking(Subject):
    """Asked for many texts at once, of which a tenth are new each time: a model that answers at once embeds those."""

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.size = 500 if place.quick else 10_000
        self.get_many = self._embedded

    async def _embedded(self, mapping: Mapping[str, Vector]) -> Any:
        raise NotImplementedError


class OursAsking(Asking, TextRedis):
    """The domain over Redis, with ``compute``."""

    async def _embedded(self, mapping: Mapping[str, Vector]) -> Any:
        async def embed(texts: list[str]) -> list[Vector]:
            return [mapping[text] for text in texts]

        return await self.cache.get_embeddings(mapping, _MODEL, compute=embed)


class LangchainAsking(Asking, LangchainRedis):
    """LangChain, whose model is behind it."""

    async def _embedded(self, mapping: Mapping[str, Vector]) -> Any:
        self._model.known = mapping
        return await self._cache.aembed_documents(list(mapping))


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


def _listed(found: Any) -> list[Any]:
    return list(found.values() if isinstance(found, dict) else found)


async def hit(subject: Subject) -> Pass:
    mapping = values(subject, _HELD)
    await fill(subject, mapping)
    check_equal([await subject.get(key) for key in mapping], mapping.values(), "hits")
    return one_by_one(subject.get, [(key,) for key in mapping])


def _size(subject: Subject) -> int:
    return _PIECE if subject.quick else _BATCH


async def read_batch(subject: Subject, *, made: Mapping[str, Any] | None = None) -> Pass:
    mapping = values(subject, _size(subject)) if made is None else made
    await subject.set_many(mapping)
    before = asked(subject, "redis")
    check_equal(_listed(await subject.get_many(list(mapping))), mapping.values(), "reads")
    if isinstance(subject, Ours) and asked(subject, "redis") - before < len(mapping) - 1:
        raise WrongAnswerError("reads were answered from memory")
    return in_one_call(subject.get_many, list(mapping), len(mapping))


async def decimal_batch(subject: Subject) -> Pass:
    return await read_batch(subject, made=decimals(_size(subject)))


async def write_batch(subject: Subject) -> Pass:
    mapping = values(subject, _size(subject))
    await subject.set_many(mapping)
    return in_one_call(subject.set_many, mapping, len(mapping))


async def ask(subject: Subject) -> Pass:
    assert isinstance(subject, Asking)
    known = list(vectors(_HELD).values())
    new = subject.size // 10
    old = {f"text {number}": known[number % _HELD] for number in range(subject.size - new)}
    rounds = count()

    async def once() -> float:
        number = next(rounds)
        mapping = old | {f"text {place} of round {number}": known[place % _HELD] for place in range(new)}
        begun = time.perf_counter()
        found = await subject.get_many(mapping)
        took = time.perf_counter() - begun
        check_equal(found, mapping.values(), "texts")
        return took / len(mapping)

    await once()
    return once


async def weigh(subject: Subject) -> Pass:
    """What the server sends for a batch, divided by its size."""
    mapping = values(subject, _PIECE)
    await subject.set_many(mapping)
    before = await _sent(subject)
    check_equal(_listed(await subject.get_many(list(mapping))), mapping.values(), "reads")
    after = await _sent(subject)
    asking = await _sent(subject) - after
    told = (after - before - asking) / len(mapping)

    async def once() -> float:
        return told

    return once


async def _sent(subject: Subject) -> int:
    """Bytes that the server has sent until now, to whomever."""
    from redis.asyncio import Redis

    async with Redis.from_url(subject.database) as client:
        return int((await client.info("stats"))["total_net_output_bytes"])


ASYNCHRONOUS: Final = (CashewsRedis, AiocacheRedis, KeyValueRedis, LitellmRedis, Redisvl, LangchainRedis)
REDIS: Final = (*ASYNCHRONOUS, DogpileRedis)


def beside(at_most: float) -> list[Goal]:
    """A goal against every peer that leaves the event loop to others meanwhile."""
    return [Goal(at_most, peer.name) for peer in ASYNCHRONOUS]


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
            KeyValueMemory,
            LitellmDual,
            LangchainMemory,
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
        (partial(PackedFloor, arrays=False), TextRedis, *REDIS, LangchainFiles),
        read_batch,
        beside(1 / 3),
        slow=True,
        patience=2.0,
    ),
    Task(
        "get-decimals",
        f"The same {_BATCH:,} vectors with nine decimals, which 32 bits do not hold, for each",
        "µs",
        (TextRedis, *REDIS),
        decimal_batch,
        beside(1 / 3),
        slow=True,
        patience=2.0,
    ),
    Task(
        "get-array",
        f"{_BATCH:,} vectors out of Redis as NumPy arrays, in one call, for each; the others give lists",
        "µs",
        (partial(PackedFloor, arrays=True), ArrayRedis, *REDIS),
        read_batch,
        beside(1 / 10),
        slow=True,
        patience=2.0,
    ),
    Task(
        "set",
        f"{_BATCH:,} vectors, lists, into Redis in one call, for each",
        "µs",
        (
            partial(PackedFloor, arrays=False),
            TextRedis,
            CashewsRedis,
            AiocacheRedis,
            KeyValueRedis,
            DogpileRedis,
            Redisvl,
        ),
        write_batch,
        slow=True,
        patience=2.0,
    ),
    Task(
        "texts",
        "get_embeddings of 10,000 texts, a tenth of them new: hashed, looked up, embedded, stored; for each",
        "µs",
        (OursAsking, LangchainAsking),
        ask,
        slow=True,
        patience=2.0,
    ),
    Task(
        "bytes",
        f"One vector of {DIMENSIONS:,} floats on the wire, out of Redis",
        "bytes",
        (partial(PackedFloor, arrays=False), TextRedis, *REDIS),
        weigh,
        [Goal(6_300.0)],
        slow=True,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
