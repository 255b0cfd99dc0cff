"""Writes the file of a backup: beside its place, and there when it is whole."""

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

from toolcache.archive import (
    AS_IT_IS,
    END,
    FORMAT,
    HEADER,
    KEYED,
    MAGIC,
    NO_WAIT,
    RECORD,
    ArchiveReader,
    Chain,
    Head,
    Record,
    plain,
)
from toolcache.aside import Pace
from toolcache.errors import BackupError

_SYNC_EVERY: Final = 64 << 20
"""Bytes after which the disk is waited for: what a power cut can take of an export that is under way."""

_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)


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
        if not path.name:
            raise BackupError(f"{path} names no file: give the path of the backup that is to be written")
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
            head, name = RECORD.pack(b"E", len(key), len(blob)), key.encode("ascii")
            parts += [head, name, blob, self._chain.add(head, name, blob)]
            pace.breathe()
        with self._lock:
            self._append(b"".join(parts))
        self.records += len(records)

    def finish(self) -> int:
        """Write the end and put the file in its place; how many bytes it has."""
        end = END.pack(b"Z", self.records)
        self._append(end + self._chain.add(end))
        try:
            size: int = self._file.tell()
            os.fsync(self._file.fileno())
            if os.name == "nt":
                self._file.close()  # there nobody renames what is open
            self._part.replace(self.path)
            _sync_folder(self.path.parent)
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
            there = reader.head
            if there._replace(begun_ms=head.begun_ms) == head and there.begun_ms >= oldest_ms:
                self._reader = reader
                return
        name = head.namespace.encode("ascii")
        raw = HEADER.pack(MAGIC, FORMAT, KEYED if self._key else 0, len(name), head.begun_ms, head.origin)
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


def _open_private(path: Path) -> int:
    """Of a file that is for us alone, made unless it is there; a link is not followed."""
    file = plain(os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK | NO_WAIT | AS_IT_IS, 0o600), whose=_me())
    if hasattr(os, "fchmod"):
        os.fchmod(file, 0o600)
    return file


def _sync_folder(folder: Path) -> None:
    """Have the disk know the new name, where a directory can be opened."""
    if hasattr(os, "O_DIRECTORY"):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _me() -> int | None:
    return os.geteuid() if hasattr(os, "geteuid") else None
