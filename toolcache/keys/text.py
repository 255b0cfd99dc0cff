"""Keys as safe text: readable, bounded, one text for one key.

A store key is ``tc1:<kind>:<namespace>:<key text>``. Key texts are made of ``A-Z a-z 0-9 . _ : @ / + = -``; every other
byte is percent-encoded, ``%`` and ``~`` too, so no space, line end, NUL, brace or wildcard of a user's key reaches a
store. A text longer than 200 bytes is cut to 120, and ``~`` and 128 bits of its SHA-256 tell it from all others.

The form is frozen: it is what stored entries are found by. ``tc1`` carries its version.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal, Self, TypeAlias

from toolcache.errors import SettingsError, UnsupportedKeyError

Kind: TypeAlias = Literal["v", "e", "i", "c", "s", "x"]

VALUE: Final = "v"
"""Entries."""
EPOCH: Final = "e"
"""Versions before which the entries of a tag are gone."""
RECORD: Final = "i"
"""Results of idempotent tasks."""
CLAIM: Final = "c"
"""Who computes or runs what."""
STATISTICS: Final = "s"
"""Counters, one record per process."""
MESSAGE: Final = "x"
"""What processes tell one another; on its way, or for minutes."""

MAX_TEXT: Final = 200
_HEAD: Final = 120
_DIGEST: Final = 64

PLAIN: Final = b":ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@/+=-"
"""What a key text is made of, but for what stands for other bytes."""

_WORD: Final = PLAIN[1:]
_NAMESPACE: Final = r"[A-Za-z0-9._-]{1,64}"
_KEY_TEXT: Final = re.compile(r"(?:[A-Za-z0-9._:@/+=-]|%[0-9A-F]{2}){0,200}")
_CUT_TEXT: Final = r"[A-Za-z0-9._:@/+=%-]{120}~[0-9a-f]{32}"


def _escapes(plain: bytes) -> list[str]:
    return [chr(byte) if byte in plain else f"%{byte:02X}" for byte in range(256)]


_IN_COMPONENT: Final = _escapes(_WORD)
_IN_KEY: Final = _escapes(PLAIN)


class KeyText(str):
    """A text that ``key_text`` has made: encoded and bounded, and not to be encoded once more.

    Raises:
        UnsupportedKeyError: for a text that ``key_text`` cannot have made.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check."""
        if not (len(text) <= MAX_TEXT and (_KEY_TEXT.fullmatch(text) or re.fullmatch(_CUT_TEXT, text))):
            raise UnsupportedKeyError("this is no encoded key: pass the key itself as a plain str")
        return super().__new__(cls, text)

    # A plain str of the same letters is another key where letters were escaped: "a%20b" is encoded as "a%2520b".
    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True and (type(other) is KeyText or ("%" not in self and "~" not in self))

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


def component(text: str) -> str:
    """A part of a key text, without ``:``; parts joined by ``:`` can be told apart again.

    Examples:
        >>> ":".join(map(component, ("embedding", "llama3:8b")))
        'embedding:llama3%3A8b'
    """
    raw = _bytes(text)
    return "".join(map(_IN_COMPONENT.__getitem__, raw)) if raw.translate(None, _WORD) else raw.decode("ascii")


def key_text(key: str) -> str:
    """The key text of a user's key, at most 200 bytes of safe ASCII; a ``KeyText`` passes unchanged.

    Raises:
        UnsupportedKeyError: if the key is no str.

    Examples:
        >>> key_text("weather:São Paulo")
        'weather:S%C3%A3o%20Paulo'
    """
    if type(key) is KeyText:
        return key
    raw = _bytes(key)
    if not raw.translate(None, PLAIN):
        plain = key if type(key) is str else raw.decode("ascii")
        return plain if len(plain) <= MAX_TEXT else _cut(plain)
    return _cut("".join(map(_IN_KEY.__getitem__, raw)))


def join(*parts: str) -> str:
    """The key text of several parts, each encoded by ``component``; a plain str where nothing had to be."""
    text = ":".join(map(component, parts))
    return place_of(_cut(text))


def join_each(parts: Iterable[str], last: Iterable[str]) -> list[str]:
    """``join(*parts, one)`` for each of ``last``, which are digests: there is nothing to encode in them."""
    try:
        head = _opening(*parts)
    except TypeError:  # one that is no text, and has no hash either
        head = _opening.__wrapped__(*parts)
    if len(head) + _DIGEST <= MAX_TEXT and place_of(head) is head:
        return [head + one for one in last]
    return [place_of(_cut(head + one)) for one in last]


def inside(beginning: str, key: str) -> str:
    """The key text of a key, a user's or a domain's, that has this text before it.

    Examples:
        >>> inside("@a:faq:", "weather:São Paulo")
        '@a:faq:weather:S%C3%A3o%20Paulo'
    """
    text = key_text(key)
    if type(key) is not KeyText:
        return place_of(key_text(beginning + key))
    whole = key_text(beginning) + text
    return place_of(_shortened(whole) if "~" in text else _cut(whole))


@lru_cache(64)  # there are as many as models, and hits of one after another
def _opening(*parts: str) -> str:
    return ":".join(map(component, (*parts, "")))


def place_of(text: str) -> str:
    """The one form under which memory knows a key text, whoever spelled it: plain where nothing had to be encoded."""
    return str.__new__(KeyText, text) if type(text) is str and ("%" in text or "~" in text) else text


def namespace(text: str) -> str:
    """The namespace, checked.

    Raises:
        SettingsError: unless it is 1 to 64 of ``A-Z a-z 0-9 . _ -``, and not only dots.
    """
    if not isinstance(text, str) or not re.fullmatch(_NAMESPACE, text) or not text.strip("."):
        raise SettingsError(
            "a namespace is 1 to 64 letters, digits, '.', '_' or '-', such as 'shop-v2'; "
            "no ':', space, other character or dots alone"
        )
    return text


def store_key(kind: Kind, space: str, text: str) -> str:
    """The key that stores know: kind, a checked namespace, and a text made by ``key_text`` or ``join``."""
    return f"tc1:{kind}:{space}:{text}"


def kind_of(key: str) -> str:
    """The kind that a store key is of."""
    return "".join(key.split(":", 2)[1:2])


def key_digest(key: str) -> bytes:
    """16 bytes that stand for a store key in blob headers and indexes; who finds by them compares the key as well."""
    return sha256(key.encode("ascii")).digest()[:16]


def _bytes(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogatepass")
    except AttributeError:
        raise UnsupportedKeyError(f"a key is a str, not {type(text).__name__}: make one with make_key(...)") from None


def _cut(text: str) -> str:
    # The cut may fall inside a %XX: nobody decodes a cut text, and the hash alone tells it from others.
    return _shortened(text) if len(text) > MAX_TEXT else text


def _shortened(text: str) -> str:
    return f"{text[:_HEAD]}~{sha256(text.encode('ascii')).hexdigest()[:32]}"
