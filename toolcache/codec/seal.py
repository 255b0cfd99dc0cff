"""A seal on blobs: who can write to Redis or the disk, but lacks the secret, cannot make the cache believe anything.

HMAC-SHA256, cut to 16 bytes (RFC 2104, section 5), over header, meta and body. The algorithm is what the configuration
says and never what stored data says. The header holds the digest of the key, so a sealed blob is good for its key only.
"""

import hashlib
import hmac
from typing import Final

from toolcache.blob import MAC_SIZE
from toolcache.errors import SettingsError

_PURPOSE: Final = b"toolcache blob seal 1"


class Seal:
    """Makes and checks seals.

    Args:
        secret: known to every process that shares the stores, best 32 random bytes. The key in use is derived from it,
            so one secret may serve other purposes too.
    """

    __slots__ = ("_key",)

    def __init__(self, secret: bytes | str) -> None:
        raw = secret.encode() if isinstance(secret, str) else secret
        if not raw:
            raise SettingsError("secret is empty: give 32 random bytes, or None for no seal")
        self._key = hmac.digest(raw, _PURPOSE, hashlib.sha256)

    def __repr__(self) -> str:
        return "Seal(...)"

    def make(self, data: bytes | memoryview) -> bytes:
        """The seal of ``data``."""
        return hmac.digest(self._key, data, "sha256")[:MAC_SIZE]

    def matches(self, data: bytes | memoryview, mac: bytes) -> bool:
        """Whether ``mac`` is the seal of ``data``; takes the same time wherever they differ."""
        return hmac.compare_digest(self.make(data), mac)
