"""Freshness: what is done about a value that nears its end, or is past it.

It may be said for a call, for a domain and for a cache; where a call says nothing of something the domain decides, then
the cache. The ages of an entry:

    created ──── fresh ────┬──── refresh_ahead ──── ttl ──── stale ──── ttl + grace ── gone
                   answered │ answered, and computed anew     stands in where computing
                            │ in the background               fails or takes too long
"""

from math import inf
from typing import Final, NamedTuple

from toolcache.clock import chance
from toolcache.entry import MISSING, Missing
from toolcache.fields import Frozen


class Freshness(Frozen):
    """What is done about a value that nears its end, or is past it. Spans in seconds; MISSING where nothing is said.

    Attributes:
        grace: how long past its time a value may stand in for one that cannot be computed, or not in time. None for never.
        grace_retry: how long, after a computation has failed and an old value stood in, that value goes on to do so before
            the next try.
        refresh_ahead: the share of its time after which a value that is asked for is computed anew in the background, such
            as 0.8; a little later for each, so that not all are at once. None for never.
        soft_timeout: how long a caller waits for a computation before an old value stands in; the computation goes on, and
            is kept. Without an old value the caller waits on. None for no limit.
        hard_timeout: how long a computation may take; one that takes longer is ended, and has failed with
            ComputeTimeoutError. None for no limit.
        negative_ttl: how long a computed None is good; None for as long as any other value.
        jitter: the share of its time by which a computed value may be good for less, at random, so that what was computed at
            once does not end at once. None for not at all.

    Examples:
        >>> Freshness(grace=60.0).over(Freshness(grace=90.0, jitter=0.1)).grace
        60.0
    """

    grace: float | Missing | None = MISSING
    grace_retry: float | Missing = MISSING
    refresh_ahead: float | Missing | None = MISSING
    soft_timeout: float | Missing | None = MISSING
    hard_timeout: float | Missing | None = MISSING
    negative_ttl: float | Missing | None = MISSING
    jitter: float | Missing | None = MISSING

    def over(self, other: "Freshness") -> "Freshness":
        """This, and what the other says where this says nothing."""
        if self is UNSAID:
            return other
        said = {name: value for name, value in vars(self).items() if value is not MISSING}
        return Freshness(**(vars(other) | said))


UNSAID: Final = Freshness()
"""Nothing is said."""


class Life(NamedTuple):
    """The ages of one entry, in seconds from its making: until when it is fresh, until when it is there, and when it is ripe."""

    fresh: float
    gone: float
    ripe: float = inf

    @property
    def plain(self) -> bool:
        """Whether it is only fresh, then gone."""
        return self.fresh == self.gone and self.ripe == inf


class Policy(NamedTuple):
    """What holds for a call, when all have said what they say; see ``Freshness``."""

    grace: float | None = None
    grace_retry: float = 10.0
    refresh_ahead: float | None = None
    soft_timeout: float | None = None
    hard_timeout: float | None = None
    negative_ttl: float | None = None
    jitter: float | None = None

    @classmethod
    def of(cls, *said: Freshness) -> "Policy":
        """What the first of them says, or else the next; the defaults where none does."""
        merged = UNSAID
        for one in reversed(said):
            merged = one.over(merged)
        return cls(**{name: value for name, value in vars(merged).items() if value is not MISSING})

    def life(self, lifetime: float, *, computed: bool = False) -> Life:
        """The ages of an entry with that lifetime; those of computed ones vary."""
        fresh, ripe = lifetime, inf
        if lifetime < inf:
            if computed and self.jitter:
                fresh *= 1 - self.jitter * chance()
            if self.refresh_ahead is not None:
                ripe = fresh * (self.refresh_ahead + (1 - self.refresh_ahead) / 2 * chance())
        return Life(fresh, fresh + (self.grace or 0.0), ripe)


DEFAULT: Final = Policy()
"""What holds where nobody says anything."""
