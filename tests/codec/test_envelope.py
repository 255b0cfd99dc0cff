"""Blobs: what is believed, and everything that is not."""

import hashlib
import struct
import tracemalloc
import zlib
from typing import Any, Literal

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toolcache.blob import (
    EPOCH,
    FORMAT,
    HEADER_SIZE,
    MAX_COST_MS,
    NEVER,
    RECORD,
    SEALED,
    TOMBSTONE,
    CorruptBlobError,
    Header,
    pack_header,
    read_header,
)
from toolcache.codec import envelope as module
from toolcache.codec.coder import Coder
from toolcache.codec.compress import Compressor
from toolcache.codec.envelope import Blob, Envelope
from toolcache.encoded import Encoded
from toolcache.errors import SettingsError, ValueTooLargeError

DIGEST = hashlib.sha256(b"key").digest()[:16]
OTHER = hashlib.sha256(b"other").digest()[:16]
VERSION = bytes(range(16))
BODY = Encoded(b"\x81\xa1a\x01", "m")
PLAIN = Envelope()
SECRET = Envelope(secret="a secret of many bytes")
REASONS = frozenset({
    "short", "foreign", "format", "flags", "header", "key", "length", "size", "crc", "unsealed", "sealed", "mac",
    "meta", "codec", "compression", "bomb", "memory",
})  # fmt: skip


def pack(encoded: Encoded | None = BODY, envelope: Envelope = PLAIN, **fields: Any) -> bytes:
    settings = {"digest": DIGEST, "version": VERSION, "created_ms": 1000, "fresh_until_ms": 2000, "gone_ms": 3000}
    return envelope.pack(encoded, **{**settings, **fields})


def craft(meta: bytes, body: bytes = b"", *, mac: bytes = b"", flags: int = 0, body_len: int | None = None) -> bytes:
    """A blob whose checksums are right, whatever it says."""
    size = len(body) if body_len is None else body_len
    rest = meta + body + mac
    return (
        pack_header(Header(flags, VERSION, 1, 2, 3, 0, DIGEST, len(meta), size))
        + rest
        + struct.pack(">I", zlib.crc32(rest))
    )


def reason(blob: bytes, envelope: Envelope = PLAIN, digest: bytes = DIGEST) -> str:
    with pytest.raises(CorruptBlobError) as caught:
        envelope.unpack(blob, digest)
    assert caught.value.reason in REASONS
    return caught.value.reason


def fix_crc(blob: bytes) -> bytes:
    """What an attacker does after a change: the checksums are right again."""
    head = blob[: HEADER_SIZE - 4]
    rest = blob[HEADER_SIZE:-4]
    return head + struct.pack(">I", zlib.crc32(head)) + rest + struct.pack(">I", zlib.crc32(rest))


def test_the_layout_is_frozen() -> None:
    """SZ-12: this blob is this value with these tags for as long as the format is 1."""
    blob = pack(tags=["a:b", "@d:search"], cost_ms=7)
    meta = bytes.fromhex("95 a16d a0 a0 00 92 a3613a62 a940643a736561726368")
    assert blob[:HEADER_SIZE] == pack_header(Header(0, VERSION, 1000, 2000, 3000, 7, DIGEST, len(meta), 4))
    assert blob[HEADER_SIZE:-4] == meta + BODY.body
    assert blob[-4:] == struct.pack(">I", zlib.crc32(meta + BODY.body))


def test_the_layout_of_sealed_compressed_and_empty_blobs_is_frozen() -> None:
    """SZ-12: where the seal stands, how compression is told, and what a tombstone looks like."""
    body = Encoded(bytes(20_000), "m")
    blob = pack(body, SECRET)
    packed = zlib.compress(body.body, 1)
    meta = bytes.fromhex("95 a16d a0 a17a cd4e20 90")
    assert blob[3] == SEALED
    assert blob[HEADER_SIZE:-20] == meta + packed
    assert blob[-4:] == struct.pack(">I", zlib.crc32(blob[HEADER_SIZE:-4]))
    tombstone = pack(None, flags=TOMBSTONE)
    assert tombstone[HEADER_SIZE:-4] == bytes.fromhex("95 a0 a0 a0 00 90")


@pytest.mark.parametrize(
    "envelope", [PLAIN, SECRET, Envelope(compress_above=0), Envelope(compressor="zstd", compress_above=0)]
)
@given(
    encoded=st.builds(Encoded, st.binary(max_size=300), st.text("mvxyz", min_size=1, max_size=5), st.text(max_size=4)),
    tags=st.lists(st.text(st.characters(exclude_characters=":@"), min_size=1, max_size=128), max_size=16),
    instants=st.tuples(st.integers(0, NEVER), st.integers(0, NEVER), st.integers(0, NEVER)),
)
def test_what_is_packed_is_unpacked(
    envelope: Envelope, encoded: Encoded, tags: list[str], instants: tuple[int, int, int]
) -> None:
    """BUG-78: value, tags and instants come back, sealed or not, compressed or not."""
    created, fresh, gone = instants
    blob = pack(encoded, envelope, tags=tags, created_ms=created, fresh_until_ms=fresh, gone_ms=gone)
    header, back_tags, back = envelope.unpack(blob, DIGEST)
    assert (back, back_tags) == (encoded, tuple(tags))
    assert (header.created_ms, header.fresh_until_ms, header.gone_ms, header.version) == (created, fresh, gone, VERSION)
    assert read_header(blob) == header


@pytest.mark.parametrize("flags", [TOMBSTONE, EPOCH, TOMBSTONE | RECORD])
@pytest.mark.parametrize("envelope", [PLAIN, SECRET])
def test_a_blob_without_a_value_has_none(envelope: Envelope, flags: int) -> None:
    """BUG-77: no value is told apart from the value None, and from every empty one."""
    header, tags, encoded = envelope.unpack(pack(None, envelope, flags=flags, tags=["a"]), DIGEST)
    assert (encoded, tags, header.flags & ~SEALED) == (None, ("a",), flags)


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, (), b"", 0.0, set()])
def test_empty_values_are_values(value: object) -> None:
    """BUG-77: None and everything else that is false is a value, through blob and back."""
    coder = Coder()
    blob = PLAIN.unpack(pack(coder.encode(value)), DIGEST)
    assert blob.encoded is not None
    assert (coder.decode(blob.encoded), type(coder.decode(blob.encoded))) == (value, type(value))


def test_a_blob_of_another_key_is_a_miss() -> None:
    """LR-26, BUG-81: a whole and even sealed blob, copied under another key, is not believed."""
    assert reason(pack(), digest=OTHER) == "key"
    sealed = pack(envelope=SECRET)
    assert reason(sealed, SECRET, OTHER) == "key"
    moved = sealed.replace(DIGEST, OTHER)
    assert reason(fix_crc(moved), SECRET, OTHER) == "mac"


def test_keys_that_share_a_place_never_share_a_value() -> None:
    """KY-08: 1,000 keys in 256 places: each reads its own value or misses."""
    coder = Coder()
    digests = [hashlib.sha256(str(i).encode()).digest()[:16] for i in range(1000)]
    places = {digest[0]: pack(coder.encode(i), digest=digest) for i, digest in enumerate(digests)}
    hits = 0
    for i, digest in enumerate(digests):
        try:
            encoded = PLAIN.unpack(places[digest[0]], digest).encoded
        except CorruptBlobError as fault:
            assert fault.reason == "key"  # noqa: PT017 - either answer is right
        else:
            assert encoded is not None
            assert coder.decode(encoded) == i
            hits += 1
    assert hits == len(places) <= 256


def test_every_cut_and_every_extension_is_a_miss() -> None:
    """BUG-82: a blob is its exact length or nothing."""
    for envelope in (PLAIN, SECRET):
        blob = pack(envelope=envelope, tags=["a"])
        for size in range(len(blob)):
            assert reason(blob[:size], envelope) in {"short", "length"}
        for more in (b"\x00", blob):
            assert reason(blob + more, envelope) == "length"


def test_every_changed_bit_is_a_miss() -> None:
    """BUG-82: CRCs over header and rest find each flipped bit."""
    for envelope in (PLAIN, SECRET):
        blob = pack(envelope=envelope, tags=["a"])
        for bit in range(len(blob) * 8):
            damaged = bytearray(blob)
            damaged[bit // 8] ^= 1 << bit % 8
            assert reason(bytes(damaged), envelope) in {"foreign", "format", "flags", "header", "crc"}


@pytest.mark.parametrize(
    ("blob", "word"),
    [
        (b"", "short"),
        (b"T", "short"),
        (b"TC\x01", "short"),
        (b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.", "foreign"),
        (b"x" * 100, "foreign"),
        (b"\xdd\xff\xff\xff\xff", "foreign"),
        (b"\x91" * 2000, "foreign"),
        (msgpack.packb({"a": 1}), "foreign"),
        (b"TC\x02" + bytes(100), "format"),
        (b"TC\x01\x20" + bytes(100), "flags"),
        (b"TC\x01\x00" + bytes(100), "header"),
    ],
)
def test_what_is_no_blob_says_so(blob: bytes, word: str) -> None:
    """SZ-06, SZ-12, BUG-83: foreign, later and damaged bytes are misses, each counted under its own word."""
    assert reason(blob) == word


def test_later_formats_and_flags_are_misses() -> None:
    """SZ-12: a reader that meets format 2, or a flag it does not know, does not guess."""
    for at, byte, word in ((2, FORMAT + 1, "format"), (3, 0x20, "flags"), (3, 0x80, "flags")):
        blob = bytearray(pack())
        blob[at] = byte
        assert reason(fix_crc(bytes(blob))) == word


@settings(max_examples=500)
@given(st.binary(max_size=300), st.sampled_from([PLAIN, SECRET]))
def test_random_bytes_are_misses(blob: bytes, envelope: Envelope) -> None:
    """SZ-06: nothing but CorruptBlobError, whatever the bytes."""
    assert reason(blob, envelope)


@settings(max_examples=500, deadline=None)
@given(meta=st.binary(max_size=60), body=st.binary(max_size=60), flags=st.sampled_from([0, TOMBSTONE, EPOCH, RECORD]))
@example(meta=b"\x95\xa0\xa0\xa0\x00\x90", body=b"x", flags=0)
@example(meta=b"\x95\xa1m\xa0\xa1z\x01\x90", body=b"x", flags=0)
def test_crafted_meta_is_a_miss_or_well_formed(meta: bytes, body: bytes, flags: int) -> None:
    """SZ-07: with checksums put right, whatever meta says is refused or has the types promised."""
    try:
        header, tags, encoded = PLAIN.unpack(craft(meta, body, flags=flags), DIGEST)
    except CorruptBlobError as fault:
        assert fault.reason in REASONS  # noqa: PT017 - either answer is right
    else:
        assert header.flags == flags
        assert all(type(tag) is str for tag in tags)
        assert encoded is None or [type(part) for part in encoded] == [bytes, str, str]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_mutated_blobs_with_right_checksums_are_misses_or_values(data: st.DataObject) -> None:
    """SZ-06: changed bytes under a right CRC make the reader raise CorruptBlobError, or nothing; so does decoding."""
    coder = Coder()
    blob = bytearray(pack(coder.encode({"a": [1, (2, 3)], 1: {4}}), tags=["a", "b:c"]))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(4, len(blob) - 1))] = data.draw(st.integers(0, 255))
    fixed = fix_crc(bytes(blob))
    try:
        encoded = PLAIN.unpack(fixed, fixed[48:64]).encoded
        value = coder.decode(encoded) if encoded else None
    except CorruptBlobError as fault:
        assert fault.reason in REASONS  # noqa: PT017 - either answer is right
    else:
        assert "_Mark" not in repr(value)


@pytest.mark.parametrize(
    "meta",
    [
        None, [], {}, "m", ["m"], ["m", "", "", 0], ["m", "", "", 0, [], 1], [b"m", "", "", 0, []], [1, "", "", 0, []],
        ["m", None, "", 0, []], ["m", "", 5, 0, []], ["m", "", "", -1, []], ["m", "", "", "0", []], ["m", "", "", True, []],
        ["m", "", "", 0.0, []], ["m", "", "", 0, {}], ["m", "", "", 0, "tags"], ["m", "", "", 0, [1]],
        ["m", "", "", 0, [b"a"]], ["m", "", "", 0, [["a"]]], ["m", "", "", 0, ["a"] * 65], {"m": "", "": 0, "z": 1},
        ["m", "", "", 0, [msgpack.ExtType(1, b"")]], ["m", "", "", 0, [msgpack.Timestamp(1)]],
        ["m", "", msgpack.Timestamp(1), 0, []], [[]] * 5, ["", "", "", 0, []],
    ],
)  # fmt: skip
def test_misshapen_meta_is_a_miss(meta: object) -> None:
    """SZ-07: meta that is not exactly two names, a compressor, a size and some texts is refused."""
    assert reason(craft(msgpack.packb(meta), b"\x01")) == "meta"


def test_meta_that_claims_or_nests_is_a_miss() -> None:
    """SZ-09: deep and long claims in meta are refused at once."""
    for meta in (
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 2000,
        b"\x91" * 65_535,
        b"",
        b"\x95",
        b"\xdd\x00\x0f\x42\x40" * 13_000,
    ):
        assert reason(craft(meta, b"\x01")) == "meta"


def test_with_a_secret_only_sealed_blobs_are_believed() -> None:
    """SZ-13, SZ-14: a changed body, a missing seal, a seal by another secret and a dropped flag are misses."""
    blob = pack(envelope=SECRET)
    assert SECRET.unpack(blob, DIGEST).encoded == BODY
    swapped = blob.replace(BODY.body, b"\x81\xa1a\x02")
    assert swapped != blob
    assert reason(fix_crc(swapped), SECRET) == "mac"
    assert reason(pack(), SECRET) == "unsealed"
    assert reason(pack(envelope=Envelope(secret="another")), SECRET) == "mac"
    stripped = bytearray(blob[:-20] + blob[-4:])
    stripped[3] &= ~SEALED
    assert reason(fix_crc(bytes(stripped)), SECRET) == "unsealed"


def test_the_seal_covers_the_header() -> None:
    """SZ-13: a longer life, another version or another key under an old seal is a miss."""
    blob = pack(envelope=SECRET)
    for at in (4, 20, 28, 36, 44, 48):
        changed = bytearray(blob)
        changed[at] ^= 1
        raw = fix_crc(bytes(changed))
        assert reason(raw, SECRET, raw[48:64]) == "mac"


def test_without_a_secret_sealed_blobs_are_misses() -> None:
    """SZ-14: what cannot be checked is not believed."""
    assert reason(pack(envelope=SECRET)) == "sealed"


def test_the_seal_of_this_envelope_decides_not_the_flags_handed_in() -> None:
    """SZ-14: repacking under the flags of a blob that was read seals or not as configured."""
    assert PLAIN.unpack(pack(flags=SEALED), DIGEST).header.flags == 0
    assert SECRET.unpack(pack(envelope=SECRET, flags=RECORD), DIGEST).header.flags == RECORD | SEALED


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_compression_starts_where_it_was_told(method: Literal["zlib", "zstd"]) -> None:
    """Bodies above the limit are compressed, those at it are not, None never; any envelope reads either."""
    above, at = Encoded(bytes(101), "m"), Encoded(bytes(100), "m")
    envelope = Envelope(compress_above=100, compressor=method)
    assert len(pack(above, envelope)) < len(pack(at, envelope)) == HEADER_SIZE + 7 + 100 + 4
    assert PLAIN.unpack(pack(above, envelope), DIGEST).encoded == above
    never = Envelope(compress_above=None)
    assert len(pack(Encoded(bytes(100_000), "m"), never)) > 100_000
    assert len(pack(Encoded(bytes(100_000), "m"))) < 1000
    assert len(pack(Encoded(bytes(16_384), "m"))) > 16_384


def test_compression_that_gains_nothing_is_dropped() -> None:
    """A body that zlib makes larger is stored as it is; vectors are not even tried."""
    envelope = Envelope(compress_above=0)
    noise = Encoded(b"".join(hashlib.sha256(bytes([i])).digest() for i in range(100)), "m")
    assert noise.body in pack(noise, envelope)
    vector = Encoded(bytes(4000), "v", "l4")
    assert vector.body in pack(vector, envelope)
    assert envelope.unpack(pack(vector, envelope), DIGEST).encoded == vector


def test_a_value_above_the_limit_is_refused_before_compression() -> None:
    """BUG-85: the error tells size and limit; what is exactly at the limit is stored."""
    envelope = Envelope(max_entry=1000, compress_above=0)
    with pytest.raises(ValueTooLargeError, match="1,001 bytes, more than max_entry=1,000") as caught:
        pack(Encoded(bytes(1001), "m"), envelope)
    assert (caught.value.size, caught.value.limit) == (1001, 1000)
    assert envelope.unpack(pack(Encoded(bytes(1000), "m"), envelope), DIGEST).encoded == Encoded(bytes(1000), "m")
    with pytest.raises(ValueTooLargeError):
        envelope.check(Encoded(bytes(1001), "m"), [])


def test_a_value_above_the_limit_is_not_believed() -> None:
    """SZ-08, BUG-85: what a process with a higher limit wrote is a miss here, compressed or not."""
    small = Envelope(max_entry=1000)
    assert reason(pack(Encoded(bytes(1001), "v", "l4")), small) == "size"
    assert reason(pack(Encoded(bytes(100_000), "m")), small) == "bomb"


@pytest.mark.parametrize("method", ["zlib", "zstd"])
@pytest.mark.parametrize("claim", [100 << 20, 8 << 20, 1])
def test_a_bomb_is_a_miss(method: Literal["zlib", "zstd"], claim: int) -> None:
    """SZ-08, BUG-86: 100 MB in less than 100 KB is refused, whatever size it claims, below three times max_entry."""
    data = Compressor(method).compress(bytes(100 << 20))
    name = {"zlib": "z", "zstd": "s"}[method]
    blob = craft(msgpack.packb(["m", "", name, claim, []]), data)
    tracemalloc.start()
    try:
        assert reason(blob) == "bomb"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * (8 << 20)


def test_unknown_codecs_and_compressors_are_misses() -> None:
    """BUG-83: what a later release, or another program, wrote in its own way is not guessed at."""
    assert reason(craft(msgpack.packb(["m", "", "lz4", 5, []]), b"12345")) == "codec"
    encoded = PLAIN.unpack(craft(msgpack.packb(["future/2", "", "", 0, []]), b"\x01"), DIGEST).encoded
    assert encoded is not None
    with pytest.raises(CorruptBlobError):
        Coder().decode(encoded)


@pytest.mark.parametrize("error", [MemoryError, RecursionError, OSError, UnicodeError])
@pytest.mark.parametrize("where", ["unpackb", "decompress", "read_header"])
def test_trouble_while_unpacking_is_a_miss(monkeypatch: pytest.MonkeyPatch, error: type[Exception], where: str) -> None:
    """SZ-15: no memory or no stack, wherever it runs out, is CorruptBlobError."""
    blob = pack(Encoded(bytes(20_000), "m"))

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(module, where, fail)
    assert reason(blob) in {"memory", "meta"}


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ([f"t{i}" for i in range(17)], "17 tags"),
        (["a", "x" * 129], "tag 1 has 129 characters"),
        (["a:b:c:d:e:f:g:h:i"], "tag 0 has 9 levels"),
        (["a", ""], "tag 1 is not a text or empty"),
        (["a", 5], "tag 1 is not a text or empty"),
        ([f"@d:{i}" for i in range(65)], "at most"),
    ],
)
def test_too_many_too_long_too_deep_tags_are_refused(tags: Any, told: str) -> None:
    """BUG-85: the error says which tag, and what is possible; the text of the tag stays out of it."""
    with pytest.raises(ValueError, match=told):
        pack(tags=tags)
    with pytest.raises(ValueError, match=told):
        PLAIN.check(None, tags)


def test_tags_at_the_limits_come_back() -> None:
    """BUG-78: 16 tags of 128 characters and 8 levels, any text, and the reserved ones beside them."""
    own = [f"{i:02}:b:c:d:e:f:g:" + "😀" * 113 for i in range(14)] + ["\ud800", "a b\x00"]
    tags = [*own, "@d:search", "@a:faq", "@c:v2", "@n"]
    assert max(map(len, tags)) == 128
    assert PLAIN.unpack(pack(tags=tags), DIGEST).tags == tuple(tags)


def test_what_the_layout_cannot_hold_is_refused_or_cut() -> None:
    """SZ-12: a digest cut to 16 bytes in silence would never match again; a cost of 50 days may be 49."""
    wrong: list[dict[str, Any]] = [{"digest": DIGEST * 2}, {"digest": b""}, {"version": b"v"}]
    for fields in wrong:
        with pytest.raises(ValueError, match="16 bytes each"):
            pack(**fields)
    for flags in (0x20, TOMBSTONE, EPOCH):
        with pytest.raises(ValueError, match="flags"):
            pack(flags=flags)
    with pytest.raises(ValueError, match="flags"):
        pack(None)
    assert [PLAIN.unpack(pack(cost_ms=ms), DIGEST).header.cost_ms for ms in (-1, 1 << 40)] == [0, MAX_COST_MS]


@pytest.mark.parametrize("options", [{"max_entry": 0}, {"max_entry": 1 << 32}, {"compress_above": -1}])
def test_settings_out_of_range_are_refused(options: dict[str, int]) -> None:
    """The error names the setting and its range."""
    with pytest.raises(SettingsError, match=f"{next(iter(options))}=.* out of range"):
        Envelope(**options)  # type: ignore[arg-type]  # one option at a time


def test_a_blob_is_unpacked_by_name() -> None:
    """What comes back has names: header, tags, encoded."""
    blob = PLAIN.unpack(pack(tags=["a"]), DIGEST)
    assert isinstance(blob, Blob)
    assert (blob.header.body_len, blob.tags, blob.encoded) == (4, ("a",), BODY)
