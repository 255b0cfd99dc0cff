"""What stands where, of one request that is to run once: the records, the processes, and the rules they follow.

A version counts the forgets that have begun, and is all that a fence or a tombstone has to tell: a fence is older than
a tombstone if it is smaller. A tombstone is what is left of a record: nothing but its ``floor``.
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

T = TypeVar("T")

LIMIT = -1
"""The result that tells that there will be no more attempts."""

LEAVES = {"backs": "", "abandons": "", "ends": "", "answers": "", "fails": "F"}
"""What each way to give a claim up leaves in its place."""


@dataclass(frozen=True)
class Rules:
    """What the protocol prescribes."""

    file_first: bool = True
    """A claim is made on the host's file before it is made on Redis; not only where Redis is unusable."""
    through_file: bool = True
    """What is found in Redis becomes the answer in the host's file first."""
    write_once: bool = True
    """A commit leaves the completed record that it finds, and answers with it."""
    owned: bool = True
    """Only its owner fails or abandons a claim."""
    redis_first: bool = True
    """A commit reaches Redis before the file."""
    reassert: bool = True
    """A heartbeat puts a claim back into a Redis that has lost it."""
    replay: bool = True
    """The host tells Redis of the answers and tombstones that it lacks."""
    fenced: bool = True
    """What was claimed before a forget is not stored after it."""
    floor: bool = True
    """The claim that takes a tombstone's place keeps the version of it."""
    heirs: bool = True
    """So does whatever takes the place of that claim: an answer, a failure, or nothing."""
    above: bool = True
    """Who claims over a tombstone takes a fence that is newer, also where the file was claimed before the forget."""
    pass_on: bool = True
    """Who takes a file over from a dead holder takes Redis over from that one too."""
    lineage: bool = True
    """And from all the dead before that one, whom Redis may still name."""
    limited: bool = True
    """After so many attempts that died, the next one answers that there will be no more."""
    limit_asks: bool = True
    """That answer is committed like any other: Redis first."""
    limit_stays: bool = True
    """And it is left like any other, by an attempt that was not dead after all."""


class Record(NamedTuple):
    """What stands in a file or in Redis: nothing, "I" in progress, "C" completed, or "F" failed a moment ago.

    ``fence`` is the version at which it was claimed, ``floor`` that of the newest forget it has heard of.
    """

    kind: str = ""
    owner: int = 0
    attempts: int = 0
    fence: int = 0
    floor: int = 0
    result: int = 0
    lapsed: bool = False
    passed: tuple[int, ...] = ()


class Process(NamedTuple):
    """One process, what it does next, and the claim that it does it with.

    ``made`` is the fence of the ``result`` in its hands, ``passed`` the dead holders it took over from, and ``born``
    the newest forget that its host had acknowledged when its call began.
    """

    phase: str = "asks"
    owner: int = 0
    attempts: int = 0
    fence: int = 0
    floor: int = 0
    result: int = 0
    made: int = 0
    passed: tuple[int, ...] = ()
    born: int = 0


class World(NamedTuple):
    """All there is.

    ``late`` is a swap still on the wire, what it expects and what it puts. ``told`` is the newest forget that Redis has
    been told of and has not lost since. ``answers`` are the last answer of each host, and its fence; ``acknowledged`` the newest forget of each.
    """

    processes: tuple[Process, ...]
    files: tuple[Record, ...]
    linked: tuple[bool, ...]
    answers: tuple[tuple[int, int], ...]
    acknowledged: tuple[int, ...]
    faults: int
    slips: int
    redis: Record = Record()
    late: tuple[Record, Record] | None = None
    told: int = 0
    forgets: int = 0
    runs: int = 0
    wrong: str = ""


def put(those: tuple[T, ...], at: int, this: T) -> tuple[T, ...]:
    """The others, and this one in its place."""
    return (*those[:at], this, *those[at + 1 :])


def owners(world: World) -> set[int]:
    """Who lives."""
    return {process.owner for process in world.processes}


def in_progress(process: Process) -> Record:
    """The record of its claim."""
    return Record("I", process.owner, process.attempts, process.fence, process.floor, passed=process.passed)


def answer_of(record: Record) -> tuple[int, int]:
    """What a completed record says, and its fence."""
    return record.result, record.fence


def forget(record: Record, version: int) -> Record:
    """A tombstone takes the place of what is older, and leaves its version with what is not."""
    floor = max(record.floor, version)
    return record._replace(floor=floor) if record.kind and record.fence >= version else Record(floor=floor)


def tell(world: World, version: int) -> World:
    """Redis hears of a forget."""
    return world._replace(redis=forget(world.redis, version), told=max(world.told, version))
