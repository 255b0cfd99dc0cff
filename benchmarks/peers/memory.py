"""Caches in memory alone."""

from datetime import timedelta
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import ENTRIES, FRESH, Subject, Verb


class Theine(Subject):
    name = "theine"
    needs = ("theine",)
    plain = True
    note = "returns the cached object itself; no asynchronous calls, but its decorator"

    def __init__(self, *, entries: int = ENTRIES) -> None:
        self._entries = entries

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        import theine

        self._cache = theine.Cache(self._entries)
        self.get, self.set = self._cache.get, self._set
        self.set_for = self._set_for
        self.decorate = theine.Memoize(self._entries, timedelta(seconds=FRESH))

    def _set(self, key: str, value: Any) -> None:
        self._cache.set(key, value, ttl=timedelta(seconds=FRESH))

    def value(self, given: Any) -> Any:
        value, _found = given
        return value

    async def _set_for(self, key: str, value: Any, seconds: float) -> None:
        self._cache.set(key, value, ttl=timedelta(seconds=seconds))

    async def close(self) -> None:
        self._cache.close()


class Cachebox(Subject):
    name = "cachebox"
    needs = ("cachebox",)
    plain = True
    note = "Rust; returns the cached object itself; no asynchronous calls, but its decorator"

    def __init__(self, *, entries: int = ENTRIES) -> None:
        self._entries = entries

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        import cachebox

        self._cache = cachebox.TTLCache(self._entries, FRESH)
        self.get, self.set = self._cache.get, self._cache.insert
        self.decorate = cachebox.cached(cachebox.TTLCache(self._entries, FRESH))


class Cachetools(Subject):
    name = "cachetools"
    needs = ("cachetools",)
    plain = True
    note = "returns the cached object itself; no asynchronous calls"

    def __init__(self, *, entries: int = ENTRIES) -> None:
        self._entries = entries

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        import cachetools

        self._cache = cachetools.TTLCache(self._entries, FRESH)
        self.get, self.set = self._cache.get, self._cache.__setitem__


class AsyncLru(Subject):
    name = "async-lru"
    needs = ("async-lru",)
    note = "returns the cached object itself"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        from async_lru import alru_cache

        def decorate(function: Verb) -> Verb:
            decorated: Verb = alru_cache(maxsize=ENTRIES, ttl=FRESH)(function)
            return decorated

        self.decorate = decorate
