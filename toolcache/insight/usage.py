"""Usage: what takes room, what is asked for most, what has become old."""

from collections.abc import Callable, Mapping
from heapq import nlargest
from typing import Final, Literal

from toolcache.blob import NEVER
from toolcache.catalogue import KeyInfo
from toolcache.domains import GENERAL
from toolcache.entry import Held
from toolcache.fields import Frozen
from toolcache.insight.analysis import Low, LowValue
from toolcache.keys.globs import Glob, written
from toolcache.machine import Machine
from toolcache.scanner import Scanned
from toolcache.spelling import nearest
from toolcache.tags import agent_label, domain_of
from toolcache.tallies import Tally

By = Literal["hits", "bytes", "dollars"]

MOST: Final = 10_000
"""Entries in one answer at most."""
_UNUSED: Final = 300.0
"""Seconds that an entry has lain unused, before it is of low value."""


class EntryInfo(KeyInfo):
    """What is known of an entry without its value; see ``KeyInfo`` for the rest.

    Attributes:
        age: seconds since its value was made.
        dollars: US dollars that its hits in this process's memory have saved.
        seconds: what computing it took; each hit saves so much.
    """

    age: float
    dollars: float
    seconds: float


class Part(Frozen):
    """What a domain takes of memory: so many entries, in bytes with all that belongs to them."""

    entries: int
    bytes: int


class MemoryUsage(Frozen):
    """What this process's memory holds.

    Attributes:
        used: bytes that are taken; ``available`` are left of ``max_bytes``.
        entries: how many there are, of ``max_entries`` at most; None for no such bound.
        domains: what each domain takes, the greatest first.
        largest_entries: the largest first.
    """

    used: int
    available: int
    max_bytes: int
    entries: int
    max_entries: int | None
    domains: Mapping[str, Part]
    largest_entries: tuple[EntryInfo, ...]

    def __hash__(self) -> int:
        return hash((self.used, self.entries, self.largest_entries))


async def memory_usage(machine: Machine, largest: int) -> MemoryUsage:
    """What memory holds."""
    memory = machine.parts.memory
    domains: dict[str, Part] = {}
    for tally in machine.tallies.all():
        mine, name = memory.share(tally), tally.series.domain
        before = domains.get(name, Part(0, 0))
        domains[name] = Part(before.entries + mine.entries, before.bytes + mine.bytes)
    return MemoryUsage(
        used=memory.bytes,
        available=max(0, memory.max_bytes - memory.bytes),
        max_bytes=memory.max_bytes,
        entries=len(memory),
        max_entries=memory.max_entries,
        domains={name: one for name, one in sorted(domains.items(), key=lambda pair: -pair[1].bytes) if one.entries},
        largest_entries=await top(machine, largest, "bytes"),
    )


async def top(machine: Machine, number: int, by: By) -> tuple[EntryInfo, ...]:
    """The first of this process's memory, by a measure."""
    measure = _MEASURES.get(by)
    if measure is None:
        raise ValueError(f"by is one of {', '.join(_MEASURES)}, not {by!r}{nearest(str(by), _MEASURES)}")
    best: list[tuple[float, int, Held]] = []
    order, number = 0, checked(number, "number")
    async for some in machine.scanner.memory():
        rows = []
        for held in some:
            order -= 1  # of equal ones the first that was found
            if (worth := measure(held)) > 0:
                rows.append((worth, order, held))
        best = nlargest(number, best + rows, key=lambda row: row[:2])
    return tuple(info(machine, held) for _, _, held in best)


async def find_stale(
    machine: Machine, max_age: float, *, domain: str | None, agent: str | None, limit: int, layers: bool
) -> tuple[EntryInfo, ...]:
    """Entries whose values were made longer ago than that, the oldest first."""
    limit = checked(limit, "limit")
    latest_ms = (machine.parts.clock.time() - max_age) * 1000
    label = None if agent is None else agent_label(agent)
    found: list[EntryInfo] = []

    def is_meant(made_ms: int, tags: tuple[str, ...]) -> bool:
        known = domain is None or domain == (domain_of(tags) or GENERAL.name)
        return made_ms < latest_ms and known and (label is None or label in tags)

    if not layers:
        async for some in machine.scanner.memory():
            old = [info(machine, held) for held in some if is_meant(held.created_ms, held.tags)]
            found = nlargest(limit, found + old, key=_age)
        return tuple(found)
    machine.enter(())
    async for one in machine.upkeep.catalogue.find(Glob("*")):
        made_ms = one.created_ms if isinstance(one, Held) else one.header.created_ms
        if is_meant(made_ms, one.tags):
            found.append(info(machine, one))
            if len(found) >= 2 * limit:
                found = nlargest(limit, found, key=_age)
    return tuple(nlargest(limit, found, key=_age))


async def low_value(machine: Machine, number: int = 10) -> Low:
    """Entries of this process's memory that nobody has asked for in five minutes or half of their lives."""
    now_ms = machine.parts.clock.time() * 1000
    count = size = 0
    best: list[tuple[int, int, Held]] = []
    async for some in machine.scanner.memory():
        unused = [held for held in some if not held.hits and now_ms - held.created_ms >= _patience_ms(held)]
        count += len(unused)
        size += sum(held.size for held in unused)
        best = nlargest(number, [*best, *((held.size, -id(held), held) for held in unused)], key=lambda row: row[:2])
    rows = [
        LowValue(written(held.key), domain_of(held.tags) or "general", held.size, (now_ms - held.created_ms) / 1000)
        for _, _, held in best
    ]
    return Low(tuple(rows), count, size)


def _patience_ms(held: Held) -> float:
    return _UNUSED * 1000 if held.span_ms >= NEVER else min(_UNUSED * 1000, held.span_ms / 2)


def info(machine: Machine, one: Held | Scanned) -> EntryInfo:
    """What is known of an entry."""
    known = machine.upkeep.catalogue.info(one)
    age = max(0.0, machine.parts.clock.time() - known.created_at)
    if isinstance(one, Held):
        return EntryInfo(**vars(known), age=age, dollars=_dollars(one), seconds=one.seconds)
    return EntryInfo(**vars(known), age=age, dollars=0.0, seconds=one.header.cost_ms / 1000)


def _age(one: EntryInfo) -> float:
    return one.age


def _dollars(held: Held) -> float:
    tally = held.tally
    if not isinstance(tally, Tally):
        return 0.0
    return held.hits * (tally.cost_usd or (tally.spent_usd / tally.told if tally.told else 0.0))


def checked(number: int, name: str) -> int:
    """How many are wanted.

    Raises:
        ValueError: that is no number of entries.
    """
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST:
        raise ValueError(f"{name} is a whole number from 1 to {MOST:,}, not {number!r}")
    return number


_MEASURES: Final[Mapping[str, Callable[[Held], float]]] = {
    "hits": lambda held: held.hits,
    "bytes": lambda held: held.size,
    "dollars": _dollars,
}
