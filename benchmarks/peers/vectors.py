"""Caches of embeddings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from benchmarks.place import Place
from benchmarks.subject import Subject

_MODEL: Final = "text-embedding-3-small"

Vector = list[float]


class Redisvl(Subject):
    """The cache of embeddings that redisvl has: a hash per text."""

    name = "redisvl"
    needs = ("redisvl", "redis")
    note = "a hash per text, the vector as JSON"

    async def open(self, place: Place) -> None:
        from redis.asyncio import Redis
        from redisvl.extensions.cache.embeddings import EmbeddingsCache

        self.database = place.database()
        self._client = Redis.from_url(self.database)
        self._cache = EmbeddingsCache(name="benchmark", async_redis_client=self._client)
        self.get_many, self.set_many = self._get_many, self._set_many

    async def _get_many(self, keys: Sequence[str]) -> list[Vector]:
        return [found["embedding"] for found in await self._cache.amget(contents=keys, model_name=_MODEL)]

    async def _set_many(self, mapping: Mapping[str, Vector]) -> None:
        await self._cache.amset(
            [{"content": key, "model_name": _MODEL, "embedding": value} for key, value in mapping.items()]
        )

    async def close(self) -> None:
        await self._client.aclose()


class Langchain(Subject):
    """LangChain's CacheBackedEmbeddings: the vectors are what its model has said once, and knows no more."""

    name = "LangChain"
    needs: tuple[str, ...] = ("langchain-classic",)
    note = "CacheBackedEmbeddings, JSON"

    async def open(self, place: Place) -> None:
        from langchain_classic.embeddings import CacheBackedEmbeddings
        from langchain_core.embeddings import Embeddings

        class Model(Embeddings):  # type: ignore[misc]  # it may not be installed
            known: Mapping[str, Vector] = {}

            def embed_documents(self, texts: list[str]) -> list[Vector]:
                return [self.known[text] for text in texts]

            def embed_query(self, text: str) -> Vector:
                return self.known[text]

        self._model = Model()
        self._cache = CacheBackedEmbeddings.from_bytes_store(
            self._model, self._store(place), namespace=_MODEL, key_encoder="sha256"
        )
        self.get, self.set, self.get_many, self.set_many = self._get, self._set, self._get_many, self._set_many

    def _store(self, place: Place) -> Any:
        raise NotImplementedError

    async def _get(self, key: str) -> Any:
        return (await self._cache.aembed_documents([key]))[0]

    async def _set(self, key: str, value: Vector) -> None:
        await self._set_many({key: value})

    async def _get_many(self, keys: Iterable[str]) -> Any:
        return await self._cache.aembed_documents(list(keys))

    async def _set_many(self, mapping: Mapping[str, Vector]) -> None:
        self._model.known = mapping
        await self._cache.aembed_documents(list(mapping))
        self._model.known = {}


class LangchainMemory(Langchain):
    def _store(self, place: Place) -> Any:  # noqa: ARG002 - memory needs no place
        from langchain_core.stores import InMemoryByteStore

        return InMemoryByteStore()


class LangchainRedis(Langchain):
    needs = ("langchain-classic", "langchain-community", "redis")

    def _store(self, place: Place) -> Any:
        from langchain_community.storage import RedisStore

        self.database = place.database()
        return RedisStore(redis_url=self.database)


class LangchainFiles(Langchain):
    """A file per text."""

    name = "LangChain, files"

    def _store(self, place: Place) -> Any:
        from langchain_classic.storage import LocalFileStore

        self.folder = place.folder()
        return LocalFileStore(self.folder)
