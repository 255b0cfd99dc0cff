"""Classes of named fields that cost next to nothing to make.

The decorator of ``dataclasses`` writes, compiles and runs up to six functions for each class: half a millisecond, at
every import, for some thirty classes of which most processes use a few. The classes here share theirs.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, dataclass_transform

if TYPE_CHECKING:
    from dataclasses import Field


@cache
def _described(cls: "type[_Fielded]") -> dict[str, "Field[Any]"]:
    from dataclasses import field, make_dataclass

    known = cls._defaults
    listed = [
        (name, kind, field(default=known[name]) if name in known else field()) for name, kind in cls._kinds.items()
    ]
    made: Any = make_dataclass(cls.__name__, listed)
    described: dict[str, Field[Any]] = made.__dataclass_fields__
    return described


class _Described:
    """What ``dataclasses`` wants to know of a class, worked out when it first asks."""

    def __get__(self, _value: "_Fielded | None", cls: "type[_Fielded]") -> dict[str, "Field[Any]"]:
        return _described(cls)


class _Fielded:  # noqa: PLW1641 - what may change has no hash; `Frozen` has
    _kinds: ClassVar[dict[str, Any]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}
    _fields: ClassVar[tuple[str, ...]] = ()
    if TYPE_CHECKING:
        __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    else:
        __dataclass_fields__ = _Described()

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls._kinds = {**cls._kinds, **own}
        cls._defaults = {**cls._defaults, **{name: value for name, value in vars(cls).items() if name in own}}
        cls._fields = tuple(cls._kinds)
        setattr(cls, "__match_args__", cls._fields)  # noqa: B010 - checkers, who work it out themselves, allow no other way

    def __init__(self, *args: Any, **named: Any) -> None:
        given = {**dict(zip(self._fields, args, strict=False)), **named} if args else named
        whole = {**self._defaults, **given}
        if whole.keys() != self._kinds.keys() or len(given) != len(args) + len(named):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._fields)}, each once")
        self.__dict__.update(whole)

    def _replace(self, **changes: Any) -> Self:
        """A copy in which ``changes`` win."""
        return type(self)(**{**vars(self), **changes})

    __replace__ = _replace

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(self) is type(other) else NotImplemented

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._fields)
        return f"{type(self).__qualname__}({shown})"


@dataclass_transform()
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


@dataclass_transform(frozen_default=True)
class Frozen(_Fielded):
    """The same of a value, which does not change: a frozen dataclass."""

    def __setattr__(self, name: str, _value: Any) -> NoReturn:
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"{name!r} of {type(self).__name__} cannot be changed: it is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self._fields))
