"""Commands as they go over the wire, and the server-side scripts they run."""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any, Final

_NOT_IN_SCRIPT: Final = "user executing the script"
_RUN_ID: Final = re.compile(rb"^run_id:([0-9a-f]{40})", re.MULTILINE)


def pack(*words: bytes) -> bytes:
    """One command."""
    return b"".join([b"*%d" % len(words), *_worded(words), b"\r\n"])


def _worded(words: Iterable[bytes]) -> list[bytes]:
    """What stands for words in a command: each after the end of a line, and its size."""
    parts: list[bytes] = []
    for word in words:
        parts += (b"\r\n$%d\r\n" % len(word), word)
    return parts


def answer_of(reply: Any) -> Any:
    """The reply; an error is raised."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def denied(reply: Any) -> bool:
    """Whether the reply says that the user may not do this; some servers say so of a script without the code."""
    return isinstance(reply, Exception) and (
        type(reply).__name__ == "NoPermissionError" or _NOT_IN_SCRIPT in str(reply)
    )


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

    __slots__ = ("_brief", "_whole")

    def __init__(self, name: str) -> None:
        source = (files(__package__) / "scripts" / f"{name}.lua").read_bytes()
        sha = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        self._brief: Final = b"".join(_worded((b"EVALSHA", sha)))
        self._whole: Final = b"".join(_worded((b"EVAL", source)))

    def call(self, keys: Sequence[bytes], arguments: Sequence[bytes], *, whole: bool = False) -> bytes:
        """The command that runs it: by its digest, or ``whole`` for a server that does not know it yet."""
        head = b"*%d" % (3 + len(keys) + len(arguments))
        words = _worded((b"%d" % len(keys), *keys, *arguments))
        return b"".join([head, self._whole if whole else self._brief, *words, b"\r\n"])
