"""Forks a writer, kills it with SIGKILL at a random moment, and reads what is left; over and over. Prints what was wrong.

Run as ``python kill_writer.py ROOT ROUNDS SEED``. The writer says on a pipe what it attempts and what was acknowledged.
One key is rewritten for ever, every third time by a tombstone; the bodies are large, so that most kills hit a write.
It is killed by what it has said, not by the clock alone, so that a slow machine has it write as much.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from toolcache.blob import TOMBSTONE, read_header
from toolcache.clock import SYSTEM
from toolcache.protocols import PutStatus, Write
from toolcache.stores.log.store import LogStore
from toolcache.testing.stores import blob_of, version_of
from toolcache.versions import HybridClock

KEY = "tc1:v:crash:k"


def blob(number: int) -> bytes:
    flags = TOMBSTONE if number % 3 == 0 else 0
    body = b"" if flags else number.to_bytes(8, "big") + bytes([number & 255]) * 200_000
    return blob_of(KEY, body, version=number, now=SYSTEM.time(), flags=flags)


def check(found: bytes | None) -> int:
    """The number of the write that is read; raises for bytes that no write had."""
    if found is None:
        return 0
    header = read_header(found)
    assert header is not None, "no header"
    number = int.from_bytes(header.version[:6], "big")
    assert header.version == version_of(number), "a version nobody wrote"
    if not header.is_tombstone:
        body = found[-4 - header.body_len : -4]
        assert body[:8] == number.to_bytes(8, "big"), "another write's body"
        assert body[8:] == bytes([number & 255]) * 200_000, "a torn body"
    return number


async def write(root: str, number: int, pipe: int) -> None:
    store = LogStore(root, clock=SYSTEM, hybrid=HybridClock(), fsync="never", max_disk=40 * 2**20)
    while True:
        number += 1
        os.write(pipe, b"a%d\n" % number)
        (result,) = await store.put_many([Write(KEY, blob(number))])
        assert result.status is PutStatus.STORED, result
        os.write(pipe, b"k%d\n" % number)


async def read(root: str) -> int:
    store = LogStore(root, clock=SYSTEM, hybrid=HybridClock())
    try:
        (found,) = await store.get_many([KEY])
        return check(found)
    finally:
        await store.aclose()


def killed(life: Callable[[int], Coroutine[Any, Any, None]], delay: float, *, lines: int = 0) -> list[bytes]:
    """Fork, live, and be killed ``delay`` seconds after so many ``lines``: the whole ones that were said on the pipe of ``life``."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        try:
            asyncio.run(life(writing))
        finally:
            os._exit(1)
    os.close(writing)
    said = b""
    while said.count(b"\n") < lines and (chunk := os.read(reading, 1 << 16)):
        said += chunk
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    while chunk := os.read(reading, 1 << 16):
        said += chunk
    os.close(reading)
    return said.split(b"\n")[:-1]


def kill_one(root: str, number: int, writes: int, delay: float) -> tuple[int, int, int]:
    """One writer's life: the last attempt, the last acknowledgement, and whether it was killed in mid-write.

    It is killed ``delay`` seconds after so many ``writes`` were acknowledged and the next one was begun.
    """
    lines = killed(partial(write, root, number), delay, lines=2 * writes + 1)
    attempted = max([number, *(int(line[1:]) for line in lines if line[:1] == b"a")])
    acked = max([0, *(int(line[1:]) for line in lines if line[:1] == b"k")])
    return attempted, acked, attempted > max(acked, number)


def main(root: str, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    attempted = acked = killed_in_write = 0
    wrong: list[str] = []
    for number in range(rounds):
        attempted, last, in_write = kill_one(root, attempted, chance.randint(0, 4), chance.uniform(0, 0.003))
        acked = max(acked, last)
        killed_in_write += in_write
        try:
            found = asyncio.run(read(root))
        except Exception as fault:  # noqa: BLE001 - whatever a reader raises is a finding
            wrong.append(f"round {number}: {type(fault).__name__}: {fault}")
            continue
        if not acked <= found <= attempted:
            wrong.append(f"round {number}: read {found}, acknowledged {acked}, attempted {attempted}")
        acked = max(acked, found)
    print(json.dumps({"wrong": wrong, "killed_in_write": killed_in_write, "writes": attempted, "acked": acked}))  # noqa: T201 - for the test that started this


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
