"""Compression of bodies, and decompression that is bounded before it begins.

What is stored says how it was compressed and how long it was; the reader takes that many bytes, not one more, and only
if they are fewer than it allows. A body that would unpack to a thousand times its size is refused at that size.
"""

import zlib
from importlib import import_module
from typing import Any, Final, Literal

from toolcache.blob import CorruptBlobError
from toolcache.errors import SettingsError

Method = Literal["zlib", "zstd"]

ZLIB: Final = "z"
ZSTD: Final = "s"

_ZLIB_LEVEL: Final = 1
_SAMPLE: Final = 4096
_WORTH_WHILE: Final = 0.9
_ZSTD_LEVEL: Final = 3
# Window of what our level writes for any size; larger windows only for larger bodies.
_ZSTD_WINDOW_LOG: Final = 21


class Compressor:
    """Makes bodies smaller, by ``method``: zlib is always there, zstd is faster and an extra."""

    def __init__(self, method: Method = "zlib") -> None:
        if method not in {"zlib", "zstd"}:
            raise SettingsError(f"compressor={method!r} is unknown: use 'zlib' or 'zstd'")
        if method == "zstd":
            try:
                self._zstd = _import_zstd()
            except ImportError:
                raise SettingsError(
                    "compressor='zstd' needs an extra: in a checkout, pip install '.[zstd]'; or use 'zlib'"
                ) from None
        self.name = ZLIB if method == "zlib" else ZSTD

    def compress(self, body: bytes) -> bytes:
        """The body, compressed; perhaps no smaller than it was."""
        # Trying costs as much as succeeding: what does not shrink in its middle is left alone.
        middle = len(body) // 2
        sample = body[middle : middle + _SAMPLE]
        if len(body) > 2 * _SAMPLE and len(self._pack(sample)) > _WORTH_WHILE * len(sample):
            return body
        return self._pack(body)

    def _pack(self, body: bytes) -> bytes:
        if self.name == ZLIB:
            return zlib.compress(body, _ZLIB_LEVEL)
        packed: bytes = self._zstd.compress(body, _ZSTD_LEVEL)
        return packed


def decompress(data: bytes, name: str, size: int) -> bytes:
    """The ``size`` bytes that ``data`` stands for; at no time more memory than about twice that.

    Raises:
        CorruptBlobError: another size, damaged or unfinished data, or a method that is not installed here.
    """
    if name not in {ZLIB, ZSTD}:
        raise CorruptBlobError("codec")
    # One byte more than promised shows the promise broken.
    try:
        if name == ZLIB:
            reader: Any = zlib.decompressobj()
            body: bytes = reader.decompress(data, size + 1)
        else:
            reader = _zstd_reader(size)
            body = reader.decompress(data, max_length=size + 1)
    except ImportError:
        raise CorruptBlobError("codec") from None
    except Exception:  # noqa: BLE001 - each library has its own errors, and all mean this
        raise CorruptBlobError("compression") from None
    if len(body) > size:
        raise CorruptBlobError("bomb")
    if len(body) < size or not reader.eof or reader.unused_data:
        raise CorruptBlobError("compression")
    return body


def _zstd_reader(size: int) -> Any:
    zstd = _import_zstd()
    window = max(_ZSTD_WINDOW_LOG, size.bit_length())
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: min(window, 31)})


def _import_zstd() -> Any:
    try:
        return import_module("compression.zstd")
    except ImportError:
        return import_module("backports.zstd")
