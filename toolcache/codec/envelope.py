"""The blob around an encoded value: packs what every store holds, believes nothing of what a store returns.

    header (see ``toolcache.blob``) | meta | body | MAC, if sealed | CRC-32 of meta, body and MAC

The seal is of header, meta and body. Of the header of a record, which a store may give another version and end when it puts it in
the place of another, it is of the key's digest alone: what counts of a record stands in its body.

Meta is a msgpack array: codec, element type, compressor ("" for none), size of the body before compression (0 where
there was none), tags, and the source's name for this state of the value, if there is one. A blob without a value, a tombstone or an epoch, has an empty codec and no body.
"""

from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, Self
from zlib import crc32

from msgpack import Packer, unpackb

from toolcache.aside import LARGE, Lengthy
from toolcache.blob import (
    CLAIM,
    EPOCH,
    FORMAT,
    HEADER_SIZE,
    KNOWN_FLAGS,
    MAC_SIZE,
    MAGIC,
    MAX_COST_MS,
    RECORD,
    RECORD_ROOM,
    SEALED,
    TOMBSTONE,
    CorruptBlobError,
    Header,
    pack_header,
    read_header,
)
from toolcache.codec.compress import Compressor, Method, decompress
from toolcache.codec.vectors import VectorCodec
from toolcache.encoded import Encoded, Marked
from toolcache.errors import SettingsError, ValueTooLargeError
from toolcache.tags import MAX_STORED, check

if TYPE_CHECKING:
    from toolcache.codec.seal import Seal

# The classes' own constructors take twice as long.
_tuple: Final = tuple.__new__

MAX_BODY: Final = (1 << 32) - 1
_CRC_SIZE: Final = 4


class Blob(NamedTuple):
    """What a blob says; ``encoded`` is None for a tombstone or an epoch."""

    header: Header
    tags: tuple[str, ...]
    encoded: Encoded | None


class Envelope:
    """Packs and unpacks blobs.

    Args:
        secret: seals what is written, and makes everything unsealed or sealed otherwise a miss. None writes without
            seals and makes sealed blobs a miss.
        compress_above: bodies larger than this many bytes are compressed, if that makes them smaller; vectors never
            are, for it does not. None for no compression.
        compressor: "zlib" or "zstd"; both are read by whoever has them.
        max_entry: largest body, in bytes before compression, that is written or believed.
    """

    def __init__(
        self,
        *,
        secret: bytes | str | None = None,
        compress_above: int | None = 16_384,
        compressor: Method = "zlib",
        max_entry: int = 8 << 20,
    ) -> None:
        if not 0 < max_entry <= MAX_BODY:
            raise SettingsError(f"max_entry={max_entry} is out of range: use 1 to {MAX_BODY:,} bytes")
        if compress_above is not None and compress_above < 0:
            raise SettingsError(f"compress_above={compress_above} is out of range: use 0 or more bytes, or None")
        self._seal = None if secret is None else _seal(secret)
        self._compress_above = compress_above
        self._compressor = Compressor(compressor)
        self.max_entry = max_entry

    def for_records(self, largest: int) -> Self:
        """The same for what are no entries, and may take so many bytes each."""
        other = copy(self)
        other.max_entry = largest
        return other

    def key_for(self, purpose: bytes) -> bytes:
        """A key for another purpose than blobs; empty where there is no secret. The purpose is as long as no sealed blob."""
        return b"" if self._seal is None else self._seal.make(purpose)

    def check(self, encoded: Encoded | None, tags: Sequence[str], *, flags: int = 0) -> None:
        """Raises what ``pack`` would raise for this value, these tags and flags, without packing them."""
        if tags:
            check(tags)
        if encoded is not None and len(encoded.body) > self.max_entry and len(encoded.body) > self._most(flags):
            raise ValueTooLargeError(len(encoded.body), self._most(flags))

    def _most(self, flags: int) -> int:
        """Bytes of the largest body."""
        return self.max_entry + (RECORD_ROOM if flags & (CLAIM | RECORD) else 0)

    def pack(
        self,
        encoded: Encoded | None,
        *,
        digest: bytes,
        version: bytes,
        created_ms: int,
        fresh_until_ms: int,
        gone_ms: int,
        cost_ms: int = 0,
        tags: Sequence[str] = (),
        flags: int = 0,
    ) -> bytes:
        """The blob of an encoded value, or of none (a tombstone or an epoch, as ``flags`` say).

        Args:
            encoded: the value, or None.
            digest: 16 bytes, of the key the blob is for.
            version: 16 bytes, see ``toolcache.versions``.
            created_ms: milliseconds since the epoch, as are ``fresh_until_ms`` and ``gone_ms``.
            fresh_until_ms: from then on the value is stale.
            gone_ms: from then on there is no value; NEVER for no end.
            cost_ms: what computing the value took; cut to what the field holds, 49 days.
            tags: at most 16 and those reserved, which begin with ``@``, see ``toolcache.tags``; of at most 128 characters
                and 8 levels each.
            flags: of ``toolcache.blob``; whether it is sealed is not for the caller to say.

        Raises:
            ValueTooLargeError: the body is larger than ``max_entry``.
            ValueError: too many tags, a tag too long or too deep, or a digest or version of another length.
        """
        if len(digest) != 16 or len(version) != 16:  # noqa: PLR2004 - as the layout says
            raise ValueError("digest and version are 16 bytes each")
        if flags & ~KNOWN_FLAGS or (encoded is None) is not bool(flags & (TOMBSTONE | EPOCH)):
            raise ValueError("flags are unknown, or tell of a value where there is none, or of none where there is one")
        if tags or (encoded is not None and len(encoded.body) > self.max_entry):
            self.check(encoded, tags, flags=flags)
        body, meta = self._pack_body(encoded, tags)
        flags = flags & ~SEALED if self._seal is None else flags | SEALED
        cost_ms = min(max(cost_ms, 0), MAX_COST_MS) if cost_ms else 0
        head = pack_header((flags, version, created_ms, fresh_until_ms, gone_ms, cost_ms, digest, len(meta), len(body)))
        crc, mac = crc32(body, crc32(meta)), b""
        if self._seal is not None:
            mac = self._seal.make(b"".join((_sealed_part(flags, digest, head), meta, body)))
            crc = crc32(mac, crc)
        return b"".join((head, meta, body, mac, crc.to_bytes(_CRC_SIZE, "big")))

    def at_once(self, blob: bytes, digest: bytes) -> Blob:
        """``unpack``, unless that takes longer than the event loop may stand still.

        Raises:
            Lengthy: it does.
            CorruptBlobError: as ``unpack``.
        """
        if len(blob) > LARGE:
            raise Lengthy
        return self.unpack(blob, digest, LARGE)

    def unpack(self, blob: bytes, digest: bytes, most: int = MAX_BODY) -> Blob:
        """What a blob says, if it is whole, of the key with this digest and sealed as configured.

        ``most`` is the size of a body from which on it is not decompressed, but raises Lengthy.

        Instants are not judged: whether a value is fresh, stale or gone is for the reader.

        Raises:
            CorruptBlobError: anything else, whatever the bytes; its ``reason`` is one of "short", "foreign", "format",
                "flags", "header", "key", "length", "size", "crc", "unsealed", "sealed", "mac", "meta", "codec",
                "compression", "bomb" and "memory".
        """
        try:
            return self._unpack(blob, digest, most)
        except (CorruptBlobError, Lengthy):
            raise
        except Exception:  # noqa: BLE001 - no memory or stack left for it: a miss like any other
            raise CorruptBlobError("memory") from None

    def glimpse(self, head: bytes, digest: bytes) -> tuple[Header, tuple[str, ...]]:
        """What the beginning of a blob says, header and tags; for lists: neither checksum nor seal was compared.

        Raises:
            CorruptBlobError: it is no blob of the key with this digest, or is sealed otherwise than configured.
        """
        header = read_header(head)
        if header is None:
            raise CorruptBlobError(_what_is_wrong(head))
        if header.digest != digest:
            raise CorruptBlobError("key")
        if bool(header.flags & SEALED) is (self._seal is None):
            raise CorruptBlobError("unsealed" if self._seal else "sealed")
        meta = head[HEADER_SIZE : HEADER_SIZE + header.meta_len]
        if len(meta) < header.meta_len:
            raise CorruptBlobError("short")
        return header, _read_meta(meta)[4]

    def _unpack(self, blob: bytes, digest: bytes, most: int) -> Blob:
        header = read_header(blob)
        if header is None:
            raise CorruptBlobError(_what_is_wrong(blob))
        if header.digest != digest:
            raise CorruptBlobError("key")
        sealed = bool(header.flags & SEALED)
        body_at = HEADER_SIZE + header.meta_len
        end = body_at + header.body_len
        crc_at = end + (MAC_SIZE if sealed else 0)
        if len(blob) != crc_at + _CRC_SIZE:
            raise CorruptBlobError("length")
        if header.body_len > self._most(header.flags):
            raise CorruptBlobError("size")
        meta, rest = blob[HEADER_SIZE:body_at], blob[body_at:crc_at]
        if crc32(rest, crc32(meta)) != int.from_bytes(blob[crc_at:], "big"):
            raise CorruptBlobError("crc")
        self._check_seal(sealed, header, blob, end)
        body = rest[: header.body_len]  # the same bytes, uncopied, where there is no seal
        codec, dtype, compressor, size, tags, etag = _read_meta(meta)
        if not codec:
            if body:
                raise CorruptBlobError("meta")
            return Blob(header, tags, None)
        if compressor:
            if min(most, self._most(header.flags)) < size:
                raise CorruptBlobError("bomb") if size > self._most(header.flags) else Lengthy
            body = decompress(body, compressor, size)
        encoded = _tuple(Encoded, (body, codec, dtype))
        return _tuple(Blob, (header, tags, Marked(encoded, etag) if etag else encoded))

    def _check_seal(self, sealed: bool, header: Header, blob: bytes, end: int) -> None:
        if self._seal is None:
            if sealed:
                raise CorruptBlobError("sealed")
        elif not sealed:
            raise CorruptBlobError("unsealed")
        elif not self._seal.matches(
            _sealed_part(header.flags, header.digest, blob[:HEADER_SIZE]) + blob[HEADER_SIZE:end],
            blob[end : end + MAC_SIZE],
        ):
            raise CorruptBlobError("mac")

    def _pack_body(self, encoded: Encoded | None, tags: Sequence[str]) -> tuple[bytes, bytes]:
        if encoded is None:
            return b"", _pack_meta("", "", "", 0, tuple(tags))
        (body, codec, dtype), etag = encoded, encoded.etag
        size = len(body)
        if self._compress_above is not None and size > self._compress_above and codec != VectorCodec.name:
            packed = self._compressor.compress(body)
            if len(packed) < size:
                return packed, _pack_meta(codec, dtype, self._compressor.name, size, tuple(tags), etag)
        return body, _pack_meta(codec, dtype, "", 0, tuple(tags), etag)


@lru_cache(512)  # few are met, again and again; a hostile store can have them be large
def _pack_meta(codec: str, dtype: str, compressor: str, size: int, tags: tuple[str, ...], etag: str = "") -> bytes:
    fields = [codec, dtype, compressor, size, list(tags), *filter(None, (etag,))]
    meta: bytes = Packer(unicode_errors="surrogatepass").pack(fields)
    return meta


@lru_cache(512)
def _read_meta(raw: bytes) -> tuple[str, str, str, int, tuple[str, ...], str]:
    try:
        codec, dtype, compressor, size, tags, *rest = unpackb(raw, unicode_errors="surrogatepass", ext_hook=_refuse)
        (etag,) = rest or ("",)
    except Exception:  # noqa: BLE001 - whatever the bytes provoke, they are not ours
        raise CorruptBlobError("meta") from None
    if type(tags) is not list or len(tags) > MAX_STORED or type(size) is not int or size < 0:
        raise CorruptBlobError("meta")
    if set(map(type, (codec, dtype, compressor, etag, *tags))) != {str}:
        raise CorruptBlobError("meta")
    return codec, dtype, compressor, size, tuple(tags), etag


def _seal(secret: bytes | str) -> "Seal":
    from toolcache.codec.seal import Seal

    return Seal(secret)


def _sealed_part(flags: int, digest: bytes, head: bytes) -> bytes:
    """What of a header is under the seal; no header of another blob is as short as that of a record."""
    return digest if flags & (CLAIM | RECORD) else head


def _refuse(code: int, _data: bytes) -> None:
    raise ValueError(code)


def _what_is_wrong(blob: bytes) -> str:
    """Why ``read_header`` refused, for the counter."""
    if blob[:2] != MAGIC[: len(blob)]:
        return "foreign"
    if len(blob) < HEADER_SIZE:
        return "short"
    if blob[2] != FORMAT:
        return "format"
    return "flags" if blob[3] & ~KNOWN_FLAGS else "header"
