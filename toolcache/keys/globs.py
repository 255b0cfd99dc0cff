"""Patterns of keys, as in a shell: ``*`` any letters, ``?`` one, ``[abc]``, ``[a-z]`` one of these, ``[!a]`` one but these.

They match the key as its user wrote it, whole, capitals apart. Stores know key texts, in which most letters are encoded,
and of a key longer than 200 bytes only the first 120 (see ``toolcache.keys.text``). What cannot be read of it may be
anything; so such a key matches if anything that begins so would.
"""

import re
from functools import cached_property
from typing import Final

from toolcache.keys.text import KeyText, key_text

MAX_PATTERN: Final = 1_024
"""Characters of a pattern: more than a key can have."""

_HEAD: Final = 120
_META: Final = re.compile(r"[*?[]")
_ESCAPED: Final = re.compile(rb"%([0-9A-F]{2})")
_TORN: Final = re.compile(r"%[0-9A-F]?$")
_LETTER_CUT: Final = re.compile(rb"(?:[\xc0-\xdf]|[\xe0-\xef][\x80-\xbf]?|[\xf0-\xf7][\x80-\xbf]{0,2})$")
"""A letter of UTF-8 of which bytes are missing."""


class Glob:
    """A pattern.

    Args:
        pattern: at most 1,024 characters.

    Raises:
        ValueError: it is no text, longer, or a ``[`` of it is not closed, or holds nothing.

    Attributes:
        prefix: what all key texts begin with that match.

    Examples:
        >>> glob = Glob("weather_*")
        >>> glob.matches("weather_oslo"), glob.matches("my_weather_oslo")
        (True, False)
        >>> Glob(escape("weather_*")).matches("weather_oslo")
        False
    """

    def __init__(self, pattern: str) -> None:
        if not isinstance(pattern, str) or not 0 < len(pattern) <= MAX_PATTERN:
            told = f"text of at most {MAX_PATTERN} characters, such as 'weather_*'"
            raise ValueError(f"a pattern is {told}, not {len(pattern) if isinstance(pattern, str) else type(pattern)}")
        self.pattern = pattern
        first = _META.search(pattern)
        self._name = pattern[: first.start()] if first else pattern
        self.prefix = key_text(self._name)[:_HEAD]
        self._runs = _runs(pattern)

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        # The first that fits is as good as any for all but the last run: so nothing is tried twice, whatever the pattern.
        first, *others = ["".join(run) for run in self._runs]
        middle = "".join(f"(?>.*?{run})" for run in others[:-1] if run)
        last = f".*{others[-1]}" if others else ""
        return re.compile(f"{first}{middle}{last}", re.DOTALL)

    def _may_match(self, beginning: str) -> bool:
        """Whether a key that begins so, and goes on, might."""
        first, *others = self._runs
        readable = first[: len(beginning)]
        if not others and len(readable) == len(first):  # the pattern ends before the key does
            return False
        return bool(re.match("".join(readable), beginning, re.DOTALL))

    def matches(self, key: str) -> bool:
        """Whether a key does: as a user wrote it, or a ``KeyText``."""
        if type(key) is KeyText:
            text, cut = readable(key)
            return self._may_match(text) if cut else bool(self._whole.fullmatch(text))
        return bool(self._whole.fullmatch(key))


def escape(text: str) -> str:
    """The pattern that matches this text alone.

    Examples:
        >>> escape("what is 2*3?")
        'what is 2[*]3[?]'
    """
    return _META.sub(r"[\g<0>]", text)


def readable(text: str) -> tuple[str, bool]:
    """A key text as its user wrote it, and whether it was cut: then it is the beginning, as far as that can be read."""
    if "~" not in text:
        return (_decoded(text) if "%" in text else text), False
    raw = _raw(_TORN.sub("", text.partition("~")[0]))
    return _LETTER_CUT.sub(b"", raw).decode("utf-8", "surrogatepass"), True


def written(text: str) -> str:
    """A key for a user, of a key text: as it was written or, where nobody wrote it so, a ``KeyText``; both find the entry.

    What was cut cannot be written again, nor what a domain has joined of parts that hold a colon.

    Raises:
        UnsupportedKeyError: it is no key text.
    """
    checked = KeyText(text)
    if "~" in text:
        return checked
    key = _decoded(text) if "%" in text else str(text)
    return key if key_text(key) == str(text) else checked


def _decoded(text: str) -> str:
    return _raw(text).decode("utf-8", "surrogatepass")


def _raw(text: str) -> bytes:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("ascii"))


def _runs(pattern: str) -> list[list[str]]:
    """What stands between the stars: of each letter, what it may be."""
    runs: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        at += 1
        if letter == "*":
            runs.append([])
        elif letter == "?":
            runs[-1].append(".")
        elif letter == "[":
            end = pattern.find("]", at + 1 + pattern.startswith("!", at))
            if end < 0:
                raise ValueError("a pattern has a '[' that is not closed: write '[[]' for the letter itself")
            runs[-1].append(_one_of(pattern[at:end]))
            at = end + 1
        else:
            runs[-1].append(re.escape(letter))
    return runs


def _one_of(inside: str) -> str:
    """A class of letters."""
    but = inside.startswith("!")
    letters = inside[but:]
    spans = []
    while letters:
        first, last = letters[0], letters[0]
        if len(letters) > 2 and letters[1] == "-":  # noqa: PLR2004 - a span has three letters
            last, letters = letters[2], letters[2:]
        letters = letters[1:]
        if first > last:
            raise ValueError(f"a pattern has a span that runs backward: write [{last}-{first}]")
        spans.append(re.escape(first) + "-" + re.escape(last))
    return f"[{'^' if but else ''}{''.join(spans)}]"
