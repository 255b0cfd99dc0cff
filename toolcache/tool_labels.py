"""Labels of what is kept of tools, finer than that of all tools of a name.

results of a tool     all tools of the name, this tool, all tools of its server
what is said of it    all tools of the name, what is said of that name
a catalog             its version, the server that it is of
"""

from functools import lru_cache

from toolcache.keys.text import join
from toolcache.tags import catalog_label, server_label, tool_label


@lru_cache(1_024)
def result_labels(server: str, tool: str) -> tuple[str, ...]:
    """Those of what a tool has said; of no server, where that has no name."""
    names = (tool_label(tool), one_tool(server, tool))
    return (*names, results_of(server)) if server else names


def definition_labels(tool: str) -> tuple[str, ...]:
    """Those of what is said of tools of a name."""
    return tool_label(tool), said_of(tool)


def catalog_labels(source: object, version: str) -> tuple[str, ...]:
    """Those of a catalog: a source that is a text is the name of a server."""
    named = isinstance(source, str) and source != ""
    return (catalog_label(version), server_label(str(source))) if named else (catalog_label(version),)


def one_tool(server: str, tool: str) -> str:
    """The label of what one tool has said."""
    return tool_label(join(server, tool))


def results_of(server: str) -> str:
    """The label of what all tools of a server have said."""
    return tool_label(join(server, ""))


def said_of(tool: str) -> str:
    """The label of what is said of tools of a name."""
    return tool_label(join("", "", tool))
