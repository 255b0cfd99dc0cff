"""The keys that ``scan`` tells find their entries, whoever has made them."""

import pytest

from toolcache import ToolCache


@pytest.mark.parametrize("model", ["small", "llama3:8b", "org/model 7%", "a:b:c"])
async def test_keys_of_domains_find_their_entries(model: str) -> None:
    """A domain joins its key of parts that may hold colons: the key that is told is the one that finds it."""
    async with ToolCache(files=False) as cache:
        await cache.set_embedding("text", model, [0.5, 0.25])
        await cache.set("plain key: 7%", 1)
        await cache.set("x" * 300, 2)
        told = [info.key async for info in cache.scan()]
        assert len(told) == 3
        assert all([await cache.exists(key) for key in told])
        assert all((await cache.delete_many(told)).values())


async def test_keys_of_an_agent_find_its_entries() -> None:
    """The same of a view: its keys are its own, without what stands before them in the cache."""
    async with ToolCache(files=False) as cache:
        view = cache.for_agent("f a:q")
        await view.set_embedding("text", "llama3:8b", [0.5])
        await view.set("plain key: 7%", 1)
        told = [info.key async for info in view.scan()]
        assert len(told) == 2
        assert all([await view.exists(key) for key in told])
