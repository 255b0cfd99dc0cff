"""What passes between the cache and Redis is lost, late or not what was stored."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import redis
from faults.scenarios import scenario
from faults.stage import Stage
from faults.values import KEYS, value_of

from toolcache.cache import Cache
from toolcache.clock import SYSTEM
from toolcache.entry import MISSING, Durability
from toolcache.protocols import PutResult, Write


def outcomes(cache: Cache) -> Counter[str]:
    """What Redis answers to this cache's writes, counted from now on."""
    counted: Counter[str] = Counter()
    assert cache._parts.redis is not None
    store: Any = cache._parts.redis.store
    put_many = store.put_many

    async def counting(writes: Sequence[Write], /) -> list[PutResult]:
        results: list[PutResult] = await put_many(writes)
        counted.update(result.status.name for result in results)
        return results

    store.put_many = counting
    return counted


@scenario("F-10")
async def lost_replies(stage: Stage) -> None:
    """Writes are applied, and nobody is told."""
    proxy = await stage.proxy()
    cache = stage.open(proxy.url)
    told = outcomes(cache)
    async with stage.work.running():
        for _ in range(3):
            proxy.mode = "pass"
            await stage.during("passing", 1)
            proxy.mode = "down"
            await stage.during("lost", 1)
            if stage.chance.random() < 0.5:
                proxy.reset()
        proxy.mode = "pass"
        await stage.during("after", 1)
    await stage.heal("the replies came again")
    told.clear()
    proxy.mode = "down"
    if await stage.work.set(KEYS[0]) is not Durability.FILE:
        stage.oracle.violated("a write whose reply was lost was not kept on file")
    proxy.mode = "pass"
    await stage.heal("the last reply was lost")
    stage.facts["told at last"] = dict(told)
    if set(told) != {"ALREADY"}:
        stage.oracle.violated(f"a write that was applied is told as {dict(told)} when it is repeated")


@scenario("F-11")
async def zombie(stage: Stage) -> None:
    """A write is held up on its way, and arrives when a newer one has been made by another host."""
    proxy = await stage.proxy()
    cache = stage.open(proxy.url, op_timeout=0.1)
    there = stage.another(directory=stage.directory / "elsewhere", clock=type(SYSTEM)())
    for batch in range(stage.times(5)):
        keys = KEYS[10 * batch : 10 * batch + 10]
        await asyncio.gather(*map(stage.work.set, keys))
        proxy.mode = "up"
        await asyncio.gather(*(stage.work.timed("set", stage.work.set(key)) for key in keys))
        newest = {key: stage.oracle.begin("set", key) for key in keys}
        for key, act in newest.items():
            stage.oracle.end(act, await there.set(key, value_of(key, act.number)))
        proxy.mode = "pass"
        await asyncio.sleep(0.02)
        await stage.heal("the writes arrived")
        for each, (key, act) in itertools.product((cache, there), newest.items()):
            each._parts.memory.remove(key)
            if (await each.get(key, MISSING)) != value_of(key, act.number):
                stage.oracle.violated(f"{key}: the newest value is not what is read")


def _garbage(chance: random.Random, blob: bytes, other: bytes) -> bytes:
    flipped = bytearray(blob)
    if flipped:
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    header = bytearray(blob[:76])
    if header:
        header[chance.randrange(len(header))] ^= 1 << chance.randrange(8)
    return chance.choice(
        [
            b"cos\nsystem\n(S'exit 1'\ntR.",
            chance.randbytes(500),
            b"",
            b"\x82\xa1a\x01\xa1b\x02",
            b"\xdd\xff\xff\xff\xff",
            b"\x91" * 2_000,
            bytes(flipped),
            bytes(header) + blob[76:],
            blob[: len(blob) // 2],
            blob + b"\x00",
            other,
        ]
    )


@scenario("F-12")
async def corrupted(stage: Stage) -> None:
    """Somebody writes garbage over the values in Redis, again and again."""
    stage.open(max_entries=4)
    connection = redis.Redis(port=stage.server.port, protocol=2)

    def spoil(key: str) -> None:
        # Not the key's own blob: by the time it is written, it may be of yesterday, which is no garbage.
        name, other = (f"tc1:v:default:{each}" for each in (key, stage.chance.choice([k for k in KEYS if k != key])))
        connection.set(name, _garbage(stage.chance, connection.get(name) or b"", connection.get(other) or b""))  # type: ignore[arg-type]  # bytes

    def forge(key: str) -> None:
        blob: bytes = connection.get(f"tc1:v:default:{stage.chance.choice(KEYS)}") or bytes(99)  # type: ignore[assignment]  # not awaited
        forged = stage.chance.choice((blob[:2] + b"\x01", blob[:4] + b"\xff" * 6 + blob[10:], blob))
        connection.set(f"tc1:v:default:{key}", b"TC\x01" + forged[3:])

    async with stage.work.running():
        await stage.during("before", 1)
        stage.work.phase = "garbage"
        for _ in range(stage.times(200)):
            key = stage.chance.choice(KEYS)
            await stage.do(spoil, key)
            stage.oracle.lost({key})
            await asyncio.sleep(0.01)
    await stage.heal("the garbage")
    stage.work.phase = "garbage that looks newer"
    forged = KEYS[:10]
    for key in forged:
        await stage.do(forge, key)
        stage.oracle.lost({key})
    with stage.server.frozen():
        await asyncio.gather(*(stage.work.timed("set", stage.work.set(key)) for key in forged))
    await stage.heal("writes that met garbage")
    for key in forged:
        stage.cache._parts.memory.remove(key)
        if await stage.work.get(key) is MISSING:
            stage.oracle.violated(f"I5: {key}: a write on file was lost to garbage that looked newer")
    connection.close()
    # The next write of each key works.
    kept = Counter([await stage.work.set(key) for key in KEYS])
    if set(kept) != {Durability.REDIS}:
        stage.oracle.violated(f"after the garbage writes were acknowledged as {dict(kept)}")
