"""What a store promises that keeps small records in groups, each of which is read as a whole: statistics, above all."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from toolcache.blob import Header, read_header
from toolcache.protocols import StoreRestingError

MAX_RECORD: Final = 1 << 20
"""Bytes of the largest record; what is larger is none."""

_NAME: Final = re.compile(r"[0-9a-f]{16}")


class Grouped(NamedTuple):
    """One record of a group.

    Attributes:
        group: a store key, such as ``tc1:s:main:h:1795273200``.
        name: who wrote it, in 16 hexadecimal digits; what it writes later takes the place of this.
        blob: header and all, with the digest of the store key ``f"{group}:{name}"``; its header carries the version and
            ``gone_ms``.
    """

    group: str
    name: str
    blob: bytes


class GroupsRefusedError(StoreRestingError):
    """The store has answered, and refuses these records alone: no news of anything else that it does."""


@runtime_checkable
class SupportsGroups(Protocol):
    """A store that keeps small records in groups.

    They are no values: they are not counted, listed or exported with them, and nobody is told of them.
    """

    async def put_grouped(self, records: Sequence[Grouped], /) -> None:
        """Store records, each in the place of an older one of its group and name, never in that of a newer one.

        A record whose life has ended is left out. Repeating or delaying this is harmless.

        Raises:
            ValueError: a blob has no valid header or is larger than ``MAX_RECORD``, or a name is none.
            GroupsRefusedError: such records are not for this user, here or in ``read_groups``.
            Exception: the store's own.
        """
        ...

    async def read_groups(self, groups: Sequence[str], /) -> Sequence[dict[str, bytes] | None]:
        """Of each group the blobs by name, in the order of the groups; empty where there is none, None where there are too many.

        What is no record is left out; a record past its ``gone_ms`` may be there or not: the reader checks.
        """
        ...


@runtime_checkable
class SupportsGroupList(SupportsGroups, Protocol):
    """A store that knows which groups it has."""

    async def groups(self, prefix: str, /) -> list[str]:
        """The groups that begin with ``prefix`` and have a record whose life has not ended, in order."""
        ...


def is_name(text: str) -> bool:
    """Whether this may be a record's name."""
    return _NAME.fullmatch(text) is not None


def header_of(record: Grouped) -> Header:
    """The header of a record's blob.

    Raises:
        ValueError: it has none, is too large, or has a name that is none.
    """
    header = read_header(record.blob)
    if header is None or len(record.blob) > MAX_RECORD or not is_name(record.name):
        raise ValueError(f"a record is a whole blob of at most {MAX_RECORD:,} bytes, named by 16 hexadecimal digits")
    return header
