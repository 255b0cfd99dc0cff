"""Stages: the steps of an asynchronous pipeline, with the cache between them."""

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from collections.abc import (
    Set as AbstractSet,
)
from copy import deepcopy
from typing import Any, Generic, TypeAlias, TypedDict, TypeVar, Unpack, cast, overload

from toolcache.domains import GENERAL
from toolcache.durations import Duration, seconds
from toolcache.entry import MISSING, Missing
from toolcache.errors import SettingsError
from toolcache.freshness_options import FreshnessOptions, said
from toolcache.keys.plan import make_key
from toolcache.spelling import count
from toolcache.tags import labels
from toolcache.tool_cache import ToolCache, get_cache

I = TypeVar("I")  # noqa: E741 - what comes in
O = TypeVar("O")  # noqa: E741 - what comes out
P = TypeVar("P")

Items: TypeAlias = Iterable[I] | AsyncIterable[I]
_Made: TypeAlias = Callable[[Any], Coroutine[Any, Any, list[Any]]]
"""What a step makes of what it takes at a time: an item, or a list of them."""


class StepOptions(TypedDict, total=False):
    """What a step can be told; see ``stage``."""

    cache: ToolCache | None
    key: Callable[[Any], object] | None
    name: str | None
    ttl: Duration | Missing | None
    tags: Iterable[str]
    max_parallel: int


class StageOptions(StepOptions, FreshnessOptions, total=False):
    """The same of one that takes single items."""


class _Step:
    """One step: what it makes of what it takes at a time, and how many of these at once."""

    def __init__(self, made: _Made, *, max_parallel: int = 8, batch_size: int | None = None) -> None:
        self.made = made
        self.max_parallel = max_parallel
        self._batch_size = batch_size

    async def run(self, items: Items[Any]) -> AsyncGenerator[Any, None]:
        """What comes out, in the order of what comes in."""
        source = aiter(items) if isinstance(items, AsyncIterable) else _each(items)
        flow = _Flow(self, source if self._batch_size is None else _batches(source, self._batch_size))
        try:
            while (made := await flow.next()) is not None:
                for value in made:
                    yield value
        finally:
            await flow.end()


class _Flow:
    """A step at work: one task takes items in, and begins one for each; their results are waited for in order."""

    def __init__(self, step: _Step, source: AsyncIterator[Any]) -> None:
        self._step = step
        self._source = source
        self._room = asyncio.Semaphore(step.max_parallel)
        self._coming: asyncio.Queue[asyncio.Future[list[Any]] | None] = asyncio.Queue()
        self._running: set[asyncio.Future[Any]] = set()
        self._waiting = False
        self._feeder = asyncio.ensure_future(self._feed())

    async def next(self) -> list[Any] | None:
        """The results of the next item; None at the end."""
        if self._waiting:
            self._room.release()
        self._waiting = True
        coming = await self._coming.get()
        return None if coming is None else await coming

    async def end(self) -> None:
        """End what is under way."""
        left = {self._feeder, *self._running}
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        while not self._coming.empty():
            coming = self._coming.get_nowait()
            if coming is not None and not coming.cancelled():
                coming.exception()  # retrieved: nobody came so far

    async def _feed(self) -> None:
        try:
            await self._room.acquire()  # before anything is asked of the source: it makes no more than is wanted
            async for item in self._source:
                self._begin(self._step.made(item))
                await self._room.acquire()
            self._coming.put_nowait(None)
        except asyncio.CancelledError as error:
            me = asyncio.current_task()
            if me is None or me.cancelling():
                raise
            self._begin(_fail(error))  # what the source waited for was cancelled, and not this
        except Exception as error:  # noqa: BLE001 - it is raised in its place, after what came before
            self._begin(_fail(error))
        finally:
            await _close(self._source)

    def _begin(self, work: Coroutine[Any, Any, list[Any]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        self._coming.put_nowait(task)


class Stage(Generic[I, O]):
    """Steps of a pipeline, made by ``stage``; ``|`` puts another behind them.

    Called with items, a stage gives what comes out, in their order, and takes in no more than it needs for that. What one
    step raises is raised where its result would come, and ends what is under way; so does whoever stops early: with
    ``contextlib.aclosing`` at once, else when the generator is collected.

    Examples:
        >>> async for vector in (stage(load, ttl="1h") | stage(embed, ttl="7d", batch_size=64))(urls):
        ...     index.add(vector)
    """

    def __init__(self, steps: tuple[_Step, ...]) -> None:
        self._steps = steps

    def __call__(self, items: Items[I]) -> AsyncGenerator[O, None]:
        """What becomes of items, an iterable or an asynchronous one."""
        if isinstance(items, str | bytes):
            raise TypeError(
                f"a stage takes several items: write [{type(items).__name__} …], or iterate over it yourself"
            )
        flow: Any = items
        for step in self._steps:
            flow = step.run(flow)
        return cast("AsyncGenerator[O, None]", flow)

    async def collect(self, items: Items[I]) -> list[O]:
        """All that becomes of items, as a list."""
        return [value async for value in self(items)]

    @overload
    def __or__(self, other: "Stage[O, P]") -> "Stage[I, P]": ...
    @overload
    def __or__(self, other: Callable[[O], Coroutine[Any, Any, P]]) -> "Stage[I, P]": ...
    @overload
    def __or__(self, other: Callable[[O], P]) -> "Stage[I, P]": ...
    def __or__(self, other: Any) -> "Stage[I, Any]":
        """This, then another stage, or a function whose results are not kept."""
        if not isinstance(other, Stage):
            if not callable(other):
                return NotImplemented
            other = Stage((_Step(_plain(other)),))
        return Stage((*self._steps, *other._steps))

    def __repr__(self) -> str:
        return f"<Stage of {len(self._steps)}>"


@overload
def stage(
    function: Callable[[list[I]], Awaitable[Iterable[O]]], *, batch_size: int, **options: Unpack[StepOptions]
) -> Stage[I, O]: ...
@overload
def stage(function: Callable[[I], Coroutine[Any, Any, O]], **options: Unpack[StageOptions]) -> Stage[I, O]: ...
@overload
def stage(function: Callable[[I], O], **options: Unpack[StageOptions]) -> Stage[I, O]: ...
def stage(
    function: Callable[..., Any],
    *,
    cache: ToolCache | None = None,
    key: Callable[[Any], object] | None = None,
    name: str | None = None,
    ttl: Duration | Missing | None = MISSING,
    tags: Iterable[str] = (),
    max_parallel: int = 8,
    batch_size: int | None = None,
    **freshness: Unpack[FreshnessOptions],
) -> Stage[Any, Any]:
    """A step of a pipeline whose results are kept, item by item: what was made before is not made again.

    Equal items are made once, also of those that are under way, here and in other pipelines. When a pipeline fails in the
    middle, what it has made is there when it is run again.

    Args:
        function: makes a result of an item; sync or async. With ``batch_size``, a list of results of a list of items.
        cache: where results are kept; the process's default cache unless given, looked up for each item.
        key: what of an item decides its result, of whatever keys accept; the item itself unless given.
        name: of the step, in its keys; module and name of the function unless given. Lambdas need one,
            and methods and inner functions whose results depend on more than the item.
        ttl: how long a result stays good: seconds, a ``timedelta`` or text such as ``"2h30m"``; the cache's default unless
            given, None for ever.
        tags: labels kept with the results.
        max_parallel: how many items, or batches, are at work or wait to be taken, at most.
        batch_size: how many items ``function`` is given at most at a time: of so many that come after one another, those
            that are missing, each once.
        freshness: what is done about results that near their end, of single items; see ``Freshness``.

    Raises:
        SettingsError: the function has no name of its own, and none is given.
        TypeError: an option is unknown, or cannot be with ``batch_size``.
        ValueError: one is out of range.

    Examples:
        >>> pipeline = stage(load, ttl="1h") | stage(embed, ttl="7d", batch_size=64)
        >>> vectors = await pipeline.collect(["https://a.example", "https://b.example"])
    """
    said(freshness)
    if batch_size is not None and freshness:
        raise TypeError(f"{next(iter(freshness))} is for single items: leave it out, or batch_size")
    keys = _Keys(_named(function, name), key)
    options: dict[str, Any] = {"tags": labels(tags), **freshness}
    if ttl is not MISSING:
        options["ttl"] = None if ttl is None else seconds(ttl)
    if batch_size is None:
        made = _single(function, cache, keys, options)
    else:
        made = _several(function, cache, keys, options)
        batch_size = count(batch_size, "batch_size")
    return Stage((_Step(made, max_parallel=count(max_parallel, "max_parallel"), batch_size=batch_size),))


class _Keys:
    """The keys of a step."""

    def __init__(self, name: str, key: Callable[[Any], object] | None) -> None:
        self._name = name
        self._key = key

    def of(self, cache: ToolCache, item: object) -> str:
        """The key of an item, which is its tenant's alone."""
        chosen = item if self._key is None else self._key(item)
        tenant = cache.settings.tenant
        return make_key(self._name, chosen) if tenant is None else make_key(self._name, chosen, tenant=tenant)


def _named(function: Callable[..., Any], name: str | None) -> str:
    if not callable(function):
        raise TypeError(f"stage takes a function of an item, not {type(function).__name__}")
    own = getattr(function, "__qualname__", None)
    if name is None and (own is None or own.endswith("<lambda>")):
        raise SettingsError(
            "this function has no name that its results could be found by: give the stage one, name='...'"
        )
    return name or f"{function.__module__}.{own}"


def _plain(function: Callable[[Any], Any]) -> _Made:
    async def made(item: Any) -> list[Any]:
        value = function(item)
        return [await value if inspect.isawaitable(value) else value]

    return made


def _single(function: Callable[[Any], Any], cache: ToolCache | None, keys: _Keys, options: dict[str, Any]) -> _Made:
    async def made(item: Any) -> list[Any]:
        here = cache or get_cache()
        return [await here.get_or_set(keys.of(here, item), lambda: function(item), **options)]

    return made


def _several(function: Callable[[Any], Any], cache: ToolCache | None, keys: _Keys, options: dict[str, Any]) -> _Made:
    async def made(items: list[Any]) -> list[Any]:
        here = cache or get_cache()
        asked = [keys.of(here, item) for item in items]
        by_key = dict(zip(asked, items, strict=True))

        async def compute(missing: list[str]) -> dict[str, Any]:
            results = function([by_key[key] for key in missing])
            results = await results if inspect.isawaitable(results) else results
            if isinstance(results, Mapping | AbstractSet | str | bytes):
                raise TypeError(
                    f"the function returned a {type(results).__name__}: give a list, of one result for each item in order"
                )
            given = list(results)
            if len(given) != len(missing):
                raise ValueError(
                    f"the function returned {len(given)} results for {len(missing)} items: give one for each"
                )
            return dict(zip(missing, given, strict=True))

        machine = here._machine  # noqa: SLF001 - of ours: what several callers lack is made in one go
        found = await machine.compute_many(list(by_key), compute, GENERAL, **options)
        given: set[str] = set()
        values = []
        for key in asked:
            values.append(deepcopy(found[key]) if key in given else found[key])
            given.add(key)
        return values

    return made


async def _each(items: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for item in items:
        yield item


async def _batches(source: AsyncIterator[Any], size: int) -> AsyncGenerator[list[Any], None]:
    batch: list[Any] = []
    try:
        async for item in source:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
    finally:
        await _close(source)


async def _close(source: AsyncIterator[Any]) -> None:
    if isinstance(source, AsyncGenerator):
        await source.aclose()


async def _fail(error: BaseException) -> list[Any]:
    raise error
