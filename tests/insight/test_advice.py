"""Analysis and diagnosis find the answer that is known, and no other."""

import random
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from followed import COST, Followed
from rig import Rig

from toolcache import Domain, ToolCache, cached
from toolcache.cache import Cache
from toolcache.domains import GENERAL
from toolcache.insight.analysis import Analysis, analysis_of
from toolcache.insight.diagnosis import Diagnosis, diagnosis_of
from toolcache.insight.evidence import Evidence
from toolcache.insight.scales import LIFETIMES
from toolcache.insight.sketch import Clue, DomainSketch, Sketch
from toolcache.insight.words import rounded, size, span
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Snapshot
from toolcache.series import Series
from toolcache.testing import FakeClock


def evidence(followed: Followed, *, max_bytes: int, usd: float = 0.0, ttl: float | None = None) -> Evidence:
    """What a process by itself has counted and sampled."""
    sketch, series = followed.sketch(), Series("general")
    counts = Counts(hits_file=followed.hits, misses=followed.asked - followed.hits)  # no memory has so much room
    counted = Snapshot(sketch.since, sketch.until, {series: counts}, {series: usd} if usd else {})
    return Evidence(counted, sketch, max_bytes, ttls={"general": ttl})


class TestSize:
    def test_the_knee_is_recommended(self) -> None:
        """A loop over 500 keys needs their room: twice as much is too much, a half is nothing."""
        followed = Followed(step=1.0).run(list(range(500)) * 10)
        least = 500 * COST
        for present in (least // 2, least * 4):
            advice = analysis_of(evidence(followed, max_bytes=present)).size
            assert advice.sure
            assert advice.recommended is not None
            assert least <= advice.recommended <= least * 1.2
            assert advice.bytes == advice.recommended - present
            assert advice.hit_rate == pytest.approx(0.9)
            assert advice.present_hit_rate == pytest.approx(0.0 if present < least else 0.9)
        right = analysis_of(evidence(followed, max_bytes=int(least * 1.1))).size
        assert right.recommended == right.present
        assert "are right" in right.reason

    def test_what_memory_does_better_than_the_curve_counts(self) -> None:
        """Nobody is told that more room would help where the strategy answers as much already."""
        followed = Followed(step=1.0).run(list(range(500)) * 10)
        known = evidence(followed, max_bytes=250 * COST)
        series = dict.fromkeys(known.counted.series, Counts(hits_memory=4_480, misses=520))
        advice = analysis_of(known._replace(counted=known.counted._replace(series=series))).size
        assert advice.present_hit_rate == pytest.approx(0.896)
        assert advice.recommended == advice.present

    def test_its_effect_is_told_in_dollars(self) -> None:
        """What would become hits in a day, times what computing one value costs."""
        followed = Followed(step=1.0).run(list(range(500)) * 10)
        analysis = analysis_of(evidence(followed, max_bytes=1_000, usd=0.01))
        assert analysis.size.dollars == pytest.approx(86_400 * 0.9 * 0.01, rel=0.01)
        below = evidence(followed, max_bytes=1_000, usd=0.01)._replace(near=False)
        assert analysis_of(below).size.dollars == 0.0  # Redis or files answer instead

    def test_a_bound_of_entries_counts(self) -> None:
        """Where memory is bounded by entries, its present hit rate is that of so many."""
        followed = Followed(step=1.0).run(list(range(500)) * 10)
        bounded = evidence(followed, max_bytes=10**9)._replace(max_entries=250)
        advice = analysis_of(bounded).size
        assert advice.present_hit_rate < 0.01
        assert advice.reason.startswith("max_entries=")
        assert advice.reason.endswith("with max_entries=250")
        assert "would do" not in advice.reason  # of the bytes that entries leave unused

    def test_too_little_is_said_to_be_too_little(self) -> None:
        """No guess is made of a few lookups."""
        advice = analysis_of(evidence(Followed().run([1, 2, 1, 2] * 50), max_bytes=1_000)).size
        assert advice.recommended is None
        assert not advice.sure
        assert advice.reason == "not enough yet: 200 of 1,000 lookups sampled"
        assert analysis_of(Evidence(Snapshot(0.0, 1.0), Sketch(), 1_000)).recommended_size is None

    def test_keys_that_never_come_back_need_no_room(self) -> None:
        """Where nothing is asked for twice, no size is recommended."""
        advice = analysis_of(evidence(Followed().run(range(2_000)), max_bytes=1_000)).size
        assert advice.recommended is None
        assert advice.reason == "no key was asked for twice"

    def test_values_that_always_end_first_need_no_room(self) -> None:
        """Keys that are asked for again after the end of their values have been asked for twice: it is the lifetime."""
        followed = Followed(step=1.0, ttl=60).run(list(range(90)) * 20)
        advice = analysis_of(evidence(followed, max_bytes=10**6)).size
        assert advice.recommended is None
        assert "came to its end" in advice.reason


class TestLifetimes:
    """Thirty keys, each asked for every 90 s, whose values live 60 s: every lookup comes after the end."""

    def followed(self) -> Followed:
        """Two hours of that."""
        return Followed(step=3.0, ttl=60.0).run(list(range(30)) * 80)

    def test_hits_of_each_lifetime_are_exact(self) -> None:
        """With a lifetime T, one lookup in ⌈T / 90 s⌉ computes: what a run with that lifetime does."""
        row = self.followed().sketch().domains["general"]
        assert row.lifetime == 60.0
        assert row.ended == row.asked - 30
        for lifetime, lived in zip(LIFETIMES, row.lived, strict=True):
            truth = Followed(step=3.0, ttl=lifetime).run(list(range(30)) * 80)
            assert lived == truth.hits

    def test_a_longer_lifetime_is_recommended(self) -> None:
        """The shortest of those that answer nearly as much as any: an hour, with 97 % of its lookups and a half per cent."""
        analysis = analysis_of(evidence(self.followed(), max_bytes=10**6, usd=0.001))
        advice = analysis.lifetimes["general"]
        assert (advice.present, advice.recommended) == (60.0, 3600.0)
        assert analysis.recommended_ttl == {"general": 3600.0}
        assert advice.present_hit_rate == 0.0
        assert advice.hit_rate == pytest.approx(78 / 80)
        assert advice.dollars == pytest.approx(86_400 / 3 * 78 / 80 * 0.001, rel=0.01)

    def test_a_lifetime_that_is_longer_than_needed_may_be_shorter(self) -> None:
        """Keys that come in bursts of a few seconds are hits with a minute as with a week."""
        keys = [key for key in range(400) for _ in range(10)]
        advice = analysis_of(evidence(Followed(step=1.0, ttl=604_800.0).run(keys), max_bytes=10**6)).lifetimes[
            "general"
        ]
        assert advice.recommended == 15.0
        assert advice.hit_rate == advice.present_hit_rate == pytest.approx(0.9)

    def test_what_lives_for_ever_is_left_alone(self) -> None:
        """A lifetime without end cannot be too short."""
        keys = list(range(30)) * 80
        assert analysis_of(evidence(Followed(step=3.0).run(keys), max_bytes=10**6)).recommended_ttl == {}


def counted(hits: int, misses: int, **more: Any) -> Counts:
    """Counts of a domain."""
    return Counts(hits_memory=hits, misses=misses, **more)


class TestDiagnosisOfEvidence:
    """By numbers made by hand: each issue is found where it is, and nowhere else."""

    def of(self, counts: Counts, sketch: Sketch, **layers: LayerCounts) -> Diagnosis:
        """The diagnosis of one domain of a cache."""
        snapshot = Snapshot(0.0, 3600.0, {Series("weather"): counts}, layers=layers)
        return diagnosis_of(Evidence(snapshot, sketch, 10**6, ttls={"weather": 60.0}))

    def sketch(self, **row: Any) -> Sketch:
        """A sketch of a thousand lookups of one domain."""
        whole: dict[str, Any] = {"asked": 1000.0, "lived": (900.0,) * len(LIFETIMES)} | row
        return Sketch(0.0, 3600.0, 1000.0, 1000.0, 1000.0, 100.0, domains={"weather": DomainSketch(**whole)})

    def test_a_cache_that_does_well_has_nothing(self) -> None:
        """Nine hits of ten, the rest cold."""
        diagnosis = self.of(counted(900, 100), self.sketch(cold=100.0))
        assert (diagnosis.issue, diagnosis.findings) == ("none", ())
        assert diagnosis.reason == "90.0 % are hits, and no change is worth it"

    def test_too_few_lookups_say_nothing(self) -> None:
        """Forty-nine misses are no reason."""
        assert self.of(counted(0, 49), self.sketch(cold=1000.0)).reason.startswith("not enough yet: 49 of 50")

    def test_most_is_cold(self) -> None:
        """Keys that nobody has asked for before, and that vary in nothing that could be left out."""
        diagnosis = self.of(counted(200, 800), self.sketch(cold=800.0, lived=(200.0,) * len(LIFETIMES)))
        assert diagnosis.issue == "cold"
        assert diagnosis.findings[0].evidence["cold"] == 0.8

    def test_errors(self) -> None:
        """A layer that could not be asked; values that could not be stored."""
        down = LayerCounts(faults=100, refused=500, down_seconds=60.0)
        diagnosis = self.of(counted(300, 700), self.sketch(cold=300.0, removed=400.0), redis=down)
        assert diagnosis.issue == "errors"
        assert diagnosis.findings[0].where == "redis"
        assert diagnosis.findings[0].gain == 0.6
        assert "health()" in diagnosis.findings[0].change
        lost = self.of(counted(300, 700, computed=700, not_stored=700), self.sketch(cold=700.0))
        assert (lost.issue, lost.findings[0].gain) == ("errors", 0.7)

    def test_the_greatest_is_the_issue(self) -> None:
        """All findings are told, ranked by the lookups that they cost."""
        lived = (0.0,) * 4 + (800.0,) * 8
        sketch = self.sketch(ended=600.0, cold=100.0, spans=60_000.0, given=1000.0, lived=lived)
        sketch = sketch._replace(clues=(Clue("weather", 500, 500, ("trace_id",), 400),))
        diagnosis = self.of(counted(300, 700, not_stored=80), sketch)
        assert [finding.issue for finding in diagnosis.findings] == ["short_ttl", "key_variance", "errors"]
        assert diagnosis.issue == "short_ttl"
        assert diagnosis.findings[1].gain == 0.2

    def test_clues_of_functions_are_of_their_misses(self) -> None:
        """Of functions only computations are looked at: what they would gain is a share of the misses."""
        clue = Clue("function:m.f", 100, 100, ("trace_id",), 10)
        snapshot = Snapshot(0.0, 1.0, {Series("general"): counted(500, 500)})
        diagnosis = diagnosis_of(Evidence(snapshot, self.sketch()._replace(clues=(clue,)), 10**6))
        assert diagnosis.findings[0].gain == pytest.approx(0.45)
        assert 'ignore_params=["trace_id"]' in diagnosis.findings[0].change

    def test_a_memory_above_redis_must_matter_more(self) -> None:
        """What has made room there is answered by Redis: no miss, and worth a third."""
        followed = Followed(step=1.0).run(list(range(500)) * 10)
        told = evidence(followed, max_bytes=1_000)
        row = told.sketch.domains["general"]._replace(ousted=600.0)
        counts = Snapshot(0.0, 1.0, {Series("general"): counted(100, 900)})
        told = told._replace(counted=counts, sketch=told.sketch._replace(domains={"general": row}))
        assert diagnosis_of(told).findings[0].gain == pytest.approx(600 / 5_000)
        assert diagnosis_of(told._replace(near=False)).findings[0].gain == pytest.approx(200 / 5_000)

    def test_a_domain_is_judged_by_itself(self) -> None:
        """What is asked of one domain says nothing of another."""
        snapshot = Snapshot(0.0, 1.0, {Series("weather"): counted(0, 500), Series("search"): counted(500, 5)})
        told = Evidence(snapshot, self.sketch(cold=1000.0, lived=(0.0,) * len(LIFETIMES)), 10**6)
        assert diagnosis_of(told, "weather").issue == "cold"
        assert diagnosis_of(told, "search").issue == "none"
        assert diagnosis_of(told, "catalog").lookups == 0


Run = Callable[[ToolCache, FakeClock], Awaitable[None]]
WEATHER = Domain[str]("weather", ttl="1h", key=("city", "trace_id"), cost_usd=0.002)
BRIEF = Domain[str]("brief", ttl="30s", key=("city",))


async def varied(cache: ToolCache, clock: FakeClock) -> None:
    """Twenty cities, and a trace id in each call."""
    for number in range(600):
        clock.advance(1.0)
        await cache[WEATHER].get(city=f"city {number % 20}", trace_id=uuid.uuid4().hex, compute=lambda: "rain")


async def short(cache: ToolCache, clock: FakeClock) -> None:
    """Twenty cities, each once a minute, whose weather is kept for half a minute."""
    for number in range(1_200):
        clock.advance(3.0)
        await cache[BRIEF].get(city=f"city {number % 20}", compute=lambda: "rain")


async def small(cache: ToolCache, clock: FakeClock) -> None:
    """Three hundred pages where fifty fit."""
    dice = random.Random(5)
    for _ in range(3_000):
        clock.advance(0.1)
        await cache.get_or_set(f"page:{dice.randrange(300)}", lambda: "x" * 600, ttl=None)


async def failing(cache: ToolCache, clock: FakeClock) -> None:
    """What is computed cannot be stored."""
    for number in range(600):
        clock.advance(1.0)
        await cache.get_or_set(f"page:{number % 20}", object)


async def good(cache: ToolCache, clock: FakeClock) -> None:
    """Forty keys that stay."""
    for number in range(2_000):
        clock.advance(1.0)
        await cache.get_or_set(f"page:{number % 40}", lambda: "x", ttl=None)


async def new(cache: ToolCache, clock: FakeClock) -> None:
    """A new key each time, which means something."""
    for number in range(600):
        clock.advance(1.0)
        await cache.get_or_set(f"page:{number}", lambda: "x")


@pytest.mark.parametrize(
    ("run", "issue"),
    [
        (varied, "key_variance"),
        (short, "short_ttl"),
        (small, "small_cache"),
        (failing, "errors"),
        (good, "none"),
        (new, "cold"),
    ],
)
async def test_each_is_diagnosed_as_what_it_is(run: Run, issue: str, clock: FakeClock) -> None:
    """D6: by what a cache has seen by itself: that issue and no other one is worth a change."""
    async with ToolCache(files=False, max_memory="64kB", clock=clock) as cache:
        await run(cache, clock)
        diagnosis = await cache.diagnose(period="2h")
        assert diagnosis.issue == issue
        assert [one.issue for one in diagnosis.findings if one.gain > 0.05] == [issue] * (issue not in {"none", "cold"})


class TestOfACache:
    async def test_the_field_and_the_line_are_named(self, clock: FakeClock) -> None:
        """D6: which field varies, how many keys there would be without it, and what that is worth."""
        async with ToolCache(files=False, clock=clock) as cache:
            await varied(cache, clock)
            finding = (await cache.diagnose(WEATHER)).findings[0]
            assert finding.evidence["fields"] == "trace_id"
            assert finding.evidence["keys_without"] == 20
            assert finding.gain > 0.9
            assert finding.dollars == pytest.approx(finding.gain * 600 * 24 * 0.002, rel=0.05)
            assert (await cache.diagnose("catalog")).issue == "none"

    async def test_a_function_is_looked_at(self, clock: FakeClock) -> None:
        """D6: of a decorated function, the parameter to be ignored."""
        async with ToolCache(files=False, clock=clock) as cache:

            @cached(ttl="1h", cache=cache)
            async def forecast(city: str, request_id: int) -> str:
                return f"rain in {city}"

            for number in range(200):
                await forecast(f"city {number % 10}", request_id=number)
            diagnosis = await cache.diagnose()
            assert diagnosis.issue == "key_variance"
            assert 'ignore_params=["request_id"]' in diagnosis.findings[0].change

    async def test_a_tool_is_looked_at(self, clock: FakeClock) -> None:
        """D6: of a tool, the parameters that matter are to be named."""
        from toolcache import ToolPolicy

        async with ToolCache(files=False, clock=clock) as cache:
            cache.tools["weather"] = ToolPolicy("exact")
            for number in range(200):
                await cache.call_tool(
                    "weather", lambda **_: "rain", city=f"city {number % 10}", trace=str(uuid.uuid4())
                )
            diagnosis = await cache.diagnose("tool")
            assert diagnosis.findings[0].where == "tool:weather"
            assert "ToolPolicy(key_params=[...])" in diagnosis.findings[0].change

    async def test_what_is_advised_does_what_is_told(self, clock: FakeClock) -> None:
        """D6: a policy with the normalisers that are named makes as many keys as were told, of texts and of numbers."""
        from toolcache import ToolPolicy
        from toolcache.normalize import casefold, chain, rounded, spaces

        def call(number: int) -> dict[str, Any]:
            words = "".join(one.upper() if number >> at & 1 else one for at, one in enumerate("red shoes"))
            return {"q": words + " " * (number % 2), "lat": 59.9 + number % 3 + number % 50 / 10**5}

        async with ToolCache(files=False, clock=clock) as cache:
            cache.tools["find"] = ToolPolicy("exact")
            for number in range(300):
                await cache.call_tool("find", lambda **_: "shoes", **call(number))
            finding = (await cache.diagnose("tool")).findings[0]
            assert finding.evidence["keys_without"] == 3
            assert "ToolPolicy(normalize={'lat': rounded(3)})" in finding.change
            assert "ToolPolicy(normalize={'q': chain(casefold, spaces)})" in finding.change
        async with ToolCache(files=False, clock=clock) as cache:
            cache.tools["find"] = ToolPolicy("exact", normalize={"q": chain(casefold, spaces), "lat": rounded(3)})
            for number in range(300):
                await cache.call_tool("find", lambda **_: "shoes", **call(number))
            assert cache.totals().total.computed == 3

    async def test_the_present_lifetime_and_size_are_the_caches(self, clock: FakeClock) -> None:
        """D5: advice goes by what is set."""
        async with ToolCache(files=False, max_memory="64kB", clock=clock) as cache:
            await small(cache, clock)
            analysis = await cache.analyze()
            assert isinstance(analysis, Analysis)
            assert analysis.size.present == 64_000
            assert analysis.recommended_size is not None
            assert analysis.recommended_size > 200_000
            assert analysis.size.present_hit_rate == pytest.approx(cache.stats().hit_rate, abs=0.15)
            assert analysis.lookups == analysis.samples == 3_000
            await cache.set("large", "x" * 5_000)
            clock.advance(301)
            low = (await cache.analyze()).low_value
            assert (low[0].key, low[0].domain) == ("large", GENERAL.name)

    async def test_lookups_of_others_count(self, rig: Rig, layering: str, clock: FakeClock) -> None:
        """D5: who shares the stores is looked at, too; also by a cache that counts nothing itself."""
        if layering == "memory":
            return
        async with await rig.open() as other:
            for number in range(300):
                await other.get_or_set(f"key {number % 10}", lambda: 1)
        looking = await rig.open(metrics=False)
        await looking.get("other")
        analysis = await looking.analyze()
        assert (analysis.lookups, analysis.samples) == (300, 300)

    @pytest.mark.parametrize("layering", ["memory+file"])
    async def test_each_day_and_each_cache_counts_once(self, rig: Rig, clock: FakeClock) -> None:
        """D5: its own record is not added to what it knows; yesterday's sketch is no part of today, and is of both days together."""
        clock.advance(86_400 - clock.time() % 86_400 + 7_200)
        cache = await rig.open()
        for number in range(100):
            await cache.get_or_set(f"key {number % 10}", lambda: 1)
        assert (await cache.analyze()).lookups == 100
        assert (await cache.analyze()).lookups == 100
        clock.advance(80_000)
        await cache.get("key 1")
        await cache.metrics()
        clock.advance(6_400)  # into the next day
        await cache.get("key 2")
        assert (await cache.analyze(period="1m")).lookups <= 1
        assert 101 <= (await cache.analyze()).lookups <= 102

    async def test_unknown_domains_are_refused(self, cache: Cache) -> None:
        """The nearest name is told."""
        with pytest.raises(ValueError, match="did you mean 'general'"):
            await cache.diagnose("genral")
        with pytest.raises(ValueError, match="there is no domain 'x'"):
            await cache.find_stale(domain="x")

    async def test_the_period_is_what_counts_go_by(self, clock: FakeClock, tmp_path: Path) -> None:
        """An hour's lookups are not those of the hour before."""
        async with ToolCache(directory=tmp_path, clock=clock) as cache:
            await new(cache, clock)
            await cache.metrics()
            clock.advance(7_200)
            assert (await cache.diagnose(period="1h")).lookups == 0
            assert (await cache.diagnose(period="4h")).lookups == 600


def test_numbers_are_written_as_settings_take_them() -> None:
    """A size or span that is recommended can be copied."""
    from toolcache.durations import seconds
    from toolcache.durations import size as read

    for value in (1.0, 15.0, 60.0, 90.0, 3600.0, 5400.0, 604_800.0):
        assert seconds(span(value)) == value
    assert [size(one) for one in (500, 1_234, 64_000_000, 123_456_789_000)] == ["500", "1.3kB", "64MB", "130GB"]
    assert read(size(1_234)) == rounded(1_234) == 1_300
    assert rounded(0) == 0
