"""Which node of a cluster has which keys."""

from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from toolcache.stores.redis.url import Place

SLOTS: Final = 16_384


def slot_of(key: bytes) -> int:
    """The slot of a key: of the part in its first braces, if there are any with something inside, else of all of it.

    CRC-16/XMODEM modulo 16384, as the Redis Cluster specification has it.

    Examples:
        >>> slot_of(b"123456789"), slot_of(b"{user1000}.following") == slot_of(b"user1000")
        (12739, True)
    """
    start = key.find(b"{")
    if start >= 0 and (end := key.find(b"}", start + 1)) > start + 1:
        key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


@dataclass(frozen=True, slots=True)
class Shard:
    """Nodes with the same slots: the one that takes writes, and its replicas."""

    primary: Place
    replicas: tuple[Place, ...] = ()


class SlotMap:
    """The shard of each slot, as one node of the cluster sees it.

    Args:
        shards: with the first and the last slot of each range.
    """

    def __init__(self, shards: list[tuple[int, int, Shard]]) -> None:
        self._table: list[Shard | None] = [None] * SLOTS
        for first, last, shard in shards:
            self._table[first : last + 1] = [shard] * (last + 1 - first)
        self.shards: Final = tuple(dict.fromkeys(shard for _, _, shard in shards))

    @classmethod
    def read(cls, reply: Any, *, asked: Place) -> "SlotMap":
        """The map in a reply to CLUSTER SLOTS.

        Args:
            reply: ranges with their nodes, the primary first.
            asked: who gave it; a node whose address is left open has the same one, and another port.

        Raises:
            ValueError: it is no such reply.
        """
        try:
            return cls([(*_range(one), _shard(one[2:], asked)) for one in reply])
        except (AttributeError, IndexError, TypeError, ValueError):
            raise ValueError("a reply that is no map of slots") from None

    def shard(self, slot: int) -> Shard | None:
        """Who has the slot; None if nobody has."""
        return self._table[slot]

    def move(self, slot: int, place: Place) -> None:
        """The slot has gone to the primary at this place."""
        known = (shard for shard in self.shards if shard.primary == place)
        self._table[slot] = next(known, None) or Shard(place)

    def primaries(self) -> list[Place]:
        """Where the primaries are."""
        return list(dict.fromkeys(shard.primary for shard in self.shards))

    def places(self) -> Iterator[Place]:
        """Where all nodes are, primaries first."""
        yield from self.primaries()
        for shard in self.shards:
            yield from shard.replicas


def _range(one: Any) -> tuple[int, int]:
    first, last = int(one[0]), int(one[1])
    if not 0 <= first <= last < SLOTS:
        raise ValueError
    return first, last


def _shard(nodes: Any, asked: Place) -> Shard:
    primary, *replicas = [_place(node, asked) for node in nodes]
    return Shard(primary, tuple(replicas))


def _place(node: Any, asked: Place) -> Place:
    host = node[0].decode() if node[0] else ""
    return (asked[0] if host in {"", "?"} else host), int(node[1])
