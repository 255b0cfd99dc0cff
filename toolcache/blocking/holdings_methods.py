"""The methods of ``Holdings``, for callers that wait.

Written by tests/blocking_face.py.
"""

from collections.abc import Iterator
from typing import Unpack

from toolcache.blocking.face import Face
from toolcache.catalogue import KeyInfo
from toolcache.cleanup import Cleaned
from toolcache.entry import Invalidation
from toolcache.targets import Targets
from toolcache.tool_cache import ToolCache


class BlockingHoldings(Face):
    """See ``Holdings``."""

    _cache: ToolCache

    def clear(self) -> Invalidation:
        """Forget this namespace, and nothing else, in every layer; takes as long for a million entries as for one.

        Raises:
            CacheWriteError: a configured layer may still serve old entries and nothing durable says otherwise.
        """
        return self._call(self._cache.clear)

    def invalidate(self, **what: Unpack[Targets]) -> Invalidation:
        """Forget many entries, in every layer and process, by what they have in common; one kind in each call.

        What carries a tag, or belongs to a domain, an agent, a version of a catalog or a tool, is forgotten in the time it
        takes for one entry, however many there are; what is being computed under it is not stored either. A tag covers
        those beneath it: ``products`` covers ``products:phones``, but not ``productsOld``. A pattern or a predicate has every
        layer listed, and what it finds deleted; what is written meanwhile stays.

        Args:
            what: one of ``tags``, ``domain``, ``agent``, ``catalog_version``, ``tool``, ``pattern`` and ``where``, or the
                last two together; see ``Targets``.

        Raises:
            CacheWriteError: a configured layer may still serve old entries and nothing durable says otherwise.
            TypeError: nothing of that kind can be named, or more than one was.
            ValueError: there is no such domain, tag or pattern.

        Examples:
            >>> _ = cache.set("page:7", "<h1>", tags=["products:phones"])
            >>> (cache.invalidate(tags=["products"])).memory
            'done'
            >>> _ = cache.set("weather_oslo", "rain")
            >>> (cache.invalidate(pattern="weather_*")).removed
            1
        """
        return self._call(self._cache.invalidate, **what)

    def scan(self, pattern: str = "*") -> Iterator[KeyInfo]:
        """The live entries of this namespace, without their values, whichever layer has them; each key once.

        It goes through memory, Redis (with SCAN, on all nodes of a cluster) and files piece by piece, and holds up nobody. What
        is there throughout is told; what comes or goes meanwhile, perhaps. While a layer cannot be asked, what the others have; of an asynchronous
        scan ``complete`` is false then.

        Args:
            pattern: of the keys: ``*`` stands for any letters, ``?`` for one, ``[ab]`` for one of these; see ``escape``.

        Raises:
            ValueError: that is no pattern.

        Examples:
            >>> _ = cache.set_many({"user:1": "Ada", "user:2": "Max", "page:1": "<h1>"})
            >>> sorted([info.key async for info in cache.scan("user:*")])
            ['user:1', 'user:2']
        """
        return self._each(lambda: self._cache.scan(pattern))

    def cleanup(self) -> Cleaned:
        """Give back at once what would be given back by and by, in memory and files, and say how much that was.

        That is the room of what has ended or was invalidated, and records of invalidations beneath which nothing lies any
        more. Redis lets go of what has ended by itself. Nothing that could still be served is lost; there is no need to
        call it, but before a directory is copied or measured.

        Examples:
            >>> _ = cache.set("key", 1, tags=["news"])
            >>> _ = cache.invalidate(tags=["news"])
            >>> (cache.cleanup()).memory
            1
        """
        return self._call(self._cache.cleanup)
