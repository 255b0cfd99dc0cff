"""Makes many entries miss at once, by one epoch: it costs the same for ten of them and for a million."""

from toolcache.blob import EPOCH, NEVER
from toolcache.entries import Entries
from toolcache.entry import Invalidation
from toolcache.epochs import NAMESPACE, Epochs
from toolcache.home import Homes
from toolcache.parts import Parts
from toolcache.reader import Reader
from toolcache.risk import Risk
from toolcache.writer import Draft, Writer


class Invalidator:
    """Writes the epochs of one cache.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared, as far as this process knows.
        entries: names of epochs.
        reader: whose reads under way are told.
        writer: keeps epochs in the layers.
        homes: whose flights are told.
        risk: told of what no layer took.
    """

    def __init__(
        self, parts: Parts, epochs: Epochs, entries: Entries, reader: Reader, writer: Writer, homes: Homes, risk: Risk
    ) -> None:
        self._parts = parts
        self._epochs = epochs
        self._entries = entries
        self._reader = reader
        self._writer = writer
        self._homes = homes
        self._risk = risk
        self._far = parts.redis is not None or parts.files is not None

    async def clear(self) -> Invalidation:
        """Forget the namespace in every layer."""
        version = self._parts.hybrid.epoch()
        self._forget_before(version)
        self._parts.memory.clear()
        if not self._far:
            return Invalidation("namespace", "done", None, None)
        now_ms = int(self._parts.clock.time() * 1000)
        draft = Draft(name=self._entries.epoch_name, version=version, created_ms=now_ms, gone_ms=NEVER, flags=EPOCH)
        outcome = (await self._homes.here().see_through(self._writer.write([draft])))[0]
        self._forget_before(draft.version)
        self._risk.report("clear", [draft], [outcome], raising=True)
        return self._writer.receipt("namespace", outcome)

    def _forget_before(self, version: bytes) -> None:
        self._epochs.advance(NAMESPACE, version)
        self._parts.memory.era += 1
        self._reader.interrupt_all()
        self._homes.detach_all()
