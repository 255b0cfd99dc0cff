"""The sheet: how all alerts of a namespace stand, and what was told of them. Pure; what is read is believed only if whole."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from toolcache.alerts.state import AlertState, Change
from toolcache.blob import CorruptBlobError

_SCHEMA: Final = 1
_REMEMBERED: Final = 50
"""Things told that are kept."""
_FORGOTTEN: Final = 7 * 86_400.0
"""Seconds after which an alert is forgotten that nobody looks at any more."""


class Notice(NamedTuple):
    """Something to be told: an alert fired, or has resolved.

    Attributes:
        id: its own alone.
        name: the alert's.
        status: "firing" or "resolved".
        value: what the metric came to.
        fired_at: when the alert fired; ``at`` when this happened.
        delivered: whether all actions were tried to their end.
    """

    id: str
    name: str
    status: Change
    value: float
    fired_at: float
    at: float
    delivered: bool = False


class Sheet(NamedTuple):
    """How alerts stand, by name, and what was told of them, oldest first."""

    states: Mapping[str, AlertState]
    notices: tuple[Notice, ...] = ()

    @property
    def words(self) -> dict[str, float]:
        """When each alert fired or resolved last, of those that ever did."""
        return {name: word for name, state in self.states.items() if (word := _last_word(state))}

    def with_(self, states: Mapping[str, AlertState], notices: tuple[Notice, ...] = ()) -> "Sheet":
        """The same with these; what is very old is left out."""
        return Sheet({**self.states, **states}, (self.notices + notices)[-_REMEMBERED:])

    def delivered(self, ids: set[str]) -> "Sheet":
        """The same, but that these were delivered."""
        if not any(one.id in ids and not one.delivered for one in self.notices):
            return self
        return self._replace(
            notices=tuple(one._replace(delivered=one.delivered or one.id in ids) for one in self.notices)
        )

    def without_old(self, now: float) -> "Sheet":
        """The same without alerts that nobody looks at any more."""
        kept = {name: state for name, state in self.states.items() if now - state.checked_at < _FORGOTTEN}
        return self if len(kept) == len(self.states) else self._replace(states=kept)


BLANK: Final = Sheet({})


def merged(sheet: Sheet, other: Sheet) -> Sheet:
    """What two sheets say that were kept apart for a while: one on the files of a host, one in Redis.

    Of each alert the later word counts, whether it fires or is over, so that it is told once; what was told of it in one place
    need not be told in the other. Doing it twice does no more than doing it once.
    """
    states = dict(sheet.states)
    for name, theirs in other.states.items():
        ours = states.get(name)
        later = theirs if ours is None or _last_word(theirs) > _last_word(ours) else ours
        if ours is not None:
            later = later._replace(
                quiet_until=max(ours.quiet_until, theirs.quiet_until), fired=max(ours.fired, theirs.fired)
            )
        states[name] = later
    notices = {one.id: one for one in other.notices}
    for one in sheet.notices:
        theirs_too = notices.get(one.id, one)
        notices[one.id] = one._replace(delivered=one.delivered or theirs_too.delivered)
    return Sheet(states, tuple(sorted(notices.values(), key=_when)[-_REMEMBERED:]))


def _when(notice: Notice) -> tuple[float, str]:
    return notice.at, notice.id


def _last_word(state: AlertState) -> float:
    return max(state.fired_at, state.resolved_at)


def body_of(owner: bytes, sheet: Sheet) -> list[Any]:
    """What a sheet says, in order, and who holds it."""
    states = [[getattr(state, field) for field in AlertState._fields] for state in sheet.states.values()]
    return [_SCHEMA, owner, states, [list(notice) for notice in sheet.notices]]


def sheet_of(body: Any) -> tuple[bytes, Sheet]:
    """Who holds a sheet, and what it says; CorruptBlobError for a body that none of ours says."""
    try:
        schema, owner, states, notices = body
        if schema == _SCHEMA and type(owner) is bytes:
            read = [_state(*state) for state in states]
            return owner, Sheet({state.name: state for state in read}, tuple(_notice(*one) for one in notices))
    except (TypeError, ValueError):
        pass
    raise CorruptBlobError("alerts")


def _state(*fields: Any) -> AlertState:
    name, status, since, value, checked_at, unjudged, fired_at, resolved_at, quiet_until, fired = fields
    if status not in {"ok", "pending", "firing"} or type(fired) is not int:
        raise ValueError(status)
    _are(str, name, unjudged)
    _are_numbers(since, 0.0 if value is None else value, checked_at, fired_at, resolved_at, quiet_until)
    return AlertState(*fields)


def _notice(*fields: Any) -> Notice:
    id_, name, status, value, fired_at, at, delivered = fields
    if status not in {"firing", "resolved"} or type(delivered) is not bool:
        raise ValueError(status)
    _are(str, id_, name)
    _are_numbers(value, fired_at, at)
    return Notice(id_, name, cast("Change", status), value, fired_at, at, delivered)


def _are(kind: type, *values: Any) -> None:
    if not all(type(value) is kind for value in values):
        raise TypeError


def _are_numbers(*values: Any) -> None:
    if not all(type(value) in {int, float} and math.isfinite(value) for value in values):
        raise TypeError
