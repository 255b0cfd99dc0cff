"""The header of a blob: its layout, and what is not one."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.blob import (
    EPOCH,
    FORMAT,
    HEADER_SIZE,
    KNOWN_FLAGS,
    MAX_COST_MS,
    NEVER,
    RECORD,
    SEALED,
    TOMBSTONE,
    CorruptBlobError,
    Header,
    pack_header,
    read_brief,
    read_header,
)

HEADER = Header(
    flags=RECORD,
    version=bytes(range(16)),
    created_ms=1_800_000_000_000,
    fresh_until_ms=1_800_000_060_000,
    gone_ms=NEVER,
    cost_ms=1234,
    digest=bytes(range(100, 116)),
    meta_len=7,
    body_len=1000,
)
headers = st.builds(
    Header,
    flags=st.integers(0, KNOWN_FLAGS),
    version=st.binary(min_size=16, max_size=16),
    created_ms=st.integers(0, NEVER),
    fresh_until_ms=st.integers(0, NEVER),
    gone_ms=st.integers(0, NEVER),
    cost_ms=st.integers(0, MAX_COST_MS),
    digest=st.binary(min_size=16, max_size=16),
    meta_len=st.integers(0, 2**16 - 1),
    body_len=st.integers(0, 2**32 - 1),
)


def with_crc(raw: bytes) -> bytes:
    return raw + struct.pack(">I", zlib.crc32(raw))


def test_the_layout_is_frozen() -> None:
    """SZ-12: these 74 bytes are this header for as long as the format is 1; scripts read at these offsets."""
    raw = pack_header(HEADER)
    assert raw == bytes.fromhex(
        "5443 01 04"
        "000102030405060708090a0b0c0d0e0f"
        "000001a3185c5000 000001a3185d3a60 7fffffffffffffff"
        "000004d2"
        "6465666768696a6b6c6d6e6f70717273"
        "0007 000003e8 1cfc56bd"
    )
    assert len(raw) == HEADER_SIZE == 74
    assert (raw[:2], raw[2], raw[3], raw[4:20]) == (b"TC", FORMAT, RECORD, HEADER.version)
    assert [int.from_bytes(raw[at : at + 8], "big") for at in (20, 28, 36)] == list(HEADER[2:5])
    assert (TOMBSTONE, EPOCH, RECORD, SEALED) == (1, 2, 4, 8)


@given(headers, st.binary(max_size=20))
def test_what_is_packed_is_read(header: Header, rest: bytes) -> None:
    """BUG-78: every field comes back, whatever follows, from bytes and from a view of them."""
    raw = pack_header(header)
    assert read_header(raw + rest) == header
    assert read_header(memoryview(raw + rest)) == header


@given(headers, st.integers(0, HEADER_SIZE * 8 - 1))
def test_one_bit_makes_it_unreadable(header: Header, bit: int) -> None:
    """BUG-82: a header with any one bit changed is none of ours."""
    raw = bytearray(pack_header(header))
    raw[bit // 8] ^= 1 << bit % 8
    assert read_header(bytes(raw)) is None


@given(st.binary(max_size=200))
def test_random_bytes_are_no_header(raw: bytes) -> None:
    """SZ-06: other bytes read as None, and never as an error."""
    assert read_header(raw) is None


def test_cut_headers_are_none() -> None:
    """BUG-82: a prefix of a header is no header."""
    raw = pack_header(HEADER)
    assert [size for size in range(HEADER_SIZE + 1) if read_header(raw[:size])] == [HEADER_SIZE]


@pytest.mark.parametrize(("at", "byte"), [(2, 2), (2, 0), (3, 0x20), (3, 0x80), (0, 0x74)])
def test_other_formats_and_unknown_flags_are_none(at: int, byte: int) -> None:
    """SZ-12: a header of a later format, or with a flag of later times, is not guessed at, though its CRC is right."""
    raw = bytearray(pack_header(HEADER)[:-4])
    raw[at] = byte
    assert read_header(with_crc(bytes(raw))) is None


def test_life_and_tombstones() -> None:
    """A value lives until its end, not at it; a tombstone never does; NEVER is no end."""
    assert HEADER.alive(NEVER - 1)
    assert HEADER._replace(gone_ms=1000).alive(999)
    assert not HEADER._replace(gone_ms=1000).alive(1000)
    assert not HEADER._replace(flags=TOMBSTONE).alive(0)
    assert HEADER._replace(flags=TOMBSTONE | RECORD).is_tombstone
    assert not HEADER.is_tombstone


def test_the_reason_is_at_hand() -> None:
    """BUG-82: the one word that a counter needs is on the error."""
    assert CorruptBlobError("crc").reason == str(CorruptBlobError("crc")) == "crc"


@given(headers, st.binary(max_size=9), st.one_of(st.none(), st.integers(0, HEADER_SIZE * 8 - 1)))
def test_what_is_read_in_brief_is_what_the_header_says(header: Header, rest: bytes, flipped: int | None) -> None:
    """SZ-12: flags, version and end, of exactly those bytes of which the whole header can be read."""
    raw = bytearray(pack_header(header) + rest)
    if flipped is not None:
        raw[flipped // 8] ^= 1 << flipped % 8
    whole, brief = read_header(bytes(raw)), read_brief(memoryview(raw))
    assert brief == (None if whole is None else (whole.flags, whole.version, whole.gone_ms))
    assert read_brief(bytes(raw[: HEADER_SIZE - 1])) is None
