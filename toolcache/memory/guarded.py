"""A policy that somebody else wrote, as long as it keeps its promises; from then on the default in its place."""

from collections.abc import Callable
from typing import Any

from toolcache.entry import Held
from toolcache.events import StrategyFailed
from toolcache.memory.adaptive import Adaptive
from toolcache.protocols import MemoryPolicy


class Guarded:
    """Passes on what the store says, and believes no answer: whatever the policy does, the store goes on within its bounds.

    Where the policy raises, or names a key that is not held, what it knows is worth nothing any more: the default takes in all that
    is held, once, and the policy is not asked again. For that, and to tell what is held, each entry stands in a table of its own.

    Args:
        policy: what was made by somebody else's class.
        told: called with the event if that happens, under the store's lock.
    """

    def __init__(self, policy: MemoryPolicy, told: Callable[[StrategyFailed], None]) -> None:
        self.name = type(policy).__name__
        self.touch = None if policy.touch is None else self._touch
        self._policy = policy
        self._told = told
        self._held: dict[str, Held] = {}

    def admit(self, key: str, entry: Held, /) -> None:
        """Take in a new key."""
        self._tell("admit", key, entry)
        self._held[key] = entry

    def replace(self, key: str, entry: Held, old: Held, /) -> None:
        """The key's entry is another one."""
        self._tell("replace", key, entry, old)
        self._held[key] = entry

    def evict(self) -> str:
        """Name, and forget, the key that leaves next: one that is held, whatever the policy says."""
        key = self._named()
        if key is None:
            key = self._policy.evict()  # the default's choice
        del self._held[key]
        return key

    def forget(self, key: str, entry: Held, /) -> None:
        """The key has left."""
        self._tell("forget", key, entry)
        del self._held[key]

    def clear(self) -> None:
        """All keys have left."""
        self._held = {}
        self._tell("clear")

    def _touch(self, key: str, entry: Held) -> None:
        if self._policy.touch is not None:
            self._tell("touch", key, entry)

    def _named(self) -> str | None:
        """What the policy names, if it may."""
        try:
            key = self._policy.evict()
        except Exception as error:  # noqa: BLE001 - it is somebody else's
            self._give_up("evict", type(error).__name__)
            return None
        if isinstance(key, str) and key in self._held:
            return key
        self._give_up("evict", "named a key that is not held")
        return None

    def _tell(self, said: str, *about: Any) -> None:
        try:
            getattr(self._policy, said)(*about)
        except Exception as error:  # noqa: BLE001 - it is somebody else's
            self._give_up(said, type(error).__name__)
            if said != "touch":
                getattr(self._policy, said)(*about)

    def _give_up(self, said: str, reason: str) -> None:
        """Have the default take over, as if it had been told of all that is held."""
        failed, self.name = self.name, "adaptive"
        self._policy = Adaptive()
        for key, entry in self._held.items():
            self._policy.admit(key, entry)
        self._told(StrategyFailed(failed, said, reason))


def lacks(policy: object) -> list[str]:
    """What a class, or what it made, lacks to be a ``MemoryPolicy``, by name."""
    methods = ("admit", "replace", "evict", "forget", "clear")
    missing = [name for name in methods if not callable(getattr(policy, name, None))]
    return missing if hasattr(policy, "touch") else [*missing, "touch (a method, or None)"]
