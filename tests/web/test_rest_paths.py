"""The path of a request as it was sent."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.web.paths import below, encoded, text_of
from toolcache.web.problems import Problem


@pytest.mark.parametrize(
    ("raw", "root", "rest"),
    [
        ("/health", "", "/health"),
        ("/cache/health", "/cache", "/health"),
        ("/cache", "/cache", "/"),
        ("/cache/", "/cache", "/"),
        ("/f%C3%BCr%20uns/a%2Fb", "/für uns", "/a%2Fb"),
        ("/%63ache/x", "/cache", "/x"),
        ("/abcde/health", "/cache", "/abcde/health"),
        ("/cachet/health", "/cache", "/cachet/health"),
        ("/ca", "/cache", "/ca"),
        ("/%", "/%41", "/%"),
        ("/%2541/x", "/%41", "/x"),
    ],
)
def test_what_follows_the_mount(raw: str, root: str, rest: str) -> None:
    """D9: the mount, which is told decoded, is taken off what was sent encoded; where it does not stand, nothing is."""
    scope: Any = {"raw_path": raw.encode(), "path": "unused", "root_path": root}
    assert below(scope) == rest.encode()


def test_a_server_that_does_not_tell_what_was_sent() -> None:
    """D9: without the raw path, which a server need not give, the decoded one is taken."""
    scope: Any = {"path": "/cache/a b/ü%", "root_path": "/cache"}
    assert text_of(below(scope)) == "/a b/ü%"


@pytest.mark.parametrize("raw", [b"%", b"a%4", b"%zz", b"%%41", b"%FF", b"%C3"])
def test_what_is_not_percent_encoded(raw: bytes) -> None:
    """D9: a percent sign alone, or bytes that are no UTF-8, are refused, rather than taken for another key."""
    with pytest.raises(Problem) as refused:
        text_of(raw)
    assert refused.value.status == 400


@given(st.text(st.characters(codec=None), min_size=1))
def test_encoding_and_reading_are_each_others_reverse(key: str) -> None:
    """D9: any key, half characters included, is read from its path as it was, and its path holds no separator."""
    assert text_of(encoded(key).encode("ascii")) == key
    assert not set(encoded(key)) & set("/?#[] ")
    assert encoded(key) not in {".", ".."}
