"""What the walk has to find: the protocol of caches over Redis and files, in dictionaries.

Nothing of a cache is asked but the versions it mints, and whether its breakers keep it from Redis. Everything else
follows from the rules: what Redis holds, what each host's files hold and owe, what each process remembers, and so what
every call answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from walks.world import HOSTS, TRUST

from toolcache.blob import NEVER
from toolcache.entry import Durability
from toolcache.versions import ZERO, split

EPOCH: Final = "@n"
"""Where the namespace's epoch stands, among the keys."""
TOMBSTONE_TTL: Final = 87_000.0
MAX_AGE: Final = 86_400.0
OUTAGE_TRUST: Final = 1.0
FAR: Final = 60_000
"""Milliseconds that a version may lie ahead of a clock that believes it."""
FEEL_EVERY: Final = 3.0
"""Seconds between two looks at a Redis that rests, while it is owed something."""


@dataclass(frozen=True)
class Record:
    """A write: the ``number`` of its value, 0 for a tombstone, -1 for an epoch. Instants in ms, as its writer's clock told."""

    version: bytes
    number: int
    created_ms: int
    gone_ms: int

    @property
    def lasting(self) -> bool:
        """Whether it says more than a value."""
        return self.number <= 0

    def lives(self, now_ms: int) -> bool:
        """Whether it is a value, and has not ended."""
        return self.number > 0 and now_ms < self.gone_ms

    def left(self, now: float) -> float:
        """Seconds it has left; a clock set back never lengthens its life."""
        if self.gone_ms == NEVER:
            return float("inf")
        return min(self.gone_ms - int(now * 1000), self.gone_ms - self.created_ms) / 1000


@dataclass
class Held:
    """What memory holds."""

    record: Record
    settled_until: float


@dataclass
class Host:
    """Files: the newest record of each key, whether Redis is owed it, and which server was told last."""

    log: dict[str, Record] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    noted: str = ""


@dataclass
class Memory:
    """What one process knows: its memory, the epoch, the server that it met last and the one it has told of all.

    ``greeted``: Redis has been asked for its time. ``feel_at``: when a resting Redis is tried next. ``open``: its files
    are; ``news``: what they have been told since, and it has not ``follow``ed. ``behind``: it has yet to, before it reads;
    ``heard``: what it then heard of the key that it reads.
    """

    held: dict[str, Held] = field(default_factory=dict)
    epoch: bytes = ZERO
    met: str | None = None
    asserted: str | None = None
    greeted: bool = False
    feel_at: float = 0.0
    open: bool = False
    news: dict[str, bytes] = field(default_factory=dict)
    behind: bool = True
    heard: bytes = ZERO


@dataclass
class Way:
    """How a process is placed for one call: its clocks, and what Redis will do for it.

    ``reads`` and ``writes``: whether it is let at Redis at all. ``dies`` is where: "redis before", "file after", ...
    """

    now: float
    monotonic: float
    reads: bool
    writes: bool
    lost: str = ""
    dies: str = ""


class DiedError(Exception):
    """The process is no more."""


class Model:
    """Redis, two hosts and three processes.

    Args:
        mirrored: whether files have a copy of each value that Redis took.
    """

    def __init__(self, *, mirrored: bool) -> None:
        self.mirrored = mirrored
        self.redis: dict[str, tuple[Record, float]] = {}
        self.saved: dict[str, tuple[Record, float]] = {}
        self.run_id = "run1"
        self.up = True
        self.full = False
        self.time = 0.0
        self.hosts = [Host(), Host()]
        self.memories = [Memory() for _ in HOSTS]

    def begin(self, at: int) -> None:
        """A process begins, knowing nothing."""
        self.memories[at] = Memory()

    # -- Redis --------------------------------------------------------------------------------------------------------

    def there(self, key: str) -> Record | None:
        """What Redis holds."""
        record, until = self.redis.get(key, (None, 0.0))
        return record if int(self.time * 1000) < until else None

    def put(self, key: str, record: Record) -> bool | None:
        """Whether Redis took it; None where it is full."""
        there = self.there(key)
        if there is not None and record.version <= there.version:
            return record.version == there.version
        if self.full:
            return None
        now_ms = int(self.time * 1000)
        until = float("inf") if record.gone_ms == NEVER else now_ms + max(1, record.gone_ms - now_ms)
        self.redis[key] = (record, until)
        return True

    # -- reads --------------------------------------------------------------------------------------------------------

    def read(self, at: int, key: str, way: Way) -> Record | None:
        """What a read answers."""
        held = self.current(at, key)
        if held is not None and way.monotonic < held.settled_until:
            return held.record
        return self.find(at, key, way)[0]

    def find(self, at: int, key: str, way: Way) -> tuple[Record | None, bytes]:
        """What memory lacks, with the version found.

        Raises:
            DiedError: the process died of it.
        """
        me = self.memories[at]
        me.heard = me.news.get(key, ZERO) if me.behind else ZERO
        if me.behind:
            self.follow(at)
            held = self.current(at, key)
            if held is not None and way.monotonic < held.settled_until:
                return held.record, held.record.version
        return self.fetch(at, key, way)

    def follow(self, at: int) -> None:
        """The process hears what its host's files have been told: what it holds that is older goes."""
        me = self.memories[at]
        me.behind = False
        for key, version in me.news.items():
            if key == EPOCH:
                self.hear(at, version)
            elif key in me.held and me.held[key].record.version < version:
                del me.held[key]
        me.news.clear()

    def meet(self, at: int, way: Way) -> None:
        """The process connects, if it has not: its clock is set."""
        if self.memories[at].met != self.run_id:
            self.memories[at].met = self.run_id
            way.now = self.time

    def greet(self, at: int, way: Way) -> None:
        """Before its first write a process asks Redis for the time, and so for the epoch; once, whatever comes of it.

        Raises:
            DiedError: the process died of it.
        """
        me = self.memories[at]
        if not me.greeted and way.reads and self.up:
            self.meet(at, way)
            self.learn(at, way)
        me.greeted = True

    def learn(self, at: int, way: Way) -> None:
        """Redis tells of the epoch; one that is news is kept on file, for the next outage.

        Raises:
            DiedError: the process died of it.
        """
        epoch = self.there(EPOCH)
        if epoch is None or not self.hear(at, epoch.version):
            return
        self.keep(at, EPOCH, epoch, way)

    def keep(self, at: int, key: str, record: Record, way: Way) -> None:
        """What Redis holds goes to the files, unless they have something newer.

        Raises:
            DiedError: the process died of it.
        """
        host = self.hosts[HOSTS[at]]
        if way.dies == "file before":
            raise DiedError
        if key not in host.log or record.version > host.log[key].version:
            self.append(host, key, record, pending=False)
        if way.dies == "file after":
            raise DiedError

    def current(self, at: int, key: str) -> Held | None:
        """What memory holds, if it has outlived the epoch."""
        me = self.memories[at]
        held = me.held.get(key)
        if held is not None and held.record.version <= me.epoch:
            del me.held[key]
            return None
        return held

    def fetch(self, at: int, key: str, way: Way) -> tuple[Record | None, bytes]:
        """What the layers hold, with the version found; memory takes it in. What the files know to be gone is.

        Raises:
            DiedError: the process died of it.
        """
        me, host = self.memories[at], self.hosts[HOSTS[at]]
        me.open = True
        if EPOCH in host.log:
            self.hear(at, host.log[EPOCH].version)
        owed = host.log[key] if key in host.pending else None
        before = way.now
        reachable = way.reads and self.up
        if reachable:
            lives, found, version = self.shared(at, key, owed, way)
        else:
            lives, found, version = self.remembered(at, key, owed, way)
        known = host.log.get(key)
        # But for a delete by a clock that was far ahead: what Redis holds may have been written since.
        trusted = known is not None and split(known.version)[0] - int(way.now * 1000) <= FAR
        answered = reachable and found is not None and lives
        if known is not None and known.number == 0 and known.version >= version and (trusted or not answered):
            me.held.pop(key, None)
            return None, known.version
        if found is None or not lives:
            return None, version
        held = self.current(at, key)
        if reachable or held is None or held.record != found:
            # What is owed was read, and judged, by the clock as it was.
            self.take_in(at, key, found, way, read_at=before if found is owed else None)
        return found, version

    def shared(self, at: int, key: str, owed: Record | None, way: Way) -> tuple[bool, Record | None, bytes]:
        """What is found with Redis' help: whether it lives, and its version."""
        me, log = self.memories[at], self.hosts[HOSTS[at]].log
        lives = owed is not None and self.alive(at, owed, way)
        self.meet(at, way)
        self.learn(at, way)
        me.greeted = True
        found = self.there(key)
        older = found is not None and key in log and found.version > log[key].version
        if self.mirrored and older and found is not None and (found.number == 0 or self.alive(at, found, way)):
            self.keep(at, key, found, way)  # the copy follows what is read
        held = self.current(at, key)
        if held is not None and (found is None or not self.alive(at, found, way) or found != held.record):
            del me.held[key]
        if owed is not None and (found is None or owed.version >= found.version):
            return lives and owed.version > me.epoch, owed, owed.version
        if found is None:
            return False, None, ZERO
        return self.alive(at, found, way), found, found.version

    def remembered(self, at: int, key: str, owed: Record | None, way: Way) -> tuple[bool, Record | None, bytes]:
        """What is known without Redis: whether it lives, and its version."""
        if owed is None and self.mirrored:
            copy = self.hosts[HOSTS[at]].log.get(key)
            owed = copy if copy is not None and int(way.now * 1000) < copy.gone_ms else None
        held = self.current(at, key)
        if held is not None and (owed is None or held.record.version >= owed.version):
            left = held.record.left(way.now)
            if left > 0:
                held.settled_until = way.monotonic + min(left, OUTAGE_TRUST)
                return True, held.record, held.record.version
        if owed is None:
            return False, None, ZERO
        return self.alive(at, owed, way), owed, owed.version

    def alive(self, at: int, record: Record, way: Way) -> bool:
        """Whether it is a value that has neither ended nor been cleared."""
        return record.lives(int(way.now * 1000)) and record.version > self.memories[at].epoch

    def hear(self, at: int, epoch: bytes) -> bool:
        """The process hears of an epoch; whether that is news."""
        me = self.memories[at]
        news, me.epoch = epoch > me.epoch, max(epoch, me.epoch)
        return news

    def take_in(self, at: int, key: str, record: Record, way: Way, *, read_at: float | None = None) -> None:
        """Memory takes it in, unless it holds a newer one."""
        me = self.memories[at]
        held = me.held.get(key)
        if held is not None and held.record.version > record.version:
            return
        left = record.left(way.now)
        if left <= 0:
            me.held.pop(key, None)
        else:
            left = record.left(way.now if read_at is None else read_at)
            me.held[key] = Held(record, way.monotonic + min(TRUST, left))

    # -- writes -------------------------------------------------------------------------------------------------------

    def write(
        self, at: int, key: str, first: Record, versions: Iterator[bytes], way: Way, *, live: bool = True
    ) -> tuple[Record, Durability, bool]:
        """Where a write is safe, with the version it got in the end; and whether something newer stood against it.

        A live one comes after all that its host's files know of its key, and of the namespace.

        Raises:
            DiedError: the process died of it.
        """
        host = self.hosts[HOSTS[at]]
        if live:
            self.memories[at].open = True
            known = max(host.log[name].version if name in host.log else ZERO for name in (key, EPOCH))
            if known > first.version:
                first = replace(first, version=next(versions))
                assert first.version > known
        record, taken = self.offer(at, key, first, versions, way, live=live)
        if taken == "newer":
            self.settle(host, key, record.version)
            return record, Durability.MEMORY, True
        if taken == "yes" and record.number > 0 and not self.mirrored:
            self.settle(host, key, record.version)
            return record, Durability.REDIS, False
        if way.dies == "file before":
            raise DiedError
        there = host.log.get(key)
        superseded = there is not None and record.version < there.version
        assert not (superseded and live)
        if not superseded:
            self.append(host, key, record, pending=taken != "yes")
        if way.dies == "file after":
            raise DiedError
        if taken == "yes":
            return record, Durability.REDIS, superseded
        return record, Durability.MEMORY if superseded else Durability.FILE, superseded

    def append(self, host: Host, key: str, record: Record, *, pending: bool) -> None:
        """The disk takes it: it is the newest there, and no two have one version."""
        assert key not in host.log or record.version > host.log[key].version
        host.log[key] = record
        host.pending.discard(key)
        if pending:
            host.pending.add(key)
        for me, whose in zip(self.memories, HOSTS, strict=True):
            if self.hosts[whose] is host and me.open:
                me.news[key] = record.version

    def offer(
        self, at: int, key: str, record: Record, versions: Iterator[bytes], way: Way, *, live: bool
    ) -> tuple[Record, str]:
        """What Redis does with a write: "yes", "no" or "newer"."""
        if not way.writes:
            return record, "no"
        if way.dies == "redis before":
            raise DiedError
        if not self.up:
            return record, "no"
        self.meet(at, way)
        while True:
            taken = self.put(key, record)
            if way.dies == "redis after" and taken is not None:
                raise DiedError
            if taken is None:
                return record, "no"
            if way.lost == "timeout":
                return record, "no"
            if taken or not live:
                return record, "yes" if taken else "newer"
            there = self.there(key)
            assert there is not None
            record = replace(record, version=next(versions))
            assert record.version > there.version

    def settle(self, host: Host, key: str, version: bytes) -> None:
        """Redis holds something at or above this version."""
        if key in host.pending and host.log[key].version <= version:
            host.pending.discard(key)

    # -- the replay ---------------------------------------------------------------------------------------------------

    def replay(self, at: int, way: Way) -> None:
        """Redis is told what it missed, and one that has come back as another of all that lasts.

        Raises:
            DiedError: the process died of it.
        """
        me, host = self.memories[at], self.hosts[HOSTS[at]]
        me.open = True
        if not way.writes:
            # A Redis that rests is tried now and then, while it is owed something.
            if not host.pending or way.monotonic < me.feel_at:
                return
            me.feel_at = way.monotonic + FEEL_EVERY
        elif not (host.pending or self.another(at)):
            return
        if self.another(at):
            met = me.met or ""
            if host.noted != met:
                now_ms = int(way.now * 1000)
                lasting = {
                    key: record
                    for key, record in host.log.items()
                    if record.lasting and (now_ms < record.gone_ms or key in host.pending)
                }
                if self.pay(at, lasting, way):
                    host.noted = met
            if host.noted == met:
                me.asserted = met
        self.pay(at, {key: host.log[key] for key in host.pending}, way)

    def another(self, at: int) -> bool:
        """Whether the process has met a server that it has not told."""
        me = self.memories[at]
        return me.met is not None and me.met != me.asserted

    def pay(self, at: int, debts: dict[str, Record], way: Way) -> bool:
        """Tell Redis of some; whether it has heard of them all."""
        host = self.hosts[HOSTS[at]]
        if not debts:
            return True
        if way.dies == "redis before":
            raise DiedError
        if not self.up:
            return False
        told = {key: self.worth(key, record, way, host) for key, record in debts.items()}
        self.meet(at, way)
        heard = {key: self.put(key, record) is not None for key, record in told.items()}
        if way.dies == "redis after" and all(heard.values()):
            raise DiedError
        for key, record in debts.items():
            if heard[key]:
                self.settle(host, key, record.version)
        return all(heard.values())

    def worth(self, key: str, record: Record, way: Way, host: Host) -> Record:
        """What is told of it: a value whose time is over goes as a tombstone."""
        now_ms = int(way.now * 1000)
        ended = now_ms >= record.gone_ms and not (record.lasting and key in host.pending)
        old = not record.lasting and way.now - split(record.version)[0] / 1000 > MAX_AGE
        if not (ended or old):
            return record
        return Record(record.version, 0, now_ms, now_ms + int(TOMBSTONE_TTL * 1000))
