"""What a store is to be told by the threads at work: events to announce, and keys that memory above must let go of."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from toolcache.events import Event
from toolcache.protocols import Changed

_MOST_EVENTS: Final = 100
_MOST_KEYS: Final = 10_000


class Post:
    """Taken out on a caller's loop; bounded, and honest when it overflows."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=_MOST_EVENTS)
        self._keys: deque[tuple[str, bytes]] = deque()
        self._lost = False

    @property
    def changed(self) -> bool:
        """Whether ``take`` has anything to give."""
        return bool(self._keys) or self._lost

    def add(self, changed: Sequence[tuple[str, bytes]]) -> None:
        """Keys were written, by whichever process, with these versions."""
        room = max(0, _MOST_KEYS - len(self._keys))
        self._keys.extend(changed[:room])
        if room < len(changed):
            self._lost = True

    def take(self) -> Changed:
        """The keys written since the last call, with their versions."""
        lost, self._lost = self._lost, False
        return Changed([self._keys.popleft() for _ in range(len(self._keys))], lost)
