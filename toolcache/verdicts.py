"""Verdicts: what a call of a tool is: answered from the cache, dispatched once, or just run.

Whoever uses the cache decides. Where nobody has, the hints of a trusted server do; the table in docs/how-to/tools.md is
all there is to it, and `decide` is that table. What nobody knows anything of is never kept.
"""

from enum import Enum
from typing import Final

from toolcache.fields import Frozen
from toolcache.policies import ToolPolicy
from toolcache.tool_definitions import Hints

EXACT: Final = ToolPolicy("exact")
"""For tools that are said to change nothing."""
AGAIN: Final = ToolPolicy("once", on_store_down="run")
"""For tools that are said to change nothing more when called again: so one that cannot be dispatched once is run."""
NONE: Final = ToolPolicy("none")
"""For all others."""


class Act(Enum):
    """What a call of a tool is."""

    CACHE = "cached"
    """Answered with the kept result, if there is one; its result is kept."""
    ONCE = "dispatched once"
    """Run once, whoever asks for it."""
    RUN = "run"
    """Run, whatever is known; nothing is kept."""


class Verdict(Frozen):
    """What a call of a tool is, and why.

    Attributes:
        act: what it is.
        policy: under what terms; that of the user, or what goes without saying.
        why: in words.
    """

    act: Act
    policy: ToolPolicy
    why: str


def decide(policy: ToolPolicy | None, hints: Hints | None, *, trusted: bool) -> Verdict:
    """What calls of a tool are.

    Args:
        policy: what the user says of the tool, if anything: it wins.
        hints: what its server says of it; None where nothing was learned.
        trusted: whether the user trusts that server.

    Examples:
        >>> decide(None, Hints(read_only=True), trusted=True).act.value
        'cached'
        >>> decide(None, Hints(read_only=True), trusted=False).act.value
        'run'
    """
    if policy is not None:
        return Verdict(_ACTS[policy.kind], policy, "your policy says so" + _ALIKE.get(policy.kind, ""))
    if hints is None:
        return Verdict(Act.RUN, NONE, "nothing is known of this tool")
    if not trusted:
        return Verdict(Act.RUN, NONE, "its server is not trusted, so its hints count for nothing")
    return _believe(hints)


def _believe(hints: Hints) -> Verdict:
    """What calls of a tool are by its hints alone."""
    if hints.read_only and hints.destructive:
        return Verdict(Act.RUN, NONE, "it is said to change nothing and to destroy: neither is believed")
    if hints.read_only:
        return Verdict(Act.CACHE, EXACT, "its server says that it changes nothing")
    if hints.idempotent:
        return Verdict(Act.ONCE, AGAIN, "its server says that doing it again changes nothing more")
    return Verdict(Act.RUN, NONE, "it may change something, and more each time")


_ACTS: Final = {"exact": Act.CACHE, "semantic": Act.CACHE, "once": Act.ONCE, "none": Act.RUN}
_ALIKE: Final = {"semantic": "; only the same parameters mean the same as yet"}
