"""Functions with verbs: what ``@cached`` and ``@idempotent`` make of a function."""

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Generic, ParamSpec, Self, TypeVar, cast

from toolcache.keys.plan import KeyPlan

_P = ParamSpec("_P")
_R = TypeVar("_R")


class Verbal(Generic[_P]):
    """A function with verbs, which take its arguments.

    What is not a method is a plain function with the verbs as attributes, so that frameworks which look for one find one.

    Args:
        function: what is decorated.
        plan: how its calls become keys.
    """

    VERBS: ClassVar[tuple[str, ...]] = ()

    def __init__(self, function: Callable[_P, Any], plan: KeyPlan) -> None:
        functools.update_wrapper(cast("Any", self), function)
        for verb in self.VERBS:  # of one that is decorated already, and that stays as it is
            vars(self).pop(verb, None)
        self.__wrapped__: Callable[..., Any] = function
        self._plan = plan
        self._instance: tuple[object, ...] = ()

    def bound_to(self, instance: object) -> Self:
        """The method of an instance: of the same kind, with the instance before the arguments."""
        bound = object.__new__(type(self))
        vars(bound).update(vars(self))
        bound.__wrapped__ = functools.partial(self.__wrapped__, instance)
        bound._instance = (instance,)
        return bound

    def as_it_was(self) -> Self:
        """The same, as a function if one was decorated."""
        if self._plan.of_method:
            return self

        call = functools.wraps(self.__wrapped__)(self._as_function())
        for verb in self.VERBS:
            setattr(call, verb, getattr(self, verb))
        return cast("Self", call)

    def _as_function(self) -> Callable[_P, Any]:
        raise NotImplementedError


class Decorated(Verbal[_P], Generic[_P, _R]):
    """The same of an ``async def`` function."""

    def __init__(self, function: Callable[_P, Coroutine[Any, Any, _R]], plan: KeyPlan) -> None:
        super().__init__(function, plan)
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(self)

    async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The function, as decorated."""
        raise NotImplementedError

    def _as_function(self) -> Callable[_P, Coroutine[Any, Any, _R]]:
        async def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return await self(*args, **kwargs)

        return call


def refuse_unless_async(function: object, decorator: str, does: str, advice: str = "") -> None:
    """Raise TypeError for what ``@decorator`` cannot stand above; ``does`` says what it does with functions."""
    refuse_in_wrong_order(function, decorator)
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{decorator} {does} 'async def' functions, and {name_of(function)} is none{advice}")


def refuse_in_wrong_order(function: object, decorator: str) -> None:
    """Raise TypeError for a class method or static method that is one already."""
    if isinstance(function, classmethod | staticmethod):
        raise TypeError(f"put @{decorator} beneath @{type(function).__name__}")


def name_of(function: object) -> str:
    """What an error calls it."""
    return str(getattr(function, "__qualname__", type(function).__name__))
