"""What has become of an alert: from one judgement to the next. Pure.

    ok       the condition does not hold
    pending  it holds, but not for long enough, or the alert has fired too short a while ago
    firing   it holds, and that was told; told once more when it does not any longer

Where nobody can judge, everything stays as it is.
"""

from typing import Literal, TypeAlias

from toolcache.alerts.judge import Judgement
from toolcache.alerts.rule import AlertRule
from toolcache.fields import Frozen

Status: TypeAlias = Literal["ok", "pending", "firing"]
Change: TypeAlias = Literal["firing", "resolved"]


class AlertState(Frozen):
    """How an alert stands; instants in seconds since the epoch, 0.0 for never.

    Attributes:
        name: the alert's.
        status: "ok", "pending" or "firing".
        since: from when on.
        value: what the metric came to when it was looked at last; None if there was nothing to tell it by.
        checked_at: when that was.
        unjudged: why the condition could not be judged then; empty if it could.
        fired_at: when it fired last; so ``resolved_at``.
        quiet_until: before that it does not fire again.
        fired: how often it has.
    """

    name: str
    status: Status = "ok"
    since: float = 0.0
    value: float | None = None
    checked_at: float = 0.0
    unjudged: str = ""
    fired_at: float = 0.0
    resolved_at: float = 0.0
    quiet_until: float = 0.0
    fired: int = 0


def step(rule: AlertRule, state: AlertState, judgement: Judgement, now: float) -> tuple[AlertState, Change | None]:
    """How the alert stands now, and what is to be told."""
    state = state._replace(checked_at=now, value=judgement.value, unjudged=judgement.why)
    if judgement.holds is None:
        return state, None
    if not judgement.holds:
        if state.status == "firing":
            return state._replace(status="ok", since=now, resolved_at=now), "resolved"
        return (state if state.status == "ok" and state.since else state._replace(status="ok", since=now)), None
    if state.status == "firing":
        return state, None
    since = state.since if state.status == "pending" else now
    if now - since < rule.for_ or now < state.quiet_until:
        return state._replace(status="pending", since=since), None
    quiet_until = now + rule.cooldown
    fired = state.fired + 1
    return state._replace(status="firing", since=now, fired_at=now, quiet_until=quiet_until, fired=fired), "firing"
