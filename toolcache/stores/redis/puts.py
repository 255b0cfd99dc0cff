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

_DONE: Final = PutStatus.STORED
_STORED: Final = {b"S-": False, b"SD": False, b"SL": True}
"""The usual things said, and whether a live value was there."""
_STATUS: Final = {b"S": PutStatus.STORED, b"A": PutStatus.ALREADY, b"N": PutStatus.NEWER, b"F": PutStatus.FOREIGN}

# Where they stand in a blob's header.
_VERSION: Final = slice(4, 20)
_DIGEST: Final = slice(48, 52)


def at_once(sizes: Sequence[int]) -> bool:
    """Whether writes with blobs of these sizes are sent at once."""
    return len(sizes) <= _AT_ONCE and sum(sizes) <= _BYTES_AT_ONCE


def portions(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    """The writes in runs of as many as are sent at once; a large one goes alone."""
    begin = size = 0
    for at, write in enumerate(writes):
        more = len(write.blob)
        if at > begin and (at - begin == _AT_ONCE or size + more > _BYTES_AT_ONCE):
            yield writes[begin:at]
            begin, size = at, 0
        size += more
    yield writes[begin:]


def in_calls(groups: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """The places of writes, in groups that may stand in one call, in runs of as many as one call takes."""
    if max(map(len, groups)) <= _KEYS_OF_A_CALL:
        return groups
    starts = range(0, max(map(len, groups)), _KEYS_OF_A_CALL)
    return [group[start : start + _KEYS_OF_A_CALL] for group in groups for start in starts if start < len(group)]


def words(
    writes: Sequence[Write], keys: Sequence[bytes], calls: Sequence[Sequence[int]]
) -> Iterator[tuple[Sequence[bytes], list[bytes]]]:
    """Keys and arguments of calls, each of which has the writes in some places."""
    for call in calls:
        arguments: list[bytes] = []
        for at in call:
            _, blob, once, dead, _, _ = writes[at]
            arguments += (blob, dead if once else b"")
        yield keys if len(call) == len(keys) else [keys[at] for at in call], arguments


def outcomes(writes: Sequence[Write], reply: Any, announce: Callable[[Event], None]) -> list[PutResult]:
    """What became of the writes of a call.

    Raises:
        RedisError: (redis-py's) the reply is an error, or nonsense.
    """
    said = answer_of(reply)
    if not isinstance(said, bytes):
        raise confused()
    results = []
    at = 0
    for write in writes:
        was_live = _STORED.get(said[at : at + 2])
        if was_live is None:
            result, at = _outcome(write, said, at, announce)
        else:
            result, at = PutResult(_DONE, write.blob[_VERSION], was_live), at + 2
        results.append(result)
    if at != len(said):
        raise confused()
    return results


def _outcome(write: Write, said: bytes, at: int, announce: Callable[[Event], None]) -> tuple[PutResult, int]:
    """What became of a write of which not the usual thing is said, and where the next is spoken of."""
    match _STATUS.get(said[at : at + 1]):
        case None:
            raise confused()
        case PutStatus.FOREIGN as status:
            announce(StoreFault("redis", "put", "semantic", OTHER_TYPE))
            return PutResult(status, ZERO), at + 2
        case PutStatus.STORED as status:
            announce(BlobRejected("redis", "foreign", write.blob[_DIGEST].hex()))
            return PutResult(status, write.blob[_VERSION]), at + 2
        case status:
            return PutResult(status, said[at + 2 : at + 18], said[at + 1 : at + 2] == b"L"), at + 18
