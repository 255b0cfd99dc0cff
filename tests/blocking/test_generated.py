"""The methods of the blocking face are those of the cache."""

import ast

import pytest
from blocking_face import PACKAGE, Module, modules


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_the_methods_are_up_to_date(module: Module) -> None:
    """B13: what is committed is what ``python tests/blocking_face.py`` writes, but for how it is laid out."""
    file = PACKAGE / "blocking" / f"{module.name}_methods.py"
    assert file.exists(), "run tests/blocking_face.py, and let BlockingToolCache inherit what it writes"
    assert shape(file.read_text("utf-8")) == shape(module.text()), "run tests/blocking_face.py"


def test_there_are_no_others() -> None:
    """B13: a module whose class has no methods any more is gone."""
    assert {file.stem for file in (PACKAGE / "blocking").glob("*_methods.py")} == {
        f"{m.name}_methods" for m in modules()
    }


def shape(source: str) -> str:
    """What a module says, but for the order of its imports and the layout of its docstrings."""
    tree = ast.parse(source)
    imports = sorted(ast.unparse(node) for node in tree.body if isinstance(node, ast.ImportFrom))
    names = {name for line in imports for name in line.partition(" import ")[2].split(", ")}
    rest = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    return "\n".join((*sorted(names), *" ".join(ast.dump(node) for node in rest).replace("\\n", " ").split()))
