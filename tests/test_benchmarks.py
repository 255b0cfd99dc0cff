"""The benchmarks run, judge rightly, and write the page of the documentation."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any
from xml.sax.saxutils import escape

import pytest

from benchmarks import SCRIPTS, peers
from benchmarks.busy import longest_callback
from benchmarks.harness import (
    QUICK,
    Goal,
    Result,
    Row,
    Task,
    WrongAnswerError,
    check_equal,
    in_one_call,
    measure,
    one_by_one,
    ratio,
)
from benchmarks.main import failing
from benchmarks.page import page
from benchmarks.place import Place
from benchmarks.plots import file_names
from benchmarks.subject import Subject
from benchmarks.table import SCALE, judge, number, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/performance.md"

# Of each script the tasks that are tried here, beside nobody: the gate's smoke run tries all, beside the others.
SMOKE = {
    "hits": "dict,shared,decorated,crowd",
    "footprint": "dicts,sweep",
    "redis_ops": "get,many",
    "embeddings": "hit,bytes",
    "files": "get,stall",
    "log": "peek,open",
    "keys": "kb,kb100",
    "start": "import,first",
    "waits": "busy",
    "guarantees": "get-plain,set-plain,forget",
    "dispatch": "replay",
    "observing": "scalar,help,read",
}


class Counting(Subject):
    """A subject that says what it took, round by round."""

    def __init__(self, name: str, figures: list[float], **attributes: Any) -> None:
        self.name = name
        self.figures = figures
        self.closed = False
        for attribute, value in attributes.items():
            setattr(self, attribute, value)

    async def close(self) -> None:
        self.closed = True


async def recorded(subject: Subject) -> Any:
    assert isinstance(subject, Counting)
    if not subject.figures:
        raise WrongAnswerError("3 of 4 reads fail")
    figures = iter(subject.figures * QUICK.rounds)

    async def once() -> float:
        return next(figures)

    return once


def a_result(goals: list[Goal] | None = None) -> Result:
    rows = [
        Row("floor", "floor", [1e-6, 2e-6, 4e-6]),
        Row("toolcache", "ours", [2e-6, 6e-6, 8e-6]),
        Row("swift", "peer", [1e-6, 1e-6, 2e-6]),
        Row("slow", "peer", [9e-6, 9e-6, 9e-6], note="has a note"),
        Row("broken", "peer", failure="900 of 1,000 reads fail"),
    ]
    return Result("work", "A piece of work", "µs", rows, goals or [], ["absent: absent is not installed"])


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_smoke_run_gives_figures(script: str, tmp_path: Path) -> None:
    """Each script runs by itself, checks the answers, and has a figure for every task of ours."""
    file = tmp_path / "run.json"
    command = [sys.executable, "-m", f"benchmarks.{script}", "--quick", "--only", SMOKE[script], "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    run = json.loads(file.read_text("utf-8"))
    results = [Result.read(told) for told in run["results"]]
    assert [result.name for result in results] == SMOKE[script].split(",")
    for result in results:
        ours = [row for row in result.rows if row.kind == "ours"]
        assert ours
        assert all(max(row.figures, default=0) > 0 and not row.failure for row in ours), result
        assert result.title in done.stdout


def test_an_unknown_task_is_refused() -> None:
    """A task that is not there is an error that lists those that are."""
    command = [sys.executable, "-m", "benchmarks.hits", "--only", "hit"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode != 0
    assert "scalar" in done.stderr


async def test_who_is_not_installed_is_left_out_and_named() -> None:
    """A peer that is not installed is left out with a line that says so; the others are measured."""
    absent = Counting("absent", [1.0], needs=("no-such-distribution",))
    there = Counting("toolcache", [2.0], kind="ours")
    with Place() as place:
        result = await measure(
            Task("work", "Work", "ms", (lambda: absent, lambda: there), recorded, slow=True), place, QUICK
        )
    assert result.absent == ["absent: no-such-distribution is not installed"]
    assert [row.name for row in result.rows] == ["toolcache"]
    assert result.rows[0].figures == [2.0] * QUICK.rounds
    assert there.closed
    assert "left out: absent" in table(result)


async def test_who_fails_in_a_round_is_measured_no_further() -> None:
    """A subject whose work fails once it is measured is a row that says so; the others go on, in every round."""

    async def failing_later(subject: Subject) -> Any:
        assert isinstance(subject, Counting)
        left = list(subject.figures)

        async def once() -> float:
            if not left:
                raise ConnectionError("it is gone")
            return left.pop()

        return once

    there, gone = Counting("there", [1.0] * 9), Counting("gone", [1.0, 1.0])
    with Place() as place:
        makers = (lambda: there, lambda: gone)
        result = await measure(Task("work", "Work", "ms", makers, failing_later, slow=True), place, QUICK)
    assert result.rows[0].figures == [1.0] * QUICK.rounds
    assert result.rows[1] == Row("gone", "peer", [], failure="ConnectionError: it is gone")


async def test_what_takes_long_is_left_out_of_a_quick_run() -> None:
    """A quick run leaves out who takes long, and says so; a full one does not."""
    with Place(quick=True) as quick, Place() as full:
        for place, names in ((quick, ["short"]), (full, ["short", "long"])):
            makers = (lambda: Counting("short", [1.0]), lambda: Counting("long", [1.0], long=True))
            result = await measure(Task("work", "Work", "ms", makers, recorded, slow=True), place, QUICK)
            assert [row.name for row in result.rows] == names
            assert ("long: it takes too long for a quick run" in result.absent) is place.quick


async def test_what_is_done_once_brings_all_its_figures() -> None:
    """Work that cannot be repeated hands over its figures, and is in no round."""

    async def observed(subject: Subject) -> list[float]:
        assert isinstance(subject, Counting)
        return subject.figures

    with Place() as place:
        once = Task("work", "Work", "ms", (lambda: Counting("once", [3.0, 1.0, 2.00001]),), observed)
        result = await measure(once, place, QUICK)
    assert result.rows[0].figures == [3.0, 1.0, 2.0]


async def test_who_answers_wrongly_has_no_figures() -> None:
    """A subject that fails is shown as failing, with the reason; it has no speed."""
    with Place() as place:
        result = await measure(
            Task("work", "Work", "ms", (lambda: Counting("peer", []),), recorded, slow=True), place, QUICK
        )
    assert result.rows == [Row("peer", "peer", [], failure="3 of 4 reads fail")]
    assert "fails" in table(result)


def test_it_is_told_where_ours_fails() -> None:
    """A peer that fails is a row of a table; one of ours that does ends a script with an error."""
    result = a_result()
    assert list(failing([result])) == []
    result.rows.append(Row("toolcache, no files", "ours", failure="reads were answered from memory"))
    assert list(failing([result])) == ["work: toolcache, no files fails: reads were answered from memory"]


def test_wrong_answers_are_noticed() -> None:
    """Answers are compared before anything is timed."""
    check_equal([1, 2], [1, 2], "reads")
    with pytest.raises(WrongAnswerError, match="1 reads answer wrongly"):
        check_equal([1, 2], [1, 3], "reads")


def test_ratios_are_taken_within_rounds() -> None:
    """A ratio is the median of the rounds' own ratios, so that a slow round weighs no more than others."""
    result = a_result()
    floor, ours = result.row("floor"), result.row("toolcache")
    assert floor
    assert ours
    assert ratio(ours, floor) == pytest.approx(2.0)
    assert ratio(floor, ours) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("goal", "met", "told"),
    [
        (Goal(2e-6), True, "2.00 µs"),
        (Goal(1.9e-6), False, "2.00 µs"),
        (Goal(0.25, "slow"), False, "0.667 ×"),
        (Goal(0.7, "slow"), True, "0.667 ×"),
        (Goal(2.0, "toolcache", who="slow"), True, "1.50 ×"),
        (Goal(7e-6, share=0.6), True, "6.00 µs"),
        (Goal(7e-6, share=0.7), False, "8.00 µs"),
    ],
)
def test_goals_are_judged(goal: Goal, met: bool, told: str) -> None:
    """A goal in seconds is judged by the least, one against another subject by the ratio."""
    assert judge(a_result(), goal) == (met, told)


def test_a_goal_against_who_is_absent_is_not_judged() -> None:
    """Where somebody is missing, nothing is claimed."""
    assert judge(a_result(), Goal(0.5, "absent")) is None
    assert judge(a_result(), Goal(0.5, "broken")) is None
    assert "goal" not in table(a_result([Goal(0.5, "absent")]))


def test_the_page_names_the_losses() -> None:
    """The page says where others are quicker, which goals were missed, on which machine, and who was left out."""
    result = a_result([Goal(1e-6), Goal(0.9, "slow")])
    run = a_run([result])
    text = page(run, "run.json", {"work": "work.svg"})
    quicker = text.partition("## Where others are quicker")[2].partition("##")[0]
    assert "A piece of work: toolcache takes 4.00 × swift." in quicker
    missed = text.partition("## Goals that were missed")[2].partition("##")[0]
    assert "at most 1.00 µs, and it is 2.00 µs" in missed
    assert "slow" not in missed
    assert "Goal: toolcache at most 0.900 × slow: reached, 0.667 ×." in text
    assert "a processor" in text
    assert "[every figure of every round](run.json)" in text
    assert "1 of 2 goals are reached." in text
    assert "![Is it quick?](work.svg)" in text
    assert "900 of 1,000 reads fail" in text
    assert "absent is not installed" in text
    assert page(a_run([]), "run.json", {"work": "work.svg"}).count("None in this run.") == 2


def a_run(results: list[Result]) -> dict[str, Any]:
    told = [{**vars(result), "rows": [vars(row) for row in result.rows]} for result in results]
    for one, result in zip(told, results, strict=True):
        one["goals"] = [vars(goal) for goal in result.goals]
    machine = {
        "date": "2026-01-01", "processor": "a processor", "cores": 2, "system": "a system", "python": "a Python",
        "optimized": False, "load": 0.1, "server": "a server", "versions": {"redis": "8"},
    }  # fmt: skip
    return {"machine": machine, "quick": False, "scripts": {"work": {"question": "Is it quick?", "results": told}}}


def test_the_page_is_what_its_run_says() -> None:
    """No figure of the published page was typed by hand: it is what the run beside it gives."""
    data = PAGE.with_suffix(".json")
    run = json.loads(data.read_text("utf-8"))
    assert PAGE.read_text("utf-8") == page(run, data.name, file_names(run, PAGE))


def test_the_pictures_show_what_their_run_says() -> None:
    """Each picture of the published page has a bar and a figure for every row of its script's tables."""
    run = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
    for script, name in file_names(run, PAGE).items():
        text = PAGE.with_name(name).read_text("utf-8")
        for result in map(Result.read, run["scripts"][script]["results"]):
            assert f">{escape(result.title)}, {result.unit}<" in text
            for row in result.rows:
                told = number(median(row.figures) * SCALE[result.unit]) if row.figures else "fails"
                assert f">{escape(row.name)}<" in text
                assert f">{told}<" in text


def test_a_picture_fits_light_and_dark() -> None:
    """Letters and lines take the colour that the reader's theme asks for; nothing lies behind them."""
    run = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
    for name in file_names(run, PAGE).values():
        text = PAGE.with_name(name).read_text("utf-8")
        assert "prefers-color-scheme:dark" in text
        assert "currentColor" in text
        assert "#000000" not in text
        assert "#ffffff" not in text


def every_task() -> Iterator[tuple[str, Task]]:
    for script in SCRIPTS:
        for task in import_module(f"benchmarks.{script}").TASKS:
            yield f"{script}: {task.name}", task


@pytest.mark.parametrize(("name", "task"), [pytest.param(*pair, id=pair[0]) for pair in every_task()])
def test_a_goal_names_who_is_there(name: str, task: Task) -> None:
    """The subjects of a task have names of their own, floors come first, and goals speak of them."""
    subjects = [make() for make in task.subjects]
    names = [subject.name for subject in subjects]
    assert len(set(names)) == len(names), name
    assert all(names)
    assert task.unit in SCALE
    named = {goal.who for goal in task.goals} | {goal.of for goal in task.goals if goal.of}
    assert named <= set(names), f"{name}: goals of nobody"
    kinds = [subject.kind == "floor" for subject in subjects]
    assert kinds[0] or not any(kinds), f"{name}: the first floor is the one that others are compared with"


def test_each_peer_is_measured() -> None:
    """Every adapter is part of some task, and says which distributions it needs."""
    measured = {_innermost(make()) for _, task in every_task() for make in task.subjects}
    for name in peers.__all__:
        adapter = getattr(peers, name)
        assert adapter.needs, name
        assert any(issubclass(one, adapter) for one in measured), f"nobody measures {name}"


def _innermost(subject: Subject) -> type[Subject]:
    inner = getattr(subject, "_subject", subject)
    assert isinstance(inner, Subject)
    return type(inner)


async def test_the_longest_callback_is_told() -> None:
    """Callbacks are timed one by one, and the loop's own machinery is as before afterwards."""
    before = asyncio.Handle._run
    with longest_callback() as told:
        asyncio.get_running_loop().call_soon(time.sleep, 0.02)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told() >= 0.02
    assert asyncio.Handle._run is before


async def test_a_run_tells_how_far_it_is() -> None:
    """Whoever watches is told of each subject and of the rounds; the share only grows, and stays within the task."""
    told: list[tuple[str, float]] = []
    makers = (lambda: Counting("first", [1.0]), lambda: Counting("second", [1.0]))
    with Place() as place:
        await measure(
            Task("work", "Work", "ms", makers, recorded, slow=True), place, QUICK, lambda *what: told.append(what)
        )
    shares = [share for _, share in told]
    assert [what for what, _ in told][:2] == ["work: first", "work: second"]
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] <= shares[-1] <= 1.0
    assert len(told) > QUICK.rounds


async def test_a_plain_call_is_not_awaited() -> None:
    """What has no asynchronous calls is called, and timed, as it is."""
    seen: list[object] = []
    assert await one_by_one(seen.append, [(1,), (2,)], plain=True)() > 0
    assert await one_by_one(lambda *pair: seen.append(pair), [(3, 4)], plain=True)() > 0
    assert await in_one_call(seen.append, [5], 1, plain=True)() > 0
    assert seen == [1, 2, (3, 4), [5]]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (12345.6, "12,346"),
        (100.0, "100"),
        (99.96, "100"),
        (42.04, "42.0"),
        (9.999, "10.0"),
        (1.234, "1.23"),
        (0.6789, "0.679"),
        (0.0421, "0.042"),
    ],
)
def test_figures_have_three_digits(value: float, told: str) -> None:
    """A figure is shown with the digits that mean something."""
    assert number(value) == told
