"""What Prometheus is told, as its own parsers read it."""

from typing import Any

import pytest
from hypothesis import given, settings
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as modern_families
from prometheus_client.parser import text_string_to_metric_families as plain_families
from readings import PLAIN, SEARCH, SNAPSHOTS, fleet, process, snapshot

from toolcache.exporters.families import FAMILIES, steps
from toolcache.exporters.prometheus import CacheCollector, Exposition, render
from toolcache.exporters.reading import MOST, Reading
from toolcache.exporters.rising import Rising
from toolcache.metrics.counts import Counts
from toolcache.metrics.snapshot import Snapshot
from toolcache.savings import savings_of
from toolcache.series import Series
from toolcache.spread import Spread, bucket_of, top_of
from toolcache.testing import FakeClock

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def plain(text: str) -> list[Metric]:
    return list(plain_families(text))


def modern(text: str) -> list[Metric]:
    return list(modern_families(text))  # type: ignore[no-untyped-call]  # the library does not say


def samples(families: list[Metric]) -> Samples:
    """Each sample by its name and labels; no two are the same."""
    found: Samples = {}
    for family in families:
        for one in family.samples:
            at = one.name, frozenset(one.labels.items())
            assert at not in found
            found[at] = one.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    """The sum of the samples of that name that carry these labels."""
    matching = [number for (one, at), number in found.items() if one == name and labels.items() <= set(at)]
    assert matching, name
    return sum(matching)


class TestText:
    @pytest.mark.parametrize(("exposition", "parse"), [(Exposition.TEXT, plain), (Exposition.OPENMETRICS, modern)])
    def test_the_numbers_are_those_of_the_snapshot(self, exposition: Exposition, parse: Any) -> None:
        """D8: the library's parser reads each count under its name and labels, in either format."""
        counts = snapshot().series[SEARCH]
        found = samples(parse(render(snapshot(), namespace="shop", exposition=exposition)))
        series = {**SEARCH._asdict(), "namespace": "shop"}
        assert value(found, "toolcache_lookups_total", **series, result="hit") == counts.hits
        assert value(found, "toolcache_lookups_total", **series, result="hit", layer="redis") == counts.hits_redis
        assert value(found, "toolcache_lookups_total", **series, result="miss") == counts.misses
        assert value(found, "toolcache_calls_total", **series, kind="exact") == counts.exact
        assert value(found, "toolcache_calls_total", **series, kind="bypassed") == counts.bypassed
        for name, field in {
            "sets": counts.sets,
            "deletes": counts.deletes,
            "computed": counts.computed,
            "compute_seconds": counts.compute_seconds,
            "saved_seconds": counts.seconds_saved,
            "not_stored": counts.not_stored,
            "evictions": counts.evictions,
            "told": counts.told,
            "spent_usd": counts.dollars_spent,
            "spent_tokens": counts.tokens_spent,
        }.items():
            assert value(found, f"toolcache_{name}_total", **series) == field

    def test_layers_and_requests_that_run_once_are_told(self) -> None:
        """D8: of each layer, and of dispatch, every field is read by some name."""
        found = samples(plain(render(snapshot())))
        redis, dispatch = snapshot().layers["redis"], snapshot().dispatch
        assert value(found, "toolcache_layer_lookups_total", layer="redis", result="hit") == redis.hits
        assert value(found, "toolcache_layer_lookups_total", layer="redis", result="miss") == redis.misses
        for kind in ("writes", "faults", "refused", "rejected", "evictions"):
            at = {"layer": "redis", "kind": kind}
            assert value(found, "toolcache_layer_operations_total", **at) == getattr(redis, kind)
        assert value(found, "toolcache_breaker_opened_total", layer="redis") == redis.opened
        assert value(found, "toolcache_layer_down_seconds_total", layer="redis") == redis.down_seconds
        told = {at for name, at in found if name == "toolcache_dispatch_total"}
        for name in dispatch._fields:
            if "saved" in name or name in {"cost_usd", "tokens"}:
                continue
            assert value(found, "toolcache_dispatch_total", kind=name) == getattr(dispatch, name)
        assert len(told) == 10
        assert value(found, "toolcache_dispatch_spent_usd_total") == dispatch.cost_usd
        assert value(found, "toolcache_dispatch_spent_tokens_total") == dispatch.tokens
        assert value(found, "toolcache_dispatch_saved_usd_total") == dispatch.cost_usd_saved
        assert value(found, "toolcache_dispatch_saved_tokens_total") == dispatch.tokens_saved
        assert value(found, "toolcache_dispatch_saved_seconds_total") == dispatch.seconds_saved

    def test_what_a_value_costs_is_as_the_savings_have_it(self) -> None:
        """D8: units and dollars are those of the ledger: declared, reported, or tokens at a price; else none is told."""
        reported, priced = Series("search", tool="other"), Series("model", model="m-2")
        one = snapshot()
        series = {
            **one.series,
            reported: Counts(hits_memory=8, told=4, priced=4, dollars_spent=2.0, metered=4, tokens_spent=80.0),
            priced: Counts(hits_memory=3, told=1, metered=1, tokens_spent=500_000.0, unpriced_tokens=500_000.0),
        }
        more, prices = one._replace(series=series), {"m-2": 4.0}
        found = samples(plain(render(more, prices=prices)))
        assert value(found, "toolcache_unit_usd", **SEARCH._asdict()) == 0.25
        assert value(found, "toolcache_unit_tokens", **SEARCH._asdict()) == 1_500
        assert value(found, "toolcache_unit_usd", tool="other") == 0.5
        assert value(found, "toolcache_unit_tokens", tool="other") == 20
        assert value(found, "toolcache_saved_usd", tool="other") == 4
        assert value(found, "toolcache_saved_usd", model="m-2") == 6
        assert value(samples(plain(render(more))), "toolcache_saved_usd", model="m-2") == 0
        assert not [at for name, at in found if name == "toolcache_unit_usd" and ("domain", PLAIN.domain) in at]
        told = sum(line.cost_saved for line in savings_of(more, prices).ledger if line.what == "hits")
        assert value(found, "toolcache_saved_usd") == pytest.approx(told)

    def test_what_a_process_holds_is_told(self) -> None:
        """D8: entries, bytes, writes that wait and breakers are gauges; without a process they are left out."""
        one = process(breakers={"redis": "forced_open", "file": "half_open"})
        found = samples(plain(render(snapshot(), processes=[one])))
        assert value(found, "toolcache_memory_entries") == 5
        assert value(found, "toolcache_memory_bytes") == 700
        assert value(found, "toolcache_memory_max_bytes") == 1_000
        assert value(found, "toolcache_pending_writes") == 2
        assert value(found, "toolcache_breakers", layer="redis", state="open") == 1
        assert value(found, "toolcache_breakers", layer="file", state="half_open") == 1
        assert value(found, "toolcache_layer_up", layer="redis") == 0
        assert value(found, "toolcache_layer_up", layer="file") == 1
        assert "toolcache_memory_entries{" not in render(snapshot())

    def test_a_fleet_is_the_sum_of_the_processes_that_run(self) -> None:
        """D8: sizes add up, pending writes per host once; who has not written for minutes is not counted."""
        gone = process("three", seen_at=1_600_000_000.0, breakers={"redis": "open"})
        several = process(), process(pending=3), process("two", breakers={"redis": "open"}), gone
        found = samples(plain(render(fleet(*several))))
        assert value(found, "toolcache_processes") == 3
        assert value(found, "toolcache_memory_entries") == 15
        assert value(found, "toolcache_pending_writes") == 5
        assert value(found, "toolcache_breakers", layer="redis", state="open") == 1
        assert value(found, "toolcache_layer_up", layer="redis") == 0
        assert value(found, "toolcache_complete") == 1

    def test_who_reads_is_a_witness_of_the_layers(self) -> None:
        """D8: a server that cannot reach Redis says so, also where it hears of no process that could; it is no more than that."""
        reader = process(breakers={"redis": "open"})._replace(owner="")
        found = samples(plain(render(fleet(complete=False), processes=[reader])))
        assert value(found, "toolcache_layer_up", layer="redis") == 0
        assert value(found, "toolcache_breakers", layer="redis", state="open") == 1
        assert value(found, "toolcache_processes") == 0
        one = process()
        found = samples(plain(render(fleet(one), processes=[one])))
        assert value(found, "toolcache_breakers", layer="redis", state="closed") == 1
        assert value(found, "toolcache_memory_entries") == 5

    def test_a_fleet_that_is_not_heard_in_full_tells_no_counter(self) -> None:
        """D8: what would look like a fall, and then like a rush, is a gap."""
        text = render(fleet(process(), complete=False))
        assert "toolcache_complete{" in text
        assert "toolcache_memory_entries{" in text
        assert "_total{" not in text
        assert "_bucket{" not in text

    @settings(max_examples=20, deadline=None)
    @given(SNAPSHOTS)
    def test_hostile_labels_survive(self, hostile: Snapshot) -> None:
        """D8: line ends, quotes, backslashes and any script come out of both parsers as they went in."""
        for exposition, parse in ((Exposition.TEXT, plain), (Exposition.OPENMETRICS, modern)):
            text = render(hostile, namespace="shop", exposition=exposition)
            text.encode("utf-8")
            met = {
                tuple(one.labels[name] for name in Series._fields): one.value
                for family in parse(text)
                for one in family.samples
                if one.name == "toolcache_lookups_total" and one.labels["layer"] == "memory"
            }
            assert met == {
                tuple(part.encode("utf-8", "backslashreplace").decode() for part in series): counts.hits_memory
                for series, counts in hostile.series.items()
            }

    @settings(max_examples=20, deadline=None)
    @given(SNAPSHOTS)
    def test_a_histogram_adds_up(self, random: Snapshot) -> None:
        """D8: buckets are cumulative, the last is the count, which is that of the spread."""
        for family in modern(render(random, exposition=Exposition.OPENMETRICS)):  # which checks the order itself
            if family.type == "histogram":
                rows = {frozenset(s.labels.items()): s.value for s in family.samples if s.name.endswith("_count")}
                for one in family.samples:
                    if one.labels.get("le") == "+Inf":
                        assert rows[frozenset(one.labels.items() - {("le", "+Inf")})] == one.value
        for spread in [counts.latency for counts in random.series.values()]:
            shape = steps(spread, range(1, 31))
            assert shape.buckets[-1] == (float("inf"), spread.count)
            for bound, count in shape.buckets[:-1]:
                assert count == sum(n for bucket, n in spread.counts.items() if top_of(bucket) <= bound * 1.0001)

    @pytest.mark.parametrize("seconds", [2.3e-7, 0.00011, 0.003, 1.5, 30.0, 1_000.0])
    def test_a_latency_is_below_the_bound_that_follows_it(self, seconds: float) -> None:
        """D8: the ends of the buckets that are told are true ones."""
        shape = steps(Spread({bucket_of(seconds): 1}, seconds), range(1, 31))
        assert [count for _, count in shape.buckets] == [float(seconds <= bound) for bound, _ in shape.buckets]

    def test_more_series_than_are_told_apart_are_told_together(self) -> None:
        """D8: a fleet may know more series than one cache; then agents are left out, and nothing else is."""
        many = {Series("search", agent=str(n), tool="web"): Counts(hits_memory=1) for n in range(MOST + 1)}
        found = samples(plain(render(Snapshot(0.0, 60.0, many, unit_usd=dict.fromkeys(many, 0.5)))))
        at = {"domain": "search", "agent": "", "tool": "web"}
        assert value(found, "toolcache_lookups_total", **at, layer="memory") == MOST + 1
        assert value(found, "toolcache_unit_usd", **at) == 0.5
        few = dict(list(many.items())[:MOST])
        assert Reading.of(Snapshot(0.0, 60.0, few)).snapshot.series == few

    def test_every_family_is_in_the_text_and_well_named(self) -> None:
        """D8: names are those of one list, each once, with a sentence; a unit comes last."""
        text = render(fleet(process()), exposition=Exposition.OPENMETRICS)
        met = {one.name: one for one in modern(text)}
        assert list(met) == [f"toolcache_{family.name}" for family in FAMILIES]
        for family in FAMILIES:
            one = met[f"toolcache_{family.name}"]
            assert (one.type, one.documentation, one.unit) == (family.kind, family.help, family.unit)
            assert family.help.endswith(".")
        assert text.endswith("# EOF\n")


class TestAccept:
    @pytest.mark.parametrize(
        ("accept", "wanted"),
        [
            (None, "TEXT"),
            ("", "TEXT"),
            ("*/*", "TEXT"),
            ("text/html,*/*;q=0.1", "TEXT"),
            ("application/openmetrics-text", "OPENMETRICS"),
            (
                "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                "OPENMETRICS",
            ),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", "TEXT"),
            ("Application/OpenMetrics-Text; Version=0.0.1 , text/plain;q=0.2", "OPENMETRICS"),
            ("application/openmetrics-text;version=2.0.0,text/plain;q=0.2", "TEXT"),
            ("application/openmetrics-text;q=", "TEXT"),
            (";;;=,q=", "TEXT"),
            ("application/openmetrics-text;q=0.4,text/html", "OPENMETRICS"),
        ],
    )
    def test_the_header_decides(self, accept: str | None, wanted: str) -> None:
        """D8: OpenMetrics is written for those who ask for it, text for all others."""
        assert Exposition.wanted(accept).name == wanted

    def test_the_content_types_are_those_of_the_library(self) -> None:
        """D8: what is said of the text is what Prometheus expects."""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

        assert Exposition.TEXT.value == CONTENT_TYPE_PLAIN_0_0_4
        assert Exposition.OPENMETRICS.value.startswith("application/openmetrics-text; version=1.0.0")


class _Told:
    """A cache that tells what it is told to."""

    def __init__(self, one: Snapshot) -> None:
        self.one = one


class TestCollector:
    @pytest.fixture(autouse=True)
    def told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            "toolcache.exporters.prometheus.read", lambda cache: Reading.of(cache.one, "shop", [process()])
        )

    @pytest.mark.parametrize(("write", "parse"), [(generate_latest, plain), (generate_openmetrics, modern)])
    def test_the_registry_tells_what_the_text_does(self, write: Any, parse: Any) -> None:
        """D8: one list of families, whoever writes it."""
        registry = CollectorRegistry()
        registry.register(CacheCollector(_Told(snapshot())))  # type: ignore[arg-type]
        exposition = Exposition.TEXT if parse is plain else Exposition.OPENMETRICS
        text = render(snapshot(), namespace="shop", processes=[process()], exposition=exposition)
        written = parse(write(registry).decode())
        assert samples(written) == samples(parse(text))
        assert [one.type for one in written] == [one.type for one in parse(text)]

    @settings(max_examples=20, deadline=None)
    @given(SNAPSHOTS)
    def test_it_survives_hostile_labels(self, hostile: Snapshot) -> None:
        """D8: the same labels as in the text."""
        registry = CollectorRegistry()
        registry.register(CacheCollector(_Told(hostile)))  # type: ignore[arg-type]
        text = render(hostile, namespace="shop", processes=[process()])
        assert samples(plain(generate_latest(registry).decode())) == samples(plain(text))

    def test_two_of_them_are_refused_at_once(self) -> None:
        """D8: the registry hears of the names when the collector is registered."""
        registry = CollectorRegistry()
        registry.register(CacheCollector(_Told(snapshot())))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="Duplicated timeseries"):
            registry.register(CacheCollector(_Told(snapshot())))  # type: ignore[arg-type]


class TestRising:
    def test_counts_that_have_gone_are_a_gap(self, clock: FakeClock) -> None:
        """D8: a fleet of which a part is missing is not complete, until that is back; nor is one of which a layer was not asked."""
        rising, whole = Rising(clock), fleet(process())
        part = whole._replace(series={SEARCH: whole.series[SEARCH]})
        more = whole._replace(series={**whole.series, PLAIN: Counts(hits_memory=2_000, misses=10)})
        seen = [rising(one).complete for one in (part, whole, part, whole, more, whole, more)]
        assert seen == [True, True, False, True, True, False, True]
        assert not rising(fleet(complete=False)).complete
        assert rising(more).complete

    def test_counts_that_stay_away_are_lost(self, clock: FakeClock) -> None:
        """D8: after a minute what there is counts, and whatever falls from there."""
        rising, whole = Rising(clock), fleet(process())
        part = whole._replace(series={SEARCH: whole.series[SEARCH]})
        assert rising(whole).complete
        for _ in range(6):
            assert not rising(part).complete
            clock.advance(10)
        assert rising(part).complete
        assert rising(part).complete
        assert rising(whole).complete
        assert not rising(part).complete
