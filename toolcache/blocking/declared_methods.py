"""The methods of ``Declared``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterable
from typing import Any, Generic, TypeVar, overload

from toolcache.blocking.face import Face
from toolcache.blocking.portal import Portal
from toolcache.compute import Compute
from toolcache.declared import Declared
from toolcache.durations import Duration
from toolcache.entry import MISSING, Durability, Missing

T = TypeVar("T")


class BlockingDeclared(Face, Generic[T]):
    """See ``Declared``."""

    _cache: Declared[T]

    def __init__(self, room: Declared[T], portal: Portal) -> None:
        super().__init__(portal)
        self._cache = room

    def key(self, /, **fields: Any) -> str:
        """The key that these fields make, for the cache's own methods.

        Raises:
            TypeError: a field is missing, or is none of the domain's.
            UnsupportedKeyError: one has no canonical form.
        """
        return self._cache.key(**fields)

    @overload
    def get(self, *, compute: None = None, **fields: Any) -> T | None: ...
    @overload
    def get(self, *, compute: Compute, **fields: Any) -> T: ...
    def get(self, *, compute: Compute | None = None, **fields: Any) -> T | None:
        """The value of these fields; computed and stored if it is missing and ``compute`` is given, else None."""
        if compute is None:
            return self._hit(self._cache.get, **fields)
        return self._find(compute, lambda made: self._cache.get(compute=made, **fields))

    def set(
        self, value: T, *, ttl: Duration | Missing | None = MISSING, tags: Iterable[str] = (), **fields: Any
    ) -> Durability:
        """Store the value of these fields; returns where it is safe."""
        return self._call(self._cache.set, value, ttl=ttl, tags=tags, **fields)

    def delete(self, **fields: Any) -> bool:
        """Forget the value of these fields; whether there was one."""
        return self._call(self._cache.delete, **fields)
