"""Rules: which responses may be kept, for whom and for how long (RFC 9111, sections 3 and 4)."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from toolcache.fields import Frozen
from toolcache.http.fields import Directives, Fields, date, directives, end_to_end, listed, seconds, span, value
from toolcache.http.pages import Page, etag_of

FAILED: Final = frozenset({500, 502, 503, 504})
"""What a page may stand in for (RFC 5861, section 4)."""


class Rules(Frozen):
    """What is kept. Spans in seconds.

    Attributes:
        ttl: how long a response is good that says nothing of it; None for not at all.
        grace: how long past its time one may stand in that says nothing of it.
        statuses: of responses that are kept.
        max_body: bytes of one that is kept.
        private: whether what is for one client alone is kept for that client.
    """

    ttl: float | None
    grace: float
    statuses: frozenset[int]
    max_body: int
    private: bool


class Visitor(NamedTuple):
    """Who asks.

    Attributes:
        group: whom it belongs to, as the application says; None where it says nothing.
        credentials: what it says to tell who it is, digested; empty if it does not.
    """

    group: str | None
    credentials: str

    def shares(self, page: Page) -> bool:
        """Whether it may be given a page that was made for others of its group."""
        return page.public or self.group is not None or not self.credentials


def refusal(rules: Rules, visitor: Visitor, status: int, fields: Fields, now: float, *, own: bool) -> str | None:
    """Why a response may not be kept, in a word; None if it may. ``own``: where only who has asked would find it."""
    said, shared = directives(fields), not own
    reasons: Mapping[str, bool] = {
        "status": status not in rules.statuses,
        "no-store": "no-store" in said,
        "no-cache": "no-cache" in said,
        "private": "private" in said and shared,
        "set-cookie": value(fields, b"set-cookie") is not None,
        "vary": "*" in listed(fields, b"vary"),
        "partial": value(fields, b"content-range") is not None,
        "stream": (value(fields, b"content-type") or b"").lower().startswith(b"text/event-stream"),
        "large": int(_length(fields) or 0) > rules.max_body,
        "credentials": shared and bool(visitor.credentials) and visitor.group is None and not is_public(said),
        "unsaid": lifetime(rules, said, fields, now, shared=shared) <= 0,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def is_public(said: Directives) -> bool:
    """Whether a response is for all, whoever asked for it (RFC 9111, section 3.5)."""
    return bool(said.keys() & {"public", "s-maxage"})


def lifetime(rules: Rules, said: Directives, fields: Fields, now: float, *, shared: bool) -> float:
    """For how long a response is good."""
    for name in ("s-maxage", "max-age") if shared else ("max-age",):
        if (told := span(said, name)) is not None:
            return told
    if (raw := value(fields, b"expires")) is not None:
        ends, made = date(raw), date(value(fields, b"date"))
        return 0.0 if ends is None else ends - (now if made is None else made)
    return rules.ttl or 0.0


def page_of(rules: Rules, status: int, fields: Fields, body: bytes, asked_at: float, *, own: bool) -> Page:
    """The page of a response that may be kept."""
    said, kept = directives(fields), list(end_to_end(fields))
    fresh = lifetime(rules, said, kept, asked_at, shared=not own)
    strict = bool(said.keys() & {"must-revalidate", "proxy-revalidate", "s-maxage"})
    waits, errs = span(said, "stale-while-revalidate"), span(said, "stale-if-error")
    validated = value(kept, b"etag") is not None or value(kept, b"last-modified") is not None
    if value(kept, b"etag") is None:
        kept.append((b"etag", etag_of(body)))
    return Page(
        status=status,
        fields=tuple(field for field in kept if field[0] not in {b"age", b"cache-status"}),
        body=body,
        asked_at=asked_at,
        age=float(seconds((value(kept, b"age") or b"").decode("latin-1"))),
        fresh=float(fresh),
        stale_while=0.0 if strict else float(rules.grace if waits is None else waits),
        stale_if_error=0.0 if strict else float(rules.grace if errs is None else errs),
        public=is_public(said),
        varied=(),
        validated=validated,
    )


def _length(fields: Fields) -> bytes | None:
    told = value(fields, b"content-length")
    return told if told is not None and told.isdigit() else None
