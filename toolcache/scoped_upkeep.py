"""What one agent has, listed and removed by patterns of its own keys."""

from collections.abc import Callable, Collection, Mapping
from inspect import iscoroutinefunction
from typing import Any

from toolcache.catalogue import KeyInfo, Scan
from toolcache.entry import Invalidation
from toolcache.keys.globs import Glob
from toolcache.keys.text import KeyText, key_text
from toolcache.upkeep import Upkeep


class ScopedUpkeep(Upkeep):
    """Looks after what one cache holds, where patterns and predicates mean the keys of one agent.

    Args:
        upkeep: the cache's.
        beginning: what the agent's keys begin with.
    """

    def __init__(self, upkeep: Upkeep, beginning: str) -> None:
        vars(self).update(vars(upkeep))
        self._beginning = beginning

    def scan(self, pattern: str) -> Scan[KeyInfo]:
        """Of the agent's entries whose keys match a pattern."""
        return super().scan(self._ours(pattern)).shown(self._as_ours)

    async def invalidate(self, options: Mapping[str, Any], domains: Collection[str]) -> Invalidation:
        """Forget what the options mean; see ``Targets``."""
        ours = dict(options)
        if not ours.keys().isdisjoint({"pattern", "where"}):
            ours["pattern"] = self._ours(ours.get("pattern", "*"))
        if callable(where := ours.get("where")) and not iscoroutinefunction(where):
            ours["where"] = self._asked(where)
        return await super().invalidate(ours, domains)

    def _ours(self, pattern: str) -> str:
        Glob(pattern)  # the caller's faults are told as the caller's
        return self._beginning + pattern  # in which nothing stands for anything else

    def _asked(self, where: Callable[[KeyInfo], bool]) -> Callable[[KeyInfo], bool]:
        return lambda info: where(self._as_ours(info))

    def _as_ours(self, info: KeyInfo) -> KeyInfo:
        """As the agent knows it: by its own key, unless that was cut."""
        if type(info.key) is not KeyText:
            return info._replace(key=info.key.removeprefix(self._beginning))
        if "~" in info.key:
            return info
        return info._replace(key=KeyText(info.key.removeprefix(key_text(self._beginning))))
