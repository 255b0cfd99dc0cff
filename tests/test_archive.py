"""The file of a backup: whatever is done to it is told, and whatever it claims is bounded."""

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.archive import FORMAT, KEYED, LINK, MAGIC, ArchiveReader, Chain, Head, Record
from toolcache.archive_writer import ArchiveWriter
from toolcache.errors import BackupError
from toolcache.seen import Seen

HEAD = Head("shop", 1_700_000_000_000, b"origin--")
RECORDS = [("a", b"one"), ("b:%20c", b""), ("d" * 200, b"x" * 1_000), ("", b"\x00")]
MOST = 10_000


def written(path: Path, records: list[tuple[str, bytes]] = RECORDS, key: bytes = b"") -> bytes:
    """The bytes of a whole backup."""
    writer = ArchiveWriter(path, HEAD, key, oldest_ms=0, most=MOST)
    try:
        writer.write(records)
        assert writer.finish() == path.stat().st_size
    finally:
        writer.close()
    return path.read_bytes()


def read(path: Path, key: bytes = b"", most: int = MOST) -> list[Record]:
    """All records, after they were checked."""
    reader = ArchiveReader.open(path, key, most)
    try:
        count = reader.check()
        reader.rewind()
        found: list[Record] = []
        while some := reader.records_of(2, MOST):
            found += some
        assert (len(found), reader.head) == (count, HEAD)
        return found
    finally:
        reader.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "one.backup"


@pytest.mark.parametrize("key", [b"", b"k" * 16])
def test_what_was_written_is_read(path: Path, key: bytes) -> None:
    """Keys and blobs come back in order, whatever is in them; nothing is left beside the file, which is for its owner alone."""
    written(path, key=key)
    assert [(record.key, record.blob, record.size) for record in read(path, key)] == [
        (key, blob, len(blob)) for key, blob in RECORDS
    ]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("key", [b"", b"k" * 16])
def test_damage_to_any_byte_is_told(path: Path, key: bytes) -> None:
    """BUG-82: each byte of the first entries and of the end changed in turn, and some of all others, is an error at once."""
    whole = written(path, key=key)
    for at in [*range(300), *range(300, len(whole) - 60, 11), *range(len(whole) - 60, len(whole))]:
        for flip in (0x01, 0x80, 0xFF) if at < 300 or at > len(whole) - 60 else (0x01,):
            raw = bytearray(whole)
            raw[at] ^= flip
            path.write_bytes(raw)
            with pytest.raises(BackupError):
                read(path, key)


def test_what_stands_before_the_damage_is_handed_out_as_it_was(path: Path) -> None:
    """BUG-82: who reads without checking first gets no record that was not written, and an error in the place of what is damaged."""
    whole = written(path)
    good = [(key, blob) for key, blob in RECORDS]
    for at in range(43, len(whole)):
        raw = bytearray(whole)
        raw[at] ^= 0x10
        path.write_bytes(raw)
        reader, found = ArchiveReader.open(path, b"", MOST), list[Record]()
        told = ""
        try:
            while some := reader.records_of(10, MOST):
                found += some
        except BackupError as error:
            told = str(error)
        reader.close()
        assert "damaged or cut off after entry" in told
        assert [(record.key, record.blob) for record in found] == good[: len(found)]


def test_a_file_cut_off_anywhere_is_told(path: Path) -> None:
    """BUG-82: of every length in its first entries and at its end, and of some others."""
    whole = written(path)
    for length in [*range(300), *range(300, len(whole) - 60, 11), *range(len(whole) - 60, len(whole))]:
        path.write_bytes(whole[:length])
        with pytest.raises(BackupError):
            read(path)
    path.write_bytes(whole + b"\x00")
    with pytest.raises(BackupError, match="damaged"):
        read(path)


@pytest.mark.parametrize("change", ["dropped", "doubled", "swapped", "of another"])
def test_records_put_together_anew_are_told(path: Path, change: str) -> None:
    """BUG-82: whole records, each as it was written, but another number or order of them."""
    sizes = [6 + len(key) + len(blob) + LINK for key, blob in RECORDS]
    whole = written(path)
    start = len(whole) - 9 - LINK - sum(sizes)
    parts, at = [], start
    for size in sizes:
        parts.append(whole[at : at + size])
        at += size
    other = written(path.with_name("other"), [("z", b"zzz")])
    anew = {
        "dropped": parts[:-1],
        "doubled": [*parts, parts[-1]],
        "swapped": [parts[1], parts[0], *parts[2:]],
        "of another": [other[start : start + 6 + 1 + 3 + LINK], *parts],
    }[change]
    path.write_bytes(whole[:start] + b"".join(anew) + whole[at:])
    with pytest.raises(BackupError, match="damaged"):
        read(path)


def test_under_a_secret_nobody_else_can_write_one(path: Path) -> None:
    """BUG-82: a file without links of the secret's key, or with another's, is told at its header."""
    written(path, key=b"")
    with pytest.raises(BackupError, match="was written without a secret, but this cache believes only"):
        read(path, b"k" * 16)
    raw = bytearray(path.read_bytes())
    raw[5] |= KEYED
    path.write_bytes(raw)
    with pytest.raises(BackupError, match="damaged, or it was written with another secret"):
        read(path, b"k" * 16)
    written(path, key=b"k" * 16)
    with pytest.raises(BackupError, match="was written with a secret, and this cache has none"):
        read(path)
    with pytest.raises(BackupError, match="damaged, or it was written with another secret"):
        read(path, b"j" * 16)


def forged(*parts: Callable[[Chain], bytes], head: bytes | None = None) -> bytes:
    """A file with valid links whatever stands in it: what somebody else's program may have written."""
    chain = Chain(b"")
    raw = head or struct.pack(">4sBBBQ8s", MAGIC, FORMAT, 0, 4, HEAD.begun_ms, HEAD.origin) + b"shop"
    out = raw + chain.add(raw)
    for part in parts:
        out += part(chain)
    return out


def record(key: bytes, blob: bytes, claimed: int | None = None) -> Callable[[Chain], bytes]:
    head = struct.pack(">cBI", b"E", len(key), len(blob) if claimed is None else claimed)
    return lambda chain: head + key + blob + chain.add(head + key + blob)


def end(count: int) -> Callable[[Chain], bytes]:
    raw = struct.pack(">cQ", b"Z", count)
    return lambda chain: raw + chain.add(raw)


@pytest.mark.parametrize(
    "key",
    [b"../../etc/passwd\x00", b"a b", b"a\nb", b"%2f", "ä".encode(), b"a%2", b"d" * 201, b"x~" + b"0" * 32, b"{a}"],
)
def test_a_key_that_no_cache_has_made_is_told(path: Path, key: bytes) -> None:
    """BUG-90: a key text of a file is one of ours or an error, and names no place in any file system."""
    path.write_bytes(forged(record(key, b"blob"), end(1)))
    with pytest.raises(BackupError, match="damaged"):
        read(path)


def test_what_a_file_claims_is_not_believed(path: Path) -> None:
    """BUG-82: neither sizes beyond its end, nor another count, nor a later format, nor a namespace that cannot be."""
    for raw in (
        forged(record(b"a", b"blob", claimed=0xFFFF_FFFF), end(1)),
        forged(record(b"a", b"blob"), end(2)),
        forged(record(b"a", b"blob")),
        forged(lambda chain: b"X", end(0)),
        forged(end(0), end(0)),
    ):
        path.write_bytes(raw)
        with pytest.raises(BackupError, match="damaged or cut off after entry"):
            read(path)
    for head, said in (
        (
            struct.pack(">4sBBBQ8s", MAGIC, FORMAT + 1, 0, 4, 0, b"") + b"shop",
            "is of format 2, and only 1 is known here",
        ),
        (struct.pack(">4sBBBQ8s", MAGIC, FORMAT, 0, 4, 0, b"") + b"../.", "names no namespace"),
        (struct.pack(">4sBBBQ8s", MAGIC, FORMAT, 0, 2, 0, b"") + "ä".encode(), "names no namespace"),
        (b"PK\x03\x04" + bytes(100), "this is no backup of toolcache"),
        (b"", "this is no backup of toolcache"),
    ):
        path.write_bytes(forged(head=head) if head else b"")
        with pytest.raises(BackupError, match=said):
            read(path)


def test_a_large_record_takes_no_memory(path: Path) -> None:
    """BUG-82: what is larger than asked for is checked, counted and left out, and those behind it are read."""
    written(path, [("large", bytes(5_000_000)), ("small", b"x")])
    assert [(one.key, one.blob, one.size) for one in read(path)] == [("large", None, 5_000_000), ("small", b"x", 1)]


@given(st.binary(max_size=400))
def test_noise_is_told(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """BUG-82: any bytes are no backup, and those behind a good header neither, or are an empty one."""
    path = tmp_path_factory.getbasetemp() / "noise"
    for raw in (noise, forged()[: -LINK or None] + noise, forged() + noise):
        path.write_bytes(raw)
        with pytest.raises(BackupError):
            read(path)


# -- what an export that was ended has left ------------------------------------------------------------------------


def test_what_was_written_is_gone_on_with_from_the_last_whole_record(path: Path) -> None:
    """BUG-82: cut off or damaged anywhere, what stands before is kept, what follows is written anew, and the file is whole."""
    whole = written(path)
    part = path.with_name(path.name + ".part")
    for at in range(0, len(whole) + 1, 7):
        for raw in (whole[:at], whole[:at] + b"\xff" * 40):
            path.unlink(missing_ok=True)
            part.write_bytes(raw)
            writer = ArchiveWriter(path, HEAD, b"", oldest_ms=0, most=MOST)
            there: list[Record] = []
            while old := writer.old(1, MOST):
                there += old
            assert [(one.key, one.blob) for one in there] == RECORDS[: len(there)]
            writer.write(RECORDS[len(there) :])
            writer.finish()
            writer.close()
            assert path.read_bytes() == whole


@pytest.mark.parametrize("change", [{"namespace": "bank"}, {"origin": b"elsewher"}, {"begun_ms": HEAD.begun_ms + 10}])
def test_what_another_has_left_is_begun_anew(path: Path, change: dict[str, Any]) -> None:
    """An export of another namespace, of other stores, or too long after, goes on with nothing."""
    part = path.with_name(path.name + ".part")
    written(path)
    path.rename(part)
    head = HEAD._replace(**change)
    writer = ArchiveWriter(path, head, b"", oldest_ms=head.begun_ms, most=MOST)
    assert writer.old(10, MOST) == []
    writer.finish()
    writer.close()
    reader = ArchiveReader.open(path, b"", MOST)
    assert (reader.head, reader.check()) == (head, 0)
    reader.close()


def test_two_do_not_write_one_file(path: Path) -> None:
    """The second is told to wait, and harms nothing."""
    writer = ArchiveWriter(path, HEAD, b"", oldest_ms=0, most=MOST)
    with pytest.raises(BackupError, match="is being written by another export"):
        ArchiveWriter(path, HEAD, b"", oldest_ms=0, most=MOST)
    writer.write(RECORDS)
    writer.finish()
    writer.close()
    assert len(read(path)) == 4


def test_places_that_cannot_be(path: Path, tmp_path: Path) -> None:
    """BUG-90: a link, a pipe and a directory are neither written nor read; the error says where and what can be done."""
    part = path.with_name(path.name + ".part")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    part.symlink_to(victim)
    with pytest.raises(BackupError, match="cannot be written"):
        ArchiveWriter(path, HEAD, b"", oldest_ms=0, most=MOST)
    assert victim.read_text() == "precious"
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(BackupError, match="no plain file of this user"):
        ArchiveWriter(path, HEAD, b"", oldest_ms=0, most=MOST)
    with pytest.raises(BackupError, match="cannot be read: it is no plain file"):
        ArchiveReader.open(part, b"", MOST)
    for nowhere in (tmp_path / "no" / "such", tmp_path):
        with pytest.raises(BackupError, match="cannot be read"):
            ArchiveReader.open(nowhere, b"", MOST)
    with pytest.raises(BackupError, match="names no file"):
        ArchiveWriter(Path("/"), HEAD, b"", oldest_ms=0, most=MOST)
    with pytest.raises(BackupError, match="in a directory that is there"):
        ArchiveWriter(tmp_path / "no" / "such", HEAD, b"", oldest_ms=0, most=MOST)


def test_a_disk_that_fails_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be synced is not put in its place."""

    def full(_file: int) -> None:
        raise OSError(28, "No space left on device")

    writer = ArchiveWriter(path, HEAD, b"", oldest_ms=0, most=MOST)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match="cannot be written: No space left on device"):
        writer.finish()
    writer.close()
    assert not path.exists()


def test_a_disk_that_does_not_give_what_it_has_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is a fault of the backup, as any other is."""
    written(path)
    reader = ArchiveReader.open(path, b"", MOST)

    class Broken:
        def read(self, _size: int) -> bytes:
            raise OSError(5, "Input/output error")

        close = reader._file.close

    monkeypatch.setattr(reader, "_file", Broken())
    with pytest.raises(BackupError, match="cannot be read after entry 0: Input/output error"):
        reader.check()
    reader.close()


# -- which keys were met -------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(max_size=3), st.sampled_from([b"1" * 16, b"2" * 16]))))
def test_seen_is_a_set(met: list[tuple[str, bytes]]) -> None:
    """Whether a key was met in a version is known, as a set would."""
    seen, known = Seen(), set[tuple[str, bytes]]()
    for key, version in met:
        assert seen.has(key, version) == ((key, version) in known)
        assert seen.add(key, version) == ((key, version) not in known)
        known.add((key, version))
    assert len(seen) == len(known)
    assert all(seen.has(key, version) for key, version in known)


def test_seen_takes_few_bytes_a_key() -> None:
    """20,000 keys take less than half a megabyte, and each is found again."""
    seen = Seen()
    assert all(seen.add(f"k{number}", bytes(16)) for number in range(20_000))
    assert not any(seen.add(f"k{number}", bytes(16)) for number in range(20_000))
    assert sum(table.itemsize * len(table) for table in seen._tables) < 24 * 20_000
