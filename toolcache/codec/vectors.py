"""Embeddings as packed little-endian floats: a fifth of their size as JSON, and no parsing on the way back.

The element type says what comes back: ``l4``, ``l8``, ``l2`` a list of floats, ``a4``, ``a8``, ``a2`` a NumPy array, and
how many bytes an element takes. NumPy is never imported for those who do not use it.
"""

import math
import struct
import sys
from array import array
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any, Final, Literal

from toolcache.blob import CorruptBlobError
from toolcache.encoded import Encoded
from toolcache.entry import MISSING
from toolcache.errors import SerializationError, SettingsError

Precision = Literal["exact", "float32", "float16"]

_WIDTHS: Final = {"exact": 8, "float32": 4, "float16": 2}
_SIZES: Final = (2, 4, 8)
_TYPES: Final = {f"{kind}{width}": width for kind in "la" for width in _SIZES}
_BIG_ENDIAN: Final = sys.byteorder == "big"
_LITTLE: Final = "<" if _BIG_ENDIAN else "@"  # the machine's own form is packed in two thirds of the time

# Of the bytes of a double: its lowest bits, of which a float32 has none, and the highest byte of those between 2**-111
# and 2**113. One byte of each, as a slice, is looked at in a fraction of the time that the floats would take.
_SHORT: Final = bytes(range(0, 256, 32))
_MIDDLING: Final = bytes(sign | exponent for sign in (0, 128) for exponent in range(0x39, 0x47))
_NOUGHT: Final = b"\x00\x80"

_struct: Final = lru_cache(64)(struct.Struct)


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
        return bool(value.ndim == 1 and value.dtype.kind == "f" and value.dtype.itemsize in _SIZES)

    def encode(self, value: object, /) -> Encoded:
        """The vector, packed; one that is packed already as it is.

        Raises:
            SerializationError: no list of floats or array of the kinds named above; empty; or an element that is no
                finite float, whose index it tells.
        """
        if type(value) is list:
            return self._encode_list(value)
        if self.accepts(value):
            return self._encode_array(value)
        if type(value) is Encoded:
            return value
        kind = type(value)
        raise SerializationError(
            f"a vector is a list of floats or a one-dimensional NumPy array of 16, 32 or 64 bit floats, "
            f"not {kind.__module__}.{kind.__qualname__}",
            path="$",
        )

    def copy(self, value: object, /) -> Any:
        """A copy of a list that was encoded, which shares its floats; MISSING where that is not what comes back."""
        return value.copy() if type(value) is list and self._widest == _WIDTHS["exact"] else MISSING

    def decode(self, body: bytes, dtype: str, /) -> Any:
        """A fresh list, or a read-only array over ``body``; raises CorruptBlobError."""
        return self.thaw(body, dtype)(body)

    def thaw(self, body: bytes, dtype: str, /) -> Callable[[bytes], Any]:
        """What makes a fresh vector of this body, as often as it is called; raises CorruptBlobError."""
        width = _TYPES.get(dtype)
        if width is None or not body or len(body) % width:
            raise CorruptBlobError("codec")
        return _LISTS.get(dtype) or _array_reader(width)

    def _encode_list(self, value: list[Any]) -> Encoded:
        count = len(value)
        if not count:
            raise _empty()
        if list(map(type, value)).count(float) != count:
            raise _what_is_wrong(value)
        if self._widest == 2:  # noqa: PLR2004 - bytes of a float16
            return Encoded(_halves(value), self.name, "l2")
        wide = _struct(f"{_LITTLE}{count}d").pack(*value)
        moderate = _moderate(value, wide)
        if not moderate and not all(map(math.isfinite, value)):
            raise _what_is_wrong(value)
        if self._widest == 8 and not _is_short(wide):  # noqa: PLR2004 - bytes of a float64
            return Encoded(wide, self.name, "l8")
        # Packed by struct in a third of the time, which some versions of it refuse to do with what is too large.
        singles = _struct(f"{count}f").pack(*value) if moderate else array("f", value).tobytes()
        if not moderate and self._widest == 4:  # noqa: PLR2004 - bytes of a float32
            _check_fit(singles)
        elif not moderate and array("f", singles).tolist() != value:
            return Encoded(wide, self.name, "l8")
        return Encoded(_little_endian(singles), self.name, "l4")

    def _encode_array(self, value: Any) -> Encoded:
        numpy = sys.modules["numpy"]
        if not value.dtype.isnative:
            raise SerializationError("the array is not in native byte order: convert it with astype()", path="$")
        if not value.size:
            raise _empty()
        _check_finite(numpy, value, "is not finite")
        width = value.dtype.itemsize
        if width > self._widest:
            width = self._widest
            with numpy.errstate(over="ignore"):
                value = value.astype(f"=f{width}")
            _check_finite(numpy, value, f"is too large for float{8 * width}")
        return Encoded(value.astype(f"<f{width}", copy=False).tobytes(), self.name, f"a{width}")


def _check_finite(numpy: Any, value: Any, otherwise: str) -> None:
    finite = numpy.isfinite(value)
    if b"\0" in finite.tobytes():  # takes half of what all() does
        raise _refusal(int(finite.argmin()), otherwise)


def _is_short(wide: bytes) -> bool:
    """Whether none of these doubles has more digits than a float32; its exponent may be out of reach all the same."""
    zeros = bytes(len(wide) // 8)
    return (
        wide[0::8] == wide[1::8] == wide[2::8] == zeros and not wide[3::8].translate(None, _SHORT)  # the low 29 bits
    )


def _moderate(value: list[float], wide: bytes) -> bool:
    """Whether all of them are finite, and either nought or of a size that a float32 has."""
    others = wide[7::8].translate(None, _MIDDLING)
    return not others or (not others.translate(None, _NOUGHT) and value.count(0.0) == len(others))


def _check_fit(singles: bytes) -> None:
    """What was finite in 64 bits and is not in 32 was too large."""
    for index, single in enumerate(array("f", singles)):
        if not math.isfinite(single):
            raise _refusal(index, "is too large for float32")


def _halves(value: list[float]) -> bytes:
    if not all(map(math.isfinite, value)):
        raise _what_is_wrong(value)
    try:
        return struct.pack(f"<{len(value)}e", *value)
    except (OverflowError, struct.error):
        index = next(i for i, x in enumerate(value) if not _fits_half(x))
        raise _refusal(index, "is too large for float16") from None


def _fits_half(value: float) -> bool:
    try:
        struct.pack("<e", value)
    except (OverflowError, struct.error):
        return False
    return True


def _what_is_wrong(value: list[Any]) -> SerializationError:
    """The first element that is no finite float."""
    for index, item in enumerate(value):
        if type(item) is not float:
            kind = type(item)
            return _refusal(index, f"is {kind.__module__}.{kind.__qualname__}, not float: convert it with float()")
        if not math.isfinite(item):
            return _refusal(index, "is not finite")
    raise AssertionError("nothing is wrong with this vector")


def _refusal(index: int, what: str) -> SerializationError:
    return SerializationError(f"element {index} of the vector {what}", path=f"$[{index}]")


def _empty() -> SerializationError:
    return SerializationError("the vector is empty: there is nothing to compare with it", path="$")


def _little_endian(singles: bytes) -> bytes:
    if not _BIG_ENDIAN:
        return singles
    values = array("f", singles)
    values.byteswap()
    return values.tobytes()


def _read_list(code: Literal["f", "d"], body: bytes) -> list[float]:
    values = array(code, body)
    if _BIG_ENDIAN:
        values.byteswap()
    return values.tolist()


def _read_halves(body: bytes) -> list[float]:
    return list(_struct(f"<{len(body) // 2}e").unpack(body))


_LISTS: Final[dict[str, Callable[[bytes], list[float]]]] = {
    "l2": _read_halves,
    "l4": partial(_read_list, "f"),
    "l8": partial(_read_list, "d"),
}


@cache  # one for all bodies of that width
def _array_reader(width: int) -> Callable[[bytes], Any]:
    try:
        import numpy as np
    except ImportError:
        raise CorruptBlobError("codec") from None
    return partial(np.frombuffer, dtype=np.dtype(f"<f{width}"))
