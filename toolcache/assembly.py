"""Settings to parts: the one place where stores, policies and codecs are chosen. Opens nothing."""

import asyncio
import re
import sys
from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from math import inf
from typing import TYPE_CHECKING, Final

from toolcache.blob import RECORD_ROOM
from toolcache.clock import SYSTEM
from toolcache.codec.coder import Coder
from toolcache.codec.envelope import Envelope
from toolcache.credentials import AnyCredentialProvider
from toolcache.errors import SettingsError
from toolcache.events import Announcer, Event, FilesUnavailable
from toolcache.freshness import DEFAULT, UNSAID, Freshness, Policy
from toolcache.layer import Layer
from toolcache.memory.store import MemoryStore
from toolcache.parts import Parts
from toolcache.peeks import SupportsOpening
from toolcache.protocols import Clock, MemoryPolicy, Store, SupportsSeparateReads
from toolcache.resilience.breaker import CircuitBreaker
from toolcache.resilience.guard import Guard
from toolcache.settings import STRATEGIES, Settings
from toolcache.spelling import TIERS
from toolcache.versions import HybridClock, process_clock

if TYPE_CHECKING:
    from pathlib import Path

_TRUST: Final = 5.0
"""Seconds that memory answers without asking Redis, where that does not tell it what other processes write."""

_TOMBSTONE_MARGIN: Final = 600.0
"""Seconds that the mark of a delete outlives the oldest write that may still be replayed."""

_LOGIN: Final = r"//[^/@]*@"


def assemble(settings: Settings, *, clock: Clock = SYSTEM, credentials: AnyCredentialProvider | None = None) -> Parts:
    """The parts of a cache. Does no I/O: a store that is down is found at its first use.

    Args:
        settings: what was asked for.
        clock: another than the machine's, for tests.
        credentials: what logs in to Redis instead of the settings' user and password.
    """
    announce = Announcer(clock)
    hybrid = process_clock() if clock is SYSTEM else HybridClock(clock)
    redis = None if settings.redis_url is None else _redis(settings, clock, announce, credentials)
    where = directory(settings, redis[1] if redis else "") if _wants_files(settings, announce) else None
    files = _files(settings, where, clock, hybrid, announce) if where else None
    return Parts(
        namespace=settings.namespace,
        clock=clock,
        hybrid=hybrid,
        memory=MemoryStore(
            clock=clock,
            policy=_policy(settings, clock, announce),
            max_bytes=settings.max_memory,
            max_entries=settings.max_entries,
        ),
        coder=Coder(precision=settings.vector_precision),
        envelope=Envelope(
            secret=settings.secret,
            compress_above=settings.compress_above,
            compressor=settings.compressor,
            max_entry=settings.max_entry,
        ),
        announce=announce,
        redis=redis[0] if redis else None,
        files=files,
        mirror=frozenset(settings.mirror),
        default_ttl=settings.default_ttl,
        freshness=_freshness(settings),
        tombstone_ttl=settings.journal_max_age + _TOMBSTONE_MARGIN,
        journal_max_age=settings.journal_max_age,
        trust=None if redis is None else _TRUST,
        coherence=settings.coherence,
        lock=settings.lock,
        lease=settings.lease,
        lock_timeout=settings.lock_timeout,
        enabled=settings.enabled,
        metrics=settings.metrics,
        strict=settings.strict,
        prices=settings.prices,
        where_redis=redis[1] if redis else "",
        where_files=str(where or ""),
    )


def _freshness(settings: Settings) -> Freshness:
    """What is to be done about values that near their end, as far as it is not the usual."""
    told = {name: getattr(settings, name) for name in Freshness._fields}
    return UNSAID if Policy(**told) == DEFAULT else Freshness(**told)


def directory(settings: Settings, redis: str) -> "Path":
    """Where the files lie: as set, or under ``toolcache`` in the user's cache directory.

    There each Redis has a place of its own, by its address: what one is owed must not be told to another.
    """
    if settings.directory is not None:
        return settings.directory
    from platformdirs import user_cache_path

    common = user_cache_path("toolcache", appauthor=False)
    if not redis:
        return common
    address = re.sub(_LOGIN, "//", redis)
    return common / f"redis-{sha256(address.encode()).hexdigest()[:16]}"


def _policy(settings: Settings, clock: Clock, announce: Announcer) -> MemoryPolicy:
    strategy = settings.strategy
    if not isinstance(strategy, str):
        return _guarded(strategy, announce)
    module, _, name = STRATEGIES[strategy].partition(":")
    kind = getattr(import_module(module), name)
    policy: MemoryPolicy = kind(_tiers(settings), clock.monotonic) if strategy == "tiered" else kind()
    return policy


def _tiers(settings: Settings) -> dict[str, tuple[int, float]]:
    """What each tier may hold, and for how long what is not used."""
    given = settings.tiers or {
        name: (int(share * settings.max_memory), span)
        for name, share, span in zip(TIERS, (0.25, 0.25, 0.5), (300.0, 3600.0, None), strict=True)
    }
    return {name: (size, inf if span is None else span) for name, (size, span) in given.items()}


def _guarded(make: Callable[[], MemoryPolicy], announce: Announcer) -> MemoryPolicy:
    """What a class of somebody else's makes, if it can be a policy."""
    from toolcache.memory.guarded import Guarded, lacks

    policy = make()
    if missing := lacks(policy):
        raise SettingsError(
            f"argument strategy: the {type(policy).__name__} that it made is no MemoryPolicy: it lacks {', '.join(missing)}"
        )

    def tell(event: Event) -> None:
        try:
            asyncio.get_running_loop().call_soon(announce, event)  # not under the lock of memory, where this is called
        except RuntimeError:
            announce(event)

    return Guarded(policy, tell)


def _redis(
    settings: Settings, clock: Clock, announce: Announcer, credentials: AnyCredentialProvider | None
) -> tuple[Layer, str]:
    # redis-py takes a fifth of a second to import: now, not out of the first call's deadline.
    import toolcache.stores.redis.driver  # noqa: F401
    from toolcache.stores.redis.store import RedisStore

    store = RedisStore(
        settings.redis_url,
        username=settings.redis_username,
        password=settings.redis_password,
        op_timeout=settings.op_timeout,
        connect_timeout=settings.connect_timeout,
        credentials=credentials,
        max_entry=settings.max_entry + RECORD_ROOM,
        clock=clock,
        announce=announce,
    )
    return _layer(store, settings, settings.op_timeout, clock, announce), store.redacted_url


def _wants_files(settings: Settings, announce: Announcer) -> bool:
    if not settings.files or (settings.redis_url is not None and not settings.fallback):
        return False
    if sys.platform == "win32":
        announce(FilesUnavailable("", "files need the locks of Linux or macOS: memory and Redis go on without them"))
        return False
    return True


def _files(settings: Settings, where: "Path", clock: Clock, hybrid: HybridClock, announce: Announcer) -> Layer:
    from toolcache.stores.log.store import LogStore

    store = LogStore(
        where,
        clock=clock,
        hybrid=hybrid,
        max_disk=settings.max_disk,
        fsync=settings.fsync,
        patience=settings.file_timeout,
        announce=announce,
    )
    # Its writer joins what arrives meanwhile by itself.
    return _layer(store, settings, settings.file_timeout, clock, announce)


def _layer(store: Store, settings: Settings, timeout: float, clock: Clock, announce: Announcer) -> Layer:
    def breaker(kind: str) -> CircuitBreaker:
        return CircuitBreaker(
            name=f"{store.name}.{kind}",
            failure_threshold=settings.failure_threshold,
            recovery_time=settings.recovery_time,
            probe_timeout=timeout,
            clock=clock,
            on_change=announce,
        )

    guard = Guard(
        breaker=breaker("conn"),
        write_breaker=breaker("write"),
        timeout=timeout,
        reads_stand=store.reads_stand if isinstance(store, SupportsSeparateReads) else lambda: False,
        opening=(lambda: store.opening) if isinstance(store, SupportsOpening) else lambda: False,
        clock=clock,
        announce=announce,
        layer=store.name,
    )
    return Layer(store, guard, clock=clock)
