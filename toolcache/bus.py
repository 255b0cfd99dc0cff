"""Keeps memory in step with the other processes that write through Redis.

Redis tells of each key that was changed, over a connection that one event loop of the process listens on. What memory
has of the key goes, and what reads under way have found of it does not come in. So memory holds nothing that has been
changed since it was read, but for the time a message takes. Where messages may have been lost, all that memory holds is
in doubt: no entry answers before it has been compared with Redis. While nobody listens, memory trusts itself for a few
seconds, and asks then.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Final

from toolcache.causes import describe
from toolcache.drafts import Outcome
from toolcache.entries import Entries
from toolcache.entry import Durability
from toolcache.errors import CacheClosedError
from toolcache.events import CoherenceChanged, TrackingRefused
from toolcache.forks import watch
from toolcache.home import Homes
from toolcache.horizon import Horizon
from toolcache.keys.text import place_of, store_key
from toolcache.messages import Messages
from toolcache.parts import Parts
from toolcache.protocols import SupportsTracking, UntrackedError
from toolcache.reader import Reader
from toolcache.versions import ZERO

_TRUST: Final = 60.0
"""Seconds that memory answers by itself while it is told of changes: for what is told to nobody, such as SWAPDB."""

_LOOK_EVERY: Final = 0.5
_SILENT: Final = 1.5
"""Seconds without a word after which another loop takes over: the one that listens stands still."""

_AGAIN: Final = (0.05, 5.0)
"""Seconds until a lost connection is replaced, first and longest."""

_REFUSED_AGAIN: Final = 60.0


class _TakenOverError(Exception):
    """Another loop listens now, or the cache was closed."""


class Bus:
    """Listens for one cache, on one of its loops.

    Args:
        parts: the cache's parts.
        entries: names of keys; trusts Redis' word for longer while memory is told of changes.
        horizon: what has been cleared, as far as this process knows.
        reader: whose memory and reads under way are told.
        homes: whose flights are told.
        messages: passed on what other processes say.
        emptied: told that Redis may have been flushed.
        regained: told when it is listened to again: it may have come back as another.

    Attributes:
        live: whether every change is told.
        heard_at: when the server last gave word, in seconds since the epoch; None if it has not.
    """

    def __init__(
        self,
        parts: Parts,
        entries: Entries,
        horizon: Horizon,
        reader: Reader,
        homes: Homes,
        messages: Messages,
        emptied: Callable[[], None],
        regained: Callable[[], None],
    ) -> None:
        self.live = False
        self.heard_at: float | None = None
        self._parts = parts
        self._entries = entries
        self._horizon = horizon
        self._reader = reader
        self._homes = homes
        self.messages = messages
        self._emptied = emptied
        self._regained = regained
        self._values, self._scopes = (store_key(kind, parts.namespace, "") for kind in ("v", "e"))
        self._redis = parts.redis
        store = parts.redis.store if parts.redis is not None and parts.coherence else None
        self._store = store if isinstance(store, SupportsTracking) else None
        self._listener: _Listener | None = None
        self._lock = threading.Lock()
        watch(self)

    @property
    def needed(self) -> bool:
        """Whether there is anybody to listen to."""
        return self._store is not None

    @property
    def state(self) -> str:
        """How memory learns what others write: "tracking", "timed", or "off" where they cannot."""
        if self.live:
            return "tracking"
        return "off" if self._redis is None else "timed"

    def tells_of(self, outcome: Outcome) -> bool:
        """Whether Redis has the write, and tells memory when another one follows."""
        return self.live and outcome.durability is Durability.REDIS

    def forked(self) -> None:
        """The parent listens on; this process has yet to."""
        self._lock = threading.Lock()
        self._listener = None
        self.live = False
        self._entries.trust = self._parts.trust

    async def run(self) -> None:
        """Listen, unless another loop does, until the cache is closed."""
        if self._store is None:
            return
        listener = _Listener(self, self._store)
        try:
            while not self._homes.closed:
                if self._appoint(listener):
                    with contextlib.suppress(_TakenOverError):
                        await listener.listen([self._values, self._scopes])
                await asyncio.sleep(_LOOK_EVERY)
        except CacheClosedError:
            pass
        finally:
            self._dismiss(listener)

    # -- one loop of several ----------------------------------------------------------------------------------------

    def _appoint(self, listener: "_Listener") -> bool:
        """Have this one listen, unless another one is awake and does."""
        with self._lock:
            other = self._listener
            if other is not None and other.awake:
                return False
            self._listener = listener
        self.lose("another event loop listens")
        return True

    def _dismiss(self, listener: "_Listener") -> None:
        with self._lock:
            if self._listener is not listener:
                return
            self._listener = None
        self.lose("the event loop has ended")

    @property
    def idle(self) -> bool:
        """Whether there is no use in trying: what was refused would be refused again."""
        return self._redis is not None and self._redis.guard.denied

    def on_duty(self, listener: "_Listener") -> bool:
        """Whether it is this one that listens."""
        return self._listener is listener and not self._homes.closed

    # -- what is heard ----------------------------------------------------------------------------------------------

    def gain(self) -> None:
        """From now on every change is told."""
        self._reader.doubt_all()  # what was read so far may have been changed unheard
        self._horizon.trust(told=True)
        self._entries.trust = _TRUST
        self.live = True
        self.hear()
        self._parts.announce(CoherenceChanged("timed", "tracking"))
        if self._redis is not None:
            self._redis.guard.allow_probe()
        self._regained()
        self.messages.listen()

    def lose(self, reason: str) -> None:
        """Changes may go unheard."""
        if not self.live:
            return
        self.live = False
        self.messages.lose(self.heard_at)
        self._horizon.trust(told=False)
        self._entries.trust = self._parts.trust
        self._reader.doubt_all()
        if not self._homes.closed:
            self._parts.announce(CoherenceChanged("tracking", "timed", reason))

    def hear(self) -> None:
        """The server has given word."""
        self.heard_at = self._parts.clock.time()

    def refuse(self, code: str) -> None:
        """The server will not tell."""
        self._parts.announce(TrackingRefused(code))

    def change(self, names: Sequence[str] | None) -> None:
        """These keys were changed; None: all were, since Redis was flushed."""
        self.hear()
        if names is None:
            self._reader.doubt_all()
            self._emptied()
            return
        computing, raised = [], []
        for name in names:
            if name.startswith(self._scopes):
                if self._horizon.concerns(name) or self._homes.flying_under(name):
                    raised.append(name)
            elif name.startswith(self._values):
                key = place_of(name.removeprefix(self._values))
                self._reader.unsettle(key)
                if self._homes.flying(key):
                    computing.append(key)
        if raised:
            self._homes.here().own(self._horizon.heed_redis(raised))
        if computing:
            self._homes.here().own(self._tell_flights(computing))

    async def _tell_flights(self, keys: list[str]) -> None:
        """Keys that are being computed were changed: by another process, or it is the echo of what was before."""
        redis = self._redis
        names = [self._entries.name(key) for key in keys]
        raws = await redis.read(names) if redis is not None else None
        if raws is None or redis is None:
            for key in keys:
                self._homes.detach(key)
            return
        for key, blob in zip(keys, await self._entries.read_each(names, raws, redis), strict=True):
            self._homes.hear(key, ZERO if blob is None else blob.header.version)


class _Listener:
    """One loop's ear: hears as long as it is the bus's."""

    def __init__(self, bus: Bus, store: SupportsTracking) -> None:
        self._bus = bus
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._wait = _AGAIN[0]
        self._refused = False

    @property
    def awake(self) -> bool:
        """Whether its loop turns; what waits for a connection has nothing to hear."""
        if self._loop.is_closed() or not self._loop.is_running():
            return False
        # Read from another loop: all of them go by the system's one monotonic clock.
        return not self._bus.live or asyncio.get_running_loop().time() - self._heard_at < _SILENT

    async def listen(self, prefixes: Sequence[str]) -> None:
        """Listen, again whenever the connection is lost, for as long as it is this one's turn."""
        from random import uniform

        self._wait = _AGAIN[0]
        while self._bus.on_duty(self):
            pause = _LOOK_EVERY if self._bus.idle else await self._listen_once(prefixes)
            await asyncio.sleep(pause * uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _listen_once(self, prefixes: Sequence[str]) -> float:
        """Listen until that ends; the seconds until it may be tried again."""
        reason = "cancelled"
        try:
            await self._store.track(prefixes, self)
        except (CacheClosedError, _TakenOverError):
            raise
        except UntrackedError as refusal:
            reason = str(refusal)
            if not self._refused:
                self._bus.refuse(reason)
            self._refused = True
            return _REFUSED_AGAIN
        except Exception as fault:  # noqa: BLE001 - whatever it was, nothing is heard any more, until it is again
            reason = describe(fault)
        finally:
            if self._bus.on_duty(self):
                self._bus.lose(reason)
        pause, self._wait = self._wait, min(2 * self._wait, _AGAIN[1])
        return pause

    # -- a ``Watch`` ------------------------------------------------------------------------------------------------

    def armed(self) -> None:
        """Every change is told from now on."""
        self._check()
        self._refused = False
        self._bus.gain()

    def changed(self, keys: Sequence[str] | None) -> None:
        """These were."""
        self._check()
        self._bus.change(keys)

    def heard(self) -> None:
        """All has been told so far; the connection is a good one."""
        self._check()
        self._wait = _AGAIN[0]
        self._bus.hear()

    # -- a ``Hearer`` -----------------------------------------------------------------------------------------------

    def told(self, message: bytes) -> None:
        """Somebody has said this."""
        self._check()
        self._bus.messages.told(message)

    def deaf(self) -> None:
        """What others say does not come here."""
        self._bus.messages.refused()

    def _check(self) -> None:
        if not self._bus.on_duty(self):
            raise _TakenOverError
        self._heard_at = self._loop.time()
