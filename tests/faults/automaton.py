"""The states of a breaker, again and apart from the one that is tried: which changes there may be, and when."""

from dataclasses import dataclass, field
from typing import Final

from toolcache.events import BreakerChanged

_WHY: Final = {
    ("closed", "open"): ("failures in a row", "access denied"),
    ("open", "half_open"): ("the wait is over", "it may be back"),
    ("half_open", "open"): ("a probe failed", "a probe outlived its deadline", "access denied"),
    ("half_open", "closed"): ("probes succeeded",),
}
_HASTE: Final = 0.5
"""The least share of a wait that may have passed: jitter takes a fifth, the rest is for who tells of changes."""


@dataclass
class Automaton:
    """What one breaker may do next; ``waits`` are the first and the longest, in seconds, doubled at each opening."""

    waits: tuple[float, float]
    threshold: int
    state: str = "closed"
    openings: int = 0
    until: float = field(default=0.0, repr=False)

    def follow(self, event: BreakerChanged, at: float) -> str | None:
        """Make the change that was told of at an instant; what is wrong with it, or None."""
        before, self.state = self.state, event.after
        reasons = _WHY.get((event.before, event.after), ())
        if event.manual or before != event.before or not any(reason in event.reason for reason in reasons):
            return f"from {before}: {event}"
        if event.after == "open":
            first, longest = self.waits
            denied = event.reason == "access denied"
            self.until = at + _HASTE * (longest if denied else min(longest, first * 2**self.openings))
            self.openings += 1
            if "in a row" in event.reason and event.reason != f"{self.threshold} failures in a row":
                return f"{self.threshold} failures open it: {event}"
        if event.reason == "the wait is over" and at < self.until:
            return f"{self.until - at:.3f} s early: {event}"
        if event.after == "closed":
            self.openings = 0
        return None
