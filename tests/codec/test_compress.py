"""Compression, and its undoing within bounds."""

import os
import sys
import tracemalloc
import zlib
from typing import Any, Literal

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from toolcache.blob import CorruptBlobError
from toolcache.codec.compress import Compressor, decompress
from toolcache.errors import SettingsError

METHODS: tuple[Literal["zlib", "zstd"], ...] = ("zlib", "zstd")


def reason(data: bytes, name: str, size: int) -> str:
    with pytest.raises(CorruptBlobError) as caught:
        decompress(data, name, size)
    return caught.value.reason


@pytest.mark.parametrize("method", METHODS)
@given(body=st.binary(max_size=1000))
def test_what_is_compressed_comes_back(method: Literal["zlib", "zstd"], body: bytes) -> None:
    """BUG-78: both methods give back what they took."""
    compressor = Compressor(method)
    assert decompress(compressor.compress(body), compressor.name, len(body)) == body


def test_the_names_are_frozen() -> None:
    """What is stored outlives the code: z is zlib, s is zstd."""
    assert [Compressor(method).name for method in METHODS] == ["z", "s"]
    assert decompress(zlib.compress(b"abc"), "z", 3) == b"abc"
    assert decompress(zstd.compress(b"abc"), "s", 3) == b"abc"


@pytest.mark.parametrize("method", METHODS)
def test_a_bomb_is_refused_at_the_size_it_claims(method: Literal["zlib", "zstd"]) -> None:
    """SZ-08, BUG-86: 100 MB in a few KB, claiming 1 MiB, is refused with less than three times that in memory."""
    limit = 1 << 20
    bomb = Compressor(method).compress(bytes(100 << 20))
    assert len(bomb) < limit
    tracemalloc.start()
    try:
        assert reason(bomb, Compressor(method).name, limit) == "bomb"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit


def test_a_frame_that_wants_a_large_window_is_refused() -> None:
    """SZ-08: zstd may ask for 128 MB of memory before the first byte; here no more than 2 MiB or the body's size."""
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    writer = zstd.ZstdCompressor(options=options)
    frame = writer.compress(b"abc") + writer.flush()
    assert zstd.decompress(frame) == b"abc"
    assert reason(frame, "s", 3) == "compression"


def test_what_we_write_at_any_size_we_can_read() -> None:
    """SZ-08: the bound on windows never refuses our own frames."""
    compressor = Compressor("zstd")
    for size in (0, 1, 1 << 10, (1 << 21) + 1, (8 << 20) - 1, 8 << 20, 20 << 20):
        body = os.urandom(min(size, 1 << 16)) + bytes(max(0, size - (1 << 16)))
        assert decompress(compressor.compress(body), "s", size) == body


@pytest.mark.parametrize("method", METHODS)
def test_damage_is_corrupt(method: Literal["zlib", "zstd"]) -> None:
    """BUG-82: cut, extended, mislabelled, missized or random data is CorruptBlobError, never a shorter body."""
    compressor = Compressor(method)
    body = bytes(range(256)) * 8
    packed = compressor.compress(body)
    for cut in range(len(packed)):
        assert reason(packed[:cut], compressor.name, len(body)) == "compression"
    assert reason(packed + b"x", compressor.name, len(body)) == "compression"
    assert reason(packed, compressor.name, len(body) + 1) == "compression"
    assert reason(packed, compressor.name, len(body) - 1) == "bomb"
    assert reason(packed, compressor.name, 0) == "bomb"
    assert reason(packed, "s" if method == "zlib" else "z", len(body)) == "compression"
    assert reason(packed, "pickle", len(body)) == "codec"
    assert reason(os.urandom(100), compressor.name, 1000) == "compression"


def test_an_unknown_method_is_refused() -> None:
    """The error names the setting and the choices."""
    with pytest.raises(SettingsError, match=r"compressor='lz4'.*'zlib' or 'zstd'"):
        Compressor("lz4")  # type: ignore[arg-type]  # the mistake under test


def test_without_the_extra_zstd_cannot_be_chosen_and_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-82: a process without zstd reads what others compressed with it as misses, and says how to get it."""
    packed = zstd.compress(b"abc")
    for name in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert reason(packed, "s", 3) == "codec"
    with pytest.raises(SettingsError, match=r"\.\[zstd\]"):
        Compressor("zstd")


@pytest.mark.parametrize("error", [MemoryError, RecursionError, OSError])
def test_trouble_inside_the_decompressor_is_a_miss(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    """SZ-15: no memory for the body is CorruptBlobError."""

    def fail(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(zlib, "decompressobj", fail)
    assert reason(zlib.compress(b"abc"), "z", 3) == "compression"


@pytest.mark.parametrize("method", ["zlib", "zstd"])
def test_what_does_not_shrink_is_not_tried_as_a_whole(
    method: Literal["zlib", "zstd"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large body of noise costs the compression of a sample; one that shrinks is compressed."""
    compressor = Compressor(method)
    packed: list[int] = []
    pack = compressor._pack

    def counting(body: bytes) -> bytes:
        packed.append(len(body))
        return pack(body)

    monkeypatch.setattr(compressor, "_pack", counting)
    noise = os.urandom(1_000_000)
    assert compressor.compress(noise) == noise
    assert sum(packed) < 10_000
    text = b"the same words again and again " * 30_000
    assert len(compressor.compress(text)) < len(text) // 10
