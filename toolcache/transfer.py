"""How far entries have been moved, and what came of it."""

from collections.abc import Mapping
from typing import Final

from toolcache.fields import Frozen, each

EXPIRED: Final = "expired"
NEWER: Final = "newer there"
DAMAGED: Final = "damaged"
IN_THE_WAY: Final = "in the way"
TOO_LARGE: Final = "too large"


class Transfer(Frozen):
    """What an export, an import or a copy has done: so far where it is told on the way, in all where it is returned.

    Attributes:
        entries: those that were moved.
        bytes: what they take, as they are stored.
        total: how many there are: of an import exactly, else about, as the layers count what is not this cache's too; None where
            nobody knows.
        resumed: of an export, those that an earlier call had written already; they are among ``entries``.
        skipped: those that were not moved, by reason: "expired" past the end of their life, "newer there" (``keep_newer``), "damaged",
            "too large" for this cache's ``max_entry``, and "in the way" where something of another program has the key in Redis.
        seconds: how long it took.

    Examples:
        >>> print(Transfer(entries=1200, bytes=3_400_000, total=1300, skipped={"expired": 100}))
        1,200 of 1,300 entries, 3.4 MB, 100 skipped (100 expired)
    """

    entries: int = 0
    bytes: int = 0
    total: int | None = None
    resumed: int = 0
    skipped: Mapping[str, int] = each(factory=dict)
    seconds: float = 0.0

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        size = f"{self.bytes / 1e6:,.1f} MB"
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.skipped.items())
        left = f", {sum(self.skipped.values()):,} skipped ({why})" if why else ""
        return f"{self.entries:,}{of} entries, {size}{left}"
