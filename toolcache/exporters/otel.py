"""For OpenTelemetry: what a cache counts as metrics, and what it does beyond its memory as spans. The extra ``otel``."""

import threading
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, WeakSet

from toolcache.errors import SettingsError
from toolcache.exporters.families import FAMILIES, Family, told
from toolcache.exporters.local import read, within
from toolcache.exporters.reading import Reading
from toolcache.spread import BASE, Spread

try:
    from opentelemetry import metrics, trace
except ModuleNotFoundError:
    raise ModuleNotFoundError("OpenTelemetry needs an extra: in a checkout, pip install '.[otel]'") from None

from toolcache.exporters.tracing import Tracing

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation
    from opentelemetry.trace import TracerProvider

    from toolcache.blocking.tool_cache import BlockingToolCache
    from toolcache.cache import Cache

SCOPE: Final = "toolcache"
_UNITS: Final = {"seconds": "s", "bytes": "By", "usd": "{USD}", "tokens": "{token}"}
_DURATIONS: Final = "call_seconds"
"""The one histogram: of the others there are no single measurements to record."""

_lock = threading.Lock()
_meters: WeakKeyDictionary[Any, "_Meters"] = WeakKeyDictionary()
_instrumented: WeakSet[Any] = WeakSet()


class Instrumentation:
    """What has a cache tell OpenTelemetry; see ``instrument``."""

    def __init__(self, cache: "Cache", meters: "_Meters", tracing: Tracing) -> None:
        self._machine = cache._machine  # noqa: SLF001 - of one house
        self._cache = cache
        self._meters = meters
        self._tracing: Tracing | None = tracing

    def uninstrument(self) -> None:
        """Have the cache tell nothing any more, and be as it was. More than one call is harmless."""
        with _lock:
            if self._tracing is not None:
                _instrumented.discard(self._machine)
                self._meters.caches.discard(self._cache)
                self._tracing.end()
                self._tracing = None


def instrument(
    cache: "Cache | BlockingToolCache",
    *,
    meter_provider: "MeterProvider | None" = None,
    tracer_provider: "TracerProvider | None" = None,
) -> Instrumentation:
    """Have a cache tell OpenTelemetry what it counts and does. One that is not instrumented pays nothing for it.

    Metrics are named as those of Prometheus, ``toolcache.lookups`` for ``toolcache_lookups_total``. Spans are of calls
    that memory did not answer, and of what they do: a hit of memory makes none. Neither has a key, a value or an error's text.

    Args:
        cache: the cache, of either face; what its views do is told too.
        meter_provider: the one of the program unless given.
        tracer_provider: the one of the program unless given.

    Raises:
        SettingsError: the cache is instrumented.

    Examples:
        >>> instrumentation = instrument(cache)
        >>> instrumentation.uninstrument()
    """
    from toolcache import __version__

    provider = metrics.get_meter_provider() if meter_provider is None else meter_provider
    tracer = trace.get_tracer(SCOPE, __version__, tracer_provider)
    cache = within(cache)
    machine = cache._machine  # noqa: SLF001 - of one house
    with _lock:
        if machine in _instrumented:
            raise SettingsError("this cache is instrumented: call uninstrument() of what instrument() gave you first")
        meters = _meters.get(provider)
        if meters is None:
            meters = _meters[provider] = _Meters(provider.get_meter(SCOPE, __version__))
        meters.caches.add(cache)
        _instrumented.add(machine)
        return Instrumentation(cache, meters, Tracing(cache, tracer, meters.durations))


class _Meters:
    """The instruments of one provider, for all its caches: a name is registered once, and stays.

    Args:
        meter: makes them.

    Attributes:
        caches: those that are told of.
    """

    def __init__(self, meter: "Meter") -> None:
        self.caches: WeakSet[Cache] = WeakSet()
        self._readings: list[Reading] = []
        self._asked: set[str] = {family.name for family in FAMILIES}
        self._lock = threading.Lock()
        for family in FAMILIES:
            self._make(meter, family)

    def _make(self, meter: "Meter", family: Family) -> None:
        name, unit = f"{SCOPE}.{family.name}", _UNITS.get(family.name.rpartition("_")[2], "")
        if family.name == _DURATIONS:
            bounds = [BASE * 2**bound for bound in family.bounds]
            self.durations: Histogram = meter.create_histogram(
                name, unit, family.help, explicit_bucket_boundaries_advisory=bounds
            )
        elif family.kind == "counter":
            meter.create_observable_counter(name, [partial(self._observe, family)], unit, family.help)
        elif family.kind == "gauge":
            meter.create_observable_gauge(name, [partial(self._observe, family)], unit, family.help)

    def _observe(self, family: Family, _options: "CallbackOptions") -> "Iterable[Observation]":
        return [one for reading in self._now(family) for one in _observations(reading, family)]

    def _now(self, family: Family) -> list[Reading]:
        """One reading for all families that are asked for together: another when one of them comes again."""
        with self._lock:
            if family.name in self._asked:
                self._asked.clear()
                self._readings = [read(cache) for cache in tuple(self.caches)]
            self._asked.add(family.name)
            return self._readings


def _observations(reading: Reading, family: Family) -> "Iterator[Observation]":
    names = ("namespace", *family.labels)
    for values, number in next((rows for one, rows in told(reading) if one is family), ()):
        if not isinstance(number, Spread):
            labels = zip(names, (reading.namespace, *values), strict=True)
            yield metrics.Observation(number, {label: value for label, value in labels if value})
