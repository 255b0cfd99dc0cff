"""The codecs as one: which takes a value, which reads a body, and which values need no codec to be handed out."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import Any, Final

from msgpack import unpackb

from toolcache.aside import LARGE, Lengthy
from toolcache.blob import CorruptBlobError
from toolcache.codec.msgpack import TRUSTED_SIZE, MsgpackCodec, is_plain, pack_flat
from toolcache.codec.vectors import Precision, VectorCodec
from toolcache.encoded import Encoded, Marked
from toolcache.entry import MISSING
from toolcache.errors import SettingsError
from toolcache.protocols import Codec
from toolcache.rare import rare

IMMUTABLE: Final = frozenset({
    type(None), bool, int, float, str, bytes, datetime, date, time, timedelta,
})  # fmt: skip
"""Types of which nobody can change an object, so that all may share it."""

CONTAINERS: Final = frozenset({dict, list, tuple, set, frozenset})
"""Types of which somebody may change an object, or what is in it."""

_PLAIN: Final = IMMUTABLE | CONTAINERS

_SLOT: Final = 16
"""Bytes that an element of a container counts for, at least."""


class Opened(Marked):
    """An encoded value that was opened already, aside from the loop; ``opened`` is what ``Coder.open`` says of it."""

    opened: "tuple[Any, Callable[[bytes], Any]] | CorruptBlobError"


class Later:
    """Makes fresh values of a large body, as does ``thaw``, but not on the event loop: says what is to be done aside."""

    __slots__ = ("_thaw",)

    def __init__(self, thaw: Callable[[bytes], Any]) -> None:
        self._thaw = thaw

    def __call__(self, body: bytes) -> Any:
        """Raises Lengthy."""
        raise Lengthy(partial(self._thaw, body))


class Coder:
    """Values to bytes and back.

    Args:
        precision: how much of each element of a vector is kept; see VectorCodec.
        codecs: further codecs, asked before those built in. The name of each is stored with its values: give it a new
            one (``"order/2"``) when the form of its values changes, and older ones become misses.

    Attributes:
        flat: the bytes of plain data without a container in a container, as ``unpackb`` reads them; None for all else.
    """

    def __init__(self, precision: Precision = "exact", codecs: Sequence[Codec] = ()) -> None:
        self._others = tuple(codecs)
        self._vectors = VectorCodec(precision)
        self._plain = MsgpackCodec()
        self.flat: Callable[[Any], bytes | None] = _refuse if codecs else pack_flat
        self._choices: tuple[Codec, ...] = (*codecs, self._vectors, self._plain)
        self._by_name = {codec.name: codec for codec in self._choices}
        if "" in self._by_name or len(self._by_name) < len(self._choices):
            raise SettingsError(
                f"codecs need names of their own, other than {self._vectors.name!r}, {MsgpackCodec.name!r}"
            )

    def encode(self, value: object, *, vector: bool = False) -> Encoded:
        """The value by the first codec that accepts it; ``vector`` demands a vector.

        Raises:
            SerializationError: it cannot be stored so that it comes back equal; ``path`` says where the trouble is.
        """
        if vector:
            return self._vectors.encode(value)
        if type(value) in _PLAIN and not self._others:
            return self._plain.encode(value)
        return next(codec for codec in self._choices if codec.accepts(value)).encode(value)

    def at_once(self, value: object, *, vector: bool = False) -> Encoded:
        """``encode``, unless that takes longer than the event loop may stand still.

        Raises:
            Lengthy: it does, or the value looks like it.
            SerializationError: as ``encode``.
        """
        if type(value) in _PLAIN and not self._others and not vector:
            return self._plain.at_once(value)
        codec = self._vectors if vector else next(codec for codec in self._choices if codec.accepts(value))
        if codec is self._plain:
            return self._plain.at_once(value)
        if codec is not self._vectors and _is_large(value):
            raise Lengthy(partial(codec.encode, value))
        return codec.encode(value)

    def decode(self, encoded: Encoded) -> Any:
        """A fresh value; raises CorruptBlobError for a body that its codec cannot read, or an unknown codec."""
        return self.thaw(encoded)(encoded.body)

    def open(self, encoded: Encoded) -> tuple[Any, Callable[[bytes], Any]]:
        """A fresh value, and what makes more of them of this body; raises as ``decode``."""
        body, codec, dtype = encoded
        if codec == "m" and not dtype and len(body) <= TRUSTED_SIZE and is_plain(body):
            try:
                return unpackb(body), unpackb
            except Exception:  # noqa: BLE001 - whatever the bytes provoke, they are not ours
                raise CorruptBlobError("codec") from None
        if type(encoded) is Opened:
            if isinstance(encoded.opened, CorruptBlobError):
                raise encoded.opened
            return encoded.opened
        thaw = self.thaw(encoded)
        return thaw(body), thaw if len(body) <= LARGE else Later(thaw)

    def opened(self, encoded: Encoded) -> Encoded:
        """The same, opened if that takes its time; for a thread. A body that cannot be read raises when it is asked for."""
        if len(encoded.body) <= TRUSTED_SIZE:
            return encoded
        other = Opened(encoded, encoded.etag)
        try:
            other.opened = self.open(encoded)
        except CorruptBlobError as fault:
            other.opened = fault
        return other

    def copy(self, value: object, encoded: Encoded) -> Any:
        """A copy of a value that was just encoded, equal to what comes back; MISSING where one is to be decoded."""
        return self._vectors.copy(value) if encoded.codec == VectorCodec.name else MISSING

    def copier(self, encoded: Encoded) -> Callable[[bytes], Any]:
        """What makes a fresh value of a body that was encoded or decoded here already; for what stays in memory encoded."""
        body, codec, _ = encoded
        if len(body) > LARGE:
            return Later(partial(self._reread, encoded))
        return unpackb if codec == "m" and is_plain(body) else self.thaw(encoded)

    def thaw(self, encoded: Encoded) -> Callable[[bytes], Any]:
        """What makes a fresh value of this body, as often as it is called.

        Raises:
            CorruptBlobError: an unknown codec or element type. The callable raises it for a body it cannot read.
        """
        codec = self._by_name.get(encoded.codec)
        if codec is None:
            raise CorruptBlobError("codec")
        if isinstance(codec, (MsgpackCodec, VectorCodec)):
            return codec.thaw(encoded.body, encoded.dtype)
        return partial(_thaw, codec, encoded.dtype)

    def _reread(self, encoded: Encoded, body: bytes) -> Any:
        """A fresh value of a body of which nothing but its codec is known."""
        return self.thaw(encoded)(body)

    @staticmethod
    def is_immutable(value: object) -> bool:
        """Whether nobody can change this very object, so that all may share it."""
        kind = type(value)
        return kind in IMMUTABLE or rare(kind) != ""


def _refuse(_value: object) -> None:
    """Nothing is known to be flat where other codecs are asked first."""


def _thaw(codec: Codec, dtype: str, body: bytes) -> Any:
    try:
        return codec.decode(body, dtype)
    except CorruptBlobError:
        raise
    except Exception:  # noqa: BLE001 - a codec of others must not turn a bad blob into an error of the caller
        raise CorruptBlobError("codec") from None


def _is_large(value: object) -> bool:
    """Whether a value comes to more than ``LARGE`` bytes, as far as a short look at it tells, whatever it is."""
    room, ahead = LARGE, [value]
    while ahead and room > 0:
        one = ahead.pop()
        kind: Any = type(one)
        room -= _SLOT
        if kind is str or kind is bytes:
            room -= len(one)  # type: ignore[arg-type]  # it is one of them
        elif kind in CONTAINERS:
            room -= _SLOT * len(one)  # type: ignore[arg-type]  # it has a length
            if room > 0:
                ahead.extend(one.values() if kind is dict else one)  # type: ignore[attr-defined, arg-type]  # and elements
        elif type(fields := getattr(one, "__dict__", None)) is dict:
            ahead.append(fields)
        elif type(size := getattr(one, "nbytes", None)) is int:
            room -= size
    return room <= 0
