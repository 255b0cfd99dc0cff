"""kill -9 in the middle of an export, and of an import; then once more."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import toolcache

_PROGRAM = Path(__file__).with_name("move_and_die.py")
_ENTRIES = 1_000
_GROWTH = 14
"""Megabytes by which a process may grow that moves 20."""


def move(what: str, directory: Path, path: Path, die_after: int = 0) -> dict[str, Any]:
    """Have it done by a process of its own; empty where it died as it should."""
    ran = subprocess.run(
        [sys.executable, str(_PROGRAM), what, str(directory), str(path), str(_ENTRIES), str(die_after)],
        env=os.environ | {"PYTHONPATH": str(Path(toolcache.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    if die_after:
        assert ran.returncode == -9, ran.stderr
        return {}
    assert ran.returncode == 0, ran.stderr
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


@pytest.mark.slow
def test_what_was_killed_goes_on(tmp_path: Path) -> None:
    """B12: an export that is killed twice goes on where it was, and an import that is killed is done by being called again.

    Neither holds more than some of it in memory.
    """
    path, full, empty = tmp_path / "cache.backup", tmp_path / "full", tmp_path / "empty"
    move("fill", full, path)
    move("export", full, path, die_after=300)
    move("export", full, path, die_after=300)
    assert not path.exists()
    report = move("export", full, path)
    assert report["entries"] == _ENTRIES
    assert report["grown"] < _GROWTH
    assert 600 <= report["resumed"] < _ENTRIES
    move("import", empty, path, die_after=500)
    assert 500 <= move("check", empty, path)["right"] < _ENTRIES
    report = move("import", empty, path)
    assert (report["entries"], report["skipped"]) == (_ENTRIES, {})
    assert report["grown"] < _GROWTH
    assert move("check", empty, path)["right"] == _ENTRIES
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cache.backup", "empty", "full"]
