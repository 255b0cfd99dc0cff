"""Epochs: what was written at or before one is gone, however much it is.

An epoch is one version per name. Clearing a namespace writes one record, in every layer, in time that does not depend
on the number of entries; each reader compares. ``@n`` is the name of the namespace itself.
"""

import threading
from collections.abc import Iterable
from typing import Final

from toolcache.forks import watch
from toolcache.versions import ZERO

NAMESPACE: Final = "@n"


class Epochs:
    """The epochs that this process knows, by name."""

    def __init__(self) -> None:
        self._versions: dict[str, bytes] = {}
        self._lock = threading.Lock()
        watch(self)

    def forked(self) -> None:
        """Another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def of(self, name: str) -> bytes:
        """The epoch of a name; ZERO where none is known."""
        return self._versions.get(name, ZERO)

    def advance(self, name: str, version: bytes) -> bool:
        """Take note of an epoch; False if a later one is known already."""
        with self._lock:
            if version <= self._versions.get(name, ZERO):
                return False
            self._versions[name] = version
            return True

    def covers(self, version: bytes, names: Iterable[str] = (NAMESPACE,)) -> bool:
        """Whether an entry of this version lies at or before an epoch of one of the names."""
        return any(version <= self._versions.get(name, ZERO) for name in names)
