"""Patterns of keys: what each letter means, against a slow matcher; of keys that were cut; hostile ones."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolcache.keys.globs import Glob, escape, readable, written
from toolcache.keys.text import KeyText, key_text, place_of

LETTERS = "ab:*?é"


def slow(pattern: str, key: str) -> bool:
    """What stars and question marks mean, letter by letter."""
    if not pattern:
        return not key
    if pattern[0] == "*":
        return slow(pattern[1:], key) or (bool(key) and slow(pattern, key[1:]))
    return bool(key) and pattern[0] in {"?", key[0]} and slow(pattern[1:], key[1:])


@given(st.text(LETTERS, min_size=1, max_size=8), st.text(LETTERS, max_size=8))
@example("a*b*c", "acb")
@example("*aa", "aaa")
@example("a**", "a")
def test_a_pattern_means_what_each_of_its_letters_means(pattern: str, key: str) -> None:
    """C12: and the prefix that stores are asked for is one of all keys that match."""
    glob = Glob(pattern)
    assert glob.matches(key) == glob.matches(place_of(key_text(key))) == slow(pattern, key)
    assert not slow(pattern, key) or key_text(key).startswith(glob.prefix)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("[abc]x", ["ax", "cx"], ["dx", "x", "[abc]x"]),
        ("[a-c]x", ["bx"], ["dx", "-x"]),
        ("[!a-c]x", ["dx", "!x"], ["ax"]),
        ("[]]", ["]"], ["["]),
        ("[!]]", ["["], ["]"]),
        ("[[]*[*]", ["[x*"], ["[x", "x*"]),
        ("[a-]", ["-", "a"], ["b"]),
        ("[^a]", ["^", "a"], ["b"]),
        ("a.b\\d+$", ["a.b\\d+$"], ["axb1"]),
        ("A", ["A"], ["a"]),
        ("line*end", ["line\nend"], []),
    ],
)
def test_classes_of_letters(pattern: str, yes: list[str], no: list[str]) -> None:
    """BUG-40: as in a shell; whatever else means something elsewhere is a letter here."""
    assert [key for key in [*yes, *no] if Glob(pattern).matches(key)] == yes


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_escaped_text_matches_itself_alone(text: str, other: str) -> None:
    """BUG-40: any text at all."""
    glob = Glob(escape(text))
    assert glob.matches(text)
    assert glob.matches(other) == (text == other)


@given(st.text(st.characters(), max_size=300))
def test_a_key_text_can_be_read(key: str) -> None:
    """As it was written; where it was cut, its beginning, and the text itself finds the entry."""
    place = place_of(key_text(key))
    text, cut = readable(place)
    assert cut == ("~" in place)
    assert key.startswith(text) if cut else text == key
    back = written(place)
    assert str(key_text(back)) == str(key_text(key))
    assert type(back) is (KeyText if cut else str)
    assert Glob("*").matches(place)
    assert Glob(escape(key)[:200] + "*" if key else "*").matches(place)


def test_of_a_cut_key_counts_what_can_be_read() -> None:
    """What may match does: up to the first star there is something to compare."""
    place = place_of(key_text("search:" + "ж" * 100))
    beginning, _ = readable(place)
    assert 20 < len(beginning) < 40
    for pattern in ("search:*", "*:anything", "s?arch:ж*x", "search:" + "?" * 100, "search:" + "ж" * 60, "[s]*"):
        assert Glob(pattern).matches(place), pattern
    for pattern in ("Search:*", "search:", "search:ж", "search:x*", beginning, "?" * len(beginning)):
        assert not Glob(pattern).matches(place), pattern


def test_no_pattern_takes_long() -> None:
    """BUG-40: however many stars, and however nearly it matches."""
    begun = time.process_time()
    for pattern in ("*a" * 500 + "*b", "?" * 1_000, "*" * 1_000 + "b", "[!b]" * 250):
        assert not Glob(pattern).matches("a" * 200)
    assert time.process_time() - begun < 5
