"""Values as msgpack, extended so that whatever is written comes back equal and of the same type.

What msgpack itself keeps exactly (None, bool, 64-bit int, float, str, bytes, list, dict with text or bytes keys) is
plain msgpack, read by its C code in one pass. Scalars it lacks are extensions (see ``extensions``), containers it lacks
are marked arrays (see ``marks``). A body without the bytes that every mark begins with needs no look at its arrays, and
does not get one.

Everything else is refused at write time, subclasses included: an enum that came back as an int would be a lie.
"""

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, Final

from msgpack import OutOfData, Packer, Unpacker, unpackb

from toolcache.aside import LARGE, Lengthy, Pace
from toolcache.blob import CorruptBlobError
from toolcache.codec import extensions, marks
from toolcache.codec.extensions import Refused
from toolcache.encoded import Encoded
from toolcache.errors import SerializationError

MAX_DEPTH: Final = 128
"""Containers within containers, at most, in what is written; msgpack's own reader stops at 1,024."""
MAX_ITEMS: Final = 1_000_000
"""Elements of a value, at most, all its containers together."""

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_PLAIN_KEYS: Final = frozenset({str, bytes})
_LONG: Final = frozenset({str, bytes})

# First bytes of extensions, marks among them, and of lone surrogates.
_SPECIAL: Final = b"\xc7\xc8\xc9\xd4\xd5\xd6\xd7\xd8\xed"

_SMALL: Final = 2048
_FEW: Final = 8_192
"""Elements that are looked at and packed on the event loop: two milliseconds if each is a container."""
_RUN: Final = 1_000
_PIECE: Final = 16_384
_SCALARS: Final = b"\xc4\xc5\xc6\xd9\xda\xdb"  # first bytes of long text and bytes
TRUSTED_SIZE: Final = 4096
"""Bytes up to which the lengths that headers may claim are too small to hurt."""
# The longest array the writer makes: a marked map, key and value by turns.
_MAX_LENGTH: Final = 2 * MAX_ITEMS + 1
_MAX_LABEL: Final = 40


# The class's own constructor takes twice as long.
_encoded: Final = tuple.__new__


class MsgpackCodec:
    """Plain data, type for type.

    Takes None, bool, int of any size, float (NaN, infinities and -0.0 included), str (lone surrogates included), bytes,
    list, tuple, set, frozenset, dict with any of these as keys, datetime, date, time, timedelta, Decimal and UUID; of
    exactly these types. Time zones: ``datetime.timezone`` and ``zoneinfo.ZoneInfo``.
    """

    name = "m"

    def accepts(self, value: object, /) -> bool:  # noqa: ARG002 - the codec of last resort
        """True: what it cannot keep it refuses with a reason."""
        return True

    def encode(self, value: object, /) -> Encoded:
        """The value as msgpack.

        Raises:
            SerializationError: a type that cannot be kept, a cycle, more than MAX_DEPTH levels or MAX_ITEMS elements.
        """
        try:
            return self.at_once(value)
        except Lengthy as lengthy:
            return lengthy.work()  # type: ignore[no-any-return]  # it has many

    def at_once(self, value: object, /) -> Encoded:
        """``encode``, if that takes no longer than the event loop may stand still.

        Raises:
            Lengthy: it does.
            SerializationError: as ``encode``.
        """
        body = pack_flat(value)
        if body is not None:
            return _encoded(Encoded, (body, "m", ""))
        if type(value) in _LONG and len(value) > LARGE:  # type: ignore[arg-type]  # text or bytes
            raise Lengthy(lambda: self._encode(value, _Patient()))
        try:
            return self._encode(value, _Writer())
        except _TooManyError:
            raise Lengthy(lambda: self._encode(value, _Patient())) from None

    def _encode(self, value: object, writer: "_Writer") -> Encoded:
        try:
            tree = writer.write(value, 0)
            try:
                body = Packer(strict_types=True, default=_pack_rest).pack(tree)
            except UnicodeEncodeError:
                body = Packer(strict_types=True, default=_pack_rest, unicode_errors="surrogatepass").pack(tree)
        except _TooManyError:
            raise
        except Refused as fault:
            path = "$" + "".join(reversed(fault.steps))
            raise SerializationError(f"cannot store {path}: {fault.reason}", path=path) from None
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the value is not stored
            # Changed by another thread meanwhile, or no memory or stack left for it.
            raise SerializationError(f"cannot store the value: {type(error).__name__} while encoding it") from None
        return Encoded(body, self.name)

    def decode(self, body: bytes, dtype: str = "", /) -> Any:
        """A fresh value; raises CorruptBlobError for anything but what ``encode`` could have written."""
        return self.thaw(body, dtype)(body)

    def thaw(self, body: bytes, dtype: str = "", /) -> Callable[[bytes], Any]:
        """What makes a fresh value of this body, as often as it is called; raises CorruptBlobError."""
        if dtype:
            raise CorruptBlobError("codec")
        _check_lengths(body)
        return _read_marked if marks.PREFIX in body else _read_plain


def is_plain(body: bytes) -> bool:
    """Whether msgpack alone reads the body, without any word of ours."""
    return len(body.translate(None, _SPECIAL)) == len(body)


def pack_flat(value: Any) -> bytes | None:
    """Plain data without a container in a container, as most is: told and written by C alone. None for all else.

    ``unpackb`` alone reads it, whatever bytes are in it.
    """
    kind = type(value)
    try:
        if kind is dict:
            flat = (
                len(value) <= _FEW
                and _PLAIN_KEYS.issuperset(map(type, value))
                and _PLAIN.issuperset(map(type, value.values()))
            )
        elif kind is list:
            flat = len(value) <= _FEW and _PLAIN.issuperset(map(type, value))
        else:
            flat = kind in _PLAIN and (kind not in _LONG or len(value) <= LARGE)
        if flat:
            return Packer(strict_types=True, buf_size=_SMALL).pack(value)  # type: ignore[no-any-return]  # it has no types
    except Exception:  # noqa: BLE001, S110 - more than 64 bits, a lone surrogate, another thread: to be looked at closely
        pass
    return None


class _TooManyError(Exception):
    """More elements than are looked at on the event loop."""


class _Writer:
    """Turns a value into what the packer takes, or refuses it; ``left`` bounds the work, whatever is shared or cyclic."""

    __slots__ = ("left",)

    most = _FEW

    def __init__(self) -> None:
        self.left = self.most

    def write(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is dict:
            self._enter(value, depth)
            return self._map(value, depth + 1)
        if kind is list:
            self._enter(value, depth)
            return value if _PLAIN.issuperset(map(type, value)) else self._items([], value, depth + 1, 0)
        if kind in marks.OF:
            self._enter(value, depth)
            return self._items([marks.OF[kind]], value, depth + 1, 1)
        pack = extensions.packer(kind)
        if pack is None:
            raise Refused(_advice(kind))
        return pack(value)

    def _enter(self, container: Any, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise Refused(f"more than {MAX_DEPTH} containers within one another, or one within itself")
        self.left -= len(container)
        if self.left < 0:
            self._refuse()

    def _refuse(self) -> None:
        raise _TooManyError

    def _items(self, out: list[Any], container: Any, depth: int, first: int) -> list[Any]:
        write = self.write
        try:
            for item in container:
                out.append(write(item, depth))  # noqa: PERF401 - the length tells where it failed
        except Refused as fault:
            fault.steps.append(f"[{len(out) - first}]")
            raise
        return out

    def _map(self, value: dict[Any, Any], depth: int) -> Any:
        write = self.write
        key = None
        try:
            if _PLAIN_KEYS.issuperset(map(type, value)):
                if _PLAIN.issuperset(map(type, value.values())):
                    return value
                mapping = {}
                for key, item in value.items():
                    mapping[key] = write(item, depth)
                return mapping
            pairs = [marks.MAP]
            for key, item in value.items():
                pairs += (write(key, depth), write(item, depth))
        except Refused as fault:
            fault.steps.append(_label(key))
            raise
        return pairs


class _Patient(_Writer):
    """The same for values of many elements, in steps; the packer pauses wherever it comes upon a breath."""

    __slots__ = ("_next", "_pace")

    most = MAX_ITEMS

    def __init__(self) -> None:
        super().__init__()
        self._pace = Pace()
        self._next = self.left - _RUN

    def write(self, value: Any, depth: int) -> Any:
        if type(value) is list and len(value) > _RUN:
            self._enter(value, depth)
            return self._runs(value, depth + 1)
        written = super().write(value, depth)
        return self._breath(written) if self.left <= self._next else written

    def _refuse(self) -> None:
        raise Refused(f"more than {MAX_ITEMS:,} elements")

    def _runs(self, value: list[Any], depth: int) -> list[Any]:
        out: list[Any] = []
        for start in range(0, len(value), _RUN):
            some = value[start : start + _RUN]
            if _PLAIN.issuperset(map(type, some)):
                out += some
            else:
                self._items(out, some, depth, 0)
            out[-1] = self._breath(out[-1])
        return out

    def _map(self, value: dict[Any, Any], depth: int) -> Any:
        if len(value) <= _RUN:
            return super()._map(value, depth)
        kinds = map(type, value)
        while some := set(islice(kinds, _RUN)):
            if not _PLAIN_KEYS.issuperset(some):
                return super()._map(value, depth)
            self._pace.breathe()
        mapping: dict[Any, Any] = {}
        pairs = iter(value.items())
        while part := dict(islice(pairs, _RUN)):
            mapping.update(super()._map(part, depth))
            last = next(reversed(mapping))
            mapping[last] = self._breath(mapping[last])
        return mapping

    def _breath(self, written: Any) -> "_Breath":
        self._next = self.left - _RUN
        self._pace.breathe()
        return written if type(written) is _Breath else _Breath(written, self._pace)


class _Breath:
    """Something to be packed, and a moment for others before that."""

    __slots__ = ("pace", "written")

    def __init__(self, written: Any, pace: Pace) -> None:
        self.written = written
        self.pace = pace


def _pack_rest(value: Any) -> Any:
    """What the packer has no form for: after the writer's checks, integers beyond 64 bits; and where it is to pause."""
    if type(value) is _Breath:
        value.pace.breathe()
        value = value.written
        if type(value) is not int or -1 << 63 <= value < 1 << 64:
            return value
    if type(value) is int:
        return extensions.pack_integer(value)
    raise TypeError(type(value).__name__)


def _advice(kind: type) -> str:
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    bases = [
        base.__name__ for base in kind.__mro__[1:] if base in _PLAIN or base is dict or base is list or base in marks.OF
    ]
    if bases:
        return f"{name} would come back as a plain {bases[0]}: convert it, with {bases[0]}(...) for example"
    return f"{name} is none of the types that can be kept: turn it into plain data"


def _label(key: Any) -> str:
    # Keys are part of the value: only what looks like a field's name is shown.
    return f".{key}" if type(key) is str and key.isidentifier() and len(key) <= _MAX_LABEL else "[...]"


def _check_lengths(body: bytes) -> None:
    """Walk the headers without building anything, so that no claimed length costs memory before it is proven."""
    if len(body) <= TRUSTED_SIZE or body[0] in _SCALARS:
        return
    try:
        _by_pieces(body, Unpacker.skip)
    except Exception:  # noqa: BLE001 - whatever the bytes provoke, they are not ours
        raise CorruptBlobError("codec") from None


def _by_pieces(body: bytes, read: Callable[[Unpacker], Any], **options: Any) -> Any:
    """What is read of a body that is fed bit by bit; raises anything where it does not end as the body does."""
    unpacker, view, pace = Unpacker(None, max_buffer_size=len(body), **options), memoryview(body), Pace()
    size = _PIECE if len(body) > LARGE else len(body)
    for at in range(0, len(body), size):
        unpacker.feed(view[at : at + size])
        try:
            value = read(unpacker)
        except OutOfData:
            pace.breathe()
            continue
        if unpacker.tell() == len(body):
            return value
        break
    raise ValueError("no more, and no less")


def _read_plain(body: bytes) -> Any:
    return _unpack(body, extensions.read, None)


def _read_marked(body: bytes) -> Any:
    reader = marks.Reader()
    value = _unpack(body, reader.extension, reader.array)
    if reader.open:
        raise CorruptBlobError("codec")
    return value


def _unpack(body: bytes, ext_hook: Callable[[int, bytes], Any], list_hook: Callable[[list[Any]], Any] | None) -> Any:
    limit = _MAX_LENGTH if len(body) > TRUSTED_SIZE else -1  # -1: what so few bytes can hold
    read = partial(_by_pieces, read=Unpacker.unpack) if len(body) > LARGE and body[0] not in _SCALARS else unpackb
    try:
        return read(
            body,
            ext_hook=ext_hook,
            list_hook=list_hook,
            unicode_errors="surrogatepass",
            timestamp=3,
            max_array_len=limit,
            max_map_len=limit,
        )
    except Exception:  # noqa: BLE001 - whatever the bytes provoke, they are not ours
        raise CorruptBlobError("codec") from None
