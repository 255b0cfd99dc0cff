"""Tags: labels of an entry, in levels separated by colons, such as ``"products:phones"``.

Those that begin with ``@`` are the cache's own, and no caller may give one:

    @n           the namespace itself (see ``toolcache.epochs``)
    @d: @a: @c: @t: @s: @f:  domains, agents, versions of a catalog, tools, servers, functions
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Final

MAX_TAGS: Final = 16
MAX_LEVELS: Final = 8
MAX_LENGTH: Final = 128
MAX_STORED: Final = 64
RESERVED: Final = "@"
_DOMAIN: Final = "@d:"
UNTAGGED: Final[tuple[str, ...]] = ()
"""What most entries have."""


def labels(tags: Iterable[str]) -> tuple[str, ...]:
    """A caller's tags, looked at: the one way by which they come in.

    Raises:
        ValueError: they are no list of texts, are too many, too long or too deep, or one is the cache's own.

    Examples:
        >>> labels(["news", "products:phones"])
        ('news', 'products:phones')
    """
    if type(tags) is tuple and not tags:
        return tags
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        kind = "one text" if isinstance(tags, str) else type(tags).__name__
        told = f"tags is a list of texts, not {kind}: write it like tags=['news']"
        raise ValueError(told)  # noqa: TRY004 - one error for all that is wrong here
    given = tuple(tags)
    check(given)
    for index, tag in enumerate(given):
        if tag.startswith(RESERVED):
            raise ValueError(f"tag {index} begins with {RESERVED!r}, and such tags are the cache's own: choose another")
    return given


def domain_label(name: str) -> str:
    """The label of all that is in a domain."""
    return _own("d", name)


def domain_of(tags: Iterable[str]) -> str | None:
    """The name of the domain that an entry with these tags is in."""
    return next((tag[len(_DOMAIN) :] for tag in tags if tag.startswith(_DOMAIN)), None)


def agent_label(agent: str) -> str:
    """The label of all that is an agent's."""
    return _own("a", agent)


def catalog_label(version: str) -> str:
    """The label of all that was made from one version of a catalog."""
    return _own("c", version)


def tool_label(tool: str) -> str:
    """The label of all that a tool has said, and of what is said of it."""
    return _own("t", tool)


def function_label(name: str) -> str:
    """The label of all results of a function."""
    return _own("f", name)


def server_label(server: str) -> str:
    """The label of the catalog of a server."""
    return _own("s", server)


@lru_cache(1_024)
def _own(kind: str, name: str) -> str:
    if not isinstance(name, str) or not name:
        raise ValueError(f"a label is made of a name, which is a text and not empty: not of {type(name).__name__}")
    label = f"{RESERVED}{kind}:{name}"
    if len(label) > MAX_LENGTH or label.count(":") >= MAX_LEVELS or name[0] == "~":
        label = f"{RESERVED}{kind}:~{sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return label


@lru_cache(4_096)
def shared(tags: tuple[str, ...]) -> tuple[str, ...]:
    """The same tags; entries that have equal ones need not have a copy each."""
    return tags


def scopes(tags: Iterable[str]) -> tuple[str, ...]:
    """What an entry with these tags can be invalidated by: each tag with what stands above it; the cache's own as a whole.

    Examples:
        >>> scopes(["products:phones:used", "@d:search"])
        ('products', 'products:phones', 'products:phones:used', '@d:search')
    """
    found: dict[str, None] = {}
    for tag in tags:
        levels = [tag] if tag.startswith(RESERVED) else tag.split(":")
        found.update((":".join(levels[:depth]), None) for depth in range(1, len(levels) + 1))
    return tuple(found)


def check(tags: Sequence[str]) -> None:
    """Raises ValueError for more tags, longer or deeper ones than an entry may have, telling which; its own may come."""
    own = 0
    for index, tag in enumerate(tags):
        if not isinstance(tag, str) or not tag:
            raise ValueError(f"tag {index} is not a text or empty")
        own += not tag.startswith(RESERVED)
        if len(tag) > MAX_LENGTH:
            raise ValueError(f"tag {index} has {len(tag)} characters: at most {MAX_LENGTH} are possible")
        if tag.count(":") >= MAX_LEVELS:
            raise ValueError(f"tag {index} has {tag.count(':') + 1} levels: at most {MAX_LEVELS} are possible")
    if own > MAX_TAGS or len(tags) > MAX_STORED:
        raise ValueError(f"an entry with {own} tags: at most {MAX_TAGS} are possible")
