"""Measuring side by side: in each round every subject does the same work once, in an order of its own.

A machine that others use is slow and quick by turns, and noise only ever adds. So rounds are many and short, ratios are
taken within a round and their median is told, and a time is judged by the least that was seen.
"""

import asyncio
import contextlib
import gc
import random
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any, Final, Self, TypeAlias

from benchmarks.place import Place
from benchmarks.progress import Tell, silent
from benchmarks.subject import Kind, Subject, Verb

OURS: Final = "toolcache"

Pass: TypeAlias = Callable[[], Awaitable[float]]
"""The work once: seconds an operation took, or whatever else is measured, such as bytes."""


class WrongAnswerError(Exception):
    """A subject does not do what is measured, so that its speed is nobody's concern."""


@dataclass(frozen=True)
class Goal:
    """What ``who`` must not exceed: ``at_most`` times the figure of ``of``, or ``at_most`` itself, in seconds or bytes.

    Of the figures themselves the ``share`` counts that must not exceed it: the least is enough for 0.
    """

    at_most: float
    of: str | None = None
    who: str = OURS
    share: float = 0.0


@dataclass(frozen=True)
class Task:
    """One kind of work, and who does it.

    Args:
        name: a word for the command line.
        title: a line for people.
        unit: ``"ns"``, ``"µs"``, ``"ms"``, ``"s"`` or ``"bytes"``.
        subjects: makes each subject; floors first.
        prepare: fills an opened subject and checks that it answers rightly; what it returns is the work, or all figures
            of what can be done only once.
        goals: what was aimed at.
        slow: the work once is long enough; it is not repeated within a round.
        patience: how many times the usual time its rounds may take, where the work once is long.
    """

    name: str
    title: str
    unit: str
    subjects: Sequence[Callable[[], Subject]]
    prepare: Callable[[Subject], Awaitable[Pass | list[float]]]
    goals: Sequence[Goal] = ()
    slow: bool = False
    patience: float = 1.0


@dataclass
class Row:
    """What one subject did: a figure for each round, or why there is none."""

    name: str
    kind: Kind
    figures: list[float] = field(default_factory=list)
    note: str = ""
    failure: str = ""


@dataclass
class Result:
    """What a task gave."""

    name: str
    title: str
    unit: str
    rows: list[Row]
    goals: list[Goal]
    absent: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, told: dict[str, Any]) -> Self:
        """A result out of the JSON of a run."""
        rows, goals = [Row(**row) for row in told["rows"]], [Goal(**goal) for goal in told["goals"]]
        return cls(**{**told, "rows": rows, "goals": goals})

    def row(self, name: str) -> Row | None:
        """The row of a subject that has figures."""
        return next((row for row in self.rows if row.name == name and row.figures), None)


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, seconds that a subject takes in each, seconds after which no round is begun."""

    rounds: int
    seconds: float
    budget: float


FULL: Final = Effort(rounds=25, seconds=0.015, budget=8.0)
QUICK: Final = Effort(rounds=5, seconds=0.003, budget=0.8)
_PREPARED: Final = 0.3
"""About which share of a task is done when its rounds begin."""


async def measure(task: Task, place: Place, effort: Effort, tell: Tell = silent) -> Result:
    """Do the work of a task, with whoever is installed."""
    result = Result(task.name, task.title, task.unit, [], list(task.goals))
    async with AsyncExitStack() as stack:
        passes: list[tuple[Row, Pass, int]] = []
        for number, make in enumerate(task.subjects):
            subject = make()
            subject.quick = place.quick
            tell(f"{task.name}: {subject.name}", _PREPARED * number / len(task.subjects))
            if lacking := subject.missing():
                result.absent.append(f"{subject.name}: {', '.join(lacking)} is not installed")
                continue
            if subject.long and place.quick:
                result.absent.append(f"{subject.name}: it takes too long for a quick run")
                continue
            row = Row(subject.name, subject.kind)
            result.rows.append(row)
            try:
                await subject.open(place)
                stack.push_async_callback(_close, subject)
                work = await task.prepare(subject)
                if isinstance(work, list):
                    row.figures = [_rounded(figure) for figure in work]
                else:
                    passes.append((row, work, 1 if task.slow else await _repeats(work, effort.seconds)))
            except Exception as error:  # noqa: BLE001 - a run of many minutes goes on
                _fail(row, error)
            row.note = subject.note
        tell(task.name, _PREPARED)
        await _rounds(passes, effort, effort.budget * task.patience, partial(tell, task.name))
    return result


def _fail(row: Row, error: Exception) -> None:
    """The row says what went wrong, and nothing else."""
    wrong = isinstance(error, WrongAnswerError)
    row.figures, row.failure = [], str(error) if wrong else f"{type(error).__name__}: {error}"
    if not wrong and row.kind != "peer":
        traceback.print_exception(error)


async def _close(subject: Subject) -> None:
    """Close; that a peer cannot is nobody's concern any more."""
    with contextlib.suppress(*((Exception,) if subject.kind == "peer" else ())):
        await subject.close()


async def _repeats(work: Pass, seconds: float) -> int:
    """How often the work fits into a time."""
    await work()
    begun = time.perf_counter()
    await work()
    return max(1, int(seconds / (time.perf_counter() - begun)))


async def _rounds(
    passes: list[tuple[Row, Pass, int]], effort: Effort, budget: float, tell: Callable[[float], None]
) -> None:
    gc.collect()
    gc.freeze()  # what is there already is nobody's garbage
    begun = time.monotonic()
    for done in range(effort.rounds):
        share = max(done / effort.rounds, (time.monotonic() - begun) / budget)
        if done and share > 1:
            break
        tell(_PREPARED + (1 - _PREPARED) * min(share, 1.0))
        for row, work, repeats in random.sample(passes, len(passes)):
            try:
                row.figures.append(_rounded(sum([await work() for _ in range(repeats)]) / repeats))
            except Exception as error:  # noqa: BLE001 - whatever it is, its row says so
                _fail(row, error)
                passes.remove((row, work, repeats))
    gc.unfreeze()


def _rounded(figure: float) -> float:
    return float(f"{figure:.4g}")  # more digits would be noise


def one_by_one(call: Verb, arguments: Sequence[tuple[Any, ...]], *, plain: bool = False) -> Pass:
    """Await a call for each of the arguments, one after another; or only call, where it is ``plain``."""
    if plain:
        return _calls(call, arguments)
    if all(len(given) == 1 for given in arguments):
        singles = [given[0] for given in arguments]

        async def once() -> float:
            begun = time.perf_counter()
            for given in singles:
                await call(given)
            return (time.perf_counter() - begun) / len(singles)

        return once

    async def many() -> float:
        begun = time.perf_counter()
        for given in arguments:
            await call(*given)
        return (time.perf_counter() - begun) / len(arguments)

    return many


def _calls(call: Verb, arguments: Sequence[tuple[Any, ...]]) -> Pass:
    """``one_by_one`` without an event loop."""
    singles = [given[0] for given in arguments] if all(len(given) == 1 for given in arguments) else []

    async def once() -> float:
        begun = time.perf_counter()
        if singles:
            for single in singles:
                call(single)
        else:
            for given in arguments:
                call(*given)
        return (time.perf_counter() - begun) / len(arguments)

    return once


def at_once(call: Verb, arguments: Sequence[tuple[Any, ...]]) -> Pass:
    """Await a call for all of the arguments together, a task for each."""

    async def once() -> float:
        begun = time.perf_counter()
        await asyncio.gather(*[call(*given) for given in arguments])
        return (time.perf_counter() - begun) / len(arguments)

    return once


def by_tasks(call: Verb, arguments: Sequence[tuple[Any, ...]], tasks: int) -> Pass:
    """Share the arguments out to some tasks, each of which goes one by one."""
    portions = [arguments[start::tasks] for start in range(tasks)]

    async def worker(portion: Sequence[tuple[Any, ...]]) -> None:
        for given in portion:
            await call(*given)

    async def once() -> float:
        begun = time.perf_counter()
        await asyncio.gather(*map(worker, portions))
        return (time.perf_counter() - begun) / len(arguments)

    return once


def in_one_call(call: Verb, argument: Any, size: int, *, plain: bool = False) -> Pass:
    """One call for a whole batch; seconds for each of its members."""

    async def once() -> float:
        begun = time.perf_counter()
        if plain:
            call(argument)
        else:
            await call(argument)
        return (time.perf_counter() - begun) / size

    return once


async def check_together(call: Verb, arguments: Sequence[tuple[Any, ...]], what: str) -> list[Any]:
    """The answers to calls made together; raises for failures, counted by kind."""
    answers = await asyncio.gather(*[call(*given) for given in arguments], return_exceptions=True)
    failures = Counter(type(answer).__name__ for answer in answers if isinstance(answer, BaseException))
    if failures:
        kinds = ", ".join(failures)
        raise WrongAnswerError(f"{failures.total():,} of {len(answers):,} {what} fail with {kinds}")
    return answers


def check_equal(found: Iterable[Any], expected: Iterable[Any], what: str) -> None:
    """Raise unless all answers are what they should be."""
    wrong = sum(not _same(mine, right) for mine, right in zip(found, expected, strict=True))
    if wrong:
        raise WrongAnswerError(f"{wrong:,} {what} answer wrongly")


def _same(found: Any, expected: Any) -> bool:
    if type(expected).__module__ == "numpy":
        return bool((found == expected).all())
    return bool(found == expected)


def at_share(figures: Sequence[float], share: float) -> float:
    """The least figure that this share of them does not exceed."""
    return sorted(figures)[min(int(share * len(figures)), len(figures) - 1)]


def ratio(row: Row, to: Row) -> float:
    """How many times as much as another row: the median over the rounds, each with itself."""
    return median(mine / other for mine, other in zip(row.figures, to.figures, strict=False) if other)
