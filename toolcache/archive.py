"""The file of a backup: a header, one record for each entry, and an end that says how many there were.

    header   magic ``TCBK`` | format, 1 | flags | length of the namespace | begun, ms | namespace | link
    record   ``E`` | length of the key text | length of the blob | key text | blob | link
    end      ``Z`` | records | link

Numbers are big-endian. A link is 16 bytes: BLAKE2b of the link before it and of what it ends. So each record vouches for all that
stand before it, and a file that was damaged, cut off, put together anew or has been added to is found out at the first byte
that is not as it was. Under a secret the links are made with a key of its own: then nobody else can write such a file.

The blobs are those of the stores (see ``toolcache.blob``), each for the store key that the header's namespace and the key text make.
The form is frozen: ``format`` tells it from later ones.
"""

import errno
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final, NamedTuple, Self

from toolcache.aside import Pace
from toolcache.errors import BackupError, SettingsError, UnsupportedKeyError
from toolcache.keys import text

MAGIC: Final = b"TCBK"
FORMAT: Final = 1
KEYED: Final = 0x01
LINK: Final = 16

_HEADER: Final = struct.Struct(">4sBBBQ")
_RECORD: Final = struct.Struct(">cBI")
_END: Final = struct.Struct(">cQ")
_SYNC_EVERY: Final = 64 << 20
"""Bytes after which the disk is waited for: what a power cut can take of an export that is under way."""
_CHUNK: Final = 1 << 18
_NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


class Head(NamedTuple):
    """What a backup is of: the namespace, and when it was begun, in milliseconds since the epoch."""

    namespace: str
    begun_ms: int


class Record(NamedTuple):
    """One entry: its key text, and its blob; None for one that is larger than was asked for."""

    key: str
    blob: bytes | None
    size: int


class Chain:
    """The links of one file, each of which vouches for all before it.

    Args:
        key: up to 64 bytes, empty for none.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.link = bytes(LINK)

    def add(self, *parts: bytes) -> bytes:
        """The link of what follows."""
        self.link = blake2b(b"".join((self.link, *parts)), digest_size=LINK, key=self._key).digest()
        return self.link


class ArchiveReader:
    """Reads a backup that was opened, from its beginning. Blocks; for a thread.

    Args:
        file: where it is; anything may stand in it.
        key: as the file was written with.
        most: bytes of the largest blob that is kept in memory.

    Raises:
        BackupError: it is none, of a later format, or of another secret.
    """

    def __init__(self, file: BinaryIO, key: bytes, most: int) -> None:
        self._file = file
        self._most = most
        self._key = key
        self.size = os.fstat(file.fileno()).st_size
        self.at = 0
        """Bytes of header and records that are vouched for."""
        self.records = 0
        self.chain = Chain(key)
        self._fault: BackupError | None = None
        self._ended = False
        self.head = self._read_head()

    @classmethod
    def open(cls, path: Path, key: bytes, most: int) -> Self:
        """Of a file; a pipe or a device is none."""
        try:
            file = os.fdopen(_open_plain(path), "rb")
        except OSError as error:
            raise BackupError(f"{path} cannot be read: {error.strerror or type(error).__name__}") from error
        try:
            return cls(file, key, most)
        except BaseException:
            file.close()
            raise

    def close(self) -> None:
        """No more of it."""
        self._file.close()

    def records_of(self, count: int, size: int) -> list[Record]:
        """The next records, so many or so many bytes of them; none at the end.

        Raises:
            BackupError: what follows is not what was written.
        """
        found: list[Record] = []
        pace = Pace()
        try:
            while self._fault is None and len(found) < count and size > 0 and (record := self._next(self._most)):
                found.append(record)
                size -= record.size
                pace.breathe()
        except BackupError as fault:
            self._fault = fault  # what came before it was whole
        if self._fault is not None and not found:
            raise self._fault
        return found

    def check(self) -> int:
        """Go through all that follows; how many records there are in all. Raises as ``records_of``."""
        pace = Pace()
        while self._next(-1) is not None:
            pace.breathe()
        return self.records

    def rewind(self) -> None:
        """To the first record again."""
        self._file.seek(0)
        self.at = self.records = 0
        self._ended = False
        self.chain = Chain(self._key)
        self.head = self._read_head()

    def _read_head(self) -> Head:
        raw = self._file.read(_HEADER.size)
        if len(raw) < _HEADER.size or not raw.startswith(MAGIC):
            raise BackupError("this is no backup of toolcache")
        _, form, flags, length, begun_ms = _HEADER.unpack(raw)
        if form != FORMAT:
            raise BackupError(
                f"this backup is of format {form}, and only {FORMAT} is known here: read it with what wrote it"
            )
        if bool(flags & KEYED) is not bool(self._key):
            known = (
                "and this cache has none"
                if flags & KEYED
                else "but this cache believes only what its secret vouches for"
            )
            raise BackupError(f"this backup was written {'with' if flags & KEYED else 'without'} a secret, {known}")
        name, link = self._file.read(length), self._file.read(LINK)
        if self.chain.add(raw, name) != link:
            raise BackupError("the header of this backup is damaged, or it was written with another secret")
        self.at = _HEADER.size + length + LINK
        try:
            return Head(text.namespace(name.decode("ascii")), begun_ms)
        except (UnicodeDecodeError, SettingsError):
            raise BackupError("the header of this backup names no namespace") from None

    def _next(self, most: int) -> Record | None:
        """The next record, without a blob that is larger than ``most``; None at the end."""
        if self._ended:
            return None
        kind = self._file.read(1)
        if kind == b"Z":
            self._end()
            return None
        head = kind + self._file.read(_RECORD.size - 1)
        if kind != b"E" or len(head) < _RECORD.size:
            raise self._damaged()
        _, key_len, size = _RECORD.unpack(head)
        key = self._file.read(key_len)
        end = self.at + _RECORD.size + key_len + size + LINK
        if end > self.size:
            raise self._damaged()
        digest = blake2b(self.chain.link + head + key, digest_size=LINK, key=self._key)
        blob = b"".join(self._blob(digest, size, keep=size <= most))
        link = digest.digest()
        if self._file.read(LINK) != link:
            raise self._damaged()
        try:
            name = str(text.KeyText(key.decode("ascii")))
        except (UnicodeDecodeError, UnsupportedKeyError):
            raise self._damaged() from None
        self.chain.link, self.at, self.records = link, end, self.records + 1
        return Record(name, blob if size <= most else None, size)

    def _blob(self, digest: "blake2b", size: int, *, keep: bool) -> Iterator[bytes]:
        """What follows, in parts, each of which is digested."""
        while size > 0:
            part = self._file.read(min(size, _CHUNK))
            if not part:
                raise self._damaged()
            digest.update(part)
            size -= len(part)
            if keep:
                yield part

    def _end(self) -> None:
        raw, before = b"Z" + self._file.read(_END.size - 1), self.chain.link
        vouched = self._file.read(LINK) == self.chain.add(raw)
        self.chain.link = before
        if not vouched or len(raw) < _END.size or _END.unpack(raw)[1] != self.records or self._file.read(1):
            raise self._damaged()
        self._ended = True

    def _damaged(self) -> BackupError:
        return BackupError(
            f"this backup is damaged or cut off after entry {self.records:,}, at byte {self.at:,} of {self.size:,}"
        )


class ArchiveWriter:
    """Writes a backup beside its place, and puts it there when it is whole. Blocks; for a thread.

    What an earlier one has left unfinished there is gone on with, as far as it is whole.

    Args:
        path: where it is to be.
        head: what it is of.
        key: of its links, empty for none.
        oldest_ms: what was begun before that instant is not gone on with.
        most: bytes of the largest blob.

    Raises:
        BackupError: there is no such place, or another writes there.
    """

    def __init__(self, path: Path, head: Head, key: bytes, *, oldest_ms: float, most: int) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._key = key
        self.records = 0
        self._unsynced = 0
        self._reader: ArchiveReader | None = None
        self._lock = Lock()  # who leaves in the middle of a write closes behind it
        try:
            self._file = os.fdopen(_open_private(self._part), "r+b")
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._claim()
            self._go_on(head, oldest_ms, most)
        except BaseException:
            self._file.close()
            raise

    def old(self, count: int, size: int) -> list[Record]:
        """The next of what was there already; to be asked until there is none, before anything is written."""
        if self._reader is None:
            return []
        found: list[Record] = []
        with suppress(BackupError):  # from there on it is written anew
            found = self._reader.records_of(count, size)
        if not found:
            self._begin_at(self._reader)
            self._reader = None
        return found

    def write(self, records: list[tuple[str, bytes]]) -> None:
        """Add entries, by their key texts."""
        parts, pace = list[bytes](), Pace()
        for key, blob in records:
            head, name = _RECORD.pack(b"E", len(key), len(blob)), key.encode("ascii")
            parts += [head, name, blob, self._chain.add(head, name, blob)]
            pace.breathe()
        with self._lock:
            self._append(b"".join(parts))
        self.records += len(records)

    def finish(self) -> int:
        """Write the end and put the file in its place; how many bytes it has."""
        end = _END.pack(b"Z", self.records)
        self._append(end + self._chain.add(end))
        try:
            size: int = self._file.tell()
            os.fsync(self._file.fileno())
            self._part.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise self._failed(error) from error
        return size

    def close(self) -> None:
        """No more of it: what is not finished stays beside its place."""
        with self._lock, suppress(OSError):
            self._file.close()

    def _claim(self) -> None:
        """Make sure that nobody else writes there, or has just put it in its place."""
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = os.path.samestat(os.fstat(self._file.fileno()), self._part.stat())
        except OSError:
            mine = False
        if not mine:
            raise BackupError(f"{self._part} is being written by another export: wait for it, or choose another path")

    def _go_on(self, head: Head, oldest_ms: float, most: int) -> None:
        """Find out whether what is there is the beginning of this very backup."""
        with suppress(BackupError):
            reader = ArchiveReader(self._file, self._key, most)
            if reader.head.namespace == head.namespace and reader.head.begun_ms >= oldest_ms:
                self._reader = reader
                return
        name = head.namespace.encode("ascii")
        raw = _HEADER.pack(MAGIC, FORMAT, KEYED if self._key else 0, len(name), head.begun_ms)
        self._chain = Chain(self._key)
        self._cut(0)
        self._append(raw + name + self._chain.add(raw, name))

    def _begin_at(self, reader: ArchiveReader) -> None:
        """Go on after what is whole; an end that was written already is written anew."""
        self._chain, self.records = reader.chain, reader.records
        self._cut(reader.at)

    def _cut(self, at: int) -> None:
        try:
            self._file.truncate(at)
            self._file.seek(at)
        except OSError as error:
            raise self._failed(error) from error

    def _append(self, raw: bytes) -> None:
        try:
            self._file.write(raw)
            self._file.flush()
            self._unsynced += len(raw)
            if self._unsynced >= _SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._unsynced = 0
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> BackupError:
        why = error.strerror or type(error).__name__
        return BackupError(
            f"{self._part} cannot be written: {why}; the path names a file in a directory that is there and has room"
        )


def _open_plain(path: Path) -> int:
    """Of a file that is one: to open a pipe would wait for who writes into it."""
    return _plain(os.open(path, os.O_RDONLY | _NO_WAIT), whose=None)


def _open_private(path: Path) -> int:
    """Of a file that is for us alone, made unless it is there; a link is not followed."""
    file = _plain(os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | _NO_WAIT, 0o600), whose=_me())
    if hasattr(os, "fchmod"):
        os.fchmod(file, 0o600)
    return file


def _plain(file: int, *, whose: int | None) -> int:
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and whose in {None, found.st_uid}:
        return file
    os.close(file)
    raise OSError(errno.EPERM, "it is no plain file of this user")


def _me() -> int | None:
    return os.geteuid() if hasattr(os, "geteuid") else None
