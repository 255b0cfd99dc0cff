"""Which keys have changed lately: what memory above must let go of."""

from collections import deque
from typing import Final

from toolcache.protocols import Changed

_MOST: Final = 10_000


class Changes:
    """Keys with the versions they were given, since they were last taken; bounded, and honest when it overflows."""

    def __init__(self) -> None:
        self._keys: deque[tuple[str, bytes]] = deque()
        self._lost = False

    def __bool__(self) -> bool:
        return bool(self._keys) or self._lost

    def add(self, key: bytes, version: bytes) -> None:
        """A key was written, by whichever process."""
        if len(self._keys) < _MOST:
            self._keys.append((key.decode("utf-8", "surrogatepass"), version))
        else:
            self._lost = True

    def take(self) -> Changed:
        """What came since the last call."""
        lost, self._lost = self._lost, False
        return Changed([self._keys.popleft() for _ in range(len(self._keys))], lost)
