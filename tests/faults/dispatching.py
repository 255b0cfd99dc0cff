"""Requests that several processes ask for at once run once, and have one answer, whatever befalls Redis and those who run them."""

import asyncio
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any, Final

from faults.accounts import Accounts, Call, Reader, Run, runs_of
from faults.crew import Crew, Hand
from faults.judging import Judge, MayRaise
from faults.scenarios import scenario
from faults.stage import HEALED, Stage
from faults.worker import Step

_READY: Final = 1.0
"""Seconds until workers that were just hired are at their work."""
_LOOK: Final = 0.005
_PATIENCE: Final = 30.0
_LIMIT: Final = 3
_LEASE: Final = 2.0
_OVER: Final = "TakeoverLimitError"


def _names(stage: Stage, what: str, count: int) -> list[str]:
    """Some are tasks, some are keys."""
    return [f"{stage.chance.choice(('task', 'key'))}-{what}-{number:03}" for number in range(count)]


def _crew(stage: Stage, name: str, lease: float, **options: Any) -> Crew:
    return Crew(stage.server.url, stage.directory / "crews" / name, lease=lease, **options)


def _judge(stage: Stage, crew: Crew, what: str, *, apart: bool = False, may_raise: MayRaise | None = None) -> Accounts:
    """Have the oracle told of all that does not hold, once all have ended."""
    accounts = crew.settle()
    found = Judge(accounts).judge(apart=apart, **({} if may_raise is None else {"may_raise": may_raise}))
    for wrong in [*crew.complaints, *found]:
        stage.oracle.violated(f"{what}: {wrong}")
    counts = accounts.counts()
    shown = ("requests", "calls", "executions", "replays", "deaths", "pauses")
    stage.facts[what] = ", ".join(f"{counts[name]} {name}" for name in shown)
    return accounts


def _await_run(crew: Crew, request: str) -> Run | None:
    """Wait until somebody is seen to run a request; None if nobody is."""
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if runs := runs_of(crew.notes, request):
            return runs[0]
        time.sleep(_LOOK)
    return None


def _await_answers(crew: Crew, request: str, number: int = 1) -> None:
    """Wait until so many who asked for a request have been told; not for ever."""
    until, accounts = time.monotonic() + _PATIENCE, Accounts(crew.accounts.lease)
    while time.monotonic() < until:
        accounts.read(crew.notes)
        if sum(call.request == request and call.told_at != inf for call in accounts.calls) >= number:
            return
        time.sleep(_LOOK)


def _later(crew: Crew, requests: list[str], host: str = "here") -> None:
    """One who comes late, asks for all, and has nothing to run."""
    late = crew.hire(host)
    late.tell(Step(tuple(requests)))
    crew.end([late])


@scenario("F-18")
async def race(stage: Stage) -> None:
    """Two processes ask for each request at the same time; Redis is up, down, killed, restarted empty, or hangs."""
    stage.open()
    names: dict[str, list[str]] = {}
    with _crew(stage, "race", lease=_LEASE) as crew:
        hands, reader = [crew.hire() for _ in range(2)], Reader(crew.notes)
        for trouble in ("up", "down", "killed", "emptied", *(() if stage.quick else ("frozen",))):
            names[trouble] = _names(stage, trouble, stage.times(25))
            await _race(stage, trouble, names[trouble], hands, reader)
            if not stage.server.running:
                await stage.do(stage.server.start)
        await _tell_redis(stage, crew.files("here"))
        await stage.do(_later, crew, names["down"], "elsewhere")
        await stage.do(_later, crew, [name for some in names.values() for name in some])
        await stage.do(crew.end)
        _judge(stage, crew, "two processes")


async def _race(stage: Stage, trouble: str, names: list[str], hands: list[Hand], reader: Reader) -> None:
    if trouble == "down":
        await stage.kill()
    expected = reader.look() + len(names) * len(hands)
    instants = [time.monotonic() + _READY + number * 0.05 for number in range(len(names))]
    for name, at in zip(names, instants, strict=True):
        for hand in hands:
            hand.tell(Step((name,), stage.chance.uniform(0.02, 0.3), at=at))
    await asyncio.sleep(max(0.0, stage.chance.uniform(instants[0], instants[-1] + 0.2) - time.monotonic()))
    if trouble in {"killed", "emptied"}:
        await stage.kill()
    if trouble == "emptied":
        await stage.do(stage.server.start)
    if trouble == "frozen":  # for longer than a lease, and not for so long that it is given up
        with stage.server.frozen():
            await asyncio.sleep(1.5 * _LEASE)
    until = time.monotonic() + _PATIENCE
    while reader.look() < expected and time.monotonic() < until:  # noqa: ASYNC110 - others tell in files
        await asyncio.sleep(0.02)


async def _tell_redis(stage: Stage, files: Path) -> None:
    """Have Redis told what the workers of a host could not tell it."""
    cache = stage.another(directory=files, recovery_time=("0.2s", "1s"))
    until = time.monotonic() + HEALED
    await cache.get("anything")
    journal = cache._machine.journal
    # One that has come back empty is owed nothing, and is to be told anew of all that must outlive it.
    while journal.pending or journal._is_another():
        if time.monotonic() > until:
            stage.oracle.violated(f"I11: Redis is owed {journal.pending} answers after {HEALED} s, or not told anew")
            return
        await asyncio.sleep(0.01)


@scenario("F-19")
async def two_hosts(stage: Stage) -> None:
    """Two hosts ask for each request at the same time; for some of them Redis is restarted empty in their run."""
    stage.open()
    await stage.do(_two_hosts, stage)
    await stage.do(_forgetful, stage)


def _two_hosts(stage: Stage) -> None:
    names = _names(stage, "steady", stage.times(50))
    with _crew(stage, "steady", lease=2.0) as crew:
        hands = [crew.hire(host) for host in ("here", "there")]
        begin = time.monotonic() + _READY
        for number, name in enumerate(names):
            for hand in hands:
                hand.tell(Step((name,), stage.chance.uniform(0.02, 0.3), at=begin + number * 0.05))
        crew.end()
        _later(crew, names, "elsewhere")
        _judge(stage, crew, "Redis stays")


def _forgetful(stage: Stage) -> None:
    """Each host runs a request once at most, and stays with its answer; that both did does not go unnoticed."""
    names = _names(stage, "forgotten", stage.times(10))
    with _crew(stage, "forgotten", lease=1.5) as crew:
        hands = [crew.hire(host) for host in ("here", "there")]
        for name in names:
            hands[0].tell(Step((name,), 1.0))
        for name in names:
            _await_run(crew, name)
        time.sleep(stage.chance.uniform(0.0, 0.4))
        stage.server.restart()
        for name in names:
            hands[1].tell(Step((name,), 0.3))
        for name in names:
            _await_answers(crew, name, 2)
        for hand in hands:  # nobody changes an answer
            hand.tell(Step(tuple(names)))
        crew.end()
        accounts = _judge(stage, crew, "Redis forgets", apart=True)
        twice = len(accounts.runs) - len(names)
        noticed = accounts.events["LeaseLost"] + accounts.events["DuplicateExecution"]
        if noticed < twice:
            stage.oracle.violated(f"Redis forgets: {twice} ran twice, and {noticed} events tell of it")


@scenario("F-20")
async def holder_dies(stage: Stage) -> None:
    """Whoever runs a request is killed, and another runs it at once; what kills everybody is given up."""
    stage.open()
    for trouble, other in (("up", "down"), ("down", "up"))[: 1 if stage.quick else 2]:
        await stage.do(_deaths, stage, trouble)
        await stage.do(_poison, stage, other)


def _with_redis(stage: Stage, trouble: str) -> Callable[[], None]:
    """Have Redis up or down from now on; call what is returned when that is over."""
    if trouble == "up":
        return lambda: None
    stage.server.stop()
    return stage.server.start


def _deaths(stage: Stage, trouble: str) -> None:
    over = _with_redis(stage, trouble)
    names, lasts = _names(stage, f"death-{trouble}", 3 if stage.quick else 15), 0.4
    with _crew(stage, f"deaths-{trouble}", lease=20.0) as crew:
        hands = [crew.hire() for _ in range(3)]
        for name in names:
            two = stage.chance.sample(hands, 2)
            for hand in two:
                hand.tell(Step((name,), lasts))
            run = _await_run(crew, name)
            if run is None:
                stage.oracle.violated(f"G4: Redis {trouble}: {name}: nobody runs it")
                continue
            time.sleep(stage.chance.uniform(0.0, lasts * 1.2))
            victim = next(hand for hand in hands if hand.name == run.worker)
            hands[hands.index(victim)] = crew.hire()
            victim.kill()
            _await_answers(crew, name)
        crew.end()
        _later(crew, names)
        accounts = _judge(stage, crew, f"killed in a run, Redis {trouble}")
        _judge_takeovers(stage, accounts, f"killed in a run, Redis {trouble}", lasts)
    over()


def _judge_takeovers(stage: Stage, accounts: Accounts, what: str, lasts: float) -> None:
    """Whoever is dead is not waited for like one who stands still."""
    for call in accounts.calls:
        runs = [run for run in accounts.runs if run.request == call.request]
        if len(runs) > 2:  # whoever took over was let live
            stage.oracle.violated(f"G4: {what}: {call.request} ran {len(runs)} times")
        died_at = max((accounts.deaths.get(run.worker, -inf) for run in runs), default=-inf)
        if call.told_at != inf and call.told_at > max(died_at, call.asked_at) + lasts + accounts.lease / 2:
            stage.oracle.violated(
                f"I2: {what}: {call.request} was answered {call.told_at - died_at:.1f} s after a death"
            )


def _poison(stage: Stage, trouble: str) -> None:
    """Everybody who runs it dies: so many do, then no more."""
    over = _with_redis(stage, trouble)
    with _crew(stage, f"poison-{trouble}", lease=20.0, max_attempts=_LIMIT) as crew:
        names = _names(stage, f"poison-{trouble}", 1 if stage.quick else 4)
        for _ in range(_LIMIT):
            hands = {name: crew.hire() for name in names}
            for name, hand in hands.items():
                hand.died()
                hand.tell(Step((name,), 0.02, end="die"))
            for hand in hands.values():
                hand.end(_PATIENCE)
        for _ in range(2):
            last = crew.hire()
            last.tell(Step(tuple(names), end="die"))
            crew.end([last])
        accounts = _judge(stage, crew, f"poison, Redis {trouble}", may_raise=lambda call: call.error == _OVER)
        refused = [call.request for call in accounts.calls if call.error == _OVER]
        for name in names:
            ran = sum(run.request == name for run in accounts.runs)
            if (ran, refused.count(name)) != (_LIMIT, 2):
                stage.oracle.violated(f"poison, Redis {trouble}: {name} ran {ran} times, refused {refused.count(name)}")
    over()


@scenario("F-21")
async def holder_pauses(stage: Stage) -> None:
    """Whoever runs requests stands still for three leases, and another runs them; then it returns, or raises."""
    stage.open()
    for turn in range(1 if stage.quick else 8):
        await stage.do(_pause, stage, ("up", "down")[turn % 2], turn)


def _pause(stage: Stage, trouble: str, turn: int) -> None:
    over = _with_redis(stage, trouble)
    what = f"stopped in a run, Redis {trouble}, turn {turn}"
    with _crew(stage, f"pause-{trouble}-{turn}", lease=1.0) as crew:
        returning, raising = (_names(stage, f"{end}-{trouble}-{turn}", 5) for end in ("return", "raise"))
        names = returning + raising
        sleeper, other = crew.hire(), crew.hire()
        sleeper.tell(Step(tuple(returning), 1.5), Step(tuple(raising), 1.5, end="raise"))
        if None in [_await_run(crew, name) for name in names]:
            stage.oracle.violated(f"G4: {what}: not all are run")
        sleeper.stop()
        other.tell(Step(tuple(names), 0.1))
        time.sleep(3 * crew.accounts.lease)
        sleeper.go_on()
        crew.end()
        _later(crew, names)
        accounts = _judge(stage, crew, what, may_raise=lambda call: _raised_late(call, sleeper, raising))
        since = min((pause.since for pause in accounts.pauses if pause.worker == sleeper.name), default=inf)
        if any(run.worker == sleeper.name and run.ended_at < since for run in accounts.runs):
            stage.facts[what] += "; the machine was too slow to stop it in its runs"
        else:
            _judge_stopped(stage, accounts, what, names, returning)
    over()


def _judge_stopped(stage: Stage, accounts: Accounts, what: str, names: list[str], returning: list[str]) -> None:
    """Another ran each of them, and whoever returned late is told of."""
    if len(accounts.runs) != 2 * len(names):
        stage.oracle.violated(f"{what}: {len(names)} requests ran {len(accounts.runs)} times")
    for event, least in (("TakenOver", len(names)), ("DuplicateExecution", len(returning))):
        if accounts.events[event] < least:
            stage.oracle.violated(f"{what}: {accounts.events[event]} x {event}, {least} at least")


def _raised_late(call: Call, sleeper: Hand, raising: list[str]) -> bool:
    """Whoever stood still is told what its own run came to."""
    return call.worker == sleeper.name and call.request in raising and call.error == "AgentError"
