"""Canonical bytes: frozen, the same for equal values, different for any others."""

import os
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from enum import Enum, IntEnum, StrEnum
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolcache.errors import UnsupportedKeyError
from toolcache.keys.canonical import MAX_DEPTH, Digest, canonical, digest, key_type

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

NAN = float("nan")
EAST = timezone(timedelta(hours=5, minutes=30))


@key_type
@dataclass(frozen=True)
class Query:
    text: str
    top_k: int = 10
    secret_salt: str = field(default="", repr=False, compare=False)


@key_type
@dataclass(slots=True)
class Slotted:
    texts: list[str]


@dataclass
class Unmarked:
    text: str


class Subquery(Query):
    pass


class Model:
    """Has what pydantic's models have, as far as keys look."""

    model_fields: ClassVar[dict[str, object]] = {"name": object(), "size": object()}

    def __init__(self, name: Any, size: Any = 1, *, extra: Any = None, private: Any = None) -> None:
        self.name = name
        self.size = size
        self.__pydantic_extra__ = extra
        self.__pydantic_private__ = private

    def model_dump(self) -> dict[str, Any]:
        return {"name": "what a dump leaves out must not be left out of the key"}


class OtherModel(Model):
    pass


class Nowhere(tzinfo):
    def utcoffset(self, _when: datetime | None) -> None:
        return None

    def dst(self, _when: datetime | None) -> None:
        return None

    def tzname(self, _when: datetime | None) -> None:
        return None


GOLDEN: list[tuple[Any, bytes]] = [
    (None, b"N"),
    (True, b"T"),
    (False, b"F"),
    (0, b"i0;"),
    (1, b"i1;"),
    (-255, b"i-ff;"),
    (2**64, b"i10000000000000000;"),
    (0.0, b"f0000000000000000"),
    (-0.0, b"f8000000000000000"),
    (1.0, b"f3ff0000000000000"),
    (0.1, b"f3fb999999999999a"),
    (float("inf"), b"f7ff0000000000000"),
    (-NAN, b"f7ff8000000000000"),
    ("", b"s0:"),
    ("caf\u00e9", b"s4:caf\xc3\xa9"),
    ("cafe\u0301", b"s5:cafe\xcc\x81"),
    ("\ud800", b"s1:\xed\xa0\x80"),
    ("\U0001f600", b"s1:\xf0\x9f\x98\x80"),
    (b"", b"b0:"),
    (b"a\xff\x00", b"b3:61ff00"),
    ([], b"l0:"),
    (["a", 1, [None]], b"l3:s1:ai1;l1:N"),
    ((), b"t0:"),
    (("a", (1.0,)), b"t2:s1:at1:f3ff0000000000000"),
    ({}, b"d0:"),
    ({"b": 1, "a": "x", "aa": []}, b"d3:s1:as1:xs2:aal0:s1:bi1;"),
    ({1: "int", "1": "str"}, b"d2:i1;s3:ints1:1s3:str"),
    ({10: None, 9: None}, b"d2:i9;Nia;N"),
    ({3, 1, 2}, b"u3:i1;i2;i3;"),
    (frozenset({"b", "a"}), b"z2:s1:as1:b"),
    (datetime(2024, 2, 29, 12, 30, 1, 5), b"w026:2024-02-29T12:30:01.000005"),  # noqa: DTZ001 - naive is one of the cases
    (datetime(2024, 2, 29, 12, 30, tzinfo=UTC), b"w025:2024-02-29T12:30:00+00:00"),
    (datetime(2024, 10, 27, 2, 30, fold=1), b"w119:2024-10-27T02:30:00"),  # noqa: DTZ001 - the same
    (date(987, 1, 2), b"y0987-01-02"),
    (time(1, 2, 3), b"c08:01:02:03"),
    (time(1, 2, tzinfo=EAST), b"c014:01:02:00+05:30"),
    (Decimal("1.10"), b"m4:1.10"),
    (Decimal("1E+5"), b"m4:1E+5"),
    (UUID(int=10), b"g0000000000000000000000000000000a"),
    (Digest("Ab" * 32), b"h" + b"ab" * 32),
    (Query("x"), b"o20:test_canonical.Queryd3:s11:secret_salts0:s4:texts1:xs5:top_kia;"),
    (Slotted(["x"]), b"o22:test_canonical.Slottedd1:s5:textsl1:s1:x"),
    (
        Model("x", extra={"e": 1}, private={"_p": 2}),
        b"p20:test_canonical.Modeld2:s4:names1:xs4:sizei1;d1:s1:ei1;d1:s2:_pi2;",
    ),
]


@pytest.mark.parametrize(("value", "expected"), GOLDEN)
def test_golden_bytes(value: Any, expected: bytes) -> None:
    """BUG-68: the byte format is frozen, tag by tag."""
    assert canonical(value) == expected


def test_golden_digests() -> None:
    """BUG-69: digests are what other processes and later releases compute as well."""
    prompt = {"model": "small", "messages": [{"role": "user", "content": "hé\ud800"}], "temperature": 0.7, "n": None}
    assert digest("hello") == "03711ba6fffbc3b338274a1e860b0ed9046ed4b3be912e32e4f96dc83f32eb97"
    assert digest(prompt) == "16e03c5632886d388e2da5af586ac6bff9275f34b4f62a358d04e3a60ad7038f"
    assert digest("hello") == sha256(b"s5:hello").hexdigest()


# What a value is, for keys: type and content. Two values with equal shapes are one, all others are two.


def shape(value: Any) -> Any:  # noqa: PLR0911 - one line for each kind
    kind = type(value)
    if kind is float:
        return ("float", "nan" if value != value else struct.pack(">d", value))  # noqa: PLR0124 - so NaN is found
    if kind in {list, tuple}:
        return (kind.__name__, tuple(shape(item) for item in value))
    if kind in {set, frozenset}:
        return (kind.__name__, frozenset(shape(item) for item in value))
    if kind is dict:
        return ("dict", frozenset((shape(key), shape(item)) for key, item in value.items()))
    if kind is Decimal:
        return ("Decimal", value.as_tuple())
    if kind in {datetime, time}:
        return (kind.__name__, value.replace(tzinfo=None), value.fold, value.utcoffset())
    if kind is bool:
        return ("bool", str(value))
    return (kind.__name__, value)


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 3)
    | st.floats()
    | st.sampled_from([0.0, -0.0, 1.0, NAN])
    | st.text(st.characters(), max_size=6)
    | st.sampled_from(["", "1", "N", "i1;", "s1:a", "\ud800"])
    | st.binary(max_size=6)
    | st.datetimes(timezones=st.none() | st.sampled_from([UTC, EAST]))
    | st.dates()
    | st.times()
    | st.decimals()
    | st.uuids()
)
hashables = st.recursive(
    atoms.filter(lambda value: "NaN" not in repr(value) and "nan" not in repr(value)),  # as a key it equals nothing
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
values = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.sets(hashables, max_size=3)
        | st.frozensets(hashables, max_size=3)
    ),
    max_leaves=12,
)


class Decoder:
    """Reads canonical bytes back to a shape, so nothing about the value can have been lost."""

    def __init__(self, raw: bytes) -> None:
        self.text = raw.decode("utf-8", "surrogatepass")
        self.at = 0

    def take(self, count: int) -> str:
        self.at += count
        taken = self.text[self.at - count : self.at]
        assert len(taken) == count
        return taken

    def until(self, end: str) -> str:
        taken = self.take(self.text.index(end, self.at) - self.at)
        self.take(1)
        return taken

    def counted(self) -> str:
        return self.take(int(self.until(":")))

    def many(self) -> list[Any]:
        return [self.read() for _ in range(int(self.until(":")))]

    def read(self) -> Any:  # noqa: C901, PLR0911, PLR0912 - one branch for each tag
        match self.take(1):
            case "N":
                return ("NoneType", None)
            case "T" | "F" as tag:
                return ("bool", str(tag == "T"))
            case "i":
                return ("int", int(self.until(";"), 16))
            case "f":
                return shape(struct.unpack(">d", bytes.fromhex(self.take(16)))[0])
            case "s":
                return ("str", self.counted())
            case "b":
                return ("bytes", bytes.fromhex(self.take(2 * int(self.until(":")))))
            case "l" | "t" as tag:
                return ({"l": "list", "t": "tuple"}[tag], tuple(self.many()))
            case "u" | "z" as tag:
                return ({"u": "set", "z": "frozenset"}[tag], frozenset(self.many()))
            case "d":
                return ("dict", frozenset((self.read(), self.read()) for _ in range(int(self.until(":")))))
            case "w":
                fold = int(self.take(1))
                return shape(datetime.fromisoformat(self.counted()).replace(fold=fold))
            case "c":
                fold = int(self.take(1))
                return shape(time.fromisoformat(self.counted()).replace(fold=fold))
            case "y":
                return ("date", date.fromisoformat(self.take(10)))
            case "m":
                return shape(Decimal(self.counted()))
            case "g":
                return ("UUID", UUID(self.take(32)))
            case tag:
                raise AssertionError(tag)


@patient
@given(values)
def test_nothing_is_lost(value: Any) -> None:
    """BUG-68: what a value is can be read back from its bytes, so no two values share them."""
    decoder = Decoder(canonical(value))
    assert decoder.read() == shape(value)
    assert decoder.at == len(decoder.text)


@patient
@given(values, values)
def test_same_bytes_means_same_value(left: Any, right: Any) -> None:
    """BUG-68: two values share their bytes if, and only if, they are equal type for type."""
    assert (canonical(left) == canonical(right)) == (shape(left) == shape(right))


@patient
@given(values, values)
def test_no_bytes_begin_others(left: Any, right: Any) -> None:
    """BUG-72: no value's bytes are a prefix of another's, so neighbours cannot run into each other."""
    one, other = canonical(left), canonical(right)
    assert one == other or not other.startswith(one)


@patient
@given(st.dictionaries(hashables, values, max_size=5), st.randoms(use_true_random=False))
def test_order_of_dicts_and_sets_does_not_matter(value: dict[Any, Any], random: Any) -> None:
    """BUG-69: dicts and sets filled in another order are the same value."""
    pairs, members = list(value.items()), list(value)
    random.shuffle(pairs)
    random.shuffle(members)
    assert canonical(dict(pairs)) == canonical(value)
    assert canonical(set(members)) == canonical(set(value))


@pytest.mark.parametrize(
    "distinct",
    [
        [1, 1.0, True, "1", b"1", Decimal(1), [1], (1,), {1}, frozenset({1})],
        [None, "", b"", [], (), {}, set(), frozenset(), 0, False, "None"],
        [["a", "b"], "a:b", ["a:b"], ["ab"], ["a", "b", ""], [["a"], "b"]],
        [{"a": 1}, "a:1", {"a": "1"}, [("a", 1)], [["a", 1]]],
        ["é", "e\u0301", "É"],
        [0.0, -0.0],
        [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), date(2024, 1, 1), "2024-01-01T00:00:00"],  # noqa: DTZ001 - the case
        [datetime(2024, 1, 1, 5, 30, tzinfo=EAST), datetime(2024, 1, 1, tzinfo=UTC)],
        [datetime(2024, 10, 27, 2), datetime(2024, 10, 27, 2, fold=1)],  # noqa: DTZ001 - the case
        [Decimal("1.0"), Decimal("1.00"), Decimal("-0"), Decimal("NaN"), Decimal("sNaN"), Decimal("NaN1")],
        [UUID(int=1), UUID(int=1).hex, str(UUID(int=1)), UUID(int=1).bytes],
        ["ab" * 32, Digest("ab" * 32), b"ab" * 32],
        [Query("x"), Query("x", 11), Query("x", secret_salt="y"), Slotted(["x"]), {"text": "x"}],
        [Model("x"), OtherModel("x"), Model("x", 2), Model("x", extra={"e": 1}), Model("x", private={"e": 1})],
    ],
)
def test_alike_is_not_the_same(distinct: list[Any]) -> None:
    """BUG-68: values that other caches confuse are told apart."""
    assert len({canonical(value) for value in distinct}) == len(distinct)


def test_keys_of_one_and_text_one_are_two() -> None:
    """KY-10: a dict's keys 1 and "1" are distinct, together and apart."""
    assert len({canonical(value) for value in ({1: "x"}, {"1": "x"}, {1: "x", "1": "x"}, {True: "x"}, {1.0: "x"})}) == 5


def test_every_nan_is_one() -> None:
    """KY-11: NaN equals itself in keys, whatever its bits."""
    other = struct.unpack(">d", bytes.fromhex("fff8000000000123"))[0]
    assert canonical(NAN) == canonical(other) == canonical(-NAN)
    assert canonical([NAN]) == canonical([float("nan")])


@pytest.mark.parametrize("size", [10, 5_000, 100_000])
def test_integers_of_any_size(size: int) -> None:
    """BUG-68: integers beyond the length that Python writes in decimal are keys too."""
    assert canonical(16**size) == b"i1" + b"0" * size + b";"


def test_a_decimal_does_not_depend_on_the_context() -> None:
    """BUG-69: how the caller's context writes exponents changes no key."""
    with localcontext() as context:
        context.capitals = 0
        assert canonical(Decimal("1E+5")) == b"m4:1E+5"


class Colour(Enum):
    RED = 1


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    A = "a"


class Text(str):
    __slots__ = ()


class Opaque:
    def __init__(self, state: int) -> None:
        self.state = state

    def __repr__(self) -> str:
        return "Opaque()"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Opaque(1),
        Colour.RED,
        Level.LOW,
        Name.A,
        Text("a"),
        PurePosixPath("a"),
        bytearray(b"a"),
        memoryview(b"a"),
        1j,
        range(3),
        len,
        int,
        Query,
        timedelta(1),
        Subquery("x"),
        Unmarked("x"),
        iter([]),
        (item for item in [1]),
        time(1, tzinfo=Nowhere()),
        datetime(2024, 1, 1, tzinfo=Nowhere()),
        type("OwnDict", (dict,), {})(),
    ],
)
def test_other_types_are_refused(value: Any) -> None:
    """KY-03: what has no canonical form is refused wherever it stands, whatever its repr says."""
    for nested in (value, [value], (1, value), {"a": value}, {1: value}, Model(value), Query(value)):
        with pytest.raises(UnsupportedKeyError, match="cannot be part of a key"):
            canonical(nested)


def test_a_refusal_says_what_and_where() -> None:
    """BUG-71: the error names the type and the place."""
    with pytest.raises(UnsupportedKeyError) as caught:
        canonical({"user": [1, {"when": Opaque(1)}]}, where="argument 'q'")
    assert str(caught.value) == (
        "a value of type test_canonical.Opaque cannot be part of a key (at argument 'q'['user'][1]['when']): "
        "pass what it stands for, such as its id or its text, or leave it out"
    )


@pytest.mark.parametrize(
    "value",
    [
        ["hunter2", Opaque(7)],
        {"hunter2": Opaque(7)},
        {("hunter2",): Opaque(7)},
        {1: "hunter2", "b": {"hunter2 ": Opaque(7)}},
        {"hunter2": {"sk-hunter2": Opaque(7)}},
        Query("hunter2", Opaque(7)),  # type: ignore[arg-type]  # what a caller may do
        type("Named", (Opaque,), {"__repr__": lambda _: "hunter2"})(7),
        type("Dicty", (dict,), {})({"hunter2": 7}),
    ],
)
def test_a_refusal_does_not_tell_the_value(value: Any) -> None:
    """BUG-107: neither values nor keys of mappings that may be secrets stand in the error, nor in its causes."""
    with pytest.raises(UnsupportedKeyError) as caught:
        canonical(value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_sets_and_dict_keys_are_searched() -> None:
    """KY-03: an unsupported member of a set, or key of a dict, is refused."""
    for value in (
        {Opaque(1)},
        frozenset({Level.LOW}),
        {Opaque(1): 1},
        {Level.LOW: 1},
        {"a": 1, Name.A + "b": {Name.A: 2}},
    ):
        with pytest.raises(UnsupportedKeyError):
            canonical(value)


def test_a_str_subclass_among_the_keys_is_refused() -> None:
    """KY-03: a key that only looks like a str is not taken for one, wherever it sorts."""
    for odd in ("a", "m", "z"):
        with pytest.raises(UnsupportedKeyError):
            canonical({"b": 1, "n": 2, Text(odd): 3})
    assert canonical({"b": 1, Digest("f" * 64): 2}).startswith(b"d2:h" + b"f" * 64)


def cycle() -> Any:
    loop: list[Any] = [1]
    loop.append({"again": (loop,)})
    return loop


def nested(depth: int, kind: Any) -> Any:
    value: Any = kind()
    for _ in range(depth - 1):
        value = {"k": value} if kind is dict else kind([value])
    return value


@pytest.mark.parametrize("kind", [list, tuple, dict, frozenset])
def test_depth_is_bounded(kind: Any) -> None:
    """BUG-68: as deep as documented works, deeper is refused, and never with a RecursionError."""
    assert canonical(nested(MAX_DEPTH, kind))
    for depth in (MAX_DEPTH + 1, 5_000):
        with pytest.raises(UnsupportedKeyError, match="nests deeper than 100") as caught:
            canonical(nested(depth, kind))
        assert len(str(caught.value)) < 400


def test_cycles_are_refused() -> None:
    """BUG-68: a value that contains itself is refused."""
    with pytest.raises(UnsupportedKeyError, match="contains itself"):
        canonical(cycle())


def test_a_nearly_full_stack_is_no_recursion_error() -> None:
    """BUG-68: called from deep within a recursion, a deep value is refused, not a crash."""

    def descend(levels: int) -> bytes:
        return canonical(nested(90, list)) if levels == 0 else descend(levels - 1)

    room = sys.getrecursionlimit() - len(_frames())
    outcomes = []
    for spare in range(60, 100, 5):
        try:
            outcomes.append(descend(room - spare) != b"")
        except UnsupportedKeyError:
            outcomes.append(False)
    assert False in outcomes


def _frames() -> list[Any]:
    found, frame = [], sys._getframe()
    while frame is not None:
        found.append(frame)
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    return found


def test_key_type_marks_only_dataclasses() -> None:
    """BUG-71: a class whose fields are not all it holds cannot be marked."""
    with pytest.raises(UnsupportedKeyError, match="put it above @dataclass"):
        key_type(Opaque)
    with pytest.raises(UnsupportedKeyError, match="put it above @dataclass"):
        key_type(Subquery)

    @dataclass
    class Listing(list[int]):
        name: str = ""

    with pytest.raises(UnsupportedKeyError, match="more than its fields"):
        key_type(Listing)
    with pytest.raises(UnsupportedKeyError, match="mark it with key_type"):
        canonical(Unmarked("x"))


def test_digest_takes_exactly_64_digits() -> None:
    """BUG-68: a Digest is a whole SHA-256; anything shorter, longer or else is refused without being repeated."""
    assert Digest("AB" * 32) == "ab" * 32
    for wrong in (
        "",
        "ab" * 31,
        "ab" * 33,
        "ab" * 31 + "xy",
        "ab" * 32 + "\n",
        "\uff11" * 64,
        "\u212a" * 64,
        " " + "a" * 63,
    ):
        with pytest.raises(UnsupportedKeyError, match="exactly 64 hexadecimal digits") as caught:
            Digest(wrong)
        assert not wrong or wrong not in str(caught.value)
    with pytest.raises(UnsupportedKeyError, match="not of bytes"):
        Digest(b"ab" * 32)  # type: ignore[arg-type]  # what a caller may do


def test_digest_passes_a_digest_and_hashes_text() -> None:
    """BUG-68: only the type makes a digest; 64 digits that a user wrote are hashed as any text."""
    digits = "ab" * 32
    assert digest(Digest(digits)) == digits
    assert digest(digits) == sha256(b"s64:" + digits.encode()).hexdigest()
    assert isinstance(digest(1), Digest)
    assert repr(Digest(digits)) == "Digest('abababab…')"


def test_the_hash_seed_does_not_matter() -> None:
    """BUG-69: processes with other seeds for hashing compute the same keys."""
    code = (
        "from toolcache.keys.canonical import digest;"
        "print(digest([{str(i) for i in range(50)}, frozenset('abcdef'), {str(i): i for i in {'a','b','c'}}, {(1, 'a'), 2}]))"
    )
    root = str(Path(__file__).parents[2])
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(printed) == 1
    assert len(printed.pop().strip()) == 64
