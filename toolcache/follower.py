"""Keeps memory in step with the other processes of this host, by the files that they share.

Where files are all that there is, each process hears within 20 ms, and a loop's lag, that another has written, and drops
what is no longer so. On a miss it hears at once: reading the log follows it first. Beside Redis, which tells of what it
takes, files tell within a second of what it does not take.
"""

import asyncio
from typing import Final

from toolcache.home import Homes
from toolcache.horizon import Horizon
from toolcache.keys.text import place_of, store_key
from toolcache.layer import Layer
from toolcache.messages import Messages
from toolcache.parts import Parts
from toolcache.protocols import SupportsChanges
from toolcache.reader import Reader

_EVERY: Final = 0.02
_BESIDE_REDIS: Final = 1.0


class Follower:
    """Follows one cache's file layer.

    ``behind`` says that nobody has followed lately: what memory holds is not to be trusted before ``catch_up``.

    Args:
        parts: the cache's parts.
        horizon: what has been cleared, as far as this process knows.
        reader: whose memory and reads under way are to be told.
        homes: whose flights are to be told.
        messages: passed on what other processes say by way of the files.
    """

    def __init__(self, parts: Parts, horizon: Horizon, reader: Reader, homes: Homes, messages: Messages) -> None:
        self.behind = False
        self._messages = messages
        self._memory = parts.memory
        self._horizon = horizon
        self._reader = reader
        self._homes = homes
        self._values, self._scopes = (store_key(kind, parts.namespace, "") for kind in ("v", "e"))
        self._every = _EVERY if parts.redis is None else _BESIDE_REDIS
        self._files: Layer | None = parts.files
        store = self._files.store if self._files else None
        self._store = store if isinstance(store, SupportsChanges) else None
        self._opened = False

    @property
    def needed(self) -> bool:
        """Whether there is anybody to follow."""
        return self._store is not None

    async def run(self) -> None:
        """Follow until the cache is closed."""
        try:
            while not self._homes.closed:
                await asyncio.sleep(self._every)
                await self.catch_up()
        except Exception:  # noqa: BLE001 - whatever it was, what had been heard is lost
            self._forget_all()
        finally:
            # Hits start nobody: the next one of each entry goes the long way, and has somebody follow again. Who comes that
            # way while this task is not yet known to be over starts nobody either: so once more, right before it is.
            self._memory.turn()
            asyncio.get_running_loop().call_soon(self._memory.turn)

    async def catch_up(self) -> None:
        """Take in what has been written since the last time."""
        await self._follow()
        self.behind = False

    async def _follow(self) -> None:
        if self._store is None or self._files is None or self._files.guard.refuses():
            return
        if self._store.in_step() and not self._unopened():
            return
        changed = await self._files.ask(self._store.changes, counted=False)
        if changed is None:
            return
        self._opened = True
        if changed.lost:
            self._forget_all()
        for name, version in changed.keys:
            self._heed(name, version)
        if said := [name for name, _ in changed.keys if self._messages.is_one(name)]:
            await self._messages.fetch(said)

    def _unopened(self) -> bool:
        """Whether somebody waits for messages in a log that nobody here has opened yet: what is not, is in step."""
        return self._messages.awaited and not self._opened

    def _heed(self, name: str, version: bytes) -> None:
        if name.startswith(self._scopes):
            self._horizon.heed(name, version)
        elif name.startswith(self._values):
            key = place_of(name.removeprefix(self._values))
            held = self._memory.find(key)
            if held is None or held.version < version:
                self._reader.forget([key])
            self._homes.hear(key, version)

    def _forget_all(self) -> None:
        self._messages.gap("file", 0.0)
        self._memory.clear()
        self._reader.interrupt_all()
        self._homes.detach_all()
