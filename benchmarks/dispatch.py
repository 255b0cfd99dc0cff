"""What does it cost that a task runs once?"""

import asyncio
import time
from collections import Counter
from functools import partial
from typing import Final

from redis.asyncio import Redis

from benchmarks.dispatchers import (
    Calls,
    Dispatcher,
    Gathered,
    Idemkit,
    Ours,
    Powertools,
    PowertoolsInThread,
    Sockets,
    Synced,
    Threads,
)
from benchmarks.harness import Goal, Pass, Task, WrongAnswerError, check_equal
from benchmarks.main import main
from benchmarks.subject import Subject
from benchmarks.values import small

_ONE_BY_ONE: Final = 20
_MANY: Final = 1_000
_WIDTH: Final = 100
_AGENT_SECONDS: Final = 0.01
_PATIENCE: Final = 60.0
_END: Final = "all is counted"


async def check(subject: Subject) -> Dispatcher:
    """Raise unless a task that is repeated is answered, and not run again."""
    assert isinstance(subject, Dispatcher)
    if subject.exact:
        (number,) = subject.fresh(1)
        answers = [await subject.once(number), await subject.once(number)]
        check_equal(answers, [small(number)] * 2, "answers to one task")
        if subject.runs != 1:
            raise WrongAnswerError(f"one task ran {subject.runs} times")
    return subject


async def first(subject: Subject) -> Pass:
    """Tasks that were never run, one after another."""
    subject = await check(subject)

    async def once() -> float:
        numbers = subject.fresh(_ONE_BY_ONE)
        begun = time.perf_counter()
        for number in numbers:
            await subject.once(number)
        return (time.perf_counter() - begun) / _ONE_BY_ONE

    await told_of_commands(subject, once, _ONE_BY_ONE)
    return once


async def replay(subject: Subject) -> Pass:
    """Tasks that were run, one after another."""
    subject = await check(subject)
    numbers = subject.fresh(_ONE_BY_ONE)
    for number in numbers:
        await subject.once(number)
    runs = subject.runs

    async def once() -> float:
        begun = time.perf_counter()
        for number in numbers:
            await subject.once(number)
        return (time.perf_counter() - begun) / _ONE_BY_ONE

    await told_of_commands(subject, once, _ONE_BY_ONE)
    if subject.exact and subject.runs != runs:
        raise WrongAnswerError(f"replays ran {subject.runs - runs} tasks")
    return once


async def all_new(subject: Subject, *, seconds: float) -> Pass:
    """A thousand tasks that were never run."""
    subject = await check(subject)

    async def once() -> float:
        numbers = subject.fresh(_MANY)
        begun = time.perf_counter()
        answers = await subject.all(numbers, seconds, _WIDTH)
        took = time.perf_counter() - begun
        check_equal(answers, map(small, numbers), "tasks")
        return took

    await told_of_commands(subject, once, _MANY)
    return once


async def all_again(subject: Subject) -> Pass:
    """A thousand tasks that were run."""
    subject = await check(subject)
    numbers = subject.fresh(_MANY)
    await subject.all(numbers, 0.0, _WIDTH)
    runs = subject.runs

    async def once() -> float:
        begun = time.perf_counter()
        answers = await subject.all(numbers, 0.0, _WIDTH)
        took = time.perf_counter() - begun
        check_equal(answers, map(small, numbers), "tasks")
        if subject.exact and subject.runs != runs:
            raise WrongAnswerError(f"replays ran {subject.runs - runs} tasks")
        return took

    await told_of_commands(subject, once, _MANY)
    return once


# -- What Redis is asked ----------------------------------------------------------------------------------------------


async def told_of_commands(subject: Dispatcher, work: Pass, size: int) -> None:
    """Note what a task costs Redis: commands that it is sent, and its own time."""
    if not subject.database or subject.kind == "floor":
        return
    async with Redis.from_url(subject.database) as client:
        before = await _at_work(client)
        for _ in range(times := max(1, _MANY // size)):
            await work()
        spent = (await _at_work(client) - before) / (size * times)
        sent = await _sent(client, work) / size
    told = f"{sent:.3g} commands a task, {spent * 1e6:.0f} µs of the server's own"
    subject.note = "; ".join(filter(None, [subject.note, told]))


async def _at_work(client: Redis) -> float:
    """Seconds of processor that the server has taken."""
    told = await client.info("cpu")
    return float(told["used_cpu_sys"] + told["used_cpu_user"])


async def _sent(client: Redis, work: Pass) -> int:
    """How many commands the work sends; those that a script gives in turn are not sent."""
    seen: Counter[str] = Counter()
    async with client.monitor() as monitor, asyncio.timeout(_PATIENCE):
        await work()
        await client.echo(_END)
        while _END not in (told := await monitor.next_command())["command"]:
            seen[f"{told['client_type']} {told['client_address']} {told['client_port']}"] += 1
    own = f"{told['client_type']} {told['client_address']} {told['client_port']}"
    return sum(count for who, count in seen.items() if who != own and not who.startswith("lua"))


OURS: Final = (
    Ours,
    partial(Ours, files=False),
    partial(Ours, redis=False),
    partial(Ours, redis=False, files=False),
)
_LIKE: Final = "toolcache, no files"
"""Ours as the peers are: records in Redis alone."""


def beside(peer: str) -> list[Goal]:
    return [Goal(1.0, peer, _LIKE)]


TASKS: Final = (
    Task(
        "first",
        "A first run, of an agent that answers at once: claim, run, commit",
        "µs",
        (
            Sockets,
            Synced,
            Calls,
            *OURS,
            Powertools,
            PowertoolsInThread,
            Idemkit,
        ),
        first,
        beside("Powertools"),
    ),
    Task(
        "replay",
        "A replay",
        "µs",
        (
            partial(Sockets, replay=True),
            *OURS,
            Powertools,
            partial(Powertools, local=True),
            PowertoolsInThread,
            Idemkit,
            partial(Idemkit, local=True),
        ),
        replay,
        beside("Powertools"),
    ),
    Task(
        "thousand",
        f"{_MANY:,} tasks, {_WIDTH} at a time, agents that take 10 ms",
        "ms",
        (
            Gathered,
            partial(Threads, _WIDTH),
            *OURS,
            partial(Powertools, width=_WIDTH),
            Idemkit,
        ),
        partial(all_new, seconds=_AGENT_SECONDS),
        beside(f"Powertools in {_WIDTH} threads"),
        slow=True,
        patience=5.0,
    ),
    Task(
        "thousand-quick",
        f"{_MANY:,} tasks, {_WIDTH} at a time, agents that answer at once",
        "ms",
        (
            Gathered,
            partial(Threads, _WIDTH),
            *OURS,
            partial(Powertools, width=_WIDTH),
            Powertools,
            Idemkit,
        ),
        partial(all_new, seconds=0.0),
        beside(f"Powertools in {_WIDTH} threads"),
        slow=True,
        patience=5.0,
    ),
    Task(
        "again",
        f"{_MANY:,} tasks that were run before, {_WIDTH} at a time",
        "ms",
        (
            *OURS,
            partial(Powertools, width=_WIDTH),
            Powertools,
            Idemkit,
            partial(Idemkit, local=True),
        ),
        all_again,
        beside(f"Powertools in {_WIDTH} threads"),
        slow=True,
        patience=5.0,
    ),
)

if __name__ == "__main__":
    main(__doc__, TASKS, server=True)
