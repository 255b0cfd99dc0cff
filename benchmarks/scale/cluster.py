"""A cluster on paper: what was measured, carried on to nodes and processes that no machine at hand could hold.

    python -m benchmarks.scale.cluster docs/explanation/scale.json

What is assumed of it, ``ASSUMPTIONS`` says. The formula gives limits, a simulation of single calls says whether it is right:
in both, what a thing costs is what it was measured to cost here.
"""

import random
import sys
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Self

from benchmarks.main import read as read_run
from benchmarks.scale.measure import Sweep

ASSUMPTIONS: Final = (
    ("Every process reads and writes any of the keys, by Zipf's law, at random moments; the memory of each holds those that "
    "are wanted most, but for what it was just told to forget."),
    ("Keys spread evenly over the nodes. A node does one thing after another and has one processor for that; what a read, a "
    "write or a message costs it is what it cost the server here."),
    ("All processes use one namespace, so each is told of every write, each time by a message of its own. Servers that are "
    "busy tell of several writes at once, which is cheaper: the limits by messages are on the safe side."),
    "A process has a processor of its own, of the speed of this one. Messages on the network take 0.25 ms and are not lost.",
    ("A node may be busy for 70 % of the time, a process may spend 20 % of its own on messages, a node may send 5 Gbit/s and "
    "serve 10,000 connections (the default of Redis). Beyond that waits, or costs, get out of hand."),
)  # fmt: skip

_KEYS: Final = 100_000
_LATENCY: Final = 0.000_25
_NODE: Final = 0.7
_PROCESS: Final = 0.2
_SENT: Final = 5e9 / 8
_CONNECTIONS: Final = 10_000
_MOST: Final = 100_000


@dataclass(frozen=True)
class Calibration:
    """What was measured: seconds of a processor, bytes, connections.

    Attributes:
        hit: of a process, for a read that its memory answers.
        miss: of a process, for one that a server answers.
        write: of a process, for a write.
        told: of a process, for a message that a key was changed.
        read_server: of a server, for a read.
        write_server: of a server, for a write that it tells nobody of.
        tell_server: of a server, for each message.
        read_bytes: that a server sends for a read.
        tell_bytes: that a server sends for each message.
        connections: of one process to one node.
        connection_bytes: of memory of a node, for the connections of one process.
        key_bytes: of memory of a node, for a small value.
    """

    hit: float
    miss: float
    write: float
    told: float
    read_server: float
    write_server: float
    tell_server: float
    read_bytes: float
    tell_bytes: float
    connections: float
    connection_bytes: float
    key_bytes: float

    @classmethod
    def of(cls, sweeps: Sequence[Sweep]) -> Self:
        """Out of the sweeps; lines are laid through what depends on the number of processes."""
        by_name = {sweep.name: sweep for sweep in sweeps}
        memory, redis, sizes, heard, busy = map(
            by_name.__getitem__, ("memory", "redis", "sizes", "listeners", "processes")
        )
        processes = [row[0] for row in heard.rows]
        write_server, tell_server = line(processes, heard.column("write, µs of the server"))
        _, tell_bytes = line(processes, heard.column("bytes sent"))
        _, connections = line([row[0] for row in busy.rows], busy.column("connections"))
        told = [figure for figure in heard.column("told, µs of each other") if figure]
        return cls(
            hit=memory.column("get, µs")[-1] / 1e6,
            miss=redis.column("get, µs")[-1] / 1e6,
            write=sizes.column("set, µs")[0] / 1e6,
            told=sum(told) / len(told) / 1e6,
            read_server=redis.column("get, µs of the server")[-1] / 1e6,
            write_server=write_server / 1e6,
            tell_server=tell_server / 1e6,
            read_bytes=redis.column("bytes sent")[-1],
            tell_bytes=tell_bytes,
            connections=connections,
            connection_bytes=heard.column("KB of the server for each")[-1] * 1024,
            key_bytes=redis.column("bytes per key")[-1],
        )


@dataclass(frozen=True)
class Load:
    """What is asked of a cluster.

    Attributes:
        name: for people.
        nodes: primaries.
        reads: of each process, in a second.
        writes: of each process, in a second.
        held: share of the reads that ask for the keys that fit into a memory.
        namespaces: over which processes and keys are spread evenly.
        told: whether processes are told of changes; else they ask anew after 5 s.
    """

    name: str
    nodes: int = 6
    reads: float = 500.0
    writes: float = 1.0
    held: float = 0.8
    namespaces: int = 1
    told: bool = True


LOADS: Final = (
    Load("mostly reads"),
    Load("mostly reads, twice the nodes", nodes=12),
    Load("many writes", reads=200.0, writes=20.0),
    Load("many writes, twice the nodes", nodes=12, reads=200.0, writes=20.0),
    Load("many writes, 8 namespaces", reads=200.0, writes=20.0, namespaces=8),
    Load("many writes, `coherence=False`", reads=200.0, writes=20.0, told=False),
)

_UNTOLD: Final = 5.0
"""Seconds for which memory trusts itself where it is not told of changes."""


@dataclass(frozen=True)
class Outlook:
    """What a load comes to with so many processes: shares of a processor, bytes and messages in a second."""

    hits: float
    node: float
    process: float
    messages: float
    sent: float
    connections: float


def outlook(load: Load, processes: float, cost: Calibration) -> Outlook:
    """By the formula."""
    peers = max(1.0, processes / load.namespaces)
    hits = load.held * _present(load, peers)
    listeners = peers if load.told else 0.0
    reads, writes = processes * load.reads * (1 - hits), processes * load.writes
    messages = listeners * load.writes
    return Outlook(
        hits=hits,
        node=(reads * cost.read_server + writes * (cost.write_server + listeners * cost.tell_server)) / load.nodes,
        process=messages * cost.told,
        messages=messages,
        sent=(reads * cost.read_bytes + writes * listeners * cost.tell_bytes) / load.nodes,
        connections=processes * cost.connections,
    )


def _present(load: Load, peers: float) -> float:
    """How likely a key that a memory has room for is in it."""
    if load.told:  # it comes with a read of its own, and goes with a write of anybody
        return load.reads / (load.reads + peers * load.writes)
    return _trusted(load.reads, load.held) / load.held


@cache
def _trusted(reads: float, held: float) -> float:
    """The share of reads that memory answers where it asks anew for what it has had for a few seconds."""
    weights = [1 / rank for rank in range(1, _KEYS + 1)]
    whole, answered = sum(weights), 0.0
    for weight in weights:
        if held <= 0:
            break
        wanted = reads * weight / whole * _UNTOLD
        answered += weight / whole * wanted / (1 + wanted)
        held -= weight / whole
    return answered


LIMITS: Final[dict[str, Callable[[Outlook, Load], bool]]] = {
    "half of what memory holds is gone when it is wanted": lambda it, load: it.hits < load.held / 2,
    "a node is busy for 70 %": lambda it, _: it.node > _NODE,
    "messages take 20 % of a process": lambda it, _: it.process > _PROCESS,
    "a node sends 5 Gbit/s": lambda it, _: it.sent > _SENT,
    "a node has 10,000 connections": lambda it, _: it.connections > _CONNECTIONS,
}


def limit(load: Load, cost: Calibration, broken: Callable[[Outlook, Load], bool]) -> int | None:
    """The most processes of which that is not yet true; None where it is true of no number up to a hundred thousand."""
    found = bisect(range(1, _MOST + 1), False, key=lambda processes: broken(outlook(load, processes, cost), load))
    return None if found == _MOST else found


def simulate(load: Load, processes: int, cost: Calibration, *, seconds: float, seed: int = 1) -> dict[str, float]:
    """A stretch of time, call by call; only where processes are told of changes, and all of them of each.

    Memories begin with what the formula says they hold in the long run: rare keys would take hours to come and go. What is
    seen is whether they stay so, what waits there are at nodes, and how old what a memory holds can be.
    """
    chance = random.Random(seed)
    weights = list(accumulate(1 / rank for rank in range(1, _KEYS + 1)))
    room = bisect(weights, load.held * weights[-1])
    present = _present(load, processes)
    memories = [{key for key in range(room) if chance.random() < present} for _ in range(processes)]
    begun = -seconds / 2  # the first part is not counted: queues are not yet as they will be
    free_at, busy, sent = [begun] * load.nodes, [0.0] * load.nodes, [0.0] * load.nodes
    waits, ages = [], []
    hits = reads = messages = 0
    rate = processes * (load.reads + load.writes)
    now = begun
    while (now := now + chance.expovariate(rate)) < seconds:
        counted = now >= 0
        process, key = chance.randrange(processes), bisect(weights, chance.random() * weights[-1])
        node = key % load.nodes
        writes = chance.random() * (load.reads + load.writes) < load.writes
        if not writes:
            reads += counted
            if key in memories[process]:
                hits += counted
                continue
        arrives = now + _LATENCY
        begins = max(arrives, free_at[node])
        takes = cost.write_server + processes * cost.tell_server if writes else cost.read_server
        free_at[node] = begins + takes
        if counted:
            waits.append(begins - arrives)
            busy[node] += takes
            sent[node] += processes * cost.tell_bytes if writes else cost.read_bytes
        if writes:
            for memory in memories:
                memory.discard(key)
            messages += counted
            ages.append(free_at[node] - begins + _LATENCY)
        elif key < room:
            memories[process].add(key)
    waits.sort()
    return {
        "hits": hits / max(1, reads),
        "node": max(busy) / seconds,
        "process": messages / seconds * cost.told,
        "messages": messages / seconds,
        "sent": max(sent) / seconds,
        "wait": waits[int(len(waits) * 0.99)] if waits else 0.0,
        "age": max(ages, default=0.0),
    }


def project(cost: Calibration, *, quick: bool) -> dict[str, Any]:
    """The limits of each load, and the formula beside the simulation."""
    limits = [
        {"load": asdict(load), "limits": {name: limit(load, cost, broken) for name, broken in LIMITS.items()}}
        for load in LOADS
    ]
    checks = []
    for load in LOADS[:3:2]:
        for processes in (4, 8) if quick else (8, 32, 64, 128, 256):
            told = asdict(outlook(load, processes, cost))
            seen = simulate(load, processes, cost, seconds=0.1 if quick else 2.0)
            checks.append({"load": load.name, "processes": processes, "formula": told, "simulation": _short(seen)})
    return {"limits": limits, "checks": checks}


def _short(figures: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{figure:.4g}") for name, figure in figures.items()}


def line(across: Sequence[float], up: Sequence[float]) -> tuple[float, float]:
    """Where a straight line through points begins, and how steep it is: least squares, none of it below nought."""
    middle, height = sum(across) / len(across), sum(up) / len(up)
    spread = sum((x - middle) ** 2 for x in across)
    slope = sum((x - middle) * (y - height) for x, y in zip(across, up, strict=True)) / spread if spread else 0.0
    slope = max(0.0, slope)
    return max(0.0, height - slope * middle), slope


def main() -> None:
    """Print what the run in a file comes to, for other loads than those of the page, too."""
    from benchmarks.scale.page import outlook_table

    cost = Calibration(**read_run(Path(sys.argv[1]))["calibration"])
    nodes = int(sys.argv[2]) if len(sys.argv) > 2 else LOADS[0].nodes
    print("\n".join(outlook_table([replace(load, nodes=nodes) for load in LOADS], cost)))


if __name__ == "__main__":
    main()
