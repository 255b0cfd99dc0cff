"""Whether what a verb was told is all there is to tell: which layers could not be asked meanwhile."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from toolcache.cli.problems import Code, Problem, unreachable

if TYPE_CHECKING:
    from toolcache.cli.call import Call
    from toolcache.stats import Health
    from toolcache.tool_cache import ToolCache

_NAMED: Final = 5


async def failed(cache: "ToolCache") -> bool:
    """Whether a layer has failed since the cache was opened; asks nobody."""
    return bool(_told(await cache.health(probe=False))[0])


async def check(cache: "ToolCache") -> None:
    """Nothing was found: is that because a layer could not be asked?

    Raises:
        Problem: it is.
    """
    said, _ = _told(await cache.health(probe=False))
    if said:
        raise _unknown(said)


async def partly(call: "Call", cache: "ToolCache", document: dict[str, Any], *, some: bool) -> Code:
    """What was told may not be all: the document's ``complete``, a sentence beside it and the exit code say so.

    Args:
        call: of the verb.
        cache: that was asked.
        document: what was told.
        some: whether anything was.

    Raises:
        Problem: nothing was, and there is no layer that could be asked.
    """
    said, others = _told(await cache.health(probe=False))
    document["complete"] = not said
    if not said:
        return Code.OK
    if not others and not some:
        raise _unknown(said)
    call.note(
        f"{' and '.join(said)}: what follows is of {others[0]} alone"
        if others
        else f"{' and '.join(said)}: what follows may not be all"
    )
    return Code.UNREACHABLE


def _told(health: "Health") -> tuple[list[str], list[str]]:
    """A sentence for each layer that has failed since the cache was opened, and the names of the others; asks nobody."""
    said, others = [], []
    for name, own, layer in (("Redis", "Redis", health.redis), ("the files", "the files of this host", health.files)):
        if layer is not None and layer.last_fault:
            said.append(f"{name} at {layer.where} cannot be used ({layer.last_fault})")
        elif layer is not None:
            others.append(own)
    return said, others


def _unknown(said: list[str]) -> Problem:
    return unreachable(f"{' and '.join(said)}, so nobody can say; toolcache health tells what to do")


async def nothing(cache: "ToolCache", period: str, of: str = "") -> str:
    """What is said where nothing was counted: that, and where else there is something.

    Args:
        cache: that was asked.
        period: how far back.
        of: the domain that was meant, for a person to read; empty for all.
    """
    if await failed(cache):
        return f"Nothing was counted{of and f' of {of}'} in the last {period}, as far as could be asked."
    others = await _elsewhere(cache)
    said = f"Nothing was counted{of and f' of {of}'} in the last {period}.\n"
    if not others:
        return f"{said}→ --period looks further back, --namespace elsewhere; toolcache config shows where this looked"
    named = f"{', '.join(others[:_NAMED])}{f' and {len(others) - _NAMED} more' if len(others) > _NAMED else ''}"
    return f"{said}→ --period looks further back, --namespace elsewhere: this host's files know of {named}"


async def _elsewhere(cache: "ToolCache") -> list[str]:
    """Other namespaces that have counted something and that this host's files know; Redis would have to go through its keys."""
    from toolcache.groups import SupportsGroupList
    from toolcache.keys.text import STATISTICS

    files = cache._parts.files  # noqa: SLF001 - of this house
    if files is None or not isinstance(files.store, SupportsGroupList):
        return []
    groups = await files.ask(partial(files.store.groups, f"tc1:{STATISTICS}:"))
    return sorted({group.split(":")[2] for group in groups or ()} - {cache.settings.namespace})
