"""Which of several named values make a key, and how: what functions and domains have in common."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.keys.canonical import Digest, canonical, digest
from toolcache.keys.paths import Path
from toolcache.keys.scopes import Vary, read, readers

Normalize: TypeAlias = Callable[[Any], object] | Mapping[str, Callable[[Any], object]]
"""Applied to each text of the key; or to single values, by name. See ``toolcache.normalize``."""


class Choice:
    """Some of the values that an owner has, and what is done with them.

    Args:
        owner: whose values; errors name it.
        names: those that there are.
        chosen: the names of those that matter, or paths into them; all unless given.
        ignored: the names of those that never matter.
        ignored_by: what the option is called by which the owner says so.
        aside: a name that matters only if it is chosen.
        normalize: applied to each text among the chosen values, for the key only; to any value, if it says of itself that
            it takes any; or functions by name, each applied to the value of that name.
        vary: the scopes by which keys differ.
        strict: whether it is an error if one of these is not said.

    Attributes:
        whole: the names that matter as a whole.
        never: the names that never matter.
        varies: whether it depends on scopes.
        is_steady: whether equal values, in equal scopes, are sure to give equal keys, as nothing else has a say.

    Raises:
        SettingsError: a name is none of the owner's, or stands in both lists, or an option cannot be.
    """

    def __init__(
        self,
        owner: str,
        names: Collection[str],
        *,
        chosen: Sequence[str] | None = None,
        ignored: Sequence[str] = (),
        ignored_by: str = "ignore",
        aside: str | None = None,
        normalize: Normalize | None = None,
        vary: Vary = (),
        strict: bool = False,
    ) -> None:
        self._owner = owner
        self.never = _named(ignored_by, owner, names, ignored)
        self._paths = [Path(name, whole=name in names) for name in _chosen(owner, names, chosen, aside, self.never)]
        self.whole = frozenset(path.text for path in self._paths if not path.steps)
        self._names = None if len(self.whole) < len(self._paths) else tuple(path.name for path in self._paths)
        self._scopes = readers(owner, vary)
        self._strict = strict
        if strict and not self._scopes:
            raise SettingsError(f"strict_scope of {owner} needs names of scopes: write vary=['tenant'] too")
        self._everywhere, self._at = _normalisers(owner, normalize, [path.text for path in self._paths])
        pure = [*self._at.values(), *([] if self._everywhere is None else [self._everywhere])]
        self.is_steady = all(getattr(one, "is_steady", False) for one in pure)
        self.varies = bool(self._scopes)

    @property
    def normalizes(self) -> bool:
        """Whether code of the caller's own is asked for each key: what it makes of a value is asked once for each call."""
        return self._everywhere is not None or bool(self._at)

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the key is made of.

        Raises:
            UnsupportedKeyError: a path leads nowhere.
            MissingScopeError: a scope is not said that must be.
        """
        if self._names is not None:
            values = {name: given[name] for name in self._names}
        else:
            values = {path.text: path.of(given[path.name], self._owner) for path in self._paths}
        if self._everywhere is not None:
            of_any = getattr(self._everywhere, "takes_any", False)
            for name, value in values.items():
                if of_any or type(value) is str:
                    values[name] = self._everywhere(value)
        for name, change in self._at.items():
            values[name] = change(values[name])
        if self._scopes:
            if any(name.startswith("@") for name in values):  # of a tool, whose parameters have any names: no scopes
                values = {"@": values}
            values |= {f"@{name}": value for name, value in zip(self._scopes, self.scopes(), strict=True)}
        return values

    def scopes(self) -> tuple[object, ...]:
        """The scopes of this moment.

        Raises:
            MissingScopeError: one is not said that must be.
        """
        return read(self._owner, self._scopes, strict=self._strict)

    def digest(self, values: Mapping[str, Any]) -> Digest:
        """The digest of what a key is made of.

        Raises:
            UnsupportedKeyError: a value has no canonical form; the error names it.
        """
        try:
            return digest(values)
        except UnsupportedKeyError:
            for name, value in values.items():
                canonical(value, where=f"argument {name!r} of {self._owner}")
            raise


def _chosen(
    owner: str, names: Collection[str], chosen: Sequence[str] | None, aside: str | None, never: tuple[str, ...]
) -> tuple[str, ...]:
    if chosen is None:
        return tuple(name for name in names if name != aside and name not in never)
    wanted = _named("key_params", owner, names, chosen, paths=True)
    if both := [name for name in wanted if name in never]:
        raise SettingsError(f"{', '.join(map(repr, both))} of {owner} cannot be in the key and be ignored")
    return tuple(dict.fromkeys(wanted))


def _named(
    what: str, owner: str, names: Collection[str], given: Sequence[str], *, paths: bool = False
) -> tuple[str, ...]:
    if isinstance(given, str):
        raise SettingsError(f"{what} of {owner} is a list of names: write {what}=[{given!r}]")
    given = tuple(given)  # once: they may be gone through but once, and a key of nothing is every call's
    unknown = [one for one in given if one not in names and (_first(one) if paths else one) not in names]
    if unknown:
        told = ", ".join(map(repr, unknown))
        raise SettingsError(f"{what} of {owner} names {told}, but its parameters are: {', '.join(names)}")
    if unclear := [one for one in given if "" in one.split(".")]:
        raise SettingsError(f"{what} of {owner}: {unclear[0]!r} is no path: write it like 'filters.lang'")
    return given


def _first(path: object) -> object:
    return path.split(".")[0] if isinstance(path, str) else path


def _normalisers(
    owner: str, normalize: Normalize | None, texts: Sequence[str]
) -> tuple[Callable[[Any], object] | None, Mapping[str, Callable[[Any], object]]]:
    """What is applied to every text, and what to single values."""
    if normalize is None or callable(normalize):
        return normalize, {}
    if not isinstance(normalize, Mapping) or not all(map(callable, normalize.values())):
        raise SettingsError(
            f"normalize of {owner} is a function, or functions by name: normalize={{'query': casefold}}"
        )
    if others := [name for name in normalize if name not in texts]:
        raise SettingsError(
            f"normalize of {owner} names {', '.join(map(repr, others))}, but its key is made of: {', '.join(texts)}"
        )
    return None, dict(normalize)
