"""Consequences: what the cache forgets by itself when an event is emitted."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from toolcache.domains import MEMORY
from toolcache.fields import Frozen
from toolcache.tags import agent_label, catalog_label, domain_label, labels, tool_label

_FIELD: Final = re.compile(r"\{(\w+)\}")


class Rule(Frozen):
    """What an event makes wrong. In each text, ``{field}`` stands for what the event says under that name.

    Attributes:
        tags: what carries one of them, or one beneath it.
        agent: what belongs to that agent.
        memory: what that agent remembers.
        tool: the results of that tool.
        catalog_version: what belongs to that version of a catalog.
        domain: everything of a domain.
    """

    tags: tuple[str, ...] = ()
    agent: str | None = None
    memory: str | None = None
    tool: str | None = None
    catalog_version: str | None = None
    domain: str | None = None

    def check(self) -> None:
        """Raises TypeError, or ValueError, for a rule that names something by what is no text, or empty."""
        for field in _LABELS:
            if (name := getattr(self, field)) is not None and not isinstance(name, str):
                raise TypeError(f"{field} is a text such as '{{{field}}}', not {type(name).__name__}")
            if name == "":
                raise ValueError(f"{field} is a name, not an empty text: leave it out to have nothing of it forgotten")

    def labels(self, event: str, payload: Mapping[str, Any]) -> list[str]:
        """The labels of what is to be forgotten.

        Raises:
            ValueError: the event does not say what the rule needs to know.
        """
        tags = [one for tag in self.tags for one in _filled(tag, event, payload)]
        found = [
            label for tag in tags for label in labels([tag])
        ]  # one by one: an entry may have so many, an event more
        for field, label in _LABELS.items():
            if (template := getattr(self, field)) is not None:
                found += map(label, _filled(template, event, payload))
        return list(dict.fromkeys(found))


_LABELS: Final[dict[str, Callable[[str], str]]] = {
    "agent": agent_label,
    "memory": lambda agent: domain_label(f"{MEMORY.name}/{agent}"),  # as ``toolcache.memories`` has it
    "tool": tool_label,
    "catalog_version": catalog_label,
    "domain": domain_label,
}

RULES: Final[Mapping[str, Rule]] = {
    "agent.updated": Rule(agent="{agent}"),
    "tool.updated": Rule(tool="{tool}"),
    "memory.updated": Rule(memory="{agent}"),
    "catalog.updated": Rule(catalog_version="{version}"),
    "data.updated": Rule(tags=("{data_type}",)),
}
"""Those that hold unless another one is given."""


def _filled(template: str, event: str, payload: Mapping[str, Any]) -> Iterable[str]:
    """The texts that a template stands for: as many as the one field that lists several."""
    texts = [template]
    for field in dict.fromkeys(_FIELD.findall(template)):
        said = payload.get(field)
        listed: Iterable[Any] = said if isinstance(said, list | tuple | set | frozenset) else [said]
        several = [one for one in listed if isinstance(one, str) and one]
        if not several or len(several) < len(list(listed)):
            raise ValueError(
                f"{event!r} has to say which {field}, as text or a list of texts: emit({event!r}, {field}=…); "
                f"or have nothing be forgotten then: react({event!r})"
            )
        texts = [text.replace(f"{{{field}}}", one) for text in texts for one in several]
    return texts
