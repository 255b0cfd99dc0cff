"""What is to be forgotten, as people say it: one kind at a time, so that nobody has to guess whether two mean both or either."""

from collections.abc import Callable, Collection, Iterable, Mapping
from inspect import iscoroutinefunction
from typing import Any, Final, NamedTuple, TypedDict

from toolcache.catalogue import KeyInfo
from toolcache.domains import GENERAL, IDEMPOTENCY, Domain
from toolcache.keys.globs import Glob
from toolcache.spelling import nearest
from toolcache.tags import agent_label, catalog_label, check, domain_label, labels, tool_label

_LABELS: Final[dict[str, Callable[[str], str]]] = {
    "agent": agent_label,
    "catalog_version": catalog_label,
    "tool": tool_label,
}
_KINDS: Final = ("tags", "domain", *_LABELS, "pattern", "where")


class Targets(TypedDict, total=False):
    """What ``invalidate`` may be told.

    ``tags``: what carries one of them, or one beneath it. ``domain``, by name or as a ``Domain``; ``agent``;
    ``catalog_version``; ``tool``: what belongs to it, by its exact name. These are fenced, and take as long for a million
    entries as for one. ``pattern``: keys, as in a shell; ``where``: what a function of ``KeyInfo`` says yes to, of all keys or
    of those of a ``pattern``. These two list every layer and delete what they find.
    """

    tags: Iterable[str]
    domain: str | Domain
    agent: str
    catalog_version: str
    tool: str
    pattern: str
    where: Callable[[KeyInfo], bool]


class Target(NamedTuple):
    """What is meant: what carries any of the ``labels``, or else what is found by ``glob`` and ``where``."""

    scope: str
    labels: tuple[str, ...] = ()
    glob: Glob | None = None
    where: Callable[[KeyInfo], bool] | None = None


def target(options: Mapping[str, Any], domains: Collection[str]) -> Target:
    """What a caller's options mean, where there are these domains.

    Raises:
        TypeError: an option is unknown, of a wrong kind, or not the only one.
        ValueError: there is no such domain, or no such name or pattern can be.
    """
    for name in options:
        if name not in _KINDS:
            raise TypeError(f"invalidate() knows no {name!r}{nearest(name, _KINDS)}")
    kinds = options.keys() - {"pattern"} if "where" in options else options.keys()
    if len(kinds) != 1:
        raise TypeError(
            f"invalidate() takes one of {', '.join(_KINDS)}, or pattern and where together; "
            f"{'none was given' if not kinds else 'call it once for each'}"
        )
    ((scope, said),) = ((name, options[name]) for name in kinds)
    match scope:
        case "tags":
            return Target(scope, _tags(said))
        case "domain":
            return Target(scope, (_domain(said, domains),))
        case "pattern":
            return Target(scope, glob=Glob(said))
        case "where":
            return Target(scope, glob=Glob(options.get("pattern", "*")), where=_predicate(said))
        case _:
            return Target(scope, (_label(scope, said),))


def _tags(said: Any) -> tuple[str, ...]:
    if given := labels(said):
        return given
    raise ValueError("name at least one tag: invalidate(tags=['news'])")


def _domain(said: Any, domains: Collection[str]) -> str:
    name = said.name if isinstance(said, Domain) else said
    if name == GENERAL.name:
        raise ValueError("keys of your own belong to no domain: take a pattern, tags, or clear()")
    if name == IDEMPOTENCY.name:
        raise ValueError(
            "what was run once is forgotten one by one, by forget(key) or delete_result(task), or by its own tags"
        )
    if not isinstance(said, Domain) and name not in domains:
        raise ValueError(f"domain={name!r} is none of {', '.join(domains)}{nearest(str(name), domains)}")
    return domain_label(name)


def _label(scope: str, said: Any) -> str:
    if not isinstance(said, str) or not said:
        raise ValueError(
            f"{scope} is a name, not {said!r}" if said == "" else f"{scope} is a name, not {type(said).__name__}"
        )
    label = _LABELS[scope](said)
    check((label,))
    return label


def _predicate(said: Any) -> Callable[[KeyInfo], bool]:
    if not callable(said) or iscoroutinefunction(said):
        raise TypeError(
            "where is a plain function of a KeyInfo that returns whether it is meant: where=lambda it: it.hits == 0"
        )
    predicate: Callable[[KeyInfo], bool] = said
    return predicate
