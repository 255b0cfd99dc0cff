"""Sequences of keys to judge memory policies by: recorded ones of others where they are at hand, else made ones.

Recorded ones lie in the folder ``traces`` of ``TOOLCACHE_DATA``, or of ``../shared/data`` beside the repository, with the
hits that other implementations find on them. They are read, never copied.
"""

import array
import json
import lzma
import os
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import Final

_DATA: Final = (
    Path(os.environ.get("TOOLCACHE_DATA") or Path(__file__).parents[2] / "shared" / "data").resolve() / "traces"
)
_MADE: Final = 200_000


@dataclass
class Trace:
    """Keys in order of access.

    Args:
        name: a word for tables.
        pattern: what it is, in a few words.
        source: whose it is, and how it may be used; "" for a made one.
        sizes: of caches to try, in entries.
        reference: hits that others find, by size and policy; empty for a made one.
    """

    name: str
    pattern: str
    source: str
    sizes: Sequence[int]
    reference: dict[int, dict[str, int]] = field(default_factory=dict)

    def keys(self) -> Sequence[int]:
        """The keys, as numbers."""
        if not self.source:
            return list(islice(_MAKERS[self.name](random.Random(self.name)), _MADE))
        numbers = array.array("I")
        numbers.frombytes(lzma.decompress((_DATA / f"{self.name}.u32.xz").read_bytes()))
        return numbers


def traces() -> list[Trace]:
    """The recorded ones if they are at hand, else made ones."""
    manifest = _DATA / "manifest.json"
    if not manifest.exists():
        return [Trace(name, str(make.__doc__).rstrip("."), "", (100, 500, 2_000)) for name, make in _MAKERS.items()]
    reference = json.loads((_DATA / "reference.json").read_text("utf-8"))["traces"]
    return [
        Trace(
            told["name"],
            told["pattern"],
            told["licence"],
            told["sizes"],
            {
                int(size): {
                    name: hits for name, hits in {**by["exact_hits"], **by["approx_hits"]}.items() if hits is not None
                }
                for size, by in reference[told["name"]]["sizes"].items()
            },
        )
        for told in json.loads(manifest.read_text("utf-8"))
    ]


def _zipf(dice: random.Random) -> Iterator[int]:
    """made: few keys asked for often, many seldom."""
    shares = list(accumulate(1 / rank for rank in range(1, 20_001)))
    while True:
        yield bisect(shares, dice.random() * shares[-1])


def _scan(dice: random.Random) -> Iterator[int]:
    """made: the same, and long rows of keys asked for once."""
    usual, once = _zipf(dice), 1_000_000
    while True:
        yield from islice(usual, 3_000)
        yield from range(once, once := once + 1_500)


def _loop(_dice: random.Random) -> Iterator[int]:
    """made: 2,500 keys, one after another, again and again."""
    while True:
        yield from range(2_500)


def _recent(dice: random.Random) -> Iterator[int]:
    """made: new keys all the time, each asked for again soon or never."""
    latest = 0
    while True:
        latest += 1
        yield latest
        yield max(0, latest - dice.randrange(400))


_MAKERS: Final = {"zipf": _zipf, "scan": _scan, "loop": _loop, "recent": _recent}
