"""Tags made of values: a value is one level, whatever is written in it."""

import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.keys.canonical import canonical
from toolcache.keys.paths import Path
from toolcache.rare import rare

_LONGEST: Final = 64
_HEAD: Final = 16
_EMPTY: Final = "%"
_ENCODED: Final = (("%", "%25"), (":", "%3A"), ("~", "%7E"))
_PIECES: Final = re.compile(r"(\{\{|\}\}|\{[^{}]*\}|[{}])")
_TEXTS: Final = (str, int, float, bool, type(None))


def make_tag(*levels: object) -> str:
    """A tag of several levels; a value can be no more than one, whatever is written in it.

    ``:``, ``%`` and ``~`` in a value are encoded; long ones are cut, and a digest of the whole tells them apart. Other values are
    as they are written: ``make_tag("user", 7)`` is ``"user:7"``.

    Args:
        levels: str, int, float, bool, None, UUID, Decimal or date.

    Raises:
        UnsupportedKeyError: for a value of another type.

    Examples:
        >>> make_tag("user", "a:b")
        'user:a%3Ab'
    """
    text = ":".join(_level(value, f"level {index}") for index, value in enumerate(levels))
    return f"%40{text[1:]}" if text.startswith("@") else text  # such tags are the cache's own


def _level(value: object, where: str) -> str:
    kind = type(value)
    if kind not in _TEXTS and not rare(kind) and f"{kind.__module__}.{kind.__name__}" != "datetime.date":
        raise UnsupportedKeyError(
            f"a value of type {kind.__name__} cannot be in a tag (at {where}): take its id, or another text"
        )
    text = str(value)
    for plain, encoded in _ENCODED:
        text = text.replace(plain, encoded)
    if len(text) > _LONGEST:
        text = f"{text[:_HEAD]}~{sha256(canonical(str(value))).hexdigest()[:32]}"
    return text or _EMPTY


class Tagging:
    """The tags of a function's calls: texts with ``{parameter}`` or ``{parameter.path}`` in them.

    Args:
        owner: the function's name; errors tell it.
        parameters: the names of its parameters.
        tags: the texts; ``{{`` and ``}}`` stand for braces.

    Raises:
        SettingsError: one names no parameter, or has a brace too many.
    """

    def __init__(self, owner: str, parameters: Sequence[str], tags: Sequence[str]) -> None:
        self._owner = owner
        self._parts = [[_part(owner, parameters, piece) for piece in _PIECES.split(tag) if piece] for tag in tags]
        fixed = all(isinstance(part, str) for parts in self._parts for part in parts)
        self.fixed = tuple("".join(map(str, parts)) for parts in self._parts) if fixed else None
        """The tags, if no argument is in them."""

    def of(self, bound: Mapping[str, Any]) -> tuple[str, ...]:
        """The tags of a call.

        Raises:
            UnsupportedKeyError: an argument cannot be in a tag, or a path leads nowhere; the error names it.
        """
        made = ("".join([part if isinstance(part, str) else part(bound) for part in parts]) for parts in self._parts)
        return tuple([f"%40{tag[1:]}" if tag.startswith("@") else tag for tag in made])


def _part(owner: str, parameters: Sequence[str], piece: str) -> str | Callable[[Mapping[str, Any]], str]:
    """What a piece of a text gives: itself, or what an argument says."""
    if piece in {"{{", "}}"}:
        return piece[0]
    if not piece.startswith("{") and piece != "}":
        return piece
    path = Path(piece[1:-1])
    if len(piece) == 1 or not all([path.name, *path.steps]):
        raise SettingsError(f"a tag of {owner} has a brace that names nothing: write {{name}}, or two for a brace")
    if path.name not in parameters:
        raise SettingsError(f"a tag of {owner} names {path.text!r}, but its parameters are: {', '.join(parameters)}")
    return lambda bound: _level(path.of(bound[path.name], owner), f"argument {path.text!r} of {owner}")
