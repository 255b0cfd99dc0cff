"""Hits: what memory answers by itself, without an await."""

from collections.abc import Sequence
from typing import Any, Final

from toolcache.aside import Lengthy
from toolcache.blob import CorruptBlobError
from toolcache.domains import Domain
from toolcache.entry import MISSING, Held
from toolcache.parts import Parts
from toolcache.places import Places
from toolcache.tallies import LayerTally, Tallies, Tally

_SAMPLE: Final = 1023


class Hits:
    """The hits of one cache.

    Args:
        parts: the cache's parts.
        places: the places of keys that had to be encoded.
        tallies: the counts.
        memory_tally: those of memory.
    """

    def __init__(self, parts: Parts, places: Places, tallies: Tallies, memory_tally: LayerTally) -> None:
        self._memory = parts.memory
        self._places = places
        self._tallies = tallies
        self._memory_tally = memory_tally
        self._touch = parts.memory.touch
        self._now = parts.clock.monotonic

    def one(self, key: str) -> Any:
        """The value if memory may answer, else MISSING. Everything a hit does is here."""
        memory = self._memory
        held = memory.front.get(key) or self._seek(key)
        if held is None or self._now() >= held.settled_until or held.era != memory.settled_era:
            return MISSING
        try:
            value = held.value if held.thaw is None else held.thaw(held.value)
        except (CorruptBlobError, Lengthy):  # a codec of others that does not read what it wrote, or a large value
            return MISSING
        held.hits += 1
        tally = held.tally
        before = tally.hits
        tally.hits = before + 1
        if held.seconds:
            tally.seconds_saved += held.seconds
        if self._touch is not None:
            self._touch(held.key, held)
        if not before & _SAMPLE:
            self._sample(held)
        return value

    def late(self, held: Held) -> None:
        """Count a hit whose copy is made aside."""
        held.hits += 1
        held.tally.hits += 1
        held.tally.seconds_saved += held.seconds
        if self._touch is not None:
            self._touch(held.key, held)

    def many(self, keys: Sequence[str], domain: Domain) -> tuple[dict[str, Any], list[str]]:
        """Values that memory may answer with, and the keys that it may not answer, each in order.

        It is ``hit`` for many, with the clock read and the tally raised once for all entries of the domain.
        """
        now, era, touch, tally = self._now(), self._memory.settled_era, self._touch, self._tallies.of(domain)
        values: dict[str, Any] = {}
        absent, others, seconds, last = [], 0, 0.0, None
        for key, held in zip(keys, map(self._memory.front.get, keys), strict=True):
            if held is not None and now < held.settled_until and held.era == era and held.tally is tally:
                try:
                    values[key] = held.value if held.thaw is None else held.thaw(held.value)
                except (CorruptBlobError, Lengthy):
                    absent.append(key)
                    continue
                last = held
                held.hits += 1
                if held.seconds:
                    seconds += held.seconds
                if touch is not None:
                    touch(held.key, held)
            elif (value := self.one(key)) is MISSING:
                absent.append(key)
            else:
                others += key not in values
                values[key] = value
        before, count = tally.hits, len(values) - others
        tally.hits = before + count
        tally.seconds_saved += seconds
        if -before & _SAMPLE < count and last is not None:
            self._sample(last)
        return values, absent

    def _seek(self, key: str) -> Held | None:
        """What is behind the front table, or under the place of a key that had to be encoded."""
        held = self._memory.find(key)
        if held is None and (place := self._places.get(key)) is not None:
            held = self._memory.find(place)
        return held

    def _sample(self, held: Held) -> None:
        """Time what a hit does: to do it again now and then costs less than to read the clock at each."""
        self._memory.watcher.pulse()
        begun = self._now()
        if self._memory.find(held.key) is held and isinstance(held.tally, Tally):
            try:
                held.own()
            except CorruptBlobError:  # a codec of others that has read it just now
                return
            took = self._now() - begun
            self._memory_tally.latency.add(took)
            held.tally.sampled.add(took)
