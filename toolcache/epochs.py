"""Epochs: what was written at or before one is gone, however much it is.

An epoch is one version per scope: the namespace, whose scope is ``@n``, or a tag. Clearing a scope writes one record, in
every layer, in time that does not depend on the number of entries; each reader compares.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice
from typing import Final

from toolcache.forks import watch
from toolcache.tags import scopes
from toolcache.versions import ZERO

NAMESPACE: Final = "@n"
REMEMBERED: Final = 65_536
"""Epochs of tags that a process keeps in mind, and once more as many older ones."""

_LATEST: Final = 1_024
"""Epochs whose order of coming is remembered."""


class Epochs:
    """The epochs that this process knows, by their store keys.

    Args:
        name: the store key of a scope's epoch.

    Attributes:
        name: as given.
        namespace: the store key of the namespace's own epoch, under which every entry is.
        raises: how often this process has taken note of one.
    """

    def __init__(self, name: Callable[[str], str]) -> None:
        self.name = name
        self._versions: dict[str, bytes] = {}
        self._older: dict[str, bytes] = {}
        self._latest: deque[str] = deque(maxlen=_LATEST)
        self._known: set[str] = set()
        self._asked: dict[str, object] = {}
        self._told = False
        self.raises = 0
        self._lock = threading.Lock()
        self.namespace: Final = name(NAMESPACE)
        self.names = lru_cache(4_096)(self._names)
        """``names(tags)``: the store keys of the epochs that an entry with these tags is under, but the namespace's."""
        watch(self)

    def forked(self) -> None:
        """Another thread of the parent may have held the lock, and nobody tells this process of changes yet."""
        self._lock = threading.Lock()
        self.trust(told=False)

    def _names(self, tags: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(self.name(scope) for scope in scopes(tags))

    def of(self, name: str) -> bytes:
        """The epoch of that name; ZERO where none is known."""
        return self._versions.get(name) or self._older.get(name, ZERO)

    def newest(self, tags: tuple[str, ...] = ()) -> bytes:
        """The highest epoch that is known of all that an entry with these tags is under."""
        floor = self._versions.get(self.namespace, ZERO)
        if not tags or not (self._versions or self._older):
            return floor
        return max((floor, *map(self.of, self.names(tags))))

    def covers(self, version: bytes, tags: tuple[str, ...] = ()) -> bool:
        """Whether an entry of this version and with these tags lies at or before an epoch."""
        return version <= self.newest(tags)

    def advance(self, name: str, version: bytes) -> bool:
        """Take note of an epoch; False if a later one is known already."""
        with self._lock:
            if version <= self.of(name):
                return False
            self._versions[name] = version
            self._latest.append(name)
            self.raises += 1
            return True

    def raised_since(self, raises: int, tags: tuple[str, ...]) -> bool:
        """Whether an epoch of an entry with these tags may have come since there had been so many ``raises``."""
        since = self.raises - raises
        if since > len(self._latest):
            return True
        above = {self.namespace, *self.names(tags)}
        return not above.isdisjoint(islice(reversed(self._latest), since))

    @property
    def many(self) -> bool:
        """Whether it is time to ``forget``."""
        return len(self._versions) > REMEMBERED

    def forget(self) -> None:
        """Let go of the epochs that were old the last time; a layer that knows them is asked anew."""
        with self._lock:
            self._known.difference_update(self._older)
            self._older, self._versions = self._versions, {}
            if namespace := self._older.pop(self.namespace, None):
                self._versions[self.namespace] = namespace

    # -- whether a shared store has to be asked ------------------------------------------------------------------------

    def trust(self, *, told: bool) -> None:
        """Whether each change is told from now on; what was known so far may have changed unheard."""
        with self._lock:
            self._told = told
            self._known.clear()
            self._asked.clear()

    def unknown(self, names: Iterable[str]) -> list[str]:
        """Those that have to be asked for, since they may have been raised unheard."""
        known = self._known
        return [name for name in names if name not in known]

    def ask(self, names: Iterable[str]) -> object:
        """A shared store is about to be asked for these: a token for ``learn``."""
        token = object()
        with self._lock:
            if self._told:
                self._asked.update(dict.fromkeys(names, token))
        return token

    def learn(self, names: Iterable[str], token: object) -> None:
        """It has answered, and each answer is taken note of: they are known, unless they were raised in between."""
        with self._lock:
            if len(self._known) > REMEMBERED:
                self._known.clear()
            for name in names:
                if self._asked.get(name) is token:
                    del self._asked[name]
                    self._known.add(name)

    def raised(self, name: str) -> bool:
        """A shared store says that this one was raised: whether that matters here."""
        with self._lock:
            matters = name in self._known or name in self._asked or self.of(name) != ZERO
            self._known.discard(name)
            self._asked.pop(name, None)
            return matters

    def admits(self, tags: tuple[str, ...]) -> bool:
        """Whether an entry that was just read may be kept: where changes are told, all its epochs have to be known."""
        return not self._told or not self.unknown((self.namespace, *self.names(tags)))
