"""Claims within the process, where it shares nothing with others."""

import threading
from typing import Final, NamedTuple

from toolcache.forks import watch
from toolcache.protocols import Clock
from toolcache.swaps import Standing, Swapped
from toolcache.wakes import Wakes

_SWEEP_EVERY: Final = 1024


class _Row(NamedTuple):
    blob: bytes
    serial: int
    ends_at: float
    leased_until: float | None


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
        self._rows: dict[str, _Row] = {}
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
        now = self._now()
        with self._lock:
            old = self._row(key, now)
            if _raw(old) != expected:
                return Swapped(False, _standing(old, now))
            row = None
            if new is None:
                self._rows.pop(key, None)
            else:
                self._serial += 1
                if not self._serial % _SWEEP_EVERY:
                    self._rows = {other: row for other, row in self._rows.items() if now < row.ends_at}
                row = _Row(new, self._serial, now + ttl, None if lease is None else now + lease)
                self._rows[key] = row
        if old is not None and lease is None:
            self._wakes.wake(key)
        return Swapped(True, _standing(row, now))

    async def until_ended(self, key: str, standing: Standing, /) -> None:
        """Wait until the claim has ended."""
        while _raw(self._row(key, self._now())) == standing.raw:
            await self._wakes.wait(key)  # if only that a word of something before came a moment ago: once more

    def _row(self, key: str, now: float) -> _Row | None:
        row = self._rows.get(key)
        return row if row is not None and now < row.ends_at else None


def _raw(row: _Row | None) -> bytes:
    """What tells a row from all others that have stood there."""
    return b"" if row is None else row.blob + row.serial.to_bytes(8, "big")


def _standing(row: _Row | None, now: float) -> Standing:
    if row is None:
        return Standing()
    return Standing(_raw(row), row.blob, float("inf") if row.leased_until is None else row.leased_until - now)
