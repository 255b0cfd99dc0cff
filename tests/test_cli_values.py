"""The verbs that read and change entries, on the layers that outlive a command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Ran, call

from toolcache import ToolCache

Toolcache = Callable[..., Ran]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory, and none of the settings of whoever runs the tests."""
    import os

    for name in list(os.environ):
        if name.startswith(("TOOLCACHE_", "REDIS_", "USE_REDIS", "AI_CACHE_", "NO_COLOR", "FORCE_COLOR", "COLUMNS")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["file", "redis"])
def stores(request: pytest.FixtureRequest, place: Path) -> list[str]:
    """Options for stores that outlive a command."""
    if request.param == "file":
        return ["--backend", "file", "--dir", str(place / "files")]
    return ["--redis-url", request.getfixturevalue("redis_server").url, "--dir", str(place / "files")]


@pytest.fixture
def tc(stores: list[str], capsys: pytest.CaptureFixture[str]) -> Toolcache:
    """The command, with these stores."""
    return lambda *arguments: call(capsys, *stores, *arguments)


def document(ran: Ran) -> Any:
    """What was printed, which is one document."""
    return json.loads(ran.out)


class TestSetAndGet:
    @pytest.mark.parametrize(
        ("given", "more", "value"),
        [
            ("hello", [], "hello"),
            ('{"x": [1, null]}', [], {"x": [1, None]}),
            ("42", [], 42),
            ('"42"', [], "42"),
            ("42", ["--as", "text"], "42"),
            ("[1, 2]", ["--as", "json"], [1, 2]),
            ("NaN", [], "NaN"),
            ("1e999", [], "1e999"),
            ("a", ["--as", "bytes"], {"base64": "YQ=="}),
        ],
    )
    def test_what_is_stored_comes_back(self, tc: Toolcache, given: str, more: list[str], value: object) -> None:
        """A value is JSON where it can be read as JSON, else text, unless ``--as`` says what it is."""
        assert tc("set", "key", given, *more).code == 0
        got = tc("get", "key", "--json")
        assert got.code == 0
        assert document(got)["value"] == value

    def test_values_are_printed_as_they_are(self, tc: Toolcache) -> None:
        """Text is printed bare, anything else as JSON."""
        tc("set", "text", "two\nlines")
        tc("set", "object", '{"x": 1}')
        assert tc("get", "text").out == "two\nlines\n"
        assert tc("get", "object").out == '{\n  "x": 1\n}\n'

    def test_a_lifetime(self, tc: Toolcache) -> None:
        """``--ttl`` is kept, ``never`` is for ever, and without it there is the default."""
        assert document(tc("set", "a", "1", "--ttl", "90s", "--json"))["ttl"] == pytest.approx(90, abs=2)
        assert document(tc("set", "b", "1", "--ttl", "never", "--json"))["ttl"] is None
        assert document(tc("set", "c", "1", "--json"))["ttl"] == pytest.approx(3600, abs=2)
        assert "for ever" in tc("set", "b", "1", "--ttl", "never").out
        wrong = tc("set", "a", "1", "--ttl", "soon")
        assert (wrong.code, wrong.out) == (2, "")
        assert "'soon' is no span of time" in wrong.err

    def test_tags(self, tc: Toolcache) -> None:
        """Tags are kept, and what carries one is invalidated by it."""
        tc("set", "a", "1", "--tag", "news:x", "--tag", "b")
        assert document(tc("get", "a", "--json"))["tags"] == ["news:x", "b"]
        assert tc("invalidate", "--tag", "news").code == 0
        assert tc("get", "a").code == 1

    def test_what_is_known_of_an_entry(self, tc: Toolcache) -> None:
        """``--about`` tells size, instants and tags instead of the value."""
        tc("set", "a", "secret text", "--tag", "news")
        told = tc("get", "a", "--about").out
        assert "secret text" not in told
        for word in ("str", "UTC, now", "news", "in 1 h"):
            assert word in told

    def test_what_is_not_there(self, tc: Toolcache) -> None:
        """A key that is not there is exit code 1, and a sentence or a document that says so."""
        missing = tc("get", "nothing")
        assert (missing.code, missing.out) == (1, "")
        assert missing.err == "error: there is no such key; toolcache keys lists those that there are\n"
        told = tc("get", "nothing", "--json")
        assert (told.code, told.err) == (1, "")
        assert document(told)["error"]["kind"] == "not_found"
        assert document(told)["error"]["code"] == 1

    def test_a_value_that_is_no_json(self, tc: Toolcache) -> None:
        """With ``--as json`` text that is none is refused, and nothing is stored."""
        wrong = tc("set", "a", "{", "--as", "json")
        assert wrong.code == 2
        assert "is no JSON" in wrong.err
        assert tc("get", "a").code == 1


class TestDelete:
    def test_one(self, tc: Toolcache) -> None:
        """A key is deleted without being asked about; one that is not there is exit code 1."""
        tc("set", "a", "1")
        assert tc("delete", "a") == (0, "deleted\n", "")
        assert tc("delete", "a") == (1, "there was no such key\n", "")

    def test_several(self, tc: Toolcache) -> None:
        """Several are deleted only with ``--yes`` where nobody can be asked."""
        tc("set", "a", "1")
        refused = tc("delete", "a", "b")
        assert refused.code == 2
        assert "--yes" in refused.err
        assert tc("get", "a").code == 0
        assert document(tc("delete", "a", "b", "--yes", "--json")) == {"deleted": 1, "keys": {"a": True, "b": False}}
        assert tc("get", "a").code == 1


class TestKeys:
    def test_what_is_listed(self, tc: Toolcache) -> None:
        """A pattern, a tag, a domain and a limit each choose; a pipe gets a key a line."""
        for key, tag in (("user:1", "a"), ("user:2", "b"), ("page", "a:b")):
            tc("set", key, "1", "--tag", tag)
        assert tc("keys").out == "page\nuser:1\nuser:2\n"
        assert tc("keys", "user:*").out == "user:1\nuser:2\n"
        assert tc("keys", "--tag", "a").out == "page\nuser:1\n"
        assert tc("keys", "--domain", "search").out == ""
        limited = tc("keys", "--limit", "2", "--json")
        assert len(document(limited)["keys"]) == 2
        assert document(limited)["more"] is True
        assert document(tc("keys", "--limit", "3", "--json"))["more"] is False

    async def _fill(self, place: Path) -> None:
        async with ToolCache(directory=place / "files", metrics=False) as cache:
            await cache.set_search_results("q", ["hit"])
            await cache.set("own", 1)

    def test_entries_of_a_domain(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """What a cache has stored in a domain is listed as such, and can be read by its key."""
        import asyncio

        asyncio.run(self._fill(place))
        stores = ["--backend", "file", "--dir", str(place / "files")]
        (key,) = call(capsys, *stores, "keys", "--domain", "search").out.splitlines()
        assert json.loads(call(capsys, *stores, "get", key).out) == ["hit"]

    def test_a_hostile_key(self, tc: Toolcache) -> None:
        """A key that holds an escape code is shown by its number, and stays one line."""
        tc("set", "a\x1b[31m\nb", "1")
        assert tc("keys").out == "a\\x1b[31m\\nb\n"


class TestForget:
    def test_clear(self, tc: Toolcache) -> None:
        """The namespace is cleared with ``--yes``, another one is not, and without a terminal nothing is."""
        tc("set", "a", "1")
        tc("--namespace", "other", "set", "a", "2")
        refused = tc("clear")
        assert refused.code == 2
        assert "'default'" in refused.err
        assert tc("get", "a").code == 0
        assert tc("clear", "--yes").code == 0
        assert tc("get", "a").code == 1
        assert tc("--namespace", "other", "get", "a").out == "2\n"

    def test_by_pattern(self, tc: Toolcache) -> None:
        """A pattern is asked about, and says how many went."""
        for key in ("user:1", "user:2", "page"):
            tc("set", key, "1")
        assert tc("invalidate", "--pattern", "user:*").code == 2
        assert document(tc("invalidate", "--pattern", "user:*", "--yes", "--json"))["removed"] == 2
        assert tc("keys").out == "page\n"

    @pytest.mark.parametrize("kind", ["--agent", "--tool", "--catalog-version", "--domain"])
    def test_by_name(self, tc: Toolcache, kind: str) -> None:
        """Names are passed on as they are: the receipt says of which kind they were."""
        told = document(tc("invalidate", kind, "search", "--json"))
        assert told["scope"] == kind.removeprefix("--").replace("-", "_")
        assert told["files"] == "done" or told["redis"] == "done"

    def test_what_belongs_to_a_name_goes(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """``--catalog-version`` and ``--domain`` forget what belongs to them, and leave the rest."""
        import asyncio

        async def fill() -> None:
            async with ToolCache(directory=place / "files", metrics=False) as cache:
                await cache.set_search_results("q", ["hit"], catalog_version="v2")
                await cache.set_embedding("text", "model", [0.5])
                await cache.set("own", 1)

        asyncio.run(fill())
        stores = ["--backend", "file", "--dir", str(place / "files")]
        assert len(call(capsys, *stores, "keys").out.splitlines()) == 3
        call(capsys, *stores, "invalidate", "--catalog-version", "v2")
        assert len(call(capsys, *stores, "keys").out.splitlines()) == 2
        call(capsys, *stores, "invalidate", "--domain", "embedding")
        assert call(capsys, *stores, "keys").out == "own\n"

    @pytest.mark.parametrize("counted", [True, False])
    def test_a_domain_of_the_users_own(self, counted: bool, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A domain that an application declares is known by what was counted of it, or by its entries."""
        import asyncio

        from toolcache import Domain

        async def fill() -> None:
            async with ToolCache(directory=place / "files", metrics=counted) as cache:
                await cache[Domain("weather", ttl="1h", key=("city",))].set("rain", city="Oslo")

        asyncio.run(fill())
        stores = ["--backend", "file", "--dir", str(place / "files")]
        assert call(capsys, *stores, "invalidate", "--domain", "weather").code == 0
        assert call(capsys, *stores, "keys").out == ""

    def test_what_cannot_be_told_anybody(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Where Redis is away and there are no files, what is to be forgotten cannot be: exit code 3."""
        (place / ".env").write_text("TOOLCACHE_FILES=false\n")
        ran = call(capsys, "--redis-url", "redis://127.0.0.1:1", "clear", "--yes", "--json")
        assert ran.code == 3
        assert json.loads(ran.out)["error"]["kind"] == "unreachable"

    def test_one_kind_at_a_time(self, tc: Toolcache) -> None:
        """None, or two kinds, are refused; a domain that does not exist is told with the nearest."""
        assert "name what to forget" in tc("invalidate").err
        assert "one kind at a time" in tc("invalidate", "--tag", "a", "--agent", "b").err
        wrong = tc("invalidate", "--domain", "serch")
        assert wrong.code == 2
        assert "did you mean 'search'?" in wrong.err

    def test_cleanup(self, tc: Toolcache) -> None:
        """It says what was given back, and loses nothing."""
        tc("set", "a", "1")
        told = tc("cleanup", "--json")
        assert told.code == 0
        assert set(document(told)) == {"memory", "files", "epochs"}
        assert "given back" in tc("cleanup").out
        assert tc("get", "a").code == 0


class TestMoves:
    def test_there_and_back(self, tc: Toolcache, place: Path) -> None:
        """A backup holds every entry, and restores it in another namespace; restoring asks."""
        tc("set", "a", "1")
        tc("set", "b", "2")
        path = str(place / "x.backup")
        told = tc("backup", path, "--json")
        assert (told.code, document(told)["entries"]) == (0, 2)
        assert tc("--namespace", "other", "restore", path).code == 2
        assert "2 taken from" in tc("--namespace", "other", "restore", path, "--yes").out
        assert tc("--namespace", "other", "get", "b").out == "2\n"

    def test_newer_entries_stay(self, tc: Toolcache, place: Path) -> None:
        """With ``--keep-newer`` what is newer than the backup stays."""
        path = str(place / "x.backup")
        tc("set", "a", "1")
        tc("backup", path)
        tc("set", "a", "2")
        assert document(tc("restore", path, "--keep-newer", "--yes", "--json"))["skipped"] == {"newer there": 1}
        assert tc("get", "a").out == "2\n"
        tc("restore", path, "--yes")
        assert tc("get", "a").out == "1\n"

    def test_a_file_that_is_none(self, tc: Toolcache, place: Path) -> None:
        """A file that cannot be believed is exit code 1, in one sentence."""
        (place / "x.backup").write_text("no backup")
        wrong = tc("restore", str(place / "x.backup"), "--yes")
        assert (wrong.code, wrong.out, wrong.err.count("\n")) == (1, "", 1)

    def test_a_rate(self, tc: Toolcache, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """``--rate`` and ``--anew`` are passed on."""
        given: list[dict[str, Any]] = []

        async def export(_self: ToolCache, _path: str, **options: Any) -> Any:
            from toolcache import Transfer

            given.append(options)
            return Transfer()

        async def import_(_self: ToolCache, _path: str, **options: Any) -> Any:
            return await export(_self, _path, **options)

        monkeypatch.setattr(ToolCache, "export", export)
        monkeypatch.setattr(ToolCache, "import_", import_)
        tc("backup", str(place / "x"), "--rate", "5", "--anew")
        tc("restore", str(place / "x"), "--rate", "7", "--yes")
        assert [one["rate"] for one in given] == [5.0, 7.0]
        assert given[0]["resume"] is False


class TestGlobalOptions:
    def test_before_and_after_the_verb(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A global option may stand before the verb or after it; of two the last one holds."""
        where = str(place / "files")
        assert call(capsys, "--dir", where, "set", "a", "1").code == 0
        assert call(capsys, "get", "a", "--dir", where).out == "1\n"
        assert call(capsys, "--dir", str(place / "other"), "get", "a", "--dir", where).out == "1\n"

    def test_memory_alone(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """``--backend memory`` touches no disk, and says that what is stored there ends with the command."""
        ran = call(capsys, "--backend", "memory", "set", "a", "1")
        assert ran.code == 0
        assert "in memory" in ran.out
        assert "ends with it" in ran.err
        assert list(place.iterdir()) == []

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--backend", "file", "--redis-url", "redis://localhost"], "leave out --redis-url"),
            (["--backend", "memory", "--dir", "x"], "leave out --dir"),
            (["--backend", "disk"], "'disk' is not one of"),
            (["--env-file", "nowhere.env"], "there is no such file"),
            (["--timeout", "soon"], "--timeout='soon' is no span"),
            (["--namespace", "a:b"], "namespace"),
            (["--redis-url", "http://x"], "begins with redis://"),
        ],
    )
    def test_what_cannot_be(
        self, options: list[str], says: str, place: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Options that contradict one another, or cannot be read, are exit code 2 and a sentence."""
        ran = call(capsys, *options, "get", "a")
        assert (ran.code, ran.out) == (2, "")
        assert says in ran.err
        assert "Traceback" not in ran.err
        told = call(capsys, *options, "get", "a", "--json")
        assert (told.code, told.err) == (2, "")
        assert json.loads(told.out)["error"]["code"] == 2

    def test_a_file_of_settings(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """``.env`` is read where there is one, and ``--env-file`` names another."""
        (place / ".env").write_text(f"TOOLCACHE_DIRECTORY={place / 'one'}\n")
        (place / "two.env").write_text(f"TOOLCACHE_DIRECTORY={place / 'two'}\n")
        call(capsys, "set", "a", "1")
        call(capsys, "--env-file", "two.env", "set", "b", "2")
        assert call(capsys, "--dir", str(place / "one"), "keys").out == "a\n"
        assert call(capsys, "--dir", str(place / "two"), "keys").out == "b\n"

    @pytest.mark.parametrize("verb", [["get", "a"], ["keys"], ["delete", "a"], ["stats"], ["health"]])
    def test_a_redis_that_is_away(self, verb: list[str], place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Where Redis cannot be reached, nobody is told that there is nothing: exit code 3."""
        ran = call(capsys, "--redis-url", "redis://127.0.0.1:1", "--dir", str(place / "files"), *verb)
        assert ran.code == 3
        assert "connection refused" in (ran.err + ran.out).replace("\n", " ") or verb == ["stats"]

    def test_patience(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """``--timeout`` is what a call may spend on each store; without it, a person's patience."""
        from toolcache.cli.call import Call, Choices

        choices = Choices()
        assert Call(choices).settings().op_timeout == 2.0
        choices.timeout = "300ms"
        settings = Call(choices).settings()
        assert (settings.op_timeout, settings.file_timeout, settings.connect_timeout) == (0.3, 0.3, 0.3)
        assert settings.metrics is False

    def test_redis_by_name(self, place: Path) -> None:
        """``--backend redis`` without an address is the Redis of this host; with one from the environment, that."""
        from toolcache.cli.call import Call, Choices

        choices = Choices()
        choices.backend = "redis"
        assert Call(choices).settings().redis_url == "redis://localhost:6379"
        (place / ".env").write_text("REDIS_URL=redis://elsewhere\n")
        assert Call(choices).settings().redis_url == "redis://elsewhere"
        choices.backend = "file"
        assert Call(choices).settings().redis_url is None
