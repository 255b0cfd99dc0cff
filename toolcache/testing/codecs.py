"""The contract of codecs, as tests to inherit."""

import random
import sys
from collections.abc import Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any

import pytest

from toolcache.blob import CorruptBlobError
from toolcache.errors import SerializationError
from toolcache.protocols import Codec

_FINER = {float, Decimal, datetime, time}
_MAX_NAME = 16
_CUTS = 64


def same(left: Any, right: Any) -> bool:
    """Whether nothing tells two values apart: equal, of the same type, all the way down; NaN is the same as NaN."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is dict:
        # Read in order: keys such as 1 and True are equal, yet not the same.
        return len(left) == len(right) and all(
            same(a, c) and same(b, d) for (a, b), (c, d) in zip(left.items(), right.items(), strict=True)
        )
    if kind in {list, tuple}:
        return len(left) == len(right) and all(map(same, left, right))
    if kind in {set, frozenset}:
        return len(left) == len(right) and all(any(same(a, b) for b in right) for a in left)
    numpy = sys.modules.get("numpy")
    if numpy and kind is numpy.ndarray:
        return bool(left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes())
    # Where equality says too little: -0.0, NaN, 1.0 and 1.00, which of two equal hours.
    return repr(left) == repr(right) if kind in _FINER else bool(left == right)


class CodecContract:
    """What every codec promises.

    A subclass provides the fixtures ``codec``, and ``values``: a list of what it takes, edges included.
    """

    def test_its_name_is_one_short_word(self, codec: Codec) -> None:
        """The name is stored with each value: short, printable, without spaces, and the same on each."""
        assert 0 < len(codec.name) <= _MAX_NAME
        assert codec.name.isascii()
        assert codec.name.split() == [codec.name]

    def test_what_is_taken_comes_back_equal_and_of_the_same_type(self, codec: Codec, values: Sequence[Any]) -> None:
        """SZ-03, BUG-78: there is no value that can be written and not read back as it was."""
        for value in values:
            encoded = codec.encode(value)
            assert (type(encoded.body), encoded.codec, type(encoded.dtype)) == (bytes, codec.name, str)
            assert same(codec.decode(encoded.body, encoded.dtype), value), f"a {type(value).__name__} came back changed"

    def test_each_reading_is_a_value_of_its_own(self, codec: Codec, values: Sequence[Any]) -> None:
        """BUG-79: two readings of one body share nothing that can be changed."""
        for value in values:
            if isinstance(value, (list, dict, set)):
                encoded = codec.encode(value)
                first, second = (codec.decode(encoded.body, encoded.dtype) for _ in range(2))
                first.clear()
                assert same(second, value)
                assert same(codec.decode(encoded.body, encoded.dtype), value)

    def test_what_it_cannot_keep_it_refuses_without_showing_it(self, codec: Codec) -> None:
        """SZ-03, BUG-107: an arbitrary object is refused at write time, by an error that does not contain it."""

        class Secret:
            def __repr__(self) -> str:
                return "hunter2"

        with pytest.raises(SerializationError) as refusal:
            codec.encode(Secret())
        assert "hunter2" not in str(refusal.value)
        assert refusal.value.__cause__ is None

    def test_damaged_bytes_are_corrupt_or_data(self, codec: Codec, values: Sequence[Any]) -> None:
        """SZ-06, BUG-82: whatever happened to the bytes, reading raises CorruptBlobError or nothing."""
        chance = random.Random(0)  # noqa: S311 - the same damage each time
        for value in values:
            body, _, dtype = codec.encode(value)
            for cut in chance.sample(range(len(body)), min(_CUTS, len(body))):
                _read(codec, body[:cut], dtype)
                _read(codec, body[:cut] + chance.randbytes(1) + body[cut + 1 :], dtype)
            _read(codec, body + b"\x00", dtype)
            _read(codec, body, "no such type")
        for size in range(_CUTS):
            _read(codec, chance.randbytes(size), "")


def _read(codec: Codec, body: bytes, dtype: str) -> None:
    try:
        codec.decode(body, dtype)
    except CorruptBlobError as fault:
        assert fault.reason.isalpha()  # noqa: PT017 - either answer is right
