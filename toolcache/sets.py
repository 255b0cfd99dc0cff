"""Sets: what memory takes where there is nothing else, without an await."""

from collections.abc import Mapping
from typing import Any, Final

from toolcache.aside import Lengthy
from toolcache.domains import Domain
from toolcache.durations import Duration
from toolcache.entries import Entries
from toolcache.entry import Durability, Missing
from toolcache.errors import CacheClosedError
from toolcache.home import Homes
from toolcache.parts import Parts
from toolcache.places import Places
from toolcache.sweeper import Sweeper
from toolcache.tallies import Tallies, Tally

_SAFE: Final = Durability.MEMORY  # an enumeration looks its members up by way of a function


class _Terms:
    """What sets of one domain for one time have in common."""

    __slots__ = ("domain", "lifetime", "span_ms", "tally", "ttl")

    def __init__(
        self, domain: Domain, ttl: Duration | Missing | None, lifetime: float, span_ms: int, tally: Tally
    ) -> None:
        self.domain = domain
        self.ttl = ttl
        self.lifetime = lifetime
        self.span_ms = span_ms
        self.tally = tally


class Sets:
    """The sets of a cache in memory alone.

    Args:
        parts: the cache's parts.
        places: the places of keys.
        entries: makes entries.
        homes: whose flights must not overtake a write.
        sweeper: frees what has ended.
        tallies: the counts.
        coming: the writes under way that others have to wait for, by place.
    """

    def __init__(
        self,
        parts: Parts,
        places: Places,
        entries: Entries,
        homes: Homes,
        sweeper: Sweeper,
        tallies: Tallies,
        coming: Mapping[str, object],
    ) -> None:
        self._memory = parts.memory
        self._enabled = parts.enabled
        self._places = places
        self._entries = entries
        self._homes = homes
        self._sweeper = sweeper
        self._tallies = tallies
        self._coming = coming
        self._last: _Terms | None = None

    def one(self, key: str, value: Any, domain: Domain, ttl: Duration | Missing | None) -> Durability:
        """Store a value that has no tags; where it is safe. Raises Lengthy for ``set_many``, before anything was changed."""
        memory, entries, homes = self._memory, self._entries, self._homes
        if homes.closed and homes.refusing:
            raise CacheClosedError
        self._sweeper.arm()
        old = memory.front.get(key) if type(key) is str else None
        if old is None:
            place = self._places.of(key)
            old = memory.find(place)
        else:
            place = old.key
        if self._coming or memory.onlookers:  # one of them may be of this key, or the caller may not mean it
            raise Lengthy
        terms = self._last
        if terms is None or terms.domain is not domain or terms.ttl is not ttl:
            terms = self._agree(domain, ttl)
        kept, thaw, size = entries.kept(value, domain)
        if self._enabled:
            tally = terms.tally
            tally.sets += 1
            held = entries.live(kept, thaw, size, tally, terms.lifetime, terms.span_ms, domain.labels, old)
            homes.detach(place)  # computations under way must not overtake it
            memory.put(place, held)
        return _SAFE

    def _agree(self, domain: Domain, ttl: Duration | Missing | None) -> _Terms:
        """Terms, which the next set of such a value will find."""
        life = self._entries.life(ttl, domain)
        if not life.plain:
            raise Lengthy
        terms = _Terms(domain, ttl, life.gone, self._entries.span_ms(life.gone), self._tallies.of(domain))
        self._last = terms
        return terms
