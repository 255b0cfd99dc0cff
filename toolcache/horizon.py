"""Reads the layers down to the horizon: what lies at or before an epoch of its own is gone.

Which epochs an entry is under, its tags say, so they are known only when it has been read. An epoch that nobody here
has asked for yet is asked for then, once: while Redis tells of changes, it tells of raised epochs too. While it does
not, they are asked for with each read. The log of this host is asked each time: what it has is in its index.
"""

from collections.abc import Iterable, Sequence

from toolcache.codec.envelope import Blob
from toolcache.drafts import Draft
from toolcache.entries import Entries
from toolcache.epochs import Epochs
from toolcache.home import Homes
from toolcache.layer import Layer
from toolcache.parts import Parts
from toolcache.protocols import SupportsOverlay
from toolcache.writer import Writer


class Horizon:
    """Knows what has been cleared, for one cache.

    Args:
        parts: the cache's parts.
        epochs: what is known of it.
        entries: reads blobs.
        writer: keeps on file what Redis tells.
        homes: whose flights are told.
    """

    def __init__(self, parts: Parts, epochs: Epochs, entries: Entries, writer: Writer, homes: Homes) -> None:
        self._parts = parts
        self._redis, self._files = parts.redis, parts.files
        self._memory = parts.memory
        self._epochs = epochs
        self._entries = entries
        self._writer = writer
        self._homes = homes
        self._forgot_in = 0
        local = parts.files.store if parts.files else None
        # found out once: to look a protocol's methods up takes longer than to read a file
        self._local = local if isinstance(local, SupportsOverlay) else None
        self._overlay = self._local if parts.redis else None

    def name(self, label: str) -> str:
        """The store key of the epoch of a tag, or of the namespace."""
        return self._epochs.name(label)

    async def read(self, layer: Layer, names: Sequence[str], *, until: float) -> list[Blob | None] | None:
        """What a layer holds under store keys, in order, without a body where it is gone; None where it cannot be asked."""
        own = (self._epochs.namespace,)
        ahead = [] if layer is self._files else self._lacking(own, layer)
        token = self._epochs.ask(ahead) if ahead else None
        asked = [*ahead, *names] if ahead else names
        raws = layer.peek(asked) or await layer.read(asked, until=until)
        if raws is None:
            return None
        news: list[Draft] = []
        if ahead:
            news, raws = await self._learn(ahead, raws[: len(ahead)], layer, token), raws[len(ahead) :]
        elif layer is self._files and not self.know_of(own) and await self._ask(layer, own, until=until) is None:
            return None
        era = self._memory.era
        found = await self._entries.read_each(names, raws, layer)
        tags = {blob.tags for blob in found if blob is not None and blob.tags and blob.encoded is not None}
        if tags:
            above = {name for some in tags for name in self._epochs.names(some)}
            self._know(above)
            more = await self._ask(layer, above, until=until)
            await self._keep([*news, *(more or ())])
            if more is None:
                return None
        elif news:
            await self._keep(news)
        if self._memory.era != era:  # an epoch has come since they were looked at
            covers = self._epochs.covers
            for at, blob in enumerate(found):
                if blob is not None and covers(blob.header.version, blob.tags):
                    found[at] = blob._replace(encoded=None)
        return found

    async def ask(self, layer: Layer, names: Iterable[str], *, until: float) -> bool:
        """Have a layer say of epochs what may be news; False where it cannot be asked."""
        news = await self._ask(layer, names, until=until)
        await self._keep(news or ())
        return news is not None

    async def _ask(self, layer: Layer, names: Iterable[str], *, until: float) -> list[Draft] | None:
        """The epochs of which a shared layer told, above all that was known; None where a layer cannot be asked."""
        lacking = self._lacking(names, layer)
        if not lacking:
            return []
        token = self._epochs.ask(lacking)
        raws = layer.peek(lacking) or await layer.read(lacking, until=until)
        return None if raws is None else await self._learn(lacking, raws, layer, token)

    def know_of(self, names: Iterable[str]) -> bool:
        """Take note of what this host's log knows of epochs, without I/O; False where it has to be asked."""
        store = self._local
        if store is None or not store.ready:
            return False
        self._know(names)
        return True

    def know(self) -> None:
        """Take note of what this host's log knows of the namespace's epoch; for who has just found the log in step."""
        self._know((self._epochs.namespace,))

    def heed(self, name: str, version: bytes) -> None:
        """An epoch was raised, here or elsewhere: nothing that is being computed under it is shared with later callers."""
        if self._raise(name, version):
            self._outdate(name)

    def trust(self, *, told: bool) -> None:
        """Whether Redis tells of each epoch that is raised; what it said so far may be no longer so."""
        self._epochs.trust(told=told)

    def concerns(self, name: str) -> bool:
        """Redis tells that an epoch was raised: whether anybody here has asked for it."""
        return self._epochs.raised(name)

    async def heed_redis(self, names: Sequence[str]) -> None:
        """Redis tells that these epochs were raised; how far, it has to be asked, unless it is the echo of what is known."""
        if self._redis is None:
            return
        before = {name: self._epochs.of(name) for name in names}
        if not await self.ask(self._redis, names, until=self._parts.due().redis):
            for name in names:  # nobody can say how far: all that was written up to now is gone
                self._raise(name, self._parts.hybrid.next())
        for name in names:
            if self._epochs.of(name) != before[name]:
                self._outdate(name)

    def _outdate(self, name: str) -> None:
        self._homes.outdate(self._epochs.of(name), None if name == self._epochs.namespace else name)

    def _lacking(self, names: Iterable[str], layer: Layer) -> list[str]:
        return self._epochs.unknown(names) if layer is self._redis else list(names)

    async def _learn(
        self, names: Sequence[str], raws: Sequence[bytes | None], layer: Layer, token: object
    ) -> list[Draft]:
        news = [
            self._entries.copy_of(name, blob)
            for name, blob in zip(names, await self._entries.read_each(names, raws, layer), strict=True)
            if blob is not None and self._raise(name, blob.header.version)
        ]
        if layer is self._redis:
            self._epochs.learn(names, token)
            return news
        return []

    async def _keep(self, news: Sequence[Draft]) -> None:
        """This host has to know of them in the next outage too; last of all, since a disk may hang."""
        if news and self._overlay is not None:
            await self._writer.keep_on_file(news, until=self._parts.due().files)

    def _know(self, names: Iterable[str]) -> None:
        if self._local is not None:
            for name in names:
                if (newest := self._local.newest(name)) is not None:
                    self._raise(name, newest.version)

    def _raise(self, name: str, version: bytes) -> bool:
        """Take note of an epoch; memory looks at each entry once more. False if it is known."""
        if not self._epochs.advance(name, version):
            return False
        self._memory.turn()
        if self._epochs.many:
            # What nobody has looked at since the last time may lie beneath one that is forgotten now.
            self._epochs.forget()
            self._memory.forgotten, self._forgot_in = self._forgot_in, self._memory.era
        return True
