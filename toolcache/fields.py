"""Classes of named fields that cost next to nothing to make.

The decorator of ``dataclasses`` writes, compiles and runs up to six functions for each class: half a millisecond, at
every import, for some thirty classes of which most processes use a few. The classes here share theirs.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import Field


class _Each:
    __slots__ = ("factory",)

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory


def each(*, factory: Callable[[], Any]) -> Any:
    """The default of a field of which each object has one of its own, as in ``seen: set[str] = each(factory=set)``."""  # noqa: D402 - an example
    return _Each(factory)


@cache
def _described(cls: type[Any]) -> dict[str, "Field[Any]"]:
    from dataclasses import field, make_dataclass

    def described(name: str) -> Any:
        if name in cls._factories:
            return field(default_factory=cls._factories[name])
        return field(default=cls._defaults[name]) if name in cls._defaults else field()

    made: Any = make_dataclass(cls.__name__, [(name, kind, described(name)) for name, kind in cls._kinds.items()])
    fields: dict[str, Field[Any]] = made.__dataclass_fields__
    return fields


class _Described:
    """What ``dataclasses`` wants to know of a class, worked out when it first asks."""

    def __get__(self, _value: object, cls: Any) -> dict[str, "Field[Any]"]:
        return _described(cls)


class _Fielded:  # noqa: PLW1641 - what may change has no hash; `Frozen` has
    _kinds: ClassVar[dict[str, Any]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _factories: ClassVar[dict[str, Callable[[], Any]]] = {}
    _fields: ClassVar[tuple[str, ...]] = ()
    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _Described()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = cls.__annotations__
        given = {name: value for name, value in vars(cls).items() if name in own}
        made = {name: value.factory for name, value in given.items() if isinstance(value, _Each)}
        cls._kinds = {**cls._kinds, **own}
        cls._defaults = {**cls._defaults, **{name: value for name, value in given.items() if name not in made}}
        cls._factories = {**cls._factories, **made}
        cls._fields = tuple(cls._kinds)
        setattr(cls, "__match_args__", cls._fields)  # noqa: B010 - checkers, who work it out themselves, allow no other way

    def __init__(self, *args: Any, **named: Any) -> None:
        given = {**dict(zip(self._fields, args, strict=False)), **named} if args else named
        whole = {**self._defaults, **given}
        for name in self._factories.keys() - given.keys():
            whole[name] = self._factories[name]()
        if whole.keys() != self._kinds.keys() or len(given) != len(args) + len(named):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._fields)}, each once")
        self.__dict__.update(whole)

    def _replace(self, **changes: Any) -> Self:
        """A copy in which ``changes`` win."""
        return type(self)(**{**{name: getattr(self, name) for name in self._fields}, **changes})

    __replace__ = _replace

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__qualname__}({shown})"


@dataclass_transform(field_specifiers=(each,))
class Fields(_Fielded):
    """An object whose annotations are its fields: a dataclass to type checkers, and to ``dataclasses`` itself.

    Raises:
        TypeError: fields are missing, unknown or given twice.

    Examples:
        >>> class Point(Fields):
        ...     x: float
        ...     y: float = 0.0
        >>> Point(1.0)
        Point(x=1.0, y=0.0)
    """


@dataclass_transform(frozen_default=True, field_specifiers=(each,))
class Frozen(_Fielded):
    """The same of a value, which does not change: a frozen dataclass."""

    def __setattr__(self, name: str, _value: Any) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"{name!r} of {type(self).__name__} cannot be changed: it is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._fields))
