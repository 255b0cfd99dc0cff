"""How a setting may be spelt: each function takes a value as people write it to the one form that the code uses.

It is given the setting's name too, and raises ValueError or TypeError with a text that names it and says what is
accepted. Those for secrets never repeat the value.
"""

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from toolcache.domains import DOMAINS, GENERAL
from toolcache.durations import seconds, size
from toolcache.keys import text

if TYPE_CHECKING:
    from pathlib import Path

Reader: TypeAlias = Callable[[Any, str], Any]

_ROWS: Final = [name for name in DOMAINS if name != GENERAL.name]
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_SHORTEST_SECRET: Final = 16

TIERS: Final = ("hot", "warm", "cold")
_TIERED: Final = "hot=16MB/5m,warm=16MB/1h,cold=32MB/none"


def switch(value: object, name: str) -> bool:
    """A bool, or the text that stands for one."""
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise ValueError(f"{name} is a switch: write true or false, not {value!r}")


def optional(read: Reader) -> Reader:
    """None, or what ``read`` takes."""
    return lambda value, name: None if value is None else read(value, name)


def unlimited(read: Reader) -> Reader:
    """None, the words that stand for it, or what ``read`` takes."""

    def either(value: Any, name: str) -> Any:
        nothing = value is None or (isinstance(value, str) and value.strip().lower() in {"none", "never"})
        return None if nothing else read(value, name)

    return either


def span(value: Any, name: str) -> float:
    """Seconds of a span of time."""
    return seconds(value, name=name)


def byte_size(value: Any, name: str) -> int:
    """Bytes of a size."""
    return size(value, name=name)


def bounded_size(most: int) -> Reader:
    """Bytes of a size that has an upper end."""

    def read(value: Any, name: str) -> int:
        if (number := size(value, name=name)) > most:
            raise ValueError(f"{name} is at most {most:,} bytes, not {value!r}")
        return number

    return read


def share(value: Any, name: str) -> float:
    """A part of a whole, more than nothing and less than all."""
    try:
        part = float(value)
    except (TypeError, ValueError):
        part = math.nan
    if isinstance(value, bool) or not 0 < part < 1:
        raise ValueError(f"{name} is a share between 0 and 1, such as 0.8, not {value!r}")
    return part


def count(value: Any, name: str) -> int:
    """A whole number from 1 up."""
    number = int(value) if isinstance(value, str) and value.strip().isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ValueError(f"{name} is a whole number of at least 1, not {value!r}")
    return number


def words(value: Any, name: str) -> str:
    """Text that is not empty. It may be a password, so the error does not repeat it."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is text of at least one character")
    return value


def namespace(value: Any, _name: str) -> str:
    """A name that separates caches in one store."""
    return text.namespace(value)


def choice(*choices: str) -> Reader:
    """One of some words."""

    def one(value: Any, name: str) -> str:
        if value not in choices:
            raise ValueError(f"{name} is one of {', '.join(choices)}, not {value!r}{nearest(str(value), choices)}")
        return str(value)

    return one


def choice_or_class(*choices: str) -> Reader:
    """One of some words, or what makes a policy; text is never the name of something to be imported."""
    named = choice(*choices)

    def one(value: Any, name: str) -> Any:
        if isinstance(value, str):
            return named(value, name)
        from toolcache.memory.guarded import lacks

        if isinstance(value, type) and (missing := lacks(value)):
            raise ValueError(f"{name}: {value.__name__} is no MemoryPolicy: it lacks {', '.join(missing)}")
        if not callable(value):
            raise TypeError(f"{name} is one of {', '.join(choices)}, or a class that is a MemoryPolicy, not {value!r}")
        return value

    return one


def tiers(value: Any, name: str) -> dict[str, tuple[int, float | None]]:
    """Bytes and seconds of each tier, from the highest down."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in _parts(value)]
        value = {tier.strip(): tuple(map(str.strip, one.split("/"))) for tier, _, one in pairs}
    if not isinstance(value, Mapping) or set(value) != set(TIERS):
        raise ValueError(f"{name} gives a size and a time to each of {', '.join(TIERS)}, such as {_TIERED}")
    read = {}
    for tier in TIERS:
        one = value[tier]
        if not isinstance(one, tuple | list) or len(one) != 2:  # noqa: PLR2004 - a size and a time
            raise ValueError(f"{name}[{tier!r}] is a size and a time, such as ('16MB', '5m'), not {one!r}")
        read[tier] = (byte_size(one[0], f"{name}[{tier!r}]"), unlimited(span)(one[1], f"{name}[{tier!r}]"))
    return read


def path(value: Any, name: str) -> "Path":
    """A directory; ``~`` is the home of the user."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} is the path of a directory, not {type(value).__name__}")
    from pathlib import Path

    return Path(value).expanduser()


def secret(value: Any, name: str) -> bytes:
    """Bytes that nobody can guess."""
    raw = value.encode() if isinstance(value, str) else value
    if not isinstance(raw, bytes) or len(raw) < _SHORTEST_SECRET:
        raise ValueError(
            f"{name} is at least {_SHORTEST_SECRET} bytes, or text of that many, for example 32 random ones"
        )
    return raw


def domain(value: Any, name: str, known: Collection[str] = DOMAINS) -> str:
    """A domain's name."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(known)}{nearest(str(value), known)}")
    return str(value)


def domains(value: Any, name: str) -> tuple[str, ...]:
    """Names of domains, in text separated by commas; each once."""
    if not isinstance(value, Iterable) or isinstance(value, bytes):
        raise TypeError(
            f"{name} takes names of domains, a list or text such as 'catalog,embedding', not {type(value).__name__}"
        )
    names = _parts(value) if isinstance(value, str) else value
    return tuple(dict.fromkeys(domain(one, name) for one in names))


def per_domain(read: Reader) -> Reader:
    """A value for each of some domains, in text ``search=30m,catalog=2d``. Keys of the caller's own are none of them."""

    def table(value: Any, name: str) -> dict[str, Any]:
        if isinstance(value, str):
            pairs = [part.partition("=") for part in _parts(value)]
            if not all(equals for _, equals, _ in pairs):
                raise ValueError(f"{name}={value!r} cannot be read: write domain=value, separated by commas")
            value = {row.strip(): one.strip() for row, _, one in pairs}
        if not isinstance(value, Mapping):
            raise TypeError(
                f"{name} takes a value for each of some domains, a dict such as {{'search': …}} "
                f"or text such as 'search=…,catalog=…', not {type(value).__name__}"
            )
        return {domain(row, name, _ROWS): read(one, f"{name}[{row!r}]") for row, one in value.items()}

    return table


def dollars(value: Any, name: str, *, of: str = "one computation costs") -> float:
    """An amount of US dollars, which may be zero."""
    try:
        amount = float(value)
    except (TypeError, ValueError):
        amount = math.nan
    if isinstance(value, bool) or not amount >= 0 or math.isinf(amount):
        raise ValueError(f"{name} is what {of}, zero or more US dollars, not {value!r}")
    return amount


def prices(value: Any, name: str) -> dict[str, float]:
    """Dollars for each of some models, in text ``gpt-4o=2.5,small=0.15``; the name of a model may hold an equals sign."""
    if isinstance(value, str):
        pairs = [part.rpartition("=") for part in _parts(value)]
        value = {model.strip(): amount.strip() for model, _, amount in pairs}
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} takes a price for each of some models, a dict such as {{'gpt-4o': 2.5}} "
            f"or text such as 'gpt-4o=2.5,small=0.15', not {type(value).__name__}"
        )
    if odd := [model for model in value if not isinstance(model, str) or not model.strip()]:
        raise ValueError(
            f"{name} takes the names of models and their prices, model=price, and {odd[0]!r} names no model"
        )
    return {model: dollars(one, f"{name}[{model!r}]", of="a million tokens cost") for model, one in value.items()}


def recovery(value: Any, name: str) -> tuple[float, float]:
    """One wait, or the first and the longest."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, tuple | list) else [value]
    spans = [seconds(part, name=name) for part in parts]
    if len(spans) not in {1, 2} or spans[0] > spans[-1]:
        raise ValueError(f"{name} is one wait, or the first and the longest, such as ('1s', '60s'), not {value!r}")
    return spans[0], spans[-1]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error's text: the known name that was probably meant."""
    import difflib

    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _parts(listed: str) -> list[str]:
    return [part.strip() for part in listed.split(",") if part.strip()]
