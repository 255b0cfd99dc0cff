"""What OpenTelemetry is told, as its own SDK collects it, on every layering."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry

from toolcache import BlockingToolCache, SettingsError, ToolCache
from toolcache.exporters.families import FAMILIES
from toolcache.exporters.local import read
from toolcache.exporters.otel import Instrumentation, instrument
from toolcache.exporters.prometheus import CacheCollector
from toolcache.exporters.reading import Reading

SECRET = "a key, or a value, that nobody is to read"


class Telemetry:
    """Collects what is told."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self._spans = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))

    def watch(self, cache: ToolCache) -> Instrumentation:
        return instrument(cache, meter_provider=self.meters, tracer_provider=self.tracers)

    def shutdown(self) -> None:
        self.meters.shutdown()
        self.tracers.shutdown()

    def spans(self, name: str = "") -> list[ReadableSpan]:
        """Those that have ended, in that order."""
        return [one for one in self._spans.get_finished_spans() if one.name == f"toolcache.{name}" or not name]

    def names(self) -> list[str]:
        return [one.name.removeprefix("toolcache.") for one in self.spans()]

    def points(self) -> dict[str, list[Any]]:
        """The points of each metric."""
        data = self.reader.get_metrics_data()
        found: dict[str, list[Any]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                assert scope.scope.name == "toolcache"
                for metric in scope.metrics:
                    assert metric.name not in found
                    found[metric.name] = list(metric.data.data_points)
        return found

    def value(self, name: str, **labels: str) -> float:
        """The sum of the points that carry these labels."""
        points = [one for one in self.points()[f"toolcache.{name}"] if labels.items() <= dict(one.attributes).items()]
        return float(sum(one.value for one in points))


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.shutdown()


@pytest.fixture(params=["memory", "file", "redis", "redis+file"])
def layering(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def another(
    layering: str, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Callable[[], ToolCache]]:
    """Opens a cache of the layering; all share the stores."""
    opened: list[ToolCache] = []
    url = request.getfixturevalue("redis_server").url if "redis" in layering else None

    def another() -> ToolCache:
        files = "file" in layering
        opened.append(ToolCache(namespace="shop", redis_url=url, files=files, directory=tmp_path if files else None))
        return opened[-1]

    yield another
    for cache in opened:
        await cache.aclose()


@pytest.fixture
def cache(another: Callable[[], ToolCache]) -> ToolCache:
    return another()


only_memory = pytest.mark.parametrize("layering", ["memory"])
far = pytest.mark.parametrize("layering", ["file", "redis", "redis+file"])


async def compute() -> str:
    return "value"


def parent(one: ReadableSpan, spans: list[ReadableSpan]) -> str:
    found = [other.name for other in spans if one.parent and other.context.span_id == one.parent.span_id]
    return found[0].removeprefix("toolcache.") if found else ""


def attributes(one: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("toolcache."): value for name, value in (one.attributes or {}).items()}


class TestMetrics:
    async def test_they_are_those_of_the_cache(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: counters equal the statistics of the cache, and rise with them."""
        telemetry.watch(cache)
        for times in (1, 2):
            await cache.get_or_set(f"key-{times}", compute)
            await cache.get(f"key-{times}")
            await cache.get("missing")
            stats = cache.stats()
            assert telemetry.value("lookups", domain="general", result="hit") == stats.hits
            assert telemetry.value("lookups", result="miss", namespace="shop") == stats.misses
            assert telemetry.value("computed") == stats.computed == times
            assert telemetry.value("memory_entries") == stats.entries
            for layer, row in stats.layers.items():
                assert telemetry.value("layer_lookups", layer=layer, result="hit") == row.hits
                assert telemetry.value("layer_operations", layer=layer, kind="writes") == row.writes

    @only_memory
    async def test_each_family_is_an_instrument(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: whatever has a number is told under the one list's name; of latencies, one histogram."""
        telemetry.watch(cache)
        await cache.get("missing")
        histograms = {family.name for family in FAMILIES if family.kind == "histogram"}
        told = {name.removeprefix("toolcache.") for name in telemetry.points()}
        quiet = {"breaker_opened", "layer_down_seconds", "layer_up", "breakers"}  # no layer beneath memory
        quiet |= {"unit_usd", "unit_tokens", "saved_usd", "saved_tokens"}  # and nothing saved
        assert {family.name for family in FAMILIES} - histograms - quiet <= told
        assert told & histograms == {"call_seconds"}
        (point,) = telemetry.points()["toolcache.call_seconds"]
        assert isinstance(point, HistogramDataPoint)
        assert point.count == 1
        assert point.attributes == {"namespace": "shop", "domain": "general", "result": "miss"}
        assert len(point.explicit_bounds) > 10

    @only_memory
    async def test_a_collection_reads_once(
        self, cache: ToolCache, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """D8: all instruments of one collection tell of one instant, and the counts are gathered once for them."""
        telemetry.watch(cache)
        reads: list[object] = []

        def counted(one: ToolCache) -> Reading:
            reads.append(one)
            return read(one)

        monkeypatch.setattr("toolcache.exporters.otel.read", counted)
        for times in (1, 2, 3):
            telemetry.points()
            assert len(reads) == times

    @only_memory
    async def test_two_caches_share_the_instruments(
        self, another: Callable[[], ToolCache], telemetry: Telemetry
    ) -> None:
        """D8: each is told of under its namespace, and one that is let go is told of no more."""
        async with ToolCache(namespace="desk", files=False) as desk:
            telemetry.watch(another())
            instrumentation = telemetry.watch(desk)
            await desk.get("missing")
            assert telemetry.value("lookups", namespace="desk", result="miss") == 1
            instrumentation.uninstrument()
            instrumentation.uninstrument()
            assert "toolcache.lookups" not in telemetry.points()
            telemetry.watch(desk)
            assert telemetry.value("lookups", namespace="desk", result="miss") == 1

    @only_memory
    async def test_a_cache_is_instrumented_once(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: the second time is refused, with what to do."""
        telemetry.watch(cache)
        with pytest.raises(SettingsError, match="uninstrument"):
            telemetry.watch(cache)

    async def test_it_keeps_no_cache_alive(self, telemetry: Telemetry) -> None:
        """D8: one that nobody has any more is let go."""
        cache = ToolCache(files=False)
        telemetry.watch(cache)
        await cache.aclose()
        gone = weakref.ref(cache)
        del cache
        gc.collect()
        assert gone() is None
        assert telemetry.points().get("toolcache.lookups", []) == []


class TestSpans:
    async def test_a_hit_of_memory_makes_none(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: what memory answers is no span, by whatever call."""
        await cache.set("key", "value")
        await cache.get_or_set("key", compute)
        telemetry.watch(cache)
        assert await cache.get("key") == await cache.get_or_set("key", compute) == "value"
        assert await cache.get_many(["key"]) == {"key": "value"}
        assert telemetry.spans() == []

    async def test_a_computation_is_part_of_the_call(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: the trace of the caller has the call, beneath it where it looked, the computation and the write."""
        telemetry.watch(cache)
        with telemetry.tracers.get_tracer("test").start_as_current_span("toolcache.request"):
            await cache.get_or_set("key", compute)
        await cache.aclose()  # so that the value was written
        spans = telemetry.spans()
        (call,) = telemetry.spans("get_or_set")
        (computing,) = telemetry.spans("compute")
        assert (parent(call, spans), parent(computing, spans)) == ("request", "get_or_set")
        assert attributes(call) == {"namespace": "shop", "domain": "general", "result": "computed"}
        assert attributes(computing) == {"namespace": "shop", "domain": "general"}
        if cache.stats().layers.keys() == {"memory"}:
            assert sorted(telemetry.names()) == ["compute", "get_or_set", "request"]
            return
        looked = telemetry.spans("lookup")  # and once more when no other process computes it
        (written,) = telemetry.spans("write")
        assert {parent(one, spans) for one in (*looked, written)} == {"get_or_set"}
        for one in looked:
            assert attributes(one) == {"namespace": "shop", "domain": "general", "keys": 1, "result": "miss"}
        layer = "redis" if "redis" in cache.stats().layers else "file"
        assert attributes(written) == {"namespace": "shop", "domain": "general", "keys": 1, "layer": layer}

    @far
    async def test_a_layer_that_answers_is_named(self, another: Callable[[], ToolCache], telemetry: Telemetry) -> None:
        """D8: what is found beyond memory says where, whether one key was asked for or several."""
        first, second = another(), another()
        for key in ("one", "two", "three"):
            await first.set(key, "value")
        await first.aclose()
        telemetry.watch(second)
        assert await second.get("one") == "value"
        assert await second.get_or_set("two", compute) == "value"
        assert await second.get_many(["three", "four"]) == {"three": "value"}
        layer = "redis" if "redis" in second.stats().layers else "file"
        one, two, several = map(attributes, telemetry.spans("lookup"))
        assert one == {"namespace": "shop", "domain": "general", "keys": 1, "result": "hit", "layer": layer}
        assert two == one
        assert several == one | {"keys": 2, "result": "partial"}
        (call,) = telemetry.spans("get_or_set")
        assert attributes(call)["result"] == "hit"
        assert telemetry.spans("compute") == []

    async def test_who_waits_has_a_link_to_the_computation(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: the computation is in the trace of who came first; the others' spans link to it."""
        telemetry.watch(cache)
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            begun.set()
            await go.wait()
            return "value"

        async def request(name: str) -> str:
            with telemetry.tracers.get_tracer("test").start_as_current_span(f"toolcache.{name}"):
                return str(await cache.get_or_set("key", slow))

        first = asyncio.create_task(request("first"))
        await begun.wait()
        others = [asyncio.create_task(request("other")) for _ in range(2)]
        await asyncio.sleep(0.01)
        go.set()
        assert await asyncio.gather(first, *others) == ["value"] * 3
        (computing,) = telemetry.spans("compute")
        spans = telemetry.spans()
        calls = {one: parent(one, spans) for one in telemetry.spans("get_or_set")}
        assert sorted(calls.values()) == ["first", "other", "other"]
        for call, caller in calls.items():
            links = [link.context.span_id for link in call.links]
            assert links == ([computing.context.span_id] if caller == "other" else [])
            assert attributes(call)["result"] == ("waited" if caller == "other" else "computed")
            assert call.context.trace_id != computing.context.trace_id or caller == "first"

    async def test_who_wants_a_new_value_waits_for_none(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: one who refreshes while another computes has a computation of its own, and no link; a call is timed once."""
        telemetry.watch(cache)
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            begun.set()
            await go.wait()
            return "old"

        first = asyncio.create_task(cache.get_or_set("key", slow))
        await begun.wait()
        assert await cache.get_or_set("key", compute, refresh=True) == "value"
        go.set()
        assert await first == "old"
        for call in telemetry.spans("get_or_set"):
            assert attributes(call)["result"] == "computed"
            assert not call.links
        assert sum(point.count for point in telemetry.points()["toolcache.call_seconds"]) == 2

    async def test_several_keys_are_one_computation(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: a batch is one call and one computation, of as many keys as were missing."""
        telemetry.watch(cache)

        async def embed(texts: list[str]) -> list[list[float]]:
            return [[1.0, 2.0] for _ in texts]

        await cache.set_embedding("a", "m", [1.0, 2.0])
        await cache.get_embeddings(["a", "b", "c"], "m", compute=embed)
        (call,) = telemetry.spans("get_or_set")
        (computing,) = telemetry.spans("compute")
        assert parent(computing, telemetry.spans()) == "get_or_set"
        assert attributes(computing) == {"namespace": "shop", "domain": "embedding", "keys": 2}
        assert attributes(call) | {"keys": 2} == attributes(computing) | {"result": "computed"}

    async def test_an_error_is_told_by_its_class_alone(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: a span that failed has its status and the class of the error: no text, no event, no trace of the stack."""
        telemetry.watch(cache)

        async def fail() -> str:
            raise ValueError(SECRET)

        with pytest.raises(ValueError, match="nobody"):
            await cache.get_or_set(SECRET, fail)
        for name in ("compute", "get_or_set"):
            (one,) = telemetry.spans(name)
            assert one.status.status_code is StatusCode.ERROR
            assert attributes(one)["error.type"] == "ValueError"
            assert one.status.description is None
            assert not one.events
        assert "nobody" not in "".join(one.to_json() for one in telemetry.spans())

    async def test_costs_are_told_and_who_gives_up_is_no_error(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: what a computation says that it cost is on its span; one that is cancelled has not failed."""
        telemetry.watch(cache)

        async def paid(context: Any) -> str:
            context.cost(usd=0.25, tokens=300)
            return "value"

        await cache.get_or_set("paid", paid)
        assert attributes(telemetry.spans("compute")[0]) == {
            "namespace": "shop",
            "domain": "general",
            "cost_usd": 0.25,
            "tokens": 300,
        }
        begun = asyncio.Event()

        async def slow() -> None:
            begun.set()
            await asyncio.Event().wait()

        call = asyncio.create_task(cache.get_or_set("slow", slow))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        cancelled = telemetry.spans("get_or_set")[-1]
        assert attributes(cancelled)["result"] == "cancelled"
        assert cancelled.status.status_code is StatusCode.UNSET

    async def test_requests_that_run_once(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: dispatch is a span, the run beneath it; a replay runs nothing, and who waits links to the run."""
        telemetry.watch(cache)
        begun, go = asyncio.Event(), asyncio.Event()

        async def work() -> str:
            begun.set()
            await go.wait()
            return "sent"

        first = asyncio.create_task(cache.once("mail", work))
        await begun.wait()
        second = asyncio.create_task(cache.once("mail", work))
        await asyncio.sleep(0.01)
        go.set()
        assert [await first, await second] == ["sent", "sent"]
        assert await cache.once("mail", work) == "sent"
        (run,) = telemetry.spans("run")
        assert parent(run, telemetry.spans()) == "dispatch"
        by_result = {attributes(one)["result"]: one for one in telemetry.spans("dispatch")}
        assert by_result.keys() == {"executed", "waited", "replayed"}
        assert [link.context.span_id for link in by_result["waited"].links] == [run.context.span_id]
        assert not by_result["executed"].links

        async def fail() -> str:
            raise ValueError(SECRET)

        with pytest.raises(ValueError, match="nobody"):
            await cache.once("other", fail)
        for name in ("run", "dispatch"):
            failed = telemetry.spans(name)[-1]
            assert failed.status.status_code is StatusCode.ERROR
            assert attributes(failed)["error.type"] == "ValueError"
        assert "nobody" not in "".join(one.to_json() for one in telemetry.spans())

    @far
    async def test_views_and_other_writes_are_told(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: what an agent's view does is the cache's; deletes are writes."""
        view = cache.for_agent("planner")
        telemetry.watch(cache)
        await view.get_or_set("key", compute)
        assert "compute" in telemetry.names()
        await cache.set("key", "value")
        await cache.delete("key")
        *_, stored, deleted = map(attributes, telemetry.spans("write"))
        assert stored["domain"] == "general"
        assert stored["keys"] == deleted["keys"] == 1
        assert "domain" not in deleted

    async def test_a_cache_that_is_let_go_is_as_it_was(self, cache: ToolCache, telemetry: Telemetry) -> None:
        """D8: afterwards no part of it has anything of an exporter, and no span comes."""
        machine = cache._machine
        several = (machine._filler, machine._reader, machine._writer, machine.runs, machine, cache)
        before = [set(vars(part)) for part in several]
        instrumentation = telemetry.watch(cache)
        assert [set(vars(part)) for part in several] != before
        instrumentation.uninstrument()
        assert [set(vars(part)) for part in several] == before
        await cache.get_or_set("key", compute)
        assert telemetry.spans() == []


def test_a_cache_that_blocks_is_told_of_too(telemetry: Telemetry) -> None:
    """D8: collector and instrumentation take the other face; its calls are spans of whoever calls."""
    with BlockingToolCache(namespace="shop", files=False) as cache:
        instrumentation = instrument(cache, meter_provider=telemetry.meters, tracer_provider=telemetry.tracers)
        registry = CollectorRegistry()
        registry.register(CacheCollector(cache))
        assert cache.get_or_set("key", lambda: "value") == cache.get_or_set("key", lambda: "other") == "value"
        assert sorted(telemetry.names()) == ["compute", "get_or_set"]
        assert telemetry.value("lookups", result="hit") == cache.stats().hits == 1
        at = {"namespace": "shop", "domain": "general", "agent": "", "tool": "", "model": "", "layer": "memory"}
        assert registry.get_sample_value("toolcache_lookups_total", {**at, "result": "hit"}) == 1
        instrumentation.uninstrument()
