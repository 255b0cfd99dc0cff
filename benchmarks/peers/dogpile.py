"""dogpile.cache: memory, Redis or a dbm file. It has no asynchronous calls."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import FRESH, Subject


class Dogpile(Subject):
    """What its regions have in common; called from the event loop, which stands still meanwhile."""

    name = "dogpile.cache"
    needs: tuple[str, ...] = ("dogpile.cache",)

    def _configure(self, backend: str, **arguments: Any) -> None:
        from dogpile.cache import make_region

        made = make_region()
        self._region = made.configure(f"dogpile.cache.{backend}", expiration_time=FRESH, arguments=arguments)


class DogpileMemory(Dogpile):
    plain = True
    note = "returns the cached object itself; no bound on its size; no asynchronous calls"

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        self._configure("memory")
        self.get, self.set, self.get_many = self._region.get, self._region.set, self._region.get_multi


class Blocking(Dogpile):
    """Behind asynchronous functions, which wait for nothing."""

    async def _open(self) -> None:
        self.get, self.set, self.get_many, self.set_many = self._get, self._set, self._get_many, self._set_many

    async def _get(self, key: str) -> Any:
        return self._region.get(key)

    async def _set(self, key: str, value: Any) -> None:
        self._region.set(key, value)

    async def _get_many(self, keys: Iterable[str]) -> list[Any]:
        return list(self._region.get_multi(keys))

    async def _set_many(self, mapping: Mapping[str, Any]) -> None:
        self._region.set_multi(mapping)


class DogpileRedis(Blocking):
    needs = ("dogpile.cache", "redis")
    note = "pickle; blocks the event loop"

    async def open(self, place: Place) -> None:
        self.database = place.database()
        self._configure("redis", url=self.database)
        await self._open()


class DogpileFile(Blocking):
    name = "dogpile.cache, dbm"
    note = "blocks the event loop"

    async def open(self, place: Place) -> None:
        self.folder = place.folder()
        self._configure("dbm", filename=str(self.folder / "cache.dbm"))
        await self._open()
