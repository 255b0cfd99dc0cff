"""How writes are worded for ``put.lua``, and what it says of them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from toolcache.events import BlobRejected, Event, StoreFault
from toolcache.protocols import PutResult, PutStatus, Write
from toolcache.stores.redis.wire import Script, answer_of, confused
from toolcache.versions import ZERO

PUT: Final = Script("put")
OTHER_TYPE: Final = "a key holds a value of another type"

_AT_ONCE: Final = 1_024
_BYTES_AT_ONCE: Final = 262_144
_KEYS_OF_A_CALL: Final = 128
"""Between two calls the server has time for others, and it does not between the keys of one."""

_STORED: Final = {b"S-": False, b"SD": False, b"SL": True}
"""The usual things said, and whether a live value was there."""
_STATUS: Final = {b"S": PutStatus.STORED, b"A": PutStatus.ALREADY, b"N": PutStatus.NEWER, b"F": PutStatus.FOREIGN}

# Where they stand in a blob's header.
_VERSION: Final = slice(4, 20)
_DIGEST: Final = slice(48, 52)


def portions(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """The writes in runs of as many as are sent at once; a large one goes alone."""
    begin = size = 0
    for at, write in enumerate(writes):
        more = len(write.blob)
        if at > begin and (at - begin == _AT_ONCE or size + more > _BYTES_AT_ONCE):
            yield writes[begin:at]
            begin, size = at, 0
        size += more
    if begin < len(writes):
        yield writes[begin:] if begin else writes


def calls_of(group: Sequence[int]) -> Iterator[Sequence[int]]:
    """The places of writes in runs of as many as one call takes."""
    return (group[start : start + _KEYS_OF_A_CALL] for start in range(0, len(group), _KEYS_OF_A_CALL))


def words(writes: Sequence[Write], keys: Sequence[bytes], call: Sequence[int]) -> tuple[list[bytes], list[bytes]]:
    """Keys and arguments of a call: of the writes in these places."""
    arguments: list[bytes] = []
    for at in call:
        write = writes[at]
        arguments += (write.blob, write.dead if write.once else b"")
    return [keys[at] for at in call], arguments


def outcomes(writes: Sequence[Write], reply: Any, announce: Callable[[Event], None]) -> Iterator[PutResult]:
    """What became of the writes of a call.

    Raises:
        RedisError: (redis-py's) the reply is an error, or nonsense.
    """
    said = answer_of(reply)
    if not isinstance(said, bytes):
        raise confused()
    at = 0
    for write in writes:
        was_live = _STORED.get(said[at : at + 2])
        if was_live is not None:
            yield PutResult(PutStatus.STORED, write.blob[_VERSION], was_live)
            at += 2
            continue
        status, there = _STATUS.get(said[at : at + 1]), said[at + 1 : at + 2]
        if status is None:
            raise confused()
        if status is PutStatus.FOREIGN:
            announce(StoreFault("redis", "put", "semantic", OTHER_TYPE))
            yield PutResult(status, ZERO)
            at += 2
        elif status is PutStatus.STORED:
            announce(BlobRejected("redis", "foreign", write.blob[_DIGEST].hex()))
            yield PutResult(status, write.blob[_VERSION])
            at += 2
        else:
            yield PutResult(status, said[at + 2 : at + 18], there == b"L")
            at += 18
    if at != len(said):
        raise confused()
