"""Values as canonical bytes: equal values of equal types give equal bytes, any others different ones.

A value is written as text, tag first, and the text as UTF-8 (lone surrogates passed through). What has no fixed width
carries its length, so a text is a prefix of no other, and no two values can run into each other:

    N  T  F                      None, True, False
    i<hex>;                      int, of any size
    f<16 hex>                    float, as IEEE 754 big-endian; every NaN is one, 0.0 and -0.0 are two
    s<n>:<text>                  str of n code points; NFC and NFD differ
    b<n>:<2n hex>                bytes
    l<n>:  t<n>:                 list, tuple; then n values
    u<n>:  z<n>:                 set, frozenset; then n values, sorted by their text
    d<n>:                        dict; then n keys, each with its value; keys that are all str sorted by code point,
                                 any others by their text
    w<fold><n>:<iso>             datetime; an aware one by its wall time and offset, not by the name of its zone
    c<fold><n>:<iso>  y<iso>     time, date
    m<n>:<text>  g<32 hex>       Decimal (1.0 and 1.00 are two), UUID
    h<64 hex>                    Digest
    o<n>:<name><d>               dataclass marked with ``key_type``: qualified name, fields
    p<n>:<name><d><d><d>         pydantic model: qualified name, fields, extra and private attributes

Types are matched exactly. An IntEnum, or any subclass, may mean more than its bare value, and is refused. The format is
frozen: keys outlive the code.
"""

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar

from toolcache.errors import UnsupportedKeyError
from toolcache.rare import rare

if TYPE_CHECKING:
    from decimal import Decimal

_T = TypeVar("_T")
_Out: TypeAlias = list[str]
_Writer: TypeAlias = Callable[[Any, _Out, int], None]

MAX_DEPTH: Final = 100
"""How many containers may stand one within another."""

_HEX64: Final = "[0-9a-fA-F]{64}"
_PLAIN_NAME: Final = "[A-Za-z_]{1,24}"
_TOLD_STEPS: Final = 16
_DOUBLE: Final = struct.Struct(">d")
_NAN: Final = "f7ff8000000000000"
_ONLY_STR: Final = frozenset({str})
_STATEFUL: Final = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, BaseException)


class Digest(str):
    """A SHA-256 computed elsewhere, to stand for what it was computed from.

    Args:
        hexdigest: exactly 64 hexadecimal digits; upper case is lowered.

    Raises:
        UnsupportedKeyError: for anything else.
    """

    __slots__ = ()

    def __new__(cls, hexdigest: str) -> Self:
        """Check, and lower."""
        if not isinstance(hexdigest, str):
            raise UnsupportedKeyError(f"a Digest is made of 64 hexadecimal digits, not of {_name(type(hexdigest))}")
        if not re.fullmatch(_HEX64, hexdigest):
            raise UnsupportedKeyError(
                f"a Digest takes exactly 64 hexadecimal digits; this text of {len(hexdigest)} characters is none: "
                "use digest(value) to compute one"
            )
        return super().__new__(cls, hexdigest.lower())

    def __repr__(self) -> str:
        return f"Digest('{self[:8]}…')"


def canonical(value: object, *, where: str = "value") -> bytes:
    """The canonical bytes of a value; the module tells the format.

    Args:
        value: None, bool, int, float, str, bytes, list, tuple, dict, set, frozenset, datetime, date, time, Decimal,
            UUID, Digest, a dataclass marked with ``key_type``, a pydantic model, or these within one another.
        where: what an error calls the value.

    Raises:
        UnsupportedKeyError: for anything else, and for what is nested deeper than ``MAX_DEPTH`` or contains itself.
    """
    try:
        return _text(value, MAX_DEPTH).encode("utf-8", "surrogatepass")
    except _RefusedError as refused:
        raise UnsupportedKeyError(refused.tell(where)) from None
    except RecursionError:
        raise UnsupportedKeyError(_too_deep().tell(where)) from None


def digest(value: object) -> Digest:
    """SHA-256 of a value's canonical bytes; a ``Digest`` passes unchanged, 64 digits in a plain str are hashed."""
    if type(value) is Digest:
        return value
    return str.__new__(Digest, sha256(canonical(value)).hexdigest())


def key_type(cls: type[_T]) -> type[_T]:
    """Let instances of a dataclass stand in keys, by qualified name and fields.

    Marking is a statement: nothing but its fields decides what the value means. Subclasses are not included.

    Raises:
        UnsupportedKeyError: if the class is no dataclass, or has state of a built-in type beside its fields.

    Examples:
        >>> @key_type
        ... @dataclass(frozen=True)
        ... class Query:
        ...     text: str
        ...     top_k: int = 10
    """
    from dataclasses import fields, is_dataclass

    if not (isinstance(cls, type) and is_dataclass(cls) and "__dataclass_fields__" in vars(cls)):
        raise UnsupportedKeyError("key_type marks dataclasses: put it above @dataclass")
    if issubclass(cls, _STATEFUL):
        raise UnsupportedKeyError(f"{_name(cls)} holds more than its fields: it inherits from a built-in type")
    names = tuple(field.name for field in fields(cls))

    def write(value: Any, out: _Out, depth: int) -> None:
        _write_object("o", value, ({name: getattr(value, name) for name in names},), out, depth)

    _WRITERS[cls] = write
    return cls


class _RefusedError(Exception):
    """A value that has no canonical form; ``steps`` lead to it, innermost first."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what = what
        self.advice = advice
        self.steps: list[str] = []

    def tell(self, where: str) -> str:
        path = "".join(self.steps[:-_TOLD_STEPS:-1]) + ("…" if len(self.steps) >= _TOLD_STEPS else "")
        return f"{self.what} cannot be part of a key (at {where}{path}): {self.advice}"


def _too_deep() -> _RefusedError:
    return _RefusedError(
        f"a value that contains itself or nests deeper than {MAX_DEPTH}",
        "flatten it, or pass a Digest computed elsewhere",
    )


def _name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _key_step(key: object) -> str:
    # A key of a mapping may be a secret; only what looks like the name of a field is told.
    return f"[{key!r}]" if type(key) is str and re.fullmatch(_PLAIN_NAME, key) else "[…]"


# Values of one piece: each gives its text.


def _float(value: float) -> str:
    return "f" + _DOUBLE.pack(value).hex() if value == value else _NAN  # noqa: PLR0124 - NaN alone differs from itself


def _clock(tag: str, value: datetime | time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise _RefusedError(f"a {type(value).__name__} whose zone gives no offset", "pass a datetime, or its parts")
    iso = value.isoformat()
    return f"{tag}{value.fold}{len(iso)}:{iso}"


def _decimal(value: "Decimal") -> str:
    # str() writes the exponent as the context says: "e" or "E".
    text = str(value).upper()
    return f"m{len(text)}:{text}"


_ATOMS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): {None: "N"}.__getitem__,
    bool: {True: "T", False: "F"}.__getitem__,
    int: "i%x;".__mod__,  # hexadecimal: Python refuses to write long decimals
    float: _float,
    str: lambda value: f"s{len(value)}:{value}",
    bytes: lambda value: f"b{len(value)}:{value.hex()}",
    datetime: lambda value: _clock("w", value),
    time: lambda value: _clock("c", value),
    date: lambda value: f"y{value.isoformat()}",
    Digest: lambda value: f"h{value}",
}
_RARE_ATOMS: Final[dict[str, Callable[[Any], str]]] = {
    "Decimal": _decimal,
    "UUID": lambda value: f"g{value.hex}",
}


# Values of several pieces: each writes them in order. Lists and dicts test for str themselves: it is what prompts are
# made of, and the call would cost more than the writing.


def _text(value: object, depth: int) -> str:
    if (atom := _ATOMS.get(type(value))) is not None:
        return atom(value)
    parts: list[str] = []
    _WRITERS[type(value)](value, parts, depth)
    return "".join(parts)


def _items_writer(tag: str) -> _Writer:
    def write(items: list[Any] | tuple[Any, ...], out: _Out, depth: int) -> None:
        if not depth:
            raise _too_deep()
        out.append(f"{tag}{len(items)}:")
        item = None
        try:
            for item in items:
                if (kind := type(item)) is str:
                    out.append(f"s{len(item)}:{item}")
                elif kind in _ATOMS:
                    out.append(_ATOMS[kind](item))
                else:
                    _WRITERS[kind](item, out, depth - 1)
        except _RefusedError as refused:
            index = next(index for index, other in enumerate(items) if other is item)
            refused.steps.append(f"[{index}]")
            raise

    return write


def _write_dict(value: dict[Any, Any], out: _Out, depth: int) -> None:
    if not depth:
        raise _too_deep()
    try:
        keys = sorted(value)
    except Exception:  # noqa: BLE001 - keys of several types, or of one that does not sort: some key is no str
        keys = [None]
    start = len(out)
    out.append(f"d{len(value)}:")
    key = None
    try:
        for key in keys:
            if type(key) is not str:
                break
            item = value[key]
            if (kind := type(item)) is str:
                out.append(f"s{len(key)}:{key}s{len(item)}:{item}")
            elif kind in _ATOMS:
                out.append(f"s{len(key)}:{key}{_ATOMS[kind](item)}")
            else:
                out.append(f"s{len(key)}:{key}")
                _WRITERS[kind](item, out, depth - 1)
        else:
            return
    except _RefusedError as refused:
        refused.steps.append(_key_step(key))
        raise
    del out[start:]
    _write_mixed_dict(value, out, depth)


def _write_mixed_dict(value: dict[Any, Any], out: _Out, depth: int) -> None:
    pairs = []
    key = None
    try:
        for key, item in value.items():
            pairs.append(_text(key, depth - 1) + _text(item, depth - 1))
    except _RefusedError as refused:
        refused.steps.append(_key_step(key))
        raise
    # No text is a prefix of another, so pairs sort as their keys do.
    out.append(f"d{len(pairs)}:{''.join(sorted(pairs))}")


def _set_writer(tag: str) -> _Writer:
    def write(members: Iterable[Any], out: _Out, depth: int) -> None:
        if not depth:
            raise _too_deep()
        try:
            texts = sorted([_text(member, depth - 1) for member in members])
        except _RefusedError as refused:
            refused.steps.append("{…}")
            raise
        out.append(f"{tag}{len(texts)}:{''.join(texts)}")

    return write


def _write_object(tag: str, value: object, states: Iterable[dict[str, Any]], out: _Out, depth: int) -> None:
    if not depth:
        raise _too_deep()
    cls = type(value)
    name = f"{cls.__module__}.{cls.__qualname__}"
    out.append(f"{tag}{len(name)}:{name}")
    for state in states:
        _write_dict(state, out, depth - 1)


def _write_other(value: Any, out: _Out, depth: int) -> None:
    cls = type(value)
    if callable(getattr(cls, "model_dump", None)) and isinstance(names := getattr(cls, "model_fields", None), Mapping):
        # The attributes themselves: model_dump() leaves out what a subclass adds, and excluded fields.
        states = (
            {name: getattr(value, name) for name in names},
            getattr(value, "__pydantic_extra__", None) or {},
            getattr(value, "__pydantic_private__", None) or {},
        )
        _write_object("p", value, states, out, depth)
        return
    if hasattr(cls, "__dataclass_fields__"):
        raise _RefusedError(f"the dataclass {_name(cls)}", "mark it with key_type, or pass what tells it from others")
    raise _RefusedError(
        f"a value of type {_name(cls)}", "pass what it stands for, such as its id or its text, or leave it out"
    )


class _Writers(dict[type, _Writer]):
    def __missing__(self, cls: type) -> _Writer:
        atom = _RARE_ATOMS.get(rare(cls))
        if atom is None:
            return _write_other
        _ATOMS[cls] = atom
        return lambda value, out, _depth: out.append(atom(value))


_WRITERS: Final = _Writers(
    {
        list: _items_writer("l"),
        tuple: _items_writer("t"),
        dict: _write_dict,
        set: _set_writer("u"),
        frozenset: _set_writer("z"),
    }
)
