"""The calls that each cache gets, in a process of its own: ``python -m benchmarks.outages.workload JOB``.

Keys are shared out to tasks, so that each has one writer. A task makes a call in each slot of its time; what it does in
a slot is the same for all caches. Who waits long for an answer misses slots.
"""

import asyncio
import json
import logging
import os
import random
import sys
import time
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.outages.oracle import Known, number_of, value_of
from benchmarks.outages.subjects import SUBJECTS, Subject

TASKS: Final = 20
SLOT: Final = 0.2
WRITTEN: Final = [f"written:{number}" for number in range(200)]
COMPUTED: Final = [f"computed:{number}" for number in range(100)]
CANARY: Final = "canary"
_CANARY_EVERY: Final = 0.1
_CLOSE_SECONDS: Final = 10.0
_TICK: Final = 0.01


@dataclass(slots=True)
class Call:
    """One call: ``at`` is an instant of the monotonic clock, ``failure`` empty where there is an answer."""

    kind: str
    at: float
    took: float
    failure: str = ""
    wrong: bool = False
    hit: bool | None = None


@dataclass
class Workload:
    """Calls a cache from many tasks, and remembers what it answered.

    Args:
        subject: the cache, open.
        seed: decides what is called when.
        limit: seconds after which nobody waits any more.

    Attributes:
        late: seconds by which the event loop was late at most.
    """

    subject: Subject
    seed: str
    limit: float
    calls: list[Call] = field(default_factory=list)
    computations: int = 0
    late: float = 0.0
    keys: dict[str, Known] = field(default_factory=lambda: {key: Known() for key in (*WRITTEN, *COMPUTED)})

    async def run(self, seconds: float) -> None:
        """Call for a time; calls under way at its end are waited for."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(TASKS):
                group.create_task(self._task(number, begun, begun + seconds))
            group.create_task(self._canaries(begun + seconds))
            group.create_task(self._watch(begun + seconds))

    async def _task(self, number: int, begun: float, until: float) -> None:
        written, computed = WRITTEN[number::TASKS], COMPUTED[number::TASKS]
        if self.subject.sets:
            for key in written:
                await self.set(key)
        offset = number / TASKS * SLOT
        while (now := time.monotonic()) < until:
            slot = int((now - begun - offset) / SLOT) + 1
            await asyncio.sleep(begun + slot * SLOT + offset - now)
            chance = random.Random(f"{self.seed}/{number}/{slot}")
            dice = chance.random()
            if dice < 0.7 and not self.subject.sets:
                pass
            elif dice < 0.4:
                await self.get(chance.choice(written))
            elif dice < 0.6:
                await self.set(chance.choice(written))
            elif dice < 0.7:
                await self.delete(chance.choice(written))
            elif dice < 0.95:
                await self.get_or_compute(chance.choice(computed))
            else:
                await self.delete(chance.choice(computed))

    async def _canaries(self, until: float) -> None:
        """Keys that are new each, by which the server shows that it is told of writes again."""
        while (now := time.monotonic()) < until:
            key = f"{CANARY}:{int(now * 1000)}"
            value = value_of(key, 1)
            if self.subject.sets:
                await self._answer("canary", self.subject.set(key, value))
            else:
                await self._answer("canary", self.subject.get_or_compute(key, partial(asyncio.sleep, 0, value)))
            await asyncio.sleep(_CANARY_EVERY)

    async def _watch(self, until: float) -> None:
        while (now := time.monotonic()) < until:
            await asyncio.sleep(_TICK)
            self.late = max(self.late, time.monotonic() - now - _TICK)

    async def get(self, key: str) -> None:
        """Read a key."""
        known = self.keys[key]
        call, value = await self._answer("get", self.subject.get(key))
        if not call.failure:
            call.wrong = known.wrong(number_of(key, value))
        if known.expected:
            call.hit = value is not None

    async def set(self, key: str) -> None:
        """Write a key."""
        known = self.keys[key]
        number = known.begin()
        call, stored = await self._answer("set", self.subject.set(key, value_of(key, number)))
        if not call.failure and not stored:
            call.failure = "refused"
        if call.failure:
            known.doubt(number)
        else:
            known.acknowledge(number)

    async def delete(self, key: str) -> None:
        """Delete a key."""
        known = self.keys[key]
        number = known.begin()
        call, gone = await self._answer("delete", self.subject.delete(key))
        if not call.failure and not gone:
            call.failure = "refused"
        if call.failure:
            known.doubt(number, deleted=True)
        else:
            known.acknowledge(number, deleted=True)

    async def get_or_compute(self, key: str) -> None:
        """Read a key, or compute it in no time."""
        known = self.keys[key]

        async def compute() -> Any:
            self.computations += 1
            number = known.begin()
            known.doubt(number)
            return value_of(key, number)

        call, value = await self._answer("compute", self.subject.get_or_compute(key, compute))
        if not call.failure:
            call.wrong = value is None or known.wrong(number_of(key, value))

    async def _answer(self, kind: str, asked: Awaitable[Any]) -> tuple[Call, Any]:
        call = Call(kind, time.monotonic(), 0.0)
        self.calls.append(call)
        task = asyncio.ensure_future(asked)
        await asyncio.wait([task], timeout=self.limit)
        call.took = time.monotonic() - call.at
        if not task.done():
            task.cancel()
            call.failure = "no answer"
        elif task.cancelled():
            call.failure = "CancelledError"
        elif (error := task.exception()) is not None:
            call.failure = type(error).__name__
        else:
            return call, task.result()
        return call, None


async def work(job: dict[str, Any]) -> dict[str, Any]:
    """Open a cache, say so, wait for the word to begin, and call."""
    subject = SUBJECTS[job["subject"]]()
    await subject.open(job["url"], Path(job["folder"]))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    workload = Workload(subject, job["seed"], job["limit"])
    await workload.run(job["seconds"])
    await asyncio.wait([asyncio.ensure_future(subject.close())], timeout=_CLOSE_SECONDS)
    return {
        "calls": [asdict(call) for call in workload.calls],
        "computations": workload.computations,
        "late": workload.late,
        "keys": {key: asdict(known) for key, known in workload.keys.items()},
    }


async def look(job: dict[str, Any]) -> dict[str, int | None]:
    """What each key has for a process that has just begun."""
    subject = SUBJECTS[job["subject"]]()
    await subject.open(job["url"], Path(job["folder"]))
    keys = (*WRITTEN, *COMPUTED) if subject.sets else COMPUTED
    found = {key: number_of(key, await subject.get(key)) for key in keys}
    await subject.close()
    return found


def main(job: dict[str, Any]) -> None:
    """Do a job, and leave what it gave in a file."""
    logging.disable()  # what is told there is nobody's concern here, and takes time
    told = asyncio.Runner().run({"work": work, "look": look}[job["verb"]](job))
    Path(job["into"]).write_text(json.dumps(told), "utf-8")
    sys.stdout.flush()
    os._exit(0)  # whatever a cache left behind keeps nobody here


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
