"""The header that every blob starts with, the same in Redis and on disk.

    offset  bytes  field
         0      2  magic ``TC``
         2      1  format, 1
         3      1  flags
         4     16  version: the order of writes, compared bytewise (see ``versions``)
        20      8  created, ms since the epoch
        28      8  fresh until, ms
        36      8  gone at, ms; NEVER for no end
        44      4  what computing it cost, ms
        48     16  digest of (kind, namespace, key text): whose value this is
        64      2  length of meta
        66      4  length of body
        70      4  CRC-32 of bytes 0..69
        74         meta (msgpack), body, MAC if SEALED, CRC-32 of all that follows the header

All numbers are big-endian. The layout is frozen: what is stored outlives the code. Redis scripts read magic, flags,
version and the instants at these offsets; ``stores/redis/scripts`` and this page change together.
"""

import struct
from typing import Final, NamedTuple, TypeAlias
from zlib import crc32

MAGIC: Final = b"TC"
FORMAT: Final = 1
NEVER: Final = (1 << 63) - 1
"""``gone_ms`` of what has no end of life."""

TOMBSTONE: Final = 0x01
EPOCH: Final = 0x02
RECORD: Final = 0x04
SEALED: Final = 0x08
CLAIM: Final = 0x10
KNOWN_FLAGS: Final = TOMBSTONE | EPOCH | RECORD | SEALED | CLAIM

RECORD_ROOM: Final = 16_384
"""Bytes that a record may be larger than the largest output."""

_OURS: Final = (MAGIC, FORMAT)
_LAYOUT: Final = struct.Struct(">2sBB16sQQQI16sHI")
_WHOLE: Final = struct.Struct(">2sBB16sQQQI16sHII")
BRIEF: Final = struct.Struct(">2sBB16s16xQ26xI")
"""Of a header, what a store goes by: magic, format, flags, version, ``gone_ms``, and the CRC."""
_CRC: Final = struct.Struct(">I")
MAC_SIZE: Final = 16
"""Bytes of the seal that follows a sealed body."""
_CHECKED: Final = _LAYOUT.size
HEADER_SIZE: Final = _CHECKED + _CRC.size
MAX_COST_MS: Final = (1 << 32) - 1


class CorruptBlobError(Exception):
    """Bytes that are not a blob of ours, or not of the key asked for; ``reason`` is one word for a counter.

    Never reaches a caller of a cache: a blob that cannot be read is a miss.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Header(NamedTuple):
    """The fields of a blob's header; instants in milliseconds since the epoch."""

    flags: int
    version: bytes
    created_ms: int
    fresh_until_ms: int
    gone_ms: int
    cost_ms: int
    digest: bytes
    meta_len: int
    body_len: int

    @property
    def is_tombstone(self) -> bool:
        """Whether this blob says that there is no value."""
        return bool(self.flags & TOMBSTONE)

    def alive(self, now_ms: int) -> bool:
        """Whether a value is there and its life has not ended."""
        return not self.flags & TOMBSTONE and now_ms < self.gone_ms


Fields: TypeAlias = tuple[int, bytes, int, int, int, int, bytes, int, int]
"""Those of a header, in order, as a ``Header`` has them."""


def pack_header(header: Fields) -> bytes:
    """The 74 bytes of a header."""
    raw = _LAYOUT.pack(MAGIC, FORMAT, *header)
    return raw + _CRC.pack(crc32(raw))


def read_header(blob: bytes | memoryview) -> Header | None:
    """The header of a blob, or None where the bytes are not one of ours: short, foreign, damaged or of another format."""
    if len(blob) < HEADER_SIZE:
        return None
    fields = _WHOLE.unpack_from(blob)
    if fields[:2] != _OURS or fields[2] & ~KNOWN_FLAGS or crc32(blob[:_CHECKED]) != fields[-1]:
        return None
    return tuple.__new__(Header, fields[2:-1])


def read_brief(blob: bytes | memoryview) -> tuple[int, bytes, int] | None:
    """Flags, version and ``gone_ms``, which is all that a store goes by; None where ``read_header`` says None."""
    if len(blob) < HEADER_SIZE:
        return None
    magic, fmt, flags, version, gone_ms, check = BRIEF.unpack_from(blob)
    if magic != MAGIC or fmt != FORMAT or flags & ~KNOWN_FLAGS or crc32(blob[:_CHECKED]) != check:
        return None
    return flags, version, gone_ms


def end_of(raw: bytes) -> int | None:
    """Where the blob that begins these bytes ends, or None where none does; what follows is the store's."""
    header = read_header(raw)
    if header is None:
        return None
    end = HEADER_SIZE + header.meta_len + header.body_len + (MAC_SIZE if header.flags & SEALED else 0) + _CRC.size
    return end if end <= len(raw) else None
