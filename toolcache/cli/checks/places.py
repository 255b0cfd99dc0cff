"""Where the servers are that take writes: one, the master that sentinels name, or each primary of a cluster."""

from contextlib import aclosing
from functools import partial

from toolcache.clock import SystemClock
from toolcache.stores.redis import driver
from toolcache.stores.redis.inquiry import inquire, most_telling
from toolcache.stores.redis.sentinel import SentinelDialer
from toolcache.stores.redis.slots import SlotMap
from toolcache.stores.redis.url import Address, Place
from toolcache.stores.redis.wire import pack


async def places(address: Address, within: float) -> list[Address]:
    """The addresses of these servers.

    Args:
        address: as it is configured.
        within: seconds that asking one server may take.

    Raises:
        Exception: redis-py's: nobody can tell.
    """
    if address.deployment == "sentinel":
        return [await _master(address, within)]
    if address.deployment == "cluster":
        return await _primaries(address, within)
    return [address]


async def _master(address: Address, within: float) -> Address:
    dialer = SentinelDialer(
        address,
        client=None,
        credentials=None,
        clock=SystemClock(),  # its own: to look changes nothing
        timeout=within,
        patience=within,
        announce=lambda _event: None,
    )
    (await dialer.dial(False)).close()
    return address.at(dialer.place)


async def _primaries(address: Address, within: float) -> list[Address]:
    faults: list[Exception] = []
    async with aclosing(inquire([partial(_slots, address, node, within) for node in address.nodes])) as answers:
        async for answer in answers:
            if not isinstance(answer, Exception):
                return [address.at(place) for place in answer.primaries()]
            faults.append(answer)
    raise most_telling(faults)


async def _slots(address: Address, node: Place, within: float) -> SlotMap:
    raw = driver.connection_to(address.at(node), None, within)
    connection = await driver.connect(raw, within=within, patience=within)
    try:
        (said,) = await connection.call(pack(b"CLUSTER", b"SLOTS"))
    finally:
        connection.close()
    if isinstance(said, Exception):
        raise said
    return SlotMap.read(said, asked=node)
