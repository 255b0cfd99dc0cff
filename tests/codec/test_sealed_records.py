"""The seal of a record: all that counts of it stands in its body, and the seal is of that; its header is the store's."""

import zlib

import pytest

from toolcache.blob import CLAIM, HEADER_SIZE, RECORD, SEALED, CorruptBlobError, pack_header, read_header
from toolcache.codec.envelope import Envelope
from toolcache.encoded import Encoded
from toolcache.keys.text import key_digest
from toolcache.testing.stores import version_of

DIGEST = key_digest("tc1:i:test:k")
ENVELOPE = Envelope(secret="secret")


def sealed(flags: int = RECORD, body: bytes = b"a body") -> bytes:
    """A sealed blob."""
    return ENVELOPE.pack(
        Encoded(body, "msgpack", ""),
        digest=DIGEST,
        version=version_of(1),
        created_ms=1,
        fresh_until_ms=2,
        gone_ms=3,
        tags=["some"],
        flags=flags,
    )


def changed(blob: bytes, **fields: object) -> bytes:
    """Another header before the same body."""
    header = read_header(blob)
    assert header is not None
    return pack_header(header._replace(**fields)) + blob[HEADER_SIZE:]  # type: ignore[arg-type]  # as the test says


@pytest.mark.parametrize("flags", [RECORD, CLAIM])
def test_a_store_may_give_a_record_another_version_and_end(flags: int) -> None:
    """SZ-13: what a swap does to a header leaves the seal whole: version and instants, which the body says for itself."""
    moved = changed(sealed(flags), version=version_of(9), created_ms=7, fresh_until_ms=8, gone_ms=9)
    blob = ENVELOPE.unpack(moved, DIGEST)
    assert (blob.header.version, blob.encoded) == (version_of(9), Encoded(b"a body", "msgpack", ""))


@pytest.mark.parametrize("flags", [RECORD, CLAIM])
def test_what_a_record_says_is_under_the_seal(flags: int) -> None:
    """SZ-13: no byte of meta, body or seal can be changed, however right the checksum is."""
    blob = sealed(flags)
    for at in range(HEADER_SIZE, len(blob) - 4):
        data = blob[HEADER_SIZE:at] + bytes([blob[at] ^ 1]) + blob[at + 1 : -4]
        with pytest.raises(CorruptBlobError, match="mac"):
            ENVELOPE.unpack(blob[:HEADER_SIZE] + data + zlib.crc32(data).to_bytes(4, "big"), DIGEST)


def test_the_body_of_one_is_not_cut_otherwise() -> None:
    """SZ-13: where meta ends and the body begins is in the header, and no other cut reads as another record."""
    blob = sealed()
    header = read_header(blob)
    assert header is not None
    for by in range(-header.meta_len, header.body_len + 1):
        if by:
            cut = changed(blob, meta_len=header.meta_len + by, body_len=header.body_len - by)
            with pytest.raises(CorruptBlobError):
                ENVELOPE.unpack(cut, DIGEST)


@pytest.mark.parametrize(("flags", "other"), [(RECORD, 0), (CLAIM, 0), (0, RECORD), (0, CLAIM)])
def test_no_record_is_made_of_a_value_or_a_value_of_a_record(flags: int, other: int) -> None:
    """SZ-13: the seal of a value is of its whole header, that of a record is not: one is never taken for the other."""
    with pytest.raises(CorruptBlobError, match="mac"):
        ENVELOPE.unpack(changed(sealed(flags), flags=other | SEALED), DIGEST)


def test_a_record_is_of_its_key_alone() -> None:
    """G7: under another key, or with another key's digest in its header, it is refused."""
    other = key_digest("tc1:i:test:other")
    with pytest.raises(CorruptBlobError, match="key"):
        ENVELOPE.unpack(sealed(), other)
    with pytest.raises(CorruptBlobError, match="mac"):
        ENVELOPE.unpack(changed(sealed(), digest=other), other)


def test_an_unsealed_record_is_refused() -> None:
    """SZ-13: taking the seal off makes no record that would be believed."""
    blob = sealed()
    bare = changed(blob, flags=RECORD)
    with pytest.raises(CorruptBlobError):
        ENVELOPE.unpack(bare, DIGEST)
    unsealed = Envelope().pack(
        Encoded(b"", "msgpack", ""),
        digest=DIGEST,
        version=version_of(1),
        created_ms=1,
        fresh_until_ms=2,
        gone_ms=3,
        flags=RECORD,
    )
    with pytest.raises(CorruptBlobError, match="unsealed"):
        ENVELOPE.unpack(unsealed, DIGEST)
