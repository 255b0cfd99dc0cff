"""The cache against a model of plain dictionaries, whatever the order of calls, of processes, of time and of faults."""

import asyncio
import errno
import itertools
import math
import os
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pytest
from hearing import state, until
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from redis import exceptions as replies
from rig import Rig, SteadyClock
from servers import RedisServer

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability
from toolcache.errors import CacheWriteError, SerializationError
from toolcache.keys.text import store_key
from toolcache.layer import Layer
from toolcache.testing import ChaosStore

T = TypeVar("T")

KEYS: Final = ("plain", "a b:ü*", "x" * 300)
TRUST: Final = 5.0
LONG_TRUST: Final = 60.0
HEALED_AFTER: Final = 120.0
SLACK: Final = 0.002
FURTHER: Final = int(os.environ.get("TOOLCACHE_WALKS", "1"))
"""How many times as far as in the gate: TOOLCACHE_WALKS=100 pytest --timeout=0 tests/cache/test_model.py"""

keys = st.sampled_from(KEYS)
several = st.lists(keys, unique=True)
processes = st.integers(0, 1)
ttls = st.sampled_from([None, 30, 300.5, 100_000])


@dataclass(frozen=True)
class Written:
    """A value that was set; no two are equal."""

    key: str
    number: int
    gone_at: float

    @property
    def value(self) -> dict[str, Any]:
        """What the cache is given, and gives back."""
        return {"key": self.key, "number": self.number, "list": [self.number]}


Candidates = set[Written | None]
"""What may be there, None for nothing; more than one where nobody can know."""


@dataclass
class Copy:
    """What one process holds in memory since an instant; ``own``: it made the last write of all."""

    candidates: Candidates
    filled_at: float
    own: bool = False


@dataclass
class Below:
    """What the stores hold.

    ``safe`` if the last write was acknowledged by one, ``owed`` if Redis did not take it, ``missed`` if the disk beside
    it did not, ``covered`` if a value lies beneath a clear.
    """

    candidates: Candidates = field(default_factory=lambda: {None})
    safe: bool = True
    owed: bool = False
    missed: bool = False
    covered: bool = False
    history: list[Written] = field(default_factory=list)


class Model(RuleBasedStateMachine):
    """Two processes over the same stores, one call at a time; faults befall the stores of both.

    While nothing is broken there is one candidate for each key, and each answer is compared with it. ``listening``
    processes are told by Redis what the other one writes.
    """

    examples = itertools.count()

    def __init__(self, layering: str, directory: Path, server: RedisServer | None, *, listening: bool = False) -> None:
        super().__init__()
        self.listening = listening
        self.trust = LONG_TRUST if listening else TRUST
        self.told: dict[int, set[str]] = {}
        example = next(self.examples)
        self.clock = SteadyClock(time.time())
        self.rig = Rig(layering, self.clock, directory / str(example), server, replays=False)
        self.namespace = f"model{example}"
        self.numbers = itertools.count(1)
        self.redis_fault = self.file_fault = "none"
        self.below = {key: Below() for key in KEYS}
        self.copies: list[dict[str, Copy]] = [{}, {}]
        self.lost: list[dict[str, Any]] = []
        self.runner = asyncio.Runner()
        self.runner.get_loop().set_exception_handler(lambda _loop, context: self.lost.append(context))
        self.caches: list[Cache] = []
        self.caches += [self.run(self.begin()), self.run(self.begin())]

    def teardown(self) -> None:
        """Close everything; nothing may have failed unheard."""
        self.run(self.rig.aclose())
        self.runner.close()
        assert not self.lost, self.lost

    # -- calls ------------------------------------------------------------------------------------------------------

    @rule(process=processes, key=keys)
    def get(self, process: int, key: str) -> None:
        """The value that was set, or nothing."""
        cache = self.at(process)
        self.saw(process, key, self.run(cache.get(key, MISSING)))

    @rule(process=processes, wanted=several)
    def get_many(self, process: int, wanted: list[str]) -> None:
        """The hits alone, in the order asked for."""
        cache = self.at(process)
        got = self.run(cache.get_many(wanted))
        assert list(got) == [key for key in wanted if key in got]
        for key in wanted:
            self.saw(process, key, got.get(key, MISSING))

    @rule(process=processes, key=keys)
    def exists(self, process: int, key: str) -> None:
        """Agrees with what get would find."""
        cache, visible = self.at(process), self.visible(process, key)
        found = self.run(cache.exists(key))
        self.learn(process, key, {one for one in visible if (one is not None) is found})

    @rule(process=processes, key=keys)
    def ttl(self, process: int, key: str) -> None:
        """What remains of the span it was set with, and never more."""
        cache, visible = self.at(process), self.visible(process, key)
        left = self.run(cache.ttl(key))
        if left is None:
            matching: Candidates = visible & {None}
        else:
            gone_at = left if left == math.inf else left + self.clock.time()
            matching = {
                one for one in visible if one and (one.gone_at == gone_at or abs(one.gone_at - gone_at) < SLACK)
            }
        self.learn(process, key, matching)

    @rule(process=processes, key=keys, ttl=ttls)
    def set(self, process: int, key: str, ttl: float | None) -> None:
        """Is acknowledged by the layers that work."""
        cache, new = self.at(process), self.new(key, ttl)
        self.wrote(process, new, self.acknowledged(self.run(cache.set(key, new.value, ttl))))

    @rule(process=processes, wanted=several, ttl=ttls)
    def set_many(self, process: int, wanted: list[str], ttl: float | None) -> None:
        """As many single ones."""
        cache, new = self.at(process), {key: self.new(key, ttl) for key in wanted}
        durabilities = self.run(cache.set_many({key: one.value for key, one in new.items()}, ttl))
        assert list(durabilities) == wanted
        for key, durability in durabilities.items():
            self.wrote(process, new[key], self.acknowledged(durability))

    @rule(process=processes, key=keys)
    def set_what_cannot_be(self, process: int, key: str) -> None:
        """Changes nothing."""
        cache = self.at(process)
        with pytest.raises(SerializationError):
            self.run(cache.set(key, object()))

    @rule(process=processes, key=keys, ttl=ttls)
    def get_or_set(self, process: int, key: str, ttl: float | None) -> None:
        """Computes only if nothing is there, and stores it then."""
        cache, visible, new = self.at(process), self.visible(process, key), self.new(key, ttl)
        got = self.run(cache.get_or_set(key, lambda: new.value, ttl=ttl))
        if got != new.value:
            self.saw(process, key, got)
            return
        assert None in visible
        self.wrote(process, new, self.durability() or Durability.MEMORY)

    @rule(process=processes, key=keys)
    def fail_to_compute(self, process: int, key: str) -> None:
        """The computation's own exception, and nothing is stored."""
        cache, visible = self.at(process), self.visible(process, key)

        def compute() -> None:
            raise LookupError(key)

        try:
            got = self.run(cache.get_or_set(key, compute))
        except LookupError:
            self.learn(process, key, visible & {None})
        else:
            self.saw(process, key, got)

    @rule(process=processes, key=keys, ttl=ttls)
    def add(self, process: int, key: str, ttl: float | None) -> None:
        """Stores where nothing is, and only there."""
        cache, visible, new = self.at(process), self.visible(process, key), self.new(key, ttl)
        stored = self.run(cache.add(key, new.value, ttl))
        if stored:
            assert self.broken or None in visible
            self.wrote(process, new, self.durability() or Durability.MEMORY)
        else:
            found = visible - {None}
            assert found or self.broken
            if self.redis_fault == "lost reply":
                self.below[key].candidates.add(new)
            if found:
                self.learn(process, key, found)

    @rule(process=processes, key=keys)
    def delete(self, process: int, key: str) -> None:
        """Says whether a value was there; once it has returned, the value is gone."""
        cache, visible = self.at(process), self.visible(process, key)
        unseen = self.unseen(key) or key in self.copies[process]
        try:
            was = self.run(cache.delete(key))
        except CacheWriteError:
            assert self.durability() is not self.best
            self.deleted(process, key, safe=False)
        else:
            assert self.broken or (was and unseen) or (visible - {None} if was else None in visible)
            self.deleted(process, key, safe=True)

    @rule(process=processes)
    def clear(self, process: int) -> None:
        """Every key is gone, as if deleted."""
        cache, safe = self.at(process), True
        try:
            self.run(cache.clear())
        except CacheWriteError:
            assert self.durability() is not self.best
            safe = False
        for key in KEYS:
            below = self.below[key]
            covered, owed = below.covered or below.candidates != {None}, below.owed
            self.deleted(process, key, safe=safe)
            below.covered, below.owed = covered, below.owed or owed
        self.clock.advance(0.1)  # until then what a process that knows nothing of it computes may be dropped

    @precondition(lambda self: self.rig.layering == "memory+redis+file" and not self.broken)
    @rule(process=processes)
    def replay(self, process: int) -> None:
        """Redis is told what it missed; to those who read, nothing changes."""
        journal = self.at(process)._machine.journal
        self.run(journal.replay())
        assert journal.pending == 0
        for below in self.below.values():
            below.owed = False

    # -- what befalls them ------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 4, 7, 29, 301]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.advance(seconds)

    async def begin(self) -> Cache:
        """A process begins."""
        cache = await self.rig.open(namespace=self.namespace, coherence=self.listening)
        for layer in (cache._parts.redis, cache._parts.files):
            if layer is not None:
                layer.guard.timeout = 60.0  # a slow machine is no fault
                spoil(layer, self.redis_fault if layer.name == "redis" else self.file_fault)
        await cache.get("anything")  # from now on it hears what others write to files
        if self.listening:
            await until(lambda: state(cache) == "tracking")
            bus = cache._machine.bus
            told, change = self.told.setdefault(id(cache), set()), bus.change
            bus.change = lambda names: (told.update(names or ()), change(names))[1]  # type: ignore[func-returns-value,method-assign]  # listens in
        return cache

    @precondition(lambda self: self.file_fault == "none")
    @rule(process=processes)
    def reopen(self, process: int) -> None:
        """A process ends, another one begins."""
        self.run(self.caches[process].aclose())
        self.caches[process] = self.run(self.begin())
        self.copies[process].clear()
        self.disturb()

    @precondition(lambda self: self.rig.shared)
    @rule(fault=st.sampled_from(["refused", "reset", "full", "lost reply", "every second", "none"]))
    def redis(self, fault: str) -> None:
        """Redis fails in some way, or works again."""
        self.redis_fault = fault
        self.disturb()

    @precondition(lambda self: "file" in self.rig.layering)
    @rule(fault=st.sampled_from(["broken", "full", "none"]))
    def files(self, fault: str) -> None:
        """The disk fails in some way, or works again."""
        self.file_fault = fault
        self.disturb()

    def disturb(self) -> None:
        """Have the stores fail as they are to; those that work have been given the time to be found working."""
        for cache in self.caches:
            for layer, fault in ((cache._parts.redis, self.redis_fault), (cache._parts.files, self.file_fault)):
                if layer is not None:
                    spoil(layer, fault)
        self.clock.advance(HEALED_AFTER)

    # -- the model --------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something, and let what nobody waits for end."""

        async def through() -> T:
            try:
                return await work
            finally:
                for cache in self.caches:
                    await asyncio.gather(*cache._machine.homes.here()._tasks, return_exceptions=True)

        return self.runner.run(through())

    def at(self, process: int) -> Cache:
        """The process's cache, a moment later, having heard of the others what it would hear within 20 ms."""
        self.clock.advance(0.002)
        cache = self.caches[process]
        self.run(cache._machine._follower.catch_up())
        if self.listening and self.rig.server is not None:
            # Messages come in order: once this one is there, all that was written before is.
            name = store_key("v", self.namespace, f"mark{next(self.numbers)}")
            self.rig.server.command("SET", name, "")
            self.run(until(lambda: name in self.told[id(cache)]))
        return cache

    def new(self, key: str, ttl: float | None) -> Written:
        """A value never seen before, written now."""
        gone_at = math.inf if ttl is None else int(self.clock.time() * 1000) / 1000 + ttl
        new = Written(key, next(self.numbers), gone_at)
        self.below[key].history.append(new)
        return new

    def living(self, candidates: Iterable[Written | None]) -> Candidates:
        """What is left of them by now."""
        now = self.clock.time()
        return {one if one is not None and now < one.gone_at else None for one in candidates}

    @property
    def best(self) -> Durability:
        """Where a write is safe while all is well."""
        if self.rig.shared:
            return Durability.REDIS
        return Durability.FILE if self.rig.far else Durability.MEMORY

    def durability(self) -> Durability | None:
        """Where a write is safe now; None if that cannot be told."""
        if self.rig.shared and self.redis_fault == "every second":
            return None
        if self.rig.shared and self.redis_fault == "none":
            return Durability.REDIS
        return Durability.FILE if self.rig.far and self.file_fault == "none" else Durability.MEMORY

    def acknowledged(self, durability: Durability) -> Durability:
        """What a write was answered with is what the layers could do."""
        assert durability is (self.durability() or durability)
        return durability

    def visible(self, process: int, key: str) -> Candidates:
        """What a read may answer."""
        below, copy = self.below[key], self.copies[process].get(key)
        held: Candidates = self.living(copy.candidates) - {None} if copy else set()
        if not self.rig.far:
            return held or {None}
        if copy is None or not held:
            return self.stored(below)
        trusted = not self.rig.shared or self.clock.time() - copy.filled_at < self.trust
        if copy.own and (trusted or (below.safe and not self.doubtful(below))):
            return held
        hears = not trusted if self.rig.shared else len(below.candidates) == 1
        hears |= self.listening and self.file_fault == "none"
        return self.stored(below) if hears and not self.unreadable else held | self.stored(below)

    def stored(self, below: Below) -> Candidates:
        """What the stores may answer."""
        found = self.living(below.candidates)
        if self.doubtful(below) or (below.missed and self.unreadable):
            return found | self.living(below.history) | {None}
        promised = below.owed and below.safe
        return found | {None} if self.unreadable and not promised else found

    @property
    def broken(self) -> bool:
        """Whether any store fails in any way."""
        return self.redis_fault != "none" or self.file_fault != "none"

    @property
    def unreadable(self) -> bool:
        """Whether the store that is read may fail to answer."""
        return self.redis_fault not in {"none", "full"} if self.rig.shared else self.file_fault == "broken"

    def unseen(self, key: str) -> bool:
        """A value is there that no read returns: a server ends lives by a clock of its own, which no test can move."""
        below = self.below[key]
        return (
            below.covered
            or below.owed
            or below.missed
            or (self.rig.shared and self.living(below.candidates) != below.candidates)
        )

    def doubtful(self, below: Below) -> bool:
        """The disk that alone knows of the last write has broken since."""
        return below.owed and self.file_fault != "none"

    def saw(self, process: int, key: str, got: Any) -> None:
        """A read answered."""
        visible = self.visible(process, key)
        assert got is MISSING or got["key"] == key
        matching = {one for one in visible if (MISSING if one is None else one.value) == got}
        self.learn(process, key, matching)
        if got is not MISSING:
            got["list"].append("spoilt")

    def learn(self, process: int, key: str, seen: Candidates) -> None:
        """A read showed that one of these was there."""
        assert seen, f"none of {self.visible(process, key)}"
        copies, now = self.copies[process], self.clock.time()
        copy = copies.get(key)
        if None in seen:
            copies.pop(key, None)
        elif copy is None or now - copy.filled_at >= self.trust:
            copies[key] = Copy(seen, now, copy is not None and copy.own and seen <= copy.candidates)
        else:
            copy.candidates = seen

    def wrote(self, process: int, new: Written, durability: Durability) -> None:
        """A write was answered."""
        self.changed(process, new.key, new, safe=durability > Durability.MEMORY)
        self.below[new.key].owed &= durability <= Durability.MEMORY
        self.below[new.key].owed |= self.rig.shared and durability is Durability.FILE
        if self.listening and durability is Durability.REDIS:
            self.copies[process].pop(new.key, None)
        else:
            sure = not self.listening or self.redis_fault != "every second"
            self.copies[process][new.key] = Copy({new}, self.clock.time(), own=sure)

    def deleted(self, process: int, key: str, *, safe: bool) -> None:
        """A delete was answered, or refused."""
        self.changed(process, key, None, safe=safe)
        if safe:
            self.below[key].owed = self.rig.shared and self.durability() is not Durability.REDIS
        self.copies[process].pop(key, None)

    def changed(self, process: int, key: str, new: Written | None, *, safe: bool) -> None:
        """What stands below now, and whose the last write was."""
        below = self.below[key]
        below.candidates = {new} if safe else below.candidates | {new}
        below.safe = safe
        # The disk is healed by the next write, not by Redis.
        below.missed = (below.missed and not safe) or (self.rig.shared and self.file_fault != "none")
        below.covered &= not safe
        for other in self.copies:
            if key in other:
                other[key].own = False


ASKED = ["get_many", "put_many"]
"""What fails; a process that listens goes on hearing, else what it has heard of would depend on when it is asked."""


def spoil(layer: Layer, fault: str) -> None:
    """Have a store fail from now on."""
    chaos = layer.store
    assert isinstance(chaos, ChaosStore)
    chaos.heal()
    full: Any = OSError if layer.name == "file" else replies.OutOfMemoryError
    if fault == "refused":
        chaos.fail_with(ConnectionRefusedError, on=ASKED)
    elif fault == "reset":
        chaos.fail_with(ConnectionResetError, on=ASKED)
    elif fault == "full":
        chaos.fail_with(partial(full, errno.ENOSPC, "no space"), on=["put_many"])
    elif fault == "lost reply":
        chaos.fail_with(replies.TimeoutError, on=["put_many"], applied=True)
    elif fault == "every second":
        chaos.fail_with(replies.TimeoutError, every=2, on=ASKED)
    elif fault == "broken":
        chaos.fail_with(partial(OSError, errno.EIO, "i/o error"), on=["open", "changes", "get_many", "put_many"])


@pytest.mark.parametrize(
    ("layering", "listening", "examples"),
    [
        ("memory", False, 30),
        ("memory+file", False, 25),
        ("memory+redis+file", False, 15),
        ("memory+redis+file", True, 10),
    ],
)
def test_model(layering: str, listening: bool, examples: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """BUG-59, BUG-61, OR-24, SPEC 16 (I1, I3, I4, I5, I8, I12): every answer of two processes is the model's."""
    server = request.getfixturevalue("redis_server") if "redis" in layering else None
    run_state_machine_as_test(
        cast("type[Model]", partial(Model, layering, tmp_path, server, listening=listening)),
        settings=settings(
            max_examples=examples * FURTHER,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
