"""Calls as keys: which arguments of a function make its key, decided once when the function is decorated.

The key of a call is ``<name>:<64 hex>``: the function's module and qualified name, and the digest of the chosen
arguments by parameter name, or by path into one, defaults filled in; scopes stand beside them as ``@tenant``. So
``f(1)``, ``f(a=1)`` and ``f(1, b=<its default>)`` are one key, and the digest's fixed width keeps any name apart from any
arguments. A renamed or moved function, or a renamed parameter, makes new keys; an explicit ``key_prefix`` keeps the name.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.keys.canonical import Digest, canonical, digest
from toolcache.keys.choice import Choice, Normalize
from toolcache.keys.scopes import Vary

_READABLE: Final = re.compile(r"[A-Za-z0-9._@/+=-]{1,64}")
_VARIADIC: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


UNMARKED: Final[Mapping[str, object]] = {}
"""What most caches add to keys."""


def marks(tenant: str | None, version: str | None = None) -> Mapping[str, object]:
    """What a cache adds to the keys of calls: on whose behalf it works, and the version of a domain. No argument has such names."""
    return {name: value for name, value in (("@", tenant), (":", version)) if value is not None}


def make_key(*parts: object, **fields: object) -> str:
    """One key for any number of values, in order, and of named values, in any order.

    All of them, types included, go into a digest. A first part that is a str of 1 to 64 of ``A-Z a-z 0-9 . _ @ / + = -``
    also stands readable in front of it, for people and for patterns such as ``search:*``; so put a name first and what
    users wrote behind it.

    Raises:
        UnsupportedKeyError: if a value has no canonical form; the error says which.

    Examples:
        >>> make_key("search", "red shoes", top_k=10)
        'search:e427d7cfe5dad5fe2f8004baf16730614c641ea54673981f3979f672197d9837'
    """
    try:
        text = digest((parts, fields))
    except UnsupportedKeyError:
        for index, part in enumerate(parts):
            canonical(part, where=f"part {index}")
        for name, field in fields.items():
            canonical(field, where=name)
        raise
    head = parts[0] if parts else None
    return f"{head}:{text}" if type(head) is str and _READABLE.fullmatch(head) else str(text)


class KeyPlan:
    """How the calls of one function become keys.

    Args:
        function: whose calls; its signature is read once, here.
        key_params: the names of the parameters that matter, or paths into them; all unless given, but ``self`` and ``cls``
            of methods only if named here. Without the instance, the instances of a class share their results.
        key_prefix: the first part of the key instead of module and qualified name; no two functions may share one.
        normalize: applied to each str among the chosen arguments, for the key only: ``str.casefold``; or functions by name.
        ignored: the names of the parameters that never matter, neither in the key nor in the fingerprint.
        ignored_by: what the option is called that names them.
        vary: the scopes by which keys differ.
        strict: whether it is an error if one of these is not said.

    Attributes:
        name: the first part of the keys.
        parameters: the names of the function's parameters.
        of_method: whether the function has an instance, or a class, before its arguments.
        varies: whether keys depend on scopes.
        scopes: tells these.
        is_steady: whether equal arguments, in equal scopes, are sure to give equal keys, as nothing else has a say.

    Raises:
        SettingsError: for a name that is no parameter or stands in both lists, and for a function without a name and without ``key_prefix``.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        key_params: Sequence[str] | None = None,
        key_prefix: str | None = None,
        normalize: Normalize | None = None,
        ignored: Sequence[str] = (),
        ignored_by: str = "ignore_params",
        vary: Vary = (),
        strict: bool = False,
    ) -> None:
        self.name = _name(function) if key_prefix is None else _checked_prefix(key_prefix)
        self._signature = inspect.signature(function)
        parameters = self._signature.parameters
        self.parameters = tuple(parameters)
        self._self = _self_parameter(function, parameters)
        self.of_method = self._self is not None
        self._home = _home(function)
        self._choice = Choice(
            self.name,
            self.parameters,
            chosen=key_params,
            ignored=ignored,
            ignored_by=ignored_by,
            aside=self._self,
            normalize=normalize,
            vary=vary,
            strict=strict,
        )
        self.is_steady = self._choice.is_steady
        self.varies = self._choice.varies
        self.scopes = self._choice.scopes
        settled = {*self._choice.whole, *self._choice.never, self._self}
        self._others = tuple(name for name in parameters if name not in settled)
        self._self_chosen = self._self in self._choice.whole
        # With names alone to match, binding takes a tenth of what inspect takes.
        self._plain = not any(parameter.kind in _VARIADIC for parameter in parameters.values())
        self._names = frozenset(parameters)
        self._positional = [
            name for name, parameter in parameters.items() if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
        ]
        self._defaults = {
            name: parameter.default
            for name, parameter in parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], marks: Mapping[str, object] = UNMARKED) -> str:
        """The key of a call; see ``marks``.

        Raises:
            TypeError: for arguments that the function does not take.
            UnsupportedKeyError: for an argument that has no canonical form; the error names it.
            MissingScopeError: for a scope that nobody has said, and must.
        """
        bound = self.bind(args, kwargs)
        values = self._choice.values(bound)
        if self._self is not None and not self._self_chosen:
            owner = bound[self._self]
            kind = owner if isinstance(owner, type) else type(owner)
            # A subclass may change what an inherited method does.
            if (home := (kind.__module__, kind.__qualname__)) != self._home:
                values[""] = home
        if marks:
            values |= marks
        return f"{self.name}:{self._choice.digest(values)}"

    def fingerprint(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Digest | None:
        """The digest of the arguments that are not in the key; None if there can be none. Raises what ``key`` does."""
        if not self._others:
            return None
        bound = self.bind(args, kwargs)
        return self._choice.digest({name: bound[name] for name in self._others})

    def fields(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """What the key of a call is made of, by name; None where that would ask the caller's own code once more.

        Raises what ``key`` does.
        """
        return None if self._choice.normalizes else self._choice.values(self.bind(args, kwargs))

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Arguments by parameter, defaults filled in.

        Raises:
            TypeError: for arguments that the function does not take, and for those of a class method without its class.
        """
        if self._self == "cls" and args and not isinstance(args[0], type):
            # From 3.13 on, @classmethod binds calls alone, and what is looked up of a method is that of the function.
            raise TypeError(
                f"{self.name} is a class method, and its class is not told: its verbs take it first on this version of Python, "
                "as in Client.make.invalidate(Client, ...)"
            )
        if self._plain and len(args) <= len(self._positional):
            values = {**self._defaults, **dict(zip(self._positional, args, strict=False)), **kwargs}
            if values.keys() == self._names and kwargs.keys().isdisjoint(self._positional[: len(args)]):
                return values
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments


def _name(function: Callable[..., object]) -> str:
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not (isinstance(module, str) and isinstance(name, str)):
        raise SettingsError(
            f"a {type(function).__name__} has no name to make keys of: give it a key_prefix, or idempotent a key"
        )
    return f"{module}.{name}"


def _checked_prefix(prefix: str) -> str:
    if not isinstance(prefix, str) or not prefix:
        raise SettingsError("key_prefix is a name, such as 'search', and so is the key of idempotent")
    return prefix


def _home(function: Callable[..., object]) -> tuple[str, str]:
    """Module and qualified name of the class in whose body the function stands."""
    return getattr(function, "__module__", ""), getattr(function, "__qualname__", "").rpartition(".")[0]


def _self_parameter(function: Callable[..., object], parameters: Mapping[str, object]) -> str | None:
    owner = _home(function)[1]
    first = next(iter(parameters), None)
    return first if first in {"self", "cls"} and owner and not owner.endswith("<locals>") else None
