"""Several processes write and read one directory, some are killed; each checks what it reads. Prints what was wrong.

Run as ``python share_log.py ROOT PROCESSES SECONDS SEED KILLS``. Each key has one writing process at a time, which notes
in shared memory what was acknowledged, after it was; whoever reads a key first looks there, and must find that or newer.
"""

import asyncio
import json
import mmap
import os
import random
import signal
import sys
import time

from toolcache.blob import TOMBSTONE, read_header
from toolcache.clock import SYSTEM
from toolcache.protocols import PutStatus, Write
from toolcache.stores.log.store import LogStore
from toolcache.testing.stores import blob_of, version_of
from toolcache.versions import HybridClock

KEYS = 40


class Board:
    """What all processes know of each key, and how much they did: 8-byte cells in memory that they share."""

    def __init__(self, processes: int) -> None:
        self._cells = mmap.mmap(-1, 8 * 2 * (KEYS + processes))

    def __getitem__(self, cell: int) -> int:
        return int.from_bytes(self._cells[8 * cell : 8 * cell + 8], "little")

    def __setitem__(self, cell: int, value: int) -> None:
        self._cells[8 * cell : 8 * cell + 8] = value.to_bytes(8, "little")


def attempted(key: int) -> int:
    """The cell that says which write of a key was begun last."""
    return 2 * key


def acked(key: int) -> int:
    """The cell that says which write of a key was acknowledged last."""
    return 2 * key + 1


def reads(process: int) -> int:
    """The cell that counts a process's reads."""
    return 2 * (KEYS + process)


def writes(process: int) -> int:
    """The cell that counts a process's writes."""
    return 2 * (KEYS + process) + 1


def say(text: str) -> None:
    """One line, whole, whoever else is speaking."""
    os.write(1, text.encode() + b"\n")


def name(key: int) -> str:
    return f"tc1:v:share:{key}"


def blob(key: int, number: int, size: int) -> bytes:
    flags = TOMBSTONE if number % 7 == 0 else 0
    body = b"" if flags else b"%d:%d:" % (key, number) + bytes([number & 255]) * size
    return blob_of(name(key), body, version=number, now=SYSTEM.time(), flags=flags)


def number_of(key: int, found: bytes | None) -> int:
    """The number of the write that was read; raises for bytes that no write had."""
    if found is None:
        return 0
    header = read_header(found)
    assert header is not None, "no header"
    number = int.from_bytes(header.version[:6], "big")
    assert header.version == version_of(number), "a version nobody wrote"
    if not header.is_tombstone:
        start = b"%d:%d:" % (key, number)
        body = found[-4 - header.body_len : -4]
        assert body.startswith(start), "another write's body"
        assert set(body[len(start) :]) <= {number & 255}, "a torn body"
    return number


async def work(root: str, board: Board, process: int, processes: int, until: float, chance: random.Random) -> None:
    store = LogStore(root, clock=SYSTEM, hybrid=HybridClock(), max_disk=4 * 2**20)
    own = [key for key in range(KEYS) if key % processes == process]

    async def writing(keys: list[int]) -> None:
        while time.monotonic() < until:
            key = chance.choice(keys)
            number = board[attempted(key)] = board[attempted(key)] + 1
            entry = blob(key, number, chance.choice((10, 1000, 5000)))
            write = Write(name(key), entry, pending=number % 5 == 0, durable=number % 50 == 0)
            (result,) = await store.put_many([write])
            if result.status is not PutStatus.STORED:
                say(f"{process} wrote {number} of {key}: {result.status}")
            board[acked(key)] = number
            board[writes(process)] += 1

    async def reading() -> None:
        while time.monotonic() < until:
            keys = chance.sample(range(KEYS), 3)
            known = [board[acked(key)] for key in keys]
            found = await store.get_many([name(key) for key in keys])
            for key, at_least, value in zip(keys, known, found, strict=True):
                number = number_of(key, value)
                if not at_least <= number <= board[attempted(key)]:
                    say(f"{process} read {number} of {key}, {at_least} was acknowledged")
                board[reads(process)] += 1
            await asyncio.sleep(0)

    half = len(own) // 2
    await asyncio.gather(writing(own[:half]), writing(own[half:]), reading(), reading())
    await store.aclose()


def start(root: str, board: Board, process: int, processes: int, until: float, seed: int) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(work(root, board, process, processes, until, random.Random(seed)))
            status = 0
        except BaseException as fault:  # noqa: BLE001 - told, and counted as wrong
            say(f"{process} raised {type(fault).__name__}: {fault}")
        finally:
            os._exit(status)
    return pid


def main(root: str, processes: int, seconds: float, seed: int, kills: int) -> None:
    board = Board(processes)
    chance = random.Random(seed)
    until = time.monotonic() + seconds
    pids = [start(root, board, p, processes, until, seed + p) for p in range(processes)]
    for kill in range(kills):
        time.sleep(seconds / (kills + 1))
        victim = chance.randrange(processes)
        os.kill(pids[victim], signal.SIGKILL)
        os.waitpid(pids[victim], 0)
        pids[victim] = start(root, board, victim, processes, until, seed + 1000 + kill)
    failed = sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in pids)
    done = {"failed": failed, "reads": 0, "writes": 0}
    for process in range(processes):
        done["reads"] += board[reads(process)]
        done["writes"] += board[writes(process)]
    say(json.dumps(done))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
