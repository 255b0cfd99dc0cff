"""Tags: labels of an entry, in levels separated by colons, such as ``"products:phones"``.

Those that begin with ``@`` are the cache's own, and no caller may give one:

    @n           the namespace itself (see ``toolcache.epochs``)
    @d: @a: @c:  kept for domains, agents and versions of a catalog
"""

from collections.abc import Iterable, Sequence
from typing import Final

MAX_TAGS: Final = 16
MAX_LEVELS: Final = 8
MAX_LENGTH: Final = 128
MAX_STORED: Final = 64
RESERVED: Final = "@"
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
