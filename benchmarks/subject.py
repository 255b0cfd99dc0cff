"""What is measured: a cache, or a floor, behind a few verbs."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from inspect import isawaitable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from benchmarks.place import Place

Verb: TypeAlias = Callable[..., Any]
Kind: TypeAlias = Literal["floor", "ours", "peer"]

FRESH: Final = 3600.0
"""Seconds that values live wherever the benchmark has to say a lifetime."""

ENTRIES: Final = 20_000
"""What every cache in memory may hold that has a bound."""


class Subject:
    """One cache, or one floor: the least that a cache could do for the same answer.

    A subclass binds in ``open`` the verbs that it has, to the library's own methods where their signatures allow, so
    that nothing is timed but the library.

    Attributes:
        name: what the tables call it.
        kind: a floor, ours or a peer.
        plain: whether its verbs are plain calls, which nobody awaits: the event loop stands still meanwhile.
        raw: whether it stores bytes alone, and encodes nothing.
        text: whether it takes no bytes, but text.
        arrays: whether its vectors are NumPy arrays.
        needs: the distributions without which it is left out.
        quick: whether this is a quick run, in which less is enough.
        long: whether it is left out of a quick run.
        note: what a reader of its figures should know; may be set by a measurement.
        database: the URL of its database, if it has one.
        folder: where its files lie, if it has any.
        get: ``await get(key)``; without ``await`` where ``plain``, and so on.
        set: ``await set(key, value)``.
        set_for: ``await set_for(key, value, seconds)``, of a value that ends.
        get_many: ``await get_many(keys)``; a dict or a list.
        set_many: ``await set_many(mapping)``.
        decorate: ``decorate(function)``, the caching decorator.
    """

    name: str = ""
    kind: Kind = "peer"
    plain: bool = False
    raw: bool = False
    text: bool = False
    arrays: bool = False
    needs: tuple[str, ...] = ()
    long: bool = False
    quick: bool = False
    note: str = ""
    database: str = ""
    folder: Path

    get: Verb
    set: Verb
    set_for: Verb
    get_many: Verb
    set_many: Verb
    decorate: Callable[[Verb], Verb]

    async def open(self, place: Place) -> None:
        """Bind the verbs."""

    async def close(self) -> None:
        """Release everything."""

    def value(self, given: Any) -> Any:
        """The value in what ``get`` gives."""
        return given

    def missing(self) -> list[str]:
        """The distributions it needs that are not installed."""
        return [name for name in self.needs if not installed(name)]


async def answer(given: Any) -> Any:
    """What a verb gives, whether it is to be awaited or not. For checks: it takes time of its own."""
    return await given if isawaitable(given) else given


def installed(distribution: str) -> str | None:
    """The version of a distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
