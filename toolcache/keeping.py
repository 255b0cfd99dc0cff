"""Which functions have results that can be kept, and by which caches."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from toolcache.blocking_functions import BlockingFunction
from toolcache.decorated import name_of, refuse_in_wrong_order, refuse_unless_async
from toolcache.functions import CachedFunction
from toolcache.rules import Lifetime, Rules

_ADVICE: Final = "; a plain function needs cache=BlockingToolCache(...), and a generator collects what it yields first"


def decorator(
    ttl: Lifetime, cache: Any, options: Mapping[str, Any], find: Callable[[], Any] | None = None
) -> Callable[[Any], Any]:
    """What ``cached`` is; ``find`` gives the cache where none is given.

    Raises:
        TypeError: options are left out, or one is unknown.
        ValueError: one is out of range.
    """
    if inspect.iscoroutinefunction(ttl) or inspect.isasyncgenfunction(ttl) or isinstance(ttl, type):
        raise TypeError("cached takes options: write @cached(), with parentheses")
    rules = Rules(ttl, options)
    blocks = cache is not None and not inspect.iscoroutinefunction(getattr(cache, "delete", None))

    def decorate(function: Callable[..., Any]) -> Any:
        refuse_in_wrong_order(function, "cached")
        if blocks and not inspect.iscoroutinefunction(function):
            _refuse_unless_plain(function)
            return BlockingFunction(function, rules, cache).as_it_was()
        refuse_unless_async(function, "cached", "keeps the results of", _ADVICE)
        if hasattr(cache, "_portal"):
            raise TypeError(f"{name_of(function)} is async, and a {type(cache).__name__} blocks: give it a ToolCache")
        return CachedFunction(function, rules, cache, find or (lambda: cache)).as_it_was()

    return decorate


def _refuse_unless_plain(function: object) -> None:
    yields = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    if yields or isinstance(function, type) or not callable(function):
        what = "yields one result after another" if yields else "is no function"
        raise TypeError(f"cached keeps what functions return, and {name_of(function)} {what}")
