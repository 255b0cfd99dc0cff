"""Filling the template of a task: ``"classify {text}"`` with ``{"text": "hello"}``.

A template only says where arguments go. It reaches into none of them (``{a.b}``, ``{a[0]}``), converts and formats none
(``{a!r}``, ``{a:>10}``), and takes none by number (``{}``, ``{0}``): what an argument looks like is decided by its value
alone, so a template that somebody else wrote can neither read what it was not given nor fill the memory. ``{{`` and ``}}``
stand for braces.

What an argument looks like:

    text                        itself
    None, True, 7, 0.5          as Python writes it: None, True, 7, 0.5; a Decimal likewise
    date, time, datetime        ISO 8601, as 2026-01-31T12:00:00+00:00
    UUID, Digest                as str() writes it
    bytes                       base64
    list, tuple, set, dict      JSON, on one line, with every letter as it is; sets sorted, dicts by the text of their keys

Within JSON, None, True and False are null, true and false; what is neither finite number nor container is quoted, and
so are all keys. Arguments
that are equal as keys therefore give equal texts. A number too large for Python to write, or a value of any other type,
whose own code would have to be asked for its text, is refused.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from toolcache.errors import TemplateError
from toolcache.keys.canonical import Digest

MAX_PROMPT: Final = 16 * 2**20
"""How many characters a filled template may have: an argument may be asked for many times."""

_BRACE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*+)\}|[{}]")
_NAME: Final = re.compile(r"\w*")
_TOLD: Final = 40
_BRACES_MEANT: Final = "; for braces that are to be in the text, write {{ and }}"
_TOO_MUCH: Final = {
    ".": "attributes of an argument cannot be reached: pass what is wanted as an argument of its own",
    "[": "items of an argument cannot be reached: pass what is wanted as an argument of its own",
    "!": "an argument cannot be converted: pass it as it is to appear",
    ":": "an argument cannot be formatted: pass it as it is to appear",
}


def fill(template: str, args: Mapping[str, Any]) -> str:
    """The template with its arguments in their places.

    Args:
        template: text with ``{name}`` where an argument goes.
        args: exactly the arguments that the template asks for, of the types that keys are made of.

    Raises:
        TemplateError: the template is malformed or asks for more than a name; an argument is missing or not used, or
            has no text; the result is longer than ``MAX_PROMPT``. The error names the argument and the position, and
            holds nothing of the template or of a value.

    Examples:
        >>> fill("Is {text} one of {labels}?", {"text": "hello", "labels": ["greeting", "other"]})
        'Is hello one of ["greeting", "other"]?'
    """
    texts: dict[str, str] = {}
    parts: list[str] = []
    size = 0
    for position, literal, name in _parse(template):
        if name is None:
            part = literal
        else:
            if name not in texts:
                texts[name] = _argument(args, name, position)
            part = texts[name]
        size += len(part)
        if size > MAX_PROMPT:
            raise TemplateError(
                f"the filled template has more than {MAX_PROMPT:,} characters, reached at {_at(position)} of the template: "
                "pass less, or ask for it less often",
                argument=name,
                position=position,
            )
        parts.append(part)
    for name in args:
        if name not in texts:
            raise TemplateError(
                f"the template does not ask for the argument {_tell(name)}: leave it out, or say where it goes",
                argument=name,
            )
    return "".join(parts)


def _parse(template: str) -> Iterator[tuple[int, str, str | None]]:
    """The pieces in order: where each begins, and either literal text or the name of an argument."""
    end = 0
    for found in _BRACE.finditer(template):
        position = found.start()
        yield end, template[end:position], None
        end = found.end()
        if (field := found[1]) is not None:
            yield position, "", _name(field, position)
        elif len(found[0]) == 2:  # noqa: PLR2004 - two braces stand for one
            yield position, found[0][0], None
        else:
            what = "'{' is not closed, or holds another brace" if found[0] == "{" else "'}' closes nothing"
            raise TemplateError(f"the template's {what} (at {_at(position)}){_BRACES_MEANT}", position=position)
    yield end, template[end:], None


def _name(field: str, position: int) -> str:
    if field.isidentifier():
        return field
    name = _NAME.match(field)[0]  # type: ignore[index]  # it matches the empty text, at least
    if not field or name.isdecimal():
        what = f"a template asks for arguments by name, not by number: write {{name}} at {_at(position)}"
        raise TemplateError(what, position=position)
    if name.isidentifier() and (why := _TOO_MUCH.get(field[len(name)])):
        raise TemplateError(
            f"{why} (it is {_tell(name)}, at {_at(position)} of the template)", argument=name, position=position
        )
    raise TemplateError(
        f"what is between the braces at {_at(position)} of the template is no name of an argument: a name has letters, "
        f"digits and underscores{_BRACES_MEANT}",
        position=position,
    )


def _argument(args: Mapping[str, Any], name: str, position: int) -> str:
    if name not in args:
        raise TemplateError(
            f"the template asks for the argument {_tell(name)} at {_at(position)}, and there is none: add it to args"
            f"{_BRACES_MEANT}",
            argument=name,
            position=position,
        )
    try:
        return _text(args[name])
    except _NoTextError as none:
        why = str(none)
    except RecursionError:
        why = "is nested too deeply, or contains itself: flatten it"
    except ValueError:
        why = "has a number with too many digits to be written: pass it as text"
    raise TemplateError(
        f"the argument {_tell(name)}, which the template asks for at {_at(position)}, {why}",
        argument=name,
        position=position,
    )


def _at(position: int) -> str:
    return f"character {position}"


def _tell(name: str) -> str:
    return repr(name if len(name) <= _TOLD else name[:_TOLD] + "…")


class _NoTextError(Exception):
    """A value of a type that is not in the tables below."""


def _text(value: Any) -> str:
    write = _PLAIN.get(type(value))
    return write(value) if write else _json(value)


def _json(value: Any) -> str:
    kind = type(value)
    if kind is list or kind is tuple:
        return f"[{', '.join(map(_json, value))}]"
    if kind is set or kind is frozenset:
        return f"[{', '.join(sorted(map(_json, value)))}]"
    if kind is dict:
        pairs = sorted((_quoted(_unquoted(key)), _json(item)) for key, item in value.items())
        return f"{{{', '.join(f'{key}: {item}' for key, item in pairs)}}}"
    if kind in _LITERALS:
        return json.dumps(value)
    if (write := _PLAIN.get(kind)) is None:
        raise _NoTextError(f"is or holds a value of type {kind.__qualname__}, which has no text here: pass its text")
    text = write(value)
    return text if kind in _NUMBERS and "n" not in text.lower() else _quoted(text)  # JSON has neither nan nor inf


def _unquoted(key: Any) -> str:
    kind = type(key)
    return _PLAIN[kind](key) if kind in _PLAIN and kind not in _LITERALS else _json(key)


_quoted: Final[Callable[[str], str]] = json.JSONEncoder(ensure_ascii=False).encode


def _decimal(value: Decimal) -> str:
    # str() writes the exponent as the context says: "e" or "E".
    return str(value).replace("e", "E")


_LITERALS: Final = frozenset({type(None), bool})
_NUMBERS: Final = frozenset({int, float, Decimal})
_PLAIN: Final[dict[type, Callable[[Any], str]]] = {
    **dict.fromkeys((str, type(None), bool, int, float, UUID), str),
    Digest: str.__str__,
    Decimal: _decimal,
    bytes: lambda value: b64encode(value).decode("ascii"),
    date: date.isoformat,
    time: time.isoformat,
    datetime: datetime.isoformat,
}
