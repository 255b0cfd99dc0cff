"""Vectors by the batch: what is missing is made in one go, and shared with whoever else asks for it."""

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, overload

from toolcache.compute import Compute
from toolcache.domain_cache import TTL, DomainCache
from toolcache.domains import EMBEDDING, Domain
from toolcache.entry import MISSING, Durability
from toolcache.errors import CacheWriteError, SerializationError
from toolcache.machine import Machine
from toolcache.pieces import PIECE, Pieces, abreast


class Vector(Protocol):
    """A list of floats, or a one-dimensional NumPy array of them."""

    def __len__(self) -> int:
        """How many elements."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The elements."""
        ...


Vectors: TypeAlias = Iterable[Vector]
Embed: TypeAlias = Callable[[list[Any]], Vectors | Awaitable[Vectors]]
"""Vectors of the texts it is given, in their order; sync or async."""


def several(texts: Iterable[Any]) -> list[Any]:
    """The texts of a batch; one alone is a slip that would be taken letter by letter."""
    if isinstance(texts, str | bytes):
        raise TypeError("texts is one text: pass a list of texts, or use the method for a single one")
    return list(texts)


async def keys_of(texts: Sequence[Any], make: Callable[[Sequence[Any]], list[str]]) -> list[str]:
    """The key of each text, some at a time: texts may be long."""
    keys: list[str] = []
    async for some in Pieces(texts):
        keys += make(some)
    return keys


async def look_up(machine: Machine, domain: Domain, keys: Iterable[str], *, final: bool = True) -> dict[str, Any]:
    """The vectors that memory or the layers have, by key. ``final``: see ``Machine.find``."""
    found, absent = await machine.lookups.hits_of(list(dict.fromkeys(keys)), domain)

    async def look(some: Sequence[str]) -> None:
        found.update(await machine.lookups.fetch_many(some, domain, final=final))

    await abreast(look, absent)
    return found


async def embed(
    machine: Machine, domain: Domain, texts: Mapping[str, Any], compute: Embed, batch_size: int | None
) -> dict[str, Any]:
    """Vectors by key, those that are missing made by ``compute``; see ``ToolCache.get_embeddings``."""

    async def make(missing: list[str]) -> dict[str, Vector]:
        made = compute([texts[key] for key in missing])
        vectors = list(await made if inspect.isawaitable(made) else made)
        if len(vectors) != len(missing):
            raise SerializationError(f"compute returned {len(vectors)} vectors for {len(missing)} texts")
        check_lengths(vectors, domain)
        return dict(zip(missing, vectors, strict=True))

    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1, not {batch_size!r}")
    if len(texts) <= min(PIECE, batch_size or PIECE):
        return await machine.compute_many(list(texts), make, domain)
    found = await look_up(machine, domain, texts, final=False)
    missing = [key for key in texts if key not in found]
    for start in range(0, len(missing), batch_size or len(missing) or 1):
        found |= await machine.compute_many(missing[start : start + (batch_size or len(missing))], make, domain)
    return found


async def store(
    machine: Machine, domain: Domain, keys: Sequence[str], vectors: Sequence[Vector], **how: Any
) -> dict[str, Durability]:
    """Store vectors; where each is safe. All are packed before the first is stored, so that none is if one is refused."""
    packed: dict[str, Any] = {}
    coder, envelope = machine.parts.coder, machine.parts.envelope
    async for some in Pieces(range(len(keys)), PIECE // 2):
        for at in some:
            packed[keys[at]] = encoded = coder.encode(vectors[at], vector=True)
            envelope.check(encoded, ())
    kept: dict[str, Durability] = {}
    refused: list[CacheWriteError] = []

    async def write(some: Sequence[str]) -> None:
        try:
            kept.update(await machine.set_many({key: packed.pop(key) for key in some}, domain, **how))
        except CacheWriteError as error:  # of a piece; the others are as good as they can be
            refused.append(error)

    await abreast(write, list(packed))
    if refused:
        raise refused[0]
    return kept


def check_lengths(vectors: Sequence[Vector], domain: Domain) -> None:
    """Refuse a batch of various lengths, or of another than the domain's, and tell the first that is odd."""
    lengths = list(map(len, vectors))
    usual = domain.dimensions or next(iter(lengths), 0)
    if lengths.count(usual) == len(lengths):
        return
    usual = domain.dimensions or Counter(lengths).most_common(1)[0][0]
    for index, length in enumerate(lengths):
        if length != usual:
            raise SerializationError(
                f"vector {index} has {length} elements, not {usual} as expected", path=f"$[{index}]"
            )


async def in_order(keys: Sequence[str], found: Mapping[str, Any]) -> list[Any]:
    """The vectors as they were asked for, None where there is none; a list of its own for each place."""
    vectors: list[Any] = list(map(found.get, keys))
    if len(found) < len(keys):
        given: set[str] = set()
        async for some in Pieces(range(len(keys))):
            for at in some:
                if keys[at] in given and type(vectors[at]) is list:
                    vectors[at] = vectors[at].copy()
                given.add(keys[at])
    return vectors


class Embeddings(DomainCache):
    """The domain embedding."""

    @overload
    async def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: None = None
    ) -> list[float] | None: ...
    @overload
    async def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: Compute
    ) -> list[float]: ...
    async def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: Compute | None = None
    ) -> Any:
        """The vector of a text: as it was stored, to the last bit; a NumPy array as a read-only array.

        Args:
            text: what is embedded.
            model: by which model.
            variant: what else changes the vector: dimensions, task or revision, such as ``"256d"``.
            compute: makes the vector.
        """
        return await self._answer(self._keys.embedding(text, model, variant), EMBEDDING, compute, model=model)

    async def set_embedding(
        self,
        text: Any,
        model: str,
        vector: Vector,
        *,
        variant: str | None = None,
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> Durability:
        """Store a vector; returns where it is safe.

        Raises:
            SerializationError: it is empty, of another length than the domain's, or an element is no finite float.
        """
        check_lengths((vector,), self._rows[EMBEDDING.name])
        key = self._keys.embedding(text, model, variant)
        return await self._store(key, vector, EMBEDDING, ttl, tags, model=model)

    async def delete_embedding(self, text: Any, model: str, *, variant: str | None = None) -> bool:
        """Forget a vector; whether one was there."""
        return await self._forget(self._keys.embedding(text, model, variant), EMBEDDING)

    @overload
    async def get_embeddings(
        self, texts: Iterable[Any], model: str, *, variant: str | None = None, compute: None = None
    ) -> list[list[float] | None]: ...
    @overload
    async def get_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        *,
        variant: str | None = None,
        compute: Embed,
        batch_size: int | None = None,
    ) -> list[list[float]]: ...
    async def get_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        *,
        variant: str | None = None,
        compute: Embed | None = None,
        batch_size: int | None = None,
    ) -> Any:
        """The vectors of several texts, in the order asked; None for a miss without ``compute``.

        Args:
            texts: what is embedded; a text may come more than once.
            model: by which model.
            variant: what else changes the vectors.
            compute: makes the vectors of the texts it is given, which are those that are missing, each once. What
                another call is computing just then is waited for.
            batch_size: how many texts ``compute`` is given at most at a time; all that are missing unless given. What
                one batch has made is kept when a later one fails.

        Raises:
            SerializationError: ``compute`` returned another number of vectors than of texts, or of various lengths.
        """
        asked = several(texts)
        keys = await keys_of(asked, lambda some: self._keys.embeddings(some, model, variant))
        row = self._apart(EMBEDDING, model=model)
        if compute is None:
            found = await look_up(self._machine, row, keys)
        else:
            found = await embed(self._machine, row, dict(zip(keys, asked, strict=True)), compute, batch_size)
        return await in_order(keys, found)

    async def set_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        vectors: Iterable[Vector],
        *,
        variant: str | None = None,
        ttl: TTL = MISSING,
        tags: Iterable[str] = (),
    ) -> list[Durability]:
        """Store vectors in one round trip; returns where each is safe. If one is refused, none is stored.

        Raises:
            SerializationError: one is empty, of another length than the others or the domain's, or an element is no
                finite float.
            ValueError: there are not as many vectors as texts.
        """
        asked, given = several(texts), list(vectors)
        if len(asked) != len(given):
            raise ValueError(f"{len(asked)} texts and {len(given)} vectors: give one vector for each text")
        check_lengths(given, self._rows[EMBEDDING.name])
        keys = await keys_of(asked, lambda some: self._keys.embeddings(some, model, variant))
        kept = await store(self._machine, self._apart(EMBEDDING, model=model), keys, given, ttl=ttl, tags=tags)
        return [kept[key] for key in keys]
