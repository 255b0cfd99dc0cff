"""The reference pages and .env.example say neither more nor less than the code."""

import ast
import dataclasses
import inspect
import re
from typing import Any

import pytest
from hearing import state, until
from pages import ROOT, env_example
from servers import RedisServer

import toolcache
from toolcache import AgentResult, Progress, RunContext, RunStatus, Settings, TaskError, ToolCache, errors, events
from toolcache.domains import IDEMPOTENCY
from toolcache.freshness_options import READERS
from toolcache.rules import CachedOptions
from toolcache.stores.redis import options
from toolcache.terms import Terms

REFERENCE = ROOT / "docs/reference"


def first_column(page: str) -> list[str]:
    """The names in code in the first column of a page's tables."""
    text = (REFERENCE / page).read_text("utf-8")
    return re.findall(r"^\| `([A-Za-z_.]+)[`(]", text, re.MULTILINE)


def test_env_example_lists_every_setting_and_nothing_else() -> None:
    """E6: a setting without a line in .env.example, or a line without a setting, is a mistake."""
    offered = {name.removeprefix("TOOLCACHE_").lower() for name in env_example() if name.startswith("TOOLCACHE_")}
    assert offered == {one.name for one in dataclasses.fields(Settings)}


def test_env_example_shows_the_defaults() -> None:
    """E6: uncommenting a line of .env.example changes nothing, unless it stands for a setting that is unset."""
    unset = ("REDIS_", "DIRECTORY", "MIRROR", "TTLS", "COSTS", "PRICES", "SECRET", "TENANT")
    shown = {k: v for k, v in env_example().items() if k.startswith("TOOLCACHE_") and not any(u in k for u in unset)}
    assert Settings.from_env(shown, dotenv=None) == Settings()


@pytest.mark.parametrize("name", [name for name, value in env_example().items() if value])
def test_each_line_of_env_example_can_be_used(name: str) -> None:
    """E6: what .env.example shows is understood."""
    assert Settings.from_env({name: env_example()[name]}, dotenv=None) is not None


def test_the_settings_page_lists_every_setting_with_its_default() -> None:
    """E5: the table of settings is the dataclass of settings."""
    names = [name for name in first_column("settings.md") if name.islower()]  # not the table of other variables
    assert names == [one.name for one in dataclasses.fields(Settings)]


def test_the_page_on_redis_lists_every_option_of_its_url() -> None:
    """E5: the table of options is what a URL may hold, and each is understood there."""
    text = (
        (ROOT / "docs/how-to/redis.md").read_text("utf-8").partition("## Options in the URL")[2].partition("\n## ")[0]
    )
    listed = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.*?)\|", text, re.MULTILINE)))
    by_url_alone = {"host", "port", "path", "tls"}
    assert sorted(listed) == sorted(options._READERS.keys() - by_url_alone)


def test_the_errors_page_lists_every_error() -> None:
    """E5: the table of errors is the module of errors."""
    ours = [n for n, c in vars(errors).items() if inspect.isclass(c) and issubclass(c, errors.ToolCacheError)]
    assert sorted(first_column("errors.md")) == sorted(ours)


def test_the_events_page_lists_every_event_with_its_fields() -> None:
    """E5: the table of events is the module of events."""
    kinds: tuple[Any, ...] = events.Event.__args__
    text = (REFERENCE / "events.md").read_text("utf-8")
    assert sorted(first_column("events.md")) == sorted(kind.__name__ for kind in kinds)
    for kind in kinds:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{kind.__name__}`"))
        for one in dataclasses.fields(kind):
            assert f"`{one.name}`" in row, f"{kind.__name__}.{one.name}"


def test_the_api_page_lists_every_public_method_with_its_parameters() -> None:
    """E5: the tables of methods are the class."""
    text = (REFERENCE / "api.md").read_text("utf-8")
    for name, member in inspect.getmembers(ToolCache):
        if name.startswith("_"):
            continue
        row = next((line for line in text.splitlines() if line.startswith((f"| `{name}(", f"| `{name}`"))), "")
        assert row, f"ToolCache.{name} is not on the page"
        if callable(member):
            for parameter in list(inspect.signature(member).parameters.values()):
                told = parameter.name in row or parameter.name in {"self", "options"}
                assert told, f"ToolCache.{name}: {parameter.name} is not on the page"


def test_the_api_page_lists_every_option_of_cached() -> None:
    """E5, BUG-106: an option that nobody is told of is none."""
    table = (
        (REFERENCE / "api.md").read_text("utf-8").partition("## Functions")[2].partition("The decorated function")[0]
    )
    assert {"ttl", *CachedOptions.__annotations__} <= set(re.findall(r"`(\w+)`", table)) | set(READERS)


def test_the_api_page_lists_every_public_name() -> None:
    """E5: whatever `toolcache` exports is described somewhere in the reference."""
    text = "".join(page.read_text("utf-8") for page in REFERENCE.glob("*.md"))
    assert not [name for name in toolcache.__all__ if f"`{name}" not in text and f".{name}" not in text]


def test_the_api_page_lists_every_option_of_requests_with_its_default() -> None:
    """E5: the table of the options of `once` is the dataclass of terms."""
    text = (REFERENCE / "api.md").read_text("utf-8").partition("## Requests that run once")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    assert told.keys() == {one.name for one in dataclasses.fields(Terms)}
    assert told.pop("retention") == "the domain's, 1 h"
    assert IDEMPOTENCY.ttl == 3600
    assert Terms.of({name: ast.literal_eval(default.strip("`")) for name, default in told.items()}) == Terms()


@pytest.mark.parametrize("thing", [AgentResult(""), TaskError(""), Progress(0), RunContext(1, ""), RunStatus("absent")])
def test_the_api_page_lists_what_an_answer_has(thing: object) -> None:
    """E5: the row of what a run is told, and of what a dispatch returns, has its fields and verbs, and no others."""
    text = (REFERENCE / "api.md").read_text("utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| `{type(thing).__name__}` "))
    told = re.findall(r"`([a-z_]+)(?:\(\))?`", row)
    assert sorted(told) == [one for one in dir(thing) if one[0] != "_" and one != "of"]


async def test_the_commands_that_the_page_names_are_enough(own_redis: RedisServer) -> None:
    """E5: a Redis user with no other rights than docs/how-to/redis.md names can do all that a cache does."""
    page = (ROOT / "docs/how-to/redis.md").read_text("utf-8")
    sentence = page[page.index("The user needs") : page.index("Behind sentinels")]  # those for one server
    rights = [f"+{name.lower()}" for name in re.findall(r"`([A-Z]+)`", sentence)]
    channels = re.findall(r"`(&\S+)`", sentence)
    own_redis.command("ACL", "SETUSER", "agent", "on", ">secret", "~tc1:*", "resetchannels", *channels, *rights)
    url = own_redis.url.replace("redis://", "redis://agent:secret@")
    seen: list[events.Event] = []
    async with ToolCache(redis_url=url, files=False) as cache:
        cache.subscribe(seen.append)
        await cache.get("anything")
        await until(lambda: state(cache) == "tracking")
        await cache.set("long", "x" * 2_000_000)
        await cache.set_many({"a": 1, "b": [2]})
    async with ToolCache(redis_url=url, files=False) as cache:
        cache.subscribe(seen.append)
        assert len(await cache.get("long")) == 2_000_000
        assert await cache.get_many(["a", "b", "c"]) == {"a": 1, "b": [2]}
        assert await cache.add("c", 3)
        assert (await cache.emit("news")).redis == "done"
        assert await cache.delete("a")
        assert (await cache.health()).status == "ok"
        assert (await cache.clear()).redis == "done"
    assert {type(event) for event in seen} == {events.CoherenceChanged}
