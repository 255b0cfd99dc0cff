"""toolcache: the asyncio-native cache for agents.

    async with ToolCache() as cache:
        tools = await cache.get_catalog("https://tools.example.org", compute=discover)

Names load when they are first touched, so importing the package costs next to nothing.
"""

TYPE_CHECKING = False  # as typing has it, whose import would be most of this one
if TYPE_CHECKING:
    from toolcache.answers import RunStatus
    from toolcache.blocking.tool_cache import BlockingToolCache
    from toolcache.cache import Cache
    from toolcache.catalogue import KeyInfo
    from toolcache.compute import Context
    from toolcache.decorator import cached
    from toolcache.dispatch.decorator import idempotent
    from toolcache.dispatch.dispatch import dispatch_agents
    from toolcache.dispatch.results import AgentResult, Progress, TaskError
    from toolcache.dispatch.tasks import AgentTask
    from toolcache.domains import Domain
    from toolcache.entry import MISSING, Durability, Entry, Invalidation
    from toolcache.errors import (
        AlreadyInProgressError,
        BackupError,
        CacheClosedError,
        CacheWriteError,
        CircuitOpenError,
        ComputeTimeoutError,
        DispatchError,
        FlightAbortedError,
        MissingScopeError,
        ReentrantFlightError,
        RunTimeoutError,
        SerializationError,
        SessionConflictError,
        SessionError,
        SessionUnavailableError,
        SettingsError,
        StoredAgentError,
        StoredCallError,
        StoresUnavailableError,
        TakeoverLimitError,
        TaskMismatchError,
        TemplateError,
        ToolCacheError,
        UnsupportedEventLoopError,
        UnsupportedKeyError,
        ValueTooLargeError,
        WaitTimeoutError,
    )
    from toolcache.freshness import Freshness
    from toolcache.keys.canonical import Digest
    from toolcache.keys.files import file_digest
    from toolcache.keys.plan import make_key
    from toolcache.keys.scopes import scope
    from toolcache.keys.tagging import make_tag
    from toolcache.metrics.snapshot import Metrics, Snapshot
    from toolcache.policies import ToolPolicy
    from toolcache.resilience.breaker import CircuitBreaker
    from toolcache.savings import Savings
    from toolcache.session import Session
    from toolcache.settings import Settings
    from toolcache.stages import Stage, stage
    from toolcache.stats import Health, Stats
    from toolcache.tool_cache import ToolCache, get_cache
    from toolcache.transfer import Transfer
    from toolcache.warm_plan import WarmPlan
    from toolcache.warming import WarmReport
    from toolcache.work import RunContext

__version__ = "0.1.0"

__all__ = [
    "MISSING",
    "AgentResult",
    "AgentTask",
    "AlreadyInProgressError",
    "BackupError",
    "BlockingToolCache",
    "Cache",
    "CacheClosedError",
    "CacheWriteError",
    "CircuitBreaker",
    "CircuitOpenError",
    "ComputeTimeoutError",
    "Context",
    "Digest",
    "DispatchError",
    "Domain",
    "Durability",
    "Entry",
    "FlightAbortedError",
    "Freshness",
    "Health",
    "Invalidation",
    "KeyInfo",
    "Metrics",
    "MissingScopeError",
    "Progress",
    "ReentrantFlightError",
    "RunContext",
    "RunStatus",
    "RunTimeoutError",
    "Savings",
    "SerializationError",
    "Session",
    "SessionConflictError",
    "SessionError",
    "SessionUnavailableError",
    "Settings",
    "SettingsError",
    "Snapshot",
    "Stage",
    "Stats",
    "StoredAgentError",
    "StoredCallError",
    "StoresUnavailableError",
    "TakeoverLimitError",
    "TaskError",
    "TaskMismatchError",
    "TemplateError",
    "ToolCache",
    "ToolCacheError",
    "ToolPolicy",
    "Transfer",
    "UnsupportedEventLoopError",
    "UnsupportedKeyError",
    "ValueTooLargeError",
    "WaitTimeoutError",
    "WarmPlan",
    "WarmReport",
    "cached",
    "dispatch_agents",
    "file_digest",
    "get_cache",
    "idempotent",
    "make_key",
    "make_tag",
    "scope",
    "stage",
]

_HOMES = {
    "MISSING": "entry",
    "AgentResult": "dispatch.results",
    "AgentTask": "dispatch.tasks",
    "BlockingToolCache": "blocking.tool_cache",
    "Cache": "cache",
    "CircuitBreaker": "resilience.breaker",
    "Context": "compute",
    "Digest": "keys.canonical",
    "Domain": "domains",
    "Durability": "entry",
    "Entry": "entry",
    "Freshness": "freshness",
    "Health": "stats",
    "Invalidation": "entry",
    "KeyInfo": "catalogue",
    "Metrics": "metrics.snapshot",
    "Progress": "dispatch.results",
    "RunContext": "work",
    "RunStatus": "answers",
    "Savings": "savings",
    "Session": "session",
    "Settings": "settings",
    "Snapshot": "metrics.snapshot",
    "Stage": "stages",
    "Stats": "stats",
    "TaskError": "dispatch.results",
    "ToolCache": "tool_cache",
    "WarmPlan": "warm_plan",
    "WarmReport": "warming",
    "ToolPolicy": "policies",
    "Transfer": "transfer",
    "cached": "decorator",
    "dispatch_agents": "dispatch.dispatch",
    "file_digest": "keys.files",
    "get_cache": "tool_cache",
    "idempotent": "dispatch.decorator",
    "make_key": "keys.plan",
    "make_tag": "keys.tagging",
    "scope": "keys.scopes",
    "stage": "stages",
}


if not TYPE_CHECKING:  # to checkers a name that is not imported above is a mistake

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        # The public names that are not listed by home are the errors.
        value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
