"""Calls of tools: run, answered from the cache, or dispatched once; what is not to be kept goes past the cache.

A result that is not the last word belongs to the caller whose run it was: those who waited for it run the tool themselves.
One that says that the tool has failed is told to all who waited, as an exception would be.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from toolcache.aside import Lengthy
from toolcache.compute import Context
from toolcache.domains import Domain
from toolcache.errors import SerializationError, StoredAgentError
from toolcache.events import ValueNotStored
from toolcache.ledger import short
from toolcache.machine import How, Machine
from toolcache.modes import Mode
from toolcache.policies import ToolPolicy
from toolcache.terms import Terms
from toolcache.tool_results import Kind, kind_of
from toolcache.verdicts import AGAIN

if TYPE_CHECKING:
    from toolcache.requests import Requests

Run: TypeAlias = Callable[..., Any] | Callable[..., Awaitable[Any]]
"""What calls a tool: sync or async, given the parameters by their names."""

Asked: TypeAlias = Callable[[], Awaitable[Any]]
"""The same with its parameters."""


class UnkeptResult(Exception):  # noqa: N818 - no error, but how a result gets past what would keep it
    """A result on its way to its callers."""

    def __init__(self, result: Any, kind: Kind) -> None:
        super().__init__("the result was not to be kept")
        self.result = result
        self.kind = kind


_NAME: Final = f"{UnkeptResult.__module__}.{UnkeptResult.__qualname__}"


class _Terms(Terms):
    """Terms by which no result is kept as a failure: the next call is to run the tool again."""

    def keeps(self, error: BaseException) -> bool:
        """Whether a failure is kept as the answer."""
        return not isinstance(error, UnkeptResult) and super().keeps(error)


class _Unstorable:
    """Stands for a result of which no plain data could be made, where a request's output is to be kept."""

    def __init__(self, result: Any) -> None:
        self.result = result


async def run_tool(run: Run, params: Mapping[str, Any]) -> Any:
    """What the tool says."""
    result = run(**params)
    return await result if inspect.isawaitable(result) else result


def _loaded(value: Any, policy: ToolPolicy, mine: list[Any]) -> Any:
    """The result that was kept; the one that was run for the caller, where that of its data is none."""
    try:
        return value if policy.load is None else policy.load(value)
    except Exception:
        if not mine:
            raise
        return mine[0]


class ToolCalls:
    """Calls of tools by way of one cache.

    Args:
        machine: the cache's.
        requests: what it runs once.
        row: the domain of tools, with what settings say.
    """

    def __init__(self, machine: Machine, requests: "Requests", row: Domain) -> None:
        self._machine = machine
        self._requests = requests
        self._row = row

    async def cached(self, key: str, own: tuple[str, ...], policy: ToolPolicy, run: Asked, row: Domain[Any]) -> Any:
        """The kept result, or that of a run, which is kept if it may be; one run for all who ask meanwhile."""
        mine: list[Any] = []

        async def compute(context: Context) -> Any:
            mine[:] = [result := await run()]
            kind = kind_of(result)
            if kind is Kind.ERROR and policy.error_ttl is not None and context.stale is None:
                context.ttl = policy.error_ttl
                context.policy = context.policy._replace(grace=None)  # an error stands in for nothing
            elif kind is not Kind.WHOLE or not (policy.condition is None or policy.condition(result)):
                context.insists = kind is not Kind.ERROR  # that is a failure; all else is what the tool says
                raise UnkeptResult(result, kind)
            context.insists = True
            return self._plain(key, result, policy)

        how = How(ttl=policy.ttl, tags=policy.tags, own=own, freshness=policy.freshness)
        try:
            value = await self._machine.compute(key, compute, row, **how)
            try:
                return _loaded(value, policy, mine)
            except Exception:  # noqa: BLE001 - what cannot be read any more is as good as none
                how["mode"] = Mode.REFRESH
                return _loaded(await self._machine.fill(key, compute, row, **how), policy, mine)
        except UnkeptResult as unkept:
            return await self._past(unkept, mine, run)

    async def once(
        self, request: tuple[str, str], policy: ToolPolicy, retention: float | None, run: Asked, row: Domain[Any]
    ) -> Any:
        """The answer of the one run there is of a request, told by its key and its fingerprint."""
        key, fingerprint = request
        mine: list[Any] = []

        async def work() -> Any:
            mine[:] = [result := await run()]
            kind = kind_of(result)
            if kind in (Kind.ERROR, Kind.UNFINISHED) or (policy is AGAIN and not self._is_storable(result)):
                raise UnkeptResult(result, kind)
            try:
                return result if policy.dump is None else policy.dump(result)
            except Exception:  # noqa: BLE001 - it was run, and is not to be repeated: refused when it is to be kept
                return _Unstorable(result)

        terms = _Terms(**vars(policy.terms) | {"retention": retention})
        try:
            settled = await self._requests.once(key, work, terms, row, fingerprint=fingerprint)
            if isinstance(settled.error, StoredAgentError) and settled.error.type == _NAME and not settled.replayed:
                settled = await self._requests.once(key, work, terms, row, fingerprint=fingerprint)
            output = await self._requests.outcome(settled)
        except UnkeptResult as unkept:
            return await self._past(unkept, mine, run if policy is AGAIN else None)
        except SerializationError as error:
            if not mine:
                raise
            return error.result.result if isinstance(error.result, _Unstorable) else error.result
        return _loaded(output, policy, mine)

    async def _past(self, unkept: UnkeptResult, mine: list[Any], run: Asked | None) -> Any:
        """A result that was not to be kept, for the one who has run the tool and for those who waited."""
        if mine and mine[0] is unkept.result:
            return unkept.result
        if run is not None and unkept.kind in (Kind.STREAM, Kind.UNFINISHED):
            return await run()
        return self._copy(unkept.result)

    def _plain(self, key: str, result: Any, policy: ToolPolicy) -> Any:
        """What is kept of a result."""
        try:
            return result if policy.dump is None else policy.dump(result)
        except Exception as error:  # noqa: BLE001 - told by an event, and whoever asked has the result
            told = ValueNotStored(self._row.name, type(error).__name__, short(key))
            self._machine.parts.announce(told)
            raise UnkeptResult(result, Kind.WHOLE) from None

    def _is_storable(self, result: Any) -> bool:
        try:
            self._machine.parts.coder.at_once(result)
        except Lengthy:
            return True
        except SerializationError:
            return False
        return True

    def _copy(self, result: Any) -> Any:
        """A copy of a result for another caller, where one can be made."""
        coder = self._machine.parts.coder
        try:
            return coder.decode(coder.encode(result))
        except SerializationError:
            return result
