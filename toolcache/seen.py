"""Which of very many keys have been met, in some 24 bytes for each.

What is kept of one is 64 bits of a digest, in tables of open addressing (Knuth, *The Art of Computer Programming*, volume 3,
section 6.4) that are doubled before they are two thirds full: by the first byte there are 256 of them, so that none takes long to
be doubled. Of ten million keys two are taken for one another once in half a million times.
"""

from array import array
from hashlib import blake2b
from typing import Final

_TABLES: Final = 256
_LEAST: Final = 16
_STEP: Final = 8  # bytes of a digest, of which the first chooses the table


class Seen:
    """A set of texts, each with the version it was met in."""

    def __init__(self) -> None:
        self._tables = [array("Q", [0]) * _LEAST for _ in range(_TABLES)]
        self._counts = [0] * _TABLES

    def __len__(self) -> int:
        return sum(self._counts)

    def add(self, key: str, version: bytes) -> bool:
        """Take note of one; whether it is new."""
        code = _code(key, version)
        at = code & _TABLES - 1
        table = self._tables[at]
        place = _find(table, code)
        if table[place]:
            return False
        table[place] = code
        self._counts[at] += 1
        if self._counts[at] * 3 > len(table) * 2:
            wider = array("Q", [0]) * (2 * len(table))
            for one in filter(None, table):
                wider[_find(wider, one)] = one
            self._tables[at] = wider
        return True

    def has(self, key: str, version: bytes) -> bool:
        """Whether it was met."""
        code = _code(key, version)
        table = self._tables[code & _TABLES - 1]
        return table[_find(table, code)] != 0


def _code(key: str, version: bytes) -> int:
    # 0 is an empty place
    return int.from_bytes(blake2b(version + key.encode(), digest_size=_STEP).digest(), "big") or 1


def _find(table: "array[int]", code: int) -> int:
    """Where a code stands, or would."""
    mask = len(table) - 1
    place = code >> _STEP & mask
    while table[place] not in {0, code}:
        place = place + 1 & mask
    return place
