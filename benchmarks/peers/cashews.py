"""cashews: memory, Redis and files, one at a time."""

from collections.abc import Iterable
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import ENTRIES, FRESH, Subject


class Cashews(Subject):
    """cashews, over whatever its URL says."""

    name = "cashews"
    needs: tuple[str, ...] = ("cashews",)

    async def open(self, place: Place) -> None:
        from cashews import Cache

        self._cache = Cache()
        self._cache.setup(self._url(place))
        await self._cache.init()
        self.get, self.set, self.set_many = self._cache.get, self._cache.set, self._cache.set_many
        self.get_many = self._get_many
        self.decorate = self._cache(ttl=FRESH)

    def _url(self, place: Place) -> str:
        raise NotImplementedError

    async def _get_many(self, keys: Iterable[str]) -> Any:
        return await self._cache.get_many(*keys)

    async def close(self) -> None:
        await self._cache.close()


class CashewsMemory(Cashews):
    note = "returns the cached object itself"

    def __init__(self, *, entries: int = ENTRIES) -> None:
        self._entries = entries

    async def open(self, place: Place) -> None:
        await super().open(place)
        self.set_for = self._set_for

    def _url(self, place: Place) -> str:  # noqa: ARG002 - memory needs no place
        return f"mem://?size={self._entries}"

    async def _set_for(self, key: str, value: Any, seconds: float) -> None:
        await self._cache.set(key, value, expire=seconds)


class CashewsRedis(Cashews):
    needs = ("cashews", "redis")
    note = "pickle"

    def _url(self, place: Place) -> str:
        self.database = place.database()
        return self.database


class CashewsDisk(Cashews):
    needs = ("cashews", "diskcache")

    def _url(self, place: Place) -> str:
        self.folder = place.folder()
        return f"disk://?directory={self.folder}"
