"""Domains that an application declares, which the command line meets by what was counted of them, or by their entries."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from toolcache.tool_cache import ToolCache

_DAYS: Final = "30d"


async def declare(cache: "ToolCache", name: str | None) -> None:
    """Have the cache know a domain, if there is an entry of it, or a count; what it says to others it says itself.

    Raises:
        Problem: there is none as far as one can see, and a layer could not be asked.
    """
    if name is None or name in cache.domains:
        return
    from toolcache.cli import reach

    known = set((await cache.metrics(_DAYS)).by("domain"))
    if name not in known:
        async for info in cache.scan(f"{name}:*"):
            if info.domain == name:
                known.add(name)
                break
    if name in known:
        _take(cache, name)
    else:
        await reach.check(cache)


def expect(cache: "ToolCache", names: Collection[str]) -> None:
    """Have the cache know domains that may not have counted anything yet; but not what is nearly the name of another."""
    from toolcache.spelling import nearest

    for name in names:
        if name not in cache.domains and not nearest(name, cache.domains):
            _take(cache, name)


def _take(cache: "ToolCache", name: str) -> None:
    from toolcache.domains import Domain

    _ = cache[Domain(name, ttl=None, key=("key",))]
