"""Embeddings as packed little-endian floats: a fifth of their size as JSON, and no parsing on the way back.

The element type says what comes back: ``l4``, ``l8``, ``l2`` a list of floats, ``a4``, ``a8``, ``a2`` a NumPy array, and
how many bytes an element takes. NumPy is never imported for those who do not use it.
"""

import math
import struct
import sys
from array import array
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

from toolcache.blob import CorruptBlobError
from toolcache.errors import SerializationError, SettingsError
from toolcache.protocols import Encoded

Precision = Literal["exact", "float32", "float16"]

_WIDTHS: Final = {"exact": 8, "float32": 4, "float16": 2}
_CODES: Final = {2: "e", 4: "f", 8: "d"}
_BIG_ENDIAN: Final = sys.byteorder == "big"


class VectorCodec:
    """Lists of floats and one-dimensional NumPy arrays of 16, 32 or 64 bits.

    A list comes back as a list equal to the last bit: kept in 32 bits where that loses nothing, else in 64. An array
    comes back as a read-only array of the same type, without a copy.

    Args:
        precision: "float32" or "float16" keep no more than that of each element; wider arrays then come back as arrays
            of that type. An element too large for it is refused.
    """

    name = "v"

    def __init__(self, precision: Precision = "exact") -> None:
        if precision not in _WIDTHS:
            raise SettingsError(f"vector_precision={precision!r} is unknown: use one of {', '.join(_WIDTHS)}")
        self._widest = _WIDTHS[precision]

    def accepts(self, value: Any, /) -> bool:
        """Whether this is a one-dimensional NumPy array of floats; lists are vectors only where a domain says so."""
        numpy = sys.modules.get("numpy")
        if numpy is None or type(value) is not numpy.ndarray:
            return False
        return bool(value.ndim == 1 and value.dtype.kind == "f" and value.dtype.itemsize in _CODES)

    def encode(self, value: object, /) -> Encoded:
        """The vector, packed.

        Raises:
            SerializationError: no list of floats or array of the kinds named above; empty; or an element that is no
                finite float, whose index it tells.
        """
        if type(value) is list:
            return self._encode_list(value)
        if self.accepts(value):
            return self._encode_array(value)
        kind = type(value)
        raise SerializationError(
            f"a vector is a list of floats or a one-dimensional NumPy array of 16, 32 or 64 bit floats, "
            f"not {kind.__module__}.{kind.__qualname__}",
            path="$",
        )

    def decode(self, body: bytes, dtype: str, /) -> Any:
        """A fresh list, or a read-only array over ``body``; raises CorruptBlobError."""
        return self.thaw(body, dtype)(body)

    def thaw(self, body: bytes, dtype: str, /) -> Callable[[bytes], Any]:
        """What makes a fresh vector of this body, as often as it is called; raises CorruptBlobError."""
        kind, width = dtype[:1], {"2": 2, "4": 4, "8": 8}.get(dtype[1:], 0)
        if not width or not body or len(body) % width:
            raise CorruptBlobError("codec")
        if kind == "l":
            return _read_list if width == 4 else partial(_read_wide, width)  # noqa: PLR2004 - bytes of a float32
        if kind == "a":
            return _array_reader(width)
        raise CorruptBlobError("codec")

    def _encode_list(self, value: list[Any]) -> Encoded:
        _check_list(value)
        if self._widest >= 4:  # noqa: PLR2004 - bytes of a float32
            single = array("f", value)
            if self._widest == 4 or single.tolist() == value:  # noqa: PLR2004 - bytes of a float32
                _check_fit(single, "float32")
                return Encoded(_little_endian(single), self.name, "l4")
            return Encoded(_little_endian(array("d", value)), self.name, "l8")
        try:
            return Encoded(struct.pack(f"<{len(value)}e", *value), self.name, "l2")
        except (OverflowError, struct.error):
            index = next(i for i, x in enumerate(value) if not _fits_half(x))
            raise _refusal(index, "is too large for float16") from None

    def _encode_array(self, value: Any) -> Encoded:
        numpy = sys.modules["numpy"]
        if not value.dtype.isnative:
            raise SerializationError("the array is not in native byte order: convert it with astype()", path="$")
        if not value.size:
            raise _empty()
        finite = numpy.isfinite(value)
        if not finite.all():
            raise _refusal(int(finite.argmin()), "is not finite")
        width = min(value.dtype.itemsize, self._widest)
        with numpy.errstate(over="ignore"):
            packed = value.astype(f"<f{width}", copy=False)
        if width < value.dtype.itemsize and not (fits := numpy.isfinite(packed)).all():
            raise _refusal(int(fits.argmin()), f"is too large for float{8 * width}")
        return Encoded(packed.tobytes(), self.name, f"a{width}")


def _check_list(value: list[Any]) -> None:
    if not value:
        raise _empty()
    # One pass in C each; only a vector that fails is looked at element by element. A sum may overflow though
    # every element is finite.
    if set(map(type, value)) == {float} and (math.isfinite(sum(value)) or all(map(math.isfinite, value))):
        return
    for index, item in enumerate(value):
        if type(item) is not float:
            kind = type(item)
            raise _refusal(index, f"is {kind.__module__}.{kind.__qualname__}, not float: convert it with float()")
        if not math.isfinite(item):
            raise _refusal(index, "is not finite")


def _check_fit(single: "array[float]", name: str) -> None:
    # What was finite in 64 bits and is not in 32 was too large; no sum of 32-bit floats overflows 64.
    if not math.isfinite(sum(single)):
        index = next(i for i, x in enumerate(single) if not math.isfinite(x))
        raise _refusal(index, f"is too large for {name}")


def _fits_half(value: float) -> bool:
    try:
        struct.pack("<e", value)
    except (OverflowError, struct.error):
        return False
    return True


def _refusal(index: int, what: str) -> SerializationError:
    return SerializationError(f"element {index} of the vector {what}", path=f"$[{index}]")


def _empty() -> SerializationError:
    return SerializationError("the vector is empty: there is nothing to compare with it", path="$")


def _little_endian(values: "array[float]") -> bytes:
    if _BIG_ENDIAN:
        values.byteswap()
    return values.tobytes()


def _read_list(body: bytes) -> list[float]:
    values = array("f", body)
    if _BIG_ENDIAN:
        values.byteswap()
    return values.tolist()


def _read_wide(width: int, body: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(body) // width}{_CODES[width]}", body))


def _array_reader(width: int) -> Callable[[bytes], Any]:
    try:
        import numpy as np
    except ImportError:
        raise CorruptBlobError("codec") from None
    return partial(np.frombuffer, dtype=np.dtype(f"<f{width}"))
