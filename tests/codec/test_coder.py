"""The codecs as one."""

import datetime as dt
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from toolcache.blob import CorruptBlobError
from toolcache.codec.coder import Coder
from toolcache.encoded import Encoded
from toolcache.errors import SerializationError, SettingsError
from toolcache.testing.codecs import same


class Order:
    def __init__(self, number: int) -> None:
        self.number = number


class OrderCodec:
    name = "order/2"

    def accepts(self, value: object, /) -> bool:
        return type(value) is Order

    def encode(self, value: object, /) -> Encoded:
        assert isinstance(value, Order)
        return Encoded(str(value.number).encode(), self.name)

    def decode(self, body: bytes, dtype: str, /) -> Order:
        if not body:
            raise CorruptBlobError("vanished")
        return Order(int(body))


class OldOrderCodec(OrderCodec):
    name = "order/1"


def test_each_value_finds_its_codec() -> None:
    """Arrays of floats go to the vector codec, lists too where a vector is demanded, all else to msgpack."""
    coder = Coder()
    assert coder.encode(np.array([0.5])).codec == "v"
    assert coder.encode([0.5]).codec == "m"
    assert coder.encode([0.5], vector=True).codec == "v"
    for value in ([0.5], {"a": (1,)}, None, "x"):
        assert same(coder.decode(coder.encode(value)), value)
    with pytest.raises(SerializationError, match=r"numpy\.ndarray is none of the types"):
        coder.encode(np.array([[0.5]]))
    with pytest.raises(SerializationError, match="a vector is"):
        coder.encode({"a": 1}, vector=True)
    with pytest.raises(SerializationError, match="element 0 of the vector is not finite"):
        coder.encode([math.nan], vector=True)


def test_precision_reaches_the_vectors() -> None:
    """A coder told to keep 16 bits of each element does."""
    assert Coder("float16").encode([0.1], vector=True).dtype == "l2"
    assert Coder().encode([0.1], vector=True).dtype == "l8"


@pytest.mark.parametrize("value", [{"a": [1]}, [(1, [2])], {1: {2}}, {3}])
def test_what_is_thawed_is_fresh_each_time(value: Any) -> None:
    """BUG-79: each call makes a value of its own; spoiling one spoils no other and not what was stored."""
    coder = Coder()
    encoded = coder.encode(value)
    thaw = coder.thaw(encoded)
    first, second = thaw(encoded.body), thaw(encoded.body)
    assert same(first, value)
    first.clear()
    value_again = thaw(encoded.body)
    assert same(second, value_again)
    value.clear()
    assert same(thaw(encoded.body), second)


@pytest.mark.parametrize("vector", [[0.5, 0.25], [0.1], np.array([0.5], "f4")])
def test_vectors_are_thawed_fresh_or_read_only(vector: Any) -> None:
    """BUG-79: a list is a new list, an array cannot be written to."""
    coder = Coder()
    encoded = coder.encode(vector, vector=True)
    first, second = (coder.thaw(encoded)(encoded.body) for _ in range(2))
    assert same(first, vector)
    assert first is not second
    assert isinstance(first, list) or not first.flags.writeable


@pytest.mark.parametrize(
    "encoded",
    [Encoded(b"\x01", "nope"), Encoded(b"\x01", ""), Encoded(b"abc", "v", "l4"), Encoded(b"abcd", "v", "q4"),
     Encoded(b"\xc1", "m"), Encoded(b"\x01", "m", "l4"), Encoded(b"\xdd\x00\x0f\x42\x40" * 900, "m")],
)  # fmt: skip
def test_what_cannot_be_read_is_corrupt(encoded: Encoded) -> None:
    """BUG-82, BUG-83: an unknown codec or type and an unreadable body are CorruptBlobError, from decode and thaw."""
    for read in (Coder().decode, lambda e: Coder().thaw(e)(e.body)):
        with pytest.raises(CorruptBlobError) as caught:
            read(encoded)
        assert caught.value.reason == "codec"


@pytest.mark.parametrize(
    "value",
    [None, True, 1, 1.5, "x", b"x", dt.date(2030, 1, 1), dt.datetime(2030, 1, 1, tzinfo=dt.UTC), dt.time(1), dt.timedelta(1),
     Decimal(1), UUID(int=1)],
)  # fmt: skip
def test_scalars_are_immutable(value: object) -> None:
    """BUG-79: what nobody can change may be shared as it is."""
    assert Coder.is_immutable(value)
    assert Coder().is_immutable(value)


class Text(str):  # noqa: SLOT000 - the point is the __dict__
    """Has a __dict__: not even a text is safe to share once it is subclassed."""


@pytest.mark.parametrize(
    "value", [[], {}, set(), (), ([],), frozenset(), Text("x"), np.array([1.0]), object(), bytearray()]
)
def test_what_may_hold_or_be_something_mutable_is_not(value: object) -> None:
    """BUG-79: containers, arrays and subclasses are copied for each caller."""
    assert not Coder.is_immutable(value)


def test_a_codec_of_ones_own_is_asked_first() -> None:
    """A third party's codec takes its values, and reads them back through decode and thaw."""
    coder = Coder(codecs=[OrderCodec()])
    encoded = coder.encode(Order(7))
    assert encoded == (b"7", "order/2", "")
    assert coder.decode(encoded).number == 7
    assert coder.thaw(encoded)(encoded.body).number == 7


def test_values_of_an_older_codec_are_misses() -> None:
    """BUG-83: once a codec's name changed with the form of its values, what the old one wrote is not read."""
    encoded = Coder(codecs=[OldOrderCodec()]).encode(Order(7))
    with pytest.raises(CorruptBlobError):
        Coder(codecs=[OrderCodec()]).decode(encoded)


def test_a_codec_that_fails_makes_a_miss() -> None:
    """SZ-15: a third party's codec may raise what it likes over bytes it cannot read."""
    for body, told in ((b"seven", "codec"), (b"", "vanished")):
        with pytest.raises(CorruptBlobError, match=told):
            Coder(codecs=[OrderCodec()]).decode(Encoded(body, "order/2"))


def test_two_codecs_of_one_name_are_refused() -> None:
    """Which one reads what is stored would depend on their order."""
    for codecs in ([OrderCodec(), OrderCodec()], [type("Mine", (OrderCodec,), {"name": "m"})()]):
        with pytest.raises(SettingsError, match="names of their own"):
            Coder(codecs=codecs)
