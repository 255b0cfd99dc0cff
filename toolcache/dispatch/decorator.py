"""``@idempotent``: an async function each of whose calls runs once."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, cast, overload

from toolcache.answers import RunStatus
from toolcache.cache import Cache
from toolcache.decorated import Decorated, refuse_unless_async
from toolcache.keys.plan import KeyPlan, marks
from toolcache.terms import OnceOptions, Terms
from toolcache.tool_cache import get_cache

_P = ParamSpec("_P")
_Q = ParamSpec("_Q")
_R = TypeVar("_R")


class IdempotentFunction(Decorated[_P, _R]):
    """A function whose calls run once: called as before, and with a few verbs, which take its arguments.

    ``__wrapped__`` is the function itself, which runs whenever it is called.
    """

    VERBS = ("key", "status", "forget")

    def __init__(
        self,
        function: Callable[_P, Coroutine[Any, Any, _R]],
        plan: KeyPlan,
        cache: Cache | None,
        options: OnceOptions,
    ) -> None:
        super().__init__(function, plan)
        self._cache = cache
        self._options = options

    async def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """The output: of this run, or of the one that there was.

        Raises:
            UnsupportedKeyError: an argument has no canonical form.
            Exception: what ``Cache.once`` raises.
        """
        output = await self._store().once(
            self.key(*args, **kwargs),
            lambda: self.__wrapped__(*args, **kwargs),
            fingerprint=self._plan.fingerprint((*self._instance, *args), kwargs),
            **self._options,
        )
        return cast("_R", output)

    def key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> str:
        """The key of a call, for ``once``, ``status`` and ``forget`` of the cache."""
        settings = getattr(self._store(), "settings", None)
        return self._plan.key((*self._instance, *args), kwargs, marks(getattr(settings, "tenant", None)))

    async def status(self, /, *args: _P.args, **kwargs: _P.kwargs) -> RunStatus:
        """How far a call has come."""
        return await self._store().status(self.key(*args, **kwargs))

    async def forget(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool:
        """Forget a call, so that the next one runs again; whether there was an output."""
        return await self._store().forget(self.key(*args, **kwargs))

    @overload
    def __get__(self, instance: None, owner: type) -> "IdempotentFunction[_P, _R]": ...
    @overload
    def __get__(
        self: "IdempotentFunction[Concatenate[Any, _Q], _R]", instance: object, owner: type | None = None
    ) -> "IdempotentFunction[_Q, _R]": ...
    def __get__(self, instance: object, owner: type | None = None) -> "IdempotentFunction[..., _R]":
        """The method of an instance: the instance before the arguments."""
        return self if instance is None else self.bound_to(instance)

    def __repr__(self) -> str:
        return f"<idempotent {self._plan.name}>"

    def _store(self) -> Cache:
        return get_cache() if self._cache is None else self._cache


def idempotent(
    *,
    key_params: Sequence[str] | None = None,
    ignore_params: Sequence[str] = (),
    key: str | None = None,
    cache: Cache | None = None,
    **options: Unpack[OnceOptions],
) -> Callable[[Callable[_P, Coroutine[Any, Any, _R]]], IdempotentFunction[_P, _R]]:
    """Run each call of an async function once, whoever makes it, however often and wherever; see ``Cache.once``.

    Stand beneath ``@classmethod`` and ``@staticmethod``, and beneath what registers the function elsewhere. Inside of the
    function, ``RunContext.current()`` tells which attempt it is, and the key for whoever acts outside.

    Args:
        key_params: the parameters that say which call it is, such as the number of an order; all unless given, but not
            ``self`` or ``cls``. The others must be the same when the call is repeated: else it is refused.
        ignore_params: those that may differ when the call is repeated, such as an identifier for logs, or a client.
        key: a name for the keys that survives renaming and moving the function; no two functions may share one.
        cache: where; the process's default cache unless given, looked up at each call.
        options: on what conditions; see ``Terms``.

    Raises:
        TypeError: the decorated function is not ``async def``, or there is no such option.
        SettingsError: a name is no parameter.
        ValueError: an option is out of range.

    Examples:
        >>> @idempotent(key_params=["order"], ignore_params=["trace"], timeout="30s")
        ... async def pay(order: str, cents: int, trace: str = "") -> str:
        ...     return await bank.transfer(order, cents, idempotency_key=RunContext.current().idempotency_key)
        >>> receipt = await pay("4711", 1999, trace="7f")
    """
    Terms.of(options)

    def decorate(function: Callable[_P, Coroutine[Any, Any, _R]]) -> IdempotentFunction[_P, _R]:
        refuse_unless_async(function, "idempotent", "is for")
        plan = KeyPlan(function, key_params=key_params, key_prefix=key, ignored=ignore_params)
        return IdempotentFunction(function, plan, cache, options).as_it_was()

    return decorate
