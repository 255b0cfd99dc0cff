"""How a value is found: memory, what Redis is owed, Redis, files; in that order, and never raising.

    configured       a read asks
    memory           memory
    files            memory, then the log
    Redis + files    memory; what this host still owes Redis; Redis. While Redis cannot be asked: the log for domains
                     that are mirrored, and what memory remembers
    Redis            memory, then Redis

With Redis usable, a Redis miss is a miss.
"""

import asyncio
from collections.abc import Iterable, Sequence
from math import inf
from typing import Final, NamedTuple

from toolcache.aside import LARGE, Lengthy
from toolcache.batches import ALONE, Batches
from toolcache.blob import TOMBSTONE, CorruptBlobError
from toolcache.codec.envelope import Blob
from toolcache.domains import Domain
from toolcache.entries import Entries
from toolcache.entry import MEMORY
from toolcache.epochs import Epochs
from toolcache.events import BlobRejected
from toolcache.found import NOTHING, Found, found_in
from toolcache.home import Home, Homes, ending
from toolcache.horizon import Horizon
from toolcache.keys.text import key_digest
from toolcache.layer import Layer
from toolcache.loops import PerLoop
from toolcache.owed import Owed
from toolcache.parts import Due, Parts
from toolcache.protocols import SupportsOverlay
from toolcache.recall import Recall
from toolcache.series import Series
from toolcache.tallies import Tally
from toolcache.writer import Writer

_REMEMBERED: Final = 1_024
"""Keys of large values that are known as such, so as to be asked for apart."""

_MANY: Final = 64
"""Keys with which a call goes alone: nobody is to wait for so many of another's."""


class _Ask(NamedTuple):
    keys: Sequence[str]
    domain: Domain
    tally: Tally
    due: Due


class Reader:
    """Reads for one cache. Keys are places: the form under which memory knows a key.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared, as far as this process knows.
        entries: makes entries for memory.
        horizon: reads the layers.
        owed: what Redis is owed.
        writer: keeps on file what Redis is found to hold.
        homes: whose tasks carry what several callers ask for.

    Attributes:
        met: whether Redis, where it is configured, has been asked for the time.
        look: what memory answers by itself.
        alive: whether memory holds a value.
        recall: what memory holds is worth.
    """

    def __init__(
        self,
        parts: Parts,
        epochs: Epochs,
        entries: Entries,
        horizon: Horizon,
        owed: Owed,
        writer: Writer,
        homes: Homes,
    ) -> None:
        self._parts = parts
        self._clock = parts.clock
        self._memory = parts.memory
        self._epochs = epochs
        self._entries = entries
        self.recall = Recall(parts, epochs, entries)
        self.look = self.recall.look
        self.alive = self.recall.alive
        self._horizon = horizon
        self._writer = writer
        self._owed = owed
        self._open = parts.coder.open
        self.met = parts.redis is None
        self._fills: dict[str, object] = {}
        self._large: set[str] = set()  # what was large will be: nobody else's answer is to wait for it
        self._batches = PerLoop(lambda: Batches(self._carry, homes.here()))
        self._alone = parts.files if parts.redis is None else None
        overlay = parts.files.store if parts.files and parts.redis else None
        self._overlay = overlay if isinstance(overlay, SupportsOverlay) else None

    async def meet(self, until: float) -> None:
        """Before the first write: connect to Redis, whose clock all hosts go by, so that the version is of that clock."""
        if self._parts.redis is not None:
            await self._horizon.read(self._parts.redis, (), until=until)
        self.met = True

    def interrupt(self, key: str) -> None:
        """The key was written: reads under way must not bring what they found into memory."""
        if self._fills:
            self._fills.pop(key, None)

    def overtake(self, key: str, version: bytes, *, told: bool = False) -> None:
        """A write of this version was acknowledged: what a read under way had brought meanwhile goes.

        Where Redis has it and memory is ``told`` of changes, the write itself goes too. Only of what was read from
        Redis is it certain that memory is told when it changes; the next read brings it back.
        """
        held = self._memory.find(key)
        if held is None or held.version < version or (told and held.version == version):
            self.forget([key])
        elif told:
            self.interrupt(key)

    def unsettle(self, key: str) -> None:
        """The key was changed in Redis: what memory has from there goes. What Redis has not taken is to be compared."""
        self.interrupt(key)  # first: a read of another thread that comes in between looks at it last
        held = self._memory.find(key)
        if held is None:
            return
        if self._parts.redis is not None and held.layer == self._parts.redis.name:
            self._memory.remove(key)
        else:
            held.doubt()

    def doubt_all(self) -> None:
        """Changes may have gone unheard: all that memory holds is to be compared before it answers again."""
        self.interrupt_all()
        self._memory.doubt()

    def interrupt_all(self) -> None:
        """Any key may have been written: no read under way may bring what it found into memory."""
        self._fills.clear()

    def glance(self, key: str, domain: Domain, tally: Tally) -> Found | None:
        """What the log holds of a key: None unless it is the only layer, and has it at once."""
        files = self._alone
        if files is None:
            return None
        name, era = self._entries.name(key), self._memory.era
        raws = files.peek((name,))
        if raws is None:
            return None
        self._horizon.know()
        try:
            blob = None if raws[0] is None else self._entries.read(name, raws[0], files)
        except Lengthy:
            return None
        if blob is not None and blob.tags:
            return None
        found = self._take(name, blob, files, domain, tally, era)
        if found.held is not None:
            self._memory.put(key, found.held)
        return self.recall.by_age(key, found)

    async def fetch(
        self, keys: Sequence[str], domain: Domain, tally: Tally, due: Due | None = None
    ) -> dict[str, Found]:
        """Ask the layers for keys that memory could not answer; what is found goes into memory."""
        due = due or self._parts.due()
        if self._parts.redis is None:  # the log groups by itself
            return await self._fetch(keys, domain, tally, due)
        alone = len(keys) > _MANY or (self._large and not self._large.isdisjoint(keys))
        batches = self._batches.here()
        batches.home.enter()
        try:
            found = ALONE if alone else await batches.share(_Ask(keys, domain, tally, due))
            if found is ALONE:
                return await self._unaided(batches.home, keys, domain, tally, due)
            return found or dict.fromkeys(keys, NOTHING)
        finally:
            batches.home.leave()

    async def _unaided(
        self, home: Home, keys: Sequence[str], domain: Domain, tally: Tally, due: Due
    ) -> dict[str, Found]:
        """In the caller's task. Who leaves does not take along how the store is found: it is asked once more, for that."""
        try:
            return await self._fetch(keys, domain, tally, due)
        except asyncio.CancelledError:
            if not (home.given_up or home.owns(asyncio.current_task()) or ending()):
                home.own(self._fetch(keys, domain, tally, due))
            raise

    async def _carry(self, asks: list[_Ask]) -> list[dict[str, Found]]:
        """What several callers asked for, each of whom may change the values it gets."""
        kinds: dict[Series, list[_Ask]] = {}
        for ask in asks:
            kinds.setdefault(ask.domain.series, []).append(ask)
        answers: dict[Series, dict[str, Found]] = {}

        async def fetch(series: Series, alike: list[_Ask]) -> None:
            keys = list(dict.fromkeys(key for ask in alike for key in ask.keys))
            due = max(ask.due for ask in alike)
            answers[series] = await self._fetch(keys, alike[0].domain, alike[0].tally, due)

        if len(kinds) == 1:
            await fetch(*kinds.popitem())
        else:
            await asyncio.gather(*(fetch(*kind) for kind in kinds.items()))
        given: set[int] = set()

        def own(found: Found) -> Found:
            if found.held is None or id(found) not in given:
                given.add(id(found))
                return found
            return found_in(found.held)

        return [{key: own(answers[ask.domain.series][key]) for key in ask.keys} for ask in asks]

    async def _fetch(self, keys: Sequence[str], domain: Domain, tally: Tally, due: Due) -> dict[str, Found]:
        names = {key: self._entries.name(key) for key in keys}
        token = object()
        self._fills.update(dict.fromkeys(keys, token))
        try:
            found = await self._ask_layers(names, domain, tally, token, due)
            admits = self._epochs.admits
            untagged = admits(())
            for key, (held, *_) in found.items():
                if held is None or self._fills.get(key) is not token:
                    continue
                if held.size > LARGE:
                    if len(self._large) >= _REMEMBERED:
                        self._large.clear()
                    self._large.add(key)
                if admits(held.tags) if held.tags else untagged:
                    self._memory.put(key, held)
                    if self._fills.get(key) is not token:  # another thread has just heard that it was changed
                        self.forget([key])
        finally:
            for key in keys:
                if self._fills.get(key) is token:
                    self._fills.pop(key, None)  # another thread may have been quicker
        return {key: self.recall.by_age(key, it) for key, it in found.items()} if self._entries.ages else found

    async def _ask_layers(
        self, names: dict[str, str], domain: Domain, tally: Tally, token: object, due: Due
    ) -> dict[str, Found]:
        redis, files = self._parts.redis, self._parts.files
        if redis is None:
            return await self._ask(files, names, domain, tally, due.files) if files else dict.fromkeys(names, NOTHING)
        era = self._memory.era
        owed: dict[str, bytes] = {}
        last: dict[str, Found] = {}
        if self._owed.possible:
            begun = self._clock.monotonic()
            owed = await self._owed.among(names, due.files)
            local = {key: names[key] for key in owed}
            found = await self._ask(files, local, domain, tally, due.files) if files and local else {}
            due = due.without(self._clock.monotonic() - begun)
            # What Redis is owed answers, if only by having ended, unless something newer has been written to it since.
            last = {key: found[key] if found[key].version >= v else Found(None, v) for key, v in owed.items()}
            for key, (held, *_) in last.items():
                if held is not None and held is not self._memory.find(key):  # which has filed its own by their ends
                    held.gone_until = inf  # for memory to say: to ask Redis in between may set the clock
        answer = await self._ask_redis(redis, names, domain, tally, token, due)
        if answer is None:
            rest = {key: name for key, name in names.items() if key not in owed}
            mirrored = files is not None and domain.name in self._parts.mirror
            until = due.after(redis).files
            copies = await self._ask(files, rest, domain, tally, until) if files and mirrored and rest else {}
            answer = {key: self.recall.remembered(key, (last | copies).get(key, NOTHING)) for key in names}
            self._owed.insist(names, answer, asked=False)
            return self._uncovered(answer, era)
        if owed:
            answer |= {key: last[key] for key, version in owed.items() if version >= answer[key].version}
            # What Redis is owed may lie beneath an epoch that only Redis knows.
            above = {name for held, *_ in last.values() if held is not None for name in self._epochs.names(held.tags)}
            await self._horizon.ask(redis, above, until=due.redis)
        self._owed.insist(names, answer, asked=True)
        return self._uncovered(answer, era)

    def _uncovered(self, answer: dict[str, Found], era: int) -> dict[str, Found]:
        """The answer without what lies beneath an epoch, which may have come with the last of it."""
        if self._memory.era == era:
            return answer
        covers = self._epochs.covers
        for key, it in answer.items():
            if it.held is not None and covers(it.version, it.held.tags):
                answer[key] = Found(None, it.version)
        return answer

    async def _ask_redis(
        self, redis: Layer, names: dict[str, str], domain: Domain, tally: Tally, token: object, due: Due
    ) -> dict[str, Found] | None:
        era = self._memory.era
        blobs = await self._horizon.read(redis, list(names.values()), until=due.redis)
        if blobs is None:
            return None
        self.met = True
        if domain.name in self._parts.mirror:
            await self._renew(names.values(), blobs, due.after(redis))
        return {
            key: self._newest(key, self._take(name, blob, redis, domain, tally, era), token)
            for (key, name), blob in zip(names.items(), blobs, strict=True)
        }

    async def _renew(self, names: Iterable[str], blobs: Sequence[Blob | None], due: Due) -> None:
        """What Redis has deleted or replaced is not to answer from its copy in the next outage."""
        overlay = self._overlay
        if overlay is None:
            return
        late = [
            self._entries.copy_of(name, blob)
            for name, blob in zip(names, blobs, strict=True)
            if blob is not None
            and (blob.encoded is not None or blob.header.flags & TOMBSTONE)
            and (copy := overlay.newest(name)) is not None
            and blob.header.version > copy.version
        ]
        if late:
            await self._writer.keep_on_file(late, until=due.files)

    async def _ask(
        self, layer: Layer, names: dict[str, str], domain: Domain, tally: Tally, until: float
    ) -> dict[str, Found]:
        era = self._memory.era
        blobs = await self._horizon.read(layer, list(names.values()), until=until)
        if blobs is None:
            return {key: self.recall.remembered(key, NOTHING) for key in names}
        return {
            key: self._take(name, blob, layer, domain, tally, era)
            for (key, name), blob in zip(names.items(), blobs, strict=True)
        }

    def _take(self, name: str, blob: Blob | None, layer: Layer, domain: Domain, tally: Tally, era: int) -> Found:
        if blob is None or blob.encoded is None:
            layer.tally.misses += 1
            return NOTHING if blob is None else Found(None, blob.header.version)
        try:
            value, thaw = self._open(blob.encoded)
        except CorruptBlobError as fault:
            layer.tally.rejected += 1
            layer.tally.misses += 1
            self._parts.announce(BlobRejected(layer.name, fault.reason, key_digest(name)[:4].hex()))
            return NOTHING
        layer.tally.hits += 1
        held = self._entries.hold(blob, value, thaw, domain, tally, layer.name, era)
        return Found(held, held.version, value)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop keys from memory, for reads under way too."""
        for key in keys:
            self.interrupt(key)
            self._memory.remove(key)

    def _newest(self, key: str, found: Found, token: object) -> Found:
        """Redis answered: its word settles what memory holds, unless memory holds a later write of this process."""
        held = self._memory.find(key)
        if held is None or not self.recall.current(key, held):
            return found
        if found.version < held.version and (held.layer == MEMORY or self._fills.get(key) is not token):
            # On its way, or taken by nobody, or written while this read was under way.
            return self.recall.remembered(key, found)
        if found.held is None or found.version != held.version:
            # Evicted, flushed, deleted or overwritten: with Redis usable, its word counts, in the next outage too.
            self._memory.remove(key)
        return found
