"""Every code block of the README and of docs/ runs, and prints what the page says it prints."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import PAGES, ROOT, Block, blocks, env_example
from servers import RedisServer, server_binary

from toolcache import Settings
from toolcache.errors import SettingsError

LOCAL_REDIS = "redis://localhost:6379"
# A measured time or factor: the page shows what one run measured, another run measures something else.
MEASURED = re.compile(r"\d[\d,]*(\.\d+)?(?= ?(s|ms|µs|us|times)\b)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def runnable(page: Path) -> bool:
    return any(block.language == "python" for block in blocks(page))


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """The address of a server for the pages that use one."""
    with RedisServer() as server:
        yield server.url


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_page_runs_and_prints_what_it_says(page: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """E5: the Python blocks of a page run in order, and each block titled "output" is what the one before it printed."""
    arguments = []
    if any(LOCAL_REDIS in block.text for block in blocks(page) if block.language == "python"):
        arguments.append(f"{LOCAL_REDIS}=>{request.getfixturevalue('redis')}")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("pages.py")), str(page), *arguments],
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, f"{name_of(page)} does not run:\n{done.stdout}\n{done.stderr}"
    # The log of an outage that the page makes on purpose.
    expected = ("no connection to redis://", "breaker redis.")
    complaints = [line for line in done.stderr.splitlines() if not line.startswith(expected)]
    assert not complaints, done.stderr

    printed = iter(done.stdout.split("\0\n"))
    last = ""
    for block in blocks(page):
        if block.language == "python":
            last = next(printed)
        elif block.title == 'title="output"':
            assert comparable(last) == comparable(block.text), f"{name_of(page)}:{block.line}"


def clean_environment(folder: Path) -> dict[str, str]:
    """A home of its own, and none of the settings of whoever runs the tests."""
    kept = {k: v for k, v in os.environ.items() if not re.match(r"TOOLCACHE_|AI_CACHE_|REDIS_|USE_REDIS|XDG_", k)}
    return kept | {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PATH": with_a_server(folder)}


def with_a_server(folder: Path) -> str:
    """A PATH on which a program named redis-server is, as it would be for a reader of the page."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "redis-server").symlink_to(server_binary())
    return f"{programs}{os.pathsep}{os.environ['PATH']}"


def comparable(output: str) -> str:
    return "\n".join(MEASURED.sub("#", line).rstrip() for line in output.strip().splitlines())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    """E5: no block escapes: Python is run, commands and settings are known ones, the rest is output or a picture."""
    for block in blocks(page):
        assert block.language in {"python", "sh", "ini", "text", "toml"}, (
            f"{name_of(page)}:{block.line}: {block.language!r}"
        )
        if block.language == "sh":
            for line in block.text.strip().splitlines():
                check_command(line, f"{name_of(page)}:{block.line}")


@pytest.mark.parametrize(
    "block",
    [pytest.param(b, id=f"{name_of(page)}:{b.line}") for page in PAGES for b in blocks(page) if b.language == "ini"],
)
def test_settings_that_a_page_shows_are_read(block: Block, tmp_path: Path) -> None:
    """E5: a block of variables is a .env file that the settings understand, and no name in it is misspelt."""
    check_settings(block.text, tmp_path)


def check_settings(text: str, folder: Path) -> None:
    """The text is one of a .env file whose every line counts."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    names = [line.partition("=")[0] for line in lines if "=" in line]
    assert len(names) == len(set(names)) == len(lines), "each line is one variable, each once"
    assert set(names) <= env_example().keys(), "a name that nobody reads"
    file = folder / "page.env"
    file.write_text(text, "utf-8")
    Settings.from_env({}, dotenv=file)


@pytest.mark.parametrize(
    "text",
    [
        "REDIS_PASWORD=x",
        "TOOLCACHE_NAMESPCE=shop",
        "TOOLCACHE_NAMESPACE=a:b",
        "TOOLCACHE_NAMESPACE: shop",
        "TOOLCACHE_TENANT=a\nTOOLCACHE_TENANT=b",
        "[toolcache]\nTOOLCACHE_TENANT=a",
    ],
)
def test_settings_that_nobody_reads_are_caught(text: str, tmp_path: Path) -> None:
    """E5: a slip of the pen in a block of variables fails the page."""
    with pytest.raises((AssertionError, SettingsError)):
        check_settings(text, tmp_path)


def check_command(line: str, where: str) -> None:
    """A command of the pages exists: a target of the Makefile, a file of the repository, a program of the system."""
    for one in re.split(r" (?:\||&&) ", line):
        check_program(re.sub(r'^eval "\$\((.*)\)"$', r"\1", one), where)


def check_program(line: str, where: str) -> None:
    """The same of one program of a line."""
    words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    match words:
        case [] | ["jq", _] | ["python", "-m", "asyncio"]:
            pass
        case ["make", *targets]:
            for target in (t for t in targets if "=" not in t):
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), (
                    f"{where}: {line}"
                )
        case ["python", script] if (ROOT / script).is_file():
            pass
        case ["pip", "install", *what]:
            assert "toolcache" not in what, f"{where}: that distribution is another project's"
            assert what in ([".", ".[zstd]"], ["."], [".[zstd]"], [".[cli]"], [".[cli,server]"]), f"{where}: {line}"
        case ["toolcache", *arguments]:
            check_verb(arguments, f"{where}: {line}")
        case ["cp", source, _] if (ROOT / source).is_file():
            pass
        case _:
            pytest.fail(f"{where}: nothing checks the command {line!r}")


def check_verb(arguments: list[str], where: str) -> None:
    """Arguments of the command line can be read; nothing is done."""
    import click

    from toolcache.cli.app import app
    from toolcache.cli.call import Choices
    from toolcache.cli.verb import Verb

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Verb, "invoke", lambda *_: 0)
        try:
            app.main(arguments, prog_name="toolcache", standalone_mode=False, obj=Choices())
        except click.UsageError as error:
            pytest.fail(f"{where}: {error.format_message()}")


@pytest.mark.parametrize(
    "line", ["toolcache stat", "toolcache stats --perod 1h", "toolcache get", "toolcache keys | xargs rm"]
)
def test_commands_that_nobody_knows_are_caught(line: str) -> None:
    """E5: a verb or an option that does not exist fails the page."""
    with pytest.raises(pytest.fail.Exception):
        check_command(line, "a page")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """E5: each relative link names a file that is there, and a heading in it."""
    prose = "".join(re.split(r"^```.*?^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL))
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), flags=re.MULTILINE)
            assert anchor in {slug(heading) for heading in headings}, f"{name_of(page)} links to {target}"


def slug(heading: str) -> str:
    """The anchor that GitHub, and the site, make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_commands_of_the_readme_are_those_of_the_gate() -> None:
    """E5: what the README tells a newcomer to type is what the gate runs from a clean clone."""
    commands = [b.text.strip() for b in blocks(ROOT / "README.md") if b.language == "sh"]
    assert commands[0].splitlines() == ["make demo", "make test"]
    assert "make test" in (ROOT / ".ci/run").read_text("utf-8")


def test_the_site_leads_to_every_page() -> None:
    """E5: a page that the navigation leaves out is found by nobody."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]["nav"]
    listed = set(re.findall(r"[\w/.-]+\.md", str(nav)))
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in PAGES if ROOT / "docs" in page.parents}


def test_a_page_that_lies_is_caught(tmp_path: Path) -> None:
    """E5: output that differs by more than a measured time is a difference."""
    assert comparable("a hit in 12.5 ms\n") == comparable("a hit in 3 ms")
    assert comparable("2 hits in 12.5 ms") != comparable("3 hits in 12.5 ms")
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\n1 + 1\n```\n\n````text\n```\n````\n", "utf-8")
    assert blocks(page) == [Block("python", "", "1 + 1\n", 4), Block("text", "", "```\n", 8)]
