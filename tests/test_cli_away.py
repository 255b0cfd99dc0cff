"""What verbs tell when a store cannot be asked: of which the answer is, or that nobody has one; by a real Redis that hangs or is dead."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Ran, call
from servers import RedisServer

from toolcache import ToolCache
from toolcache.cli import call as calls

ADVICE = [["analyze"], ["diagnose"], ["alerts"], ["stale"], ["top"], ["top", "--by", "bytes"]]
Toolcache = Callable[..., Ran]


@pytest.fixture(params=["frozen", "killed"])
def away(request: pytest.FixtureRequest, own_redis: RedisServer, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that was used, and hangs now, or is dead; the files of this host know of one lookup."""

    async def work() -> None:
        async with ToolCache(redis_url=own_redis.url, directory=tmp_path / "files") as cache:
            await cache.get_search_results("query", compute=lambda: ["found"])

    asyncio.run(work())
    if request.param == "killed":
        own_redis.stop()
        yield own_redis
    else:
        with own_redis.frozen():
            yield own_redis


@pytest.fixture
def tc(
    away: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Toolcache:
    """The command over that Redis and the files, without much patience."""
    for name in list(os.environ):
        if name.startswith(("TOOLCACHE_", "REDIS_", "USE_REDIS", "AI_CACHE_", "COLUMNS", "FORCE_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(calls, "PATIENCE", 0.2)
    monkeypatch.setenv("TOOLCACHE_OP_TIMEOUT", "0.2")
    monkeypatch.setenv("TOOLCACHE_CONNECT_TIMEOUT", "0.2")
    return lambda *arguments: call(
        capsys, "--redis-url", away.url, "--dir", str(tmp_path / "files"), *map(str, arguments)
    )


@pytest.mark.parametrize("verb", ADVICE, ids=" ".join)
def test_whose_answer_it_is(verb: list[str], tc: Toolcache, away: RedisServer) -> None:
    """What the files know is told, as theirs alone, in a sentence beside it; exit code 3, and the document says the same."""
    ran = tc(*verb)
    assert ran.code == 3
    assert ran.out
    said = " ".join(ran.err.split())
    assert said.startswith(f"Redis at {away.url} cannot be used (")
    assert said.endswith("): what follows is of the files of this host alone")
    told = tc(*verb, "--json")
    assert told.code == 3
    assert json.loads(told.out)["complete"] is False


@pytest.mark.parametrize("verb", ADVICE, ids=" ".join)
def test_nobody_has_an_answer(verb: list[str], tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without files there is none: the sentence says so, and nothing is told as if all were well."""
    monkeypatch.setenv("TOOLCACHE_FILES", "false")
    monkeypatch.delenv("TOOLCACHE_DIRECTORY", raising=False)
    ran = tc(*verb)
    assert (ran.code, ran.out) == (3, "")
    assert "so nobody can say; toolcache health tells what to do" in " ".join(ran.err.split())
    told = tc(*verb, "--json")
    assert (told.code, json.loads(told.out)["error"]["kind"]) == (3, "unreachable")


def test_alerts_that_are_judged_by_this_host_alone(tc: Toolcache, tmp_path: Path) -> None:
    """``alerts check`` goes by the files of this host: it says so."""
    rules = tmp_path / "alerts.toml"
    rules.write_text('[[alert]]\nname = "slow"\nmetric = "latency_p99"\ncondition = "> 1"\nwindow = "5m"\n')
    ran = tc("alerts", "check", "--file", rules, "--json")
    assert ran.code == 3
    told = json.loads(ran.out)
    assert (told["judged_on"], told["complete"]) == ("file", False)
    assert "of the files of this host alone" in " ".join(ran.err.split())


def test_a_backup_of_what_cannot_be_listed(tc: Toolcache, tmp_path: Path) -> None:
    """It is not the file that is bad: exit code 3."""
    told = tc("backup", tmp_path / "all", "--json")
    assert told.code == 3
    error = json.loads(told.out)["error"]
    assert error["kind"] == "unreachable"
    assert "redis cannot be listed" in error["message"]


def test_nothing_was_counted_as_far_as_can_be_asked(tc: Toolcache) -> None:
    """Where a layer is away, nobody is told to look elsewhere for what it may have."""
    ran = tc("stats", "--namespace", "other")
    assert ran.code == 3
    assert "Nothing was counted in the last 1h, as far as could be asked." in ran.out
    assert "--namespace" not in ran.out
