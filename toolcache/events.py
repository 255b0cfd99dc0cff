"""What is worth telling: one frozen dataclass per kind of event, and the announcer that tells it.

Events carry no key text and no values. ``key`` is the first 8 hex digits of a digest, enough to find an entry again.
"""

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from toolcache.fields import Frozen
from toolcache.mishaps import AlertActionFailed as AlertActionFailed  # noqa: PLC0414 - theirs to import from here
from toolcache.mishaps import AlertChanged as AlertChanged  # noqa: PLC0414 - theirs to import from here
from toolcache.mishaps import HandlerFailed as HandlerFailed  # noqa: PLC0414 - theirs to import from here
from toolcache.mishaps import MessageRejected as MessageRejected  # noqa: PLC0414 - theirs to import from here
from toolcache.mishaps import MessagesRefused as MessagesRefused  # noqa: PLC0414 - theirs to import from here
from toolcache.mishaps import ScheduleFailed as ScheduleFailed  # noqa: PLC0414 - theirs to import from here

if TYPE_CHECKING:
    from toolcache.protocols import Clock, Listener

logger = logging.getLogger("toolcache")


class BreakerChanged(Frozen):
    """A breaker went from one state to another; ``manual`` if somebody forced it."""

    name: str
    before: str
    after: str
    reason: str = ""
    manual: bool = False
    detail: str = ""
    """Of one that opened by itself: what the last failure was."""

    def __str__(self) -> str:
        why = f", {self.reason}" if self.reason else ""
        last = f" (the last: {self.detail})" if self.detail not in {"", self.reason} else ""
        by = ", by hand" if self.manual else ""
        now = "; it is left alone, and tried again from time to time" if self.after == "open" else ""
        return f"breaker {self.name}: {self.before} -> {self.after}{why}{last}{by}{_ADVICE.get(self.reason, '')}{now}"


class StoreFault(Frozen):
    """An operation of a store failed; the cache went on without it."""

    layer: str
    operation: str
    kind: str
    """The class of the fault: conn, auth, write_refused, write_lost, semantic or local."""
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.layer} {self.operation} failed ({self.kind}): {self.detail}; the cache goes on without it"


class BlobRejected(Frozen):
    """Stored bytes could not be used: foreign, damaged, of another key, unauthenticated. The read was a miss."""

    layer: str
    reason: str
    key: str

    def __str__(self) -> str:
        return f"{self.layer}: stored bytes of entry {self.key} were not used ({self.reason}): a miss"


class ValueNotStored(Frozen):
    """A computed value went to its callers and is stored nowhere."""

    domain: str
    reason: str
    key: str

    def __str__(self) -> str:
        return f"{self.domain}: the value computed for entry {self.key} cannot be stored ({self.reason}); its callers have it"


class StaleServed(Frozen):
    """A value could not be computed, and one that is past its time stood in for it."""

    domain: str
    reason: str
    key: str

    def __str__(self) -> str:
        return f"{self.domain}: entry {self.key} could not be computed ({self.reason}); its last value stands in"


class StrategyFailed(Frozen):
    """A strategy that was passed as a class did what no strategy may; the default has taken its place, for good."""

    strategy: str
    operation: str
    reason: str

    def __str__(self) -> str:
        return (
            f"strategy {self.strategy} failed in {self.operation} ({self.reason}): "
            "'adaptive' has taken its place; try it with toolcache.testing.MemoryPolicyContract"
        )


class DataAtRisk(Frozen):
    """A write was acknowledged by this process's memory alone, although more was configured."""

    operation: str
    key: str
    reason: str = ""
    """What was the matter with each layer, the last time one failed."""
    told: bool = False
    """Whether that has been told already, of each of them, by an event of its own."""

    def __str__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.operation} of entry {self.key} is held by this process's memory alone: "
            f"no configured layer took it{why}"
        )


class RedisUnavailable(Frozen):
    """No connection to Redis: told at the first failure, and again at the first after one that worked."""

    where: str
    """The address, without the password."""
    reason: str

    def __str__(self) -> str:
        check = _CHECK.get(self.reason.partition(" (")[0], "check the URL")
        return f"no connection to {self.where}: {self.reason}; {check}. The cache goes on without it, and tries again"


class RedisAvailable(Frozen):
    """Redis is connected, after a time in which it was not."""

    where: str

    def __str__(self) -> str:
        return f"connected to {self.where} again"


class FilesUnavailable(Frozen):
    """The file store cannot be used for now; ``reason`` says what to mend."""

    directory: str
    reason: str

    def __str__(self) -> str:
        return (
            f"files in {self.directory or 'no directory'} cannot be used: {self.reason}; the cache goes on without them"
        )


class ClockAnomaly(Frozen):
    """A version from more than a minute ahead of this process's clock was met; it was not believed."""

    layer: str
    lead_seconds: float

    def __str__(self) -> str:
        return f"{self.layer}: a write is dated {self.lead_seconds:,.0f} s ahead of this clock: one of the two is wrong"


class JournalReplayed(Frozen):
    """Redis was told what it had missed: writes it took, writes that something newer or time has overtaken, what is left."""

    replayed: int
    dropped: int
    pending: int

    def __str__(self) -> str:
        rest = f"{self.pending:,} are still pending" if self.pending else "nothing is pending"
        return f"redis was told of {self.replayed:,} writes that it had missed, {self.dropped:,} were obsolete; {rest}"


class CoherenceChanged(Frozen):
    """Memory is kept in step with other processes in another way: by "tracking", or "timed"; why it is no longer told."""

    before: str
    after: str
    reason: str = ""

    def __str__(self) -> str:
        if self.after == "tracking":
            return "redis tells memory what other processes write"
        return f"redis no longer tells memory what other processes write ({self.reason}): until it does, memory asks every few seconds"


class TrackingRefused(Frozen):
    """Redis will not tell what others write; ``reason`` is the code of its reply, or REPLICAS where those are read."""

    reason: str

    def __str__(self) -> str:
        advice = (
            "Replicas are read, which may be behind what is told"
            if self.reason == "REPLICAS"
            else "It takes Redis 6.2, and a user with +client|id +client|tracking +subscribe +ping &__redis__:invalidate"
        )
        return f"redis will not tell memory what other processes write ({self.reason}): memory asks every few seconds. {advice}"


class TakenOver(Frozen):
    """A request that runs once was begun again: whoever ran it died, or was not heard of for a whole lease."""

    key: str
    attempt: int
    """Which attempt begins: 2 after the first takeover."""

    def __str__(self) -> str:
        return (
            f"request {self.key}: whoever ran it died, or was not heard of for a whole lease; "
            f"attempt {self.attempt} begins, and what the one before did outside may be done again"
        )


class LeaseLost(Frozen):
    """A run could not keep its claim, or found it held by another; it goes on, and whichever run ends first is the answer."""

    key: str
    layer: str
    reason: str

    def __str__(self) -> str:
        return (
            f"request {self.key} runs on without its claim in {self.layer} ({self.reason}): another process may run it "
            "too; all callers get the answer that is stored first. If runs stall for long, raise lease"
        )


class DuplicateExecution(Frozen):
    """A request ran to its end twice: the answer that was stored first stays, and goes to the callers of both runs."""

    key: str
    layer: str
    """Where the other answer was found."""

    def __str__(self) -> str:
        return (
            f"request {self.key} ran twice: {self.layer} held an answer when this run ended, and that one is given to "
            "all; check what the run does outside, if doing it twice does harm"
        )


class TaskMismatch(Frozen):
    """An idempotency key came again, to ask for something else; nothing was run."""

    key: str

    def __str__(self) -> str:
        return (
            f"request {self.key}: its idempotency key was used before to ask for something else, so nothing was run; "
            "give each request a key of its own"
        )


class DispatchDegraded(Frozen):
    """A request runs, or was answered, without a layer that is configured to keep it from running twice."""

    key: str
    layer: str
    reason: str

    def __str__(self) -> str:
        return f"{self.layer}: request {self.key} goes on without it ({self.reason}): {_UNTOLD.get(self.layer, 'it may run twice')}"


_UNTOLD = {
    "redis": "until it is back, other hosts do not know of it and may run it too",
    "file": "only Redis keeps it from running twice, should this process die",
}
_ADVICE = {"access denied": ": check the user, the password and the certificate"}
_CHECK = {
    "no credentials": "check what was given as credentials",
    "access denied": "check the user and the password",
    "certificate not trusted": "check the host's name and ssl_ca_certs",
    "connection lost": "check the port: one that expects TLS needs rediss://",
    "connection refused": "check the host and the port, and whether the server runs",
    "no such database": "check the database's number, at the end of the URL",
    "no answer": "check the host, the port and the firewall; a port without TLS does not answer rediss://",
    "timed out": "check the host, the port and the firewall; a port without TLS does not answer rediss://",
    "TLS failed": "check the port: one without TLS needs redis://",
    "unknown host": "check the host's name",
}

Event = (
    BreakerChanged
    | StoreFault
    | BlobRejected
    | StaleServed
    | ValueNotStored
    | StrategyFailed
    | DataAtRisk
    | RedisUnavailable
    | RedisAvailable
    | FilesUnavailable
    | ClockAnomaly
    | JournalReplayed
    | CoherenceChanged
    | TrackingRefused
    | TakenOver
    | LeaseLost
    | DuplicateExecution
    | TaskMismatch
    | DispatchDegraded
    | HandlerFailed
    | MessageRejected
    | MessagesRefused
    | ScheduleFailed
    | AlertChanged
    | AlertActionFailed
)

_WARN = (
    *(BreakerChanged, RedisUnavailable, FilesUnavailable, ClockAnomaly, DataAtRisk, TrackingRefused),
    *(TakenOver, LeaseLost, DuplicateExecution, TaskMismatch, DispatchDegraded, StrategyFailed),
    *(HandlerFailed, MessageRejected, MessagesRefused, ScheduleFailed, AlertActionFailed),
)
_LOG_EVERY = 30.0
_KIND = ("name", "handler", "after", "layer", "operation", "kind", "domain", "directory", "reason")
"""What tells one kind of trouble from another; the key does not."""


class Announcer:
    """Tells listeners, and the log: each kind of trouble at most once in 30 s, with a count of what was left out.

    Args:
        clock: for the throttle.
    """

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._listeners: list[Listener] = []
        self._quiet_until: dict[tuple[str, ...], float] = {}
        self._held_back: dict[tuple[str, ...], int] = {}
        self._explained: dict[str, float] = {}
        self.listener_errors = 0

    def subscribe(self, listener: "Listener") -> Callable[[], None]:
        """Tell ``listener`` from now on; returns what ends it."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def explained(self, layer: str) -> bool:
        """Whether it has been told why a layer cannot be used: what comes of it is no news."""
        return self._clock.monotonic() < self._explained.get(layer, 0.0)

    def __call__(self, event: Event) -> None:
        """Announce an event."""
        match event:
            case RedisUnavailable():
                self._explained["redis"] = math.inf
            case RedisAvailable():
                self._explained.pop("redis", None)
            case FilesUnavailable():  # told anew after each attempt, and there is one in 30 s
                self._explained["file"] = self._clock.monotonic() + _LOG_EVERY
        self._log(event)
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # noqa: BLE001 - a listener's fault must not reach a cache call
                self.listener_errors += 1

    def _log(self, event: Event) -> None:
        level = logging.WARNING if isinstance(event, _WARN) and not self._follows(event) else logging.INFO
        kind = (
            type(event).__name__,
            *(str(getattr(event, field, "")) for field in _KIND),
        )
        now = self._clock.monotonic()
        if now < self._quiet_until.get(kind, 0.0):
            self._held_back[kind] = self._held_back.get(kind, 0) + 1
            return
        self._quiet_until[kind] = now + _LOG_EVERY
        if more := self._held_back.pop(kind, 0):
            logger.log(level, "%s (and %d more like it)", event, more)
        else:
            logger.log(level, "%s", event)

    def _follows(self, event: Event) -> bool:
        """Whether the event only follows from what has been told, or calls for nothing."""
        match event:
            case BreakerChanged(after="half_open"):
                return True
            case BreakerChanged(name=name, after="open"):
                return self.explained(name.partition(".")[0])
            case DataAtRisk(told=told):
                return told
        return False
