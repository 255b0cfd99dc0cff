"""What `make demo` sets up before it runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
SERVER = "installing what the tests need"


@pytest.mark.parametrize(
    ("file", "variables", "wanted"),
    [
        (None, {}, False),
        (None, {"USE_REDIS": "true"}, True),
        (None, {"USE_REDIS": "false"}, False),
        ("USE_REDIS=true", {}, True),
        ("TOOLCACHE_FILES=true\n  export USE_REDIS = 'on' # as ever\n", {}, True),
        ("USE_REDIS=true", {"USE_REDIS": "0"}, False),
        ('USE_REDIS="false"', {"USE_REDIS": "1"}, True),
        ("USE_REDIS=true\nUSE_REDIS=no # not today\n", {}, False),
        ("# USE_REDIS=true", {}, False),
        ("USE_REDIS=", {}, False),
    ],
)
def test_the_demo_has_a_server_where_one_is_wanted(
    file: str | None, variables: dict[str, str], wanted: bool, tmp_path: Path
) -> None:
    """E1, E6: the embedded server is installed if USE_REDIS, of the environment or else of .env, wants one."""
    shutil.copy(MAKEFILE, tmp_path)
    (tmp_path / "pyproject.toml").touch()
    if file is not None:
        (tmp_path / ".env").write_text(file)
    kept = {k: v for k, v in os.environ.items() if not re.match(r"USE_REDIS|MAKE|MFLAGS", k)}
    done = subprocess.run(
        ["make", "-n", "demo", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        env=kept | variables,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "examples/02_deep_dive.py" in done.stdout, done.stderr
    assert (SERVER in done.stdout) is wanted
