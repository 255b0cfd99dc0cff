"""What a store promises that can be listed: page after page, so that neither it nor the listing process holds up others."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

HEAD: Final = 512
"""Bytes of a blob that are looked at first: header and meta of nearly all."""


class Glimpse(NamedTuple):
    """A key of a store, and the first bytes of its blob: header and meta whole, of the body whatever came along."""

    key: str
    head: bytes


class Page(NamedTuple):
    """Some of a store's keys. ``cursor`` is what to ask for the next ones with; None at the end."""

    found: list[Glimpse]
    cursor: Any


@runtime_checkable
class SupportsPages(Protocol):
    """A store that can be listed."""

    async def page(self, prefix: str, cursor: Any = None, /) -> Page:
        """Some of the blobs whose keys begin with ``prefix``; ``cursor`` is the last page's, None for the first.

        What is there from the first page to the last comes at least once; what comes or goes meanwhile, perhaps. A page may
        be asked for again. It ends, however much is added meanwhile.
        """
        ...


@runtime_checkable
class SupportsCompaction(Protocol):
    """A local store that gives back the room of what is dead by and by."""

    async def compact(self, needless: Callable[[str, bytes], bool] | None = None, /) -> int:
        """Give it back now, as far as it is worth it; the bytes won.

        ``needless``, told the key and the version of an epoch that Redis is not owed, says whether it may go, too. It is called
        in a thread.
        """
        ...
