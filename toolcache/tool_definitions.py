"""Definitions of tools, as servers of the Model Context Protocol list them: plain dicts, or objects with the same names.

Those that models are told of, ``{"type": "function", "function": {…}}``, are read as well; they have no hints.

What a definition says is the server's word. Nothing here believes it, or breaks on it: what cannot be read says nothing.
"""

from collections.abc import Mapping
from typing import Any, Final

from toolcache.errors import UnsupportedKeyError
from toolcache.fields import Frozen
from toolcache.keys.canonical import digest

MAX_NAME: Final = 1_024
"""Characters of a name; a longer one names nothing."""

_KEPT: Final = 32
"""Hexadecimal digits that tell one definition from another."""


class Hints(Frozen):
    """What a server says of a tool's effects; None where it says nothing, and the protocol's default holds.

    Attributes:
        read_only: it changes nothing; no, unless said.
        destructive: what it changes may be lost; yes, unless said.
        idempotent: called again with the same arguments, it changes nothing more; no, unless said.
        open_world: it deals with more than the server's own; yes, unless said.
    """

    read_only: bool | None = None
    destructive: bool | None = None
    idempotent: bool | None = None
    open_world: bool | None = None

    @classmethod
    def of(cls, annotations: object) -> "Hints":
        """The hints of a tool's ``annotations``. What is neither true nor false is not said."""
        told = {
            "read_only": part(annotations, "readOnlyHint", "read_only_hint"),
            "destructive": part(annotations, "destructiveHint", "destructive_hint"),
            "idempotent": part(annotations, "idempotentHint", "idempotent_hint"),
            "open_world": part(annotations, "openWorldHint", "open_world_hint"),
        }
        return cls(**{name: hint for name, hint in told.items() if isinstance(hint, bool)})


class ToolDefinition(Frozen):
    """What is known of a tool from its definition.

    Attributes:
        name: as the server calls it.
        hints: what the server says of its effects.
        digest: tells this definition from any other: schemas, hints, description and version count, title and icons do
            not. None where it cannot be told, as of one nested without end.
    """

    name: str
    hints: Hints
    digest: str | None

    @classmethod
    def of(cls, tool: object) -> "ToolDefinition | None":
        """What a definition says; None where it names no tool."""
        function = part(tool, "function")  # as models are told of tools
        if isinstance(function, Mapping):
            tool = function
        name = part(tool, "name")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            return None
        hints = Hints.of(part(tool, "annotations"))
        told = {
            "description": part(tool, "description"),
            "input": part(tool, "inputSchema", "input_schema", "parameters"),
            "output": part(tool, "outputSchema", "output_schema"),
            "version": part(tool, "version"),
            "meta": part(tool, "_meta", "meta"),
            "hints": [getattr(hints, hint) for hint in Hints._fields],
        }
        try:
            return cls(name, hints, digest(told)[:_KEPT])
        except UnsupportedKeyError:
            return cls(name, hints, None)


def part(whole: object, *names: str) -> Any:
    """What a dict, or an object, has under the first of these names that it knows; None where it knows none."""
    if isinstance(whole, Mapping):
        return next((whole[name] for name in names if name in whole), None)
    return next((found for name in names if (found := getattr(whole, name, None)) is not None), None)
