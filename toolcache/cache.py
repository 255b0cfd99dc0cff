"""Cache: any value, under keys of the caller's own."""

import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from toolcache.answers import RunStatus
from toolcache.aside import Lengthy
from toolcache.blob import NEVER
from toolcache.compute import Compute
from toolcache.domains import GENERAL, IDEMPOTENCY
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Entry, Missing, remaining
from toolcache.errors import UnsupportedKeyError
from toolcache.found import found_in, whole
from toolcache.freshness_options import FreshnessOptions, said
from toolcache.holdings import Holdings
from toolcache.keys.canonical import digest
from toolcache.machine import Machine
from toolcache.modes import Mode
from toolcache.moves import Moves
from toolcache.observed import Observed
from toolcache.parts import Parts
from toolcache.protocols import Listener
from toolcache.report import health, stats
from toolcache.requests import Requests
from toolcache.stats import Health, Stats
from toolcache.tags import RESERVED, UNTAGGED
from toolcache.terms import OnceOptions, Terms
from toolcache.work import Work

if TYPE_CHECKING:
    from toolcache.functions import CachedFunction
    from toolcache.rules import CachedOptions, Lifetime

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Cache(Holdings, Moves, Observed):
    """Any value, over memory → Redis → files.

    Every method may be called from any asyncio event loop of the process. ``ToolCache`` is a cache that knows the
    domains, and says how to open one.

    Args:
        parts: what the cache is made of.
        machine: one that is there already, of these parts.
    """

    def __init__(self, parts: Parts, machine: Machine | None = None) -> None:
        self._parts = parts
        self._machine = Machine(parts) if machine is None else machine
        self._requests = Requests(self._machine)
        self._request_domain = IDEMPOTENCY
        self._hit = self._machine.hit
        self._fill = self._machine.fill
        self._seek = self._machine.lookups.seek
        self._keep = self._machine.keep

    async def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or ``default``.

        A stored None is returned as None; pass ``MISSING`` as the default to tell it from a miss.

        Raises:
            UnsupportedKeyError: the key is not text.
            CacheClosedError: the cache was closed.

        Examples:
            >>> await cache.get("greeting", MISSING) is MISSING
            True
        """
        value = self._hit(key)
        return await self._seek(key, GENERAL, default) if value is MISSING else value

    async def get_entry(self, key: str) -> Entry | None:
        """The value with its instants, tags and where it was found; None if there is none."""
        found = await self._machine.lookups.find_one(key, GENERAL)
        held, now = found.held or found.stale, self._parts.clock.time()
        value = await whole(found.value if found.stale is None else found_in(found.stale).value)
        if held is None or value is MISSING:
            return None
        return Entry(
            value=value,
            created_at=held.created_ms / 1000,
            expires_at=float("inf") if held.fresh_until_ms == NEVER else held.fresh_until_ms / 1000,
            age=max(0.0, now - held.created_ms / 1000),
            ttl=max(0.0, remaining(held.created_ms, held.fresh_until_ms, now)),
            tags=tuple(tag for tag in held.tags if not tag.startswith(RESERVED)),
            layer=held.layer,
            hits=held.hits,
            size=held.size,
            stale=found.stale is not None,
        )

    async def exists(self, key: str) -> bool:
        """Whether a value is there; counts neither as a hit nor as a miss."""
        return (await self._machine.lookups.find_one(key, GENERAL, counted=False)).held is not None

    async def ttl(self, key: str) -> float | None:
        """Seconds until the value is gone: ``inf`` if it stays, None if there is none."""
        held = (await self._machine.lookups.find_one(key, GENERAL, counted=False)).held
        return None if held is None else remaining(held.created_ms, held.fresh_until_ms, self._parts.clock.time())

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The hits among the keys, in their order; what memory lacks is one round trip."""
        return await self._machine.lookups.get_many(keys, GENERAL)

    async def get_or_set(
        self,
        key: str,
        compute: Compute,
        *,
        ttl: Duration | Missing | None = MISSING,
        tags: Iterable[str] = (),
        lock: bool | None = None,
        bypass: bool = False,
        refresh: bool = False,
        **freshness: Unpack[FreshnessOptions],
    ) -> Any:
        """The value of a key, computed and stored if it is missing: one computation per key, whoever asks.

        Args:
            key: any text.
            compute: sync or async, without an argument or with a ``Context``.
            ttl: how long it stays good; the default TTL unless given, None for ever.
            tags: labels kept with the entry.
            lock: whether other processes wait meanwhile for this one's value, or this one for theirs; as the setting
                ``lock`` says unless given. Saves work; promises nothing.
            bypass: compute, and neither look nor store; see ``bypass()``.
            refresh: compute whatever is there, and store; see ``refreshing()``.
            freshness: what is done about a value that nears its end, or is past it; see ``Freshness``.

        Raises:
            Exception: whatever ``compute`` raised, the same for all who waited; nothing is stored then.
            ComputeTimeoutError: it has taken longer than ``hard_timeout``, and no older value could stand in.
            ReentrantFlightError: ``compute`` asks for its own key.

        Examples:
            >>> await cache.get_or_set("answer", lambda: 6 * 7, ttl="1h")
            42
        """
        if bypass or refresh:
            mode = Mode.BYPASS if bypass else Mode.REFRESH
        elif (value := self._hit(key)) is not MISSING:
            return value
        else:
            mode = None
        return await self._fill(key, compute, ttl=ttl, tags=tags, lock=lock, mode=mode, freshness=said(freshness))

    _own_get_or_set = get_or_set
    """The one of this class, by which a subclass is known that has another."""

    def cached(
        self, ttl: "Lifetime" = MISSING, **options: Unpack["CachedOptions"]
    ) -> "Callable[[Callable[_P, Coroutine[Any, Any, _R]]], CachedFunction[_P, _R]]":
        """Keep what an async function returns in this cache; see ``toolcache.cached``.

        Examples:
            >>> @cache.cached(ttl="1h")
            ... async def search(query: str) -> list[str]:
            ...     return await ask(query)
        """
        from toolcache.keeping import decorator

        return decorator(ttl, self, options)

    async def set(
        self, key: str, value: Any, ttl: Duration | Missing | None = MISSING, *, tags: Iterable[str] = ()
    ) -> Durability:
        """Store a value; returns where it is safe.

        Args:
            key: any text.
            value: what comes back equal: None, bool, int, float, str, bytes, list, tuple, set, frozenset, dict, datetime,
                date, time, timedelta, Decimal, UUID, and one-dimensional NumPy arrays of floats; exactly these types. Not
                to be changed before the call returns: a large one is encoded in a thread meanwhile.
            ttl: seconds, a timedelta or text such as ``"2h30m"``; the default TTL unless given, None for ever.
            tags: labels kept with the entry, at most 16; those that begin with ``@`` are the cache's own.

        Raises:
            SerializationError: the value could not come back equal; nothing was changed.
            ValueError: the ttl is no span of time, or a tag cannot be; nothing was changed.
            CacheWriteError: with ``strict=True``, when memory alone took it although more is configured.
        """
        if self._keep is not None and tags is UNTAGGED:
            try:
                return self._keep(key, value, GENERAL, ttl)
            except Lengthy:
                return (await self._machine.set_many({key: value}, GENERAL, ttl=ttl))[key]
        return await self._machine.set(key, value, GENERAL, ttl=ttl, tags=tags)

    async def set_many(
        self, mapping: Mapping[str, Any], ttl: Duration | Missing | None = MISSING, *, tags: Iterable[str] = ()
    ) -> dict[str, Durability]:
        """Store several values in one round trip; returns where each is safe. If one cannot be stored, none is."""
        return await self._machine.set_many(mapping, GENERAL, ttl=ttl, tags=tags)

    async def add(
        self, key: str, value: Any, ttl: Duration | Missing | None = MISSING, *, tags: Iterable[str] = ()
    ) -> bool:
        """Store a value only if none is there; whether it was stored."""
        return await self._machine.add(key, value, GENERAL, ttl=ttl, tags=tags)

    async def delete(self, key: str) -> bool:
        """Remove a key everywhere; whether a value was there.

        Raises:
            CacheWriteError: a configured layer may still hold the value and nothing durable says otherwise.
        """
        return (await self._machine.delete_many((key,), GENERAL))[key]

    async def expire(self, key: str) -> bool:
        """Say that a value is past its time: a miss to all, which may stand in until the end it had; whether one was there.

        Raises:
            CacheWriteError: with ``strict=True``, when memory alone took it although more is configured.

        Examples:
            >>> _ = await cache.set("rates", {"EUR": 1.08}, ttl="1h")
            >>> await cache.expire("rates"), await cache.get("rates")
            (True, None)
        """
        return await self._machine.expire(key, GENERAL)

    async def touch(self, key: str, ttl: Duration | Missing | None = MISSING) -> bool:
        """Have a value last so long from now, in every layer; whether one was there. Its value and its age stay.

        One that was replaced, deleted or invalidated meanwhile stays so.

        Args:
            key: any text.
            ttl: as of ``set``.

        Raises:
            CacheWriteError: with ``strict=True``, when memory alone took it although more is configured.
            ValueError: the ttl is no span of time.

        Examples:
            >>> _ = await cache.set("greeting", "hello", ttl="1m")
            >>> await cache.touch("greeting", "1h"), round(await cache.ttl("greeting"))
            (True, 3600)
        """
        return await self._machine.touch(key, GENERAL, ttl)

    async def delete_many(self, keys: Iterable[str]) -> dict[str, bool]:
        """Remove several keys in one round trip; for each, whether a value was there."""
        return await self._machine.delete_many(keys, GENERAL)

    async def once(self, key: str, run: Work, *, fingerprint: Any = None, **options: Unpack[OnceOptions]) -> Any:
        """Run something once, whoever asks for it, however often and wherever: a payment, an e-mail, a tool that writes.

        Its output is kept, and given to everybody who asks within the retention. Where a run dies, the next who asks runs it
        again; what is promised, and what cannot be, docs/explanation/dispatch.md says.

        Args:
            key: what is asked for, such as ``"payment:4711"``.
            run: sync or async, without an argument or with a ``RunContext``.
            fingerprint: what else is asked, of whatever keys accept; another one under the same key is refused.
            options: on what conditions; see ``Terms``.

        Returns:
            The output of the one run. Everybody gets an own copy.

        Raises:
            Exception: whatever the run raised, in this process; StoredAgentError in others and, with ``on_error``, later.
            AlreadyInProgressError, WaitTimeoutError: another runs it, and the caller waits no longer.
            TaskMismatchError: it was asked for with another fingerprint.
            TakeoverLimitError: too many processes have died at it.
            RunTimeoutError: it took longer than ``timeout``.
            StoresUnavailableError: no store can say whether it was run.
            SerializationError: the output cannot be kept; it is the error's ``result``, and the run is not repeated.

        Examples:
            >>> await cache.once("greeting:ada", lambda: "sent", fingerprint={"to": "ada@example.org"})
            'sent'
        """
        given = "" if fingerprint is None else str(digest(fingerprint))
        terms = Terms.of(options)
        settled = await self._requests.once(self._request(key), run, terms, self._request_domain, fingerprint=given)
        return await self._requests.outcome(settled)

    async def status(self, key: str) -> RunStatus:
        """How far a request that is run once has come; asks every store."""
        return await self._requests.status(self._request(key))

    async def forget(self, key: str) -> bool:
        """Forget a request that was run once, so that the next call runs it again; whether an output was there.

        One that is running goes on; its callers get its output, and nobody else.

        Raises:
            CacheWriteError: a configured store may still hold it, and nothing durable says otherwise.
        """
        return await self._requests.forget(self._request(key), self._request_domain)

    def _request(self, key: str) -> str:
        """The key of a request's record."""
        if not isinstance(key, str):
            raise UnsupportedKeyError(f"the key of a request is text, not {type(key).__name__}")
        return f"once:{key}"

    def stats(self) -> Stats:
        """Hits, misses, sizes, latencies and savings since the cache was made. Local, no I/O."""
        return stats(
            self._parts,
            self._machine.tallies,
            self._machine.memory_tally,
            self._machine.journal,
            self._machine.runs.tally,
        )

    async def health(self, *, probe: bool = True) -> Health:
        """Whether each layer works: one bounded real read per remote layer, unless its breaker is open.

        Args:
            probe: False asks nobody and tells what is known.
        """
        self._machine.enter(())
        return await health(self._parts, self._machine.tallies, self._machine.journal, self._machine.bus, probe=probe)

    def bypass(self) -> AbstractContextManager[None]:
        """Within the block nothing is looked up and no value is stored: all is computed. Deletes are done all the same.

        It holds for this context alone, and for the tasks that are begun in it. What is to run once still does.

        Examples:
            >>> with cache.bypass():
            ...     value = await cache.get_or_set("answer", lambda: 6 * 7)
            >>> await cache.exists("answer")
            False
        """
        return self._machine.modes.stay(Mode.BYPASS)

    def refreshing(self) -> AbstractContextManager[None]:
        """Within the block nothing is looked up: all is computed anew, and stored.

        A computation that was begun outside is not joined, and stores nothing any more; one that fails leaves what is there.
        It holds for this context alone, and for the tasks that are begun in it.
        """
        return self._machine.modes.stay(Mode.REFRESH)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(event)`` for each event from now on; call what is returned to end it."""
        return self._parts.announce.subscribe(listener)

    async def __aenter__(self) -> Self:
        self._machine.enter(())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self, drain: float = 5.0) -> None:
        """Finish what was begun, release everything. More than one call is harmless; later calls of others are refused.

        Args:
            drain: seconds to wait for writes and computations under way; what still runs then is cancelled.
        """
        await self._machine.homes.close(drain, self._release)

    async def _release(self) -> None:
        self._machine.sweeper.stop()
        if self._machine.recorder is not None:
            await self._machine.recorder.finish()
        self._parts.memory.clear()
        async with AsyncExitStack() as stack:  # one that cannot be closed does not keep the others open
            for layer in (self._parts.files, self._parts.redis):
                if layer is not None:
                    stack.push_async_callback(layer.aclose)

    def __del__(self) -> None:
        machine: Machine | None = getattr(self, "_machine", None)  # None where the settings were refused
        if machine is not None and machine.entrance.used and not machine.homes.closed:
            warnings.warn(
                f"unclosed {self!r}: use 'async with' or await aclose()", ResourceWarning, stacklevel=2, source=self
            )

    def __repr__(self) -> str:
        layers = ["memory", *(layer.name for layer in (self._parts.redis, self._parts.files) if layer)]
        return f"<{type(self).__name__} {self._parts.namespace!r} over {' → '.join(layers)}, {len(self._parts.memory):,} entries>"
