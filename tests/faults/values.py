"""Values that tell whose they are: any bit of another key's or another write's is noticed."""

import random
from typing import Any, Final

from toolcache.entry import MISSING

SECRET: Final = "correct-horse"
"""In every value, and never to be met in a log line."""

KEYS: Final = tuple(f"zebra-{number:02}" for number in range(50))

_NOISE: Final = random.Random(20).randbytes(40_000)


def value_of(key: str, number: int) -> dict[str, Any]:
    """What the write of this number stores under the key: 1 to 20 KB."""
    chance = random.Random(f"{key}#{number}")
    size, at = chance.randint(1_000, 20_000), chance.randrange(20_000)
    return {"key": key, "number": number, "secret": SECRET, "filler": _NOISE[at : at + size]}


def number_of(key: str, value: Any) -> int | None:
    """Which write of the key stored the value; None for a miss, -1 for what no write of the key can have stored."""
    if value is MISSING:
        return None
    number = value.get("number") if isinstance(value, dict) else None
    return number if isinstance(number, int) and value == value_of(key, number) else -1
