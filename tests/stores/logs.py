"""What the tests of the file store share."""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolcache.blob import read_header
from toolcache.protocols import Clock, PutResult, Write
from toolcache.stores.log.index import Entry, digest
from toolcache.stores.log.log import Log, encode
from toolcache.stores.log.store import LogStore
from toolcache.testing.stores import blob_of
from toolcache.versions import HybridClock

PREFIX = "tc1:v:log:"


def make(root: Path, clock: Clock, **options: Any) -> LogStore:
    """A store of its own, with a node of its own."""
    return LogStore(root, clock=clock, hybrid=options.pop("hybrid", None) or HybridClock(clock), **options)


def write(
    clock: Clock,
    text: str,
    version: int,
    body: bytes = b"body",
    *,
    ttl: float | None = 600.0,
    flags: int = 0,
    **options: Any,
) -> Write:
    """A write of the key ``PREFIX + text``."""
    key = PREFIX + text
    return Write(key, blob_of(key, body, version=version, now=clock.time(), ttl=ttl, flags=flags), **options)


async def put(store: LogStore, *writes: Write) -> PutResult:
    """Apply writes; the last outcome."""
    return (await store.put_many(writes))[-1]


async def body(store: LogStore, text: str = "k") -> bytes | None:
    """The body under a key, None for nothing."""
    (blob,) = await store.get_many([PREFIX + text])
    if blob is None:
        return None
    header = read_header(blob)
    assert header is not None
    return blob[-4 - header.body_len : -4]


async def quiet(store: LogStore) -> None:
    """Open a store that is to compact only when it is asked to."""
    await store.open()
    assert store._shared is not None
    store._shared.compactor.consider = lambda: None  # type: ignore[method-assign]  # for this one


def log_of(store: LogStore) -> Log:
    """The shared state inside."""
    assert store._shared is not None
    return store._shared.log


def entry_of(store: LogStore, text: str) -> Entry | None:
    """What the index says of a key."""
    return log_of(store).index.get(digest(encode(PREFIX + text)))


def segments(root: Path) -> list[Path]:
    """The segment files, oldest first."""
    return sorted((root / "seg").iterdir())


def descriptors() -> int:
    """Open files of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


def modes(root: Path) -> tuple[set[int], set[int]]:
    """The permissions of all directories, and of all files."""
    found: tuple[set[int], set[int]] = (set(), set())
    for path in [root, *root.rglob("*")]:
        found[path.is_file()].add(stat.S_IMODE(path.stat().st_mode))
    return found


def names(directory: Path) -> list[str]:
    """What is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def overwrite(store: LogStore, key: str, at: int, data: bytes) -> None:
    """Change bytes of the record of a whole key, ``at`` bytes behind its frame's begin."""
    log = log_of(store)
    entry = log.index.get(digest(encode(key)))
    assert entry is not None
    with (Path(log.directory.segments) / log.segments[entry.segment].name).open("r+b") as file:
        file.seek(entry.offset + at)
        file.write(data)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop and the threads go on until something holds."""
    while not condition():  # noqa: ASYNC110 - what is waited for happens in a thread
        await asyncio.sleep(0.001)
