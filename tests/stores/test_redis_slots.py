"""Which node has a key: slots, and the map that nodes tell of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from toolcache.stores.redis.slots import SLOTS, Shard, SlotMap, slot_of

_ONE, _TWO, _THREE = ("10.0.0.1", 7000), ("10.0.0.2", 7000), ("10.0.0.3", 7001)


@given(key=st.binary() | st.text(alphabet="{}ab:", max_size=12).map(str.encode))
def test_slots_are_those_of_redis(key: bytes) -> None:
    """BUG-103: whatever bytes and braces a key has, its slot is the one that redis-py computes."""
    assert slot_of(key) == key_slot(key)


@pytest.mark.parametrize(
    ("key", "same_as"),
    [
        (b"{user}.a", b"user"),
        (b"a{user}b{other}", b"user"),
        (b"a{{user}}b", b"{user"),
    ],
)
def test_what_is_in_braces_decides(key: bytes, same_as: bytes) -> None:
    """BUG-103: the first braces with something inside; see also the specification of Redis Cluster."""
    assert slot_of(key) == slot_of(same_as)
    assert slot_of(b"{}" + key) != slot_of(b"{}")


def test_a_reply_is_read() -> None:
    """BUG-103: ranges, primaries and replicas, with or without identities and metadata."""
    reply = [
        [0, 99, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.2", 7000, b"id", [b"hostname", b"h"]]],
        [100, 100, [b"10.0.0.3", 7001]],
        [200, SLOTS - 1, [b"10.0.0.1", 7000, b"id", []], [b"10.0.0.2", 7000, b"id"]],
    ]
    slots = SlotMap.read(reply, asked=_TWO)
    both = Shard(_ONE, (_TWO,))
    assert [slots.shard(slot) for slot in (0, 99, 100, 200, SLOTS - 1)] == [both, both, Shard(_THREE), both, both]
    assert slots.shard(101) is None
    assert slots.primaries() == [_ONE, _THREE]
    assert list(slots.places()) == [_ONE, _THREE, _TWO]


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_an_address_left_open_is_that_of_who_was_asked(host: bytes | None) -> None:
    """BUG-103: as ``cluster-preferred-endpoint-type unknown-endpoint`` has it."""
    slots = SlotMap.read([[0, SLOTS - 1, [host, 7009, b"id", []]]], asked=_TWO)
    assert slots.shard(5) == Shard(("10.0.0.2", 7009))


def test_a_slot_moves() -> None:
    """BUG-103: to a primary that is known, with its replicas, or to one that is not."""
    slots = SlotMap([(0, 9, Shard(_ONE)), (10, 19, Shard(_TWO, (_THREE,)))])
    slots.move(3, _TWO)
    slots.move(4, ("new", 1))
    assert [slots.shard(slot) for slot in (2, 3, 4)] == [Shard(_ONE), Shard(_TWO, (_THREE,)), Shard(("new", 1))]


@pytest.mark.parametrize(
    "reply",
    [
        None,
        1,
        b"OK",
        [1],
        [[0]],
        [[0, 1]],
        [[0, 1, None]],
        [[0, 1, [b"h"]]],
        [[0, SLOTS, [b"h", 1]]],
        [[5, 1, [b"h", 1]]],
    ],
)
def test_what_is_no_map_is_refused(reply: object) -> None:
    """BUG-103: whatever a server says."""
    with pytest.raises(ValueError, match="no map"):
        SlotMap.read(reply, asked=_ONE)
