"""Scopes: for whom the code at hand works, such as a tenant, a user or a locale; said once, for all that is called inside."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Final, NamedTuple, Optional, TypeAlias

from toolcache.errors import MissingScopeError, SettingsError, UnsupportedKeyError
from toolcache.keys.canonical import canonical

Vary: TypeAlias = "Mapping[str, Callable[[], object]] | tuple[str, ...] | list[str]"
"""Names of scopes; or, of some of one's own, what tells them."""


class _Said(NamedTuple):
    values: Mapping[str, object]
    outside: Optional["_Said"] = None


_current: Final[ContextVar[_Said]] = ContextVar("toolcache.scope", default=_Said({}))  # noqa: B039 - nobody changes it


class Scope:
    """Says scopes while it is entered: here, and in all tasks that are begun meanwhile. See ``scope``."""

    # No generator of contextlib: that would stand above an ``async def`` too, and be over before it runs. And what was said
    # outside is kept in the context, so that one scope may be entered by many tasks.
    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def __enter__(self) -> None:
        outside = _current.get()
        _current.set(_Said({**outside.values, **self._values}, outside))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.set(_current.get().outside or _Said({}))


def scope(**values: object) -> Scope:
    """Say for whom the code inside works; functions that ``vary`` by it keep their results apart.

    Scopes within one another add up, and the inner one wins.

    Args:
        values: by name, whatever keys accept but None and an empty text: those are what one gets where nobody has said.

    Raises:
        UnsupportedKeyError: a value is none of these; the error names the scope.

    Examples:
        >>> with scope(tenant="acme", locale="no"):
        ...     answer = await ask("What does it cost?")
    """
    for name, value in values.items():
        if value is None or (isinstance(value, str) and not value):
            raise UnsupportedKeyError(f"the scope {name!r} is empty: say for whom, or do not say it")
        canonical(value, where=f"the scope {name!r}")
    return Scope(values)


def readers(owner: str, vary: Vary) -> dict[str, Callable[[], object]]:
    """What tells each of the scopes that something varies by: None where nobody has said.

    Raises:
        SettingsError: they are no names, or cannot be told.
    """
    named = vary if isinstance(vary, Mapping | str) else tuple(vary)
    if isinstance(named, str) or not all(isinstance(name, str) and name for name in named):
        raise SettingsError(f"vary of {owner} is a list of names of scopes: write vary=['tenant']")
    if not isinstance(named, Mapping):
        return {name: _reader(name) for name in named}
    if wrong := [name for name, tell in named.items() if not callable(tell)]:
        raise SettingsError(f"vary of {owner} has for {', '.join(map(repr, wrong))} nothing that can be called")
    return {name: _careful(tell) for name, tell in named.items()}


def read(owner: str, by: Mapping[str, Callable[[], object]], *, strict: bool) -> tuple[object, ...]:
    """The scopes of this moment, in order.

    Raises:
        MissingScopeError: with ``strict``, if nobody has said one of them.
    """
    values = tuple([tell() for tell in by.values()])
    if strict:
        for name, value in zip(by, values, strict=True):
            if value is None:
                raise MissingScopeError(owner, name)
    return values


def _reader(name: str) -> Callable[[], object]:
    return lambda: _current.get().values.get(name)


def _careful(tell: Callable[[], object]) -> Callable[[], object]:
    def told() -> object:
        try:
            value = tell()
        except LookupError:  # of a context variable that nobody has set
            return None
        return None if isinstance(value, str) and not value else value

    return told
