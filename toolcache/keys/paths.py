"""Paths: a name with steps into it, such as ``filters.lang``, for the part of an argument that a key is made of."""

from collections.abc import Mapping
from typing import Any

from toolcache.errors import UnsupportedKeyError


class Path:
    """One such path.

    A step is a text key of a mapping, a field of a dataclass or of a named tuple, or what an object holds itself: never
    what it would have to work out. A key with a dot in it is no step.

    Args:
        text: as it is written; its first part is a name.
        whole: it is a name as it stands, whatever is written in it.
    """

    __slots__ = ("name", "steps", "text")

    def __init__(self, text: str, *, whole: bool = False) -> None:
        self.text = text
        self.name, *self.steps = [text] if whole else text.split(".")

    def of(self, value: Any, owner: str) -> Any:
        """What the path leads to.

        Args:
            value: what has the path's name.
            owner: of whose arguments an error speaks.

        Raises:
            UnsupportedKeyError: there is no such path; the error names it.
        """
        for step in self.steps:
            try:
                value = _step(value, step)
            except LookupError as missing:
                raise UnsupportedKeyError(
                    f"{self.text!r} of {owner} leads nowhere: {missing.args[0]}; leave it out of the key, or pass it"
                ) from None
        return value


def _step(value: Any, step: str) -> Any:
    kind = type(value)
    fields = getattr(kind, "__dataclass_fields__", None) or getattr(kind, "model_fields", None)
    if isinstance(value, Mapping):
        if isinstance(fields, Mapping) and step in fields:
            raise LookupError(f"{step!r} may be a key or a field of a {kind.__name__}")
        if step in value:
            return value[step]
    elif isinstance(value, tuple):
        if step in getattr(kind, "_fields", ()):
            return getattr(value, step)
    elif isinstance(fields, Mapping):
        if step in fields and hasattr(value, step):
            return getattr(value, step)
    elif step in getattr(value, "__dict__", ()) and not isinstance(value, type):
        return vars(value)[step]
    raise LookupError(f"a value of type {kind.__name__} has no {step!r}")
