"""A directory that somebody else has written to."""

import asyncio
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from rig import Rig

from toolcache.blob import MAGIC
from toolcache.entry import MISSING

BODY = b"the body of the value " * 20


class _Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def _junk(kind: str, size: int, trap: Path) -> bytes:
    """Bytes of a kind, as many as the record has room for."""
    junk = {
        "pickle": pickle.dumps(_Trap(trap)),
        "random": random.Random(1).randbytes(size),
        "nothing": bytes(size),
        "msgpack without header": b"\xda\x00\x10" + b"x" * 16,
        "claims four billion elements": b"\xdd\xff\xff\xff\xff",
        "nested 2,000 deep": b"\x91" * 2000,
    }[kind]
    return junk[:size].ljust(size, b"\0")


@pytest.mark.parametrize(
    "kind",
    ["pickle", "random", "nothing", "msgpack without header", "claims four billion elements", "nested 2,000 deep"],
)
@pytest.mark.parametrize("place", ["the whole blob", "the body"])
@pytest.mark.parametrize("layering", ["memory+file"])
async def test_a_replaced_record_is_a_miss(rig: Rig, tmp_path: Path, kind: str, place: str) -> None:
    """SZ-06, BUG-82: whatever stands in an entry's place: a miss, no code is run, neighbours are whole, a set mends it."""
    trap = tmp_path / "trapped"
    cache = await rig.open()
    for key in ("before", "key", "after"):
        await cache.set(key, BODY if key == "key" else key, ttl=None)
    await cache.aclose()

    def replace() -> None:
        changed = 0
        for path in (tmp_path / "files").rglob("*"):
            if path.is_file() and BODY in (data := path.read_bytes()):
                start = data.index(BODY)
                if place == "the whole blob":
                    start = data.rindex(MAGIC, 0, start)
                size = data.index(BODY) + len(BODY) - start
                path.write_bytes(data[:start] + _junk(kind, size, trap) + data[start + size :])
                changed += 1
        assert changed == 1

    await asyncio.to_thread(replace)
    again = await rig.open()
    assert await again.get("key", MISSING) is MISSING
    assert await again.get_many(["before", "key", "after"]) == {"before": "before", "after": "after"}
    assert await again.set("key", "mended", ttl=None)
    await again.aclose()
    assert await (await rig.open()).get_many(["before", "key", "after"]) == {
        "before": "before",
        "key": "mended",
        "after": "after",
    }
    assert not await asyncio.to_thread(trap.exists)


@pytest.mark.parametrize("layering", ["memory+file"])
async def test_flipped_bits_are_misses_and_nothing_else(rig: Rig, tmp_path: Path) -> None:
    """SZ-06, BUG-82, I12: of 60 entries in a log with 40 random bytes changed, each reads its own value or misses."""
    cache = await rig.open()
    values = {f"key{n}": [n, "x" * n] for n in range(60)}
    await cache.set_many(values, ttl=None)
    await cache.aclose()
    dice = random.Random(3)

    def flip() -> None:
        (path,) = (tmp_path / "files" / "seg").iterdir()
        data = bytearray(path.read_bytes())
        for _ in range(40):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)

    await asyncio.to_thread(flip)
    again = await rig.open()
    found = await again.get_many(values)
    assert found.items() <= values.items()
    assert len(found) < len(values)
    await again.set_many(values, ttl=None)
    assert await again.get_many(values) == values
