"""Clearing a namespace, as a model: one version, the *epoch*, against writes, computations, replays and memory.

One key, one Redis that holds the epoch beside it, two hosts with a process, a memory and a disk each. A write takes a
version when it begins and a computed one when the computation begins; a clear takes an epoch, which lies ahead of the
clock. Each reaches Redis, or is owed to it by the host's disk. A read brings the epoch along; what is at or beneath an
epoch that the process knows is gone. Links break, processes are killed, Redis restarts empty or with old data, and the
clock of a host runs ahead.

``born`` says when a value was begun, in steps of the whole world, which no process knows. What must hold:

- A host that has cleared, or has heard of it, answers nothing that was born before the clear began.
- At rest nobody finds such a value in Redis.
- What a process writes after it has heard of the last clear is not taken for cleared.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeAlias

import pytest
from models.explorer import Explored, explore


@dataclass(frozen=True)
class Rules:
    """What the protocol prescribes; in the code: ``Epochs``, ``Entries``, ``HybridClock.epoch``, ``Journal``."""

    ahead: bool = True
    """An epoch lies ahead of the clock: it covers what clocks that are a little ahead have written."""
    above_epoch: bool = True
    """A write takes a version above each epoch that its process knows."""
    version_first: bool = True
    """A computed value has the version of the beginning, not of the end, of its computation."""
    brought_along: bool = True
    """Each read of the layers brings the epoch with it."""
    era: bool = True
    """An epoch that a process hears of empties its memory of what is beneath it."""
    owed_is_known: bool = True
    """An epoch that the host owes Redis counts for all processes of the host."""
    newest_epoch: bool = True
    """Of two epochs the later one stays, in whatever order they come."""
    replay_keeps_version: bool = True
    """What is owed is told with the version it was written with."""
    reassert: bool = True
    """A Redis that has come back as another server is told of the epoch again."""


class Value(NamedTuple):
    """A value of the key, in Redis, in memory or on disk."""

    version: int = 0
    born: int = 0


NOTHING = Value()


class Host(NamedTuple):
    """One process, and its disk.

    The process's are ``minted``, the last version it took, ``epoch``, the last it knows, with ``heard``, when that began,
    ``memory``, and ``computing``, a computation under way. On disk stand ``owed``, a pending value, ``kept``, the host's
    own last epoch, with ``kept_born``, whether Redis is owed that, and which life of Redis was ``told`` of it.
    """

    linked: bool = True
    minted: int = 0
    epoch: int = 0
    heard: int = 0
    memory: Value = NOTHING
    computing: Value = NOTHING
    owed: Value = NOTHING
    kept: int = 0
    kept_born: int = 0
    owes_epoch: bool = False
    told: int = 0


class World(NamedTuple):
    """``redis`` is the value there, ``epoch`` the epoch beside it; ``saved`` both as a restart brings them back.

    ``cleared`` is when the last clear began; ``safe`` when the last set did that Redis took, of a process that had heard
    of all clears.
    """

    hosts: tuple[Host, Host]
    writes: int
    clears: int
    faults: int
    redis: Value = NOTHING
    epoch: int = 0
    epoch_born: int = 0
    saved: tuple[Value, int, int] = (NOTHING, 0, 0)
    life: int = 0
    step: int = 0
    cleared: int = 0
    safe: int = 0


Steps: TypeAlias = Iterator[tuple[str, World]]


class Model:
    """The steps of the protocol under ``rules``. With ``skew`` the second host's clock is one ahead."""

    def __init__(self, rules: Rules, *may: str, skew: bool = False) -> None:
        self.rules = rules
        self.may = frozenset(may)
        self.skew = skew

    def explore(self, writes: int = 2, clears: int = 2, faults: int = 2) -> Explored:
        """All worlds with at most so many of each."""
        return explore(World((Host(), Host()), writes, clears, faults), self.steps, self.wrong)

    def steps(self, world: World) -> Steps:
        """Whatever may happen next."""
        for at, host in enumerate(world.hosts):
            if world.writes:
                yield from self.begin(world, at, host)
            if host.computing != NOTHING:
                yield f"h{at} has computed", self.computed(world, at, host)
            if world.clears:
                yield f"h{at} clears", self.clear(world, at, host)
            if host.linked:
                yield f"h{at} reads", self.read(world, at, host)
                yield from self.replay(world, at, host)
        if world.faults:
            yield from self.faults(world._replace(faults=world.faults - 1))

    def version(self, world: World, at: int, host: Host, *, above: int = 0) -> int:
        """From the host's clock, four versions a step, every second one the host's; above what it has taken before."""
        clock = 4 * (world.step + (at if self.skew else 0))
        return _of(at, max(clock, host.minted + 1, above + 1))

    # -- writes -------------------------------------------------------------------------------------------------------

    def begin(self, world: World, at: int, host: Host) -> Steps:
        """A set, or a computation."""
        world = world._replace(step=world.step + 1, writes=world.writes - 1)
        version = self.version(world, at, host, above=host.epoch if self.rules.above_epoch else 0)
        value, host = Value(version, world.step), host._replace(minted=version)
        yield f"h{at} sets", self.set(world, at, host, value)
        if host.computing == NOTHING:
            yield f"h{at} computes", _with(world, at, host._replace(computing=value))

    def set(self, world: World, at: int, host: Host, value: Value) -> World:
        """Above what Redis holds, if it can be asked."""
        if host.linked:
            value = value._replace(version=_of(at, max(value.version, world.redis.version + 1)))
            if host.heard >= world.cleared:
                world = world._replace(safe=world.step)
        return self.keep(world, at, host, value)

    def computed(self, world: World, at: int, host: Host) -> World:
        """The computation has ended; whatever was written meanwhile is newer."""
        value, host = host.computing, host._replace(computing=NOTHING)
        if not self.rules.version_first:
            value = value._replace(version=self.version(world, at, host, above=host.epoch))
        return _with(world, at, host) if value.version <= host.epoch else self.keep(world, at, host, value)

    def keep(self, world: World, at: int, host: Host, value: Value) -> World:
        """In memory and in Redis, or owed to it."""
        host = host._replace(memory=max(value, host.memory))
        if host.linked:
            return _with(_put(world, value), at, host)
        return _with(world, at, host._replace(owed=max(value, host.owed)))

    def clear(self, world: World, at: int, host: Host) -> World:
        """One epoch: known to the process, in Redis, or owed to it, and on disk."""
        world = world._replace(step=world.step + 1, clears=world.clears - 1)
        world = world._replace(cleared=world.step)
        epoch = self.version(world, at, host) + (4 if self.rules.ahead else 0)
        host = _heed(host._replace(minted=epoch), epoch, world.step, era=True)._replace(
            kept=epoch, kept_born=world.step
        )
        if host.linked:
            return _with(self.put_epoch(world, epoch, world.step), at, host._replace(owes_epoch=False))
        return _with(world, at, host._replace(owes_epoch=True))

    def put_epoch(self, world: World, epoch: int, born: int) -> World:
        """What put.lua does with one."""
        if self.rules.newest_epoch and epoch <= world.epoch:
            return world
        return world._replace(epoch=epoch, epoch_born=born)

    # -- reads --------------------------------------------------------------------------------------------------------

    def learn(self, world: World, host: Host) -> Host:
        """What a read hears of epochs before it looks at the value."""
        if self.rules.owed_is_known and host.owes_epoch:
            host = _heed(host, host.kept, host.kept_born, era=self.rules.era)
        if self.rules.brought_along:
            host = _heed(host, world.epoch, world.epoch_born, era=self.rules.era)
        return host

    def read(self, world: World, at: int, host: Host) -> World:
        """Redis, with the epoch; what lives goes into memory."""
        host = self.learn(world, host)
        found = max(world.redis, host.owed)
        if found.version > max(host.epoch, host.memory.version):
            host = host._replace(memory=found)
        return _with(world, at, host)

    # -- the replay, and what befalls them ----------------------------------------------------------------------------

    def replay(self, world: World, at: int, host: Host) -> Steps:
        """Redis is told what it missed: the epoch, then the value; and a new server the epoch once more."""
        if host.owes_epoch:
            told = self.put_epoch(world, host.kept, host.kept_born)
            yield f"h{at} replays its clear", _with(told, at, host._replace(owes_epoch=False))
        elif host.told != world.life:
            told = self.put_epoch(world, host.kept, host.kept_born) if self.rules.reassert and host.kept else world
            yield f"h{at} asserts its clear anew", _with(told, at, host._replace(told=world.life))
        elif host.owed != NOTHING:
            debt = host.owed
            if not self.rules.replay_keeps_version:
                debt = debt._replace(version=self.version(world, at, host, above=max(world.redis.version, world.epoch)))
            yield f"h{at} replays its value", _with(_put(world, debt), at, host._replace(owed=NOTHING))

    def faults(self, world: World) -> Steps:
        """Anything that may go wrong, once more."""
        for at, host in enumerate(world.hosts):
            if "partitions" in self.may:
                said = "loses Redis" if host.linked else "has Redis again"
                yield f"h{at} {said}", _with(world, at, host._replace(linked=not host.linked))
            if "kills" in self.may:
                fresh = Host(host.linked)._replace(
                    owed=host.owed, kept=host.kept, kept_born=host.kept_born, owes_epoch=host.owes_epoch, told=host.told
                )
                if fresh != host:
                    yield f"h{at} is killed", _with(world, at, fresh)
        if "restarts" in self.may:
            if world.saved != (now := (world.redis, world.epoch, world.epoch_born)):
                yield "Redis saves", world._replace(saved=now)
            for said, (value, epoch, born) in (("empty", (NOTHING, 0, 0)), ("with old data", world.saved)):
                restarted = world._replace(redis=value, epoch=epoch, epoch_born=born, life=world.life + 1, safe=0)
                yield f"Redis restarts {said}", restarted

    # -- what must hold -----------------------------------------------------------------------------------------------

    def wrong(self, world: World) -> str:
        """What does not."""
        for at, host in enumerate(world.hosts):
            gone = max(host.heard, host.kept_born if host.owes_epoch else 0)
            if host.memory != NOTHING and host.memory.born < gone:
                return f"h{at} holds a value born at {host.memory.born}, and knows of the clear at {gone}"
        resting = all(
            host.linked and host.computing == host.owed == NOTHING and not host.owes_epoch and host.told == world.life
            for host in world.hosts
        )
        if not resting:
            return ""
        known = world.epoch if self.rules.brought_along else 0
        found = world.redis if world.redis.version > known else NOTHING
        if found != NOTHING and found.born < world.cleared:
            return f"a value born at {found.born} outlives the clear at {world.cleared}"
        taken = found == NOTHING and world.redis.born >= world.safe > world.cleared
        return f"the set at {world.safe} is taken for cleared" if taken else ""


def _with(world: World, at: int, host: Host) -> World:
    first, second = world.hosts
    return world._replace(hosts=(host, second) if at == 0 else (first, host))


def _put(world: World, value: Value) -> World:
    return world._replace(redis=value) if value.version > world.redis.version else world


def _heed(host: Host, epoch: int, born: int, *, era: bool) -> Host:
    """The process hears of an epoch."""
    if epoch <= host.epoch:
        return host
    gone = era and host.memory.version <= epoch
    return host._replace(epoch=epoch, heard=max(born, host.heard), memory=NOTHING if gone else host.memory)


def _of(at: int, version: int) -> int:
    """The host's first version from this one on."""
    return version + (version + at) % 2


@pytest.mark.parametrize(
    ("may", "skew", "clears"),
    [(("partitions", "kills"), False, 2), (("partitions", "restarts"), False, 1), (("kills", "restarts"), True, 1)],
    ids=lambda value: ", ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_was_cleared_stays_cleared(may: tuple[str, ...], skew: bool, clears: int) -> None:
    """SPEC 5.3, G2, G3: beside writes, computations and replays, a clear takes what is older, and no more."""
    explored = Model(Rules(), *may, skew=skew).explore(clears=clears)
    assert not explored.wrong, str(explored)
    assert explored.states > 10_000, str(explored)


NEEDED = {
    "ahead": ("a clock that is ahead",),
    "above_epoch": (),
    "version_first": (),
    "brought_along": (),
    "era": (),
    "owed_is_known": ("partitions", "kills"),
    "newest_epoch": ("partitions",),
    "replay_keeps_version": ("partitions",),
    "reassert": ("restarts",),
}
"""What it takes to miss a rule."""


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_each_rule_is_needed(rule: str) -> None:
    """Without any one of the rules something comes back, or a new value is taken for cleared: the check can fail."""
    may = NEEDED[rule]
    skew = "a clock that is ahead" in may
    explored = Model(replace(Rules(), **{rule: False}), *may, skew=skew).explore(writes=2, clears=2, faults=3)
    assert explored.wrong, f"nothing goes wrong without {rule}: {explored}"
