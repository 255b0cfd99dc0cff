"""What is stored: values like those of agents, the same in every run."""

import random
from array import array
from functools import cache
from typing import Any, Final

DIMENSIONS: Final = 1_536


def small(number: int) -> dict[str, Any]:
    """A few fields."""
    return {"id": number, "name": f"tool number {number}", "ok": True, "score": number / 7}


def payloads(size: int, count: int) -> dict[str, Any]:
    """Bytes that nothing makes smaller, by key."""
    chance = random.Random(size)
    return {f"tool:{number}": chance.randbytes(size) for number in range(count)}


def texts(size: int, count: int) -> dict[str, Any]:
    """The same as letters."""
    return {key: body.hex() for key, body in payloads(size // 2, count).items()}


@cache
def decimals(count: int) -> dict[str, list[float]]:
    """The same as some services write them: nine decimals, which 32 bits do not hold to the last one."""
    return {text: [round(each, 9) for each in vector] for text, vector in vectors(count).items()}


@cache
def vectors(count: int) -> dict[str, list[float]]:
    """Floats that fit into 32 bits, as models give them, by the texts they stand for."""
    chance = random.Random(count)
    bodies = [array("f", [chance.gauss() / 40 for _ in range(DIMENSIONS)]) for _ in range(count)]
    return {f"what does the tool number {number} do?": body.tolist() for number, body in enumerate(bodies)}
