"""What does a hit in memory cost, and what else does memory do?"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from msgpack import packb, unpackb

from benchmarks.harness import Goal, Pass, Task, WrongAnswerError, at_once, check_equal, in_one_call, one_by_one
from benchmarks.main import main
from benchmarks.ours import OursMemory, OursShared, fill
from benchmarks.peers import (
    AiocacheMemory,
    AiocacheUnhurried,
    AsyncLru,
    Cachebox,
    Cachetools,
    CashewsMemory,
    DogpileMemory,
    KeyValueMemory,
    LitellmMemory,
    Theine,
)
from benchmarks.place import Place
from benchmarks.subject import ENTRIES, Subject, Verb, answer
from benchmarks.values import small

_KEYS: Final = 500
_CALLERS: Final = 1_000
_LOAD_SECONDS: Final = 0.02


class DictFloor(Subject):
    """An asynchronous function around a dict."""

    name = "floor: a dict"
    kind = "floor"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a dict needs no place
        data: dict[str, Any] = {}

        async def get(key: str) -> Any:
            return data.get(key)

        async def put(key: str, value: Any) -> None:
            data[key] = value

        async def get_many(keys: Iterable[str]) -> list[Any]:
            return [data.get(key) for key in keys]

        self.get, self.set, self.get_many = get, put, get_many
        self.decorate = lambda function: function


class CopyFloor(Subject):
    """A dict of encoded values: what a copy of one's own costs at least."""

    name = "floor: a dict, decoded at each hit"
    kind = "floor"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a dict needs no place
        data: dict[str, bytes] = {}

        async def get(key: str) -> Any:
            return unpackb(data[key])

        async def put(key: str, value: Any) -> None:
            data[key] = packb(value)

        self.get, self.set = get, put


class BoundedFloor(Subject):
    """A dict that forgets its oldest entry when it is full."""

    name = "floor: an OrderedDict"
    kind = "floor"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a dict needs no place
        data: OrderedDict[str, Any] = OrderedDict()

        async def put(key: str, value: Any) -> None:
            data[key] = value
            if len(data) > ENTRIES:
                data.popitem(last=False)

        self.set = put


class SharedTaskFloor(Subject):
    """One task that everybody awaits."""

    name = "floor: a shared task"
    kind = "floor"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - a dict needs no place
        def decorate(function: Verb) -> Verb:
            running: dict[Any, asyncio.Task[Any]] = {}

            async def call(argument: Any) -> Any:
                if argument not in running:
                    running[argument] = asyncio.ensure_future(function(argument))
                return await asyncio.shield(running[argument])

            return call

        self.decorate = decorate


async def hit(subject: Subject, *, values: Sequence[Any]) -> Pass:
    mapping = {f"tool:{number}": value for number, value in enumerate(values)}
    await fill(subject, mapping)
    check_equal([subject.value(await answer(subject.get(key))) for key in mapping], mapping.values(), "hits")
    return one_by_one(subject.get, [(key,) for key in mapping], plain=subject.plain)


async def decorated(subject: Subject) -> Pass:
    async def search(query: str, limit: int, exact: bool) -> str:
        return f"{query}{limit}{exact}"

    call = subject.decorate(search)
    arguments = [(f"query {number}", 10, False) for number in range(_KEYS)]
    for _ in range(2):
        check_equal([await call(*given) for given in arguments], [f"{q}{n}{e}" for q, n, e in arguments], "calls")
    return one_by_one(call, arguments)


async def overwrite(subject: Subject) -> Pass:
    mapping = {f"tool:{number}": small(number) for number in range(_KEYS)}
    await fill(subject, mapping)
    return one_by_one(subject.set, list(mapping.items()), plain=subject.plain)


async def overflow(subject: Subject) -> Pass:
    numbers = count()
    await fill(subject, {f"tool:{next(numbers)}": small(0) for _ in range(ENTRIES)})

    async def once() -> float:
        mapping = {f"tool:{next(numbers)}": small(0) for _ in range(_KEYS)}
        return await one_by_one(subject.set, list(mapping.items()), plain=subject.plain)()

    return once


async def batch(subject: Subject) -> Pass:
    mapping = {f"tool:{number}": number for number in range(100)}
    await fill(subject, mapping)
    found = await answer(subject.get_many(list(mapping)))
    check_equal(found.values() if isinstance(found, dict) else found, mapping.values(), "hits")
    return in_one_call(subject.get_many, list(mapping), len(mapping), plain=subject.plain)


async def crowd(subject: Subject) -> Pass:
    computed = 0
    names = count()

    async def load(name: int) -> int:
        nonlocal computed
        computed += 1
        await asyncio.sleep(_LOAD_SECONDS)
        return name

    call = subject.decorate(load)

    async def once() -> float:
        begun = time.perf_counter()
        await at_once(call, [(next(names),)] * _CALLERS)()
        return time.perf_counter() - begun

    await once()
    if computed > 1 and subject.kind == "ours":
        raise WrongAnswerError(f"computed {computed:,} times")
    subject.note = f"computed {computed:,} times" if computed > 1 else "computed once"
    return once


PLAIN: Final = (Theine, Cachebox, Cachetools)
PEERS: Final = (
    CashewsMemory,
    AiocacheMemory,
    AiocacheUnhurried,
    KeyValueMemory,
    LitellmMemory,
    DogpileMemory,
    *PLAIN,
)
DECORATORS: Final = (OursMemory, CashewsMemory, AiocacheMemory, Theine, Cachebox, AsyncLru)

TASKS: Final = (
    Task(
        "scalar",
        "A hit of a number",
        "ns",
        (DictFloor, OursMemory, *PEERS),
        partial(hit, values=[number / 7 for number in range(_KEYS)]),
        [Goal(1e-6), Goal(0.12, "cashews"), Goal(4.0, "floor: a dict")],
    ),
    Task(
        "dict",
        "A hit of a small dict; ours is the caller's own copy",
        "ns",
        (DictFloor, CopyFloor, OursMemory, *PEERS),
        partial(hit, values=[small(number) for number in range(_KEYS)]),
        [Goal(2e-6), Goal(0.25, "cashews")],
    ),
    Task(
        "shared",
        "A hit of a small dict, the live object",
        "ns",
        (DictFloor, OursShared, *PEERS),
        partial(hit, values=[small(number) for number in range(_KEYS)]),
        [Goal(1e-6), Goal(0.12, "cashews"), Goal(4.0, "floor: a dict")],
    ),
    Task(
        "decorated",
        "A hit of a decorated function with three arguments",
        "ns",
        (DictFloor, *DECORATORS),
        decorated,
        [Goal(0.05, "cashews"), Goal(1.0, "async-lru")],
    ),
    Task(
        "many",
        "100 hits in one call, for each",
        "ns",
        (DictFloor, OursMemory, CashewsMemory, AiocacheMemory, AiocacheUnhurried, KeyValueMemory, DogpileMemory),
        batch,
        [Goal(0.25, "aiocache")],
    ),
    Task(
        "overwrite",
        "A set of an existing key, a small dict",
        "ns",
        (DictFloor, OursMemory, *PEERS),
        overwrite,
        [Goal(0.5, "cashews")],
    ),
    Task(
        "overflow",
        f"A set of a new key into a cache that is full with {ENTRIES:,} entries",
        "ns",
        (BoundedFloor, partial(OursMemory, max_entries=ENTRIES), CashewsMemory, *PLAIN),
        overflow,
        [Goal(0.3, "cashews")],
    ),
    Task(
        "crowd",
        f"{_CALLERS:,} callers of a decorated function that takes {_LOAD_SECONDS * 1000:.0f} ms, all at once",
        "ms",
        (SharedTaskFloor, *DECORATORS),
        crowd,
        [Goal(1.2, "floor: a shared task")],
        slow=True,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS)
