"""The signature of a webhook: who sends it knows the secret, and has sent it just now."""

import hmac
import time
from typing import Final

from toolcache.durations import Duration, seconds

SIGNATURE: Final = "Toolcache-Signature"
"""The header: ``t=<seconds since the epoch>,v1=<hex>``."""


def signature(secret: bytes | str, body: bytes, at: float) -> str:
    """What the header says of a body that is sent at an instant: HMAC-SHA256 of the instant, a dot and the body."""
    instant = str(int(at))
    mac = hmac.new(_raw(secret), instant.encode() + b"." + body, "sha256")
    return f"t={instant},v1={mac.hexdigest()}"


def verify(
    secret: bytes | str, header: str, body: bytes, *, tolerance: Duration = "5m", now: float | None = None
) -> bool:
    """Whether a webhook was sent by somebody who knows the secret, and not long ago; for whoever receives it.

    Args:
        secret: as the ``Webhook`` has it.
        header: the value of ``Toolcache-Signature``.
        body: the body of the request, byte by byte as it came.
        tolerance: how old it may be, or how far ahead, where clocks differ.
        now: seconds since the epoch; the present unless given.

    Examples:
        >>> body = b'{"status": "firing"}'
        >>> verify("our secret", signature("our secret", body, 1000.0), body, now=1010.0)
        True
        >>> verify("our secret", signature("our secret", body, 1000.0), body + b" ", now=1010.0)
        False
    """
    fields = dict(field.strip().partition("=")[::2] for field in header.split(","))
    instant = fields.get("t", "")
    if not instant.isascii() or not instant.isdecimal() or len(instant) > 12:  # noqa: PLR2004 - ends after the year 30000
        return False
    age = abs((time.time() if now is None else now) - int(instant))
    expected = signature(secret, body, int(instant)).partition(",v1=")[2]
    told = fields.get("v1", "")
    return told.isascii() and hmac.compare_digest(told, expected) and age <= seconds(tolerance, name="tolerance")


def _raw(secret: bytes | str) -> bytes:
    return secret.encode() if isinstance(secret, str) else secret
