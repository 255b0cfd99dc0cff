"""Entry, Durability and MISSING: what a cache answers with."""

from collections.abc import Callable
from enum import Enum, IntEnum
from math import inf
from typing import Any, Final, Literal, Protocol, TypeAlias, cast

from toolcache.blob import NEVER
from toolcache.fields import Frozen


class _Missing(Enum):
    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"

    __str__ = __repr__

    def __bool__(self) -> Literal[False]:
        return False


MISSING: Final = _Missing.MISSING
"""Says that there is no value, where ``None`` may be one: ``await cache.get(key, MISSING)``."""

Missing: TypeAlias = Literal[_Missing.MISSING]


class Durability(IntEnum):
    """The most widely shared layer that acknowledged a write.

    MEMORY: this process only. FILE: survives a crash of the process on this host. REDIS: shared by every host.
    """

    MEMORY = 1
    FILE = 2
    REDIS = 3


class Entry(Frozen):
    """A value with its instants and tags, as ``get_entry`` found it.

    Instants are seconds since the epoch, spans are seconds. ``expires_at`` is ``inf`` for an entry without end.
    ``layer`` names the farthest layer that is known to hold the value ("memory", "redis" or "file"). ``hits`` counts how often this process's
    memory answered with it since it came in. ``size`` is in bytes, as stored in memory.
    """

    value: Any
    created_at: float
    expires_at: float
    age: float
    ttl: float
    tags: tuple[str, ...]
    layer: str
    hits: int
    size: int
    stale: bool = False


MEMORY: Final = "memory"
"""The ``layer`` of an entry that no other layer has acknowledged, so far at least."""


class Counts(Protocol):
    """Where a hit is counted: the tally of the entry's domain."""

    hits: int
    seconds_saved: float


_new: Final = object.__new__


class Held:
    """An entry as memory holds it: mutable, private to the process.

    ``value`` is the live object when nobody can spoil it (``thaw`` is None), else its encoded form, and ``thaw`` makes
    a caller's own copy. ``settled_until`` is monotonic seconds: up to then a hit needs no thought.

    ``span_ms`` is the whole of its life, NEVER if that has no end; a number that entries of one lifetime share.
    ``gone_until`` is its monotonic end. The memory store sets ``key``, and that end if it was not known. The policy has
    ``older``, ``newer`` and ``seen`` to itself, the index of ends ``before`` and ``after``: links in the entry cost less
    than tables beside it.
    """

    __slots__ = (
        "after",
        "before",
        "created_ms",
        "era",
        "gone_until",
        "hits",
        "key",
        "layer",
        "newer",
        "older",
        "seconds",
        "seen",
        "settled_until",
        "size",
        "span_ms",
        "tags",
        "tally",
        "thaw",
        "value",
        "version",
    )

    value: Any
    thaw: Callable[[Any], Any] | None
    settled_until: float
    gone_until: float
    size: int
    version: bytes
    created_ms: int
    span_ms: int
    tally: Counts
    era: int
    seconds: float
    tags: tuple[str, ...]
    layer: str
    hits: int
    key: str
    seen: int
    older: "Held"
    newer: "Held"
    before: "Held"
    after: "Held"

    @staticmethod
    def of(
        value: Any,
        thaw: Callable[[Any], Any] | None,
        settled_until: float,
        size: int,
        version: bytes,
        created_ms: int,
        span_ms: int,
        tally: Counts,
        era: int = 0,
        seconds: float = 0.0,
        tags: tuple[str, ...] = (),
        layer: str = MEMORY,
        gone_until: float = inf,
    ) -> "Held":
        """An entry. Every write makes one: this takes a third of what a constructor takes."""
        self = _new(Held)
        self.value = value
        self.thaw = thaw
        self.settled_until = settled_until
        self.size = size
        self.version = version
        self.created_ms = created_ms
        self.span_ms = span_ms
        self.tally = tally
        self.era = era
        self.seconds = seconds
        self.tags = tags
        self.layer = layer
        self.gone_until = gone_until
        self.hits = 0
        self.key = ""
        self.seen = 0
        return self

    @property
    def gone_ms(self) -> int:
        """When its life is over, in milliseconds since the epoch; NEVER if it has no end."""
        return NEVER if self.span_ms >= NEVER else self.created_ms + self.span_ms

    @property
    def fresh_until_ms(self) -> int:
        """From when on it is stale; most are fresh until they are gone."""
        return self.gone_ms

    def doubt(self) -> None:
        """It may have changed in a layer: it answers no more before that was asked."""
        self.settled_until = 0.0

    def unlink(self) -> None:
        """Leave the neighbours, where there are any, without a word to policy or index: they have been cleared."""
        newer, older = getattr(self, "newer", NOBODY), getattr(self, "older", NOBODY)
        if isinstance(newer, Held) and isinstance(older, Held):  # a policy of somebody else's may link otherwise
            newer.older, older.newer = older, newer
        self.newer = self.older = NOBODY
        if getattr(self, "after", NOBODY) is not NOBODY:
            self.after.before, self.before.after = self.before, self.after
            self.after = self.before = NOBODY

    def own(self) -> Any:
        """A caller's own copy of the value, or the live one where nobody can spoil it."""
        return self.value if self.thaw is None else self.thaw(self.value)


NOBODY: Final = cast("Held", None)
"""The neighbour of an entry that has left: to put it there takes a quarter of what it takes to delete a link."""


class Aging(Held):
    """An entry that has more ages than fresh and gone: it is stale for a while before it ends, or ripe before it is stale.

    ``fresh_ms`` is how long it is fresh, of ``span_ms`` in all. The others are monotonic seconds: until when it is fresh,
    from when on it is to be computed anew in the background, and until when it answers without a layer being asked.
    ``etag`` is what its source calls this state of it, "" if nobody has said so.
    """

    __slots__ = ("etag", "fresh_ms", "fresh_until", "ripe_at", "trusted_until")

    etag: str
    fresh_ms: int
    fresh_until: float
    ripe_at: float
    trusted_until: float

    @staticmethod
    def aged(
        held: Held, *, fresh_ms: int, fresh_until: float, ripe_at: float, trusted_until: float, etag: str
    ) -> "Aging":
        """The same entry with these ages; it has not been in memory yet."""
        self = _new(Aging)
        for name in _SET:
            setattr(self, name, getattr(held, name))
        self.etag = etag
        self.fresh_ms = fresh_ms
        self.fresh_until = fresh_until
        self.ripe_at = ripe_at
        self.trusted_until = trusted_until
        self.settled_until = min(fresh_until, ripe_at, trusted_until)
        return self

    @property
    def fresh_until_ms(self) -> int:
        """From when on it is stale, in milliseconds since the epoch; NEVER if it does not become so."""
        return NEVER if self.fresh_ms >= NEVER else self.created_ms + self.fresh_ms

    def doubt(self) -> None:
        """See ``Held.doubt``."""
        self.settled_until = self.trusted_until = 0.0

    def settle(self) -> None:
        """It is being computed anew: until it is stale, it answers as before."""
        self.ripe_at = inf
        self.settled_until = min(self.fresh_until, self.trusted_until)


_SET: Final = tuple(name for name in Held.__slots__ if name not in {"after", "before", "newer", "older"})
"""What an entry has before it comes into memory."""


def remaining(created_ms: int, gone_ms: int, now: float) -> float:
    """Seconds an entry has left; a clock set back never lengthens a life, counted from the read."""
    if gone_ms == NEVER:
        return inf
    return min(gone_ms - int(now * 1000), gone_ms - created_ms) / 1000


class Invalidation(Frozen):
    """What became of an invalidation, layer by layer.

    "done": the layer knows. "queued": it will be told, and until then nothing old is served by this host. "failed": it
    could not be told, or not be listed. None: not configured.

    ``scope`` says what was forgotten: "namespace", "tags", "domain", "agent", "catalog_version", "tool", "pattern" or
    "where". What is found key by key, by the last two, is counted: ``removed`` entries, of which ``cut`` have keys of more
    than 200 bytes, that can be read, and were compared, at their beginning only; and ``detached`` computations under way in
    this process, whose values are not stored. An epoch knows none of these numbers: ``removed`` is None.
    """

    scope: str
    memory: str
    redis: str | None
    files: str | None
    removed: int | None = None
    cut: int = 0
    detached: int = 0
