"""What a store that keeps claims promises: one record takes another's place, or does not."""

import math
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

V = TypeVar("V")


class Standing(NamedTuple):
    """What stands under a key of records.

    Attributes:
        raw: the very bytes, to be expected in a ``swap``; empty where nothing stands.
        blob: the record, without what the store keeps behind it.
        left: seconds that its lease has left, by the store's own clock; none or fewer if it has lapsed or the store knows
            that its holder is dead. Infinite for a record without a lease.
    """

    raw: bytes = b""
    blob: bytes = b""
    left: float = math.inf


class Swapped(NamedTuple):
    """Whether a swap was done, and what stands there now."""

    done: bool
    standing: Standing


class Move(NamedTuple, Generic[V]):
    """A swap to be tried, as ``SupportsClaim.swap`` takes it; ``then`` is what is so if it is done."""

    expected: bytes
    new: bytes | None
    then: V
    ttl: float = 0.0
    lease: float | None = None
    durable: bool = False
    pending: bool = False


NOTHING: Final = Standing()
UNKNOWN: Final = Standing(raw=b"?")
"""Where one has to ask first: nothing that stands there is equal to it."""


@runtime_checkable
class SupportsClaim(Protocol):
    """A store in which a record takes another's place only if that one is there, atomically: what claims are made of.

    Records are blobs, opaque to the store, which also keeps until when a claim is leased, by its own clock. A reply that was lost
    leaves open whether the swap was done; who asks again finds out, since a record says whose it is.
    """

    @property
    def hears(self) -> bool:
        """Whether ``until_ended`` would be told; where it would not, the caller has to look now and then. Cheap."""
        ...

    async def swap(
        self,
        key: str,
        expected: bytes,
        new: bytes | None,
        /,
        *,
        ttl: float,
        lease: float | None = None,
        durable: bool = False,
        pending: bool = False,
    ) -> Swapped:
        """Have ``new`` stand where exactly ``expected`` stands.

        Args:
            key: the whole store key.
            expected: ``Standing.raw`` as it was last seen; empty for nothing.
            new: a whole blob; None for nothing.
            ttl: seconds after which nothing stands there, whatever happens.
            lease: seconds from now, by the store's clock, that the new record is leased for. Without one the claim that
                stood there has ended, and those who wait are told.
            durable: (files) synced before it is acknowledged, as ``Write.durable``.
            pending: (files) a shared store has not taken it, and is owed it, as ``Write.pending``.
        """
        ...

    async def until_ended(self, key: str, standing: Standing, /) -> None:
        """Wait until the claim that was seen standing may have ended. May wait for ever: the caller bounds it."""
        ...
