"""What one cache of this process counts and holds, as the exporters read it."""

import os
from typing import TYPE_CHECKING, Any

from toolcache.exporters.reading import Reading
from toolcache.metrics.snapshot import Process
from toolcache.metrics.totals import state_of

if TYPE_CHECKING:
    from toolcache.blocking.tool_cache import BlockingToolCache
    from toolcache.cache import Cache


def within(cache: "Cache | BlockingToolCache") -> "Cache":
    """The cache itself, of one that blocks."""
    inner: Any = getattr(cache, "_cache", cache)
    found: Cache = inner
    return found


def process_of(cache: "Cache") -> Process:
    """The sizes and states of a cache now. Local, no I/O."""
    parts, machine = cache._parts, cache._machine  # noqa: SLF001 - of one house
    now = parts.clock.time()
    return Process(
        owner=machine.recorder.owner if machine.recorder is not None else "",
        pid=os.getpid(),
        began_at=machine.totals.began_at,
        seen_at=now,
        entries=len(parts.memory),
        bytes=parts.memory.bytes,
        max_bytes=parts.memory.max_bytes,
        pending=machine.journal.pending,
        coherence=machine.bus.state,
        breakers={layer.name: state_of(layer) for layer in (parts.redis, parts.files) if layer is not None},
    )


def read(cache: "Cache") -> Reading:
    """What this cache has counted since it was made, and what it holds."""
    parts = cache._parts  # noqa: SLF001 - of one house
    return Reading.of(cache.totals(), parts.namespace, (process_of(cache),), parts.prices)
