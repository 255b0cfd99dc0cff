"""Records that take one another's place, and whether the holder of a claim is alive.

Behind the record of a claim stands who holds it and until when: the boot, the writer's slot, its node, and an instant on the
boot clock. A holder of another boot, or whose slot is free or another node's, is dead, whatever its lease says. No pid is
asked: it means nothing in another container.
"""

import math
import struct
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from toolcache.blob import CLAIM as BLOB_CLAIM
from toolcache.blob import HEADER_SIZE, NEVER, end_of, pack_header, read_header
from toolcache.stores.log.batch import Batch, Draft, flags_of
from toolcache.stores.log.frame import BARE, BLOB, FIRST, HEAD_SIZE, MAX_BLOB, MAX_KEY, PENDING, pack
from toolcache.stores.log.index import Entry, digest
from toolcache.stores.log.log import Log, encode
from toolcache.stores.log.reader import Reader
from toolcache.swaps import Standing, Swapped
from toolcache.versions import ZERO

_STAMP: Final = struct.Struct(">16sH8sQ")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Exchange(Batch):
    """A swap that one caller waits for.

    Args:
        key: whose record it is.
        expected: what is to stand there, stamp and all; empty for nothing.
        new: what is to take its place, a whole blob; None for nothing.
        ttl: seconds after which it is gone.
        lease: seconds, for a claim.
        sync: whether it is on the disk before it is answered.
        pending: whether Redis is owed it.

    Raises:
        ValueError: ``new`` is no blob, or too large.
    """

    def __init__(
        self,
        key: str,
        expected: bytes,
        new: bytes | None,
        *,
        ttl: float,
        lease: float | None,
        sync: bool,
        pending: bool,
    ) -> None:
        super().__init__((), sync=sync)
        self.key = encode(key)
        self.name = digest(self.key)
        self.expected = expected
        self.new = new
        self.ttl = ttl
        self.lease = lease
        self.pending = pending
        self.once = True
        self.size = HEAD_SIZE + len(self.key) + len(new or b"") + _STAMP.size
        if new is not None and end_of(new) != len(new):
            raise ValueError("a record is a whole blob, header and all")
        if len(self.key) > MAX_KEY or self.size > MAX_BLOB:
            raise ValueError(f"a record takes at most {MAX_KEY:,} bytes of key and {MAX_BLOB:,} of blob")
        self.swapped: Swapped

    def prepare(self) -> None:
        """It is ready."""


class Claims:
    """Decides exchanges; in the writer's thread, under the lock of claims.

    Args:
        log: the shared state.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader = Reader(log)

    def exchange(self, asked: Exchange, draft: Draft) -> None:
        """Do it, if what is expected stands there: into the draft."""
        now_ms = int(self._log.clock.time() * 1000)
        old = self._log.index.get(asked.name)
        raw = self._reader.read(asked.key, now_ms) or b""
        done = raw == asked.expected
        if done and (raw or asked.new is not None):
            raw = self._replace(asked, raw, old, draft, now_ms)
        asked.swapped = Swapped(done, self.standing(raw))

    def _replace(self, asked: Exchange, raw: bytes, old: Entry | None, draft: Draft, now_ms: int) -> bytes:
        """Put the new record into the draft; the bytes that stand there then."""
        header = read_header(asked.new or raw)
        assert header is not None  # noqa: S101 - the log holds blobs
        above = ZERO if old is None else old.version
        if asked.new is None:
            header = header._replace(version=self._log.hybrid.next(above), fresh_until_ms=now_ms, gone_ms=now_ms)
        else:
            gone_ms = NEVER if math.isinf(asked.ttl) else now_ms + math.ceil(asked.ttl * 1000)
            header = header._replace(fresh_until_ms=gone_ms, gone_ms=gone_ms)
            if header.flags & BLOB_CLAIM or header.version <= above:
                # Claims that have ended are not in the index: what is newer than anything met is newer than these.
                header = header._replace(version=self._log.hybrid.next(max(above, header.version)))
        flags = flags_of(header) | (PENDING if asked.pending else 0)
        keep = header.gone_ms
        if old is None or old.keep <= now_ms:
            flags |= FIRST
        else:
            keep = max(keep, old.keep)
        stands = blob = pack_header(header) + (asked.new or b"")[HEADER_SIZE:]
        if asked.new is None:
            flags, stands = flags | BARE, b""
        elif asked.lease is not None:
            stands = blob = blob + self._stamp(asked.lease)
        record = pack(BLOB, flags, asked.key, blob, keep)
        entry = Entry(header.version, header.gone_ms, keep, 0, draft.size, len(record), flags)
        draft.add(asked.name, entry, [record], len(record))
        return stands

    def standing(self, raw: bytes) -> Standing:
        """What these bytes are, and how long their claim has left."""
        end = end_of(raw)
        if end is None or len(raw) - end != _STAMP.size:
            return Standing(raw, raw)
        boot, slot, node, until_ms = _STAMP.unpack_from(raw, end)
        left = until_ms / 1000 - self._log.clock.boottime()
        alive = left > 0 and boot == boot_id() and self._log.lives(slot, node)
        return Standing(raw, raw[:end], left if alive else min(left, 0.0))

    def _stamp(self, lease: float) -> bytes:
        until_ms = math.ceil((self._log.clock.boottime() + lease) * 1000)
        return _STAMP.pack(boot_id(), self._log.slot(), self._log.hybrid.node, until_ms)


@cache
def boot_id() -> bytes:
    """16 bytes that no other boot of this machine has; zeros where the system does not tell."""
    with suppress(OSError, ValueError):
        return bytes.fromhex(_BOOT_ID.read_text("ascii").strip().replace("-", ""))
    return bytes(16)
