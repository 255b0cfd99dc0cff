"""What rules may say, and how what was counted is compared with it."""

import re
from types import MappingProxyType
from typing import Any

import pytest
from alerting import counted, rule

from toolcache.alerts import METRICS, AlertRule, Log
from toolcache.alerts.judge import judge
from toolcache.alerts.rule import CONDITIONS, rule_of
from toolcache.metrics.counts import DispatchCounts, LayerCounts
from toolcache.metrics.snapshot import Metrics, Process
from toolcache.series import Series
from toolcache.spread import Spread, bucket_of


def refused(match: str, **options: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        rule(**options)


def test_a_rule_says_what_it_was_told() -> None:
    """D3: each option is a field of the rule, spans in seconds."""
    given = rule(window="10m", for_="2m", cooldown="1h", minimum=5, domain="search", agent="a", tool="t", model="m")
    assert (given.window, given.for_, given.cooldown, given.minimum) == (600.0, 120.0, 3600.0, 5)
    assert given.only == {"domain": "search", "agent": "a", "tool": "t", "model": "m"}
    assert (given.metric, given.condition, given.threshold) == ("hit_rate", "<", 0.5)
    assert len(given.actions) == 1
    assert isinstance(given.actions[0], Log)


def test_what_a_rule_is_unless_told() -> None:
    """D3: five minutes, told at once, quiet for a quarter of an hour, judged by 20 calls where it is about calls."""
    given = rule()
    assert (given.window, given.for_, given.cooldown, given.minimum) == (300.0, 0.0, 900.0, 20)
    assert rule(metric="faults").minimum == 0
    assert rule(cooldown=None).cooldown == rule(cooldown=0).cooldown == 0.0


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "cache_hit_rate", "condition": "less_than", "threshold": 50, "window": "5m"},
        {"condition": {"metric": "cache_hit_rate", "operator": "less_than", "threshold": 50, "window": "5m"}},
        {"metric": "hit_rate", "condition": "< 0.5"},
        {"metric": "hit_rate", "condition": "<50%"},
        {"metric": "hit rate", "condition": "below 50%"},
        {"metric": "hit_rate", "condition": "below", "threshold": "50%"},
        {"metric": "hit_rate", "condition": {"operator": "<", "threshold": 0.5}},
        {"condition": MappingProxyType({"metric": "hit_rate", "condition": "<", "threshold": 0.5})},
    ],
)
def test_one_thing_in_many_words(options: dict[str, Any]) -> None:
    """D3: signs and words, a threshold beside the condition or in it, a dict, a share as a part or in per cent."""
    given = rule_of("few hits", options, lambda _: ())
    assert given == AlertRule("few hits", "hit_rate", "<", 0.5, minimum=20)


@pytest.mark.parametrize("word", CONDITIONS)
def test_each_word_for_a_condition_is_one_of_four_signs(word: str) -> None:
    """D3: whatever the word, it compares as its sign does."""
    sign = rule(metric="hits", condition=word, threshold=10).condition
    below, equal, above = (
        judge(rule(metric="hits", condition=word, threshold=10), counted(hits_memory=hits)).holds
        for hits in (9, 10, 11)
    )
    truth = {
        "<": (True, False, False),
        "<=": (True, True, False),
        ">": (False, False, True),
        ">=": (False, True, True),
    }
    assert (below, equal, above) == truth[sign]


@pytest.mark.parametrize(
    ("metric", "threshold", "number"),
    [
        ("hit_rate", 1, 1.0),
        ("hit_rate", "1%", 0.01),
        ("hit_rate", 70, 0.7),
        ("latency_p95", "250ms", 0.25),
        ("latency_p95", "0.25", 0.25),
        ("p95", 2, 2.0),
        ("down_seconds", "1m30s", 90.0),
        ("down_seconds", 0, 0.0),
        ("dollars_spent", "12.5", 12.5),
        ("errors", 10, 10.0),
    ],
)
def test_thresholds_are_in_the_unit_of_the_metric(metric: str, threshold: Any, number: float) -> None:
    """D3: shares, times, dollars and numbers as people write them."""
    assert rule(metric=metric, threshold=threshold).threshold == pytest.approx(number)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"metric": "hit_rat"}, r"metric: 'hit_rat' is none of .*did you mean 'hit_rate'\?"),
        ({"metric": None}, "metric is missing"),
        ({"metric": 7}, "metric: 7 is none of"),
        ({"condition": "belo"}, r"condition: 'belo' is none of .*did you mean 'below'\?"),
        ({"condition": "="}, "condition: '=' is none of"),
        ({"condition": None}, "condition is missing"),
        ({"condition": {"operator": "<", "treshold": 1}}, r"condition has no 'treshold'.*did you mean 'threshold'\?"),
        ({"condition": {"operator": "<", "threshold": 1}}, "threshold is given twice"),
        ({"condition": "< 0.5"}, "threshold is given twice"),
        ({"threshold": None}, "threshold is missing"),
        ({"threshold": "half"}, "threshold of hit_rate is a number of zero or more, such as 0.5 or '50%', not 'half'"),
        ({"threshold": 101}, "threshold of hit_rate is a share of at most 1, or '100%', not 101"),
        ({"threshold": -1}, "zero or more"),
        ({"threshold": True}, "zero or more"),
        ({"threshold": float("nan")}, "zero or more"),
        ({"metric": "latency_p95", "threshold": "fast"}, "threshold='fast' is no span of time"),
        ({"window": "30s"}, "window is a minute at least"),
        ({"window": "400d"}, "window is at most 399 days"),
        ({"window": "soon"}, "window='soon' is no span of time"),
        ({"for_": "soon"}, "for='soon' is no span of time"),
        ({"cooldown": -1}, "cooldown must be longer"),
        ({"minimum": -1}, "minimum is a whole number"),
        ({"minimum": 1.5}, "minimum is a whole number"),
        ({"cool_down": "1m"}, r"there is no option 'cool_down': .*did you mean 'cooldown'\?"),
        ({"layer": "disk"}, "layer: 'disk' is none of memory, redis, file"),
        ({"layer": "redis", "domain": "search"}, "not counted by domain: leave domain out"),
        ({"metric": "stale", "layer": "redis"}, "stale is not counted by layer"),
        ({"metric": "faults", "agent": "faq"}, "faults is not counted by agent"),
        ({"domain": ""}, "domain is a name of 1 to 1000 letters, not ''"),
        ({"agent": "x" * 1001}, "agent is a name of 1 to 1000 letters"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(options: dict[str, Any], match: str) -> None:
    """D3: the error names the option, and what was probably meant."""
    refused(match, **options)


@pytest.mark.parametrize("name", ["", "x" * 101, "two\nlines", 7])
def test_names_that_cannot_be(name: Any) -> None:
    """D3: a name is one line of text."""
    with pytest.raises(ValueError, match="the name of an alert is a text"):
        rule(name)


def test_a_domain_that_is_not_there_is_refused() -> None:
    """D3: with the nearest that is; without a list of them, any will do."""
    options = {"metric": "hits", "condition": "<", "threshold": 1, "domain": "serach"}
    with pytest.raises(ValueError, match=r"domain: 'serach' is none of search, catalog; did you mean 'search'\?"):
        rule_of("x", options, lambda _: (), ("search", "catalog"))
    assert rule_of("x", options, lambda _: ()).domain == "serach"


FULL = Metrics(
    1_000.0,
    1_060.0,
    {
        Series("search", agent="faq", tool="t1", model="m1"): counted(
            hits_memory=30,
            hits_redis=10,
            misses=60,
            stale=5,
            refreshed=2,
            bypassed=3,
            sets=4,
            deletes=6,
            computed=55,
            compute_seconds=110.0,
            not_stored=1,
            evictions=9,
            seconds_saved=80.0,
            dollars_spent=2.5,
            tokens_spent=1000.0,
            latency=Spread({bucket_of(0.2): 60}, 0.3),
        ).total,
        Series("catalog"): counted(hits_memory=20).total,
    },
    layers={
        "redis": LayerCounts(
            hits=10,
            misses=30,
            writes=7,
            faults=8,
            refused=9,
            rejected=1,
            opened=2,
            down_seconds=45.0,
            latency=Spread({bucket_of(0.001): 40}, 0.002),
        ),
        "file": LayerCounts(hits=5, faults=1, evictions=3),
    },
    dispatch=DispatchCounts(failures=1, timeouts=2, takeovers=3, duplicates=4, degraded=5),
    processes=(
        Process("a", host="one", seen_at=10.0, bytes=50, max_bytes=100, pending=7, breakers={"redis": "open"}),
        Process("b", host="one", seen_at=20.0, bytes=90, max_bytes=100, pending=3, breakers={"redis": "closed"}),
        Process("c", host="two", seen_at=5.0, max_bytes=0, pending=4, breakers={"file": "half_open"}),
    ),
)
VALUES = {
    "calls": 120,
    "calls_per_second": 2.0,
    "hits": 60,
    "misses": 60,
    "hit_rate": 0.5,
    "miss_rate": 0.5,
    "stale": 5,
    "stale_rate": 5 / 120,
    "refreshed": 2,
    "bypassed": 3,
    "sets": 4,
    "deletes": 6,
    "computed": 55,
    "compute_seconds": 110.0,
    "not_stored": 1,
    "evictions": 9,
    "seconds_saved": 80.0,
    "dollars_spent": 2.5,
    "tokens_spent": 1000.0,
    "latency_p50": 0.2,
    "latency_p95": 0.2,
    "latency_p99": 0.2,
    "writes": 7,
    "faults": 9,
    "refused": 9,
    "rejected": 1,
    "breaker_opened": 2,
    "down_seconds": 45.0,
    "breakers_open": 2,
    "pending": 7,
    "memory_share": 0.9,
    "processes": 3,
    "dispatch_failures": 1,
    "dispatch_timeouts": 2,
    "dispatch_takeovers": 3,
    "dispatch_duplicates": 4,
    "dispatch_degraded": 5,
}


def measured(metric: str, **only: Any) -> float:
    value = judge(rule(metric=metric, threshold=0, **only), FULL).value
    assert value is not None
    return value


@pytest.mark.parametrize("metric", METRICS)
def test_each_metric_is_what_it_says(metric: str) -> None:
    """D3: of all series or all layers together; a pending write of a host is counted once, by whoever was seen last."""
    assert measured(metric) == pytest.approx(VALUES[metric], rel=0.2 if "latency" in metric else 1e-9)


@pytest.mark.parametrize(
    ("metric", "only", "value"),
    [
        ("hits", {"domain": "search"}, 40),
        ("hits", {"domain": "catalog"}, 20),
        ("hit_rate", {"agent": "faq"}, 0.4),
        ("misses", {"tool": "t1"}, 60),
        ("calls", {"model": "m1", "domain": "search"}, 100),
        ("calls", {"model": "m1", "domain": "catalog", "minimum": 0}, 0),
        ("hit_rate", {"layer": "redis"}, 0.25),
        ("miss_rate", {"layer": "redis"}, 0.75),
        ("faults", {"layer": "file"}, 1),
        ("evictions", {"layer": "file"}, 3),
        ("latency_p95", {"layer": "redis"}, 0.001),
        ("breakers_open", {"layer": "redis"}, 1),
        ("down_seconds", {"layer": "memory"}, 0),
    ],
)
def test_a_rule_may_be_about_a_part(metric: str, only: dict[str, Any], value: float) -> None:
    """D3: of a domain, an agent, a tool, a model or a layer alone."""
    assert measured(metric, **only) == pytest.approx(value, rel=0.2 if "latency" in metric else 1e-9)


def test_too_few_calls_say_nothing() -> None:
    """D3: a share of fewer calls than the minimum is not judged, and says why."""
    found = judge(rule(minimum=20), counted(misses=19))
    assert (found.holds, found.value, found.why) == (None, 0.0, "19 calls in the window, and 20 are needed")
    assert judge(rule(minimum=20), counted()).value is None
    assert judge(rule(minimum=20), counted(misses=20)).holds is True
    assert judge(rule(minimum=0), counted()).holds is True


@pytest.mark.parametrize(
    ("condition", "hits", "holds"),
    [(">", 11, True), (">=", 10, True), (">", 10, None), ("<", 10, False), ("<=", 11, False), ("<", 9, None)],
)
def test_missing_counts_can_only_add(condition: str, hits: int, holds: bool | None) -> None:
    """D3: with a store down, what is above the threshold already is judged, and what may yet rise above it is not."""
    found = judge(rule(metric="hits", condition=condition, threshold=10), counted(hits_memory=hits, complete=False))
    assert found.holds is holds
    assert bool(found.why) is (holds is None)
    assert found.value == hits
    assert (
        judge(
            rule(metric="hits", condition=">", threshold=10, minimum=99), counted(hits_memory=11, complete=False)
        ).holds
        is None
    )


def test_of_a_part_no_share_is_known() -> None:
    """D3: with a store down, a hit rate is not judged, however many calls there are."""
    for condition in ("<", ">"):
        found = judge(rule(condition=condition), counted(misses=1000, complete=False))
        assert found.holds is None
        assert "what others have counted is missing" in found.why


def test_the_outage_itself_is_judged_in_the_outage() -> None:
    """D3: that Redis is down is told although Redis cannot be asked."""
    down = {"redis": LayerCounts(down_seconds=31.0)}
    found = judge(
        rule(metric="down_seconds", layer="redis", condition="> 30s", threshold=None),
        counted(layers=down, complete=False),
    )
    assert found.holds is True


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("hit_rate", 0.4567, "45.7 %"),
        ("latency_p95", 0.25, "250 ms"),
        ("latency_p95", 2.0, "2 s"),
        ("dollars_spent", 1234.5, "$1,234.50"),
        ("faults", 12345, "12,345"),
    ],
)
def test_values_are_shown_in_their_unit(metric: str, value: float, text: str) -> None:
    """D3: as people read them."""
    assert rule(metric=metric, threshold=0).shown(value) == text
    assert re.fullmatch(r"[\d.,$%a-z ]+", text)
