"""Schedules: what runs again and again, in one process of the namespace at a time.

    wait for the next time → claim it, by its name → run → tell what failed → the next time, and those missed are one

All processes reckon the same times from the same clock, so a time has the same name everywhere: it is a request that
runs once, and whoever comes second, or late, finds it done.
"""

import asyncio
import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from toolcache.clock import chance
from toolcache.durations import Duration, seconds
from toolcache.errors import AlreadyInProgressError, CacheClosedError, StoredAgentError, TakeoverLimitError
from toolcache.events import ScheduleFailed
from toolcache.warm_plan import WarmPlan
from toolcache.warming import warm

if TYPE_CHECKING:
    from toolcache.told import Told

_NAP: Final = 60.0
"""Seconds after which one looks at the clock again: a host may have slept, and its timers with it."""

_LONGEST: Final = 400 * 86_400.0
"""Seconds; of times that are further apart it is forgotten that they were run."""

_OF_OTHERS: Final = (AlreadyInProgressError, StoredAgentError, TakeoverLimitError)
"""What has become of a time that another process runs, or has run."""

_BACK: Final = (60.0, 3_600.0, 86_400.0, math.inf)
"""Seconds in which one looks for the last time that has gone by, the next of these only where there is none."""

_FIELDS: Final = 5
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class Times(Protocol):
    """When something runs."""

    text: str

    def after(self, moment: float) -> float:
        """The first time after a moment; both in seconds since the epoch. Infinite if there is none."""
        ...


class Every:
    """At all multiples of a span, since the epoch.

    Args:
        span: seconds.
    """

    def __init__(self, span: float) -> None:
        self._span = span
        self.text = f"every-{span:g}s"

    def after(self, moment: float) -> float:
        """The first multiple after a moment."""
        found = (math.floor(moment / self._span) + 1) * self._span
        return found if found > moment else found + self._span


class Cron:
    """At the times that five fields say, as crontab reads them.

    Args:
        text: minute, hour, day of the month, month, day of the week; or ``@daily`` and its like.
        timezone: the name of one.
    """

    def __init__(self, text: str, timezone: str) -> None:
        try:
            from apscheduler.triggers.cron import CronTrigger
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "cron needs an extra: in a checkout, pip install '.[schedule]'; every='1h' does without"
            ) from None
        from zoneinfo import ZoneInfo

        fields = _NICKNAMES.get(text.strip().lower(), text).split()
        if len(fields) != _FIELDS:
            raise ValueError(
                f"cron is five fields, such as '0 3 * * mon-fri': minute, hour, day, month, day of the week; "
                f"not {len(fields)}"
            )
        try:
            zone = ZoneInfo(timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"there is no time zone {timezone!r}: write one such as 'Europe/Berlin'") from None
        minute, hour, day, month, weekday = fields
        # Where both days are restricted, either will do.
        both = "*" not in {day[0], weekday[0]}
        weekday = "*" if weekday == "*" else _by_name(weekday)
        pairs = [(day, "*"), ("*", weekday)] if both else [(day, weekday)]
        try:
            self._triggers = [
                CronTrigger(minute=minute, hour=hour, day=one, month=month, day_of_week=other, timezone=zone)
                for one, other in pairs
            ]
        except ValueError as error:
            raise ValueError(f"cron {text!r} cannot be read: {error}") from None
        self.text = f"cron-{'_'.join(fields)}" + ("" if timezone == "UTC" else f"-{timezone}")

    def after(self, moment: float) -> float:
        """The first of its times after a moment."""
        found = math.inf
        for trigger in self._triggers:
            # It takes a moment that fits for one to come: what has just been is no more.
            least = datetime.fromtimestamp(math.floor(moment) + 1, UTC)
            if (at := trigger.get_next_fire_time(None, least)) is not None:
                found = min(found, at.timestamp())
        return found


def times(every: Duration | None, cron: str | None, timezone: str | None) -> Times:
    """When something runs; see ``schedule`` of the cache."""
    if (every is None) is (cron is None):
        raise ValueError("a schedule has either every, such as '1h', or cron, such as '0 3 * * *'")
    if every is not None:
        if timezone is not None:
            raise ValueError("timezone is for cron: every is counted in UTC")
        return Every(seconds(every, name="every"))
    if not isinstance(cron, str):
        raise TypeError(f"cron is a text such as '0 3 * * *', not {type(cron).__name__}")
    return Cron(cron, timezone or "UTC")


class Scheduled:
    """Something that runs again and again.

    Attributes:
        name: by which the processes of the namespace know it.
        next_at: when it is due, in seconds since the epoch; infinite if it never is again.
        last: what the last run in this process came to, a ``WarmReport`` of a plan; None before.
        runs: how often it was run in this process.
        failures: how many of these failed.
        running: whether it is being run in this process.
    """

    def __init__(
        self,
        cache: "Told",
        job: WarmPlan | Callable[[], Any],
        times: Times,
        *,
        at_start: bool = False,
        jitter: Duration | None = None,
        name: str | None = None,
    ) -> None:
        if not isinstance(job, WarmPlan) and not callable(job):
            raise TypeError(f"what is scheduled is a WarmPlan or a function, not {type(job).__name__}")
        own = job.name if isinstance(job, WarmPlan) else getattr(job, "__qualname__", type(job).__qualname__)
        self.name = f"{own}.{times.text}" if name is None else name
        self.last: Any = None
        self.runs = self.failures = 0
        self.running = False
        self._cache = cache
        self._clock = cache._parts.clock  # noqa: SLF001 - of one house
        self._job = job
        self._times = times
        self._at_start = at_start
        self._jitter = 0.0 if jitter is None else seconds(jitter, name="jitter")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = False
        self.next_at = times.after(self._clock.time())

    def start(self) -> None:
        """Begin; see ``schedule`` of the cache."""
        self._home = self._cache._machine.homes.here()  # noqa: SLF001 - of one house
        known = self._cache._reacting.schedules  # noqa: SLF001 - of one house
        other = known.get(self.name)
        if other is not None and not other.ended:
            raise ValueError(f"there is a schedule {self.name!r} already: give this one a name of its own, name='...'")
        known[self.name] = self
        self._loop = asyncio.get_running_loop()
        self._home.attend(self._run)

    def cancel(self) -> None:
        """Run no more; what is being run is cancelled."""
        self._over = True
        known = self._cache._reacting.schedules  # noqa: SLF001 - of one house
        if known.get(self.name) is self:
            del known[self.name]
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._home.dismiss, self._run)

    @property
    def ended(self) -> bool:
        """Whether it runs no more: it was cancelled, or its event loop was closed."""
        return self._over or (self._loop is not None and self._loop.is_closed())

    def __repr__(self) -> str:
        due = not self.ended and self.next_at < math.inf
        when = f"next at {datetime.fromtimestamp(self.next_at, UTC):%Y-%m-%d %H:%M:%S} UTC" if due else "over"
        return f"<Scheduled {self.name!r}, {self.runs} runs, {self.failures} failed, {when}>"

    # -- the task -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        with suppress(CacheClosedError):
            if self._at_start:
                await self._once(None)
            while self.next_at < math.inf:
                tick = self.next_at
                await self._sleep_until(tick + self._jitter * chance())
                await self._once(tick)
                self.next_at = self._following(tick)

    async def _sleep_until(self, moment: float) -> None:
        while (left := moment - self._clock.time()) > 0:
            await self._clock.sleep(min(left, _NAP))

    def _following(self, tick: float) -> float:
        """The next time; of those that have gone by meanwhile, the last."""
        now, following = self._clock.time(), self._times.after(tick)
        for back in _BACK:  # there may be very many: a host has slept for days
            latest = self._times.after(max(tick, now - back))
            if latest <= now:
                while (later := self._times.after(latest)) <= now:
                    latest = later
                return latest
        return following

    async def _once(self, tick: float | None) -> None:
        """Run, if no other process does or has; tell what fails."""
        before = self.runs
        try:
            await (self._work() if tick is None else self._claimed(tick))
        except CacheClosedError:
            raise
        except Exception as error:  # noqa: BLE001 - it is told, and runs again
            if self.runs > before or not isinstance(error, _OF_OTHERS):
                self._cache._parts.announce(ScheduleFailed(self.name, type(error).__name__))  # noqa: SLF001 - of one house

    async def _claimed(self, tick: float) -> None:
        kept = 2 * min(max(self._times.after(tick) - tick, _NAP), _LONGEST)
        await self._cache.once(
            f"schedule:{self.name}:{round(tick * 1000)}",
            self._work,
            wait="raise",
            on_abandon="cancel",
            on_error="store",
            error_ttl=kept,
            retention=kept,
        )

    async def _work(self) -> bool:
        self.runs += 1
        self.running = True
        try:
            if isinstance(self._job, WarmPlan):
                self.last = await warm(self._cache, self._job)
            else:
                said = self._job()
                self.last = await said if inspect.isawaitable(said) else said
        except Exception:
            self.failures += 1
            raise
        finally:
            self.running = False
        return True


def _by_name(weekdays: str) -> str:
    """Days of the week as a list of names: crontab counts them from Sunday, which is 0 and 7, the library from Monday."""
    found: list[int] = []
    for part in weekdays.lower().split(","):
        days, stepped, step = part.partition("/")
        if stepped and not (step.isdecimal() and int(step)):
            raise ValueError("cron: after '/' in the day of the week stands a number of days, such as '*/2'")
        first, _, last = ("0-6" if days == "*" else days).partition("-")
        begin = _weekday(first)
        end = _weekday(last) if last else 6 if step else begin
        found += range(begin, end + (7 if end < begin else 0) + 1, int(step) if step else 1)
    return ",".join(dict.fromkeys(_DAYS[day % 7] for day in found))


def _weekday(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    if text.isdecimal() and int(text) < len(_DAYS) + 1:
        return int(text)
    raise ValueError(
        "cron: a day of the week is 0 to 7, where 0 and 7 are Sunday, or one of sun, mon, tue, wed, thu, fri, sat"
    )
