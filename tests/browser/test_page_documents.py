"""What the page is told, of counts made by hand: numbers in columns that add up to the whole, and no more than it can show."""

import json
from typing import Any, Final

import pytest

from toolcache.alerts import AlertRule, AlertState, Notice
from toolcache.metrics.counts import Counts, DispatchCounts, LayerCounts
from toolcache.metrics.snapshot import Metrics, Process, Snapshot
from toolcache.savings import savings_of
from toolcache.series import Series
from toolcache.spread import Spread, bucket_of
from toolcache.stats import Health, LayerHealth
from toolcache.web.page import documents

SEARCH: Final = Series("search", "faq")
ASK: Final = Series("response", "faq", model="small")


def counts(hits: int, misses: int, **more: Any) -> Counts:
    return Counts(
        hits_memory=hits, misses=misses, computed=misses, latency=Spread({bucket_of(0.01): misses}, 0.01), **more
    )


def metrics(**more: Any) -> Metrics:
    """Two minutes of two series, the first of which declares its cost and the second reports it."""
    minutes = (
        Snapshot(60.0, 120.0, {SEARCH: counts(3, 1)}, {SEARCH: 0.5}, layers={"redis": LayerCounts(faults=2, opened=1)}),
        Snapshot(
            120.0,
            180.0,
            {SEARCH: counts(5, 0, seconds_saved=2.5), ASK: counts(1, 4, told=4, priced=4, dollars_spent=8.0)},
            {SEARCH: 0.5},
            layers={"redis": LayerCounts(down_seconds=7.5, hits=4, misses=4)},
            dispatch=DispatchCounts(replays=1, cost_usd_saved=3.0, seconds_saved=4.0),
        ),
    )
    whole = {SEARCH: counts(8, 1, seconds_saved=2.5), ASK: counts(1, 4, told=4, priced=4, dollars_spent=8.0)}
    layers = {"redis": LayerCounts.sum(minute.layers["redis"] for minute in minutes)}
    sums: dict[str, Any] = {
        "series": whole,
        "unit_usd": {SEARCH: 0.5},
        "layers": layers,
        "dispatch": minutes[1].dispatch,
    }
    return Metrics(60.0, 180.0, points=minutes, **sums | more)


def test_columns_add_up_to_the_whole() -> None:
    """Hits, misses, seconds and dollars of all points are those of the period, runs that were replayed included."""
    found = metrics()
    saved = savings_of(found)
    told = documents.metrics(found, saved)
    columns = told["points"]
    assert columns["at"] == [60.0, 120.0]
    assert columns["hits"] == [3, 6]
    assert sum(columns["misses"]) == told["total"]["misses"] == 5
    assert sum(columns["seconds_saved"]) == pytest.approx(saved.seconds_saved)
    assert sum(columns["dollars_saved"]) == pytest.approx(saved.cost_saved) == 8 * 0.5 + 1 * 2.0 + 3.0
    assert told["saved"]["cost_saved"] == saved.cost_saved


def test_latencies_are_told_where_there_are_any() -> None:
    """A minute without calls has no latency, rather than one of zero."""
    found = metrics()
    still = Snapshot(180.0, 240.0)
    told = documents.points((*found.points, still), savings_of(found))
    assert told["p50"][0] == pytest.approx(0.01, rel=0.2)
    assert [told[name][2] for name in ("p50", "p95", "p99", "hits", "dollars_saved")] == [None, None, None, 0, 0]


def test_layers_tell_their_history() -> None:
    """Minute by minute when a layer was away, failed, or was given up; zero where nothing was counted."""
    told = documents.metrics(metrics(), savings_of(metrics()))["layers"]["redis"]
    assert told["history"] == {"down_seconds": [0, 7.5], "faults": [2, 0], "opened": [1, 0]}
    assert (told["down_seconds"], told["hit_rate"], told["faults"]) == (7.5, 0.5, 2)


def test_rows_are_the_busiest_first() -> None:
    """Each label has its rows, with their calls at each point and what they saved."""
    told = documents.metrics(metrics(), savings_of(metrics()))["by"]
    assert [(row["name"], row["calls"]) for row in told["domain"]["rows"]] == [("search", [4, 5]), ("response", [0, 5])]
    assert [row["cost_saved"] for row in told["domain"]["rows"]] == [4.0, 2.0]
    assert [row["name"] for row in told["model"]["rows"]] == ["small"]
    assert told["tool"] == {"rows": [], "more": 0}


def test_what_is_sent_is_bounded() -> None:
    """Of hundreds of names and processes, a page is told the busiest, and how many more there are."""
    series = {Series("tool", tool=f"t{number}"): counts(number, 0) for number in range(300)}
    processes = tuple(Process(f"{number:016x}") for number in range(200))
    found = metrics(series=series, processes=processes)
    told = documents.metrics(found, savings_of(found))
    assert len(told["by"]["tool"]["rows"]) == documents.ROWS
    assert told["by"]["tool"]["rows"][0]["name"] == "t299"
    assert told["by"]["tool"]["more"] == 300 - documents.ROWS
    assert (len(told["processes"]), told["more_processes"]) == (documents.PROCESSES, 200 - documents.PROCESSES)
    assert len(json.dumps(told)) < 100_000


def test_health_is_told_by_layer() -> None:
    """Layers that are configured are told of, others are not there."""
    redis = LayerHealth(False, "redis://host/0", "open", "closed", "timed out", None, None)
    told = documents.health(Health("degraded", "shop", True, False, 1, 2, redis, None, 3, 4.0))
    assert set(told["layers"]) == {"redis"}
    assert (told["layers"]["redis"]["usable"], told["layers"]["redis"]["breaker"], told["pending"]) == (
        False,
        "open",
        3,
    )
    assert "redis" not in told
    json.dumps(told, allow_nan=False)


def test_alerts_that_fire_come_first() -> None:
    """Each with its value in its unit; of one that others have declared, the condition is not known here."""
    rule = AlertRule("few hits", "hit_rate", "<", 0.5, window=300.0, domain="search")
    states = {"a": AlertState("a", "ok", 1.0, 0.25), "few hits": AlertState("few hits", "firing", 2.0, 0.4)}
    notices = [Notice("1", "few hits", "firing", 0.4, 2.0, 2.0), Notice("2", "a", "resolved", 0.3, 1.0, 1.5)]
    told = documents.alerts([rule], states, notices)
    assert [(row["name"], row["state"], row["value"]) for row in told["rules"]] == [
        ("few hits", "firing", "40 %"),
        ("a", "ok", "0.25"),
    ]
    assert told["rules"][0]["condition"] == "hit_rate of domain search < 50 %, over 300 s"
    assert told["rules"][1]["condition"] == "declared elsewhere"
    assert [(row["at"], row["state"]) for row in told["history"]] == [(2.0, "firing"), (1.5, "resolved")]
