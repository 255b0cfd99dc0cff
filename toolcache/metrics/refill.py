"""Tells a Redis that has lost what was counted: what the files of this host have of it, it gets back."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias

from toolcache.blob import read_header
from toolcache.groups import Grouped, SupportsGroupList, SupportsGroups
from toolcache.keys.text import STATISTICS, store_key
from toolcache.layer import Layer
from toolcache.metrics.shelves import FIRST, next_number, put, read
from toolcache.pieces import Pieces
from toolcache.versions import ZERO

_Records: TypeAlias = Mapping[str, bytes]

_PIECE: Final = 256
"""Records that are compared without a pause: a millisecond."""
_RECORDS: Final = 128
_BYTES: Final = 262_144
_PAUSE: Final = 0.02
"""Seconds between two portions of so many records or bytes: others have something to tell Redis as well."""


async def refill(redis: Layer, files: Layer, *, namespace: str) -> int | None:
    """Put to Redis each record of the files of this host that it lacks or has an older one of.

    Several processes may do that at once, with others that write; one that is cut off is begun anew.

    Args:
        redis: what may have lost something.
        files: what has it still.
        namespace: whose records.

    Returns:
        How many it was told, none where it refuses such records; None if it, or the files, did not answer to the end: then
        there may be more.
    """
    source, target = files.store, redis.store
    if not isinstance(source, SupportsGroupList) or not isinstance(target, SupportsGroups):
        return 0
    groups = await files.ask(partial(source.groups, store_key(STATISTICS, namespace, "")), counted=False)
    if groups is None:
        return None
    told, number = 0, FIRST
    while groups:
        some, groups = groups[:number], groups[number:]
        there = await read(redis, target, some)
        here = await read(files, source, some) if there else None
        if not there or not here:
            return told if there == [] else None
        for portion in _portions(await _lacking(some, here, there)):
            taken = await put(redis, target, portion)
            if not taken:
                return told if taken is False else None
            told += len(portion)
            await asyncio.sleep(_PAUSE)
        number = next_number(
            len(some), sum(len(blob) for records in (*here, *there) if records for blob in records.values())
        )
    return told


async def _lacking(
    groups: Sequence[str], here: Sequence[_Records | None], there: Sequence[_Records | None]
) -> list[Grouped]:
    """The records that are not there, or older; none of a group that is too large to be compared."""
    lacking: list[Grouped] = []
    both = zip(groups, here, there, strict=True)
    known = ((group, mine, theirs) for group, mine, theirs in both if mine is not None and theirs is not None)
    pairs = [(Grouped(group, *record), theirs) for group, mine, theirs in known for record in mine.items()]
    async for few in Pieces(pairs, _PIECE):
        lacking += [one for one, theirs in few if _version(one.blob) > _version(theirs.get(one.name, b""))]
    return lacking


def _version(blob: bytes) -> bytes:
    header = read_header(blob)
    return ZERO if header is None else header.version


def _portions(records: Sequence[Grouped]) -> Iterator[list[Grouped]]:
    """The records in runs of those that are told at once."""
    some: list[Grouped] = []
    room = _BYTES
    for record in records:
        if some and (len(some) == _RECORDS or len(record.blob) > room):
            yield some
            some, room = [], _BYTES
        some.append(record)
        room -= len(record.blob)
    if some:
        yield some
