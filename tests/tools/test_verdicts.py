"""The truth table of docs/how-to/tools.md: each row decides as it says, and calls do so, whatever the tool comes to."""

import asyncio
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from tools.toolbox import Tool, defined

from toolcache import ToolCache, ToolPolicy
from toolcache.errors import StoredAgentError
from toolcache.tool_definitions import Hints
from toolcache.tool_results import Kind, kind_of
from toolcache.verdicts import Act, decide

PAGE: Final = (Path(__file__).parents[2] / "docs/how-to/tools.md").read_text("utf-8")
POLICIES: Final = ("–", "exact", "semantic", "once", "none")
HINTS: Final = ("true", "false", "unsaid")
WORDS: Final = {"true": True, "false": False, "unsaid": None, "yes": True, "no": False}


class Row(NamedTuple):
    policy: str
    trusted: str
    read_only: str
    destructive: str
    idempotent: str

    @property
    def hints(self) -> Hints:
        return Hints(WORDS[self.read_only], WORDS[self.destructive], WORDS[self.idempotent])

    @property
    def annotations(self) -> dict[str, Any]:
        told = {"readOnlyHint": self.read_only, "destructiveHint": self.destructive, "idempotentHint": self.idempotent}
        return {name: WORDS[word] for name, word in told.items() if word != "unsaid"}


def table(heading: str) -> list[list[str]]:
    """The cells of the table whose first column has that heading."""
    lines = PAGE.partition(f"| {heading} |")[2].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in rows]


def meant(cell: str, every: tuple[str, ...]) -> tuple[str, ...]:
    words = every if cell == "any" else tuple(cell.split(" or "))
    assert set(words) <= set(every), cell
    return words


def rows() -> Iterator[tuple[Row, str]]:
    """Each row of the page, with each of the values that its cells stand for."""
    for *cells, act in table("your policy"):
        columns = [
            meant(cell, every) for cell, every in zip(cells, (POLICIES, ("yes", "no"), *[HINTS] * 3), strict=True)
        ]
        for values in itertools.product(*columns):
            yield Row(*values), act


ROWS: Final = list(rows())


def test_the_table_has_every_case_once() -> None:
    """BUG-109: no combination of policy, trust and hints is left out of the table, or in it twice."""
    told = sorted(row for row, _ in ROWS)
    assert told == sorted(Row(*values) for values in itertools.product(POLICIES, ("yes", "no"), HINTS, HINTS, HINTS))


@pytest.mark.parametrize(("row", "act"), ROWS, ids=["-".join(row) for row, _ in ROWS])
async def test_a_row_decides_and_calls_do_so(local: ToolCache, row: Row, act: str) -> None:
    """BUG-109: what a call is, is as the row says; and so it is done, twice with the same parameters."""
    policy = None if row.policy == "–" else ToolPolicy(row.policy)
    assert decide(policy, row.hints, trusted=row.trusted == "yes").act.value == act
    await local.tools.learn(
        [defined("tool", server_says=row.annotations)], server="server", trusted=row.trusted == "yes"
    )
    if policy is not None:
        local.tools["server", "tool"] = policy
    assert local.tools.verdict(("server", "tool")).act.value == act
    tool = Tool()
    answers = [await local.call_tool(("server", "tool"), tool, query="x") for _ in range(2)]
    assert answers == ([1, 2] if act == "run" else [1, 1])
    executions, kept = local.stats().dispatch.executions, local.stats().domains["tool"].computed
    assert (executions, kept) == (int(act == "dispatched once"), int(act == "cached"))


def test_nothing_is_kept_of_what_nobody_knows() -> None:
    """BUG-109: a tool of which nothing was learned is run, trusted or not."""
    assert {decide(None, None, trusted=trusted).act for trusted in (True, False)} == {Act.RUN}


async def _pieces() -> Any:
    yield 1


def _steps() -> Any:
    yield 1


class _Answer:
    """A result as an SDK has it."""

    def __init__(self, **fields: Any) -> None:
        self.isError = False
        self.__dict__.update(fields)


# What a tool may come to, by the row of the second table.
COMINGS: Final[dict[str, list[Callable[[], Any]]]] = {
    "a whole result": [
        lambda: {"content": [{"type": "text", "text": "x"}], "isError": False},
        lambda: {"content": [], "structuredContent": None, "resultType": "complete"},
        lambda: {"task": "water the plants", "isPartial": False},
        lambda: "text",
        lambda: [1, {"isError": True}],
    ],
    "a result with isError": [lambda: {"content": [], "isError": True}, lambda: _Answer(isError=True)],
    "an exception": [lambda: OSError("away")],
    "a part of a result (isPartial)": [lambda: {"content": [], "isPartial": True}, lambda: _Answer(is_partial=True)],
    "a question (resultType: input_required, inputRequests), or a task to be asked for later": [
        lambda: {"resultType": "input_required", "content": []},
        lambda: {"structuredContent": None, "inputRequests": {"name": {"method": "elicitation/create"}}},
        lambda: {"task": {"taskId": "7f", "status": "working"}},
        lambda: _Answer(result_type="input_required"),
    ],
    "a stream: a generator or iterator, async or not": [_pieces, _steps, lambda: iter([1])],
    "what cannot be stored": [lambda: _Answer(content=[]), lambda: {"lock": object()}],
}
WHOLE: Final = {"a whole result", "what cannot be stored"}


def test_every_kind_of_result_is_in_the_table() -> None:
    """BUG-108: the table of what is kept has a row for all that a tool may come to."""
    assert [cells[0] for cells in table("what the tool comes to")] == list(COMINGS)


@pytest.mark.parametrize(
    ("told", "comes", "column"),
    [
        pytest.param(cells, comes, column, id=f"{cells[0][:24]}-{number}-{('cached', 'once')[column - 1]}")
        for cells in table("what the tool comes to")
        for number, comes in enumerate(COMINGS[cells[0]])
        for column in (1, 2)
    ],
)
@pytest.mark.parametrize("whose", ["mine", "hints"])
async def test_what_is_kept(
    local: ToolCache, told: list[str], comes: Callable[[], Any], column: int, whose: str
) -> None:
    """BUG-108: a tool's errors, parts, questions and streams are kept nowhere, and whoever called has what it came to."""
    if whose == "mine":
        local.tools["server", "tool"] = ToolPolicy("exact" if column == 1 else "once")
    hints = {"readOnlyHint": column == 1, "idempotentHint": column == 2}
    await local.tools.learn([defined("tool", server_says=hints)], server="server", trusted=True)
    tool = Tool(comes)
    for turn in (1, 2):
        try:
            answer = await local.call_tool(("server", "tool"), tool, query="x")
        except OSError:
            answer = "raised"
        except StoredAgentError:  # of mine: what could not be kept is not run again to be seen once more
            told_once = told[0].startswith(("a stream", "what cannot"))
            assert (whose, column, turn, told_once) == ("mine", 2, 2, True)
            return
        expected = comes()
        assert type(answer) is (str if isinstance(expected, OSError) else type(expected))
        if isinstance(expected, dict | list) and "lock" not in expected:
            assert answer == expected
    assert tool.runs == (1 if told[column].startswith("yes") else 2)


@pytest.mark.parametrize("column", [1, 2], ids=["cached", "once"])
@pytest.mark.parametrize("name", [name for name in COMINGS if name != "an exception"])
async def test_who_waited(local: ToolCache, name: str, column: int) -> None:
    """BUG-108: callers at the same time share a run, and its failure; of what is not the last word each has its own."""
    hints = {"readOnlyHint": column == 1, "idempotentHint": column == 2}
    await local.tools.learn([defined("tool", server_says=hints)], server="server", trusted=True)
    for comes in COMINGS[name]:
        tool = Tool(comes)

        async def slow(tool: Tool = tool, **params: Any) -> Any:
            await asyncio.sleep(0)
            return await tool(**params)

        await local.clear()
        answers = await asyncio.gather(*(local.call_tool(("server", "tool"), slow, query="x") for _ in range(3)))
        if kind_of(comes()) in (Kind.STREAM, Kind.UNFINISHED):
            assert tool.runs == 3
            assert len({id(answer) for answer in answers}) == 3
        else:
            assert tool.runs == 1
            assert len({type(answer) for answer in answers}) == 1
            if isinstance(comes(), dict) and "lock" not in comes():
                answers[0]["mine"] = True
                assert answers[1:] == [comes()] * 2, "one caller's copy is another's"
        for answer in answers:
            if hasattr(answer, "aclose"):
                await answer.aclose()


def test_the_page_has_two_tables() -> None:
    """E5: what the tests read off the page is there."""
    assert len(table("your policy")) == 8
    assert all(re.fullmatch(r"(yes|no)([;:].*)?", cell) for row in table("what the tool comes to") for cell in row[1:])
