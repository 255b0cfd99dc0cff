"""Caches over every layering, with a clock to move and real stores beneath."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from servers import RedisServer

from toolcache.cache import Cache
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.events import Announcer
from toolcache.layer import Layer
from toolcache.memory.s3fifo import S3FIFO
from toolcache.memory.store import MemoryStore
from toolcache.parts import Parts
from toolcache.protocols import Store, SupportsSeparateReads
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.stores.redis.store import RedisStore
from toolcache.testing import ChaosStore, FakeClock, Recorder
from toolcache.versions import HybridClock

LAYERINGS = ("memory", "memory+file", "memory+redis", "memory+redis+file")
far = pytest.mark.parametrize("layering", [layers for layers in LAYERINGS if layers != "memory"])
"""For what needs something below memory."""
shared = pytest.mark.parametrize("layering", [layers for layers in LAYERINGS if "redis" in layers])
"""For what needs Redis."""
_PATIENCE = 30.0


class Rig:
    """Makes caches of one layering that share their stores, as processes would.

    Each cache is a process of its own as far as versions, memory and breakers go. ``redis`` and ``files`` of a cache
    are ``ChaosStore``s around the real thing. With ``replays`` false they replay only when they are told to. The
    slowest machine misses no deadline, so that no test fails for it: those of deadlines say an ``op_timeout`` of their own.
    """

    def __init__(
        self,
        layering: str,
        clock: FakeClock,
        directory: Path,
        server: RedisServer | None,
        *,
        replays: bool = True,
        op_timeout: float = _PATIENCE,
    ) -> None:
        self.layering = layering
        self.clock = clock
        self.recorder = Recorder()
        self.server = server
        self._directory = directory
        self._replays = replays
        self._op_timeout = op_timeout
        self._stack = AsyncExitStack()

    @property
    def far(self) -> bool:
        """Whether anything lies below memory."""
        return self.layering != "memory"

    @property
    def shared(self) -> bool:
        """Whether Redis is configured."""
        return "redis" in self.layering

    async def open(self, **options: Any) -> Cache:
        """A cache, closed at the end of the test."""
        cache = Cache(self.parts(**options))
        if not self._replays:
            cache._machine.journal.run = _never  # type: ignore[method-assign]  # only when the test says so
        return await self._stack.enter_async_context(cache)

    def parts(self, *, directory: Path | None = None, max_entries: int | None = None, **options: Any) -> Parts:
        """What a cache is made of."""
        clock = self.clock
        announce = Announcer(clock)
        announce.subscribe(self.recorder)
        hybrid = options.pop("hybrid", None) or HybridClock(clock)
        redis = files = None
        if self.server is not None:
            redis = self._layer(RedisStore(self.server.url, clock=clock, announce=announce), announce, self._op_timeout)
        if "file" in self.layering:
            from toolcache.stores.log.store import LogStore

            store = LogStore(directory or self._directory, clock=clock, hybrid=hybrid, announce=announce)
            files = self._layer(store, announce, _PATIENCE)
        chosen: dict[str, Any] = {
            "namespace": "test",
            "clock": clock,
            "hybrid": hybrid,
            "memory": MemoryStore(clock=clock, policy=S3FIFO(), max_bytes=2**24, max_entries=max_entries),
            "coder": Coder(),
            "envelope": Envelope(),
            "announce": announce,
            "redis": redis,
            "files": files,
            "trust": 5.0 if redis else None,
            "coherence": False,
        }
        return Parts(**chosen | options)

    async def aclose(self) -> None:
        """Close every cache that was opened."""
        await self._stack.aclose()

    def _layer(self, store: Store, announce: Announcer, timeout: float) -> Layer:
        def breaker(kind: str) -> CircuitBreaker:
            return CircuitBreaker(
                name=f"{store.name}.{kind}", clock=self.clock, recovery_time=1.0, jitter=0.0, on_change=announce
            )

        guard = Guard(
            breaker=breaker("conn"),
            write_breaker=breaker("write"),
            timeout=timeout,
            reads_stand=store.reads_stand if isinstance(store, SupportsSeparateReads) else lambda: False,
            clock=self.clock,
            announce=announce,
            layer=store.name,
        )
        return Layer(ChaosStore(store), guard, clock=self.clock)


class SteadyClock(FakeClock):
    """A fake clock that the server's own cannot set: the test alone moves time."""

    def align(self, now: float) -> None:
        """Stay."""


async def _never() -> None:
    await asyncio.Event().wait()
