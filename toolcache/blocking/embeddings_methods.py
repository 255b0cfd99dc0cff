"""The methods of ``Embeddings``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable
from typing import Any, overload

from toolcache.blocking.face import Face
from toolcache.compute import Compute
from toolcache.domain_cache import TTL
from toolcache.embeddings import Embed, Vector
from toolcache.entry import MISSING, Durability
from toolcache.tool_cache import ToolCache


class BlockingEmbeddings(Face):
    """See ``Embeddings``."""

    _cache: ToolCache

    @overload
    def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: None = None
    ) -> list[float] | None: ...
    @overload
    def get_embedding(self, text: Any, model: str, *, variant: str | None = None, compute: Compute) -> list[float]: ...
    def get_embedding(
        self, text: Any, model: str, *, variant: str | None = None, compute: Compute | None = None
    ) -> Any:
        """The vector of a text: as it was stored, to the last bit; a NumPy array as a read-only array.

        Args:
            text: what is embedded.
            model: by which model.
            variant: what else changes the vector: dimensions, task or revision, such as ``"256d"``.
            compute: makes the vector.
        """
        if compute is None:
            return self._hit(self._cache.get_embedding, text, model, variant=variant)
        return self._find(compute, lambda made: self._cache.get_embedding(text, model, variant=variant, compute=made))

    def set_embedding(
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
        return self._call(self._cache.set_embedding, text, model, vector, variant=variant, ttl=ttl, tags=tags)

    def delete_embedding(self, text: Any, model: str, *, variant: str | None = None) -> bool:
        """Forget a vector; whether one was there."""
        return self._call(self._cache.delete_embedding, text, model, variant=variant)

    @overload
    def get_embeddings(
        self, texts: Iterable[Any], model: str, *, variant: str | None = None, compute: None = None
    ) -> list[list[float] | None]: ...
    @overload
    def get_embeddings(
        self,
        texts: Iterable[Any],
        model: str,
        *,
        variant: str | None = None,
        compute: Embed,
        batch_size: int | None = None,
    ) -> list[list[float]]: ...
    def get_embeddings(
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
        if compute is None:
            return self._call(self._cache.get_embeddings, texts, model, variant=variant)
        return self._with(
            compute,
            lambda made: self._cache.get_embeddings(texts, model, variant=variant, compute=made, batch_size=batch_size),
        )

    def set_embeddings(
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
        return self._call(self._cache.set_embeddings, texts, model, vectors, variant=variant, ttl=ttl, tags=tags)
