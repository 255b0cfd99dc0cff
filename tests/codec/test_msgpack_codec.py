"""The msgpack codec: type for type, or refused; and no bytes that harm the reader."""

import datetime as dt
import enum
import math
import sys
import threading
import time
import tracemalloc
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from decimal import Context, Decimal, InvalidOperation, setcontext
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolcache.blob import CorruptBlobError
from toolcache.codec import msgpack as module
from toolcache.codec.msgpack import MAX_DEPTH, MAX_ITEMS, MsgpackCodec
from toolcache.errors import SerializationError
from toolcache.testing import CodecContract
from toolcache.testing.codecs import same

OSLO = ZoneInfo("Europe/Oslo")
UTC = dt.UTC
NAMED = dt.timezone(dt.timedelta(hours=-3, minutes=-30), "Nowhere")
ODD = dt.timezone(dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=999999))

VALUES: list[Any] = [
    *(None, False, True, 0, 1, -1, "", b"", [], {}, (), set(), frozenset()),
    *(2**63, -(2**63), 2**64 - 1, 2**64, -(2**63) - 1, 10**400, -(10**400), 255, 256, -128, -129),
    *(0.0, -0.0, 1.5, 5e-324, sys.float_info.max, math.inf, -math.inf, math.nan),
    *("æøå", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\ud83d\ude00", "😀", "null", "123", "x" * 70_000),
    *(b"\x00\xff", b"\xc7\x00", b"x" * 70_000, "\u0c07\u0000"),
    *([[]], [()], ([],), [1, [2, (3, {4})]], ({"a": (1,)},), {"t": ()}, [None] * 20, list(range(70_000))),
    *({1: 2}, {True: 1}, {None: 1}, {1.5: 2}, {(1, 2): 3}, {b"k": 1}, {"a": {1: {"b": (2,)}}}, {math.inf: []}),
    *({frozenset({1}): 1}, {((1, "a"), b"x"): {2: 3}}, {"1": 1, 1: 2}, {dt.date(2030, 1, 1): [Decimal(1)]}),
    *({1, 2, 3}, {(1, 2), ()}, {frozenset({frozenset()})}, frozenset({1.5, "a", None, b"a"}), {1: {2: {3: {}}}}),
    *(dt.datetime(2030, 1, 2, 3, 4, 5, 6), dt.datetime.min, dt.datetime.max),  # noqa: DTZ001, DTZ901 - naive on purpose
    *(dt.datetime(2030, 1, 2, tzinfo=UTC), dt.datetime(2030, 7, 2, 1, tzinfo=OSLO)),
    *(dt.datetime(2030, 1, 2, tzinfo=NAMED), dt.datetime(2030, 1, 2, tzinfo=ODD)),
    *(dt.datetime(2030, 10, 27, 2, 30, tzinfo=OSLO, fold=fold) for fold in (0, 1)),
    *(dt.date.min, dt.date.max, dt.time.min, dt.time.max, dt.time(2, 30, fold=1), dt.time(1, tzinfo=NAMED)),
    *(dt.timedelta.min, dt.timedelta.max, dt.timedelta(), dt.timedelta(microseconds=-1)),
    *(Decimal("1.10"), Decimal("-0"), Decimal("NaN"), Decimal("sNaN123"), Decimal("-Infinity"), Decimal("1E+9999")),
    *(Decimal("0." + "1" * 5000), Decimal("1E-999999"), UUID(int=0), UUID(int=2**128 - 1)),
]  # fmt: skip


class Colour(enum.IntEnum):
    RED = 1


class Plain(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


class Table(dict[str, int]):
    pass


class Moment(dt.datetime):
    pass


class Zone(dt.tzinfo):
    def utcoffset(self, _: dt.datetime | None) -> dt.timedelta:
        return dt.timedelta(0)

    def dst(self, _: dt.datetime | None) -> None:
        return None

    def tzname(self, _: dt.datetime | None) -> str:
        return "Nowhere"


Point = namedtuple("Point", "x y")  # noqa: PYI024 - the kind that has no types


@dataclass
class Record:
    secret: str


def refusal(value: object) -> SerializationError:
    with pytest.raises(SerializationError) as caught:
        MsgpackCodec().encode(value)
    return caught.value


def corrupt(body: bytes) -> bool:
    with pytest.raises(CorruptBlobError) as caught:
        MsgpackCodec().decode(body)
    return caught.value.reason == "codec"


class TestMsgpackCodec(CodecContract):
    @pytest.fixture
    def codec(self) -> MsgpackCodec:
        return MsgpackCodec()

    @pytest.fixture
    def values(self) -> list[Any]:
        return VALUES


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.datetimes(timezones=st.none() | st.timezones() | st.just(NAMED), allow_imaginary=True)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals().filter(lambda number: not number.is_snan())
    | st.uuids()
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=5)
        | st.dictionaries(hashables, inner, max_size=5)
        | st.sets(hashables, max_size=5)
        | st.frozensets(hashables, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(anything)
def test_anything_taken_comes_back_as_it_was(value: Any) -> None:
    """BUG-78: values made of every type, nested at will, are equal and of the same types after a round trip."""
    codec = MsgpackCodec()
    try:
        encoded = codec.encode(value)
    except SerializationError as error:
        # Some zones of the machine cannot be kept by name; nothing else may be refused.
        assert "ZoneInfo" in str(error)  # noqa: PT017 - the refusal is one of two right answers
    else:
        assert same(codec.decode(encoded.body), value)


@contextmanager
def everything_is_large() -> Iterator[None]:
    """Make and read each value in the smallest steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_FEW", 2), ("_RUN", 2), ("_PIECE", 3), ("LARGE", 4)):
            patch.setattr(module, name, value)
        patch.setattr(module._Writer, "most", 2)
        yield


@settings(max_examples=300, deadline=None)
@given(anything)
def test_in_steps_the_same_comes_of_a_value_and_of_its_bytes(value: Any) -> None:
    """However large it is: the same bytes, the same value, or the same refusal."""
    codec, bodies = MsgpackCodec(), []
    for how in (nullcontext, everything_is_large):
        with how():
            try:
                bodies.append(codec.encode(value).body)
            except SerializationError as error:
                bodies.append(str(error).encode())
            else:
                assert same(codec.decode(bodies[-1]), value)
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(
    "value",
    [
        [1, 2, 3, [4, {5}, object()]],
        {"a": {"b": [1, 2, 3], "c": 1j}},
        (1, [2, 3, 4], [5, 6, Colour.RED]),
        [1, [2, 3, {4: [Text()]}]],
    ],
)
def test_in_steps_a_refusal_says_where(value: Any) -> None:
    """The same as at once, counted from the beginning of what is done in steps."""
    at_once = refusal(value)
    with everything_is_large():
        in_steps = refusal(value)
    assert (str(at_once), at_once.path) == (str(in_steps), in_steps.path)


def test_bytes_that_end_too_early_or_too_late_are_corrupt_in_steps() -> None:
    """Nothing is believed of a body that does not end as what is in it does."""
    body = MsgpackCodec().encode([{"a": [1, "text"]}] * 9).body
    with everything_is_large():
        assert MsgpackCodec().decode(body) == [{"a": [1, "text"]}] * 9
        assert all(corrupt(body[:size]) for size in range(len(body)))
        assert corrupt(body + b"\x00")
        assert corrupt(body + bytes(99))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_corrupt_or_plain_data(body: bytes) -> None:
    """SZ-06: no bytes make the reader raise anything but CorruptBlobError, and what it accepts can be written."""
    codec = MsgpackCodec()
    try:
        value = codec.decode(body)
    except CorruptBlobError as fault:
        assert fault.reason == "codec"  # noqa: PT017 - the refusal is one of two right answers
    else:
        assert same(codec.decode(codec.encode(value).body), value)


@settings(max_examples=300, deadline=None)
@given(anything, st.data())
def test_mutated_bodies_never_leak_a_mark(value: Any, data: st.DataObject) -> None:
    """SZ-07: a body with bytes changed is corrupt, or data that could have been written; nothing of the reader's own."""
    codec = MsgpackCodec()
    try:
        body = bytearray(codec.encode(value).body)
    except SerializationError:
        return
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = codec.decode(bytes(body))
    except CorruptBlobError as fault:
        assert fault.reason == "codec"  # noqa: PT017 - the refusal is one of two right answers
    else:
        assert "_Mark" not in repr(read)


@pytest.mark.parametrize(
    "value",
    [
        *(Colour.RED, Plain.RED, Text("x"), Point(1, 2), OrderedDict(a=1), Table(a=1), Record("x"), object(), int, len),
        *(bytearray(b"x"), memoryview(b"x"), msgpack.ExtType(1, b""), msgpack.Timestamp(1), 1j, range(3), ...),
        *(Moment(2030, 1, 1), dt.datetime(2030, 1, 1, tzinfo=Zone()), dt.time(1, tzinfo=Zone()), {}.keys(), iter([])),
    ],
)
def test_what_would_come_back_as_something_else_is_refused(value: object) -> None:
    """SZ-03: enums, subclasses, dataclasses, objects and look-alikes are refused, wherever they stand."""
    assert type(value).__name__ in str(refusal(value)) or "tzinfo" in str(refusal(value))
    assert refusal([[], {"a": (value,)}]).path == "$[1].a[0]"


def test_a_refusal_says_where_and_never_what() -> None:
    """BUG-107: the path leads through field names and positions; values, and keys that are no names, are not shown."""
    value = {"tools": [{}, {}, {}, {"x": Record("hunter2")}]}
    error = refusal(value)
    assert error.path == "$.tools[3].x"
    assert "cannot store $.tools[3].x" in str(error)
    assert "Record" in str(error)
    assert "hunter2" not in str(error)
    assert refusal({"my password is hunter2": object()}).path == "$[...]"
    assert refusal({1: object()}).path == "$[...]"
    assert refusal({"a" * 41: object()}).path == "$[...]"
    assert refusal({Colour.RED: 1}).path == "$[...]"
    assert "plain int" in str(refusal(Colour.RED))


def test_a_zone_that_would_come_back_as_another_is_refused() -> None:
    """SZ-03: a ZoneInfo outside the cache of zoneinfo has no name that leads back to it."""
    value = dt.datetime(2030, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/Oslo"))
    assert "ZoneInfo(name)" in str(refusal(value))


def test_zones_come_back_as_the_same_zone() -> None:
    """BUG-78: the offset's own name, the zone and which of two equal hours it is are kept."""
    codec = MsgpackCodec()
    for value in VALUES:
        if isinstance(value, dt.datetime):
            back = codec.decode(codec.encode(value).body)
            assert (back.tzname(), back.fold, back.utcoffset()) == (value.tzname(), value.fold, value.utcoffset())
            assert back.tzinfo is value.tzinfo or type(value.tzinfo) is dt.timezone


def test_cycles_and_depth_are_refused_before_anything_is_written() -> None:
    """SZ-04: a list within itself and 10,000 lists within one another are errors, not crashes."""
    loop: list[Any] = []
    loop.append(loop)
    assert "itself" in str(refusal(loop))
    table: dict[str, Any] = {}
    table["me"] = (table,)
    assert "itself" in str(refusal(table))
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert refusal(deep).path == "$" + "[0]" * MAX_DEPTH
    for _ in range(10_000):  # taken apart by hand: the interpreter need not recurse
        deep = deep[0]


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: {1: x}])
def test_what_is_just_deep_enough_can_be_read(wrap: Any) -> None:
    """SZ-04: whatever the writer's limit lets pass, the reader takes."""
    value: Any = wrap(1)
    for _ in range(MAX_DEPTH - 1):
        value = wrap(value)
    codec = MsgpackCodec()
    assert same(codec.decode(codec.encode(value).body), value)
    assert "more than 128" in str(refusal(wrap(value)))


def test_what_is_just_large_enough_can_be_read() -> None:
    """SZ-04: the largest list, set and map that can be written can be read; one element more is refused."""
    codec = MsgpackCodec()
    for value in (list(range(MAX_ITEMS)), dict.fromkeys(range(MAX_ITEMS)), set(range(MAX_ITEMS))):
        assert codec.decode(codec.encode(value).body) == value
    assert f"{MAX_ITEMS:,}" in str(refusal([0] * (MAX_ITEMS + 1)))


def test_shared_parts_cannot_blow_up() -> None:
    """SZ-04: 60 lists, each twice in the next, are 2^60 when written out; that is refused, quickly."""
    value: list[Any] = [0]
    for _ in range(60):
        value = [value, value]
    assert "elements" in str(refusal(value))


def test_a_stack_that_is_nearly_full_is_a_refusal() -> None:
    """SZ-04: RecursionError while writing becomes a SerializationError."""

    def fill() -> SerializationError:
        try:
            return fill()
        except RecursionError:
            value: list[Any] = []
            for _ in range(100):
                value = [value]
            with pytest.raises(SerializationError) as caught:
                sink.encode(value)
            return caught.value

    sink = MsgpackCodec()
    assert "RecursionError" in str(fill())


def test_what_another_thread_slips_in_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """SZ-03: a stranger that appears after the value was checked meets a packer that knows no more than we do."""
    monkeypatch.setattr(module._Writer, "write", lambda _self, value, _depth: value)
    for stranger in (object(), Colour.RED, {1, 2}, Decimal(1)):
        assert "TypeError" in str(refusal([stranger]))


def test_crafted_markers_stay_data() -> None:
    """SZ-07: maps that ask other libraries to build objects are maps."""
    codec = MsgpackCodec()
    crafted = {"lc": 2, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "false"}, "__class__": "x"}
    assert codec.decode(msgpack.packb(crafted)) == crafted


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
        b"\x91" * 2000, b"\x91" * 900, b"\x81" * 2000, b"\xa1\xff", b"\x81\x01\x02", b"\x81\x90\x01", b"\x81\xc0\x01",
        b"\xd4\x05\x00", b"\xd4\x7f\x00", b"\xd4\xfe\x00", b"\xc7\x00\x05", b"\xc7\x00\x01", b"\x91\xc8\x00\x00\x01",
        b"\x92\x01\xc7\x00\x01", b"\x92\xc7\x00\x01\xc7\x00\x01", b"\x81\xa1k\xc7\x00\x01", b"\x92\xc7\x00\x04\x01",
        b"\x92\xc7\x00\x02\x90", b"\x93\xc7\x00\x04\x90\x01", b"\x81\xc7\x00\x01\x01",
        b"\xd4\x10\x00", b"\xc7\x04\x11\x00\x00\x01\x01", b"\xc7\x03\x14abc", b"\xc7\x03\x14\xff\xff\xff",
        b"\xc7\x01\x15\x00", b"\xd6\x12\x18\x00\x00\x00", b"\xd4\x13\x00",
        b"pickle\x80\x04cos\nsystem\n.",
    ],
)  # fmt: skip
def test_bytes_that_were_never_written_are_corrupt(body: bytes) -> None:
    """SZ-06, SZ-07: truncated, trailing, unknown, misplaced and misshapen parts are all CorruptBlobError."""
    assert corrupt(body)


@pytest.mark.parametrize(
    "name", ["../etc/passwd", "/etc/passwd", "os.path", "No/Such", "a/b/c/d/e", "", "Europe/Oslo\n"]
)
def test_a_zone_in_the_data_opens_no_file_of_its_choice(name: str) -> None:
    """SZ-07: the name of a zone is letters and at most three slashes, else the bytes are corrupt."""
    body = MsgpackCodec().encode(dt.time(1, tzinfo=UTC)).body
    payload = body[3 : 3 + 8] + b"z" + name.encode()
    assert corrupt(msgpack.packb(msgpack.ExtType(18, payload)))


def test_a_careless_decimal_context_does_not_let_garbage_through() -> None:
    """SZ-07: where the thread does not trap invalid decimals, a garbled one is still corrupt and not NaN."""
    outcome: list[bool] = []

    def run() -> None:
        setcontext(Context(traps=[]))
        assert str(Decimal("garbled")) == "NaN"
        outcome.append(corrupt(b"\xc7\x07\x14garbled"))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert outcome == [True]
    with pytest.raises(InvalidOperation):
        Decimal("garbled")


def test_lengths_that_are_only_claimed_cost_nothing() -> None:
    """SZ-09: 900 nested headers, each claiming a million elements in 1 MB, are refused in a trice and without memory."""
    body = (b"\xdd\x00\x0f\x42\x40" * 900).ljust(1 << 20, b"\x90")
    tracemalloc.start()
    before = time.process_time()
    try:
        assert corrupt(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20
    assert time.process_time() - before < 0.5


def test_an_array_longer_than_can_be_written_is_corrupt() -> None:
    """SZ-09: the limits on elements hold for what is read, too."""
    assert corrupt(msgpack.packb([0] * (2 * MAX_ITEMS + 2)))


@pytest.mark.parametrize("error", [MemoryError, RecursionError, OSError, KeyError])
@pytest.mark.parametrize("value", [[1], (1,), ["x"] * 5000])
def test_trouble_inside_the_decoder_is_a_miss(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], value: Any
) -> None:
    """SZ-15: no memory, no stack, or any other error within the decoder is CorruptBlobError."""
    body = MsgpackCodec().encode(value).body

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(module, "unpackb", fail)
        assert corrupt(body)
    monkeypatch.setattr(module, "Unpacker", fail)
    assert corrupt(body) if len(body) > 4096 else same(MsgpackCodec().decode(body), value)


def test_the_time_stamps_of_others_are_read_as_instants() -> None:
    """SZ-07: msgpack's own timestamp is no unknown extension: it is read as a datetime in UTC."""
    assert MsgpackCodec().decode(b"\xd6\xff\x00\x00\x00\x01") == dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_an_element_type_is_not_ours() -> None:
    """BUG-83: a body that claims an element type was written by another codec of this name."""
    with pytest.raises(CorruptBlobError):
        MsgpackCodec().decode(b"\x01", "l4")


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"a": [1, None, "é"]}, "81a16193 01c0 a2c3a9"),
        ((1, (2,)), "93 c70001 01 92 c70001 02"),
        ({1}, "92 c70002 01"),
        (frozenset({1}), "92 c70003 01"),
        ({1: "a"}, "93 c70004 01 a161"),
        (dt.datetime(2030, 1, 2, 3, 4, 5, 6), "c70c10 07ee 01 02 03 04 05 00000006 00"),  # noqa: DTZ001 - naive on purpose
        (dt.datetime(2030, 1, 2, tzinfo=UTC), "c71510 07ee 01 02 00 00 00 00000000 00 6f 0000000000000000"),
        (dt.date(2030, 1, 2), "d611 07ee0102"),
        (dt.time(1, 2, 3, 4, fold=1), "d712 010203 00000004 01"),
        (dt.timedelta(1, 2, 3), "c70c13 00000001 00000002 00000003"),
        (Decimal("1.10"), "d614 312e3130"),
        (UUID(int=1), "d815 00000000000000000000000000000001"),
        (2**64, "c70916 010000000000000000"),
    ],
)
def test_the_form_of_each_type_is_frozen(value: Any, body: str) -> None:
    """What is stored outlives the code: these bytes are read as these values for as long as the format is 1."""
    raw = bytes.fromhex(body)
    assert MsgpackCodec().encode(value).body == raw
    assert same(MsgpackCodec().decode(raw), value)
