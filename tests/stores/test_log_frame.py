"""The layout of a record, which outlives the code."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.stores.log import frame
from toolcache.stores.log.frame import BLOB, HEAD_SIZE, MARK, blob_in, pack, read_frame
from toolcache.stores.log.segment import BrokenSegmentError, Record, walk

GOLDEN = bytes.fromhex("544c0100 0081 0003 00000005 0102030405060708 6abbe81c ee508296 6b6579 6279746573")


def test_the_layout_is_frozen() -> None:
    """A record written by the first release is read by every other: these very bytes."""
    record = pack(BLOB, frame.PENDING | frame.FIRST, b"key", b"bytes", 0x0102030405060708)
    assert record == GOLDEN
    assert read_frame(memoryview(GOLDEN)) == (BLOB, 0x81, 3, 5, 0x0102030405060708, 0x6ABBE81C)
    assert (frame.PENDING, frame.CLEAN, frame.TOMBSTONE, frame.EPOCH) == (1, 2, 4, 8)
    assert (frame.CLAIM, frame.RESULT, frame.BARE, frame.FIRST) == (16, 32, 64, 128)
    assert (BLOB, MARK, HEAD_SIZE) == (1, 2, 28)


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 255), st.integers(0, 2**63 - 1))
def test_records_come_back(key: bytes, blob: bytes, flags: int, keep: int) -> None:
    """Whatever the key and the blob are."""
    record = pack(BLOB, flags, key, blob, keep)
    found = read_frame(memoryview(record))
    assert found is not None
    assert (found.flags, found.keep_until, found.size) == (flags, keep, len(record))
    assert blob_in(record, key) == blob
    assert blob_in(record, key + b"x") is None


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data: st.DataObject) -> None:
    """BUG-82: one byte changed, cut off or added anywhere: not a record of that key."""
    key, blob = data.draw(st.binary(min_size=1, max_size=40)), data.draw(st.binary(max_size=200))
    record = bytearray(pack(BLOB, 0, key, blob, 1))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    assert blob_in(record, key) is None
    record = bytearray(pack(BLOB, 0, key, blob, 1))
    assert blob_in(record[:at], key) is None
    assert blob_in(record + b"x", key) is None


@given(st.binary(max_size=2000))
def test_a_walk_over_any_bytes_ends(junk: bytes) -> None:
    """FS-04: it yields what is whole, and stops quietly or by saying that it cannot go on."""
    good = pack(BLOB, 0, b"k", b"blob", 1)
    data = good + junk
    found: list[Record] = []
    with suppress(BrokenSegmentError):
        found.extend(walk(lambda count, at: data[at : at + count], 0, len(data)))
    assert found[0].key == b"k"
    assert bytes(found[0].blob) == b"blob"


def test_a_walk_passes_over_a_damaged_body() -> None:
    """BUG-82: the frame tells where the next record begins; only the damaged one is lost."""
    records = [pack(BLOB, 0, b"k%d" % n, b"blob" * 50, 1) for n in range(3)]
    data = bytearray(b"".join(records))
    data[len(records[0]) + HEAD_SIZE + 20] ^= 1
    keys = [record.key for record in walk(lambda count, at: bytes(data[at : at + count]), 0, len(data))]
    assert keys == [b"k0", None, b"k2"]


def test_a_walk_stops_where_a_frame_cannot_be_trusted() -> None:
    """The records before it are there; a length that is not believed leads nowhere."""
    records = [pack(BLOB, 0, b"k%d" % n, b"blob", 1) for n in range(3)]
    data = bytearray(b"".join(records))
    data[len(records[0]) + 9] ^= 1
    found: list[Record] = []
    with pytest.raises(BrokenSegmentError):
        found.extend(walk(lambda count, at: bytes(data[at : at + count]), 0, len(data)))
    assert [record.key for record in found] == [b"k0"]


@pytest.mark.parametrize("size", [0, 10, 1 << 20, 3 << 20])
def test_a_walk_takes_records_of_any_size(size: int) -> None:
    """Larger than the portion that is read at once, too; an incomplete one at the end is left for later."""
    record = pack(BLOB, 0, b"k", bytes(size), 1)
    data = record * 2 + record[:-1]
    found = [(r.offset, len(r.blob)) for r in walk(lambda count, at: data[at : at + count], 0, len(data))]
    assert found == [(0, size), (len(record), size)]


def test_zeros_at_the_end_are_a_torn_tail() -> None:
    """FS-12: what a power cut leaves behind is no damage worth telling."""
    record = pack(BLOB, 0, b"k", b"blob", 1)
    data = record + bytes(3 << 20)
    assert len(list(walk(lambda count, at: data[at : at + count], 0, len(data)))) == 1
