"""What a third party may implement, with the guarantees that the rest relies on."""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from toolcache.encoded import Encoded
from toolcache.entry import Held
from toolcache.versions import ZERO


class Clock(Protocol):
    """The one seam for time; see ``toolcache.clock``."""

    def time(self) -> float:
        """Seconds since the epoch, not moved by steps of the wall clock."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never backward."""
        ...

    def boottime(self) -> float:
        """Seconds since the machine was started."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    def align(self, now: float) -> None:
        """Take ``now``, in seconds since the epoch, as the present."""
        ...


class MemoryPolicy(Protocol):
    """Which entry leaves memory first. Pure and synchronous; O(1), whatever is held.

    The store calls ``admit`` once for a new key, ``replace`` when a key already admitted got a new entry, ``evict`` for
    a victim, and ``forget`` when a key left for another reason; it never calls ``forget`` for what ``evict`` named.
    Every call is made under the store's lock, so a policy needs none, and with an entry whose ``key`` is the key.
    ``Held.hits`` is raised at each hit, so a policy that only needs counts sets ``touch`` to None and a hit calls
    nothing; one that needs the order of hits pays for the lock too.
    """

    @property
    def touch(self) -> Callable[[str, Held], None] | None:
        """To be called at each hit of a key that is held, or None; a method, or a class attribute that is None."""
        ...

    def admit(self, key: str, entry: Held, /) -> None:
        """Take in a new key."""
        ...

    def replace(self, key: str, entry: Held, old: Held, /) -> None:
        """The key's entry is no longer ``old``; its place need not change. ``hits`` went on with the new entry."""
        ...

    def evict(self) -> str:
        """Name, and forget, the key that leaves next. Never called when nothing is held."""
        ...

    def forget(self, key: str, entry: Held, /) -> None:
        """The key has left; ``entry`` is the one last admitted or replaced."""
        ...

    def clear(self) -> None:
        """All keys have left, without a word to their entries."""
        ...


class Codec(Protocol):
    """Values to bytes and back. No write-only values: what ``encode`` takes, ``decode`` returns equal, type for type.

    Decoding runs no code from the bytes, and is bounded in depth, length and memory. Large values are encoded and decoded in
    threads, several at a time, so that the event loop has its turn.
    """

    name: str
    """One short word, stored with each value; never changes its meaning."""

    def accepts(self, value: object, /) -> bool:
        """Whether this codec is the one for the value."""
        ...

    def encode(self, value: object, /) -> Encoded:
        """Raises SerializationError, naming where in the value the trouble is."""
        ...

    def decode(self, body: bytes, dtype: str, /) -> Any:
        """A fresh value, shared with nobody. Raises CorruptBlobError for bytes that are not this codec's."""
        ...


class Write(NamedTuple):
    """One blob to be stored.

    Attributes:
        key: the whole store key.
        blob: header and all; its header carries the version and the instants.
        once: store it only where no live value is; a tombstone or a value past its end does not count.
        dead: (once) values of this version or below do not count either: they have been cleared or deleted, as the
            store need not know.
        pending: (files) Redis has not taken this write and is owed it.
        durable: (files) synced before it is acknowledged, where the fsync policy is "promised".
    """

    key: str
    blob: bytes
    once: bool = False
    dead: bytes = ZERO
    pending: bool = False
    durable: bool = False


class PutStatus(Enum):
    """What a store did with a write."""

    STORED = "stored"
    ALREADY = "already there"
    """The very same version: an earlier attempt arrived after all."""
    NEWER = "newer present"
    """A newer version, or (``once``) a live value, is there: nothing was changed."""
    FOREIGN = "foreign"
    """Something that is not ours holds the key: nothing was changed."""


class PutResult(NamedTuple):
    """The outcome of one write: ``version`` is what the store holds now; ``was_live`` whether a live value was there."""

    status: PutStatus
    version: bytes
    was_live: bool = False


class Store(Protocol):
    """Blobs by key, each with a version and an end of life. Knows no values, codecs, tags or staleness.

    Raises its own errors; ``resilience.faults.classify`` says what they mean. Constructing one does no I/O. A write is
    applied only if its version is above the one present, atomically, so repeating or delaying it is harmless. A blob
    past its ``gone_ms`` may be returned or not; the reader checks. Bytes that are not a blob count as absent.
    """

    name: str
    """"redis" or "file": what events, statistics and ``Entry.layer`` say."""

    async def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        """The blobs, tombstones included, in the order of the keys; None where there is none."""
        ...

    async def put_many(self, writes: Sequence[Write], /) -> list[PutResult]:
        """Apply writes in order; the results in the same order."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun and release everything; more than one call is harmless."""
        ...


class StoreRestingError(OSError):
    """A store refuses by itself what failed lately, without asking again: no news of how it fares."""


@runtime_checkable
class SupportsRefusal(Protocol):
    """A local store whose directory may refuse this process."""

    @property
    def refused(self) -> bool:
        """Whether the directory has refused from the start, so that this process has read nothing in it. Cheap."""
        ...


class Newest(NamedTuple):
    """The version of a key's newest record, and whether it says that something has ended: a tombstone or an epoch."""

    version: bytes
    ended: bool


@runtime_checkable
class SupportsOverlay(Protocol):
    """A local store that remembers what a shared one is owed."""

    @property
    def ready(self) -> bool:
        """Whether ``pending`` knows all that this host has written; ``open`` makes it so. Cheap, synchronous."""
        ...

    async def open(self) -> None:
        """Learn what is owed, or what has been added to it."""
        ...

    def pending(self, key: str, /) -> bytes | None:
        """The version of the key's newest record, if it is one that Redis has not taken. Synchronous, no I/O."""
        ...

    def newest(self, key: str, /) -> "Newest | None":
        """Of what there is of the key, owed or not, the newest. Synchronous, no I/O."""
        ...

    def disown(self, marks: Sequence[tuple[str, bytes]], /) -> None:
        """Have ``pending`` say so at once, as far as this process goes, of what ``settle`` is to be told. Synchronous, no I/O."""
        ...

    async def settle(self, marks: Sequence[tuple[str, bytes]], /) -> None:
        """Redis holds something at or above these versions of keys: nothing older is owed to it any more."""
        ...


class Debt(NamedTuple):
    """A record that a shared store is owed, or is to be told again.

    ``blob`` is None where nothing of it need be told any more: the value's life has ended. ``lasting`` marks what says
    more than a value: tombstones, epochs, results.
    """

    key: str
    version: bytes
    blob: bytes | None
    lasting: bool


class Turn(Protocol):
    """The right to pay debts, which one process of a host has at a time; ``noted`` is what the one before left."""

    noted: str

    def close(self) -> None:
        """Let others have it."""
        ...


@runtime_checkable
class SupportsJournal(SupportsOverlay, Protocol):
    """A local store that keeps what a shared one is owed until that has it."""

    @property
    def owing(self) -> int:
        """How many keys have a record that is owed, as far as is known. Cheap, synchronous."""
        ...

    def oldest(self) -> float | None:
        """When the oldest of them was written, in seconds since the epoch. Synchronous, no I/O."""
        ...

    async def owed(self, *, lasting: bool = False) -> list[list[bytes]]:
        """Handles of what is owed, in the order in which it is to be paid: tombstones and epochs, results, values.

        In portions that can be read at once and paid within one deadline. With ``lasting``: of all tombstones, epochs and results within their time instead, owed or not.
        """
        ...

    async def debts(self, handles: Sequence[bytes], /) -> list[Debt]:
        """What stands behind handles; those that have gone meanwhile are left out."""
        ...

    async def take_turn(self) -> Turn | None:
        """The turn, if no other process has it."""
        ...

    async def note(self, turn: Any, text: str, /) -> None:
        """Leave word, a few ASCII letters, to those who take the turn later."""
        ...


@runtime_checkable
class SupportsSeparateReads(Protocol):
    """A store whose reads and writes go separate ways, so that one may be closed and the other open."""

    def reads_stand(self) -> bool:
        """Whether the way of reads is open, as far as is known: a write lost meanwhile was lost on its own way. Cheap."""
        ...


@runtime_checkable
class SupportsRenewal(Protocol):
    """A store that logs in with credentials that may change."""

    async def renewed(self) -> bool:
        """Whether it would log in with others than last time. Never raises for who provides them."""
        ...


@runtime_checkable
class SupportsIdentity(Protocol):
    """A shared store that may come back as another: restarted, perhaps empty."""

    @property
    def run_id(self) -> str | None:
        """Of the server process last connected to; None before that, and where it does not say."""
        ...


class UntrackedError(Exception):
    """The store will tell nobody what changes; asked again, it would say the same. The text is the reply's code."""


class Watch(Protocol):
    """Told what changes in a shared store. Called on the loop that tracks; it must not block."""

    def armed(self) -> None:
        """From now on every change is told; none that happened before will be."""
        ...

    def changed(self, keys: Sequence[str] | None, /) -> None:
        """These store keys were written, removed or have expired, whoever did it; None: any of them may have been."""
        ...

    def heard(self) -> None:
        """The store is there, and all that changed up to a moment ago has been told."""
        ...


@runtime_checkable
class SupportsTracking(Protocol):
    """A shared store that tells what others write to it."""

    async def track(self, prefixes: Sequence[str], watch: Watch, /) -> None:
        """Tell ``watch`` of each change of a key that begins with one of ``prefixes``, as long as that is certain.

        Never returns. A word from the store comes, and ``heard`` is called, at least every second.

        Raises:
            UntrackedError: it does not do such a thing.
            Exception: whatever ended it: from now on changes may not be told.
        """
        ...


class Changed(NamedTuple):
    """Store keys and the versions they were given; ``lost`` if there were too many to remember them all."""

    keys: list[tuple[str, bytes]]
    lost: bool


@runtime_checkable
class SupportsChanges(Protocol):
    """A local store that hears what others wrote to it, so that memory can let go of it."""

    def in_step(self) -> bool:
        """Whether nobody has written since ``changes`` were last taken. Cheap, synchronous."""
        ...

    async def changes(self) -> "Changed":
        """What was written since they were last taken."""
        ...


@runtime_checkable
class SupportsCount(Protocol):
    """A store that can say how much it holds."""

    async def count(self) -> int:
        """Entries held, roughly."""
        ...


class Usage(NamedTuple):
    """What a store holds, in entries and bytes, and how many values made room before their end."""

    entries: int
    bytes: int
    evictions: int


@runtime_checkable
class SupportsUsage(Protocol):
    """A local store that knows how much it holds."""

    def usage(self) -> Usage | None:
        """What it holds now, roughly; None until it is open. Cheap, synchronous, no I/O."""
        ...


@runtime_checkable
class SupportsScan(Protocol):
    """A store that can list its keys."""

    def scan(self, prefix: str, /) -> AsyncIterator[str]:
        """The store keys that start with ``prefix``, each at least once."""
        ...


class Listener(Protocol):
    """Told of each event. Its faults are counted, not feared; it must not block."""

    def __call__(self, event: Any, /) -> None:
        """Take note."""
        ...
