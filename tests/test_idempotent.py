"""@idempotent: each call runs once, and a function that looks as before."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, assert_type, cast

import pytest

from toolcache import (
    AlreadyInProgressError,
    RunContext,
    RunTimeoutError,
    SettingsError,
    StoredAgentError,
    TaskMismatchError,
    ToolCache,
    UnsupportedKeyError,
    idempotent,
    tool_cache,
)
from toolcache.dispatch.decorator import IdempotentFunction
from toolcache.testing import FakeClock

Pay = IdempotentFunction[..., str]


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False) as opened:
        yield opened


@pytest.fixture
def paid() -> list[tuple[str, int]]:
    """The payments that were made."""
    return []


@pytest.fixture
def pay(cache: ToolCache, paid: list[tuple[str, int]]) -> Pay:
    @idempotent(key_params=["order"], ignore_params=["trace"], cache=cache)
    async def pay(order: str, cents: int, *, currency: str = "EUR", trace: Any = "") -> str:
        """Pay."""
        paid.append((order, cents))
        return f"{order}: {cents} {currency}"

    return pay


async def test_a_call_runs_once(pay: Pay, paid: list[tuple[str, int]]) -> None:
    """ID-19: positional, by name or with the default spelled out, it is one call, and has one output."""
    assert await pay("a", 5) == "a: 5 EUR"
    assert await pay(cents=5, order="a") == await pay("a", 5, currency="EUR") == "a: 5 EUR"
    assert await pay("b", 5) == "b: 5 EUR"
    assert paid == [("a", 5), ("b", 5)]


async def test_concurrent_calls_run_once(cache: ToolCache) -> None:
    """C7: fifty calls at a time are one run."""
    ran = 0
    begun, gate = asyncio.Event(), asyncio.Event()

    @idempotent(cache=cache)
    async def work(number: int) -> int:
        nonlocal ran
        ran += 1
        begun.set()
        await gate.wait()
        return number

    calls = [asyncio.create_task(work(7)) for _ in range(50)]
    await begun.wait()
    gate.set()
    assert await asyncio.gather(*calls) == [7] * 50
    assert ran == 1


async def test_another_request_under_the_same_key_is_refused(pay: Pay, paid: list[tuple[str, int]]) -> None:
    """BUG-115: the arguments that are not in the key are compared, defaults too; nothing runs."""
    await pay("a", 5)
    for differing in ({"cents": 6}, {"cents": 5, "currency": "NOK"}):
        with pytest.raises(TaskMismatchError):
            await pay("a", **differing)
    assert await pay("a", 5) == "a: 5 EUR"
    assert len(paid) == 1


async def test_what_is_ignored_may_differ(pay: Pay, paid: list[tuple[str, int]]) -> None:
    """C7: an argument that is ignored is in neither digest, so it needs no canonical form."""
    assert await pay("a", 5, trace="7f") == await pay("a", 5, trace=object()) == "a: 5 EUR"
    assert pay.key("a", 5, trace="7f") == pay.key("a", 5, trace="80")
    assert len(paid) == 1


async def test_all_arguments_say_which_call_it_is(cache: ToolCache) -> None:
    """KY-02: without key_params, other arguments are another request, except those that are ignored."""
    ran: list[int] = []

    @idempotent(cache=cache, ignore_params=["trace"])
    async def double(number: int, trace: str = "") -> int:
        ran.append(number)
        return 2 * number

    assert [await double(1), await double(2, "x"), await double(1, "y"), await double(True)] == [2, 4, 2, 2]
    assert ran == [1, 2, True]


async def test_the_verbs(cache: ToolCache, pay: Pay, paid: list[tuple[str, int]]) -> None:
    """ID-32: what was forgotten runs again; a status tells how far it is; the key is that of the cache's own methods."""
    assert (await pay.status("a", 5)).state == "absent"
    await pay("a", 5)
    assert (await pay.status("a", 5)).state == "completed"
    assert await cache.status(pay.key("a", 5)) == await pay.status("a", 5)
    assert await pay.forget("a", 5)
    assert not await pay.forget("b", 5)
    assert await pay("a", 6) == "a: 6 EUR"
    assert await pay.__wrapped__("a", 7) == "a: 7 EUR"
    assert paid == [("a", 5), ("a", 6), ("a", 7)]


async def test_the_options_reach_the_run(cache: ToolCache) -> None:
    """C7: those of `once` are its options: a timeout ends a run, and a failure that is kept is told again."""

    @idempotent(cache=cache, timeout="10ms", on_error="store")
    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RunTimeoutError):
        await hang()
    with pytest.raises(StoredAgentError, match="RunTimeoutError"):
        await hang()
    assert (await hang.status()).state == "failed"


async def test_one_may_not_want_to_wait(cache: ToolCache) -> None:
    """ID-27: with wait="raise" a second caller is told at once that it is running."""
    begun, gate = asyncio.Event(), asyncio.Event()

    @idempotent(cache=cache, wait="raise")
    async def work() -> str:
        begun.set()
        await gate.wait()
        return "done"

    first = asyncio.create_task(work())
    await begun.wait()
    with pytest.raises(AlreadyInProgressError):
        await work()
    gate.set()
    assert await first == "done"


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"timout": 3}, TypeError, "did you mean 'timeout'"),
        ({"max_attempts": 0}, ValueError, "max_attempts"),
        ({"retry": 3}, TypeError, "AsyncRetrying"),
        ({"key_params": ["oder"]}, SettingsError, "names 'oder', but its parameters are: order"),
        ({"key_params": "order"}, SettingsError, r"write key_params=\['order'\]"),
        ({"ignore_params": ["oder"]}, SettingsError, "ignore_params of .* names 'oder'"),
        ({"ignore_params": "order"}, SettingsError, r"write ignore_params=\['order'\]"),
        ({"key_params": ["order"], "ignore_params": ["order"]}, SettingsError, "'order' of .* be ignored"),
        ({"key": ""}, SettingsError, "is a name"),
    ],
)
def test_what_cannot_be_is_refused_when_decorated(options: dict[str, Any], error: type[Exception], told: str) -> None:
    """BUG-106: unknown and impossible options, and names that are no parameter, before anything is called."""

    async def pay(order: str) -> str:
        return order

    with pytest.raises(error, match=told):
        idempotent(**options)(pay)


def test_wrong_uses_are_refused_at_once() -> None:
    """BUG-66: what is no coroutine function, and the wrong order of decorators."""

    def plain() -> None: ...

    async def fine() -> None: ...

    with pytest.raises(TypeError, match="plain is none"):
        idempotent()(cast("Any", plain))
    with pytest.raises(TypeError, match="put @idempotent beneath @staticmethod"):
        idempotent()(cast("Any", staticmethod(fine)))
    with pytest.raises(SettingsError, match="key"):
        idempotent()(functools.partial(fine))


async def test_unsupported_arguments_are_refused(pay: Pay, paid: list[tuple[str, int]]) -> None:
    """KY-08: an argument without a canonical form is named, whether it is in the key or in the fingerprint."""
    for wrong in ({"order": object(), "cents": 5}, {"order": "a", "cents": object()}):
        name = next(name for name, value in wrong.items() if type(value) is object)
        with pytest.raises(UnsupportedKeyError, match=f"argument '{name}'"):
            await pay(**wrong)
    assert paid == []


async def test_a_name_of_its_own(cache: ToolCache) -> None:
    """KY-12: `key` outlives a new name of the function, and keeps two functions of one name apart."""

    def made(key: str | None, output: str) -> Callable[[int], Awaitable[str]]:
        @idempotent(key=key, cache=cache)
        async def work(number: int) -> str:
            return output

        return work

    assert await made("v1", "old")(1) == await made("v1", "new")(1) == "old"
    assert await made("v2", "new")(1) == "new"
    assert [await made(None, "a")(1), await made(None, "b")(1)] == ["a", "a"]


async def test_the_output_outlives_the_process(tmp_path: Path) -> None:
    """C7: another cache over the same files answers, with a copy of the output, for as long as it is kept."""
    clock, ran = FakeClock(), 0

    async def count() -> list[int]:
        nonlocal ran
        ran += 1
        return [ran]

    for _ in range(2):
        async with ToolCache(directory=tmp_path, clock=clock) as cache:
            output = await idempotent(cache=cache, retention="2h")(count)()
            assert output == [1]
            output.append(7)
    clock.advance(7201)
    async with ToolCache(directory=tmp_path, clock=clock) as cache:
        assert await idempotent(cache=cache)(count)() == [2]


@pytest.mark.parametrize("output", [None, 0, False, "", (), [], {}, (1, 2), {"a": (1,)}, b"", {1, 2}], ids=repr)
async def test_every_output_is_told_again_as_it_was(tmp_path: Path, output: Any) -> None:
    """C7: what is empty, zero or a tuple comes back as that, from memory of the run and from the files."""
    ran = []

    async def run() -> Any:
        ran.append(output)
        return output

    for _ in range(2):
        async with ToolCache(directory=tmp_path, fsync="never") as cache:
            work = idempotent(cache=cache)(run)
            told = [await work(), await work()]
        assert told == [output, output]
        assert [type(one) for one in told] == [type(output)] * 2
    assert len(ran) == 1


async def test_it_is_no_caching(tmp_path: Path) -> None:
    """C7: with caching off, what is to run once does so, in this process and in the next."""
    ran = []

    async def run() -> str:
        ran.append(1)
        return "output"

    for _ in range(2):
        async with ToolCache(directory=tmp_path, enabled=False) as cache:
            work = idempotent(cache=cache)(run)
            assert await work() == await work() == "output"
    assert len(ran) == 1


async def test_a_function_knows_its_run(cache: ToolCache) -> None:
    """C7: the key for those outside is the same in each try, another one of another request, and its cost is kept."""
    keys: list[str] = []

    @idempotent(cache=cache)
    async def pay(order: str) -> int:
        context = RunContext.current()
        context.cost(usd=0.25)
        keys.append(context.idempotency_key)
        return context.attempt

    assert await pay("a") == await pay("b") == 1
    assert (await pay.status("a")).cost_usd == 0.25
    assert len(keys) == len(set(keys)) == 2
    with pytest.raises(LookupError, match="no part of a run"):
        RunContext.current()
    with pytest.raises(LookupError):
        await pay.__wrapped__("c")


async def test_a_run_within_a_run_has_its_own_context(cache: ToolCache) -> None:
    """C7: what a run calls by way of `once` is told its own key, and the run keeps its own."""

    @idempotent(cache=cache)
    async def inner() -> str:
        return RunContext.current().idempotency_key

    @idempotent(cache=cache)
    async def outer() -> list[str]:
        before = RunContext.current().idempotency_key
        return [before, await inner(), RunContext.current().idempotency_key]

    before, within, after = await outer()
    assert before == after != within


class Bank:
    def __init__(self, cache: str, paid: list[str]) -> None:
        self.name = cache
        self.paid = paid

    @idempotent(key_params=["order"])
    async def pay(self, order: str, cents: int = 0) -> str:
        """Pay."""
        self.paid.append(order)
        return f"{self.name} {order}"

    @idempotent(key_params=["order"], key="refund")
    async def refund(self, order: str) -> str:
        return order

    @classmethod
    @idempotent()
    async def make(cls, name: str) -> str:
        return f"{cls.__name__} {name}"


class OtherBank(Bank):
    pass


async def test_methods(cache: ToolCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-70, BUG-71: the instance is neither in the key nor in the fingerprint; the class is. The default cache is found at the call."""
    monkeypatch.setattr(tool_cache, "_default", cache)
    paid: list[str] = []
    one, two = Bank("one", paid), Bank("two", paid)
    assert await one.pay("a") == await two.pay("a", cents=0) == await Bank.pay(two, "a") == "one a"
    assert paid == ["a"]
    assert one.pay.key("a") == Bank.pay.key(two, "a")
    assert (await two.pay.status("a")).state == "completed"
    assert await two.pay.forget("a")
    assert await two.pay("a") == "two a"
    assert await OtherBank("three", paid).pay("a") == "three a"
    untyped, other = cast("Any", Bank), cast("Any", OtherBank)
    assert [await untyped.make("n"), await other.make("n")] == ["Bank n", "OtherBank n"]
    assert one.pay.__doc__ == "Pay."
    assert list(inspect.signature(one.pay).parameters) == ["order", "cents"]
    assert repr(one.pay) == f"<idempotent {__name__}.Bank.pay>"
    assert repr(Bank.refund) == "<idempotent refund>"


async def test_tenants_share_no_run(tmp_path: Path) -> None:
    """BUG-111: two caches over one store, each on behalf of somebody else: what one has run is not the other's output."""
    runs: list[str] = []

    async def pay(order: str) -> str:
        runs.append(order)
        return f"receipt {len(runs)}"

    for tenant, receipt in (("ours", "receipt 1"), ("theirs", "receipt 2"), (None, "receipt 3"), ("ours", "receipt 1")):
        async with ToolCache(directory=tmp_path, tenant=tenant) as cache:
            assert await idempotent(cache=cache)(pay)("4711") == receipt


async def test_it_looks_as_before(pay: Pay) -> None:
    """BUG-66: a plain coroutine function, with name, text and parameters."""
    assert inspect.iscoroutinefunction(pay)
    assert (cast("Any", pay).__name__, pay.__doc__) == ("pay", "Pay.")
    assert list(inspect.signature(pay).parameters) == ["order", "cents", "currency", "trace"]


async def test_checkers_see_the_function(cache: ToolCache) -> None:
    """BUG-69: parameters and result keep their types, for the function, its verbs and methods."""

    @idempotent(cache=cache)
    async def count(text: str, *, times: int = 1) -> int:
        return len(text) * times

    unchanged: Callable[[str], Coroutine[Any, Any, int]] = count
    assert_type(await unchanged("ab"), int)
    assert_type(await count("ab", times=2), int)
    assert_type(await count.forget("ab", times=2), bool)
    assert_type(count.key("ab"), str)
    assert_type(Bank("", []).pay.key("x"), str)
    with pytest.raises(TypeError):
        await count("a", 2)  # type: ignore[call-arg]  # times is keyword-only
    with pytest.raises(TypeError):
        count.key("a", tims=1)  # type: ignore[call-arg]  # misspelt
