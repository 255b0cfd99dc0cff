"""kill -9 in mid-write."""

import json
import os
import subprocess
import sys
from pathlib import Path

import toolcache

_WRITER = Path(__file__).with_name("kill_writer.py")
_ROUNDS = 200


def test_a_killed_writer_leaves_the_old_value_or_the_new_one(tmp_path: Path) -> None:
    """BUG-87, F-15: of 200 writers killed in mid-write, none leaves a torn value, and nothing acknowledged is lost."""
    root = tmp_path / "log"
    ran = subprocess.run(
        [sys.executable, str(_WRITER), str(root), str(_ROUNDS), "7"],
        env=os.environ | {"PYTHONPATH": str(Path(toolcache.__file__).parent.parent)},
        capture_output=True,
        timeout=55,
        check=True,
    )
    report = json.loads(ran.stdout)
    assert report["wrong"] == []
    assert report["acked"] > _ROUNDS
    assert report["killed_in_write"] > _ROUNDS // 2
    assert not list(root.glob("locks/*.tmp")), "the next start sweeps what the dead left"
