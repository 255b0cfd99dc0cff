"""Tiers of memory: what each holds, and what a policy that has some promises."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable


class Tier(NamedTuple):
    """What one tier of memory holds and may hold.

    Attributes:
        entries: how many it holds.
        bytes: what they take, about.
        max_bytes: what they may take.
        ttl: seconds that an entry stays there unused; ``inf`` for no limit.
        promotions: entries that a use brought up into it.
        demotions: entries that went down out of it; of the lowest, out of memory.
    """

    entries: int
    bytes: int
    max_bytes: int
    ttl: float
    promotions: int
    demotions: int


@runtime_checkable
class SupportsTiers(Protocol):
    """A policy that keeps entries in tiers, out of the lowest of which they leave although there may be room."""

    @property
    def due(self) -> float:
        """The monotonic instant from which ``lapsed`` has work; ``inf`` if there is nothing to come."""
        ...

    def lapsed(self) -> str | None:
        """Do some of what is due; name, and forget, a key that is to leave now, if there is one."""
        ...

    def tiers(self) -> Mapping[str, Tier]:
        """Each tier by its name, from the highest."""
        ...
