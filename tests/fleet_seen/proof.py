"""Three processes on one Redis, of which one is killed; then Redis is away for a while, and comes back empty. What is seen of them?"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from chromium import browser, cells, figure, program, settled, window
from fleet_seen.worker import AGENTS, ANSWER_USD, OPTIONS, READ_USD, SEARCH_USD, WRITE_USD
from programs import ROOT
from served import Served
from servers import RedisServer

from toolcache import ToolCache
from toolcache.metrics.recorder import plus
from toolcache.metrics.snapshot import Metrics, Snapshot
from toolcache.metrics.spans import reach_of
from toolcache.savings import Savings
from toolcache.web.app import app

WORKERS: Final = 3
_PATH: Final = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
_PATIENCE: Final = 60.0

Note = tuple[float, str, str, str]
"""When, of which domain, by which tool, and what became of a call."""


class Told(NamedTuple):
    """What the server, or the command line, says of the fleet."""

    stats: Mapping[str, Any]
    savings: Mapping[str, Any]


class Seen(NamedTuple):
    """What a cache that counts nothing itself reads of the fleet.

    Attributes:
        owners: what each process has written, by its number.
        told: what else says so, by name: "rest" and "command", each the statistics of the last hour and the savings.
        scraped: what it tells Prometheus.
    """

    minutes: Metrics
    hours: Metrics
    days: Metrics
    savings: Savings
    owners: Mapping[int, Snapshot]
    told: Mapping[str, "Told"]
    scraped: str


class Shown(NamedTuple):
    """What the page shows in a browser.

    Attributes:
        calls: the line beneath the hit rate; ``saved`` dollars.
        rows: the cells of each domain, layer and process, by the section they are in and what the first cell says.
        wrong: what the browser had to complain of.
    """

    calls: str
    saved: str
    rows: Mapping[tuple[str, str], Sequence[str]]
    wrong: Sequence[str]


class Proof(NamedTuple):
    """What the workers have noted, and what is read of them.

    Attributes:
        living: the notes of those who ended well, by the number of their process.
        killed: the notes of the one who did not, and its number.
        killed_at: when, in seconds since the epoch.
        away: seconds that Redis was away.
        during: what was read from files while it was.
        shared: what is read in the end, by one who has the files of the host.
        elsewhere: the same by one who has Redis alone.
        shown: what the page shows; None without a browser.
    """

    living: Mapping[int, Sequence[Note]]
    killed: Sequence[Note]
    victim: int
    killed_at: float
    away: float
    during: Metrics
    shared: Seen
    elsewhere: Seen
    shown: Shown | None


class Hand(NamedTuple):
    """A worker, and the file of its notes."""

    process: "subprocess.Popen[bytes]"
    notes: Path

    def end(self) -> None:
        """Have it end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(_PATIENCE) == 0

    def kill(self) -> float:
        """SIGKILL; returns when."""
        self.process.kill()
        at = time.time()
        self.process.wait()
        return at


@contextmanager
def _hired(url: str, directory: Path) -> Iterator[list[Hand]]:
    with ExitStack() as stack:
        crew = []
        for seed in range(WORKERS):
            notes = directory / f"notes{seed}"
            told = {"url": url, "directory": str(directory / "files"), "notes": str(notes), "seed": seed}
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "fleet_seen.worker", json.dumps(told)],
                env={**os.environ, "PYTHONPATH": _PATH},
                stdin=subprocess.PIPE,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            crew.append(Hand(process, notes))
        yield crew


def noted(file: Path) -> list[Note]:
    """What a worker has told; a line that was cut off is none."""
    lines = file.read_bytes().split(b"\n") if file.exists() else []
    return [(at, domain, tool, became) for at, domain, tool, became in map(json.loads, lines[:-1])]


def prove(
    away: float = 3.0,
    *,
    late: bool = False,
    before: float = 2.0,
    after: float = 1.5,
    say: Callable[[str], object] = lambda _what: None,
) -> Proof:
    """Play it.

    Args:
        away: seconds that Redis is away.
        late: whether the one is killed while Redis is away, instead of before.
        before: seconds of work before anything happens.
        after: seconds of work when Redis is back.
        say: is told what happens.
    """
    with RedisServer() as server, tempfile.TemporaryDirectory(prefix="toolcache-seen-") as name:
        directory = Path(name)
        files = directory / "files"
        with _hired(server.url, directory) as (victim, *others):
            _await(lambda: all(noted(one.notes) for one in (victim, *others)), "every worker to have begun")
            say(f"{WORKERS} processes work")
            time.sleep(before)
            if not late:
                killed_at = victim.kill()
                say("one is killed")
                time.sleep(1.0)
            server.stop()
            gone_at = time.monotonic()
            say("Redis is killed")
            time.sleep(away / 2)
            if late:
                killed_at = victim.kill()
                say("one is killed")
            during = asyncio.run(_read_once(server.url, files))
            time.sleep(max(0.0, gone_at + away - time.monotonic()))
            server.start()
            passed = time.monotonic() - gone_at
            say("Redis is back, empty")
            _await(lambda: bool(server.command("DBSIZE")), "the workers to use Redis again")
            time.sleep(after)
            for one in others:
                one.end()
            say("the others have ended")
        living = {one.process.pid: noted(one.notes) for one in others}
        shared = asyncio.run(_see(server.url, directory=files))
        elsewhere = asyncio.run(_see(server.url, files=False))
        pids = [*living, victim.process.pid]
        shown = _shown(server.url, files, shared, pids) if program() or os.environ.get("CI") else None
        return Proof(
            living, noted(victim.notes), victim.process.pid, killed_at, passed, during, shared, elsewhere, shown
        )


def _await(done: Callable[[], bool], what: str) -> None:
    give_up = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < give_up, f"waited in vain for {what}"
        time.sleep(0.02)


async def _read_once(url: str, directory: Path) -> Metrics:
    async with ToolCache(redis_url=url, directory=directory, metrics=False, **OPTIONS) as cache:
        return await cache.metrics("1h")


async def _see(url: str, **where: Any) -> Seen:
    async with ToolCache(redis_url=url, metrics=False, **OPTIONS, **where) as cache:
        minutes, hours = await cache.metrics("1h"), await cache.metrics("1d")
        owners: dict[int, Snapshot] = {}
        records, _ = await cache._machine.history.records(reach_of("1h"), time.time())
        for record in (one for several in records.values() for one in several):
            owners[record.process.pid] = plus(owners.get(record.process.pid, Snapshot(0, 0)), record.counts)
        days, savings = await cache.metrics("30d"), await cache.savings("30d")
        # One that asks from here may read without a token.
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app(cache)), base_url="http://127.0.0.1") as client:
            rest = Told(await _asked(client, "stats", "1h"), await _asked(client, "savings", "30d"))
            scraped = (await client.get("/metrics")).raise_for_status().text
    told = {"rest": rest}
    if "directory" in where:  # once is enough: it takes a second
        told["command"] = Told(_said(url, where, "stats", "1h"), _said(url, where, "savings", "30d"))
    return Seen(minutes, hours, days, savings, owners, told, scraped)


def _shown(url: str, directory: Path, known: Seen, pids: Iterable[int]) -> Shown:
    make = partial(ToolCache, redis_url=url, directory=directory, metrics=False, **OPTIONS)
    with Served(make) as served, browser() as made, window(made, served.url) as seen:
        page = seen.page
        settled(page, known.minutes.hits)
        wanted = [("names", name) for name in known.minutes.by("domain")]
        wanted += [("layers", "Redis"), *(("processes", str(pid)) for pid in pids)]
        rows = {(section, name): cells(page, section, name) for section, name in wanted}
        calls = page.locator(".figure").first.locator("small").inner_text()
        return Shown(calls, figure(page, "Saved"), rows, seen.complain())


async def _asked(client: httpx.AsyncClient, what: str, period: str) -> Mapping[str, Any]:
    answer = await client.get(f"/api/v1/cache/{what}", params={"period": period})
    document: dict[str, Any] = answer.raise_for_status().json()
    return document


def _said(url: str, where: Mapping[str, Any], verb: str, period: str) -> Mapping[str, Any]:
    """What the command line prints."""
    prices = ",".join(f"{model}={price}" for model, price in OPTIONS["prices"].items())
    words = [verb, "--json", "--period", period, "--redis-url", url, "--namespace", OPTIONS["namespace"]]
    words += ["--dir", str(where["directory"])]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "toolcache", *words],
        env={**os.environ, "PYTHONPATH": _PATH, "TOOLCACHE_PRICES": prices},
        stdout=subprocess.PIPE,
        check=True,
        timeout=_PATIENCE,
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def counted(metrics: Snapshot) -> Counter[tuple[str, str, str]]:
    """What the metrics have of each domain and tool, in the words of the workers."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for series, one in metrics.series.items():
        ran = one.misses - one.computed  # of what runs once
        became = {
            "hit": one.hits - one.hits_replayed,
            "computed": one.computed,
            "replayed": one.hits_replayed,
            "ran": ran,
        }
        for word, number in became.items():
            counts[series.domain, series.tool, word] += number
    return +counts


def counts_of(notes: Iterable[Note]) -> Counter[tuple[str, str, str]]:
    """The same of what workers have noted."""
    return Counter((domain, tool, became) for _, domain, tool, became in notes)


def dollars_of(counts: Counter[tuple[str, str, str]]) -> tuple[float, float]:
    """Dollars saved and spent, as the workers reckon."""
    saved = spent = 0.0
    for (domain, _, became), number in counts.items():
        cost = {"search": SEARCH_USD, "response": ANSWER_USD, "tool": READ_USD}[domain]
        cost = WRITE_USD if became in {"ran", "replayed"} else cost
        saved += number * cost * (became in {"hit", "replayed"})
        spent += number * cost * (became in {"computed", "ran"})
    return saved, spent


class Loss(NamedTuple):
    """What is missing of the one who was killed.

    Attributes:
        written: calls that it had written down; ``missing`` that it had made after.
        seconds: how long before its end it wrote for the last time.
        allowed: the second that there is between two writes, and what the machine kept it waiting.
        odd: calls that were written otherwise than they were noted, beyond those under way.
    """

    written: int
    missing: int
    seconds: float
    allowed: float
    odd: int


def loss(proof: Proof) -> Loss:
    """Reckon it."""
    written = counted(proof.shared.owners.get(proof.victim, Snapshot(0, 0)))
    number = min(written.total(), len(proof.killed))
    first = counts_of(proof.killed[:number])
    odd = sum(abs(written[what] - first[what]) for what in written.keys() | first.keys())
    instants = [at for at, *_ in proof.killed]
    stall = max((later - sooner for sooner, later in pairwise(instants)), default=0.0)
    last = instants[number - 1] if number else instants[0]
    return Loss(number, len(proof.killed) - number, proof.killed_at - last, 1.5 + 3 * stall, max(0, odd - 2 * AGENTS))
