"""A load on a store whose servers fail under it, and what befell those who made it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from toolcache.protocols import PutStatus, Write
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis.store import RedisStore
from toolcache.testing.stores import blob_of

_WORKERS = 12


@dataclass
class Log:
    """What happened: instants of acknowledged calls by worker, and what failures meant."""

    acknowledged: dict[int, float] = field(default_factory=dict)
    calls: int = 0
    faults: dict[FaultKind, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def under_load(store: RedisStore, *, deadline: float = 0.5) -> AsyncIterator[Log]:
    """Workers that write and read keys of their own, without pause, inside the block.

    Each call has a deadline, in seconds, as a guard gives it.
    """
    log = Log()
    tasks = [asyncio.create_task(_work(store, number, log, deadline)) for number in range(_WORKERS)]
    try:
        yield log
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def resumed(log: Log, *, within: float) -> float:
    """Wait until every worker's calls are acknowledged again; the seconds it took."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if len(log.acknowledged) == _WORKERS and min(log.acknowledged.values()) > began + 0.05:
            return time.monotonic() - began
        await asyncio.sleep(0.01)
    raise AssertionError(f"not all calls were acknowledged again within {within:g} s: {log.faults} {log.examples[:3]}")


async def _work(store: RedisStore, number: int, log: Log, deadline: float) -> None:
    keys = [f"load:{number}:{place}" for place in range(5)]
    version = 0
    while True:
        version += 1
        blobs = [blob_of(key, b"%d" % version, version=version, now=time.time()) for key in keys]
        begun_at = time.monotonic()
        log.calls += 1
        try:
            async with asyncio.timeout(deadline):
                done = await store.put_many([Write(key, blob) for key, blob in zip(keys, blobs, strict=True)])
                read = await store.get_many(keys)
        except Exception as fault:  # noqa: BLE001 - to be looked at
            kind = classify(fault, mutation=True)
            log.faults[kind] = log.faults.get(kind, 0) + 1
            log.examples.append(f"{type(fault).__name__}: {fault}")
            await asyncio.sleep(0.02)
            continue
        if not {one.status for one in done} <= {PutStatus.STORED, PutStatus.ALREADY}:
            log.wrong.append(f"put: {done}")
        if read != blobs:
            log.wrong.append(f"get: {number}")
        log.acknowledged[number] = begun_at
        await asyncio.sleep(0.005)
