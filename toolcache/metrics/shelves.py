"""Asking a layer for its groups. One that refuses these alone has met no fault: it says so, and is left alone for a while."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from toolcache.groups import Grouped, GroupsRefusedError, SupportsGroups
from toolcache.layer import Layer

FIRST: Final = 4
_PORTION: Final = 64
_BYTES: Final = 1 << 20
"""Groups that are asked for at once: a few at first, and then as many as these bytes, but no more than that."""


async def put(layer: Layer, store: SupportsGroups, records: Sequence[Grouped]) -> bool | None:
    """Whether the layer has taken the records: False if it refuses such; None if it cannot be asked, or nobody knows."""
    return await layer.ask(partial(_put, store, records), mutation=True, counted=False)


async def read(layer: Layer, store: SupportsGroups, groups: Sequence[str]) -> Sequence[dict[str, bytes] | None] | None:
    """Of each group the blobs by name, None of one that is too large; none at all where the layer refuses that; None if it cannot be asked."""
    return await layer.ask(partial(_read, store, groups), counted=False)


async def _put(store: SupportsGroups, records: Sequence[Grouped]) -> bool:
    try:
        await store.put_grouped(records)
    except GroupsRefusedError:
        return False
    return True


async def _read(store: SupportsGroups, groups: Sequence[str]) -> Sequence[dict[str, bytes] | None]:
    try:
        return await store.read_groups(groups)
    except GroupsRefusedError:
        return []


def next_number(groups: int, size: int) -> int:
    """How many groups to ask for, when so many have taken so many bytes: more of them might not come in time."""
    return min(_PORTION, 2 * groups, max(1, groups * _BYTES // max(1, size)))
