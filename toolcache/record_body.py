"""The body of a record: what it says, in order; and the record that such a body says, of which nothing is believed untested."""

import math
from typing import Any, Final

from msgpack import packb

from toolcache.blob import CorruptBlobError
from toolcache.codec.msgpack import MsgpackCodec
from toolcache.encoded import Encoded
from toolcache.record import Failure, Record, State
from toolcache.versions import ZERO, split

_SCHEMA: Final = 1
_MOST: Final = 2**53
"""What is counted of a run is less."""
_LAST_MS: Final = 253_402_300_800_000
"""The end of the year 9999: above what is later, nothing could ever be written."""
_LONGEST: Final = 2_000
"""Characters of a failure's text that are kept."""


def pack(record: Record) -> Encoded:
    """The body of a record: plain msgpack, as the codec would write it."""
    return Encoded(packb(body_of(record), unicode_errors="surrogatepass"), MsgpackCodec.name)


def body_of(record: Record) -> list[Any]:
    """What a record says, in order."""
    return [
        _SCHEMA,
        record.state.value,
        record.owner,
        record.fence,
        record.floor,
        record.fingerprint,
        record.attempts,
        list(record.dead),
        record.expires_at,
        record.started_at,
        record.finished_at,
        record.cost_usd,
        None if record.tokens is None else min(record.tokens, _MOST),
        None if record.failure is None else list(record.failure),
        None if record.output is None else list(record.output),
    ]


def record_of(body: Any, tags: tuple[str, ...]) -> Record:
    """The record that a body says; CorruptBlobError for any that none of ours says."""
    try:
        schema, state, owner, fence, floor, fingerprint, attempts, dead, *instants, cost, tokens, failure, output = body
        expires_at, started_at, finished_at = instants
        whole = (
            schema == _SCHEMA
            and all(type(one) is bytes and len(one) == len(ZERO) for one in (owner, fence, floor, *dead))
            and max(split(fence)[0], split(floor)[0]) < _LAST_MS
            and type(fingerprint) is str
            and _is_count(attempts)
            and all(type(one) is float and one >= 0.0 for one in instants)
            and math.isfinite(started_at + finished_at)
            and (cost is None or (type(cost) is float and 0.0 <= cost < math.inf))
            and (tokens is None or _is_count(tokens))
            and (output is not None or state != State.COMPLETED.value)
            and (failure is not None or state != State.REFUSED.value)
        )
        if whole:
            return Record(
                state=State(state),
                owner=owner,
                fence=fence,
                floor=floor,
                fingerprint=fingerprint,
                attempts=attempts,
                dead=tuple(dead),
                expires_at=expires_at,
                started_at=started_at,
                finished_at=finished_at,
                cost_usd=cost,
                tokens=tokens,
                failure=None if failure is None else _failure(*failure),
                output=None if output is None else _output(*output),
                tags=tags,
            )
    except (TypeError, ValueError):
        pass
    raise CorruptBlobError("record")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _failure(kind: str, type_: str, message: str) -> Failure:
    if {type(kind), type(type_), type(message)} != {str}:
        raise ValueError(kind)
    return Failure(kind, type_, message)


def _output(body: bytes, codec: str, dtype: str) -> Encoded:
    if (type(body), type(codec), type(dtype)) != (bytes, str, str):
        raise ValueError(codec)
    return Encoded(body, codec, dtype)


def words_of(exception: BaseException) -> tuple[str, str]:
    """The name of an exception's class, with its module unless it is built in, and its text; one that cannot tell has none."""
    kind = type(exception)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(exception)
    except Exception:  # noqa: BLE001 - the run has failed already; how must still be told
        message = ""
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST - 1]}…"
    return name, message.encode("utf-8", "replace").decode("utf-8")
