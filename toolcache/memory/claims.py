"""Claims within the process, where it shares nothing with others."""

import threading
from math import inf
from typing import Any, Final, NamedTuple

from toolcache.forks import watch
from toolcache.protocols import Clock
from toolcache.swaps import Standing, Swapped
from toolcache.wakes import Wakes

_SWEEP_EVERY: Final = 1024


class Row(NamedTuple):
    """What stands under a key: a record, of whatever form, that nobody changes."""

    record: Any
    serial: int
    ends_at: float
    leased_until: float

    @property
    def raw(self) -> bytes:
        """What tells it from all others that have stood there."""
        return self.serial.to_bytes(8, "big")


class MemoryClaims:
    """Records of the process, swapped under a lock; see ``SupportsClaim``. For any number of loops and threads.

    Args:
        clock: for leases and lifetimes.
    """

    name = "memory"
    hears = True

    def __init__(self, clock: Clock) -> None:
        self._now = clock.monotonic
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        self._serial = 0
        self._wakes = Wakes()
        watch(self)

    def __len__(self) -> int:
        return len(self._rows)

    def forked(self) -> None:
        """The parent's claims are not the child's."""
        self._lock, self._rows = threading.Lock(), {}

    async def swap(
        self,
        key: str,
        expected: bytes,
        new: bytes | None,
        /,
        *,
        ttl: float,
        lease: float | None = None,
        durable: bool = False,  # noqa: ARG002 - memory is what it is
        pending: bool = False,  # noqa: ARG002 - what it keeps is owed to nobody
    ) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands."""
        row = self.find(key)
        done = expected == (b"" if row is None else row.raw)
        if done:
            done, row = self.replace(key, row, new, ttl=ttl, lease=lease)
        return Swapped(done, Standing() if row is None else Standing(row.raw, row.record, self.left(row)))

    def find(self, key: str) -> Row | None:
        """What stands there."""
        row = self._rows.get(key)
        return row if row is not None and self._now() < row.ends_at else None

    def left(self, row: Row) -> float:
        """Seconds that its lease has left."""
        return row.leased_until - self._now()

    def replace(
        self, key: str, expected: Row | None, new: object | None, *, ttl: float, lease: float | None
    ) -> tuple[bool, Row | None]:
        """Have a record stand in the place of a row that was found; as ``swap``, at once. Whether it does, and what stands now."""
        with self._lock:
            row = self.find(key)
            if row is not expected:
                return False, row
            if new is None:
                row = None
                self._rows.pop(key, None)
            else:
                now = self._now()
                self._serial += 1
                if not self._serial % _SWEEP_EVERY:
                    self._rows = {other: row for other, row in self._rows.items() if now < row.ends_at}
                row = Row(new, self._serial, now + ttl, inf if lease is None else now + lease)
                self._rows[key] = row
        if expected is not None and lease is None:
            self._wakes.wake(key)
        return True, row

    async def until_ended(self, key: str, standing: Standing, /) -> None:
        """Wait until the claim has ended."""
        while (row := self.find(key)) is not None and row.raw == standing.raw:
            await self._wakes.wait(key)  # if only that a word of something before came a moment ago: once more
