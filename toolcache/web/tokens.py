"""Who may do what: bearer tokens, each with a scope. Kept as digests, compared in constant time, shown nowhere."""

import hmac
import os
from collections.abc import Mapping
from enum import IntEnum
from hashlib import sha256
from typing import Final, NamedTuple, Self

from toolcache.errors import SettingsError
from toolcache.spelling import nearest

VARIABLE: Final = "TOOLCACHE_TOKENS"
SHORTEST: Final = 16


class Access(IntEnum):
    """What somebody may do; each includes those before it."""

    OPEN = 0
    READ = 1
    WRITE = 2
    ADMIN = 3

    @classmethod
    def of(cls, word: object, name: str) -> Self:
        """The access that a word stands for: "read", "write" or "admin"."""
        words = [one.name.lower() for one in cls if one]
        if not isinstance(word, str) or word not in words:
            raise SettingsError(f"{name} is one of {', '.join(words)}, not {word!r}{nearest(str(word), words)}")
        return cls[word.upper()]

    def __str__(self) -> str:
        return self.name.lower()


class Who(NamedTuple):
    """Somebody who asks.

    Attributes:
        name: by which logs and limits know them; no secret can be told from it.
        access: what they may do.
    """

    name: str
    access: Access


class _Token(NamedTuple):
    digest: bytes
    who: Who


class Tokens:
    """The tokens of a server.

    Args:
        tokens: the scope of each: ``{"a-long-random-secret": "read"}``.

    Raises:
        SettingsError: a token is shorter than 16 bytes, or its scope is none. The text never repeats a token.
    """

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = [
            self._token(secret, scope, f"token {at}") for at, (secret, scope) in enumerate(tokens.items(), 1)
        ]

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """What ``TOOLCACHE_TOKENS`` says: ``read=first-secret,admin=second-secret``.

        Raises:
            SettingsError: it cannot be read.
        """
        said = (os.environ if environ is None else environ).get(VARIABLE, "")
        found = {}
        for at, part in enumerate(filter(None, (part.strip() for part in said.split(","))), 1):
            scope, equals, secret = part.partition("=")
            if not equals:  # of which nothing is repeated: it may be a token
                raise SettingsError(f"{VARIABLE}: part {at} is to be scope=token, such as read=… or admin=…")
            if secret in found:
                raise SettingsError(f"{VARIABLE}: part {at} is a token that stands there before")
            found[secret] = scope
        return found

    @staticmethod
    def _token(secret: object, scope: object, name: str) -> _Token:
        raw = secret.encode() if isinstance(secret, str) else secret
        if not isinstance(raw, bytes) or len(raw) < SHORTEST or raw != raw.strip():
            raise SettingsError(
                f"{name} is to be at least {SHORTEST} bytes, which nobody can guess and which neither begin nor end with "
                "a space: make one with python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        if isinstance(scope, str) and scope.encode() == raw:
            raise SettingsError(f"{name} has no scope: write {{token: 'read'}}")
        digest = sha256(raw).digest()
        return _Token(digest, Who(f"token-{digest.hex()[:8]}", Access.of(scope, f"the scope of {name}")))

    def holder(self, presented: bytes) -> Who | None:
        """Whose token that is; takes as long for one as for another."""
        digest = sha256(presented).digest()
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.digest, digest):
                found = token.who
        return found

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"<Tokens: {', '.join(str(token.who.access) for token in self._tokens) or 'none'}>"
