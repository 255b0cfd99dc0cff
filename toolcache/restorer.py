"""Puts entries into a cache with the lives they had: their instants, tags and costs stay, their versions are new.

A restored entry counts as written now, so it takes the place of whatever is there, and no invalidation of before it
applies. With ``keep_newer`` it keeps the version it had instead, and every store takes it only where nothing newer stands: no write,
delete or invalidation since then is undone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from toolcache.aside import aside
from toolcache.blob import CorruptBlobError
from toolcache.changes import Changes
from toolcache.codec.envelope import Blob
from toolcache.domains import GENERAL, Domain
from toolcache.drafts import Draft, Outcome
from toolcache.entries import Entries
from toolcache.entry import MEMORY
from toolcache.epochs import Epochs
from toolcache.errors import BackupError
from toolcache.home import Homes
from toolcache.horizon import Horizon
from toolcache.keys.text import place_of
from toolcache.parts import Due, Parts
from toolcache.patience import TRIES, pause
from toolcache.reader import Reader
from toolcache.tags import domain_of
from toolcache.tallies import Tallies
from toolcache.transfer import DAMAGED, EXPIRED, IN_THE_WAY, NEWER, TOO_LARGE
from toolcache.writer import Writer


class Arrival(NamedTuple):
    """An entry that is to come in: its key text, and what its blob says."""

    text: str
    read: Blob


class Restorer:
    """Restores into one cache.

    Args:
        parts: the cache's parts.
        entries: makes entries and drafts.
        epochs: what has been cleared.
        horizon: asks the layers for that.
        writer: keeps what comes.
        reader: whose reads under way must not overtake it.
        changes: takes note of what the layers say.
        homes: whose flights must not, either.
        tallies: of which domains entries are.
        domains: those of the cache, by name.

    Attributes:
        skipped: what did not come in, by reason.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        entries: Entries,
        epochs: Epochs,
        horizon: Horizon,
        writer: Writer,
        reader: Reader,
        changes: Changes,
        homes: Homes,
        tallies: Tallies,
        domains: Mapping[str, Domain[Any]],
    ) -> None:
        self._parts = parts
        self._entries = entries
        self._epochs = epochs
        self._horizon = horizon
        self._writer = writer
        self._reader = reader
        self._changes = changes
        self._homes = homes
        self._tallies = tallies
        self._domains = domains
        self._layers = [layer for layer in (parts.redis, parts.files) if layer is not None]
        self.skipped: Counter[str] = Counter()

    async def restore(self, some: Sequence[Arrival], *, keep_newer: bool) -> int:
        """Put some entries in, in order; how many came in.

        Raises:
            BackupError: no configured layer takes them.
        """
        wanted = [one for one in some if self._fits(one, keep_newer=keep_newer)]
        if not wanted:
            return 0
        due = await self._changes.meet()
        if keep_newer:
            wanted = await self._newer(wanted, due)
        if not self._layers:
            return await self._remember(wanted, keep_newer=keep_newer)
        left, count = wanted, 0
        for tries in range(TRIES):
            if tries:
                await pause(self._parts.clock, tries - 1)
            taken, left = await self._write(left, self._parts.due() if tries else due, keep_newer=keep_newer)
            count += taken
            if not left:
                return count
        names = " and ".join(
            f"{layer.name} ({layer.guard.last_fault or 'no fault is known'})" for layer in self._layers
        )
        raise BackupError(f"{names} took nothing any more: call again when they do; what came in before stays")

    def _fits(self, one: Arrival, *, keep_newer: bool) -> bool:
        header, _, encoded = one.read
        if keep_newer and not self._parts.hybrid.believes(header.version):
            self.skipped[DAMAGED] += 1  # from the future: nothing would ever be newer
        elif encoded is None or not header.alive(int(self._parts.clock.time() * 1000)):
            self.skipped[EXPIRED] += 1
        elif len(encoded.body) > self._parts.envelope.max_entry:
            self.skipped[TOO_LARGE] += 1
        else:
            return True
        return False

    async def _newer(self, some: Sequence[Arrival], due: Due) -> list[Arrival]:
        """Those beneath no invalidation, as far as the nearest layer knows."""
        above = {self._epochs.namespace}.union(*(self._epochs.names(one.read.tags) for one in some))
        self._horizon.know_of(above)
        if self._layers:
            layer = self._layers[0]
            await self._horizon.ask(layer, above, until=due.redis if layer is self._parts.redis else due.files)
        found = [one for one in some if not self._epochs.covers(one.read.header.version, one.read.tags)]
        self.skipped[NEWER] += len(some) - len(found)
        return found

    async def _remember(self, some: Sequence[Arrival], *, keep_newer: bool) -> int:
        """Into memory, which is all there is."""
        opened = await aside(lambda: [self._opened(one.read) for one in some])
        count = 0
        for one, value in zip(some, opened, strict=True):
            if isinstance(value, CorruptBlobError):
                self.skipped[DAMAGED] += 1
                continue
            place, (header, tags, encoded) = place_of(one.text), one.read
            old, era = self._parts.memory.find(place), self._parts.memory.era
            if keep_newer and old is not None and old.version > header.version and self._reader.alive(place):
                self.skipped[NEWER] += 1
                continue
            version = header.version if keep_newer else self._entries.version(place, tags=tags)
            domain = self._domain(tags)
            blob = Blob(header._replace(version=version), tags, encoded)
            held = self._entries.hold(blob, value[0], value[1], domain, self._tallies.of(domain), MEMORY, era)
            self._homes.detach(place)
            self._reader.interrupt(place)
            if self._parts.memory.put(place, held):
                count += 1
            else:
                self.skipped[TOO_LARGE] += 1
        return count

    def _opened(self, blob: Blob) -> Any:
        """The value, and what makes more of it; for a thread."""
        try:
            return self._parts.coder.open(self._parts.coder.opened(blob.encoded)) if blob.encoded else None
        except CorruptBlobError as fault:
            return fault

    async def _write(self, some: Sequence[Arrival], due: Due, *, keep_newer: bool) -> tuple[int, list[Arrival]]:
        """Into the layers; how many they have taken, and which they have not."""
        count, left = 0, list[Arrival]()
        for mirror in (False, True):
            chosen = [one for one in some if (self._domain(one.read.tags).name in self._parts.mirror) is mirror]
            if not chosen:
                continue
            places = [place_of(one.text) for one in chosen]
            drafts = [self._draft(one, place, keep_newer=keep_newer) for one, place in zip(chosen, places, strict=True)]
            for place in places:
                self._homes.detach(place)
            self._reader.forget(places)
            outcomes = await self._writer.write(
                drafts, mirror=mirror, due=due, then=partial(self._landed, places, drafts)
            )
            for one, outcome in zip(chosen, outcomes, strict=True):
                if outcome.superseded:
                    self.skipped[NEWER] += 1
                elif outcome.safe:
                    count += 1
                elif outcome.foreign:
                    self.skipped[IN_THE_WAY] += 1
                else:
                    left.append(one)
        return count, left

    def _draft(self, one: Arrival, place: str, *, keep_newer: bool) -> Draft:
        draft = self._entries.copy_of(self._entries.name(place), one.read)
        draft.flags = 0
        if not keep_newer:
            draft.live = True
            draft.version = self._entries.version(place, tags=one.read.tags)
        draft.dead = self._epochs.newest()
        return draft

    def _landed(self, places: Sequence[str], drafts: Sequence[Draft], outcomes: Sequence[Outcome]) -> None:
        for place, draft, outcome in zip(places, drafts, outcomes, strict=True):
            self._homes.detach(place)
            self._changes.written(place, draft, outcome)

    def _domain(self, tags: tuple[str, ...]) -> Domain[Any]:
        """The domain that an entry is labelled with."""
        return self._domains.get(domain_of(tags) or GENERAL.name, GENERAL)
