"""Commands as they go over the wire, and the server-side scripts they run."""

import hashlib
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

_RUN_ID: Final = re.compile(rb"^run_id:([0-9a-f]{40})", re.MULTILINE)


def pack(*words: bytes) -> bytes:
    """One command."""
    parts = [b"*%d" % len(words)]
    for word in words:
        parts += (b"\r\n$%d\r\n" % len(word), word)
    parts.append(b"\r\n")
    return b"".join(parts)


def answer_of(reply: Any) -> Any:
    """The reply; an error is raised."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def confused() -> Exception:
    """To be raised where a reply is none that its command has."""
    from redis.exceptions import InvalidResponse

    return InvalidResponse("the server's reply is none that this command has")


def milliseconds(seconds: float) -> bytes:
    """A span as a word; empty where there is no end."""
    return b"" if math.isinf(seconds) else b"%d" % max(1, seconds * 1000)


def run_id_of(info: Any) -> str | None:
    """The server process that replied so to INFO; None where it does not say."""
    found = _RUN_ID.search(info) if isinstance(info, bytes) else None
    return found[1].decode() if found else None


class Script:
    """A Lua script of this package.

    Args:
        name: of the file in ``scripts/``, without its ending.
    """

    __slots__ = ("_sha", "_source")

    def __init__(self, name: str) -> None:
        self._source: Final = (files(__package__) / "scripts" / f"{name}.lua").read_bytes()
        self._sha: Final = hashlib.sha1(self._source, usedforsecurity=False).hexdigest().encode()

    def call(self, keys: Sequence[bytes], arguments: Sequence[bytes], *, whole: bool = False) -> bytes:
        """The command that runs it: by its digest, or ``whole`` for a server that does not know it yet."""
        name, body = (b"EVAL", self._source) if whole else (b"EVALSHA", self._sha)
        return pack(name, body, b"%d" % len(keys), *keys, *arguments)
