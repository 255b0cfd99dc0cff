"""For Prometheus: text that it scrapes, written without any library, and a collector for ``prometheus_client``."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

from toolcache.exporters.families import FAMILIES, Family, Row, steps, told
from toolcache.exporters.local import read, within
from toolcache.exporters.reading import NO_PRICES, Reading
from toolcache.metrics.snapshot import Process, Snapshot
from toolcache.spread import Spread

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from toolcache.blocking.tool_cache import BlockingToolCache
    from toolcache.cache import Cache

PREFIX: Final = "toolcache_"
_OPENMETRICS: Final = "application/openmetrics-text"


class Exposition(Enum):
    """A format that Prometheus reads; the value is its content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = f"{_OPENMETRICS}; version=1.0.0; charset=utf-8"

    @classmethod
    def wanted(cls, accept: str | None) -> "Exposition":
        """What a request with this ``Accept`` header is answered in: OpenMetrics where that is asked for before text.

        Examples:
            >>> Exposition.wanted("application/openmetrics-text;version=1.0.0,text/plain;q=0.5").name
            'OPENMETRICS'
        """
        liked = {cls.TEXT: 0.0, cls.OPENMETRICS: 0.0}
        for one in (accept or "").split(","):
            name, *parameters = (part.strip().lower() for part in one.split(";"))
            fits = cls.OPENMETRICS if name == _OPENMETRICS and _known(parameters) else cls.TEXT
            if fits is cls.OPENMETRICS or name in {"text/plain", "text/*", "*/*"}:
                liked[fits] = max(liked[fits], _quality(parameters))
        return cls.OPENMETRICS if liked[cls.OPENMETRICS] > liked[cls.TEXT] else cls.TEXT


def _known(parameters: Iterable[str]) -> bool:
    """Whether the version is one that is written here; any, where none is said."""
    return all(one in {"version=1.0.0", "version=0.0.1"} for one in parameters if one.startswith("version="))


def _quality(parameters: Iterable[str]) -> float:
    for one in parameters:
        if one.startswith("q="):
            try:
                return float(one[2:])
            except ValueError:
                return 0.0
    return 1.0


def render(
    snapshot: Snapshot,
    *,
    namespace: str = "",
    processes: Iterable[Process] = (),
    prices: Mapping[str, float] = NO_PRICES,
    exposition: Exposition = Exposition.TEXT,
) -> str:
    """What was counted, as text for Prometheus.

    Args:
        snapshot: of this process, ``cache.totals()``; or the ``Metrics`` of a fleet, over all days that are kept so that
            no counter falls: ``await cache.metrics(period="400d")``. One that is not ``complete`` tells gauges alone.
        namespace: of the cache: a label.
        processes: ``process_of(cache)`` for its sizes, and the states of its breakers; of the metrics of a fleet, which
            have those of its processes, for the breakers of whoever reads them.
        prices: US dollars for a million tokens, by model, as the setting of that name has them.
        exposition: the format.

    Returns:
        Text to be sent, encoded as UTF-8, with the content type ``exposition.value``.

    Examples:
        >>> print(render(Snapshot(0.0, 60.0), namespace="shop").splitlines()[-1])
        toolcache_since_seconds{namespace="shop"} 0
    """
    lines: list[str] = []
    modern = exposition is Exposition.OPENMETRICS
    for family, rows in told(Reading.of(snapshot, namespace, processes, prices)):
        name = PREFIX + family.name
        lines += _heading(family, name, modern=modern)
        for values, number in rows:
            lines += _samples(family, name, (namespace, *values), number)
    if modern:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _heading(family: Family, name: str, *, modern: bool) -> Iterator[str]:
    shown = name if modern or family.kind != "counter" else f"{name}_total"
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {shown} {text}"
    yield f"# TYPE {shown} {family.kind}"
    if modern and family.unit:
        yield f"# UNIT {shown} {family.unit}"


def _samples(family: Family, name: str, values: tuple[str, ...], number: float | Spread) -> Iterator[str]:
    labels = ",".join(
        f'{label}="{_escaped(value)}"' for label, value in zip(("namespace", *family.labels), values, strict=True)
    )
    if isinstance(number, Spread):
        shape = steps(number, family.bounds)
        for bound, count in shape.buckets:
            yield f'{name}_bucket{{{labels},le="{_number(bound)}"}} {_number(count)}'
        yield f"{name}_count{{{labels}}} {_number(shape.buckets[-1][1])}"
        yield f"{name}_sum{{{labels}}} {_number(shape.sum)}"
    else:
        suffix = "_total" if family.kind == "counter" else ""
        yield f"{name}{suffix}{{{labels}}} {_number(number)}"


def _utf8(value: str) -> str:
    """Text that can be sent: half a character is spelt out."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def _escaped(value: str) -> str:
    return _utf8(value).replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(number: float) -> str:
    if not isfinite(number):
        return {inf: "+Inf", -inf: "-Inf"}.get(number, "NaN")
    return str(int(number)) if number == int(number) else repr(number)


class CacheCollector:
    """The same of one cache, for a registry of ``prometheus_client``: the extra ``prometheus``.

    What the collector tells is of this process since the cache was made. The library's own mode for several processes
    leaves collectors out; there, and for a fleet, have Prometheus scrape ``toolcache serve``. A registry takes one: for a
    second cache, make a registry of its own.

    Args:
        cache: a cache, of either face, which need not be used from the thread that scrapes.

    Examples:
        >>> from prometheus_client import REGISTRY, generate_latest
        >>> REGISTRY.register(CacheCollector(cache))
        >>> text = generate_latest()
    """

    def __init__(self, cache: "Cache | BlockingToolCache") -> None:
        self._cache = within(cache)

    def describe(self) -> "Iterator[Metric]":
        """The names alone, so that two collectors of them are refused at once."""
        return (_metric(family, "", ()) for family in FAMILIES)

    def collect(self) -> "Iterator[Metric]":
        """The families with their numbers."""
        reading = read(self._cache)
        return (_metric(family, reading.namespace, rows) for family, rows in told(reading))


def _metric(family: Family, namespace: str, rows: Iterable[Row]) -> "Metric":
    from prometheus_client import core

    kinds: dict[str, Any] = {
        "counter": core.CounterMetricFamily,
        "gauge": core.GaugeMetricFamily,
        "histogram": core.HistogramMetricFamily,
    }
    made = kinds[family.kind](PREFIX + family.name, family.help, labels=("namespace", *family.labels), unit=family.unit)
    for values, number in rows:
        if isinstance(number, Spread):
            shape = steps(number, family.bounds)
            buckets = [(_number(bound), count) for bound, count in shape.buckets]
            made.add_metric((namespace, *map(_utf8, values)), buckets, shape.sum)
        else:
            made.add_metric((namespace, *map(_utf8, values)), number)
    return made  # type: ignore[no-any-return]  # one of the three
