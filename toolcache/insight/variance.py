"""What varies in keys: whether calls that ask for the same make other keys each time, and which field it is.

A window of up to 512 calls of a domain, a tool or a function is looked at now and then. Of each field that goes into the key
its digest is kept, of 8 bytes under a random key of this process: never a value. Besides, the digest of what stands for
the value where such differences are made alike: case and spaces of a text (``~text``), digits beyond the third after the point
(``~number``), and times of day, ids and other marks of one call (``~mark``). How many keys there would be without a field, or
with its differences made alike, is then a matter of counting.

A field is suspected only of what nobody means: that a mark is another one in nearly every call, or that a text differs in case.
Whether the query of a search is "too varied" no count can tell, and nobody is advised to leave it out.
"""

import re
import threading
from array import array
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b
from math import inf
from os import urandom
from typing import Any, Final

from toolcache.errors import UnsupportedKeyError
from toolcache.forks import watch
from toolcache.insight.sketch import Clue
from toolcache.keys.canonical import canonical
from toolcache.rare import rare

CALLS: Final = 512
"""Calls of a window at most."""
FEWEST: Final = 32
"""Calls of a window that says anything."""
_LOOK: Final = 1_024
_SKIP: Final = 40
"""So many calls are looked at, then forty times as many are not."""
_PLACES: Final = 8
_COLUMNS: Final = 24
_DEPTH: Final = 3
_ITEMS: Final = 8
_TEXT: Final = 4_096
"""Characters of a text that are looked at for marks; a longer one is not made alike in other ways."""
_NAME: Final = re.compile(r"[^\W\d][\w-]{0,63}")
"""What a field is called. A mapping with other keys, such as addresses, or with many is a value: its keys are data."""
_UNIQUE: Final = 0.5
"""Different values of a field in so many of all calls: it is another one nearly each time."""
_GAIN: Final = 0.05
_FIELDS: Final = 4

_MARK: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?([.,]\d+)?(Z|[+-]\d\d:?\d\d)?"
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,}\b|\b1\d{9}(\.\d+)?\b|\b1\d{12}\b"
)
_LEAST: Final = 0.1
_SINCE_1970: Final = (1e9, 1e12)
"""Seconds, or milliseconds, from 2001 to 2033 are so many to twice as many."""
_BLANK: Final = "#"
_TELLING: Final = re.compile(
    r"(^|[._-])(trace|span|request|correlation|nonce|uuid|timestamp|now|seed|invocation)s?([._-]?(id|at|ms))?$",
    re.IGNORECASE,
)


class Windows:
    """The windows of one cache.

    Attributes:
        left: calls that are not looked at before the next one that is. Whoever makes a key takes one from it, and has it noted
            where less than none are left: all that a call costs which is not looked at.
    """

    def __init__(self) -> None:
        self.left: float = 0
        self._looked = 0
        self._secret = urandom(16)
        self._windows: dict[str, _Window] = {}
        self._clues: dict[str, Clue] = {}
        self.forked()
        watch(self)

    def forked(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def note(self, where: str, fields: Mapping[str, Any]) -> None:
        """A call that is looked at: what its key is made of."""
        if self._lock.acquire(blocking=False):  # another thread looks: one call more or less is no matter
            try:
                self._note(where, fields)
            finally:
                self._lock.release()

    def _note(self, where: str, fields: Mapping[str, Any]) -> None:
        self._looked += 1
        if self._looked >= _LOOK:
            self._looked, self.left = 0, _LOOK * _SKIP
            self._begin()
        window = self._windows.get(where)
        if window is None:
            if len(self._windows) >= _PLACES:
                return
            window = self._windows[where] = _Window(self._secret)
        if window.calls < CALLS:
            window.add(fields)

    def _begin(self) -> None:
        """What has been seen is told; windows that nobody comes to make room, and full ones begin anew."""
        self._tell()
        self._windows = {at: one for at, one in self._windows.items() if FEWEST <= one.calls < CALLS}

    def clues(self) -> tuple[Clue, ...]:
        """What the windows say, of each place the latest."""
        with self._lock:
            return self._tell()

    def _tell(self) -> tuple[Clue, ...]:
        for where, window in tuple(self._windows.items()):
            if window.calls >= FEWEST and not window.told:
                window.told = window.calls == CALLS
                clue = window.clue(where)
                if clue is not None:
                    self._clues[where] = clue
                else:
                    self._clues.pop(where, None)
        return tuple(self._clues.values())


class _Shut(Windows):
    """Windows of a cache that is not looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.left = inf


SHUT: Final[Windows] = _Shut()


class _Window:
    """Calls of one place, as columns of digests."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._plain: dict[str, array[int]] = {}
        self._alike: dict[str, array[int]] = {}
        self.calls = 0
        self.told = False

    def add(self, fields: Mapping[str, Any]) -> None:
        """One more call."""
        for path, value in _leaves("", fields, _DEPTH):
            column = self._plain.get(path)
            if column is None:
                if len(self._plain) + len(self._alike) >= _COLUMNS:
                    continue
                column = self._plain[path] = array("Q", bytes(8 * self.calls))
            if len(column) == self.calls:
                column.append(own := self._digest(path, value))
                self._make_alike(path, value, own)
        self.calls += 1
        for columns in (self._plain, self._alike):
            for column in columns.values():
                if len(column) < self.calls:
                    column.append(0)

    def _make_alike(self, path: str, value: Any, own: int) -> None:
        """The same with its differences made alike; a column of these begins where it first makes a difference."""
        for kind in _KINDS:
            name = f"{path}~{kind}"
            other = _alike(kind, value)
            column = self._alike.get(name)
            if column is None:
                if other is value or len(self._plain) + len(self._alike) >= _COLUMNS:
                    continue
                column = self._alike[name] = self._plain[path][:-1]
            column.append(own if other is value else self._digest(path, other))

    def _digest(self, path: str, value: Any) -> int:
        text = value.encode("utf-8", "surrogatepass") if type(value) is str else _bytes(value)
        made = blake2b(path.encode("utf-8", "surrogatepass"), digest_size=8, key=self._secret)
        made.update(b"\0" + type(value).__name__.encode() + b"\0" + text)
        return int.from_bytes(made.digest(), "big")

    def clue(self, where: str) -> Clue | None:
        """What keys should do without, if that makes many of them one."""
        whole = [sum(row) for row in zip(*self._plain.values(), strict=True)] or [0] * self.calls
        keys = len(set(whole))
        suspects = self._suspects(whole)
        fewest = self._without(whole, suspects)
        for name in sorted(suspects, key=self._alike.__contains__):  # rather make alike than leave out
            others = [one for one in suspects if one != name]
            if self._without(whole, others) <= fewest + _GAIN / 2 * self.calls:
                suspects = others
        fewer = self._without(whole, suspects)
        if not suspects or len(suspects) > _FIELDS or keys - fewer < _GAIN * self.calls:
            return None
        return Clue(where, self.calls, keys, tuple(map(self._named, suspects)), fewer)

    def _named(self, name: str) -> str:
        """What is nothing but a mark may as well be left out."""
        return name.partition("~")[0] if self._is_bare(name) else name

    def _is_bare(self, name: str) -> bool:
        path, _, kind = name.partition("~")
        return kind == "mark" and set(self._alike[name]) == {self._digest(path, _BLANK)}

    def _suspects(self, whole: list[int]) -> list[str]:
        """Of each field what makes it most alike, where it is to be suspected at all."""
        best: dict[str, str] = {}
        for name in (*self._alike, *self._plain):
            path = name.partition("~")[0]
            if self._is_suspect(name, whole) and (path not in best or self._kinds(name) < self._kinds(best[path])):
                best[path] = name
        return list(best.values())

    def _kinds(self, name: str) -> int:
        """Different values of a field that is made alike, or left out."""
        return len(set(self._alike[name])) if name in self._alike else 1

    def _is_suspect(self, name: str, whole: list[int]) -> bool:
        path, _, kind = name.partition("~")
        if kind in {"text", "number"}:
            return True
        if len(set(self._plain[path])) < _UNIQUE * self.calls:
            return False
        if kind and not self._is_bare(name):
            return self._kinds(name) <= _UNIQUE * self.calls
        telling = bool(kind) or bool(_TELLING.search(path))
        return telling and self._without(whole, [name]) > 1  # else it is all that is asked for

    def _without(self, whole: list[int], names: list[str]) -> int:
        """How many keys there would be."""
        keys, left = list(whole), set[str]()
        for name in names:
            path = name.partition("~")[0]
            if path in left:
                continue
            left.add(path)
            keys = [key - own for key, own in zip(keys, self._plain[path], strict=True)]
            if name in self._alike:
                keys = [key + other for key, other in zip(keys, self._alike[name], strict=True)]
        return len(set(keys))


_KINDS: Final = ("text", "mark", "number")


def _alike(kind: str, value: Any) -> Any:
    """A value with differences of a kind made alike; the value itself where it has none."""
    if kind == "number":
        return _rounded(value) if type(value) is float and _unmarked(value) is value else value
    if kind == "mark":
        return _unmarked(value)
    if type(value) is not str or len(value) > _TEXT:
        return value
    plain = " ".join(value.split()).casefold()
    return value if plain == value else plain


def _rounded(value: float) -> float:
    if not _LEAST <= abs(value) < inf:  # three digits after the point are all that it has, or it is no number
        return value
    short = round(value, 3)  # as ``normalize.rounded(3)`` has it, which is what is advised
    return value if short == value else short


def _unmarked(value: Any) -> Any:
    if type(value) is str:
        plain = _MARK.sub(_BLANK, value[:_TEXT]) + value[_TEXT:]
        return value if plain == value else plain
    if isinstance(value, datetime) or rare(type(value)) == "UUID":
        return _BLANK
    if type(value) in {int, float} and any(unit <= value < 2 * unit for unit in _SINCE_1970):
        return _BLANK
    return value


def _leaves(path: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """The parts of a value that vary by themselves, by their paths."""
    if isinstance(value, Mapping) and depth and _is_named(value):
        for name, one in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, one, depth - 1)
    elif (
        isinstance(value, list | tuple)
        and depth
        and len(value) <= _ITEMS
        and any(isinstance(one, Mapping) for one in value)
    ):
        for index, one in enumerate(value):
            yield from _leaves(f"{path}[{index}]", one, depth - 1)
    else:
        yield path[:64], value


def _is_named(value: Mapping[Any, Any]) -> bool:
    return len(value) <= _COLUMNS and all(type(name) is str and _NAME.fullmatch(name) for name in value)


def _bytes(value: Any) -> bytes:
    try:
        return canonical(value)
    except UnsupportedKeyError:
        return b"?"
