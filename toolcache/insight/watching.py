"""What one cache watches of itself: a sample of its lookups, and now and then what its keys are made of."""

from typing import Any, Final

from toolcache.insight.sampler import Sampler
from toolcache.insight.sketch import CLUES, DomainSketch, Sketch
from toolcache.insight.variance import Windows
from toolcache.parts import Parts
from toolcache.tallies import Tallies

_DAY: Final = 86_400


class Insight:
    """Watches one cache.

    Args:
        parts: the cache's parts; its memory is watched from now on.
        tallies: what it counts.

    Attributes:
        sampler: follows some keys.
        windows: look at what keys are made of.
    """

    def __init__(self, parts: Parts, tallies: Tallies) -> None:
        self._time = parts.clock.time
        self._tallies = tallies
        self.sampler = Sampler(parts.memory, parts.clock)
        parts.memory.watcher = self.sampler
        self.windows = Windows()
        self._begin()

    def sketch(self) -> dict[str, Any]:
        """What was sampled today, of universal time, as plain data of at most 4 kB; see ``toolcache.insight.sketch.merge``."""
        return self.own().pack()

    def own(self) -> Sketch:
        """The same, whole. With a new day counting begins anew."""
        self.sampler.settle()
        sketch = self._made()
        if self._day != int(self._time() // _DAY):
            self._begin()
            sketch = self._made()
        return sketch

    def _begin(self) -> None:
        self._since = self._time()
        self._day = int(self._since // _DAY)
        self._before = self._lookups()
        self.sampler.begin()

    def _lookups(self) -> int:
        return sum(tally.hits + tally.far_hits + tally.misses for tally in self._tallies.all())

    def _made(self) -> Sketch:
        sampler = self.sampler
        domains: dict[str, DomainSketch] = {}
        for tally, row in tuple(sampler.rows.items()):
            name = getattr(getattr(tally, "series", None), "domain", "general")
            one = DomainSketch(
                asked=row.asked,
                cold=row.cold,
                ended=row.ended,
                ousted=row.ousted,
                removed=row.removed,
                spans=row.spans,
                given=row.given,
                lived=tuple(row.lasting + one for one in row.lived),
            )
            domains[name] = domains[name] + one if name in domains else one
        clues = sorted(self.windows.clues(), key=lambda clue: clue.fewer - clue.keys)
        return Sketch(
            since=self._since,
            until=self._time(),
            lookups=float(self._lookups() - self._before),
            asked=sampler.depths.asked,
            samples=float(sampler.depths.samples),
            keys=float(sampler.keys),
            rate=sampler.rate,
            entries=sampler.keys / sampler.rate,
            size=sampler.whole_bytes,
            by_bytes=tuple(sampler.depths.bytes),
            by_entries=tuple(sampler.depths.entries),
            domains=domains,
            clues=tuple(clues[:CLUES]),
        )
