"""What memory holds, by itself and beside what layers say: its ages, and whether an epoch has overtaken it."""

from math import inf
from typing import Final
from zlib import crc32

from toolcache.blob import NEVER
from toolcache.entries import Entries
from toolcache.entry import MEMORY, Aging, Held, remaining
from toolcache.epochs import Epochs
from toolcache.found import NOTHING, Found, found_in
from toolcache.freshness import Policy
from toolcache.parts import Parts

_OUTAGE_TRUST: Final = 1.0


class Recall:
    """Reads of memory, for one cache. Keys are places.

    Args:
        parts: the cache's parts.
        epochs: what has been cleared, as far as this process knows.
        entries: says whether any entry has ages.
    """

    def __init__(self, parts: Parts, epochs: Epochs, entries: Entries) -> None:
        self._memory = parts.memory
        self._now = parts.clock.monotonic
        self._time = parts.clock.time
        self._epochs = epochs
        self._entries = entries

    def look(self, key: str) -> Found:
        """What memory holds of the key, if it may answer without a further thought."""
        held = self._memory.find(key)
        if held is None or not self.current(key, held):
            return NOTHING
        now = self._now()
        if now < held.settled_until or (
            isinstance(held, Aging) and now < held.fresh_until and now < held.trusted_until
        ):
            return found_in(held)
        return NOTHING

    def alive(self, key: str) -> bool:
        """Whether memory holds a value of the key, settled or not."""
        held = self._memory.find(key)
        return (
            held is not None and self.current(key, held) and remaining(held.created_ms, held.gone_ms, self._time()) > 0
        )

    def answers(self, held: Held) -> bool:
        """Whether an entry that was found may still be given without a layer being asked."""
        if isinstance(held, Aging):
            return self._now() < min(held.fresh_until, held.trusted_until)
        return self._now() < held.settled_until

    def is_ripe(self, held: Held, policy: Policy) -> bool:
        """Whether it is time to compute a value anew: as whoever made it said, or who asks for it; memory bears that in mind."""
        if isinstance(held, Aging) and self._now() >= held.ripe_at:
            return True
        if policy.refresh_ahead is None or held.fresh_until_ms == NEVER:
            return False
        chance = crc32(held.version) / 2**32  # the same whenever it is asked, and another for each value
        share = policy.refresh_ahead + (1 - policy.refresh_ahead) / 2 * chance
        life_ms = held.fresh_until_ms - held.created_ms
        left = remaining(held.created_ms, held.fresh_until_ms, self._time()) - (1 - share) * life_ms / 1000
        if left > 0:
            self._ripen(held, self._now() + left)
        return left <= 0

    @staticmethod
    def _ripen(held: Held, ripe_at: float) -> None:
        """Have it answer without a further thought no longer than until then."""
        if isinstance(held, Aging) and held.ripe_at == inf:
            held.ripe_at = ripe_at
        if isinstance(held, Aging) or held.layer != MEMORY:  # else nobody has it but memory
            held.settled_until = min(held.settled_until, ripe_at)

    def by_age(self, key: str, found: Found) -> Found:
        """A value past its time is none; it may stand in for one that cannot be computed."""
        if not self._entries.ages:
            return found
        if found.held is None:
            kept = self.kept(key)  # what no layer has been told of yet
            found = kept if kept.version > found.version else found
        held = found.held
        if isinstance(held, Aging) and self._now() >= held.fresh_until:
            return Found(None, found.version, stale=held)
        return found

    def kept(self, key: str) -> Found:
        """What memory holds past its time, where there is nothing else to be asked."""
        held = self._memory.find(key)
        if not isinstance(held, Aging) or not self.current(key, held) or self._now() >= held.gone_until:
            return NOTHING
        return found_in(held)

    def remembered(self, key: str, found: Found) -> Found:
        """What memory holds past its trust, while nobody better can be asked."""
        held = self._memory.find(key)
        if held is None or held.version < found.version or not self.current(key, held):
            return found
        now = self._time()
        if remaining(held.created_ms, held.gone_ms, now) <= 0:
            return found
        fresh = remaining(held.created_ms, held.fresh_until_ms, now)
        held.settled_until = self._now() + min(fresh, _OUTAGE_TRUST)
        return found_in(held)

    def current(self, key: str, held: Held) -> bool:
        """Whether the entry has outlived every epoch; one of an older era is looked at once."""
        era = self._memory.era
        if held.era != era:
            if held.era < self._memory.forgotten or self._epochs.covers(held.version, held.tags):
                self._memory.remove(key)
                return False
            if held.era < self._memory.doubted:
                held.doubt()
            held.era = era
        return True
