"""One record of the log: a frame, the key's text, the blob.

    offset  bytes  field
         0      2  magic ``TL``
         2      1  kind: BLOB or MARK
         3      1  reserved, 0
         4      2  flags
         6      2  length of the key
         8      4  length of the blob
        12      8  keep until, ms since the epoch
        20      4  CRC-32 of key and blob
        24      4  CRC-32 of bytes 0..23
        28         key (UTF-8), blob

All numbers are big-endian. The layout is frozen with its golden bytes in the tests. The second CRC lets a walk trust
the lengths, and go on behind a record whose first CRC fails; kinds that a reader does not know are passed over.

``keep until`` is the latest end of life among this record and all that it superseded: until then something older may
still stand in some segment, so this record, bare if need be, must outlive it.
"""

import struct
from typing import Final, NamedTuple
from zlib import crc32

MAGIC: Final = b"TL"

BLOB: Final = 1
MARK: Final = 2
"""Redis took the record of this key whose version is this record's 16-byte blob."""

PENDING: Final = 0x01
"""Redis has not taken it and is owed it."""
CLEAN: Final = 0x02
"""It was pending; Redis took it."""
TOMBSTONE: Final = 0x04
EPOCH: Final = 0x08
CLAIM: Final = 0x10
RESULT: Final = 0x20
BARE: Final = 0x40
"""The blob is a header alone: its body was given up, its version still counts."""
FIRST: Final = 0x80
"""Nothing older of this key was in any segment when it was written."""
GROUPED: Final = 0x100
"""It is a record of a group, and no value; see ``groups``."""

LASTING: Final = TOMBSTONE | EPOCH | CLAIM | RESULT
"""What neither a budget nor, while pending, its own end of life removes."""

_FIELDS: Final = struct.Struct(">2sBBHHIQI")
_CRC: Final = struct.Struct(">I")
HEAD: Final = struct.Struct(">2sBBHHIQII")
"""All of a frame, in the order of the table."""
CHECKED: Final = _FIELDS.size
"""The bytes of a frame that its own CRC is of."""
HEAD_SIZE: Final = CHECKED + _CRC.size
MAX_KEY: Final = (1 << 16) - 1
MAX_BLOB: Final = 1 << 28
"""Bytes; a length above it is not believed."""


class Frame(NamedTuple):
    """What stands before a record; ``check`` is the CRC-32 of key and blob, ``keep_until`` in ms."""

    kind: int
    flags: int
    key_len: int
    blob_len: int
    keep_until: int
    check: int

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return HEAD_SIZE + self.key_len + self.blob_len


def lead(kind: int, flags: int, key: bytes, blob: bytes, keep_until: int) -> bytes:
    """What stands before the blob in a record: frame and key."""
    head = _FIELDS.pack(MAGIC, kind, 0, flags, len(key), len(blob), keep_until, crc32(blob, crc32(key)))
    return b"".join((head, _CRC.pack(crc32(head)), key))


def pack(kind: int, flags: int, key: bytes, blob: bytes, keep_until: int) -> bytes:
    """A whole record."""
    return lead(kind, flags, key, blob, keep_until) + blob


def read_frame(data: memoryview, at: int = 0) -> Frame | None:
    """The frame at an offset, or None where the bytes are none that can be trusted; needs HEAD_SIZE bytes."""
    magic, kind, _, flags, key_len, blob_len, keep_until, check, own_check = HEAD.unpack_from(data, at)
    if magic != MAGIC or blob_len > MAX_BLOB or crc32(data[at : at + CHECKED]) != own_check:
        return None
    # Frame(…), less a call
    return tuple.__new__(Frame, (kind, flags, key_len, blob_len, keep_until, check))


def blob_in(record: bytes | bytearray, key: bytes) -> bytes | None:
    """The blob of the record of this very key, or None where a byte of it is not as written."""
    if len(record) < HEAD_SIZE:
        return None
    magic, kind, _, _, key_len, blob_len, _, check, own_check = HEAD.unpack_from(record)
    start = HEAD_SIZE + key_len
    if magic != MAGIC or kind != BLOB or start + blob_len != len(record) or record[HEAD_SIZE:start] != key:
        return None
    if crc32(record[:CHECKED]) != own_check:
        return None
    blob = bytes(memoryview(record)[start:])
    return blob if crc32(blob, crc32(key)) == check else None
