"""The vector codec: embeddings, to the last bit."""

import math
import struct
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.blob import CorruptBlobError
from toolcache.codec import vectors as module
from toolcache.codec.vectors import Precision, VectorCodec
from toolcache.entry import MISSING
from toolcache.errors import SerializationError, SettingsError
from toolcache.testing import CodecContract
from toolcache.testing.codecs import same

SINGLE = [0.1, -0.0, 1e-45, 3.4e38, 1.0]
SINGLES = np.array(SINGLE, dtype="f4").tolist()
LISTS = [[0.1, 0.2], SINGLES, [0.0], [-0.0, 0.0], [1e300, -1e300, 1e300], [5e-324], [1.7e308, 1.7e308], [0.5] * 1536]
ARRAYS = [np.array(values, dtype=f"f{width}") for width in (2, 4, 8) for values in ([0.1], [1.5, -0.0, 6e-8])]


def refusal(value: object, codec: VectorCodec | None = None) -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        (codec or VectorCodec()).encode(value)
    return caught.value


class TestVectorCodec(CodecContract):
    @pytest.fixture
    def codec(self) -> VectorCodec:
        return VectorCodec()

    @pytest.fixture
    def values(self) -> list[Any]:
        return [*LISTS, *ARRAYS]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_any_finite_floats_come_back_to_the_last_bit(value: list[float]) -> None:
    """BUG-78: a list of finite floats is the same list after a round trip."""
    codec = VectorCodec()
    body, _, dtype = codec.encode(value)
    assert same(codec.decode(body, dtype), value)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_what_fits_in_32_bits_takes_32_bits(value: list[float]) -> None:
    """Floats that came from 32 bits are kept in 32 bits and lose nothing."""
    codec = VectorCodec()
    body, _, dtype = codec.encode(value)
    assert (len(body), dtype) == (4 * len(value), "l4")
    assert same(codec.decode(body, dtype), value)


@pytest.mark.parametrize("odd", [0.0, -0.0, 5e-324, 1e-45, 2.0**-112, 2.0**-150, 2.0**113, 3.4e38, 2.0**128, 1e300])
def test_odd_sizes_among_others_lose_nothing(odd: float) -> None:
    """BUG-78: nought, and what is near or beyond the ends of 32 bits, is kept in 32 bits only where they hold it."""
    value = [0.5, odd, 0.25, -odd, 0.0]
    single = struct.unpack("<f", struct.pack("<f", odd))[0] == odd if abs(odd) < 2.0**128 else False
    body, _, dtype = VectorCodec().encode(value)
    assert dtype == ("l4" if single else "l8")
    assert same(VectorCodec().decode(body, dtype), value)


def test_what_is_packed_already_stays_as_it_is() -> None:
    """Vectors are packed ahead of being stored, and not once more."""
    packed = VectorCodec().encode([0.5])
    assert VectorCodec().encode(packed) is packed


@pytest.mark.parametrize("value", [*LISTS, *ARRAYS], ids=str)
@pytest.mark.parametrize("precision", ["exact", "float32", "float16"])
def test_a_copy_is_what_comes_back(precision: Precision, value: Any) -> None:
    """BUG-78, BUG-79: a copy is another list, equal to what a round trip gives, or there is none."""
    codec = VectorCodec(precision)
    copied = codec.copy(value)
    if precision == "exact" and type(value) is list:
        body, _, dtype = codec.encode(value)
        assert same(copied, codec.decode(body, dtype))
        assert copied is not value
    else:
        assert copied is MISSING


def test_the_form_is_frozen() -> None:
    """Little-endian floats, and an element type that says what comes back: for as long as the format is 1."""
    codec = VectorCodec()
    assert codec.encode([1.0, -2.5]) == (bytes.fromhex("0000803f 000020c0"), "v", "l4")
    assert codec.encode([0.1]) == (bytes.fromhex("9a9999999999b93f"), "v", "l8")
    assert VectorCodec("float16").encode([1.0]) == (bytes.fromhex("003c"), "v", "l2")
    for width in (2, 4, 8):
        array = np.array([1.0], dtype=f"f{width}")
        assert codec.encode(array) == (array.astype(f"<f{width}").tobytes(), "v", f"a{width}")


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_an_array_comes_back_read_only_and_without_a_copy(array: Any) -> None:
    """BUG-79: what comes back looks into the stored bytes, and nobody can write there."""
    codec = VectorCodec()
    body, _, dtype = codec.encode(array)
    back = codec.decode(body, dtype)
    assert same(back, array)
    assert not back.flags.writeable
    assert back.base is body
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 1.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        back.flags.writeable = True


def test_an_array_that_is_a_view_is_stored_as_seen() -> None:
    """BUG-78: strides are the array's own affair; the elements come back in their order."""
    view = np.arange(10, dtype="f4")[::-2]
    body, _, dtype = VectorCodec().encode(view)
    assert VectorCodec().decode(body, dtype).tolist() == view.tolist()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("make", [list, np.array, lambda x: np.array(x, "f2")])
def test_an_element_that_is_not_finite_is_refused_by_its_index(bad: float, make: Any) -> None:
    """BUG-114: NaN and infinities are refused, and the error says which element."""
    error = refusal(make([0.1, 0.2, bad, bad]))
    assert "element 2" in str(error)
    assert "not finite" in str(error)
    assert error.path == "$[2]"


@pytest.mark.parametrize("empty", [[], np.array([], "f4")])
def test_an_empty_vector_is_refused(empty: object) -> None:
    """BUG-114: a vector without elements is an error of whoever made it."""
    assert "empty" in str(refusal(empty))


@pytest.mark.parametrize("item", [1, True, None, "0.1", np.float64(0.1), np.float32(0.1), [0.1], 10**400])
def test_an_element_that_is_no_float_is_refused(item: object) -> None:
    """SZ-03: an int or a NumPy scalar would come back as another type; the error says which element and what it is."""
    error = refusal([0.5, item])
    assert "element 1" in str(error)
    assert type(item).__name__ in str(error)
    assert error.path == "$[1]"


class Masked(np.ndarray[Any, Any]):
    pass


@pytest.mark.parametrize(
    "value",
    [
        *((0.1,), "0.1", b"\x00" * 4, None, {0: 0.1}, 0.1, np.float64(1), np.array(1.0), np.array([[1.0]])),
        *(np.array([1]), np.array(["a"]), np.array([object()]), np.array([1j]), np.array([1.0], "g")),
        *(np.array([1.0]).view(Masked), np.ma.array([1.0])),
    ],
)
def test_what_is_no_vector_is_refused(value: object) -> None:
    """SZ-03, BUG-114: tuples, tables, other shapes, other element types and subclasses are no vectors."""
    assert not VectorCodec().accepts(value)
    assert "a vector is" in str(refusal(value))


def test_foreign_byte_order_is_refused() -> None:
    """SZ-03: an array in the other byte order would come back as another type."""
    assert "byte order" in str(refusal(np.array([1.0]).astype(np.dtype("f8").newbyteorder())))


def test_a_subclass_of_list_is_refused() -> None:
    """SZ-03: it would come back as a plain list."""

    class Floats(list[float]):
        pass

    assert "Floats" in str(refusal(Floats([0.1])))


def test_precision_is_obeyed() -> None:
    """A cache told to keep 32 or 16 bits keeps no more, lists and arrays alike, and never widens."""
    values = [0.1, -1e-3, 1000.0]
    for name, width in (("float32", 4), ("float16", 2)):
        codec = VectorCodec(name)  # type: ignore[arg-type]  # two of the literals
        body, _, dtype = codec.encode(values)
        rounded = list(struct.unpack(f"<3{'f' if width == 4 else 'e'}", body))
        assert (dtype, codec.decode(body, dtype)) == (f"l{width}", rounded)
        body, _, dtype = codec.encode(np.array(values))
        assert (dtype, codec.decode(body, dtype).tolist()) == (f"a{width}", rounded)
        assert codec.encode(np.array(values, "f2")).dtype == "a2"
    assert VectorCodec("exact").encode(values).dtype == "l8"


@pytest.mark.parametrize(("name", "large"), [("float32", 1e39), ("float32", -3.5e38), ("float16", 65520.0)])
def test_an_element_too_large_for_the_precision_is_refused(name: Any, large: float) -> None:
    """BUG-114: losing digits was accepted; becoming infinite was not."""
    for value in ([0.5, large, 0.5], np.array([0.5, large])):
        error = refusal(value, VectorCodec(name))
        assert f"element 1 of the vector is too large for {name}" in str(error)
    assert VectorCodec("float32").encode([3e38, 3e38]).dtype == "l4"


def test_an_unknown_precision_is_refused() -> None:
    """The error names the setting and the choices."""
    with pytest.raises(SettingsError, match=r"vector_precision='float8'.*exact, float32, float16"):
        VectorCodec("float8")  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize(
    ("body", "dtype"),
    [(b"", "l4"), (b"abc", "l4"), (b"abcd", "l8"), (b"abcd", ""), (b"abcd", "x4"), (b"abcd", "l"), (b"abcd", "l44"),
     (b"abcd", "4"), (b"abcd", "a3"), (b"abcde", "a4"), (b"", "a4"), (b"abcd", "lé"), (b"abcd", "<f4")],
)  # fmt: skip
def test_misshapen_vectors_are_corrupt(body: bytes, dtype: str) -> None:
    """SZ-06, BUG-82: a body that is no whole number of elements, or of an unknown type, is CorruptBlobError."""
    with pytest.raises(CorruptBlobError) as caught:
        VectorCodec().decode(body, dtype)
    assert caught.value.reason == "codec"


def test_machines_of_the_other_byte_order_write_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is little-endian everywhere: where memory is not, bytes are turned on the way in and out."""
    monkeypatch.setattr(module, "_BIG_ENDIAN", True)
    turned = struct.pack(">2f", 1.0, 2.0)
    assert VectorCodec().encode([1.0, 2.0]).body == turned
    assert VectorCodec().decode(turned, "l4") == [1.0, 2.0]


def test_an_array_where_numpy_is_missing_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-82: what this process cannot represent is unreadable to it, not an ImportError."""
    module._array_reader.cache_clear()
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(CorruptBlobError):
        VectorCodec().decode(b"abcd", "a4")
    assert VectorCodec().decode(b"\x00\x00\x80\x3f", "l4") == [1.0]
    assert not VectorCodec().accepts([0.1])


def test_lists_never_import_numpy() -> None:
    """Who uses no NumPy does not pay for it, in time or memory."""
    code = (
        "import sys; from toolcache.codec.coder import Coder; c = Coder();"
        "assert c.decode(c.encode([0.5], vector=True)) == [0.5]; c.encode({'a': [0.5]});"
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
