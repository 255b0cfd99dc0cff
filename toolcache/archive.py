"""The file of a backup: a header, one record for each entry, and an end that says how many there were.

    header   magic ``TCBK`` | format, 1 | flags | length of the namespace | begun, ms | origin, 8 bytes | namespace | link
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
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Self

from toolcache.aside import Pace
from toolcache.errors import BackupError, SettingsError, UnsupportedKeyError
from toolcache.keys import text

MAGIC: Final = b"TCBK"
FORMAT: Final = 1
KEYED: Final = 0x01
LINK: Final = 16

HEADER: Final = struct.Struct(">4sBBBQ8s")
RECORD: Final = struct.Struct(">cBI")
END: Final = struct.Struct(">cQ")
_CHUNK: Final = 1 << 18
NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0)
AS_IT_IS: Final = getattr(os, "O_BINARY", 0)


class Head(NamedTuple):
    """What a backup is of.

    Attributes:
        namespace: the entries'.
        begun_ms: when it was begun, in milliseconds since the epoch.
        origin: 8 bytes that stand for the stores that they are in: only an export of the same ones goes on with it.
    """

    namespace: str
    begun_ms: int
    origin: bytes


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

    def _read(self, size: int) -> bytes:
        """The next bytes; raises BackupError where the disk does not give them."""
        try:
            return self._file.read(size)
        except OSError as error:
            raise BackupError(
                f"this backup cannot be read after entry {self.records:,}: {error.strerror or type(error).__name__}"
            ) from error

    def _read_head(self) -> Head:
        raw = self._read(HEADER.size)
        if len(raw) < HEADER.size or not raw.startswith(MAGIC):
            raise BackupError("this is no backup of toolcache")
        _, form, flags, length, begun_ms, origin = HEADER.unpack(raw)
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
        name, link = self._read(length), self._read(LINK)
        if self.chain.add(raw, name) != link:
            raise BackupError("the header of this backup is damaged, or it was written with another secret")
        self.at = HEADER.size + length + LINK
        try:
            return Head(text.namespace(name.decode("ascii")), begun_ms, origin)
        except (UnicodeDecodeError, SettingsError):
            raise BackupError("the header of this backup names no namespace") from None

    def _next(self, most: int) -> Record | None:
        """The next record, without a blob that is larger than ``most``; None at the end."""
        if self._ended:
            return None
        kind = self._read(1)
        if kind == b"Z":
            self._end()
            return None
        head = kind + self._read(RECORD.size - 1)
        if kind != b"E" or len(head) < RECORD.size:
            raise self._damaged()
        _, key_len, size = RECORD.unpack(head)
        key = self._read(key_len)
        end = self.at + RECORD.size + key_len + size + LINK
        if end > self.size:
            raise self._damaged()
        digest = blake2b(self.chain.link + head + key, digest_size=LINK, key=self._key)
        blob = b"".join(self._blob(digest, size, keep=size <= most))
        link = digest.digest()
        if self._read(LINK) != link:
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
            part = self._read(min(size, _CHUNK))
            if not part:
                raise self._damaged()
            digest.update(part)
            size -= len(part)
            if keep:
                yield part

    def _end(self) -> None:
        raw, before = b"Z" + self._read(END.size - 1), self.chain.link
        vouched = self._read(LINK) == self.chain.add(raw)
        self.chain.link = before
        if not vouched or len(raw) < END.size or END.unpack(raw)[1] != self.records or self._read(1):
            raise self._damaged()
        self._ended = True

    def _damaged(self) -> BackupError:
        return BackupError(
            f"this backup is damaged or cut off after entry {self.records:,}, at byte {self.at:,} of {self.size:,}"
        )


def _open_plain(path: Path) -> int:
    """Of a file that is one: to open a pipe would wait for who writes into it."""
    return plain(os.open(path, os.O_RDONLY | NO_WAIT | AS_IT_IS), whose=None)


def plain(file: int, *, whose: int | None) -> int:
    """The same, if it is a file and, unless that is None, of this user; else it is closed."""
    found = os.fstat(file)
    if stat.S_ISREG(found.st_mode) and whose in {None, found.st_uid}:
        return file
    os.close(file)
    raise OSError(errno.EPERM, "it is no plain file of this user")
