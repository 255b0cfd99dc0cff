"""What one more costs: sweeps over keys, sizes, listeners, processes, followers and tags."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.place import Place
from benchmarks.scale.fleet import Fleet, Server, Worker

_MEMORY: Final = "4GB"
_PATIENT: Final = 30.0
"""Seconds that an operation may take: what is measured is the work, on however busy a machine."""


@dataclass(frozen=True)
class Effort:
    """How far each sweep goes."""

    keys: Sequence[int]
    sizes: Sequence[int]
    processes: Sequence[int]
    tags: Sequence[int]
    members: Sequence[int]
    count: int
    rounds: int
    settle: float


FULL: Final = Effort(
    keys=(1_000, 10_000, 100_000, 1_000_000),
    sizes=(100, 1_000, 10_000, 100_000, 1_000_000),
    processes=(1, 2, 4, 8),
    tags=(0, 1, 2, 4, 8, 16),
    members=(10, 1_000, 100_000, 1_000_000),
    count=1_500,
    rounds=4,
    settle=0.5,
)
QUICK: Final = Effort(
    keys=(100, 1_000),
    sizes=(100, 10_000),
    processes=(1, 2),
    tags=(0, 2),
    members=(10, 100),
    count=60,
    rounds=1,
    settle=0.1,
)


@dataclass
class Sweep:
    """A table: what is varied, in the first column, and what that costs, in the others.

    ``columns`` are the headings with their units, ``bases`` which of them a curve is drawn of.
    """

    name: str
    title: str
    varied: str
    columns: list[str]
    rows: list[list[float]] = field(default_factory=list)
    curves: list[str] = field(default_factory=list)

    def add(self, at: float, *figures: float) -> None:
        """A row."""
        self.rows.append([at, *(float(f"{figure:.4g}") for figure in figures)])

    def column(self, name: str) -> list[float]:
        """The figures of a column."""
        place = 1 + self.columns.index(name)
        return [row[place] for row in self.rows]


class Bench:
    """The sweeps, over one server.

    Args:
        place: where the server is.
        effort: how far they go.
    """

    def __init__(self, place: Place, effort: Effort) -> None:
        self._place = place
        self._effort = effort
        self._server = Server(place)

    def close(self) -> None:
        """Leave the server."""
        self._server.close()

    def keys_in_memory(self) -> Sweep:
        """One process, without any store."""
        sweep = Sweep(
            "memory", "Keys in the memory of one process", "keys",
            ["set, µs", "get, µs", "bytes per entry"], curves=["set, µs", "get, µs"],
        )  # fmt: skip
        for keys in self._effort.keys:
            with Fleet([{"files": False, "max_memory": _MEMORY}]) as fleet:
                (worker,) = fleet.workers
                worker.do("fill", count=1_000, first=10**9)  # what the first entries bring with them is not theirs
                filled = worker.do("fill", count=keys)
                got = _least(
                    [worker.do("read", count=self._effort.count * 10, keys=keys) for _ in range(self._effort.rounds)]
                )
                sweep.add(keys, filled["cpu"] * 1e6, got["cpu"] * 1e6, filled["resident"])
        return sweep

    def keys_in_redis(self) -> Sweep:
        """One process whose memory holds a single entry."""
        sweep = Sweep(
            "redis", "Keys in one Redis, read by a process that remembers none", "keys",
            ["get, µs", "get, µs of the server", "bytes sent", "bytes per key", "invalidate, ms"],
            curves=["get, µs", "get, µs of the server"],
        )  # fmt: skip
        for keys in self._effort.keys:
            with self._alone(max_entries=1) as worker:
                before = self._server.gauge()["memory"]
                worker.do("fill", count=keys, tags=["all"])
                weight = (self._server.gauge()["memory"] - before) / keys
                got, server = self._charged(worker, "read", count=self._effort.count, keys=keys)
                ended = worker.do("invalidate", tags=["all"])
                if got["found"] < 1 or ended["left"]:
                    raise RuntimeError("a key was missed, or found after it was invalidated")
                sweep.add(keys, got["cpu"] * 1e6, server["cpu"] * 1e6, server["sent"], weight, ended["wall"] * 1e3)
        return sweep

    def sizes(self) -> Sweep:
        """Values of so many bytes, through Redis."""
        sweep = Sweep(
            "sizes", "Values of so many bytes, through Redis", "bytes",
            ["set, µs", "set, µs of the server", "get, µs", "get, µs of the server", "bytes sent beside the value"],
            curves=["set, µs", "get, µs", "set, µs of the server", "get, µs of the server"],
        )  # fmt: skip
        for size in self._effort.sizes:
            count = max(20, min(self._effort.count, 20_000_000 // size))
            keys = min(count, 100)
            with self._alone(max_entries=1) as worker:
                put, taken = self._charged(worker, "write", count=count, keys=keys, size=size)
                got, given = self._charged(worker, "read", count=count, keys=keys)
                sweep.add(
                    size,
                    *(put["cpu"] * 1e6, taken["cpu"] * 1e6, got["cpu"] * 1e6, given["cpu"] * 1e6),
                    taken["received"] - size,
                )
        return sweep

    def listeners(self) -> Sweep:
        """One process writes; all of them are told by the server."""
        sweep = Sweep(
            "listeners", "Processes that are told of each write", "processes",
            ["write, µs of the server", "of 100 at once, µs of the server", "bytes sent", "told, µs of each other",
             "told of 100 at once, µs of each other", "KB of the server for each"],
            curves=["write, µs of the server", "of 100 at once, µs of the server", "told, µs of each other"],
        )  # fmt: skip
        count = self._effort.count
        for processes in self._effort.processes:
            url = self._server.database()
            before = self._server.gauge()
            with self._place.spread(), Fleet([self._remote(url)] * processes) as fleet:
                there = self._server.gauge()
                fleet.workers[0].do("write", count=50, keys=50)
                single, many = (self._told(fleet, count, at_once=at_once) for at_once in (1, 100))
                sweep.add(
                    processes,
                    *(single["cpu"] * 1e6, many["cpu"] * 1e6, single["sent"], single["told"] * 1e6, many["told"] * 1e6),
                    (there["memory"] - before["memory"]) / processes / 1024,
                )
        return sweep

    def _told(self, fleet: Fleet, count: int, *, at_once: int) -> dict[str, float]:
        """What the server spends on a write that one process makes, and, as ``told``, each of the others."""
        first, *others = fleet.workers
        rounds = []
        for _ in range(self._effort.rounds):
            before = sum(worker.do("clock")["cpu"] for worker in others)
            gauge = self._server.gauge()
            first.do("write", count=count, keys=count, at_once=at_once)
            after = self._server.gauge()
            time.sleep(self._effort.settle)  # they go on listening
            spent = sum(worker.do("clock")["cpu"] for worker in others) - before
            rounds.append({name: (after[name] - gauge[name]) / count for name in after})
            rounds[-1]["told"] = spent / count / max(1, len(others))
        return _least(rounds)

    def processes(self) -> Sweep:
        """All of them work on the same keys."""
        sweep = Sweep(
            "processes", "Processes that read and compute the same keys by Zipf's law, and write one time in twenty",
            "processes", ["call, µs", "call, µs of the server", "hits of memory, %", "calls per second, all", "connections"],
            curves=["call, µs", "call, µs of the server"],
        )  # fmt: skip
        count, keys = self._effort.count * 8, self._effort.count * 4
        for processes in self._effort.processes:
            url = self._server.database()
            there = self._server.gauge()["connections"]
            with self._place.spread(), Fleet([self._remote(url)] * processes) as fleet:
                before = self._server.gauge()
                done = fleet.all("work", count=count, keys=keys, writes=0.05)
                after = self._server.gauge()
                calls = count * processes
                sweep.add(
                    processes,
                    sum(one["cpu"] for one in done) / processes * 1e6,
                    (after["cpu"] - before["cpu"]) / calls * 1e6,
                    sum(one["hits"] for one in done) / processes * 100,
                    sum(1 / one["wall"] for one in done),
                    after["connections"] - there,
                )
        return sweep

    def followers(self) -> Sweep:
        """Processes of one host without Redis: one writes to files, the others follow."""
        sweep = Sweep(
            "followers", "Processes of one host that share files, without Redis", "processes",
            ["write, µs", "follow, µs of each other"], curves=["write, µs", "follow, µs of each other"],
        )  # fmt: skip
        count = self._effort.count
        for processes in self._effort.processes:
            settings = {"directory": str(self._place.folder()), "redis_url": None}
            with self._place.spread(), Fleet([settings] * processes) as fleet:
                first, *others = fleet.workers
                first.do("write", count=50, keys=50)
                rounds = []
                for _ in range(self._effort.rounds):
                    time.sleep(self._effort.settle)
                    before = sum(worker.do("clock")["cpu"] for worker in others)
                    rounds.append(first.do("write", count=count, keys=count))
                    time.sleep(self._effort.settle)
                    spent = sum(worker.do("clock")["cpu"] for worker in others) - before
                    rounds[-1]["told"] = spent / count / max(1, len(others))
                least = _least(rounds)
                sweep.add(processes, least["cpu"] * 1e6, least["told"] * 1e6)
        return sweep

    def tags(self) -> Sweep:
        """Entries with so many tags, through Redis."""
        sweep = Sweep(
            "tags", "Entries with so many tags, through Redis", "tags",
            ["set, µs", "get, µs", "get, µs of the server", "bytes per key", "hit of memory, µs"],
            curves=["set, µs", "get, µs", "get, µs of the server"],
        )  # fmt: skip
        count = self._effort.count
        for number in self._effort.tags:
            tags = [f"team:{place}:tag" for place in range(number)]
            with self._alone(max_entries=1) as worker:
                before = self._server.gauge()["memory"]
                put, _ = self._charged(worker, "write", count=count, keys=count, tags=tags)
                weight = (self._server.gauge()["memory"] - before) / count
                got, server = self._charged(worker, "read", count=count, keys=count)
            with self._alone() as worker:
                worker.do("read", count=100, keys=100)
                worker.do("write", count=100, keys=100, tags=tags)
                worker.do("read", count=1_000, keys=100)
                hit = _least([worker.do("read", count=count * 10, keys=100) for _ in range(self._effort.rounds)])
            sweep.add(
                number, put["cpu"] * 1e6, got["cpu"] * 1e6, server["cpu"] * 1e6, weight, hit["cpu"] * 1e6,
            )  # fmt: skip
        return sweep

    def members(self) -> Sweep:
        """A tag that so many entries carry is invalidated: in memory alone, over files, and over Redis, where others listen."""
        sweep = Sweep(
            "members", "Entries that carry a tag which is invalidated", "entries",
            ["set, µs", "invalidate, µs: memory", "invalidate, µs: files", "invalidate, µs: Redis"],
            curves=["invalidate, µs: memory", "invalidate, µs: files", "invalidate, µs: Redis"],
        )  # fmt: skip
        for members in self._effort.members:
            least, filled = list[float](), {"cpu": 0.0}
            for settings in (
                {"files": False, "max_memory": _MEMORY},
                {
                    "directory": str(self._place.folder()),
                    "redis_url": None,
                    "file_timeout": _PATIENT,
                    "max_memory": _MEMORY,
                },
                self._remote(self._server.database(), max_memory=_MEMORY),
            ):
                with Fleet([settings]) as fleet:
                    (worker,) = fleet.workers
                    spent = worker.do("fill", count=members, tags=["all"])
                    filled = filled if least else spent
                    rounds = []
                    for _ in range(max(3, self._effort.rounds)):
                        worker.do("fill", count=1, tags=["all"])
                        rounds.append(worker.do("invalidate", tags=["all"]))
                    if any(one["left"] for one in rounds):
                        raise RuntimeError("a key was found after it was invalidated")
                    least.append(_least(rounds)["wall"] * 1e6)
            sweep.add(members, filled["cpu"] * 1e6, *least)
        return sweep

    def all(self) -> Iterator[Callable[[], Sweep]]:
        """Each of them."""
        yield from (
            self.keys_in_memory, self.keys_in_redis, self.sizes, self.listeners, self.processes, self.followers, self.tags,
            self.members,
        )  # fmt: skip

    def _remote(self, url: str, **settings: Any) -> dict[str, Any]:
        return {"redis_url": url, "files": False, "op_timeout": _PATIENT, **settings}

    @contextmanager
    def _alone(self, **settings: Any) -> Iterator[Worker]:
        """One process over an empty database."""
        with Fleet([self._remote(self._server.database(), **settings)]) as fleet:
            yield fleet.workers[0]

    def _charged(self, worker: Worker, duty: str, **order: Any) -> tuple[dict[str, float], dict[str, float]]:
        """What a duty comes to, and what the server spends on each of its operations: the least of some rounds."""
        done, spent = [], []
        for _ in range(self._effort.rounds):
            before = self._server.gauge()
            done.append(worker.do(duty, **order))
            after = self._server.gauge()
            spent.append({name: (after[name] - before[name]) / done[-1]["count"] for name in after})
        return _least(done), _least(spent)


def _least(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The machine may have others to serve, which only ever adds."""
    return {name: min(one[name] for one in rounds) for name in rounds[0]}
