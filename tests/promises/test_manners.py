"""How a cache bears trouble that is not its own, or that lasts."""

import errno
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from rig import Rig, far

from toolcache.cache import Cache
from toolcache.entry import MISSING, Durability
from toolcache.layer import Layer
from toolcache.testing import ChaosStore


def chaos(layer: Layer | None) -> ChaosStore:
    """The store of a layer, to be made to fail."""
    assert layer is not None
    assert isinstance(layer.store, ChaosStore)
    return layer.store


def states(cache: Cache) -> dict[str, str]:
    """What the breakers of a cache say."""
    layers = [layer for layer in (cache._parts.redis, cache._parts.files) if layer is not None]
    return {layer.name: layer.guard.breaker.state.value for layer in layers}


@pytest.mark.parametrize(
    "error", [ConnectionResetError, TimeoutError, partial(OSError, errno.ENOSPC, "full"), RuntimeError, MemoryError]
)
async def test_failing_computations_say_nothing_of_the_stores(cache: Cache, error: Callable[[], Exception]) -> None:
    """BUG-54: 50 computations that fail with what a store could have failed with leave every breaker closed."""

    async def fail() -> None:
        raise error()

    for number in range(50):
        with pytest.raises(type(error())):
            await cache.get_or_set(f"key{number}", fail)
    assert set(states(cache).values()) <= {"closed"}
    assert await cache.get_or_set("key", lambda: 1) == 1


@far
async def test_a_long_outage_is_told_in_a_few_lines(rig: Rig, cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    """BUG-56: 1,000 calls in an outage of five minutes: a few lines, none with a traceback; the store is spared."""
    stores = [chaos(layer) for layer in (cache._parts.redis, cache._parts.files) if layer is not None]
    for store in stores:
        store.fail_with(partial(ConnectionRefusedError, errno.ECONNREFUSED, "refused"))
    with caplog.at_level(logging.DEBUG, "toolcache"):
        for number in range(500):
            await cache.get(f"key{number}")
            await cache.set(f"key{number}", number)
            rig.clock.advance(0.6)
    assert 0 < len(caplog.records) < 120
    assert not any(record.exc_info for record in caplog.records)
    assert "key1" not in caplog.text
    # A wait of 1 s and two breakers: at most two probes a second, however many calls there are.
    assert all(store.calls.total() < 4 * 300 for store in stores)
    for store in stores:
        store.heal()
    rig.clock.advance(61)
    assert await cache.set("key", 1) > Durability.MEMORY


@pytest.mark.parametrize("layering", ["memory+redis+file"])
@pytest.mark.parametrize("broken", ["redis", "file"])
async def test_each_store_is_given_up_alone(rig: Rig, cache: Cache, broken: str) -> None:
    """BUG-57: with one store broken, its breaker opens, the other's stays closed and goes on taking writes."""
    await cache.set("before", 1)
    layers = {layer.name: layer for layer in (cache._parts.redis, cache._parts.files) if layer is not None}
    chaos(layers[broken]).fail_with(ConnectionRefusedError)
    fine = Durability.FILE if broken == "redis" else Durability.REDIS
    for number in range(20):
        assert await cache.set(f"key{number}", number) is fine
        assert await cache.delete(f"key{number}") is True
        assert await cache.get(f"key{number}", MISSING) is MISSING
    assert states(cache) == {name: "open" if name == broken else "closed" for name in layers}


@far
async def test_a_value_that_was_computed_reaches_its_caller_whatever_fails(rig: Rig, cache: Cache) -> None:
    """BUG-44, BUG-45, BUG-84: with all stores failing in every way, the new value comes back, and is hit from memory."""
    faults: list[Any] = [ConnectionRefusedError, partial(OSError, errno.ENOSPC, "full"), TypeError, MemoryError]
    for number, fault in enumerate(faults):
        for layer in (cache._parts.redis, cache._parts.files):
            if layer is not None:
                chaos(layer).fail_with(fault)
        assert await cache.get_or_set(f"key{number}", lambda number=number: [number]) == [number]
        assert await cache.get_or_set(f"key{number}", lambda: "again") == [number]
