"""Tags: what a caller may give, by whichever way, and what is the cache's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from toolcache import MISSING, AgentTask, Context, Durability, ToolCache
from toolcache.events import Event, ValueNotStored
from toolcache.tags import RESERVED, check, labels

TASK = AgentTask("a", "t")

WRONG: list[tuple[Any, str]] = [
    ("abc", r"list of texts, not one text: write it like tags=\['news'\]"),
    (b"abc", "list of texts, not bytes"),
    (5, "list of texts, not int"),
    (None, "list of texts, not NoneType"),
    (["a", "@d:search"], "tag 1 begins with '@', and such tags are the cache's own"),
    (["@n"], "tag 0 begins with '@'"),
    (["@"], "tag 0 begins with '@'"),
    (["a", 5], "tag 1 is not a text or empty"),
    ([""], "tag 0 is not a text or empty"),
    ([f"t{i}" for i in range(17)], "17 tags"),
    (["x" * 129], "129 characters"),
    (["a:b:c:d:e:f:g:h:i"], "9 levels"),
]

WAYS: dict[str, Callable[[ToolCache, Any], Awaitable[Any]]] = {
    "set": lambda cache, tags: cache.set("k", 1, tags=tags),
    "set_many": lambda cache, tags: cache.set_many({"k": 1}, tags=tags),
    "set_many of none": lambda cache, tags: cache.set_many({}, tags=tags),
    "add": lambda cache, tags: cache.add("k", 1, tags=tags),
    "get_or_set": lambda cache, tags: cache.get_or_set("k", lambda: 1, tags=tags),
    "set_catalog": lambda cache, tags: cache.set_catalog("k", [1], tags=tags),
    "set_embedding": lambda cache, tags: cache.set_embedding("k", "m", [1.0], tags=tags),
    "set_embeddings": lambda cache, tags: cache.set_embeddings(["k"], "m", [[1.0]], tags=tags),
    "set_search_results": lambda cache, tags: cache.set_search_results("k", [1], tags=tags),
    "set_metadata": lambda cache, tags: cache.set_metadata("k", {}, tags=tags),
    "set_result": lambda cache, tags: cache.set_result(TASK, 1, tags=tags),
}


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[ToolCache]:
    async with ToolCache(directory=tmp_path / "files") as opened:
        yield opened


@pytest.mark.parametrize(("tags", "told"), WRONG)
def test_what_is_no_list_of_tags_is_refused(tags: Any, told: str) -> None:
    """BUG-85: the error says which tag and what is possible, and repeats no tag."""
    with pytest.raises(ValueError, match=told):
        labels(tags)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tags", ["abc", ["@d:search"], ["x" * 129]], ids=["text", "reserved", "long"])
async def test_every_way_in_refuses_them(cache: ToolCache, way: str, tags: Any) -> None:
    """BUG-85: one rule for every method that takes tags; nothing is stored."""
    with pytest.raises(ValueError, match="tag"):
        await WAYS[way](cache, tags)
    assert len(cache._parts.memory) == 0
    assert cache.stats().layers["file"].writes == 0
    assert await cache.get_result(TASK, MISSING) is MISSING


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in_takes_any_iterable_of_texts(cache: ToolCache, way: str) -> None:
    """A generator is read once, an address with an ``@`` inside is a text like any other."""
    await WAYS[way](cache, (tag for tag in ("mail:a@b", "c")))
    held = [held.tags for shard in cache._parts.memory.shards for held in shard.values()]
    users = {tuple(tag for tag in tags if not tag.startswith("@")) for tags in held}
    assert users <= {("mail:a@b", "c")}
    assert held or way in {"set_many of none", "set_result"}  # a result stays on file


@pytest.mark.parametrize("tags", ["abc", ["@d:search"], 5], ids=["text", "reserved", "number"])
async def test_tags_that_a_computation_sets_wrongly_lose_no_value(cache: ToolCache, tags: Any) -> None:
    """BUG-84, BUG-85: the computation's callers get its value; it is stored nowhere, and told."""
    seen: list[Event] = []
    cache.subscribe(seen.append)

    def compute(context: Context) -> str:
        context.tags = tags
        return "value"

    assert await cache.get_or_set("k", compute) == "value"
    assert await cache.get("k", MISSING) is MISSING
    assert [type(event) for event in seen] == [ValueNotStored]


async def test_a_result_is_under_the_tags_that_its_caller_gave(tmp_path: Path) -> None:
    """What a result answers stands in its record, and takes none of the places that a caller has for tags."""
    async with ToolCache(files=False) as memory, ToolCache(directory=tmp_path) as files:
        for cache in (memory, files):
            await cache.set_result(TASK, 1, tags=["news", "eu:no"])
            machine = cache._machine
            record = await machine.answers.get(machine.ledger.name(machine.enter([cache._keys.result(TASK)])[0]))
            assert record is not None
            assert record.tags == ("news", "eu:no")
            assert record.fingerprint == TASK.fingerprint
            await cache.invalidate(tags=["eu"])
            assert await cache.get_result(TASK) is None


async def test_a_cache_that_is_switched_off_refuses_the_same() -> None:
    """BUG-106: what would fail once the cache is on fails before."""
    async with ToolCache(enabled=False) as cache:
        with pytest.raises(ValueError, match="cache's own"):
            await cache.set("key", 1, tags=["@f:1"])
        assert await cache.set("key", 1, tags=["f"]) is Durability.MEMORY


def test_the_caches_own_are_no_callers() -> None:
    """What the cache gives an entry by itself passes where entries are packed, and is refused from callers."""
    own = "@d:search"
    check([own, *(f"t{i}" for i in range(16))])
    assert own.startswith(RESERVED)
    with pytest.raises(ValueError, match="cache's own"):
        labels([own])
