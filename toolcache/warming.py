"""Warming: what will be asked for is computed before it is.

    each item: is it there? → is there budget left? → wait for the rate → get it, and compute it if it is missing

What is missing is computed through the cache's own getters, so whoever asks meanwhile, here or in another process, waits
for the same computation.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from toolcache.compute import Context
from toolcache.dispatch.results import Progress
from toolcache.entry import MISSING
from toolcache.errors import CacheClosedError
from toolcache.fields import Frozen, each
from toolcache.requested import quiet
from toolcache.warm_items import Bad, fields_of, items
from toolcache.warm_plan import GETTERS, Item, WarmPlan

if TYPE_CHECKING:
    from toolcache.told import Told


class WarmReport(Frozen):
    """What a warm-up came to: ``asked`` is the sum of ``there``, ``computed``, ``skipped`` and all that ``failed``.

    Attributes:
        name: the plan's.
        asked: items of the plan.
        there: those that were in the cache, or that others computed meanwhile.
        computed: those that this warm-up computed.
        failed: how many failed, by the name of what was raised, or of what is wrong with the line of a file.
        skipped: those that were not tried, since a budget was used up.
        seconds: how long it took.
        cost_usd: what the computations cost, as far as a unit cost is known.
        stopped: "max_cost_usd" or "max_seconds" if that ended it, "" otherwise.
    """

    name: str = ""
    asked: int = 0
    there: int = 0
    computed: int = 0
    failed: Mapping[str, int] = each(factory=dict)
    skipped: int = 0
    seconds: float = 0.0
    cost_usd: float = 0.0
    stopped: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same, for JSON."""
        return {name: getattr(self, name) for name in self._fields} | {"failed": dict(self.failed)}

    def __hash__(self) -> int:
        return hash((self.name, self.asked, self.there, self.computed, self.skipped, self.seconds))

    def __str__(self) -> str:
        rows = [("asked for", self.asked), ("already there", self.there), ("computed", self.computed)]
        rows += [(f"failed: {kind}", number) for kind, number in sorted(self.failed.items())]
        rows += [("skipped", self.skipped)] if self.skipped else []
        wide = max(len(what) for what, _ in rows)
        cost = f", ${self.cost_usd:,.4f}" if self.cost_usd else ""
        why = f", stopped by {self.stopped}" if self.stopped else ""
        lines = [f"warm-up {self.name}: {self.seconds:.1f} s{cost}{why}"]
        return "\n".join(lines + [f"  {what:<{wide}} {number:>9,}" for what, number in rows])


async def warm(cache: "Told", plan: WarmPlan, on_progress: Callable[[Progress], None] | None = None) -> WarmReport:
    """Compute what of a plan is missing; see ``warm`` of the cache."""
    return await _WarmUp(cache, plan, on_progress).run()


class _WarmUp:
    """One run of a plan."""

    def __init__(self, cache: "Told", plan: WarmPlan, on_progress: Callable[[Progress], None] | None) -> None:
        self._cache = cache
        self._plan = plan
        self._on_progress = on_progress
        self._clock = cache._parts.clock  # noqa: SLF001 - of one house
        self._begun = self._clock.monotonic()
        self._next_at = self._begun
        self._cost = _unit_cost(cache, plan)
        # Only where there is a rate or a budget, of which what is there takes nothing, need it be known beforehand.
        self._looks = not plan.refresh and (plan.per_second is not None or plan.max_cost_usd is not None)
        self._asked = self._there = self._computed = self._skipped = self._running = self._paid = 0
        self._failed: Counter[str] = Counter()
        self._stopped = ""
        self._turn = asyncio.Lock()

    async def run(self) -> WarmReport:
        plan = self._plan
        source = items(self._cache, plan)
        workers = [asyncio.ensure_future(self._work(source)) for _ in range(plan.max_parallel)]
        try:
            await asyncio.gather(*workers)
        finally:  # one that failed, or was cancelled, ends the others
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
            await source.aclose()
        return WarmReport(
            name=plan.name,
            asked=self._asked,
            there=self._there,
            computed=self._computed,
            failed=dict(self._failed),
            skipped=self._skipped,
            seconds=self._clock.monotonic() - self._begun,
            cost_usd=self._paid * self._cost,
            stopped=self._stopped,
        )

    async def _work(self, source: AsyncIterator[Item | Bad]) -> None:
        quiet.set(True)  # of this task: what is warmed was not asked for
        while True:
            async with self._turn:  # a source is asked by one at a time
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
                self._asked += 1
            if isinstance(item, Bad):
                self._failed[item.reason] += 1
                self._tell()
            else:
                await self._see_to(item)

    async def _see_to(self, item: Item) -> None:
        """Have one item be there."""
        if self._over():
            self._skipped += 1
            return
        self._running += 1
        self._tell()
        try:
            if self._looks and await self._ask(item, None) is not MISSING:
                self._there += 1
                return
            await self._compute(item)
        except CacheClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - it is that item's alone
            self._failed[type(error).__name__] += 1
        finally:
            self._running -= 1
            self._tell()

    async def _compute(self, item: Item) -> None:
        if self._over(paying=True):
            self._skipped += 1
            return
        self._paid += 1  # before it is: others are not to spend the same
        ran = False
        plan = self._plan
        make = plan.compute_of(item)

        async def compute(context: Context) -> Any:
            nonlocal ran
            ran = True
            if plan.ttl is not MISSING:
                context.ttl = plan.ttl
            if plan.tags:
                context.tags = plan.tags
            value = make(context)
            return await value if inspect.isawaitable(value) else value

        try:
            if not await self._pace():
                self._skipped += 1
                return
            with self._cache.refreshing() if plan.refresh else nullcontext():
                await self._ask(item, compute)
        finally:
            if not ran:
                self._paid -= 1
        if ran:
            self._computed += 1
        else:
            self._there += 1  # somebody else has computed it meanwhile

    async def _ask(self, item: Item, compute: Callable[[Context], Awaitable[Any]] | None) -> Any:
        """The value of an item; MISSING if it is not there and not to be computed."""
        cache, domain = self._cache, self._plan.domain
        if domain is None:
            if compute is None:
                return True if await cache.exists(item.subject) else MISSING
            return await cache.get_or_set(item.subject, compute, lock=True)
        fields = fields_of(item, domain, self._plan.params)
        getter = getattr(cache, GETTERS[domain][0]) if isinstance(domain, str) else cache[domain].get
        value = await getter(**fields, compute=compute)
        return MISSING if value is None and compute is None else value

    async def _pace(self) -> bool:
        """Wait for the next of the moments that the rate has; False if that comes too late."""
        if self._plan.per_second is None:
            return True
        now = self._clock.monotonic()
        at = max(now, self._next_at)
        if self._over(at=at):
            return False
        self._next_at = at + 1 / self._plan.per_second
        if at > now:
            await self._clock.sleep(at - now)
        return True

    def _over(self, *, paying: bool = False, at: float | None = None) -> bool:
        """Whether a budget is used up; ``paying``: by one computation more; ``at``: by then, now unless given."""
        plan = self._plan
        moment = self._clock.monotonic() if at is None else at
        if plan.max_seconds is not None and moment - self._begun >= plan.max_seconds:
            self._stopped = self._stopped or "max_seconds"
        elif paying and plan.max_cost_usd is not None:
            cost = (self._paid + 1) * self._cost
            if cost > plan.max_cost_usd * (1 + 1e-9):
                self._stopped = self._stopped or "max_cost_usd"
        return self._stopped != ""

    def _tell(self) -> None:
        if self._on_progress is None:
            return
        failed = self._failed.total()
        done = self._there + self._computed + failed
        progress = Progress(
            total=self._asked,
            done=done,
            running=self._running,
            completed=done - failed,
            replayed=self._there,
            failed=failed,
        )
        try:
            self._on_progress(progress)
        except Exception:  # noqa: BLE001 - a listener's fault must not reach a computation
            self._cache._parts.announce.listener_errors += 1  # noqa: SLF001 - of one house


def _unit_cost(cache: "Told", plan: WarmPlan) -> float:
    """What one computation costs, in US dollars."""
    cost = plan.cost_usd
    if cost is None and plan.domain is not None:
        name = plan.domain if isinstance(plan.domain, str) else plan.domain.name
        row = cache.domains.get(name, plan.domain)
        cost = 0.0 if isinstance(row, str) else row.cost_usd
    if plan.max_cost_usd is not None and not cost:
        raise ValueError(
            "max_cost_usd (--max-cost) needs to know what one computation costs: give the plan its cost_usd (--cost), or the "
            "domain its own, in the setting costs"
        )
    return cost or 0.0
