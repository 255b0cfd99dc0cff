"""Several processes on one directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import toolcache

_SHARE = Path(__file__).with_name("share_log.py")


@pytest.mark.parametrize(("processes", "seconds", "kills"), [(2, 3.0, 0), (3, 6.0, 30)])
def test_processes_that_share_a_directory_read_what_was_acknowledged(
    tmp_path: Path, processes: int, seconds: float, kills: int
) -> None:
    """FS-16, BUG-91, I3: every read is one complete value, at least as new as what was acknowledged before it began, in
    whichever process, while segments are sealed and rewritten and processes are killed.
    """  # noqa: D205 - one sentence
    root = tmp_path / "log"
    ran = subprocess.run(
        [sys.executable, str(_SHARE), str(root), str(processes), str(seconds), "11", str(kills)],
        env=os.environ | {"PYTHONPATH": str(Path(toolcache.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    *wrong, last = ran.stdout.splitlines()
    report = json.loads(last)
    assert wrong == []
    assert ran.stderr == ""
    assert report["failed"] == 0
    assert report["reads"] > 1000
    assert report["writes"] > 500
    assert sum(path.stat().st_size for path in (root / "seg").iterdir()) < 8 * 2**20
