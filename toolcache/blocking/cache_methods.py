"""The methods of ``Cache``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Unpack

from toolcache.blocking.face import Face, several
from toolcache.compute import Compute
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Entry, Missing
from toolcache.freshness_options import FreshnessOptions
from toolcache.protocols import Listener
from toolcache.stats import Health, Stats
from toolcache.terms import OnceOptions
from toolcache.tool_cache import ToolCache
from toolcache.work import Work


class BlockingCache(Face):
    """See ``Cache``."""

    _cache: ToolCache

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or ``default``.

        A stored None is returned as None; pass ``MISSING`` as the default to tell it from a miss.

        Raises:
            UnsupportedKeyError: the key is not text.
            CacheClosedError: the cache was closed.

        Examples:
            >>> cache.get("greeting", MISSING) is MISSING
            True
        """
        return self._hit(self._cache.get, key, default)

    def get_entry(self, key: str) -> Entry | None:
        """The value with its instants, tags and where it was found; None if there is none."""
        return self._call(self._cache.get_entry, key)

    def exists(self, key: str) -> bool:
        """Whether a value is there; counts neither as a hit nor as a miss."""
        return self._call(self._cache.exists, key)

    def ttl(self, key: str) -> float | None:
        """Seconds until the value is gone: ``inf`` if it stays, None if there is none."""
        return self._call(self._cache.ttl, key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The hits among the keys, in their order; what memory lacks is one round trip."""
        return self._call(self._cache.get_many, keys)

    def get_or_set(
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
            >>> cache.get_or_set("answer", lambda: 6 * 7, ttl="1h")
            42
        """
        tags = several(tags)
        return self._find(
            compute,
            lambda made: self._cache.get_or_set(
                key, made, ttl=ttl, tags=tags, lock=lock, bypass=bypass, refresh=refresh, **freshness
            ),
        )

    def set(
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
        return self._call(self._cache.set, key, value, ttl, tags=tags)

    def set_many(
        self, mapping: Mapping[str, Any], ttl: Duration | Missing | None = MISSING, *, tags: Iterable[str] = ()
    ) -> dict[str, Durability]:
        """Store several values in one round trip; returns where each is safe. If one cannot be stored, none is."""
        return self._call(self._cache.set_many, mapping, ttl, tags=tags)

    def add(self, key: str, value: Any, ttl: Duration | Missing | None = MISSING, *, tags: Iterable[str] = ()) -> bool:
        """Store a value only if none is there; whether it was stored."""
        return self._call(self._cache.add, key, value, ttl, tags=tags)

    def delete(self, key: str) -> bool:
        """Remove a key everywhere; whether a value was there.

        Raises:
            CacheWriteError: a configured layer may still hold the value and nothing durable says otherwise.
        """
        return self._call(self._cache.delete, key)

    def expire(self, key: str) -> bool:
        """Say that a value is past its time: a miss to all, which may stand in until the end it had; whether one was there.

        Raises:
            CacheWriteError: with ``strict=True``, when memory alone took it although more is configured.

        Examples:
            >>> _ = cache.set("rates", {"EUR": 1.08}, ttl="1h")
            >>> cache.expire("rates"), cache.get("rates")
            (True, None)
        """
        return self._call(self._cache.expire, key)

    def touch(self, key: str, ttl: Duration | Missing | None = MISSING) -> bool:
        """Have a value last so long from now, in every layer; whether one was there. Its value and its age stay.

        One that was replaced, deleted or invalidated meanwhile stays so.

        Args:
            key: any text.
            ttl: as of ``set``.

        Raises:
            CacheWriteError: with ``strict=True``, when memory alone took it although more is configured.
            ValueError: the ttl is no span of time.

        Examples:
            >>> _ = cache.set("greeting", "hello", ttl="1m")
            >>> cache.touch("greeting", "1h"), round(cache.ttl("greeting"))
            (True, 3600)
        """
        return self._call(self._cache.touch, key, ttl)

    def delete_many(self, keys: Iterable[str]) -> dict[str, bool]:
        """Remove several keys in one round trip; for each, whether a value was there."""
        return self._call(self._cache.delete_many, keys)

    def once(self, key: str, run: Work, *, fingerprint: Any = None, **options: Unpack[OnceOptions]) -> Any:
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
            >>> cache.once("greeting:ada", lambda: "sent", fingerprint={"to": "ada@example.org"})
            'sent'
        """
        return self._run(
            run,
            lambda made: self._cache.once(key, made, fingerprint=fingerprint, **options),
            limited=options.get("timeout") is not None,
        )

    def stats(self) -> Stats:
        """Hits, misses, sizes, latencies and savings since the cache was made. Local, no I/O."""
        return self._cache.stats()

    def health(self, *, probe: bool = True) -> Health:
        """Whether each layer works: one bounded real read per remote layer, unless its breaker is open.

        Args:
            probe: False asks nobody and tells what is known.
        """
        return self._call(self._cache.health, probe=probe)

    def bypass(self) -> AbstractContextManager[None]:
        """Within the block nothing is looked up and no value is stored: all is computed. Deletes are done all the same.

        It holds for this context alone, and for the tasks that are begun in it. What is to run once still does.

        Examples:
            >>> with cache.bypass():
            ...     value = cache.get_or_set("answer", lambda: 6 * 7)
            >>> cache.exists("answer")
            False
        """
        return self._cache.bypass()

    def refreshing(self) -> AbstractContextManager[None]:
        """Within the block nothing is looked up: all is computed anew, and stored.

        A computation that was begun outside is not joined, and stores nothing any more; one that fails leaves what is there.
        It holds for this context alone, and for the tasks that are begun in it.
        """
        return self._cache.refreshing()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call ``listener(event)`` for each event from now on; call what is returned to end it."""
        return self._cache.subscribe(listener)
