"""What do files cost, one operation after another and many at once, and how long does the event loop stand still?"""

import asyncio
import os
import time
from functools import partial
from typing import Any, Final

from benchmarks.harness import Goal, Pass, Task, WrongAnswerError, at_once, check_equal, one_by_one
from benchmarks.main import main
from benchmarks.ours import Ours, OursFiles, asked, fill
from benchmarks.peers import Aiofiles, CashewsDisk, Diskcache, DiskcacheBlocking, DogpileFile, KeyValueFiles
from benchmarks.place import Place
from benchmarks.subject import Subject
from benchmarks.values import payloads, texts

_KEYS: Final = 200
_AT_ONCE: Final = 100
_LARGE: Final = 16 * 1024


class FileFloor(Subject):
    """One open file: reads by place, writes at its end. Blocks the loop."""

    kind = "floor"

    def __init__(self, *, synced: bool = False) -> None:
        self.name = "floor: an append to an open file" + (", synced once per 100" if synced else "")
        self.note = "blocks the event loop"
        self._synced = synced
        self._written = 0

    async def open(self, place: Place) -> None:
        self._file = os.open(place.folder() / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self.set = self._set

    async def _set(self, key: str, value: Any) -> None:
        os.write(self._file, key.encode() + value)
        self._written += 1
        if self._synced and self._written % _AT_ONCE == 0:
            os.fsync(self._file)

    async def close(self) -> None:
        os.close(self._file)


class ReadFloor(FileFloor):
    """The read of a place in an open file."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "floor: a read of an open file"
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.get = self._get

    async def _set(self, key: str, value: Any) -> None:
        self._places[key] = (len(value), self._end)
        self._end += os.write(self._file, value)

    async def _get(self, key: str) -> Any:
        return os.pread(self._file, *self._places[key])


def values(subject: Subject, size: int, count: int) -> dict[str, Any]:
    """So many bytes under each key, or letters for those that take no bytes."""
    return dict(texts(size, count) if subject.text else payloads(size, count))


async def stored(subject: Subject) -> dict[str, Any]:
    """Values on file, which come back, and not out of memory."""
    mapping = values(subject, 1024, _KEYS)
    await fill(subject, mapping)
    before = asked(subject, "file")
    check_equal([await subject.get(key) for key in mapping], mapping.values(), "reads")
    if isinstance(subject, Ours) and asked(subject, "file") - before < _KEYS - 1:
        raise WrongAnswerError("reads were answered from memory")
    return mapping


async def gets(subject: Subject) -> Pass:
    return one_by_one(subject.get, [(key,) for key in await stored(subject)])


async def gets_at_once(subject: Subject) -> Pass:
    keys = [(key,) for key in await stored(subject)]
    return at_once(subject.get, keys[:_AT_ONCE])


async def sets(subject: Subject) -> Pass:
    return one_by_one(subject.set, list(values(subject, 1024, _AT_ONCE).items()))


async def sets_at_once(subject: Subject) -> Pass:
    return at_once(subject.set, list(values(subject, 1024, _AT_ONCE).items()))


async def stall(subject: Subject) -> Pass:
    """The longest time for which the loop turned to nobody else, while values are stored together."""
    pairs = list(values(subject, _LARGE, _AT_ONCE).items())
    await fill(subject, dict(pairs[:1]))

    async def once() -> float:
        working = asyncio.ensure_future(asyncio.wait([asyncio.ensure_future(subject.set(*pair)) for pair in pairs]))
        longest, before = 0.0, time.perf_counter()
        while not working.done():
            await asyncio.sleep(0)
            longest, before = max(longest, time.perf_counter() - before), time.perf_counter()
        return longest

    return once


PEERS: Final = (Diskcache, DiskcacheBlocking, CashewsDisk, Aiofiles, KeyValueFiles, DogpileFile)
SYNCED: Final = 'toolcache, fsync="always"'

TASKS: Final = (
    Task(
        "get",
        "Gets of 1 KB, one after another",
        "µs",
        (ReadFloor, OursFiles, *PEERS),
        gets,
        [Goal(0.08, "diskcache in a thread")],
    ),
    Task(
        "get100",
        f"{_AT_ONCE} gets of 1 KB at once, for each",
        "µs",
        (ReadFloor, OursFiles, *PEERS),
        gets_at_once,
        [Goal(0.3, "diskcache in a thread")],
    ),
    Task(
        "set",
        "Sets of 1 KB, one after another; each survives a kill of the process",
        "µs",
        (FileFloor, OursFiles, *PEERS),
        sets,
        [Goal(0.5, "diskcache in a thread")],
    ),
    Task(
        "set100",
        f"{_AT_ONCE} sets of 1 KB at once, for each",
        "µs",
        (
            FileFloor,
            partial(FileFloor, synced=True),
            OursFiles,
            partial(OursFiles, name=SYNCED, note="survives a power cut", fsync="always"),
            *PEERS,
        ),
        sets_at_once,
        [Goal(1 / 7, "diskcache in a thread"), Goal(2.5, "toolcache", who=SYNCED)],
    ),
    Task(
        "stall",
        f"The longest stall of the event loop while {_AT_ONCE} values of 16 KB are stored at once",
        "ms",
        (FileFloor, OursFiles, *PEERS),
        stall,
        [Goal(2e-3)],
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS)
