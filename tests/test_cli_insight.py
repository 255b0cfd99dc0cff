"""The verbs that give advice: what they ask the cache, and how they tell what it answers."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import Ran, call

from toolcache import Domain, ToolCache
from toolcache.fields import Frozen, each

Toolcache = Callable[..., Ran]


class Size(Frozen):
    """As the advice on a size is."""

    recommended: int | None = 72_000
    present: int = 40_000
    hit_rate: float = 0.993
    present_hit_rate: float = 0.963
    dollars: float = 1.5
    error: float = 0.01
    reason: str = "max_memory='72kB' would have memory answer 99.3 %"


class Lifetime(Frozen):
    """As the advice on a lifetime is."""

    recommended: float | None
    present: float | None
    hit_rate: float = 0.9
    present_hit_rate: float = 0.5
    dollars: float = 2.0


class Analysis(Frozen):
    """As an analysis is."""

    size: Size = each(factory=Size)
    lifetimes: Mapping[str, Lifetime] = each(factory=dict)
    samples: int = 9_720
    lookups: int = 10_058


class Finding(Frozen):
    """As a finding is."""

    issue: str = "key_variance"
    where: str = "tool:web_search"
    gain: float = 0.4
    evidence: Mapping[str, float | str] = each(factory=lambda: {"field": "trace_id", "share": 0.98})
    change: str = "leave out trace_id: key_params=['query']"
    dollars: float = 3.0


class Diagnosis(Frozen):
    """As a diagnosis is."""

    issue: str = "none"
    findings: tuple[Finding, ...] = ()
    lookups: int = 1_000
    hit_rate: float = 0.5
    reason: str = "50.0 % are hits, and no change is worth it"


class Entry(Frozen):
    """As an old entry is."""

    key: str
    domain: str | None = None
    age: float = 700_000.0
    size: int = 100
    ttl: float = 60.0


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the cache was asked; it has answers of each kind."""
    seen: list[tuple[Any, ...]] = []
    lifetimes = {"search": Lifetime(900.0, 3600.0), "embedding": Lifetime(None, None)}
    answers = {
        "analyze": Analysis(lifetimes=lifetimes),
        "diagnose": Diagnosis("key_variance", (Finding(),), reason="keys vary"),
        "find_stale": (Entry("old\x1b[31m"), Entry("search:x", "search")),
    }

    def answering(name: str, answer: Any) -> Callable[..., Any]:
        async def method(_self: ToolCache, *given: Any, **named: Any) -> Any:
            seen.append((name, given, named))
            return answer

        return method

    for name, answer in answers.items():
        monkeypatch.setattr(ToolCache, name, answering(name, answer), raising=False)
    return seen


@pytest.fixture
def tc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Toolcache:
    """The command, over memory alone."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call(capsys, "--backend", "memory", *arguments)


def test_analyze(asked: list[tuple[Any, ...]], tc: Toolcache) -> None:
    """It tells the size and the lifetimes, and where nothing can be recommended; ``--period`` is passed on."""
    told = tc("analyze", "--period", "3d").out
    assert asked == [("analyze", ("3d",), {})]
    for words in ("max_memory='72kB'", "72.0 kB, 99.3% hits (±1.0%)", "$1.50 a day", "9,720 samples of 10,058"):
        assert words in told
    rows = {line.split()[0]: line for line in told.splitlines() if line[:1].isalpha()}
    assert rows["search"].split()[1:] == ["1", "h", "15", "min", "50.0%", "90.0%", "$2.00"]
    assert "for ever" in rows["embedding"]
    assert "not enough known" in rows["embedding"]
    assert json.loads(tc("analyze", "--json").out)["size"]["recommended"] == 72_000


def test_too_little_is_known(asked: list[tuple[Any, ...]], tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no size can be recommended, only the reason is told."""

    async def analyze(_self: ToolCache, _period: str) -> Analysis:
        return Analysis(size=Size(recommended=None, reason="not enough yet"))

    monkeypatch.setattr(ToolCache, "analyze", analyze)
    told = tc("analyze").out
    assert "not enough yet" in told
    assert "recommended" not in told


def test_diagnose(asked: list[tuple[Any, ...]], tc: Toolcache) -> None:
    """It tells each reason with what to change and the evidence: exit code 1; domain and period are passed on."""
    ran = tc("diagnose", "--domain", "search", "--period", "2h")
    assert asked == [("diagnose", ("search", "2h"), {})]
    assert ran.code == 1
    for words in ("key variance of tool:web_search", "40.0% of lookups", "→ leave out trace_id", "trace_id", "0.98"):
        assert words in ran.out
    assert json.loads(tc("diagnose", "--json").out)["findings"][0]["where"] == "tool:web_search"


def test_nothing_to_change(asked: list[tuple[Any, ...]], tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is worth a change, all is well."""

    async def diagnose(_self: ToolCache, _domain: str | None, _period: str) -> Diagnosis:
        return Diagnosis()

    monkeypatch.setattr(ToolCache, "diagnose", diagnose)
    ran = tc("diagnose")
    assert ran.code == 0
    assert "no change is worth it" in ran.out


def test_stale(asked: list[tuple[Any, ...]], tc: Toolcache) -> None:
    """Entries of the stores are listed, oldest first, and harmless: exit code 1; every option is passed on."""
    ran = tc("stale", "--max-age", "3d", "--domain", "search", "--agent", "faq", "--limit", "7")
    assert asked == [("find_stale", ("3d",), {"domain": "search", "agent": "faq", "limit": 7, "layers": True})]
    assert ran.code == 1
    assert "old\\x1b[31m" in ran.out
    assert "8 d 2 h" in ran.out
    assert len(json.loads(tc("stale", "--json").out)["entries"]) == 2


def test_nothing_is_stale(asked: list[tuple[Any, ...]], tc: Toolcache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is that old, it says so."""

    async def find_stale(_self: ToolCache, _age: str, **_more: Any) -> tuple[Entry, ...]:
        return ()

    monkeypatch.setattr(ToolCache, "find_stale", find_stale)
    assert tc("stale") == (0, "nothing is older than 7d\n", "")


@pytest.mark.parametrize("verb", ["diagnose", "analyze"])
def test_nothing_was_counted(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was counted nothing is judged: that is said, and which other namespaces the files of this host know."""

    async def work() -> None:
        for namespace in ("shop", "staging"):
            async with ToolCache(directory=tmp_path / "files", namespace=namespace) as cache:
                await cache.get("a")

    files = ["--backend", "file", "--dir", str(tmp_path / "files")]
    ran = call(capsys, *files, verb)
    assert ran.code == 0
    assert "Nothing was counted in the last 1" in ran.out
    assert "--namespace elsewhere; toolcache config shows" in " ".join(ran.out.split())
    asyncio.run(work())
    told = " ".join(call(capsys, *files, verb, "--period", "2h").out.split())
    assert told.endswith("--period looks further back, --namespace elsewhere: this host's files know of shop, staging")
    assert "last 2h" in told
    assert "none" not in told
    assert "lookups" in call(capsys, *files, "--namespace", "shop", verb).out


def test_a_domain_of_which_nothing_was_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named."""
    files = ["--backend", "file", "--dir", str(tmp_path / "files")]
    assert "Nothing was counted of search in" in call(capsys, *files, "diagnose", "--domain", "search").out


class TestADomainOfAnApplication:
    @pytest.fixture
    def worked(self, tmp_path: Path) -> list[str]:
        """Where an application has used a domain of its own; with an entry that never ends."""

        async def work() -> None:
            async with ToolCache(directory=tmp_path / "files") as cache:
                weather = cache[Domain("weather", ttl=None, key=("place",))]
                await weather.get(place="Oslo", compute=lambda: "rain")
                await cache.set("kept", 1, ttl=None)

        asyncio.run(work())
        return ["--backend", "file", "--dir", str(tmp_path / "files")]

    def test_diagnose(self, worked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """It is known by what was counted of it; what nobody has heard of is an error."""
        ran = call(capsys, *worked, "diagnose", "--domain", "weather")
        assert (ran.code, ran.err) == (0, "")
        assert "0.0% of 1 lookups were hits" in ran.out
        assert call(capsys, *worked, "diagnose", "--domain", "nope").code == 2

    def test_stale(self, worked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """So it is of ``stale``; a value that has no end is shown as such."""
        ran = call(capsys, *worked, "stale", "--domain", "weather", "--max-age", "1ms")
        assert (ran.code, ran.err) == (1, "")
        assert "weather:" in ran.out
        assert "for ever" in call(capsys, *worked, "stale", "--max-age", "1ms").out
        assert call(capsys, *worked, "stale", "--domain", "nope").code == 2

    def test_alerts(self, worked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A file may name it, also before anything was counted; but not what is nearly the name of a domain."""
        rules = tmp_path / "alerts.toml"
        for domain, code in (("weather", 0), ("orders", 0), ("serch", 2)):
            rules.write_text(f'[[alert]]\nname = "few"\nmetric = "hit_rate"\ncondition = "< 1%"\ndomain = "{domain}"\n')
            assert call(capsys, *worked, "alerts", "check", "--file", str(rules)).code == code
