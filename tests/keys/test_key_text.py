"""Keys as text: safe, bounded, readable, and one for each."""

import re
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.keys import text as module
from toolcache.keys.text import (
    CLAIM,
    EPOCH,
    RECORD,
    STATISTICS,
    VALUE,
    KeyText,
    component,
    join,
    key_digest,
    key_text,
    namespace,
    store_key,
)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

SAFE = re.compile(r"(?:[A-Za-z0-9._:@/+=-]|%[0-9A-F]{2})*")
CUT = re.compile(r"[A-Za-z0-9._:@/+=%-]{120}~[0-9a-f]{32}")

GOLDEN = [
    ("", ""),
    ("embedding:ada-002:9f86d081", "embedding:ada-002:9f86d081"),
    ("user@host/a+b=c_d.e-f:G", "user@host/a+b=c_d.e-f:G"),
    ("a b", "a%20b"),
    ("100%", "100%25"),
    ("a%20b", "a%2520b"),
    ("~", "%7E"),
    ("{x}*?[]\\", "%7Bx%7D%2A%3F%5B%5D%5C"),
    ("a\r\nb\x00c\x7f", "a%0D%0Ab%00c%7F"),
    ("../../etc/passwd", "../../etc/passwd"),
    ("São Paulo", "S%C3%A3o%20Paulo"),
    ("\U0001f600", "%F0%9F%98%80"),
    ("\ud800", "%ED%A0%80"),
    ("\u202egnp", "%E2%80%AEgnp"),
    ("x" * 200, "x" * 200),
    ("x" * 201, "x" * 120 + "~" + sha256(b"x" * 201).hexdigest()[:32]),
    ("x" * 201, "x" * 120 + "~84a0678c90937f5dcf9994d5866668da"),
    ("é" * 34, "%C3%A9" * 20 + "~" + sha256(b"%C3%A9" * 34).hexdigest()[:32]),
]

HOSTILE = [
    "a\r\nSET x 1\r\n",
    "a\x00b",
    "{tag}:x",
    "*",
    "k?y[a-z]",
    "../../../etc/passwd",
    "..\\..\\x",
    "~/x",
    "%00%2e%2e",
    "x" * 10_240,
    "é" * 10_240,
    "\ud800\udfff",
    "\u202eabc\u2066",
    "tc1:v:other:key",
    "",
    " ",
    "CON",
]


@pytest.mark.parametrize(("key", "expected"), GOLDEN)
def test_golden_texts(key: str, expected: str) -> None:
    """KY-09: the form of key texts is frozen."""
    assert key_text(key) == expected


@pytest.mark.parametrize("key", HOSTILE)
def test_hostile_text_is_harmless(key: str) -> None:
    """KY-09, ID-38, BUG-73: line ends, NUL, braces, wildcards, controls and length never reach a store."""
    text = key_text(key)
    assert len(text) <= 200
    assert text.isascii()
    assert SAFE.fullmatch(text) or CUT.fullmatch(text)
    assert SAFE.fullmatch(component(key))
    assert ":" not in component(key)
    assert len(join("d", key)) <= 200


def test_golden_components() -> None:
    """BUG-72: a component has no colon, percent sign or tilde of its own."""
    assert component("llama3:8b") == "llama3%3A8b"
    assert component("a/b@c+d=e_f.g-h") == "a/b@c+d=e_f.g-h"
    assert component("50%~\ud800\n") == "50%25%7E%ED%A0%80%0A"
    assert component("") == ""


keys = st.text(st.characters() | st.sampled_from(":%~/*{}A2"), max_size=12)
long_keys = st.builds(lambda head, count, tail: head * count + tail, keys, st.integers(0, 60), keys)


@patient
@given(long_keys, long_keys)
@example("a", "A")
@example("x" * 201, "x" * 120 + "~" + sha256(b"x" * 201).hexdigest()[:32])
@example("%41", "A")
def test_different_keys_have_different_texts(left: str, right: str) -> None:
    """BUG-72, BUG-90: no two keys share a text; case, encoding and cutting included."""
    assert (key_text(left) == key_text(right)) == (left == right)


@patient
@given(st.lists(keys, min_size=1, max_size=4), st.lists(keys, min_size=1, max_size=4))
@example(["a", "b:c"], ["a:b", "c"])
@example(["a::b", "c"], ["a", ":b:c"])
@example(["a", ""], ["a"])
def test_different_parts_have_different_joints(left: list[str], right: list[str]) -> None:
    """KY-05, BUG-72: colons within parts do not move the border between them."""
    assert (join(*left) == join(*right)) == (left == right)


@patient
@given(long_keys)
def test_texts_are_safe_and_bounded(key: str) -> None:
    """BUG-73: at most 200 bytes, within Redis', files' and memcached's alphabets."""
    text = key_text(key)
    assert len(text) <= 200
    assert SAFE.fullmatch(text) or CUT.fullmatch(text)
    assert len(f"tc1:v:{'n' * 30}:{text}") <= 250


def test_keys_that_differ_in_case_stay_distinct() -> None:
    """BUG-90: case is kept."""
    assert len({key_text(key) for key in ("key", "Key", "KEY", "kEY")}) == 4


def test_an_encoded_text_is_not_encoded_again() -> None:
    """KY-09: what is a key text already is its own text, by its type and not by its looks."""
    made = join("a b")
    assert key_text(made) is made
    assert key_text(str(made)) == "a%2520b"
    assert str(key_text(join("llama3:8b", "x"))) == "llama3%3A8b:x"
    assert key_text("plain") == "plain"
    assert str(key_text(KeyText("a%20b"))) == "a%20b"
    cut = key_text("x" * 999)
    assert str(key_text(KeyText(str(cut)))) == cut


@pytest.mark.parametrize(
    "wrong", ["a b", "a%2", "a%zz", "a%2a", "~", "a~b", "x" * 201, "é", "a\n", "x" * 120 + "~" + "A" * 32]
)
def test_key_texts_cannot_be_forged(wrong: str) -> None:
    """KY-09: a KeyText made by hand is one that encoding can give."""
    with pytest.raises(UnsupportedKeyError, match="no encoded key"):
        KeyText(wrong)


@pytest.mark.parametrize("wrong", [None, 1, b"key", ("a",), object()])
def test_a_key_is_text(wrong: Any) -> None:
    """BUG-71: anything but a str is refused, by its type alone."""
    with pytest.raises(UnsupportedKeyError, match=f"not {type(wrong).__name__}"):
        key_text(wrong)
    with pytest.raises(UnsupportedKeyError):
        component(wrong)


def test_a_subclass_of_str_gives_plain_text() -> None:
    """KY-09: a str subclass with its own format cannot change what stores see."""

    class Odd(str):
        __slots__ = ()

        def __format__(self, _spec: str) -> str:
            return "other"

        def __str__(self) -> str:
            return "other"

    assert store_key(VALUE, "ns", key_text(Odd("key"))) == "tc1:v:ns:key"
    assert component(Odd("key")) == "key"


@pytest.mark.parametrize("good", ["a", "default", "shop-v2", "A.b_c-9", "x" * 64, ".a"])
def test_namespaces(good: str) -> None:
    """KY-05: letters, digits, dot, underscore and dash make a namespace."""
    assert namespace(good) == good


@pytest.mark.parametrize("bad", ["", "a:b", "a b", "x" * 65, "é", "a\n", "a/b", "*", "{a}", ".", "..", "a%3A", None, 1])
def test_bad_namespaces(bad: Any) -> None:
    """KY-05: a namespace with a separator, or any other character, is refused and told how one looks."""
    with pytest.raises(SettingsError, match="1 to 64 letters"):
        namespace(bad)


def test_store_keys() -> None:
    """KY-09: tc1, kind, namespace and text, joined by colons."""
    assert store_key(VALUE, "shop", "embedding:ada:9f") == "tc1:v:shop:embedding:ada:9f"
    assert [store_key(kind, "n", "k") for kind in (EPOCH, RECORD, CLAIM, STATISTICS)] == [
        "tc1:e:n:k",
        "tc1:i:n:k",
        "tc1:c:n:k",
        "tc1:s:n:k",
    ]


def test_separators_do_not_move() -> None:
    """KY-05: namespace "a" with key "b:c" is not namespace "a:b" with key "c": the second is no namespace."""
    assert store_key(VALUE, namespace("a"), key_text("b:c")) == "tc1:v:a:b:c"
    with pytest.raises(SettingsError):
        namespace("a:b")


def test_key_digest() -> None:
    """KY-08: 16 bytes of the SHA-256 of the whole store key; kind and namespace count."""
    assert key_digest("tc1:v:ns:key").hex() == sha256(b"tc1:v:ns:key").hexdigest()[:32]
    assert key_digest("tc1:v:ns:key").hex() == "361822e1d553ff4b8b9bc7bbf7f4956d"
    assert len({key_digest(store_key(VALUE, space, text)) for space in ("a", "b") for text in ("x", "X")}) == 4


def test_names_do_not_rest_on_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """KY-08: with a hash of eight bits, a thousand keys short enough to be named in full still have a thousand names."""

    class Weak:
        def __init__(self, data: bytes) -> None:
            self.data = sum(data) & 0xFF

        def digest(self) -> bytes:
            return bytes([self.data]) * 32

        def hexdigest(self) -> str:
            return self.digest().hex()

    monkeypatch.setattr(module, "sha256", Weak)
    names = [store_key(VALUE, "ns", key_text(f"key {number}")) for number in range(1_000)]
    assert len(set(names)) == 1_000
    assert len(set(map(key_digest, names))) < 257


def test_an_escaped_text_is_not_the_plain_key_of_the_same_letters() -> None:
    """BUG-72: what memory holds under a domain's key is never found by a user's key that merely looks like it."""
    escaped = join("metadata", "a:b", "1")
    assert escaped != str(escaped)
    assert str(escaped) not in {escaped: "theirs"}
    assert {escaped: "theirs"}[join("metadata", "a:b", "1")] == "theirs"
    assert join("metadata", "tool", "1") == "metadata:tool:1"
