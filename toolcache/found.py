"""What a read finds."""

from typing import Any, Final, NamedTuple

from toolcache.blob import CorruptBlobError
from toolcache.entry import Held
from toolcache.versions import ZERO


class Found(NamedTuple):
    """What a read found: the entry and its value, or None and whose version stood there (a tombstone's, say)."""

    held: Held | None
    version: bytes = ZERO
    value: Any = None


NOTHING: Final = Found(None)


def found_in(held: Held) -> Found:
    """What memory holds, with a value of the caller's own."""
    try:
        return Found(held, held.version, held.own())
    except CorruptBlobError:  # a codec of others that does not read what it wrote
        return NOTHING
