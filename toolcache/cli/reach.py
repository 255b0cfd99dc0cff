"""Whether what a verb was told is all there is to tell: which layers could not be asked meanwhile."""

from typing import TYPE_CHECKING, Any

from toolcache.cli.problems import Code, unreachable

if TYPE_CHECKING:
    from toolcache.cli.call import Call
    from toolcache.stats import Health
    from toolcache.tool_cache import ToolCache


async def faults(cache: "ToolCache") -> list[str]:
    """A sentence for each layer that failed since the cache was opened; asks nobody."""
    return told(await cache.health(probe=False))


def told(health: "Health") -> list[str]:
    """The same of what is known already."""
    said = []
    for name, layer in (("Redis", health.redis), ("the files", health.files)):
        if layer is not None and layer.last_fault:
            said.append(f"{name} at {layer.where} cannot be used ({layer.last_fault})")
    return said


async def check(cache: "ToolCache") -> None:
    """Nothing was found: is that because a layer could not be asked?

    Raises:
        Problem: it is.
    """
    if said := await faults(cache):
        raise unreachable(f"{' and '.join(said)}, so nobody can say; toolcache health tells what to do")


async def partly(call: "Call", cache: "ToolCache", document: dict[str, Any]) -> Code:
    """Something was found, perhaps not all: the document's ``complete`` says so, and so does the exit code."""
    said = await faults(cache)
    document["complete"] = not said
    for one in said:
        call.note(f"{one}: what follows is what the others know")
    return Code.UNREACHABLE if said else Code.OK
