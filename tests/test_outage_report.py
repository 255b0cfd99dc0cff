"""The report about outages runs, judges rightly, and is what its page says."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.outages.oracle import Known, Verdict, number_of, value_of
from benchmarks.outages.page import BEGIN, END, filled
from benchmarks.outages.play import FailedError, Process
from benchmarks.outages.plot import plot
from benchmarks.outages.report import Row, cells, measure, percentile, table
from benchmarks.outages.subjects import Subject
from benchmarks.outages.workload import COMPUTED, WRITTEN, Workload

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/reliability.md"
KEY = "written:1"
OTHER = "computed:1"


class Scripted(Subject):
    """A cache that keeps values in a dict, and does what it is told to do badly."""

    def __init__(self, *, fails: bool = False, says: bool = True) -> None:
        self.values: dict[str, Any] = {}
        self.fails = fails
        self.says = says

    async def get(self, key: str) -> Any:
        self._perhaps_fail()
        return self.values.get(key)

    async def set(self, key: str, value: Any) -> bool:
        self._perhaps_fail()
        if self.says:
            self.values[key] = value
        return self.says

    async def delete(self, key: str) -> bool:
        self._perhaps_fail()
        if self.says:
            self.values.pop(key, None)
        return self.says

    async def get_or_compute(self, key: str, compute: Any) -> Any:
        value = await self.get(key)
        if value is None:
            value = self.values[key] = await compute()
        return value

    def _perhaps_fail(self) -> None:
        if self.fails:
            raise ConnectionError


def a_workload(subject: Scripted) -> Workload:
    return Workload(subject, "1", 1.0)


def judged(workload: Workload, found: dict[str, int | None], told_again: float | None = 0.5) -> Row:
    """The row of a workload whose outage is from before the first call until after the last."""
    told = {
        "calls": [vars_of(call) for call in workload.calls],
        "computations": workload.computations,
        "late": workload.late,
        "keys": json.loads(json.dumps({key: vars(known) for key, known in workload.keys.items()})),
    }
    first, last = workload.calls[0], workload.calls[-1]
    phases = first.at - 0.1, first.at, last.at + 1.0, last.at + 2.0
    return measure("killed", "scripted", told, [found], phases, told_again)


def vars_of(call: Any) -> dict[str, Any]:
    return {name: getattr(call, name) for name in call.__slots__}


def found_in(subject: Scripted) -> dict[str, int | None]:
    return {key: number_of(key, subject.values.get(key)) for key in (*WRITTEN, *COMPUTED)}


@pytest.mark.parametrize(
    ("kept", "deleted", "unsure", "found", "verdict"),
    [
        (0, True, {}, None, ""),
        (3, False, {}, 3, ""),
        (3, False, {}, None, "lost"),
        (3, False, {}, 2, "lost"),
        (3, False, {4: False}, 4, ""),
        (3, False, {4: False}, 3, ""),
        (3, False, {4: False}, None, "lost"),
        (3, False, {4: True}, None, ""),
        (3, False, {4: True}, 4, "lost"),
        (3, True, {}, None, ""),
        (3, True, {}, 2, "resurrected"),
        (3, True, {4: False}, 4, ""),
        (3, True, {4: False}, None, ""),
        (3, True, {}, -1, "resurrected"),
    ],
)
def test_the_oracle_knows_what_may_be_there(
    kept: int, deleted: bool, unsure: dict[int, bool], found: int | None, verdict: Verdict
) -> None:
    """The last acknowledged operation holds, or a later one of which nobody knows; all else is lost or has come back."""
    assert Known(4, kept, deleted, unsure).judge(found) == verdict


def test_a_miss_is_not_wrong_and_an_older_value_is() -> None:
    """While it works a cache may miss; what it answers may not be older than what was acknowledged."""
    known = Known()
    known.acknowledge(known.begin())
    known.acknowledge(known.begin())
    assert [known.wrong(found) for found in (None, 1, 2, -1)] == [False, True, False, True]
    known.acknowledge(known.begin(), deleted=True)
    assert [known.wrong(found) for found in (None, 2)] == [False, True]


def test_values_tell_whose_they_are() -> None:
    """A value of another key, or one that was altered, is nobody's."""
    value = value_of(KEY, 7)
    assert number_of(KEY, value) == 7
    assert number_of(KEY, None) is None
    assert number_of("written:2", value) == -1
    assert number_of(KEY, {**value, "text": ""}) == -1


async def test_a_lost_write_is_counted() -> None:
    """A write that was acknowledged and is not there in the end is one lost write."""
    subject = Scripted()
    workload = a_workload(subject)
    await workload.set(KEY)
    assert judged(workload, found_in(subject)).lost == 0
    subject.values.clear()
    row = judged(workload, found_in(subject))
    assert (row.lost, row.back, row.older) == (1, 0, 0)


async def test_a_resurrection_is_counted() -> None:
    """A deleted value that is there again is one that came back; who reads it meanwhile reads something older."""
    subject = Scripted()
    workload = a_workload(subject)
    await workload.set(KEY)
    value = subject.values[KEY]
    await workload.delete(KEY)
    subject.values[KEY] = value
    await workload.get(KEY)
    row = judged(workload, found_in(subject))
    assert (row.lost, row.back, row.older) == (0, 1, 1)


async def test_errors_and_refusals_are_counted_and_promise_nothing() -> None:
    """A call that raises is an error, one that says it did not is refused; what they left behind is held against nobody."""
    subject = Scripted(fails=True)
    workload = a_workload(subject)
    await workload.set(KEY)
    await workload.get(KEY)
    subject.fails, subject.says = False, False
    await workload.set(KEY)
    await workload.delete(KEY)
    row = judged(workload, found_in(subject))
    assert (row.calls, row.errors, row.refused, row.lost, row.back) == (4, {"ConnectionError": 2}, 2, 0, 0)
    told = table("A title", [row], {"other": "other does not end"})
    assert "2 ConnectionError" in told
    assert "no figures of other: other does not end" in told


async def test_who_does_not_answer_is_not_waited_for() -> None:
    """A call is given up after the limit, and is an error."""
    subject = Scripted()
    subject.get = lambda _key: asyncio.sleep(60)  # type: ignore[method-assign,assignment]
    workload = Workload(subject, "1", 0.01)
    await workload.get(KEY)
    assert judged(workload, found_in(subject)).errors == {"no answer": 1}


async def test_computations_and_hits_are_counted() -> None:
    """A hit is a read of what must be there; a computation runs once while its value is there."""
    subject = Scripted()
    workload = a_workload(subject)
    await workload.get_or_compute(OTHER)
    await workload.get_or_compute(OTHER)
    await workload.get(KEY)  # nothing is there yet: neither hit nor miss
    await workload.set(KEY)
    await workload.get(KEY)
    subject.values.clear()
    await workload.get(KEY)
    row = judged(workload, found_in(subject))
    assert (row.computed, row.asked, row.hits, row.reads) == (1, 2, 1, 2)


async def test_who_is_not_told_again_is_not_healthy() -> None:
    """It is healthy when the server has a new write and no call is bad any more; never, if nobody saw the former."""
    subject = Scripted()
    workload = a_workload(subject)
    await workload.set(KEY)
    assert judged(workload, found_in(subject), 0.5).healthy == 0.5
    late = judged(workload, found_in(subject), None)
    assert late.healthy is None
    assert "not yet" in cells(late)
    workload.calls[0].failure, workload.calls[0].took = "TimeoutError", 2.5  # until half a second before the end
    assert judged(workload, found_in(subject), 0.5).healthy is None


def test_a_percentile_is_a_value_that_was_seen() -> None:
    """Of a hundred calls the p99 is the last but one; of none it is nothing."""
    assert percentile([float(number) for number in range(100)], 0.99) == 98.0
    assert percentile([5.0], 0.99) == 5.0
    assert percentile([], 0.99) == 0.0


def test_the_page_is_what_its_run_says() -> None:
    """No figure of the published page was typed by hand: it is what the run beside it gives, and so is the picture."""
    data, picture = PAGE.with_suffix(".json"), PAGE.with_suffix(".svg")
    run, text = json.loads(data.read_text("utf-8")), PAGE.read_text("utf-8")
    assert text == filled(text, run, data.name, picture.name)
    begin = run["times"]["before"]
    rows = [Row(**row) for row in run["rows"]]
    assert picture.read_text("utf-8") == plot(run["titles"], rows, (begin, begin + run["times"]["outage"]))
    assert "quick run" not in text


def test_the_page_names_where_others_are_better() -> None:
    """Where another cache has less of what nobody wants, or more hits, the page says so."""
    run = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
    ours, other = (row for row in run["rows"][:2])
    run["rows"] = [
        {**ours, "lost": 7, "hits": 1, "reads": 4, "longest": 1.0},
        {**other, "lost": 3, "hits": 3, "reads": 4, "longest": 1.1},
    ]
    behind = filled(f"{BEGIN}\n{END}", run, "a.json", "a.svg").partition("### Where toolcache is not the first")[2]
    assert f"lost 7, {other['name']} 3" in behind
    assert f"hits 25%, {other['name']} 75%" in behind
    assert "longest" not in behind


def test_the_page_adds_all_outages_up() -> None:
    """One table has the sums of each cache, and the longest call of all."""
    run = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
    row = {**run["rows"][0], "errors": {"OSError": 2}, "refused": 1, "older": 3, "lost": 4, "back": 5, "longest": 1.5}
    run["rows"] = [row, {**row, "fault": "frozen", "longest": 2.5}]
    text = filled(f"{BEGIN}\n{END}", run, "a.json", "a.svg")
    assert f"| {row['name']} | 4 | 2 | 2.5 s | 6 | 8 | 10 |" in text


def test_a_page_without_its_markers_is_refused() -> None:
    """Nothing is overwritten that was not meant to be."""
    with pytest.raises(ValueError, match="outage-report: begin"):
        filled("# A page\n", {}, "a.json", "a.svg")


def test_a_cache_that_does_not_open_says_why(tmp_path: Path) -> None:
    """The last line that its process wrote is told."""
    process = Process(tmp_path, "work", "work", "no such cache", "redis://127.0.0.1:1/0", "here", seed="1")
    try:
        with pytest.raises(FailedError, match="no such cache does not open: KeyError"):
            process.ready()
    finally:
        process.close()


@pytest.mark.timeout(50)
def test_a_smoke_run_gives_figures(tmp_path: Path) -> None:
    """The command plays an outage to a real cache over a real server, and the cache holds what it promises."""
    file = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.outages", "--quick", "--only", "toolcache", "--faults", "killed"]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [*command, "--json", str(file)], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True,
        text=True, timeout=45, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = [Row(**row) for row in json.loads(file.read_text("utf-8"))["rows"]]
    assert row.calls > 100
    assert row.computed > 0
    assert row.reads > 0
    assert (row.errors, row.refused, row.older, row.lost, row.back) == ({}, 0, 0, 0, 0)
    assert "toolcache" in done.stdout


def test_an_unknown_fault_is_refused() -> None:
    """A fault that is not there is an error that lists those that are."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.outages", "--faults", "flood"], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, timeout=45, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "flapping" in done.stderr
