"""The order of writes, as a model: versions, tombstones, the journal and its replay, in every interleaving.

One key, one Redis, two hosts with a process and a disk each. A write is begun (it takes its version), reaches Redis or
does not, is answered or is not, and goes to the host's disk as *pending* where Redis did not take it, or nobody knows;
then it is acknowledged. A replay reads a pending record, tells Redis of it, and marks it; in between anything may
happen. What befalls them: a host loses its link to Redis, or Redis itself is away; a reply is lost; a command arrives
when its sender has long given it up; Redis is restarted, empty or with old data, or flushed; a process is killed; a value
reaches its end of life; the clock of a host lags.

What must hold, whatever happens:

- A host never reads what is older than a write that it has acknowledged.
- A write that began after another was acknowledged is the newer of the two.
- At rest (all are up, nothing is under way or owed) Redis holds the newest write that was acknowledged. A delete stays
  one, even when Redis has lost it. A value that Redis alone had, and lost, may be missing.

Each rule of the protocol is switched off in turn, and the search must find what it was there for: otherwise either the
rule is needless, or this check is blind.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, TypeAlias

import pytest
from models.explorer import Explored, explore


@dataclass(frozen=True)
class Rules:
    """What the protocol prescribes; in the code: put.lua, ``Writer``, ``Reader._owed``, ``Journal``, ``LogStore``."""

    newer_only: bool = True
    """A store applies a write only above the version that it holds."""
    tombstones: bool = True
    """A delete is the write of a tombstone, in Redis too."""
    bump: bool = True
    """A live write that meets a newer version takes one above that, and tries again."""
    replay_keeps_version: bool = True
    """A replay tells the version with which the write was acknowledged, and yields to a newer one."""
    overlay: bool = True
    """What a host owes Redis answers its reads, until Redis holds something newer."""
    settle: bool = True
    """What Redis takes overtakes what the host owed it for the key."""
    settle_by_version: bool = True
    """A replay marks as paid what it has told, and nothing that was written meanwhile."""
    journal_on_disk: bool = True
    """What is owed outlives the process."""
    ended_as_tombstone: bool = True
    """A pending value whose life has ended is told as a tombstone, not dropped."""
    reassert: bool = True
    """A Redis that has come back as another server is told of all deletes again."""
    flush_seen: bool = True
    """So is one that was flushed."""


class Entry(NamedTuple):
    """A value or a tombstone. ``number`` says which write it is, ``version`` how it is ordered: equal, if all is well."""

    version: int
    number: int
    live: bool


NOTHING = Entry(0, 0, live=False)


class Host(NamedTuple):
    """One process, and its disk.

    ``flying`` is its write under way, which began when ``floor`` was the newest acknowledged; ``unsure`` once Redis did
    not answer. ``record`` is the newest on disk. ``paying`` is what a replay is about to tell. ``told`` is the life of
    Redis that has been told of the deletes. ``minted`` and ``acknowledged`` are versions.
    """

    linked: bool = True
    flying: Entry = NOTHING
    floor: int = 0
    unsure: bool = False
    record: Entry = NOTHING
    pending: bool = False
    paying: Entry = NOTHING
    told: int = 0
    minted: int = 0
    acknowledged: int = 0


class World(NamedTuple):
    """All there is. ``late`` is a command still on the wire, ``saved`` what a restart brings back.

    ``lost``: Redis has lost what it held up to this version; ``ended``: the value whose life has ended.
    """

    hosts: tuple[Host, Host]
    writes: int
    faults: int
    redis: Entry = NOTHING
    saved: Entry = NOTHING
    life: int = 0
    late: Entry = NOTHING
    newest: Entry = NOTHING
    clock: int = 0
    lost: int = 0
    ended: int = 0
    wrong: str = ""


Steps: TypeAlias = Iterator[tuple[str, World]]


class Model:
    """The steps of the protocol under ``rules``, where only faults of the kinds ``may`` happen.

    ``lag`` is how many ticks the second host's clock is behind. Unless it is ``forgiving``, a host may not even read
    what it has deleted until Redis, which has lost the delete, is told again.
    """

    def __init__(self, rules: Rules, *may: str, lag: int = 0, forgiving: bool = True) -> None:
        self.rules = rules
        self.forgiving = forgiving
        self.may = frozenset(may)
        self.lag = lag

    def explore(self, writes: int = 3, faults: int = 3) -> Explored:
        """All worlds with at most so many of each."""
        return explore(World((Host(), Host()), writes, faults), self.steps, self.wrong)

    def steps(self, world: World) -> Steps:
        """Whatever may happen next."""
        if world.late != NOTHING:
            yield f"v{world.late.version} arrives late", self.put(world, world.late)[0]._replace(late=NOTHING)
        if world.faults:
            yield from self.faults(world)
        for at, host in enumerate(world.hosts):
            yield from self.write(world, at, host)
            yield from self.replay(world, at, host)

    # -- a write ----------------------------------------------------------------------------------------------------

    def write(self, world: World, at: int, host: Host) -> Steps:
        """It is begun; it reaches Redis, or the disk."""
        if host.flying == NOTHING:
            if world.writes:
                for live in (True, False):
                    yield self.begin(world, at, host, live=live)
        elif host.unsure or not host.linked:
            yield f"h{at} journals v{host.flying.version}", self.journal(world, at, host)
        else:
            yield f"Redis answers h{at} on v{host.flying.version}", self.offer(world, at, host)
            if world.faults:
                left = world._replace(faults=world.faults - 1)
                unsure = host._replace(unsure=True)
                if "lost replies" in self.may:
                    applied, _ = self.put(left, host.flying)
                    yield f"the reply to h{at} is lost", _with(applied, at, unsure)
                if "late commands" in self.may and world.late == NOTHING:
                    yield f"h{at} gives v{host.flying.version} up", _with(left._replace(late=host.flying), at, unsure)

    def begin(self, world: World, at: int, host: Host, *, live: bool) -> tuple[str, World]:
        """The version is taken from the host's clock, above all that it has taken before."""
        clock = world.clock + 1
        version = max((clock - self.lag * at) * 2 + at, host.minted + 2)
        begun = host._replace(flying=Entry(version, version, live), floor=world.newest.number, minted=version)
        world = world._replace(clock=clock, writes=world.writes - 1)
        return f"h{at} {'sets' if live else 'deletes'} v{version}", _with(world, at, begun)

    def offer(self, world: World, at: int, host: Host) -> World:
        """Redis takes it, or holds a newer one."""
        write = host.flying
        world, taken = self.put(world, write)
        if not taken and self.rules.bump:
            above = _after(world.redis.version, at)
            again = Entry(above, above, write.live)
            return _with(world, at, host._replace(flying=again, minted=max(above, host.minted)))
        if not write.live and write.version > host.record.version:
            host = host._replace(record=write, pending=False)
        elif self.rules.settle and write.version >= host.record.version:
            host = host._replace(pending=False)
        return self.acknowledge(world, at, host)

    def journal(self, world: World, at: int, host: Host) -> World:
        """The disk takes it, and Redis is owed it."""
        return self.acknowledge(world, at, host._replace(record=host.flying, pending=True))

    def acknowledge(self, world: World, at: int, host: Host) -> World:
        """The caller is told that it is safe."""
        write = host.flying
        if world.lost < host.floor and write.number < host.floor:
            world = world._replace(wrong="a write lost against one that was acknowledged before it began")
        if write.number > world.newest.number:
            world = world._replace(newest=write)
        done = host._replace(flying=NOTHING, floor=0, unsure=False, acknowledged=max(write.number, host.acknowledged))
        return _with(world, at, done)

    def put(self, world: World, write: Entry) -> tuple[World, bool]:
        """What put.lua does; False where something newer was there."""
        if self.rules.newer_only and write.version <= world.redis.version:
            return world, write.version == world.redis.version
        held = write if (write.live or self.rules.tombstones) and world.ended != write.number else _gone(write)
        return world._replace(redis=held if self.rules.tombstones or held.live else NOTHING), True

    # -- the replay -------------------------------------------------------------------------------------------------

    def replay(self, world: World, at: int, host: Host) -> Steps:
        """Redis is told what it missed; and, if it is another one than before, of the deletes again."""
        if host.linked and host.told != world.life:
            told = world
            if self.rules.reassert and host.record != NOTHING and not host.record.live:
                told, _ = self.put(world, host.record)
            yield f"h{at} asserts its deletes anew", _with(told, at, host._replace(told=world.life))
        if host.pending and host.paying == NOTHING:
            yield f"h{at} begins to replay v{host.record.version}", _with(world, at, host._replace(paying=host.record))
        if host.linked and host.paying != NOTHING:
            yield f"h{at} replays v{host.paying.version}", self.pay(world, at, host)

    def pay(self, world: World, at: int, host: Host) -> World:
        """Offer it, and mark it: taken or not, Redis holds nothing older now."""
        debt = host.paying
        if not self.rules.replay_keeps_version and debt.version < world.redis.version:
            debt = debt._replace(version=_after(world.redis.version, at))
        if world.ended != debt.number:
            world, _ = self.put(world, debt)
        elif self.rules.ended_as_tombstone:
            world, _ = self.put(world, _gone(debt))
        paid = not self.rules.settle_by_version or host.record.version <= host.paying.version
        return _with(world, at, host._replace(paying=NOTHING, pending=host.pending and not paid))

    # -- what befalls them --------------------------------------------------------------------------------------------

    def faults(self, world: World) -> Steps:
        """Anything that may go wrong, once more."""
        world = world._replace(faults=world.faults - 1)
        for at, host in enumerate(world.hosts):
            if "partitions" in self.may:
                said = "loses Redis" if host.linked else "has Redis again"
                yield f"h{at} {said}", _with(world, at, host._replace(linked=not host.linked))
            if "kills" in self.may and (killed := self.killed(host)) != host:
                yield f"h{at} is killed", _with(world, at, killed)
        if "restarts" in self.may:
            if world.saved != world.redis:
                yield "Redis saves", world._replace(saved=world.redis)
            yield "Redis restarts empty", _lose(world, NOTHING, another=True)
            yield "Redis restarts with old data", _lose(world, world.saved, another=True)
        if "flushes" in self.may:
            yield "Redis is flushed", _lose(world, NOTHING, another=self.rules.flush_seen)
        if "evictions" in self.may and world.redis != NOTHING and not world.redis.live:
            yield "a tombstone is evicted", world._replace(redis=NOTHING)
        if "ends of life" in self.may and not world.ended:
            yield from self.ends(world)

    def killed(self, host: Host) -> Host:
        """What is left of it: the disk."""
        left = host._replace(flying=NOTHING, floor=0, unsure=False, paying=NOTHING)
        if host.pending and not self.rules.journal_on_disk:
            return left._replace(record=NOTHING, pending=False)
        return left

    def ends(self, world: World) -> Steps:
        """A value reaches its end: Redis forgets it, all of it."""
        there = {world.redis, *(host.record for host in world.hosts if host.pending)}
        for entry in sorted(there):
            if entry.live:
                ended = world._replace(ended=entry.number)
                if world.redis == entry:
                    ended = _lose(ended, NOTHING, another=False)
                yield f"v{entry.number} ends", ended

    # -- what must hold -----------------------------------------------------------------------------------------------

    def wrong(self, world: World) -> str:
        """What does not."""
        if world.wrong:
            return world.wrong
        for at, host in enumerate(world.hosts):
            read = self.read(world, host)
            if read.live and world.lost < host.acknowledged and read.number < host.acknowledged:
                return f"h{at} reads v{read.number}, having acknowledged v{host.acknowledged}"
            if not self.forgiving and read.live and read.version < host.record.version and not host.record.live:
                return f"h{at} reads v{read.number}, which it has deleted"
        if not self.at_rest(world) or world.redis.number >= world.newest.number:
            return ""
        if not world.newest.live or world.ended == world.newest.number:
            excused = world.ended == world.newest.number <= world.lost
            return "" if excused or not world.redis.live else f"v{world.redis.number} is back from the dead"
        return "" if world.newest.number <= world.lost else f"v{world.newest.number} is lost"

    def read(self, world: World, host: Host) -> Entry:
        """What a read of the host answers; NOTHING while it can ask nobody."""
        redis = world.redis if host.linked else NOTHING
        owed = host.pending and (self.rules.overlay or not host.linked) and host.record.version >= redis.version
        found = host.record if owed else redis
        return NOTHING if found.number == world.ended else found

    def at_rest(self, world: World) -> bool:
        """Whether everything is up, and nothing under way or owed."""
        return world.late == NOTHING and all(
            host.linked and host.flying == NOTHING == host.paying and not host.pending and host.told == world.life
            for host in world.hosts
        )


def _with(world: World, at: int, host: Host) -> World:
    first, second = world.hosts
    return world._replace(hosts=(host, second) if at == 0 else (first, host))


def _lose(world: World, left: Entry, *, another: bool) -> World:
    lost = max(world.lost, world.redis.number if left.number < world.redis.number else 0)
    return world._replace(redis=left, lost=lost, life=world.life + another)


def _gone(entry: Entry) -> Entry:
    return entry._replace(live=False)


def _after(version: int, at: int) -> int:
    """The host's first version above this one."""
    return version + 1 + ((version + 1 - at) % 2)


@pytest.mark.parametrize(
    ("may", "lag", "writes", "faults"),
    [
        (("partitions", "lost replies", "late commands"), 0, 3, 2),
        (("partitions", "kills", "lost replies"), 0, 2, 4),
        (("partitions", "restarts"), 0, 2, 4),
        (("partitions", "flushes", "kills"), 0, 3, 2),
        (("partitions", "ends of life", "late commands"), 0, 3, 2),
        (("kills", "restarts"), 2, 3, 2),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, tuple) else str(value),
)
def test_no_interleaving_breaks_the_rules(may: tuple[str, ...], lag: int, writes: int, faults: int) -> None:
    """SPEC 4, 5.2-5.4, G2, G3: in whatever order, nothing acknowledged is lost, nothing deleted returns."""
    explored = Model(Rules(), *may, lag=lag).explore(writes, faults)
    assert not explored.wrong, str(explored)
    assert explored.states > 10_000, str(explored)


NEEDED = {
    "newer_only": ("partitions",),
    "tombstones": ("partitions",),
    "bump": ("a clock that lags",),
    "replay_keeps_version": ("partitions",),
    "overlay": ("partitions",),
    "settle": ("partitions",),
    "settle_by_version": ("partitions",),
    "journal_on_disk": ("partitions", "kills"),
    "ended_as_tombstone": ("partitions", "ends of life"),
    "reassert": ("restarts",),
    "flush_seen": ("flushes",),
}
"""What it takes to miss a rule."""


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_each_rule_is_needed(rule: str) -> None:
    """Without any one of the rules the search finds the disaster that the rule prevents: the check can fail."""
    may = NEEDED[rule]
    explored = Model(replace(Rules(), **{rule: False}), *may, lag=2 * ("a clock that lags" in may)).explore()
    assert explored.wrong, f"nothing goes wrong without {rule}: {explored}"


@pytest.mark.parametrize(("may", "lag"), [("partitions", 2), ("lost replies", 2), ("evictions", 0)])
def test_what_no_rule_prevents_is_known(may: str, lag: int) -> None:
    """SPEC 4, 5.5: a host that Redis does not answer goes by its own clock; a tombstone that is evicted is gone."""
    explored = Model(Rules(), may, lag=lag).explore()
    assert explored.wrong, f"then it is to be promised: {explored}"


def test_a_delete_that_redis_has_lost_is_not_hidden_until_it_is_told_again() -> None:
    """G3: a host goes by its own tombstones only while it owes them: what old data brought back is read till the replay."""
    explored = Model(Rules(), "restarts", forgiving=False).explore()
    assert explored.wrong.endswith("which it has deleted"), str(explored)
