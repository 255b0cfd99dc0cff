"""Results of tools: which are whole, and may be kept."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from toolcache.tool_definitions import part

_UNFINISHED: Final = ("isPartial", "is_partial", "inputRequests", "input_requests")
"""What a result has that is not the last word: more is to come, or somebody is to be asked first."""


class Kind(Enum):
    """What a tool's result is."""

    WHOLE = "whole"
    """All there is to say."""
    ERROR = "error"
    """The tool has failed, and says so in its result."""
    UNFINISHED = "unfinished"
    """More is to come, or the caller is to be asked something first."""
    STREAM = "stream"
    """It comes piece by piece, and but once."""


def kind_of(result: object) -> Kind:
    """What a result is: that of the Model Context Protocol as a dict or an object, or any other value.

    Examples:
        >>> kind_of({"content": [], "isError": True}).value, kind_of("Oslo: rain").value
        ('error', 'whole')
    """
    kind: Any = type(result)
    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__aiter__", "__await__")):
        return Kind.STREAM
    if not isinstance(result, Mapping) and _is_data(kind):
        return Kind.WHOLE
    if _says(part(result, "isError", "is_error")):
        return Kind.ERROR
    if any(_says(part(result, name)) for name in _UNFINISHED):
        return Kind.UNFINISHED
    if part(part(result, "task"), "taskId", "task_id") is not None:  # where the result is to be asked for by and by
        return Kind.UNFINISHED
    ending = part(result, "resultType", "result_type")
    return Kind.UNFINISHED if isinstance(ending, str) and ending != "complete" else Kind.WHOLE


def _says(word: object) -> bool:
    """Whether it is said: neither left out nor false. Methods of an object say nothing."""
    return word is not None and word is not False and not callable(word)


def _is_data(kind: type) -> bool:
    """Whether values of the type have no names of their own to look at."""
    return kind.__module__ == "builtins"
