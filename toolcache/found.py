"""What a read finds."""

from typing import Any, Final, NamedTuple

from toolcache.aside import Lengthy
from toolcache.blob import CorruptBlobError
from toolcache.entry import MISSING, Held
from toolcache.versions import ZERO


class Found(NamedTuple):
    """What a read found: the entry and its value, or None and whose version stood there (a tombstone's, say).

    What is past its time, and not gone yet, is ``stale``, and no ``held``.
    Where a copy of what memory holds takes its time, ``value`` is Lengthy: who wants it has ``whole`` make it aside.
    """

    held: Held | None
    version: bytes = ZERO
    value: Any = None
    stale: Held | None = None


NOTHING: Final = Found(None)


def found_in(held: Held) -> Found:
    """What memory holds, with a value of the caller's own."""
    try:
        return Found(held, held.version, held.own())
    except Lengthy as lengthy:
        return Found(held, held.version, lengthy)
    except CorruptBlobError:  # a codec of others that does not read what it wrote
        return NOTHING


async def whole(value: Any) -> Any:
    """The value that was found; MISSING where it cannot be read after all."""
    if type(value) is not Lengthy:
        return value
    try:
        return await value.aside()
    except CorruptBlobError:
        return MISSING
