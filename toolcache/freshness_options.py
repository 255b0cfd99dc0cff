"""How people say what is done about a value that nears its end."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

from toolcache.durations import Duration
from toolcache.freshness import UNSAID, Freshness
from toolcache.spelling import Reader, nearest, share, span, unlimited


class FreshnessOptions(TypedDict, total=False):
    """What a caller may say; see ``Freshness``."""

    grace: Duration | None
    grace_retry: Duration
    refresh_ahead: float | None
    soft_timeout: Duration | None
    hard_timeout: Duration | None
    negative_ttl: Duration | None
    jitter: float | None


def said(options: Mapping[str, Any]) -> Freshness:
    """What a caller's options say.

    Raises:
        TypeError: an option is unknown, or of a wrong kind.
        ValueError: one is out of range.

    Examples:
        >>> said({"grace": "1d"}).grace
        86400.0
    """
    if not options:
        return UNSAID
    for name in options:
        if name not in READERS:
            raise TypeError(f"there is no option {name!r}{nearest(name, READERS)}")
    return Freshness(**{name: READERS[name](value, name) for name, value in options.items()})


READERS: Final[dict[str, Reader]] = {
    "grace": unlimited(span),
    "grace_retry": span,
    "refresh_ahead": unlimited(share),
    "soft_timeout": unlimited(span),
    "hard_timeout": unlimited(span),
    "negative_ttl": unlimited(span),
    "jitter": unlimited(share),
}
"""How each is read."""

assert set(READERS) == set(Freshness._fields)  # noqa: S101 - each is read
