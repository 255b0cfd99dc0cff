"""The path of a request as it was sent: keys may hold slashes, percent signs and any other byte."""

from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from toolcache.web.problems import Problem

_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


def below(scope: Scope) -> bytes:
    """What follows the place where the application is mounted, percent-encoded; it begins with a slash."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    root = scope.get("root_path", "").encode("utf-8")
    at = 0
    for byte in root:  # which is decoded, unlike the path
        encoded = raw[at : at + 1] == b"%" and set(raw[at + 1 : at + 3]) <= _HEX and len(raw) > at + 2
        found = unquote_to_bytes(raw[at : at + 3]) if encoded else raw[at : at + 1]
        if found != bytes((byte,)):
            return raw  # a server that tells the mount, but not in the path
        at += 3 if encoded else 1
    rest = raw[at:]
    if rest and not rest.startswith(b"/"):
        return raw
    return rest or b"/"


def text_of(raw: bytes) -> str:
    """What a percent-encoded part of a path stands for.

    Raises:
        Problem: it is no UTF-8, or not percent-encoded.
    """
    try:
        for part in raw.split(b"%")[1:]:
            if len(part) < 2 or not set(part[:2]) <= _HEX:  # noqa: PLR2004 - digits of a byte
                raise Problem(400, "a percent sign in a path is followed by two hex digits: write %25 for one")
        return unquote_to_bytes(raw).decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise Problem(400, "a path is UTF-8, percent-encoded") from None


def encoded(key: str) -> str:
    """A key as it stands in a path."""
    text = quote(key.encode("utf-8", "surrogatepass"), safe="")
    return text.replace(".", "%2E") if text in {".", ".."} else text  # which clients take for a way to another path
