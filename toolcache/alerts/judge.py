"""Whether a rule's condition holds, as far as what was counted can tell. Pure."""

from typing import Final, NamedTuple

from toolcache.alerts.rule import LABELS, OPERATORS, AlertRule
from toolcache.alerts.watched import RATES
from toolcache.metrics.counts import Counts, LayerCounts
from toolcache.metrics.snapshot import Metrics

_MISSING: Final = "a store cannot be asked: what others have counted is missing"


class Judgement(NamedTuple):
    """What was found.

    Attributes:
        holds: whether the condition does; None where nobody can tell.
        value: what the metric came to; None where there is nothing to tell it by.
        why: it could not be judged; else empty.
    """

    holds: bool | None
    value: float | None = None
    why: str = ""


def judge(rule: AlertRule, metrics: Metrics) -> Judgement:
    """Compare what was counted in a rule's window with its threshold."""
    value, calls = _measure(rule, metrics)
    holds = OPERATORS[rule.condition](value, rule.threshold)
    if not metrics.complete:
        # What adds up can but grow by what is missing: above stays above.
        certain = rule.watched.adds_up and calls >= rule.minimum and holds is (rule.condition in {">", ">="})
        return Judgement(holds, value) if certain else Judgement(None, value if calls else None, _MISSING)
    if calls < rule.minimum:
        why = f"{calls:,} calls in the window, and {rule.minimum:,} are needed"
        return Judgement(None, value if calls else None, why)
    return Judgement(holds, value)


def _measure(rule: AlertRule, metrics: Metrics) -> tuple[float, int]:
    """The metric, and the calls that it is told by."""
    watched = rule.watched
    if watched.of_fleet is not None:
        return watched.of_fleet(metrics, rule.layer), metrics.hits + metrics.misses
    if watched.of_layer is not None and (rule.layer or watched.of_series is None):
        layers = metrics.layers.items()
        layer = LayerCounts.sum(counts for name, counts in layers if rule.layer in {"", name})
        return watched.of_layer(layer), max(layer.hits + layer.misses, int(layer.latency.count))
    assert watched.of_series is not None  # noqa: S101 - each metric is read off something
    wanted = [(place, getattr(rule, label)) for place, label in enumerate(LABELS) if getattr(rule, label)]
    counts = Counts.sum(
        counts for series, counts in metrics.series.items() if all(series[place] == name for place, name in wanted)
    )
    value = watched.of_series(counts)
    if rule.metric in RATES:
        value /= max(metrics.until - metrics.since, 1.0)
    return value, counts.hits + counts.misses
