"""Writes on their way to the layers, and what becomes of them."""

from typing import Final, NamedTuple

from toolcache.encoded import Encoded
from toolcache.entry import Durability
from toolcache.protocols import PutResult, PutStatus
from toolcache.versions import ZERO

# Of an enum, each is looked up in a fraction of the time where it is a name of the module.
_STORED, _NEWER, _FOREIGN = PutStatus.STORED, PutStatus.NEWER, PutStatus.FOREIGN
_TAKEN: Final = (PutStatus.STORED, PutStatus.ALREADY)
_MEMORY, _FILE, _REDIS = Durability


class Draft:
    """A write on its way; its version may still be raised.

    ``live`` writes overtake newer versions, computed ones yield to them. ``once`` writes yield to any live value above
    ``dead``: what lies at or beneath that version has been cleared or deleted, as a store need not know.
    """

    __slots__ = (
        *(
            "name",
            "version",
            "created_ms",
            "fresh_until_ms",
            "gone_ms",
            "encoded",
            "cost_ms",
            "tags",
            "flags",
            "live",
            "once",
            "dead",
        ),
    )

    def __init__(
        self,
        *,
        name: str,
        version: bytes,
        created_ms: int,
        gone_ms: int,
        fresh_until_ms: int | None = None,
        encoded: Encoded | None = None,
        cost_ms: int = 0,
        tags: tuple[str, ...] = (),
        flags: int = 0,
        live: bool = True,
        once: bool = False,
        dead: bytes = ZERO,
    ) -> None:
        self.name = name
        self.version = version
        self.created_ms = created_ms
        self.gone_ms = gone_ms
        self.fresh_until_ms = gone_ms if fresh_until_ms is None else fresh_until_ms
        self.encoded = encoded
        self.cost_ms = cost_ms
        self.tags = tags
        self.flags = flags
        self.live = live
        self.once = once
        self.dead = dead


class Outcome(NamedTuple):
    """What became of a draft: where it is safe, what stands against it, and what was there before."""

    durability: Durability = Durability.MEMORY
    on_file: bool = False
    superseded: bool = False
    was_live: bool = False
    foreign: bool = False

    @property
    def layer(self) -> str:
        """The name of where it is safe."""
        return _LAYERS[self.durability]

    @property
    def safe(self) -> bool:
        """Whether a layer that others read has it."""
        return self.durability > _MEMORY


NOWHERE: Final = Outcome()
"""Nobody has said anything yet."""
_LAYERS: Final = {durability.value: durability.name.lower() for durability in Durability}
_STORED_IN: Final = {
    durability: tuple(Outcome(durability, durability is _FILE, was_live=live) for live in (False, True))
    for durability in (_FILE, _REDIS)
}
"""What becomes of nearly all; by whether a live value was there."""


def noted(before: Outcome, draft: Draft, result: PutResult | None, durability: Durability) -> Outcome:
    """What has become of a draft by what one more layer says."""
    if result is None:
        return before
    status, _, was_live = result
    if status is _STORED and before is NOWHERE:
        return _STORED_IN[durability][was_live]
    taken = status in _TAKEN
    # A write that yields to a live value is as safe as that value.
    safe = taken or (draft.once and was_live)
    return Outcome(
        max(before.durability, durability) if safe else before.durability,
        before.on_file or (taken and durability is _FILE),
        before.superseded or status is _NEWER,
        before.was_live or was_live,
        before.foreign or status is _FOREIGN,
    )
