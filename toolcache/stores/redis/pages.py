"""Listing what servers hold: by SCAN, one server after another, never by what would stop one."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from toolcache.blob import HEADER_SIZE, read_header
from toolcache.listing import HEAD, Glimpse, Page
from toolcache.protocols import StoreRestingError
from toolcache.stores.redis.lanes import Lanes
from toolcache.stores.redis.wire import answer_of, confused, pack

_AT_ONCE: Final = b"250"
"""Buckets of a server's table that one call looks at: some tens of microseconds."""

_NO_SCAN: Final = "the user may not SCAN"

_LITERAL: Final = re.compile(r"([\\*?\[\]])")


class _Exchange(Protocol):
    def __call__(
        self, commands: Sequence[bytes], keys: Sequence[bytes], /, *, reading: bool
    ) -> Awaitable[list[Any]]: ...


class Cursor(NamedTuple):
    """How far a listing has come: ``at`` which of the ``servers``, and where there. ``run`` tells one start from another."""

    servers: tuple[Lanes, ...]
    run: str | None
    at: int = 0
    where: bytes = b"0"


async def keys(
    prefix: str, cursor: Cursor | None, primaries: Callable[[], Awaitable[list[Lanes]]], run: Callable[[], str | None]
) -> tuple[list[bytes], Cursor | None]:
    """Some of the keys that begin with a prefix, and the next cursor, None at the end.

    Where servers have changed since the first call, a cursor means nothing to the new ones: it begins anew.
    """
    servers = tuple(await primaries())
    if cursor is None or cursor.servers != servers or cursor.run != run():
        cursor = Cursor(servers, run())
    pattern = _LITERAL.sub(r"\\\1", prefix).encode() + b"*"
    command = pack(b"SCAN", cursor.where, b"MATCH", pattern, b"COUNT", _AT_ONCE)
    (reply,) = await servers[cursor.at].exchange([command], [b""], reading=True)
    if type(reply).__name__ == "NoPermissionError":
        raise StoreRestingError(_NO_SCAN) from reply
    match answer_of(reply):
        case [bytes(where), list(found)]:
            pass
        case _:
            raise confused()
    if cursor.run is None:  # it was not known before the first call
        cursor = cursor._replace(run=run())
    if where != b"0":
        return found, cursor._replace(where=where)
    return found, cursor._replace(at=cursor.at + 1, where=b"0") if cursor.at + 1 < len(servers) else None


async def page(found: Sequence[bytes], cursor: Cursor | None, exchange: _Exchange) -> Page:
    """The beginnings of the blobs under keys; those that have gone meanwhile, or are of another type, are left out."""
    ours = [key for key in found if key.isascii()]
    heads = await _beginnings(ours, [HEAD] * len(ours), exchange)
    long = {
        at: HEADER_SIZE + header.meta_len
        for at, head in enumerate(heads)
        if (header := read_header(head)) is not None and HEADER_SIZE + header.meta_len > len(head) == HEAD
    }
    for at, head in zip(long, await _beginnings([ours[at] for at in long], [*long.values()], exchange), strict=True):
        heads[at] = head
    return Page([Glimpse(key.decode(), head) for key, head in zip(ours, heads, strict=True) if head], cursor)


async def _beginnings(found: Sequence[bytes], sizes: Sequence[int], exchange: _Exchange) -> list[bytes]:
    if not found:
        return []
    commands = [pack(b"GETRANGE", key, b"0", b"%d" % (size - 1)) for key, size in zip(found, sizes, strict=True)]
    return [_text(reply) for reply in await exchange(commands, found, reading=True)]


def _text(reply: Any) -> bytes:
    """What a reply to GETRANGE holds; a value of another type is none of ours."""
    if isinstance(reply, Exception) and not str(reply).startswith("WRONGTYPE"):
        raise reply
    return reply if isinstance(reply, bytes) else b""
