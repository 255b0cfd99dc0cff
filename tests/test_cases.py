"""No case that was proved once loses its test: the identifiers owed so far, against the docstrings that name them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]

OWED: Final = {
    "BUG": "1-17 28-29 31 34 38-40 42-62 66-74 77-79 81-107 111 113-114",
    "CB": "1-4 7-8 11 13 15 17-22 24-25 27-29 33-35",
    "EC": "1 3-4 6-11 13-15",
    "FS": "4 7-12 14-25",
    "ID": "1 3 8 10 12 14-15 19-38",
    "KY": "2-3 5 8-12",
    "LC": "2 4 6-15",
    "LR": "1 4-6 8-12 14 16-17 19 21 24-28",
    "OR": "5 7-8 10-13 15-18 20-24 26-28",
    "SF": "1 5 7-14 17",
    "SZ": "3-4 6-9 11-15",
}


def named() -> Iterator[tuple[str, int]]:
    """The identifiers in the docstrings of tests, published ones included."""
    for path in (*(ROOT / "tests").rglob("*.py"), *(ROOT / "toolcache" / "testing").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for family, number in re.findall(r"\b([A-Z]{2,3})-(\d+)\b", ast.get_docstring(node) or ""):
                    yield family, int(number)


@pytest.fixture(scope="module")
def proved() -> set[tuple[str, int]]:
    """All of them."""
    return set(named())


@pytest.mark.parametrize("family", OWED)
def test_each_case_has_a_test(family: str, proved: set[tuple[str, int]]) -> None:
    """A number of the family that stands in no docstring has lost its test."""
    bounds = [(int(first), int(last or first)) for first, last in re.findall(r"(\d+)(?:-(\d+))?", OWED[family])]
    owed = {number for first, last in bounds for number in range(first, last + 1)}
    assert owed
    assert {number for number in owed if (family, number) not in proved} == set()
