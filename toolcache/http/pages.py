"""Pages: responses that are kept, and what may be answered with them."""

import hashlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from toolcache.http.fields import Directives, Fields, date, end_to_end, listed, span, value

Field = tuple[bytes, bytes]

_SHAPE: Final = "page/1"

# What a 304 says anew of the response that it stands for (RFC 9110, 15.4.5), besides what is put in on the way.
_TOLD_AGAIN: Final = frozenset({b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary"})
_NEVER_RENEWED: Final = frozenset({b"content-length", b"content-encoding", b"content-type", b"content-range"})


class Page(NamedTuple):
    """A response, and for how long it is good. Spans in seconds.

    Attributes:
        status: of the response.
        fields: its header fields, those of the connection left out.
        body: its content.
        asked_at: when the application was asked for it.
        age: how old it was then.
        fresh: for how long it is good, from when it was made.
        stale_while: how long past that it may stand in while it is made anew.
        stale_if_error: how long past that it may stand in where that fails.
        public: whether it may be given to those who say who they are.
        varied: what was asked of the fields that it depends on: names and values.
        validated: whether the application itself gave the validator.
    """

    status: int
    fields: tuple[Field, ...]
    body: bytes
    asked_at: float
    age: float
    fresh: float
    stale_while: float
    stale_if_error: float
    public: bool
    varied: tuple[tuple[str, str], ...]
    validated: bool

    def stored(self) -> tuple[Any, ...]:
        """What is kept of it."""
        return (_SHAPE, *self)

    @classmethod
    def of(cls, kept: object) -> "Page | None":
        """The page that was kept; None for what is none, or one of another time."""
        if not (isinstance(kept, tuple) and len(kept) == len(cls._fields) + 1 and kept[0] == _SHAPE):
            return None
        page = cls(*kept[1:])
        return page if page.is_sound() else None

    def is_sound(self) -> bool:
        """Whether it is one, and not just of the right length: it comes from a store, where others may write."""
        numbers = (self.asked_at, self.age, self.fresh, self.stale_while, self.stale_if_error)
        return (
            type(self.status) is int
            and type(self.body) is bytes
            and all(type(number) is float for number in numbers)
            and type(self.public) is type(self.validated) is bool
            and _are_pairs(self.fields, bytes)
            and _are_pairs(self.varied, str)
        )

    def age_at(self, now: float) -> float:
        """How old it is."""
        return self.age + max(0.0, now - self.asked_at)

    def left_at(self, now: float) -> float:
        """How much longer it is good; below zero, for how long it has not been."""
        return self.fresh - self.age_at(now)

    def is_fresh(self, now: float, asked: Directives) -> bool:
        """Whether it may answer a request that says this."""
        age, left = self.age_at(now), self.left_at(now)
        oldest, spare = span(asked, "max-age"), span(asked, "min-fresh")
        if "no-cache" in asked or (oldest is not None and age > oldest) or (spare is not None and left < spare):
            return False
        if left > 0:
            return True
        late = span(asked, "max-stale")
        borne = self.stale_if_error or self.stale_while  # neither, if the response forbids it
        return bool(borne) and late is not None and (asked["max-stale"] == "" or -left <= late)

    def stands_in(self, now: float, asked: Directives, *, failed: bool) -> bool:
        """Whether it may stand in while another is made, or where that has ``failed``."""
        if asked.keys() & {"no-cache", "max-age", "min-fresh"}:
            return False
        return -self.left_at(now) <= (self.stale_if_error if failed else self.stale_while)

    def kept_for(self, now: float) -> float:
        """How long it is of any use."""
        return self.left_at(now) + max(self.stale_while, self.stale_if_error)

    def answers(self, asked: Callable[[str], str]) -> bool:
        """Whether a request asks for this one of the representations; ``asked`` tells what it says of a field."""
        return all(asked(name) == said for name, said in self.varied)

    def is_known(self, fields: Fields) -> bool:
        """Whether a request says that its client has this page, which then need not be sent again (RFC 9110, 13.2.2)."""
        known = listed(fields, b"if-none-match")
        if known:
            mine = (value(self.fields, b"etag") or b"").decode("latin-1").removeprefix("W/")
            return "*" in known or mine in {one.removeprefix("W/") for one in known}
        since, changed = date(value(fields, b"if-modified-since")), date(value(self.fields, b"last-modified"))
        return since is not None and changed is not None and changed <= since

    def renewed(self, fields: Fields) -> tuple[Field, ...]:
        """Its fields, when those of a 304 have told what is new (RFC 9111, 3.2)."""
        new = [field for field in end_to_end(fields) if field[0] not in _NEVER_RENEWED]
        named = {name for name, _ in new}
        return (*(field for field in self.fields if field[0] not in named), *new)

    def unsent(self) -> tuple[Field, ...]:
        """The fields of a response that only says that the page is known."""
        return tuple(field for field in self.fields if field[0] in _TOLD_AGAIN)


def _are_pairs(given: object, kind: type) -> bool:
    return type(given) is tuple and all(
        type(pair) is tuple and len(pair) == 2 and type(pair[0]) is type(pair[1]) is kind  # noqa: PLR2004 - a pair
        for pair in given
    )


def etag_of(body: bytes) -> bytes:
    """A strong validator made of a content."""
    return b'"' + hashlib.sha256(body).hexdigest()[:32].encode("ascii") + b'"'
