"""What a cache is made of. Chosen by the composition root; the machine knows only these."""

from collections.abc import Mapping
from typing import NamedTuple

from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.events import Announcer
from toolcache.fields import Frozen, each
from toolcache.freshness import UNSAID, Freshness
from toolcache.layer import Layer
from toolcache.memory.store import MemoryStore
from toolcache.protocols import Clock
from toolcache.versions import HybridClock


class Due(NamedTuple):
    """The monotonic instants by which one public call, with all its steps, is to be done with each layer."""

    redis: float
    files: float

    def without(self, waited: float) -> "Due":
        """When the call has waited so many seconds for files, with which Redis has nothing to do."""
        return Due(self.redis + waited, self.files)

    def after(self, redis: Layer) -> "Due":
        """When Redis has been asked: of the files' time none is spent on waiting for it."""
        return Due(self.redis, self.files + redis.budget() - self.redis)


class Parts(Frozen):
    """The parts of one cache.

    ``redis`` and ``files`` are None where they are not configured, which is never the same as being down. ``mirror``
    names the domains whose values are always also written to files. ``trust`` is how long, in seconds, memory may
    answer without asking Redis again where nobody tells it of changes; None where no other process writes. ``coherence``
    has Redis tell it, if that can. ``lock``: of the processes that lack a value one computes it, with a claim leased for
    ``lease``; others wait at most ``lock_timeout``. ``metrics`` writes down what is counted. ``prices`` are dollars for a million
    tokens, by model. Spans are seconds, sizes bytes.
    """

    namespace: str
    clock: Clock
    hybrid: HybridClock
    memory: MemoryStore
    coder: Coder
    envelope: Envelope
    announce: Announcer
    redis: Layer | None = None
    files: Layer | None = None
    mirror: frozenset[str] = frozenset()
    default_ttl: float | None = 3600.0
    freshness: Freshness = UNSAID
    tombstone_ttl: float = 87_000.0
    journal_max_age: float = 86_400.0
    trust: float | None = None
    lock: bool = True
    lease: float = 10.0
    lock_timeout: float = 60.0
    coherence: bool = True
    enabled: bool = True
    metrics: bool = True
    strict: bool = False
    prices: Mapping[str, float] = each(factory=dict)
    where_redis: str = ""
    where_files: str = ""

    def due(self) -> Due:
        """For a call that begins now."""
        return Due(self.redis.budget() if self.redis else 0.0, self.files.budget() if self.files else 0.0)
