"""Alert rules: what is watched, and from when on it is told."""

import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias, TypedDict

from toolcache.alerts.watched import METRICS, Watched, metric_of
from toolcache.durations import Duration, seconds
from toolcache.fields import Frozen
from toolcache.spelling import nearest

Action: TypeAlias = Callable[..., Any]
"""Called with an ``Alert``; sync or async."""

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = MappingProxyType(
    {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)
_WORDS: Final = {
    "<": ("below", "less_than", "lt", "under", "falls_below"),
    "<=": ("at_most", "lte", "le", "less_than_or_equal"),
    ">": ("above", "greater_than", "more_than", "gt", "over", "exceeds", "rises_above"),
    ">=": ("at_least", "gte", "ge", "greater_than_or_equal"),
}
CONDITIONS: Final = {sign: sign for sign in OPERATORS} | {
    word: sign for sign, words in _WORDS.items() for word in words
}
LAYERS: Final = ("memory", "redis", "file")
LABELS: Final = ("domain", "agent", "tool", "model")

_SHORTEST: Final = 60.0
"""Seconds of a window: what is counted is counted by the minute."""
_LONGEST: Final = 399 * 86_400.0
_NAME: Final = 100
_LABEL: Final = 1_000
_PERCENT: Final = 100.0
MINIMUM: Final = 20
"""Calls that a share or a quantile is judged by, at least, where a rule says nothing of it."""


class AlertOptions(TypedDict, total=False):
    """What ``create`` is told of an alert.

    Attributes:
        metric: what is watched; see ``METRICS``.
        condition: ``"<"``, ``"<="``, ``">"`` or ``">="``, or a word for it such as ``"below"``; with the threshold in it,
            ``"< 0.5"``; or a dict of metric, operator, threshold and window.
        threshold: what the metric is compared with: a number; for a share also ``"50%"`` or 50, for a time ``"250ms"``.
        window: over how long it is counted, back from now; a minute at least.
        for_: how long the condition must hold before it is told; at once unless given. ``for`` in TOML.
        cooldown: for how long after it has fired it does not fire again.
        minimum: how many calls the window must have for it to be judged; 20 for shares and latencies, else none.
        domain: only what is counted there; so ``agent``, ``tool``, ``model``.
        layer: only what "memory", "redis" or "file" came to.
        actions: what is done when it fires and when it resolves: callables, or names of ``cache.alerts.actions``. It is
            logged, unless given.
    """

    metric: str
    condition: str | Mapping[str, Any]
    threshold: float | str
    window: Duration
    for_: Duration | None
    cooldown: Duration | None
    minimum: int
    domain: str | None
    agent: str | None
    tool: str | None
    model: str | None
    layer: str | None
    actions: Iterable[Action | str]


OPTIONS: Final = tuple(AlertOptions.__annotations__)


class AlertRule(Frozen):
    """An alert as it was declared; spans in seconds.

    Attributes:
        name: by which the processes of the namespace know it.
        metric: one of ``METRICS``; so ``condition`` of ``<``, ``<=``, ``>``, ``>=``.
        threshold: in the metric's unit; a share from 0 to 1.
        window: over how long it is counted.
        for_: how long the condition must hold.
        cooldown: for how long it does not fire again.
        minimum: calls that it is judged by, at least.
        domain: of which alone it is; so ``agent``, ``tool``, ``model`` and ``layer``. Empty for all.
        actions: what is done.
    """

    name: str
    metric: str
    condition: str
    threshold: float
    window: float = 300.0
    for_: float = 0.0
    cooldown: float = 900.0
    minimum: int = 0
    domain: str = ""
    agent: str = ""
    tool: str = ""
    model: str = ""
    layer: str = ""
    actions: tuple[Action, ...] = ()

    @property
    def watched(self) -> Watched:
        """What its metric is."""
        return METRICS[self.metric]

    @property
    def only(self) -> dict[str, str]:
        """What it is about alone."""
        return {label: value for label in (*LABELS, "layer") if (value := getattr(self, label))}

    def shown(self, value: float) -> str:
        """A number in the metric's unit, as people read it."""
        match self.watched.unit:
            case "share":
                return f"{100 * value:.3g} %"
            case "seconds":
                return f"{value:.3g} s" if value >= 1 or not value else f"{1000 * value:.3g} ms"
            case "dollars":
                return f"${value:,.2f}"
        return f"{value:,.6g}"


def rule_of(
    name: str, options: Mapping[str, Any], actions: Callable[[Any], tuple[Action, ...]], domains: Collection[str] = ()
) -> AlertRule:
    """The rule that options mean.

    Args:
        name: of the alert.
        options: see ``AlertOptions``.
        actions: makes callables of what is given as actions.
        domains: the names that there are; any name will do, if there are none.

    Raises:
        ValueError: an option is unknown, missing or out of range; the text says which, and what can be written.
        TypeError: one is of a wrong kind.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _NAME or not name.isprintable():
        raise ValueError(f"the name of an alert is a text of 1 to {_NAME} letters, such as 'few hits'")
    for option in options:
        if option not in OPTIONS:
            raise ValueError(f"there is no option {option!r}: write {', '.join(OPTIONS)}{nearest(option, OPTIONS)}")
    given = _unfolded(options)
    metric = _metric(given.get("metric"))
    watched = METRICS[metric]
    rule = AlertRule(
        name=name,
        metric=metric,
        condition=_condition(given.get("condition")),
        threshold=_threshold(given.get("threshold"), watched, metric),
        window=_window(given.get("window", "5m")),
        for_=_span(given.get("for_"), "for"),
        cooldown=_span(given.get("cooldown", "15m"), "cooldown"),
        minimum=_minimum(given.get("minimum"), watched),
        layer=_one_of(given.get("layer"), "layer", LAYERS),
        domain=_one_of(given.get("domain"), "domain", domains),
        agent=_one_of(given.get("agent"), "agent"),
        tool=_one_of(given.get("tool"), "tool"),
        model=_one_of(given.get("model"), "model"),
    )
    _check_reach(rule)
    return rule._replace(actions=actions(given.get("actions")))


def _unfolded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of which each says one thing: a condition may say more."""
    given = {name: value for name, value in options.items() if value is not None or name == "cooldown"}
    condition = given.get("condition")
    if isinstance(condition, Mapping):
        inner = {"operator": "condition"}
        for key, value in condition.items():
            option = inner.get(key, key)
            if option not in {"metric", "condition", "threshold", "window"}:
                known = ("metric", "operator", "threshold", "window")
                raise ValueError(f"condition has no {key!r}: write {', '.join(known)}{nearest(str(key), known)}")
            if option != "condition" and option in given:
                raise ValueError(f"{option} is given twice: in the condition, and beside it")
            given[option] = value
        if "operator" not in condition and "condition" not in condition:
            given.pop("condition")
    elif isinstance(condition, str) and condition.strip() not in CONDITIONS:
        word = next(
            (one for one in sorted(OPERATORS, key=len, reverse=True) if condition.strip().startswith(one)), None
        )
        first, _, rest = (
            condition.strip().partition(" ") if word is None else (word, "", condition.strip()[len(word) :])
        )
        if rest.strip():
            if "threshold" in given:
                raise ValueError("threshold is given twice: in the condition, and beside it")
            given |= {"condition": first, "threshold": rest.strip()}
    return given


def _metric(name: object) -> str:
    if name is None:
        raise ValueError(f"metric is missing: write what is to be watched, one of {', '.join(METRICS)}")
    known = metric_of(name) if isinstance(name, str) else ""
    if known not in METRICS:
        raise ValueError(f"metric: {name!r} is none of {', '.join(METRICS)}{nearest(str(name), METRICS)}")
    return known


def _condition(sign: object) -> str:
    if sign is None:
        raise ValueError("condition is missing: write '<', '<=', '>' or '>='")
    word = sign.strip().lower().replace(" ", "_") if isinstance(sign, str) else ""
    if word not in CONDITIONS:
        raise ValueError(f"condition: {sign!r} is none of {', '.join(CONDITIONS)}{nearest(str(sign), CONDITIONS)}")
    return CONDITIONS[word]


def _threshold(value: Any, watched: Watched, metric: str) -> float:
    if value is None:
        raise ValueError("threshold is missing: write the number that the metric is compared with")
    text = value.strip() if isinstance(value, str) else ""
    if watched.unit == "seconds" and text and not text.replace(".", "", 1).isdecimal():
        return seconds(text, name="threshold")
    percent = watched.unit == "share" and text.endswith("%")
    try:
        number = float(text.removesuffix("%") if percent else value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number < math.inf:
        forms = {"share": ", such as 0.5 or '50%'", "seconds": ", such as 0.25 or '250ms'"}.get(watched.unit, "")
        raise ValueError(f"threshold of {metric} is a number of zero or more{forms}, not {value!r}")
    if watched.unit == "share":
        number = number / _PERCENT if percent or number > 1 else number
        if number > 1:
            raise ValueError(f"threshold of {metric} is a share of at most 1, or '100%', not {value!r}")
    return number


def _window(value: Any) -> float:
    window = seconds(value, name="window")
    if window < _SHORTEST:
        raise ValueError(f"window is a minute at least, for that is how it is counted, not {value!r}")
    if window > _LONGEST:
        raise ValueError(f"window is at most 399 days, for no longer is it counted, not {value!r}")
    return window


def _span(value: Any, name: str) -> float:
    nothing = value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value == 0)
    return 0.0 if nothing else seconds(value, name=name)


def _minimum(value: Any, watched: Watched) -> int:
    if value is None:
        return MINIMUM if watched.is_of_calls else 0
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"minimum is a whole number of calls, not {value!r}")
    return value


def _one_of(value: Any, name: str, known: Collection[str] = ()) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not 0 < len(value) <= _LABEL:
        raise ValueError(f"{name} is a name of 1 to {_LABEL} letters, not {value!r:.80}")
    if known and value not in known:
        raise ValueError(f"{name}: {value!r} is none of {', '.join(known)}{nearest(value, known)}")
    return value


def _check_reach(rule: AlertRule) -> None:
    """Refuse what a metric is not counted by."""
    watched, labels = rule.watched, [label for label in LABELS if getattr(rule, label)]
    if rule.layer and watched.of_layer is None and rule.metric != "breakers_open":
        raise ValueError(f"{rule.metric} is not counted by layer: leave layer out")
    if labels and (rule.layer or watched.of_series is None):
        why = "a layer's share of it" if rule.layer else rule.metric
        raise ValueError(f"{why} is not counted by {labels[0]}: leave {' and '.join(labels)} out")
