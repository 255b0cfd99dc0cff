"""The command, and the version that it tells."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import toolcache
from toolcache.__main__ import main

ROOT = Path(toolcache.__file__).parent.parent


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What a fresh process says to it."""
    line = [sys.executable, "-W", "error", "-m", "toolcache", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


def test_the_version() -> None:
    """``--version`` is answered on standard output, in one line."""
    done = command("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"toolcache {toolcache.__version__}\n", "")


@pytest.mark.parametrize("arguments", [[], ["--help"]], ids=["nothing", "help"])
def test_the_help(arguments: list[str]) -> None:
    """Without arguments, or asked to, it says what it takes."""
    done = command(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--version" in done.stdout


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["--version=2"], ["-v"]], ids=" ".join)
def test_unknown_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What it does not know it names, on standard error, with exit code 2."""
    code = main(arguments)
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert re.search(r"error: .*(nonsense|version|-v)", told.err)


def test_telling_the_version_loads_nothing() -> None:
    """Of the package's modules, ``--version`` needs the two that are the command; no parser, no typing, no metadata."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "toolcache", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    loaded = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
    assert {name for name in loaded if name.startswith("toolcache")} == {"toolcache"}  # the other runs as __main__
    assert loaded & {"argparse", "asyncio", "importlib.metadata", "re"} == set()


def test_there_is_one_version() -> None:
    """The build takes the version from the package, where it stands as text that can be read without running it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    source = (ROOT / project["tool"]["hatch"]["version"]["path"]).read_text("utf-8")
    assert re.findall(r'^__version__ = "(.+)"$', source, re.MULTILINE) == [toolcache.__version__]


def test_one_extra_brings_all() -> None:
    """DEPENDENCIES, decisions: ``all`` has every extra that a user may want, and what tests need in none of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    (everything,) = extras["all"]
    wanted = ",".join(sorted(set(extras) - {"all", "test"}))
    assert everything == f"{project['name']}[{wanted}]"
