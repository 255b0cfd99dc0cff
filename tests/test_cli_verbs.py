"""The verbs that tell of savings, alerts and advice, that warm, serve, measure and show."""

import asyncio
import json
import os
import socket
import stat
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Ran, Terminal, call, command

from toolcache import ToolCache
from toolcache.cli import demo, serve
from toolcache.cli.problems import Problem

Toolcache = Callable[..., Ran]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory, and none of the settings of whoever runs the tests."""
    for name in list(os.environ):
        if name.startswith(("TOOLCACHE_", "REDIS_", "USE_REDIS", "AI_CACHE_", "COLUMNS", "FORCE_COLOR")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tc(place: Path, capsys: pytest.CaptureFixture[str]) -> Toolcache:
    """The command, with files of the test's own."""
    return lambda *arguments: call(capsys, "--backend", "file", "--dir", str(place / "files"), *arguments)


@pytest.fixture
def worked(place: Path) -> Path:
    """A place where a cache has worked: two misses and three hits, of two domains."""

    async def work() -> None:
        async with ToolCache(directory=place / "files", costs={"search": 0.5}) as cache:
            for query in ("a", "a", "a"):
                await cache.get_search_results(query, compute=lambda: ["hit"])
            for _ in range(2):
                await cache.get_response("faq", "goal", model="large", compute=lambda: {"text": "x" * 500})

    asyncio.run(work())
    return place


class TestStats:
    def test_what_processes_have_counted(self, worked: Path, tc: Toolcache) -> None:
        """What another process has counted is shown, and looking counts nothing."""
        for _ in range(2):
            told = json.loads(tc("stats", "--json").out)
            assert (told["total"]["hits"], told["total"]["misses"]) == (3, 2)
            assert told["domains"]["search"]["hits"] == 2
            assert len(told["processes"]) == 1
            tc("get", "nothing")

    def test_the_period(self, worked: Path, tc: Toolcache) -> None:
        """``--period`` is how far back; what is none is exit code 2."""
        assert len(json.loads(tc("stats", "--json").out)["points"]) == 60
        assert len(json.loads(tc("stats", "--period", "5m", "--json").out)["points"]) == 5
        assert json.loads(tc("stats", "--period", "30d", "--json").out)["step"] == 86_400
        assert "the last 5m" in tc("stats", "--period", "5m").out
        assert tc("stats", "--period", "900d").code == 2

    def test_the_label(self, worked: Path, tc: Toolcache) -> None:
        """``--by`` is what rows are of."""
        assert "search" in tc("stats").out
        by_model = tc("stats", "--by", "model").out
        assert "large" in by_model
        assert "search" not in by_model

    def test_nothing_was_counted(self, tc: Toolcache) -> None:
        """Where nothing was counted it says so; ``watch``, which looks once in a pipe, does too."""
        assert "Nothing was counted in the last 1h." in tc("stats").out
        assert "Nothing was counted in the last 15m." in tc("watch").out


class TestSavings:
    def test_what_was_saved(self, worked: Path, tc: Toolcache) -> None:
        """Dollars are what was avoided times what one costs, as the document and the table say."""
        told = json.loads(tc("savings", "--json").out)
        assert told["cost_saved"] == 1.0
        assert told["domains"]["search"]["computations_avoided"] == 2
        assert told["ledger"][0]["source"] == "declared"
        assert "$1.00 saved, $0.5000 were spent" in tc("savings").out

    def test_options(self, worked: Path, tc: Toolcache) -> None:
        """``--by``, ``--explain`` and ``--period`` are heeded."""
        assert "faq" in tc("savings", "--by", "agent").out
        assert "faq" not in tc("savings").out
        assert "what one costs" in tc("savings", "--explain").out
        spans = [json.loads(tc("savings", *more, "--json").out) for more in ([], ["--period", "1h"])]
        assert spans[0]["until"] - spans[0]["since"] > 28 * 86_400
        assert spans[1]["until"] - spans[1]["since"] <= 3_600

    def test_advice(self, worked: Path, tc: Toolcache) -> None:
        """Where nobody knows what a computation costs it says what to do."""
        assert "response: nobody knows what one costs" in tc("savings").out.replace("\n", " ")


class TestTop:
    @pytest.mark.parametrize(
        ("by", "first", "amount"), [("hits", "search", 2), ("misses", "response", 1), ("dollars", "search", 1.0)]
    )
    def test_rows_by_what_counts(self, by: str, first: str, amount: float, worked: Path, tc: Toolcache) -> None:
        """The domain that counts most comes first."""
        rows = json.loads(tc("top", "--by", by, "--json").out)["top"]
        assert rows[0][by] == amount
        assert first in {row["domain"] for row in rows if row[by] == amount}
        assert first in tc("top", "--by", by).out

    @pytest.mark.parametrize(
        ("by", "ranked", "title"),
        [
            ("hits", "series", "domains with their agents, tools and models, by hits  the last 1d"),
            ("bytes", "entries", "the largest entries"),
        ],
    )
    def test_what_is_ranked(self, by: str, ranked: str, title: str, worked: Path, tc: Toolcache) -> None:
        """The title says whether these are series or entries, and so does the document."""
        assert tc("top", "--by", by).out.splitlines()[0] == f"default  {title}"
        assert json.loads(tc("top", "--by", by, "--json").out)["ranked"] == ranked

    def test_nothing_to_rank(self, worked: Path, tc: Toolcache) -> None:
        """What was counted, but not of that kind, is told apart from nothing at all."""
        assert tc("top", "--by", "tokens").out == "nothing that was counted has any tokens\n"
        assert tc("top", "--namespace", "other").out.startswith("Nothing was counted in the last 1d.")

    def test_the_largest_entries(self, worked: Path, tc: Toolcache) -> None:
        """By bytes they are entries of the stores, so many as were asked for."""
        assert len(json.loads(tc("top", "--by", "bytes", "--json").out)["top"]) == 2
        (row,) = json.loads(tc("top", "1", "--by", "bytes", "--json").out)["top"]
        assert row["domain"] == "response"
        assert row["bytes"] > 500

    def test_the_period(self, worked: Path, tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
        """``--period`` is passed on."""
        asked: list[object] = []
        real = ToolCache.metrics

        async def metrics(self: ToolCache, period: Any = "1h", **more: Any) -> Any:
            asked.append(period)
            return await real(self, period, **more)

        monkeypatch.setattr(ToolCache, "metrics", metrics)
        tc("top", "--period", "2h")
        assert asked == ["2h"]


class TestAlerts:
    @pytest.fixture
    def file(self, place: Path) -> str:
        """A file of two alerts, one of which fires where ``worked``."""
        (place / "alerts.toml").write_text(
            '[[alert]]\nname = "few hits"\nmetric = "hit_rate"\ncondition = "< 99%"\nwindow = "1h"\nminimum = 1\n'
            '[[alert]]\nname = "none"\nmetric = "hit_rate"\ncondition = "< 1%"\nwindow = "1h"\n'
        )
        return str(place / "alerts.toml")

    def test_check(self, worked: Path, file: str, tc: Toolcache) -> None:
        """``check`` judges the alerts of a file: exit code 1, if one is firing; ``list`` knows it from then on."""
        ran = tc("alerts", "check", "--file", file)
        assert ran.code == 1
        assert "firing" in ran.out
        assert "hit_rate < 99 %" in ran.out
        told = json.loads(tc("alerts", "--json").out)
        states = {one["name"]: one["status"] for one in told["alerts"]}
        assert states == {"few hits": "firing", "none": "ok"}
        assert [one["name"] for one in told["history"]] == ["few hits"]

    def test_list(self, place: Path, file: str, tc: Toolcache) -> None:
        """``list`` judges nothing; of a file it tells what is declared."""
        assert "no alerts are declared" in tc("alerts").out
        ran = tc("alerts", "list", "--file", file)
        assert ran.code == 0
        assert "few hits" in ran.out
        assert json.loads(tc("alerts", "--json").out)["alerts"] == []

    def test_what_cannot_be(self, place: Path, tc: Toolcache) -> None:
        """A file that is missing, or says what cannot be, is exit code 2."""
        assert "check needs the alerts" in tc("alerts", "check").err
        assert tc("alerts", "--file", "nowhere.toml").code == 2
        (place / "wrong.toml").write_text('[[alert]]\nname = "a"\nmetric = "hit_rat"\ncondition = "< 1%"\n')
        ran = tc("alerts", "--file", "wrong.toml")
        assert ran.code == 2
        assert "hit_rate" in ran.err


class TestWarm:
    def test_values_of_a_file(self, place: Path, tc: Toolcache) -> None:
        """Values are put where they are missing, with their times and tags; what is no value is counted."""
        lines = [
            {"key": "a", "value": {"x": 1}, "ttl": "5m", "tags": ["one"]},
            {"key": "b", "value": [2]},
            {"key": 3, "value": 1},
            {"value": 1},
        ]
        (place / "v.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\nnonsense\n")
        tc("set", "b", "old")
        ran = tc("warm", "v.jsonl", "--ttl", "2h", "--tag", "all", "--json")
        (report,) = json.loads(ran.out)["plans"]
        assert ran.code == 1
        assert (report["asked"], report["there"], report["computed"]) == (5, 1, 1)
        assert report["failed"] == {"no key and value": 3}
        about = json.loads(tc("get", "a", "--json").out)
        assert (about["value"], sorted(about["tags"])) == ({"x": 1}, ["all", "one"])
        assert about["ttl"] == pytest.approx(300, abs=5)
        assert tc("get", "b").out == "old\n"

    def test_refresh_and_limits(self, place: Path, tc: Toolcache) -> None:
        """``--refresh`` replaces what is there; ``--max-items`` ends it; ``--ttl`` is for lines without one."""
        (place / "v.jsonl").write_text('{"key": "a", "value": 1}\n{"key": "b", "value": 2}\n')
        tc("set", "a", "0")
        assert tc("warm", "v.jsonl", "--max-items", "1", "--refresh", "--ttl", "2h").code == 0
        assert tc("get", "a").out == "1\n"
        assert tc("get", "b").code == 1
        assert json.loads(tc("get", "a", "--json").out)["ttl"] == pytest.approx(7200, abs=5)

    def test_a_program(self, place: Path, tc: Toolcache) -> None:
        """A command makes each value from the query on its standard input; it is run without a shell."""
        (place / "q.txt").write_text("refunds\n$(opening) hours\n")
        program = f"{sys.executable} -c 'import json, sys; print(json.dumps([json.load(sys.stdin).upper()]))'"
        ran = tc("warm", "q.txt", "--domain", "search", "--command", program, "--json")
        assert ran.code == 0
        assert json.loads(ran.out)["plans"][0]["computed"] == 2
        keys = tc("keys", "--domain", "search").out.splitlines()
        assert sorted(tc("get", key).out for key in keys) == ['[\n  "$(OPENING) HOURS"\n]\n', '[\n  "REFUNDS"\n]\n']
        again = json.loads(tc("warm", "q.txt", "--domain", "search", "--command", program, "--json").out)
        assert again["plans"][0]["there"] == 2

    def test_no_dollars_are_a_limit_too(self, place: Path, tc: Toolcache) -> None:
        """``--max-cost 0`` spends nothing; without the cost of one it is said how to tell it."""
        (place / "q.txt").write_text("a\n")
        ran = tc("warm", "q.txt", "--command", "echo 1", "--cost", "0.1", "--max-cost", "0", "--json")
        (plan,) = json.loads(ran.out)["plans"]
        assert (plan["computed"], plan["skipped"], plan["stopped"]) == (0, 1, "max_cost_usd")
        ran = tc("warm", "q.txt", "--command", "echo 1", "--max-cost", "2")
        assert ran.code == 2
        assert "--cost" in ran.err

    def test_a_program_that_fails(self, place: Path, tc: Toolcache) -> None:
        """One that fails, or prints no JSON, stores nothing: exit code 1."""
        (place / "q.txt").write_text("a\n")
        for program in ("false", "echo no-json"):
            ran = tc("warm", "q.txt", "--command", program)
            assert ran.code == 1
            assert "failed" in ran.out
        assert tc("keys").out == ""

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["q.txt", "--command", "no-such-program -x"], "there is no program 'no-such-program'"),
            (["q.txt", "--command", "'open"], "--command cannot be read: No closing quotation"),
            ([".", "--command", "true"], ". is a directory: name a file"),
        ],
    )
    def test_what_cannot_be_done_at_all(self, arguments: list[str], says: str, place: Path, tc: Toolcache) -> None:
        """It is told before anything is begun, in a sentence: exit code 2."""
        (place / "q.txt").write_text("a\n")
        ran = tc("warm", *arguments)
        assert (ran.code, ran.out) == (2, "")
        assert says in ran.err

    def test_options_of_a_plan(self, place: Path, tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each option, and each of a plan in TOML, is one of the plan that is warmed; the command line wins."""
        seen: list[Any] = []

        async def warm(_self: ToolCache, plan: Any, **_more: Any) -> Any:
            from toolcache import WarmReport

            seen.append(plan)
            return WarmReport(name=plan.name)

        monkeypatch.setattr(ToolCache, "warm", warm)
        (place / "q.txt").write_text("a\n")
        options = (
            "--parallel 3 --rate 5 --max-items 7 --max-seconds 1m --max-cost 2 --cost 0.5 --ttl 1h --tag t --refresh"
        )
        tc("warm", "q.txt", "--command", "true", *options.split())
        (plan,) = seen
        assert (plan.max_parallel, plan.per_second, plan.max_items, plan.max_seconds) == (3, 5, 7, 60)
        assert (plan.max_cost_usd, plan.cost_usd, plan.ttl, plan.tags, plan.refresh) == (2, 0.5, 3600, ("t",), True)
        (place / "sub").mkdir()
        (place / "sub/plan.toml").write_text(
            '[[plan]]\nname = "one"\nfile = "q.txt"\ndomain = "search"\ncommand = ["true"]\nmax_parallel = 2\n'
            '[[plan]]\nqueries = ["b"]\ncommand = ["true", "x"]\n'
        )
        tc("warm", "sub/plan.toml", "--parallel", "4")
        assert [plan.name for plan in seen[1:]] == ["one", "plan"]
        assert (seen[1].file, seen[1].max_parallel, seen[1].domain) == ("sub/q.txt", 4, "search")
        assert seen[2].queries == ("b",)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("plan = 1", "tables [[plan]]"),
            ("[[plan]]\nfiel = 'q'\ncommand = ['x']", "did you mean 'file'?"),
            ("[[plan]]\nfile = 'q'\ncommand = 'x y'", ""),
            ("[[plan]]\nfile = 'q'\ncommand = []", "words of a command line"),
            ("[[plan]]\nfile = 'q'", "who makes the values?"),
            ("nonsense", "is no TOML"),
        ],
    )
    def test_plans_that_cannot_be(self, text: str, says: str, place: Path, tc: Toolcache) -> None:
        """A plan that cannot be followed is refused before anything is done."""
        (place / "plan.toml").write_text(text)
        ran = tc("warm", "plan.toml")
        assert ran.code in {1, 2}
        assert says in ran.err

    def test_values_need_a_file_of_values(self, place: Path, tc: Toolcache) -> None:
        """Without a command a file of queries has no values, and what is to be computed has no meaning."""
        (place / "q.txt").write_text("a\n")
        (place / "v.jsonl").write_text('{"key": "a", "value": 1}\n')
        assert "who makes the values?" in tc("warm", "q.txt").err
        assert "leave out domain" in tc("warm", "v.jsonl", "--domain", "search").err


class TestServe:
    def test_options_reach_the_server(self, place: Path, tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each option is one of the server's."""
        seen: list[dict[str, Any]] = []

        async def run(_cache: ToolCache, **options: Any) -> None:
            options["on_listening"]("http://here/")
            seen.append(options)

        monkeypatch.setattr("toolcache.web.serving.serve", run)
        (place / "tokens").write_text("# mine\nadmin=secret-in-a-file\n")
        (place / "tokens").chmod(0o600)
        words = "--host ::1 --port 9 --token read=secret --token-file tokens --values --allow-host a --cors b --no-page"
        ran = tc("serve", *words.split())
        assert ran.code == 0
        assert "listening on http://here/" in ran.err
        (options,) = seen
        assert (options["host"], options["port"], options["values"], options["page"]) == ("::1", 9, True, False)
        assert options["tokens"] == {"secret": "read", "secret-in-a-file": "admin"}
        assert (options["allowed_hosts"], options["cors"]) == (("a",), ("b",))
        tc("serve")
        assert "tokens" not in seen[1]
        assert (seen[1]["host"], seen[1]["page"], seen[1]["values"]) == ("127.0.0.1", True, False)
        assert json.loads(tc("serve", "--json").out) == {"url": "http://here/"}

    @pytest.mark.parametrize("token", ["secret", "all=secret", "read="])
    def test_tokens_that_cannot_be(self, token: str, tc: Toolcache) -> None:
        """A token has a scope; the error does not repeat it."""
        ran = tc("serve", "--token", token)
        assert ran.code == 2
        assert "SCOPE=SECRET" in ran.err
        assert token not in ran.err

    def test_a_file_that_others_may_read(self, place: Path, tc: Toolcache) -> None:
        """A file of tokens that others may read is refused."""
        (place / "tokens").write_text("read=secret\n")
        (place / "tokens").chmod(stat.S_IRUSR | stat.S_IRGRP)
        assert "others may read it" in tc("serve", "--token-file", "tokens").err

    def test_beyond_loopback(self, tc: Toolcache) -> None:
        """Beyond loopback it listens only with a token."""
        ran = tc("serve", "--host", "0.0.0.0", "--port", "0")
        assert ran.code == 2
        assert "no token" in ran.err

    def test_what_is_not_installed(self, tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the extra is missing it says what to install."""
        monkeypatch.setattr(serve, "find_spec", lambda _name: None)
        assert "'.[server]'" in tc("serve").err

    def test_a_port_that_is_taken(self, place: Path, tc: Toolcache) -> None:
        """It is said which, and how to take another."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            ran = tc("serve", "--port", str(port))
        assert ran.code == 1
        assert f"127.0.0.1:{port}: " in ran.err
        assert "--port" in ran.err

    @pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM"])
    def test_it_serves_until_it_is_ended(self, tmp_path: Path, how: str) -> None:
        """It tells where it listens, answers there, and ends quietly on Ctrl-C, and as systems end what they run."""
        with Terminal(["--backend", "memory", "serve", "--port", "0"], tmp_path) as terminal:
            terminal.until("(Ctrl-C ends it)")
            url = terminal.text.split("listening on ")[1].split()[0]
            with urllib.request.urlopen(f"{url}api/v1/openapi.json", timeout=10) as answer:
                assert "openapi" in json.load(answer)
            terminal.press("\x03") if how == "Ctrl-C" else terminal.terminate()
            ended = terminal.end()
        assert ended.code == 0
        assert "Traceback" not in ended.out


class TestBench:
    def test_what_is_measured(self, place: Path, tc: Toolcache) -> None:
        """Memory and files are measured in the run, and nothing is left."""
        before = time.monotonic()
        told = json.loads(tc("bench", "--seconds", "0.05", "--json").out)
        assert time.monotonic() - before < 20
        names = [one["name"] for one in told["results"]]
        assert names == ["hits, memory", "writes, memory", "reads, files", "writes, files"]
        for one in told["results"]:
            assert one["best"] >= one["per_second"] == pytest.approx(1 / one["seconds"])
            assert one["count"] >= 5
        assert list(place.iterdir()) == []

    def test_redis(self, place: Path, redis_server: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """Redis is measured where one is configured; one that is away is exit code 3."""
        ran = call(capsys, "--redis-url", redis_server.url, "bench", "--seconds", "0.05")
        assert ran.code == 0
        assert "reads, Redis" in ran.out
        left = [redis_server.command("PTTL", key) for key in redis_server.command("KEYS", "*")]
        assert all(0 < ttl <= 60_000 for ttl in left)
        assert call(capsys, "--redis-url", "redis://127.0.0.1:1", "bench", "--seconds", "0.05").code == 3

    def test_how_long(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """``--seconds`` is how long each is measured; too short is refused."""
        memory = ["--backend", "memory", "bench"]
        assert json.loads(call(capsys, *memory, "--seconds", "0.06", "--json").out)["seconds"] == 0.06
        assert call(capsys, *memory, "--seconds", "0").code == 2


class TestDemo:
    def test_those_of_a_checkout(self, tc: Toolcache) -> None:
        """In a checkout they are the programs of examples/, by any part of their names that is one's own."""
        listed = tc("demo", "--list").out.split()
        assert "01_basics" in listed
        assert demo._chosen(demo.demos(), "basics") == "01_basics"
        for name in ("nothing", "0"):
            with pytest.raises(Problem, match="there are 01_basics"):
                demo._chosen(demo.demos(), name)

    def test_elsewhere_there_is_a_tour(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where there are no examples there is a tour, which runs, and leaves nothing."""
        monkeypatch.setattr(demo, "__file__", str(tmp_path / "lib/toolcache/cli/demo.py"))
        assert demo.demos() == {"tour": [sys.executable, "-m", "toolcache.cli.tour"]}
        ran = command("--version", cwd=tmp_path)
        assert ran.code == 0

    def test_how_one_ended(self, tmp_path: Path, tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that fails is exit code 1, and named; what one prints is kept out of the document."""
        there = {
            "bad": [sys.executable, "-c", "raise SystemExit(4)"],
            "good": [sys.executable, "-c", "import os; print('USE_REDIS', os.environ.get('USE_REDIS'))"],
        }
        monkeypatch.setattr(demo, "demos", lambda: there)
        ran = tc("demo")
        assert ran.code == 1
        assert "failed: bad" in ran.out
        assert tc("demo", "good").code == 0


def test_a_bar_shows_how_far_a_backup_is(tmp_path: Path, tc: Toolcache) -> None:
    """On a terminal something long has a bar; in a pipe, and with ``--json``, it has none."""
    files = ["--backend", "file", "--dir", str(tmp_path / "files")]
    tc("set", "a", "1")
    with Terminal([*files, "backup", "one"], tmp_path) as terminal:
        ended = terminal.end()
    assert ended.code == 0
    assert "━" in ended.out
    assert "1 written to one" in ended.out
    assert tc("backup", "two").err == ""


class TestWatch:
    def test_options(self, worked: Path, tc: Toolcache) -> None:
        """``--by``, ``--period`` and ``--interval`` are heeded; one that is too short is refused."""
        assert "large" in tc("watch", "--by", "model").out
        assert json.loads(tc("watch", "--period", "5m", "--json").out)["period"] == "5m"
        assert tc("watch", "--interval", "10ms").code == 2
        assert tc("watch", "--interval", "soon").code == 2
