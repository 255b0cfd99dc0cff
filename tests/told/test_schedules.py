"""Schedules: when something runs, that it runs once, and that what fails is told and runs again."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hearing import until
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import SteadyClock
from servers import RedisServer

from toolcache import ToolCache, UnsupportedEventLoopError, WarmPlan, WarmReport, schedule
from toolcache.events import ScheduleFailed
from toolcache.schedule import Cron, Every, times
from toolcache.testing import FakeClock, Recorder

HOUR = 3_600.0
START = 1_800_000_000.0  # a Friday, 08:00 UTC


@pytest.fixture
async def own(clock: FakeClock) -> AsyncIterator[ToolCache]:
    """A cache whose clock the test moves."""
    async with ToolCache(files=False, clock=clock) as cache:
        yield cache


async def settle() -> None:
    """Let everything that can go on do so."""
    for _ in range(60):
        await asyncio.sleep(0)


async def go_on(clock: FakeClock, seconds: float) -> None:
    """Let time pass, and what is due be done."""
    await settle()
    clock.advance(seconds)
    await settle()


def counting(runs: list[float], clock: FakeClock) -> Callable[[], int]:
    def job() -> int:
        runs.append(clock.time() - START)
        return len(runs)

    return job


async def test_every(own: ToolCache, clock: FakeClock) -> None:
    """C14: at each multiple of the interval, from the epoch on, as long as the cache is open."""
    runs: list[float] = []
    clock.advance(600)
    scheduled = own.schedule(counting(runs, clock), every="1h")
    assert scheduled.next_at == START + HOUR
    assert (scheduled.last, scheduled.runs) == (None, 0)
    await go_on(clock, 2_999)
    assert runs == []
    await go_on(clock, 1)
    assert runs == [HOUR]
    assert (scheduled.last, scheduled.runs, scheduled.next_at) == (1, 1, START + 2 * HOUR)
    await go_on(clock, HOUR)
    assert runs == [HOUR, 2 * HOUR]
    assert "2 runs, 0 failed, next at 2027-01-15 11:00:00 UTC" in repr(scheduled)


async def test_a_plan(own: ToolCache, clock: FakeClock) -> None:
    """C14: a plan is warmed by, again and again; ``last`` is its report."""
    plan = WarmPlan(queries=["a", "b"], compute=str.upper, ttl="30m")
    scheduled = own.schedule(plan, every="1h")
    await go_on(clock, HOUR)
    assert isinstance(scheduled.last, WarmReport)
    assert scheduled.last.computed == 2
    assert await own.get("a") == "A"
    await go_on(clock, HOUR)
    assert scheduled.last.computed == 2


async def test_at_start(own: ToolCache, clock: FakeClock) -> None:
    """BUG-106: ``at_start`` runs now, besides the times that are to come."""
    runs: list[float] = []
    own.schedule(counting(runs, clock), every="1h", at_start=True)
    await settle()
    assert runs == [0]
    await go_on(clock, HOUR)
    assert runs == [0, HOUR]


async def test_jitter(own: ToolCache, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """BUG-106: ``jitter`` has each run begin so much later, at random; the times stay where they are."""
    monkeypatch.setattr(schedule, "chance", lambda: 0.5)
    runs: list[float] = []
    scheduled = own.schedule(counting(runs, clock), every="1h", jitter="10m")
    await go_on(clock, HOUR + 299)
    assert runs == []
    await go_on(clock, 1)
    assert runs == [HOUR + 300]
    assert scheduled.next_at == START + 2 * HOUR


async def test_runs_do_not_overlap_and_those_missed_are_one(own: ToolCache, clock: FakeClock) -> None:
    """C14: a run that takes longer is followed by one, however many times have gone by; then all is as before."""
    runs: list[float] = []
    go = asyncio.Event()

    async def job() -> None:
        runs.append(clock.time() - START)
        await go.wait()

    scheduled = own.schedule(job, every="1h")
    await go_on(clock, HOUR)
    await go_on(clock, 3.5 * HOUR)
    assert runs == [HOUR]
    assert scheduled.running
    go.set()
    await settle()
    assert runs == [HOUR, 4.5 * HOUR]
    assert not scheduled.running
    await go_on(clock, HOUR / 2)
    assert runs == [HOUR, 4.5 * HOUR, 5 * HOUR]


@pytest.mark.parametrize(("every", "cron"), [("100ms", None), ("7m", None), ("3d", None), (None, "* * * * *")])
async def test_a_host_that_slept_for_long(
    own: ToolCache, clock: FakeClock, every: str | None, cron: str | None
) -> None:
    """C14: however many times were slept through, the last of them is run, once, and found without going through all."""
    runs: list[float] = []
    scheduled = own.schedule(counting(runs, clock), every=every, cron=cron)
    asked, after = [], scheduled._times.after
    scheduled._times.after = lambda moment: asked.append(moment) or after(moment)  # type: ignore[method-assign, func-returns-value]
    go = asyncio.Event()
    scheduled._job = go.wait
    await go_on(clock, scheduled.next_at - START)
    clock.advance(10 * 86_400)
    scheduled._job = counting(runs, clock)
    go.set()
    await settle()
    assert runs == [clock.time() - START]
    assert scheduled.next_at > clock.time()
    assert len(asked) < 1_000


async def test_what_fails(own: ToolCache, clock: FakeClock) -> None:
    """C14, BUG-107: it is told, without its words, and runs again when it is due."""
    recorder = Recorder()
    own.subscribe(recorder)
    left = [OSError("s3cret"), None, ValueError("s3cret")]

    async def job() -> str:
        if (fault := left.pop(0)) is not None:
            raise fault
        return "done"

    scheduled = own.schedule(job, every="1h", name="job")
    for _ in range(3):
        await go_on(clock, HOUR)
    assert [(event.name, event.reason) for event in recorder.of(ScheduleFailed)] == [
        ("job", "OSError"),
        ("job", "ValueError"),
    ]
    assert "s3cret" not in str(recorder.events)
    assert (scheduled.runs, scheduled.failures, scheduled.last) == (3, 2, "done")


async def test_cancel(own: ToolCache, clock: FakeClock) -> None:
    """C14, BUG-13: ``cancel`` ends it, in mid-run too, leaves no task, and the name can be used again."""
    cancelled: list[bool] = []

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    before = asyncio.all_tasks()
    scheduled = own.schedule(job, every="1h", name="job")
    await settle()
    scheduled.cancel()
    scheduled.cancel()
    await settle()
    assert asyncio.all_tasks() == before
    assert "over" in repr(scheduled)
    again = own.schedule(job, every="1h", name="job")
    scheduled.cancel()
    with pytest.raises(ValueError, match="already"):
        own.schedule(job, every="1h", name="job")
    await go_on(clock, HOUR)
    assert again.running
    again.cancel()
    await settle()
    assert cancelled == [True]
    assert asyncio.all_tasks() == before


async def test_closing(clock: FakeClock) -> None:
    """BUG-13: closing the cache ends its schedules, at once, and what they run."""
    ended: list[str] = []

    async def job() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("job")

    before = asyncio.all_tasks()
    async with ToolCache(files=False, clock=clock) as cache:
        cache.schedule(job, every="1h")
        cache.schedule(lambda: None, every="1d")
        await go_on(clock, HOUR)
    assert ended == ["job"]
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("by", ["redis", "files"])
async def test_one_process_runs_each_time(by: str, redis_server: RedisServer, tmp_path: Path) -> None:
    """C14: of the processes that share a schedule, one runs at each time; one that fails is not repeated by another."""
    clock = SteadyClock(START)
    where: dict[str, Any] = (
        {"redis_url": redis_server.url, "files": False} if by == "redis" else {"directory": tmp_path}
    )
    async with ToolCache(**where, clock=clock) as one, ToolCache(**where, clock=clock) as two:
        ran: list[str] = []
        recorders = Recorder(), Recorder()

        def job(name: str) -> Callable[[], Any]:
            async def run() -> None:
                ran.append(name)
                await asyncio.sleep(0.02)
                if len(ran) == 2:
                    raise OSError

            return run

        handles = []
        for cache, name, recorder in zip((one, two), "ab", recorders, strict=True):
            cache.subscribe(recorder)
            handles.append(cache.schedule(job(name), every="1h", name="job"))
        for number in (1, 2, 3):
            await settle()
            clock.advance(HOUR)

            def over(number: int = number) -> bool:
                return all(handle.next_at == START + (number + 1) * HOUR for handle in handles)

            await until(over)
            assert len(ran) == number
        assert sum(handle.runs for handle in handles) == 3
        assert sum(len(recorder.of(ScheduleFailed)) for recorder in recorders) == 1


async def test_what_cannot_be_scheduled(own: ToolCache) -> None:
    """BUG-106: what cannot be is refused at once, with words that say what can."""
    refused: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "either every", {}),
        (ValueError, "either every", {"every": "1h", "cron": "0 0 * * *"}),
        (ValueError, "every", {"every": "soon"}),
        (ValueError, "timezone is for cron", {"every": "1h", "timezone": "UTC"}),
        (ValueError, "jitter", {"every": "1h", "jitter": -1}),
        (TypeError, "cron is a text", {"cron": 7}),
        (ValueError, "five fields", {"cron": "0 0 * *"}),
        (ValueError, "cannot be read", {"cron": "61 0 * * *"}),
        (ValueError, "day of the week", {"cron": "0 0 * * 8"}),
        (ValueError, "day of the week", {"cron": "0 0 * * someday"}),
        (ValueError, "a number of days", {"cron": "0 0 * * mon-fri/x"}),
        (ValueError, "a number of days", {"cron": "0 0 * * */0"}),
        (ValueError, "no time zone", {"cron": "0 0 * * *", "timezone": "Mars/Olympus"}),
        (TypeError, "evry", {"evry": "1h"}),
    ]
    for error, words, options in refused:
        with pytest.raises(error, match=words):
            own.schedule(lambda: None, **options)
    with pytest.raises(TypeError, match="WarmPlan or a function"):
        own.schedule("job", every="1h")  # type: ignore[arg-type]  # that is the point
    own.schedule(lambda: None, every="1h", name="job")
    with pytest.raises(ValueError, match="already"):
        own.schedule(lambda: None, every="2h", name="job")


def test_without_a_loop() -> None:
    """C14: a schedule is a task of the running loop; without one it is refused."""
    cache = ToolCache(files=False)
    with pytest.raises(UnsupportedEventLoopError):
        cache.schedule(lambda: None, every="1h")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """C14: without the library for cron, it is said what to install."""
    monkeypatch.setitem(sys.modules, "apscheduler.triggers.cron", None)
    with pytest.raises(ModuleNotFoundError, match=r"\.\[schedule\]"):
        times(None, "0 0 * * *", None)


@pytest.mark.parametrize("span", [0.1, 0.3, 1.0, 7.7, HOUR, 86_400.0, 10.0**9])
def test_intervals_go_on(span: float) -> None:
    """C14: each time is after the one before, by the interval."""
    every, moment = Every(span), START + 0.123
    for _ in range(1_000):
        following = every.after(moment)
        assert 0 < following - moment <= span + 1e-5
        moment = following


CRON: list[tuple[str, str, list[str]]] = [
    ("0 0 * * *", "UTC", ["2027-01-16 00:00", "2027-01-17 00:00"]),
    ("*/20 8-9 * * *", "UTC", ["2027-01-15 08:20", "2027-01-15 08:40", "2027-01-15 09:00"]),
    ("0 3 * * 0", "UTC", ["2027-01-17 03:00", "2027-01-24 03:00"]),
    ("0 3 * * 7", "UTC", ["2027-01-17 03:00"]),
    ("0 3 * * sun", "UTC", ["2027-01-17 03:00"]),
    ("0 3 * * 1", "UTC", ["2027-01-18 03:00"]),
    ("0 3 * * 0-2", "UTC", ["2027-01-17 03:00", "2027-01-18 03:00", "2027-01-19 03:00", "2027-01-24 03:00"]),
    ("0 3 * * 5-7", "UTC", ["2027-01-16 03:00", "2027-01-17 03:00", "2027-01-22 03:00"]),
    ("0 3 * * sat-mon", "UTC", ["2027-01-16 03:00", "2027-01-17 03:00", "2027-01-18 03:00", "2027-01-23 03:00"]),
    ("0 3 * * */3", "UTC", ["2027-01-16 03:00", "2027-01-17 03:00", "2027-01-20 03:00"]),
    ("0 3 * * 1,3", "UTC", ["2027-01-18 03:00", "2027-01-20 03:00"]),
    ("0 0 20 * 1", "UTC", ["2027-01-18 00:00", "2027-01-20 00:00", "2027-01-25 00:00"]),
    ("0 0 29 2 *", "UTC", ["2028-02-29 00:00"]),
    ("@daily", "UTC", ["2027-01-16 00:00"]),
    ("@weekly", "UTC", ["2027-01-17 00:00"]),
    ("@hourly", "UTC", ["2027-01-15 09:00"]),
    ("0 0 * * *", "Asia/Tokyo", ["2027-01-15 15:00"]),
    ("30 2 * 3 *", "Europe/Berlin", ["2027-03-01 01:30", "2027-03-02 01:30"]),
]


@pytest.mark.parametrize(("text", "zone", "expected"), CRON, ids=[f"{row[0]} {row[1]}" for row in CRON])
def test_cron(text: str, zone: str, expected: list[str]) -> None:
    """C14: five fields mean what they mean to crontab: 0 and 7 are Sunday, either of two restricted days will do."""
    cron, moment = Cron(text, zone), START
    for told in expected:
        moment = cron.after(moment)
        assert datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M") == told


def test_times_that_never_come() -> None:
    """C14: a cron expression of no day is over at once."""
    assert Cron("0 0 30 2 *", "UTC").after(START) == math.inf


async def test_a_cron_schedule(own: ToolCache, clock: FakeClock) -> None:
    """C14: a cron expression, in a time zone, says when; one that never comes is over."""
    runs: list[float] = []
    scheduled = own.schedule(counting(runs, clock), cron="30 18 * * *", timezone="Asia/Tokyo")
    assert scheduled.next_at == START + 1.5 * HOUR
    await go_on(clock, 1.5 * HOUR)
    assert runs == [1.5 * HOUR]
    assert scheduled.next_at == START + 25.5 * HOUR
    never = own.schedule(counting(runs, clock), cron="0 0 30 2 *")
    assert never.next_at == math.inf
    await settle()
    assert "over" in repr(never)


FIELDS = [(0, 59), (0, 23), (1, 28), (1, 12), (0, 7)]


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, list[set[int] | None]]:
    """A cron expression, and what each of its fields allows: None for all."""
    texts, allowed = [], list[set[int] | None]()
    for at, (low, high) in enumerate(FIELDS):
        kind = draw(st.sampled_from(["*", "*", "one", "list", "range"]))
        if kind == "*":
            texts.append("*")
            allowed.append(None)
            continue
        first, last = sorted(draw(st.tuples(st.integers(low, high), st.integers(low, high))))
        chosen = {first} if kind == "one" else {first, last} if kind == "list" else set(range(first, last + 1))
        texts.append(f"{first}-{last}" if kind == "range" else ",".join(map(str, sorted(chosen))))
        allowed.append({day % 7 for day in chosen} if at == 4 else chosen)
    return " ".join(texts), allowed


@settings(max_examples=60, deadline=None)
@given(expression=expressions(), start=st.integers(0, 365 * 24 * 60))
def test_cron_is_what_it_says(expression: tuple[str, list[set[int] | None]], start: int) -> None:
    """C14: the next time of any expression is the first minute that fits it, looked for one by one over two days."""
    text, (minutes, hours, days, months, weekdays) = expression
    moment = START + start * 60 + 30
    found = Cron(text, "UTC").after(moment)

    def fits(at: datetime) -> bool:
        day, weekday = days is None or at.day in days, weekdays is None or at.isoweekday() % 7 in weekdays
        either = days is not None and weekdays is not None
        return (
            (minutes is None or at.minute in minutes)
            and (hours is None or at.hour in hours)
            and (months is None or at.month in months)
            and ((day or weekday) if either else (day and weekday))
        )

    first = math.ceil(moment / 60)
    looked = (minute * 60 for minute in range(first, first + 2 * 24 * 60))
    expected = next((at for at in looked if fits(datetime.fromtimestamp(at, UTC))), None)
    assert found == expected if expected is not None else found > (first + 2 * 24 * 60 - 1) * 60


def test_a_schedule_ends_with_its_loop() -> None:
    """BUG-14: what ran in an event loop that is closed does not keep its name from another loop."""
    cache = ToolCache(files=False)

    async def main() -> str:
        return cache.schedule(dict, every="1h", name="job").name

    async def end() -> None:
        await cache.aclose()

    assert asyncio.run(main()) == "job"
    assert asyncio.run(main()) == "job"
    asyncio.run(end())
