"""How a write is kept: Redis, and files for what Redis did not take; with one version throughout.

A live write that meets a newer version takes one above it and tries again; a computed one is dropped. Because the same
version goes to every layer, an attempt that timed out and is applied late changes nothing.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from functools import partial
from itertools import islice
from threading import Lock
from typing import Final, NamedTuple, TypeAlias

from toolcache.batches import Batches
from toolcache.blob import EPOCH, TOMBSTONE
from toolcache.entry import Durability, Invalidation
from toolcache.epochs import NAMESPACE
from toolcache.errors import CacheClosedError
from toolcache.forks import watch
from toolcache.home import Homes
from toolcache.keys.text import key_digest, store_key
from toolcache.layer import Layer
from toolcache.loops import PerLoop
from toolcache.parts import Due, Parts
from toolcache.protocols import Encoded, Newest, PutResult, PutStatus, SupportsOverlay, SupportsRefusal, Write
from toolcache.versions import ZERO

_BUMPS: Final = 3
_MANY: Final = 64
"""Writes with which a call goes alone: nobody is to wait for so many of another's."""
_TAKEN: Final = (PutStatus.STORED, PutStatus.ALREADY)


class Draft:
    """A write on its way; its version may still be raised.

    ``live`` writes overtake newer versions, computed ones yield to them. ``once`` writes yield to any live value above
    ``dead``: what lies at or beneath that version has been cleared or deleted, as a store need not know.
    """

    __slots__ = (
        *("name", "version", "created_ms", "gone_ms", "encoded", "cost_ms", "tags", "flags", "live", "once", "dead"),
    )

    def __init__(
        self,
        *,
        name: str,
        version: bytes,
        created_ms: int,
        gone_ms: int,
        encoded: Encoded | None = None,
        cost_ms: int = 0,
        tags: tuple[str, ...] = (),
        flags: int = 0,
        live: bool = True,
        once: bool = False,
        dead: bytes = ZERO,
    ) -> None:
        self.name = name
        self.version = version
        self.created_ms = created_ms
        self.gone_ms = gone_ms
        self.encoded = encoded
        self.cost_ms = cost_ms
        self.tags = tags
        self.flags = flags
        self.live = live
        self.once = once
        self.dead = dead


class Outcome:
    """What became of a draft: where it is safe, what stands against it, and what was there before."""

    __slots__ = ("durability", "foreign", "on_file", "superseded", "was_live")

    def __init__(self) -> None:
        self.durability = Durability.MEMORY
        self.on_file = False
        self.superseded = False
        self.was_live = False
        self.foreign = False


class _Ask(NamedTuple):
    drafts: Sequence[Draft]
    mirror: bool
    due: Due
    then: Callable[[list[Outcome]], None] | None


_Mark: TypeAlias = tuple[str, bytes]


class _UnderWay:
    """The newest version that Redis took of each key that is being written.

    A write that Redis did not take may come to the disk after a later one of its key has come to Redis. It is not owed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._writes: dict[str, int] = {}
        self._taken: dict[str, bytes] = {}
        watch(self)

    def begin(self, drafts: Sequence[Draft]) -> None:
        """The drafts are being written from now on."""
        with self._lock:
            for draft in drafts:
                self._writes[draft.name] = self._writes.get(draft.name, 0) + 1

    def end(self, drafts: Sequence[Draft]) -> None:
        """They are not any more."""
        with self._lock:
            for draft in drafts:
                left = self._writes[draft.name] - 1
                if left:
                    self._writes[draft.name] = left
                else:
                    del self._writes[draft.name]
                    self._taken.pop(draft.name, None)

    def took(self, marks: Iterable[_Mark]) -> None:
        """Redis took these."""
        with self._lock:
            for name, version in marks:
                if self._writes[name] > 1:
                    self._taken[name] = max(version, self._taken.get(name, ZERO))

    def overtaken(self, drafts: Sequence[Draft]) -> list[_Mark]:
        """What it took that is newer than drafts that it did not."""
        taken = self._taken
        return [(draft.name, taken[draft.name]) for draft in drafts if taken.get(draft.name, ZERO) > draft.version]

    def forked(self) -> None:
        """The parent's writes are not under way here."""
        self._lock, self._writes, self._taken = Lock(), {}, {}


class Writer:
    """Writes for one cache.

    Args:
        parts: the cache's parts.
        homes: whose tasks carry what several callers write.
    """

    def __init__(self, parts: Parts, homes: Homes) -> None:
        self._parts = parts
        self._homes = homes
        self._batches = PerLoop(lambda: Batches(self._carry, homes.here()))
        overlay = parts.files.store if parts.files and parts.redis else None
        self._overlay = overlay if isinstance(overlay, SupportsOverlay) else None
        self._under_way = _UnderWay()
        self._epoch_name = store_key("e", parts.namespace, NAMESPACE)

    async def write(
        self,
        drafts: Sequence[Draft],
        *,
        mirror: bool = False,
        due: Due | None = None,
        then: Callable[[list[Outcome]], None] | None = None,
    ) -> list[Outcome]:
        """Keep the drafts as safely as the layers allow, with what others write in this tick; never raises for a store.

        Args:
            drafts: what to write.
            mirror: whether files keep what Redis has taken, too.
            due: until when.
            then: told what became of them, also where the caller has left.

        Raises:
            CacheClosedError: the cache was closed, and did not wait for the end.
        """
        ask = _Ask(drafts, mirror, due or self._parts.due(), then)
        outcomes = await self._batches.here().ask(ask, alone=len(drafts) > _MANY)
        if outcomes is not None:
            return outcomes
        if self._homes.closed:
            raise CacheClosedError("the cache was closed before this write was done: it may or may not be kept")
        outcomes = [Outcome() for _ in drafts]  # somebody has cancelled the batch, and nobody knows
        if then is not None:
            then(outcomes)
        return outcomes

    async def _carry(self, asks: list[_Ask]) -> list[list[Outcome]]:
        """What several callers write, as one."""
        drafts = [draft for ask in asks for draft in ask.drafts]
        mirrored = {draft.name for ask in asks if ask.mirror for draft in ask.drafts}
        due = max(ask.due for ask in asks)
        if self._overlay is not None:
            self._under_way.begin(drafts)
        try:
            outcomes = iter(await self._write(drafts, due, mirrored))
        finally:
            if self._overlay is not None:
                self._under_way.end(drafts)
        told = [list(islice(outcomes, len(ask.drafts))) for ask in asks]
        for ask, mine in zip(asks, told, strict=True):
            if ask.then is not None:
                ask.then(mine)
        return told

    async def _write(self, drafts: Sequence[Draft], due: Due, mirrored: Container[str]) -> list[Outcome]:
        outcomes = [Outcome() for _ in drafts]
        redis, files = self._parts.redis, self._parts.files
        to_files = list(range(len(drafts)))
        if redis is not None:
            begun = self._parts.clock.monotonic()
            await self._rise(drafts, due.files)
            due = due.without(self._parts.clock.monotonic() - begun)
            taken = await self._offer(redis, drafts, until=due.redis)
            _note(drafts, outcomes, taken, Durability.REDIS)
            to_files = [i for i in to_files if _goes_to_files(drafts[i], taken[i], mirror=drafts[i].name in mirrored)]
            await self._settle(drafts, taken, set(to_files), due.files)
        if files is not None and to_files:
            owed = redis is not None
            chosen, noted = [drafts[i] for i in to_files], [outcomes[i] for i in to_files]
            pending = [owed and outcome.durability < Durability.REDIS for outcome in noted]
            _note(chosen, noted, await self._offer(files, chosen, pending=pending, until=due.files), Durability.FILE)
            if owed and (late := self._under_way.overtaken(chosen)):
                await self._disown(files, late, late)
        return outcomes

    async def _rise(self, drafts: Sequence[Draft], until: float) -> None:
        """A live write comes after what its host knows, and Redis may not: another process's clock may have been ahead."""
        overlay = self._overlay
        if overlay is None:
            return
        await self._catch_up(overlay, until)
        cleared = _version(overlay.newest(self._epoch_name))
        risen: dict[str, bytes] = {}  # what is written to the same key after that stays above it
        for draft in drafts:
            known = max(cleared, _version(overlay.newest(draft.name)), risen.get(draft.name, ZERO))
            if draft.live and known > draft.version:
                draft.version = risen[draft.name] = self._parts.hybrid.next(above=known)
                draft.dead = max(draft.dead, cleared)

    async def _catch_up(self, overlay: SupportsOverlay, until: float) -> None:
        if self._parts.files is not None and not overlay.ready:
            await self._parts.files.ask(overlay.open, until=until)

    async def keep_on_file(self, drafts: Sequence[Draft], *, until: float) -> None:
        """Copy what Redis holds to this host's file."""
        if self._parts.files is not None:
            await self._offer(self._parts.files, drafts, until=until)

    def safe(self, outcome: Outcome) -> bool:
        """Whether a layer that others read, if there is one, knows of the write."""
        if self._parts.redis is None and self._parts.files is None:
            return True
        return outcome.durability > Durability.MEMORY

    @property
    def layers(self) -> list[Layer]:
        """Those that are configured."""
        return [layer for layer in (self._parts.redis, self._parts.files) if layer is not None]

    @property
    def shut_out(self) -> bool:
        """Whether files are the only layer, and their directory has refused this process from the start."""
        files = self._parts.files
        if self._parts.redis is not None or files is None:
            return False
        return isinstance(files.store, SupportsRefusal) and files.store.refused

    def why(self, outcome: Outcome) -> str:
        """What was the matter with each layer that did not take a write."""
        said = []
        for layer in self.layers:
            foreign = outcome.foreign and layer is self._parts.redis
            if fault := "a foreign value holds the key" if foreign else layer.guard.last_fault:
                said.append(f"{layer.name}: {fault}")
        return ", ".join(said)

    def receipt(self, scope: str, outcomes: Sequence[Outcome]) -> Invalidation:
        """What became of an invalidation, layer by layer; where it has several parts, of the one that fared worst."""
        redis = files = None
        worst = min(outcomes, key=lambda outcome: (outcome.durability, outcome.on_file))
        if self._parts.files is not None:
            files = "done" if all(outcome.on_file for outcome in outcomes) else "failed"
        if self._parts.redis is not None:
            redis = "done" if worst.durability is Durability.REDIS else "queued" if worst.on_file else "failed"
        return Invalidation(scope, "done", redis, files)

    async def _offer(
        self,
        layer: Layer,
        drafts: Sequence[Draft],
        *,
        pending: Sequence[bool] | None = None,
        until: float,
    ) -> list[PutResult | None]:
        results: list[PutResult | None] = [None] * len(drafts)
        left = list(range(len(drafts)))
        for _ in range(1 + _BUMPS):
            blobs = [self._blob(drafts[i], pending=pending is not None and pending[i]) for i in left]
            answer = await layer.write(blobs, until=until)
            if answer is None:
                break
            again = []
            for i, result in zip(left, answer, strict=True):
                results[i] = self._settled(drafts[i], result)
                if results[i] is None:
                    drafts[i].version = self._parts.hybrid.next(above=result.version)
                    again.append(i)
            left = again
            if not left:
                break
        return results

    def _settled(self, draft: Draft, result: PutResult) -> PutResult | None:
        """The result, or None for a draft that is to be offered again above what it met."""
        if result.status is not PutStatus.NEWER or not draft.live or (draft.once and result.was_live):
            return result
        # What this process itself wrote later has overtaken the draft; unless a clock far ahead has had a hand in its
        # versions, which may then be of earlier writes.
        own = result.version[8:] == self._parts.hybrid.node and self._parts.hybrid.passed(result.version)
        return result._replace(status=PutStatus.ALREADY) if own else None

    async def _settle(
        self, drafts: Sequence[Draft], taken: Sequence[PutResult | None], to_files: Container[int], until: float
    ) -> None:
        """Redis holds something newer than what this host owed it for these keys."""
        files, overlay = self._parts.files, self._overlay
        if overlay is None or files is None:
            return
        marks = {
            i: (draft.name, draft.version)
            for i, (draft, result) in enumerate(zip(drafts, taken, strict=True))
            if result is not None and result.status is not PutStatus.FOREIGN
        }
        self._under_way.took(marks.values())
        await self._catch_up(overlay, until)
        overtaken = {i: mark for i, mark in marks.items() if overlay.pending(mark[0]) is not None}
        if overtaken:
            # A tombstone on file says the same as a mark, if the disk takes it.
            await self._disown(files, overtaken.values(), [mark for i, mark in overtaken.items() if i not in to_files])

    async def _disown(self, files: Layer, overtaken: Iterable[_Mark], marks: Sequence[_Mark]) -> None:
        """Owe Redis no longer what it has overtaken: at once, since the disk may take none of these marks."""
        if self._overlay is not None:
            self._overlay.disown(tuple(overtaken))
        if self._overlay is not None and marks:
            await files.ask(partial(self._overlay.settle, marks), mutation=True)

    def _blob(self, draft: Draft, *, pending: bool) -> Write:
        blob = self._parts.envelope.pack(
            draft.encoded,
            digest=key_digest(draft.name),
            version=draft.version,
            created_ms=draft.created_ms,
            fresh_until_ms=draft.gone_ms,
            gone_ms=draft.gone_ms,
            cost_ms=draft.cost_ms,
            tags=draft.tags,
            flags=draft.flags,
        )
        return Write(draft.name, blob, once=draft.once, dead=draft.dead, pending=pending, durable=pending)


def _version(record: Newest | None) -> bytes:
    return ZERO if record is None else record.version


def _goes_to_files(draft: Draft, taken: PutResult | None, *, mirror: bool) -> bool:
    if taken is None or taken.status is PutStatus.FOREIGN:
        return True
    # Tombstones and epochs stand on disk too: this host must not forget them when Redis does.
    return taken.status in _TAKEN and (mirror or bool(draft.flags & (TOMBSTONE | EPOCH)))


def _note(
    drafts: Sequence[Draft], outcomes: Sequence[Outcome], results: Sequence[PutResult | None], durability: Durability
) -> None:
    for draft, outcome, result in zip(drafts, outcomes, results, strict=True):
        if result is None:
            continue
        outcome.was_live = outcome.was_live or result.was_live
        taken = result.status in _TAKEN
        outcome.foreign = outcome.foreign or result.status is PutStatus.FOREIGN
        outcome.superseded = outcome.superseded or result.status is PutStatus.NEWER
        # A write that yields to a live value is as safe as that value.
        if taken or (draft.once and result.was_live):
            outcome.durability = max(outcome.durability, durability)
            outcome.on_file = outcome.on_file or (taken and durability is Durability.FILE)
