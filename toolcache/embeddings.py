"""Vectors by the batch: what is missing is made in one go, and shared with whoever else asks for it."""

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from toolcache.domains import Domain
from toolcache.errors import SerializationError
from toolcache.machine import Machine


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

    keys = list(texts)
    if batch_size is None or 0 < len(keys) <= batch_size:
        return await machine.compute_many(keys, make, domain)
    if batch_size < 1:
        raise ValueError(f"batch_size is a whole number of at least 1, not {batch_size!r}")
    found = await machine.get_many(keys, domain, final=False)
    missing = [key for key in keys if key not in found]
    for start in range(0, len(missing), batch_size):
        found |= await machine.compute_many(missing[start : start + batch_size], make, domain)
    return found


def check_lengths(vectors: Sequence[Vector], domain: Domain) -> None:
    """Refuse a batch of various lengths, or of another than the domain's, and tell the first that is odd."""
    lengths = [len(vector) for vector in vectors]
    usual = domain.dimensions or (Counter(lengths).most_common(1)[0][0] if lengths else 0)
    for index, length in enumerate(lengths):
        if length != usual:
            raise SerializationError(
                f"vector {index} has {length} elements, not {usual} as expected", path=f"$[{index}]"
            )


def in_order(keys: Iterable[str], found: Mapping[str, Any]) -> list[Any]:
    """The vectors as they were asked for, None where there is none; a list of its own for each place."""
    given: set[str] = set()
    vectors = []
    for key in keys:
        vector = found.get(key)
        vectors.append(vector.copy() if key in given and type(vector) is list else vector)
        given.add(key)
    return vectors
