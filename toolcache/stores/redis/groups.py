"""Groups of small records: a hash for each group, whose fields are the names.

Somebody else may have put anything there. So a group is asked how large it is before it is read, and what is no record is
left out. There is no ``HSCAN``: it would bring a huge value as ``HGETALL`` does, and a moving target besides.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from toolcache.blob import read_header
from toolcache.events import Event, StoreFault
from toolcache.groups import MAX_RECORD, Grouped, GroupsRefusedError, header_of, is_name
from toolcache.stores.redis.puts import OTHER_TYPE
from toolcache.stores.redis.wire import Script, answer_of, confused, denied, pack

_PUT: Final = Script("put_grouped")
_LARGE: Final = 65_536
_MOST: Final = 1 << 26
"""Bytes of a group that is read: tens of thousands of records."""
_AT_ONCE: Final = 1 << 22
"""Bytes that are asked for in one round trip."""
_NOT_ALLOWED: Final = "the user may not use hashes, in which statistics are kept"
_TOO_LARGE: Final = "a key of statistics holds more than they ever take"

Calls = Sequence[tuple[Sequence[bytes], Sequence[bytes]]]


class _Run(Protocol):
    def __call__(self, script: Script, calls: Calls, /, *, bulk: bool) -> Awaitable[list[Any]]: ...


class _Exchange(Protocol):
    def __call__(
        self, commands: Sequence[bytes], keys: Sequence[bytes], /, *, bulk: bool, reading: bool
    ) -> Awaitable[list[Any]]: ...


async def put(records: Sequence[Grouped], run: _Run, announce: Callable[[Event], None]) -> None:
    """Store records, all in one round trip; see ``SupportsGroups``."""
    groups: dict[bytes, list[bytes]] = {}
    size = 0
    for record in records:
        header_of(record)
        group, name, blob = record
        groups.setdefault(group.encode(), [b"%d" % MAX_RECORD]).extend((name.encode(), blob))
        size += len(blob)
    calls = [([group], words) for group, words in groups.items()]
    for reply in await run(_PUT, calls, bulk=size > _LARGE) if calls else ():
        if _taken(reply, "put", announce) and not isinstance(reply, int):
            raise confused()


async def read(
    groups: Sequence[str], exchange: _Exchange, announce: Callable[[Event], None]
) -> list[dict[str, bytes] | None]:
    """Of each group the blobs by name; see ``SupportsGroups``."""
    keys = [group.encode() for group in groups]
    sizes = await _sizes(keys, exchange)
    found: list[dict[str, bytes] | None] = [None if size > _MOST else {} for size in sizes]
    for some in _portions(sizes, announce):
        asked = [keys[at] for at in some]
        replies = await exchange([pack(b"HGETALL", key) for key in asked], asked, bulk=True, reading=True)
        for at, reply in zip(some, replies, strict=True):
            if _taken(reply, "get", announce):
                found[at] = _records(reply)
    return found


async def _sizes(keys: Sequence[bytes], exchange: _Exchange) -> list[int]:
    """Bytes of each group, 0 for what is not there; where the server does not say, it is taken to be small."""
    if not keys:
        return []
    commands = [pack(b"MEMORY", b"USAGE", key, b"SAMPLES", b"0") for key in keys]
    said = await exchange(commands, keys, bulk=True, reading=True)
    return [0 if reply is None else reply if isinstance(reply, int) else 1 for reply in said]


def _portions(sizes: Sequence[int], announce: Callable[[Event], None]) -> Iterator[list[int]]:
    """The places of groups that are there, in runs of those that are read at once."""
    some: list[int] = []
    room = _AT_ONCE
    for at, size in enumerate(sizes):
        if size > _MOST:
            announce(StoreFault("redis", "get", "semantic", _TOO_LARGE))
        elif size:
            if some and size > room:
                yield some
                some, room = [], _AT_ONCE
            some.append(at)
            room -= size
    if some:
        yield some


def _taken(reply: Any, what: str, announce: Callable[[Event], None]) -> bool:
    """Whether this is an answer; what is of another type is left alone, and any other error raised."""
    if isinstance(reply, Exception) and "WRONGTYPE" in str(reply):
        announce(StoreFault("redis", what, "semantic", OTHER_TYPE))
        return False
    if denied(reply):
        raise GroupsRefusedError(_NOT_ALLOWED) from reply
    answer_of(reply)
    return True


def _records(reply: Any) -> dict[str, bytes]:
    if not isinstance(reply, list) or len(reply) % 2:
        raise confused()
    pairs = ((name.decode("latin-1"), blob) for name, blob in zip(reply[::2], reply[1::2], strict=True))
    return {
        name: blob
        for name, blob in pairs
        if is_name(name) and len(blob) <= MAX_RECORD and read_header(blob) is not None
    }
