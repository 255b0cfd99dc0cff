"""How a write is kept: Redis, and files for what Redis did not take; with one version throughout.

A live write that meets a newer version takes one above it and tries again; a computed one is dropped. Because the same
version goes to every layer, an attempt that timed out and is applied late changes nothing.
"""

import asyncio
from collections.abc import Callable, Container, Coroutine, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple, TypeAlias

from toolcache.aside import aside, is_much
from toolcache.batches import Batches
from toolcache.blob import EPOCH, TOMBSTONE
from toolcache.drafts import NOWHERE, Draft, Outcome, noted
from toolcache.entry import Durability
from toolcache.epochs import NAMESPACE
from toolcache.errors import CacheClosedError
from toolcache.home import Home, Homes, ending
from toolcache.keys.text import key_digest, store_key
from toolcache.layer import Layer
from toolcache.loops import PerLoop
from toolcache.overlaps import Mark, Overlaps
from toolcache.parts import Due, Parts
from toolcache.protocols import Newest, PutResult, PutStatus, SupportsOverlay, Write
from toolcache.versions import ZERO

_BUMPS: Final = 3
_MANY: Final = 64
"""Writes with which a call goes alone: nobody is to wait for so many of another's."""
_A_MOMENT: Final = 0.01
"""Seconds until a write is to go on whose caller has left with everybody else."""
# Of an enum, each is looked up in a fraction of the time where it is a name of the module.
_NEWER, _FOREIGN = PutStatus.NEWER, PutStatus.FOREIGN
_MEMORY, _FILE, _REDIS = Durability


class _Ask(NamedTuple):
    drafts: Sequence[Draft]
    mirror: bool
    due: Due
    then: Callable[[list[Outcome]], None] | None


_Batches: TypeAlias = Batches[_Ask, list[Outcome]]


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
        self._overlaps = Overlaps()
        self._epoch_name = store_key("e", parts.namespace, NAMESPACE)

    async def turn(self) -> None:
        """Come before a write of one value: see ``Batches.turn``."""
        await self._batches.here().turn()

    def write(
        self,
        drafts: Sequence[Draft],
        *,
        mirror: bool = False,
        due: Due | None = None,
        then: Callable[[list[Outcome]], None] | None = None,
    ) -> Coroutine[Any, Any, list[Outcome]]:
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
        batches = self._batches.here()
        much = _is_much(drafts)
        if batches.idle and not much:
            return self._write_here(ask, batches)
        return self._write_with_others(ask, batches, alone=much or len(drafts) > _MANY)

    async def _write_with_others(self, ask: _Ask, batches: _Batches, *, alone: bool) -> list[Outcome]:
        outcomes = await batches.ask(ask, alone=alone)
        return self._unknown(ask) if outcomes is None else outcomes

    async def _write_here(self, ask: _Ask, batches: _Batches) -> list[Outcome]:
        """Write at once, in the caller's task: there is nobody to go with. Where the caller leaves, it goes once more."""
        home, (drafts, mirror, due, then) = batches.home, ask
        names = self._names(drafts)
        self._overlaps.begin(names)
        batches.begin()
        home.enter()
        left = False
        try:
            outcomes = await self._write(drafts, due, {draft.name for draft in drafts} if mirror else ())
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or not me.cancelling():  # not the caller is cancelled
                return self._unknown(ask)
            left = not home.owns(me)
            raise
        finally:
            batches.end()
            if left:
                self._go_on(ask, names, home, batches)
            else:
                self._overlaps.end(names)
                home.leave()
        if then is not None:
            then(outcomes)
        if home.given_up and not all(outcome.safe for outcome in outcomes):
            self._check_open()
        return outcomes

    def _go_on(self, ask: _Ask, names: Sequence[str], home: Home, batches: _Batches) -> None:
        """Write once more what a caller has left behind. What had been done is there, in the same versions, and stays so."""
        for draft in ask.drafts:
            draft.live = False  # it may have been done, and have been overwritten since then: it gives way

        def done(_: object = None) -> None:
            self._overlaps.end(names)
            home.leave()

        def go_on() -> None:
            if home.given_up:
                done()
            elif ending():  # a loop that ends may take its time
                asyncio.get_running_loop().call_later(_A_MOMENT, go_on)
            else:
                batches.ask(ask, alone=True).add_done_callback(done)

        go_on()

    def _check_open(self) -> None:
        if self._homes.closed:
            raise CacheClosedError("the cache was closed before this write was done: it may or may not be kept")

    def _unknown(self, ask: _Ask) -> list[Outcome]:
        """Somebody has cancelled what carried it."""
        self._check_open()
        outcomes = [NOWHERE] * len(ask.drafts)
        if ask.then is not None:
            ask.then(outcomes)
        return outcomes

    async def _carry(self, asks: list[_Ask]) -> list[list[Outcome]]:
        """What several callers write, as one."""
        if len(asks) == 1:
            drafts, due = asks[0].drafts, asks[0].due
        else:
            drafts, due = [draft for ask in asks for draft in ask.drafts], max(ask.due for ask in asks)
        mirrored = {draft.name for ask in asks if ask.mirror for draft in ask.drafts}
        names = self._names(drafts)
        self._overlaps.begin(names)
        try:
            outcomes = await self._write(drafts, due, mirrored)
        finally:
            self._overlaps.end(names)
        rest = iter(outcomes)
        told = [outcomes] if len(asks) == 1 else [list(islice(rest, len(ask.drafts))) for ask in asks]
        for ask, mine in zip(asks, told, strict=True):
            if ask.then is not None:
                ask.then(mine)
        return told

    def _names(self, drafts: Sequence[Draft]) -> Sequence[str]:
        """For ``Overlaps``: where there are two layers."""
        return () if self._overlay is None else [draft.name for draft in drafts]

    async def _write(self, drafts: Sequence[Draft], due: Due, mirrored: Container[str]) -> list[Outcome]:
        redis, files, overlay = self._parts.redis, self._parts.files, self._overlay
        outcomes: list[Outcome] = []
        to_files: list[int] = []
        if redis is None:
            outcomes, to_files = [NOWHERE] * len(drafts), list(range(len(drafts)))
        else:
            if overlay is not None:
                due = await self._rise(overlay, drafts, due)
            taken = await self._offer(redis, drafts, until=due.redis)
            due = due.after(redis)
            for i, result in enumerate(taken):
                outcomes.append(noted(NOWHERE, drafts[i], result, _REDIS))
                if files is not None and _goes_to_files(drafts[i], result, mirrored):
                    to_files.append(i)
            if overlay is not None:
                await self._settle(overlay, drafts, taken, to_files, due.files)
        if files is not None and to_files:
            owed = redis is not None
            chosen = [drafts[i] for i in to_files]
            pending = [owed and outcomes[i].durability < _REDIS for i in to_files]
            filed = await self._offer(files, chosen, pending=pending, until=due.files)
            for i, result in zip(to_files, filed, strict=True):
                outcomes[i] = noted(outcomes[i], drafts[i], result, _FILE)
            if overlay is not None and (late := self._overlaps.newer((draft.name, draft.version) for draft in chosen)):
                await self._disown(overlay, late, late)
        return outcomes

    async def _rise(self, overlay: SupportsOverlay, drafts: Sequence[Draft], due: Due) -> Due:
        """A live write comes after what its host knows, and Redis may not: another process's clock may have been ahead.

        Returns when it is to be done: of Redis' time none is spent on waiting for files.
        """
        if not overlay.ready:
            begun = self._parts.clock.monotonic()
            await self._catch_up(overlay, due.files)
            due = due.without(self._parts.clock.monotonic() - begun)
        cleared = _version(overlay.newest(self._epoch_name))
        risen: dict[str, bytes] = {}  # what is written to the same key after that stays above it
        for draft in drafts:
            known = max(cleared, _version(overlay.newest(draft.name)), risen.get(draft.name, ZERO))
            if draft.live and known > draft.version:
                draft.version = risen[draft.name] = self._parts.hybrid.next(above=known)
                draft.dead = max(draft.dead, cleared)
        return due

    async def _catch_up(self, overlay: SupportsOverlay, until: float) -> None:
        if self._parts.files is not None and not overlay.ready:
            await self._parts.files.ask(overlay.open, until=until)

    async def keep_on_file(self, drafts: Sequence[Draft], *, until: float) -> None:
        """Copy what Redis holds to this host's file; also where the reader who came upon it leaves, since it is told once."""
        if self._parts.files is not None:
            await asyncio.wait([self._homes.here().own(self._offer(self._parts.files, drafts, until=until))])

    async def _offer(
        self,
        layer: Layer,
        drafts: Sequence[Draft],
        *,
        pending: Sequence[bool] | None = None,
        until: float,
    ) -> list[PutResult | None]:
        results: list[PutResult | None] = [None] * len(drafts)
        left: Sequence[int] = range(len(drafts))

        def pack() -> list[Write]:
            return [self._pack(drafts[i], pending=pending is not None and pending[i]) for i in left]

        much = _is_much(drafts)
        for _ in range(1 + _BUMPS):
            if much:
                begun = self._parts.clock.monotonic()
                writes = await aside(pack)
                until += self._parts.clock.monotonic() - begun  # it is not the layer that took that long
            else:
                writes = pack()
            answer = await layer.write(writes, until=until)
            if answer is None:
                break
            again: list[int] = []
            for i, result in zip(left, answer, strict=True):
                said = results[i] = result if result.status is not _NEWER else self._settled(drafts[i], result)
                if said is None:
                    drafts[i].version = self._parts.hybrid.next(above=result.version)
                    again.append(i)
            left = again
            if not left:
                break
        return results

    def _settled(self, draft: Draft, result: PutResult) -> PutResult | None:
        """What became of a draft that met something newer; None if it is to be offered again above that."""
        if not draft.live or (draft.once and result.was_live):
            return result
        # What this process itself wrote later has overtaken the draft; unless a clock far ahead has had a hand in its
        # versions, which may then be of earlier writes.
        own = result.version[8:] == self._parts.hybrid.node and self._parts.hybrid.passed(result.version)
        return result._replace(status=PutStatus.ALREADY) if own else None

    async def _settle(
        self,
        overlay: SupportsOverlay,
        drafts: Sequence[Draft],
        taken: Sequence[PutResult | None],
        to_files: Sequence[int],
        until: float,
    ) -> None:
        """Redis holds something newer than what this host owed it for these keys."""
        marks = {
            i: (draft.name, draft.version)
            for i, (draft, result) in enumerate(zip(drafts, taken, strict=True))
            if result is not None and result.status is not _FOREIGN
        }
        self._overlaps.took(marks.values())
        await self._catch_up(overlay, until)
        overtaken = {i: mark for i, mark in marks.items() if overlay.pending(mark[0]) is not None}
        if overtaken:
            # A tombstone on file says the same as a mark, if the disk takes it.
            marked = [mark for i, mark in overtaken.items() if i not in to_files]
            await self._disown(overlay, overtaken.values(), marked)

    async def _disown(self, overlay: SupportsOverlay, overtaken: Iterable[Mark], marks: Sequence[Mark]) -> None:
        """Owe Redis no longer what it has overtaken: at once, since the disk may take none of these marks."""
        overlay.disown(tuple(overtaken))
        if self._parts.files is not None and marks:
            await self._parts.files.ask(partial(overlay.settle, marks), mutation=True)

    def _pack(self, draft: Draft, *, pending: bool) -> Write:
        blob = self._parts.envelope.pack(
            draft.encoded,
            digest=key_digest(draft.name),
            version=draft.version,
            created_ms=draft.created_ms,
            fresh_until_ms=draft.fresh_until_ms,
            gone_ms=draft.gone_ms,
            cost_ms=draft.cost_ms,
            tags=draft.tags,
            flags=draft.flags,
        )
        return Write(draft.name, blob, draft.once, draft.dead, pending, pending)


def _is_much(drafts: Sequence[Draft]) -> bool:
    return is_much([draft.encoded and draft.encoded.body for draft in drafts])


def _version(record: Newest | None) -> bytes:
    return ZERO if record is None else record.version


def _goes_to_files(draft: Draft, taken: PutResult | None, mirrored: Container[str]) -> bool:
    if taken is None or taken.status is _FOREIGN:
        return True
    # Tombstones and epochs stand on disk too: this host must not forget them when Redis does.
    return taken.status is not _NEWER and (bool(draft.flags & (TOMBSTONE | EPOCH)) or draft.name in mirrored)
