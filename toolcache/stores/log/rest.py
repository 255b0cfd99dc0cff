"""Leaving alone a directory that refused."""

import errno
from collections.abc import Callable
from typing import Final

from toolcache.events import Event, FilesUnavailable
from toolcache.protocols import Clock, StoreRestingError

_REST: Final = 30.0
_SHORTAGE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


class Rest:
    """After a refusal by the file system: leave it alone for 30 s, and say so once.

    Args:
        clock: for the 30 s.
        tell: takes the event.
    """

    def __init__(self, clock: Clock, tell: Callable[[Event], None], root: str) -> None:
        self._clock = clock
        self._tell = tell
        self._root = root
        self._until = 0.0
        self._fault: tuple[int | None, str] = (None, "")

    def check(self) -> None:
        """Raise what was met last, while it rests."""
        if self._until and self._clock.monotonic() < self._until:
            raise StoreRestingError(*self._fault, self._root)

    @property
    def begun(self) -> bool:
        """Whether anything was ever refused."""
        return bool(self._until)

    def begin(self, fault: OSError) -> None:
        """Rest from now on."""
        if fault.errno in _SHORTAGE:
            return
        self._until = self._clock.monotonic() + _REST
        self._fault = (fault.errno or errno.EIO, fault.strerror or type(fault).__name__)
        self._tell(FilesUnavailable(self._root, self._fault[1]))
