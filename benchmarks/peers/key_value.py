"""py-key-value: one interface for many stores. It takes dicts of what JSON can say, and nothing else."""

from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import ENTRIES, Subject


class KeyValue(Subject):
    """What its stores have in common."""

    name = "py-key-value"
    needs: tuple[str, ...] = ("py-key-value-aio",)
    text = True
    _store: Any

    def _bind(self, store: Any) -> None:
        self._store = store
        self.get, self.set, self.get_many, self.set_many = self._get, self._set, self._get_many, self._set_many

    async def _get(self, key: str) -> Any:
        found = await self._store.get(key)
        return None if found is None else found["v"]

    async def _set(self, key: str, value: Any) -> None:
        await self._store.put(key, {"v": value})

    async def _get_many(self, keys: Iterable[str]) -> list[Any]:
        return [None if found is None else found["v"] for found in await self._store.get_many(keys)]

    async def _set_many(self, mapping: Mapping[str, Any]) -> None:
        await self._store.put_many(list(mapping), [{"v": value} for value in mapping.values()])


class KeyValueMemory(KeyValue):
    note = "JSON: a copy at each hit"

    def __init__(self, *, entries: int = ENTRIES) -> None:
        self._entries = entries

    async def open(self, place: Place) -> None:  # noqa: ARG002 - memory needs no place
        from key_value.aio.stores.memory import MemoryStore

        self._bind(MemoryStore(max_entries_per_collection=self._entries))


class KeyValueRedis(KeyValue):
    needs = ("py-key-value-aio", "redis")
    note = "JSON"

    async def open(self, place: Place) -> None:
        from key_value.aio.stores.redis import RedisStore

        self.database = place.database()
        self._bind(RedisStore(host="127.0.0.1", port=place.port, db=int(self.database.rpartition("/")[2])))

    async def close(self) -> None:
        await self._store.close()


class KeyValueFiles(KeyValue):
    """A file per key, synced."""

    needs = ("py-key-value-aio", "aiofile")
    note = "a JSON file per key, synced each"

    async def open(self, place: Place) -> None:
        from key_value.aio.stores import filetree

        self.folder = place.folder()
        self._bind(
            filetree.FileTreeStore(
                data_directory=self.folder,
                key_sanitization_strategy=filetree.FileTreeV1KeySanitizationStrategy(self.folder),
                collection_sanitization_strategy=filetree.FileTreeV1CollectionSanitizationStrategy(self.folder),
            )
        )
