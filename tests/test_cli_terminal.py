"""The command line on a real terminal, in real pipes, and in processes of its own."""

import errno
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Ran, Terminal, call, command, environment

import toolcache
from toolcache.cli import main
from toolcache.cli.verbs import FAMILIES, HOMES, SHORT

ROOT = Path(toolcache.__file__).parent.parent
Toolcache = Callable[..., Ran]
ESCAPE = "\x1b["


@pytest.fixture
def do(capsys: pytest.CaptureFixture[str]) -> Toolcache:
    """The command in this process, for what only has to be done."""
    return lambda *arguments: call(capsys, *arguments)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Options for files of the test's own."""
    return ["--backend", "file", "--dir", str(tmp_path / "files")]


class TestAsking:
    @pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0)])
    def test_a_dangerous_verb_asks(
        self, do: Toolcache, files: list[str], tmp_path: Path, typed: str, code: int, left: int
    ) -> None:
        """On a terminal ``clear`` asks; whatever is no yes changes nothing, and is exit code 1."""
        do(*files, "set", "a", "1")
        with Terminal([*files, "clear"], tmp_path) as terminal:
            terminal.until("Forget everything in the namespace 'default'? [y/N]")
            terminal.press(typed)
            assert terminal.end().code == code
        assert do(*files, "get", "a").code == left

    def test_ctrl_c_at_a_question(self, files: list[str], tmp_path: Path) -> None:
        """Ctrl-C at a question is heard at once: exit code 130, no traceback, nothing changed."""
        with Terminal([*files, "clear"], tmp_path) as terminal:
            terminal.until("[y/N]")
            ended = terminal.interrupt()
        assert ended.code == 130
        assert "Traceback" not in ended.out

    def test_yes_does_not_ask(self, files: list[str], tmp_path: Path) -> None:
        """With ``--yes`` nobody is asked."""
        with Terminal([*files, "clear", "-y"], tmp_path) as terminal:
            ended = terminal.end()
        assert ended.code == 0
        assert "[y/N]" not in ended.out


class TestColours:
    @pytest.mark.parametrize(
        ("arguments", "environ", "coloured"),
        [
            ([], {}, True),
            (["--no-color"], {}, False),
            ([], {"NO_COLOR": "1"}, False),
            ([], {"TERM": "dumb"}, False),
        ],
    )
    def test_on_a_terminal(
        self, files: list[str], tmp_path: Path, arguments: list[str], environ: dict[str, str], coloured: bool
    ) -> None:
        """A terminal gets colours, unless it or a person wants none."""
        with Terminal([*files, "health", *arguments], tmp_path, environ=environ) as terminal:
            ended = terminal.end()
        assert ended.code == 0
        assert (ESCAPE in ended.out) is coloured
        assert "works" in ended.out

    @pytest.mark.parametrize(("environ", "coloured"), [({}, False), ({"FORCE_COLOR": "1"}, True)])
    def test_in_a_pipe(self, files: list[str], tmp_path: Path, environ: dict[str, str], coloured: bool) -> None:
        """A pipe gets none, unless they are forced."""
        ran = command(*files, "health", cwd=tmp_path, environ=environ)
        assert (ESCAPE in ran.out) is coloured

    def test_a_document_is_never_coloured(self, files: list[str], tmp_path: Path) -> None:
        """``--json`` is plain on a terminal too."""
        with Terminal([*files, "health", "--json"], tmp_path, environ={"FORCE_COLOR": "1"}) as terminal:
            ended = terminal.end()
        assert json.loads(ended.out)["status"] == "ok"

    def test_an_encoding_without_blocks(self, files: list[str], tmp_path: Path) -> None:
        """Where the locale has ASCII alone, nothing fails and all is ASCII."""
        ran = command(*files, "health", cwd=tmp_path, environ={"PYTHONIOENCODING": "ascii"})
        assert ran.code == 0
        assert ran.out.isascii()


class TestValues:
    def test_standard_input(self, files: list[str], tmp_path: Path) -> None:
        """``-`` reads the value from standard input; bytes come back as they were."""
        raw = bytes(range(256))
        assert command(*files, "set", "a", "-", "--as", "bytes", cwd=tmp_path, stdin=raw).code == 0
        line = [sys.executable, "-m", "toolcache", *files, "get", "a"]
        done = subprocess.run(line, capture_output=True, check=True, cwd=tmp_path, env=environment(), timeout=30)
        assert done.stdout == raw
        wrong = command(*files, "set", "a", "-", cwd=tmp_path, stdin=raw)
        assert wrong.code == 2
        assert "--as bytes" in wrong.err

    def test_a_terminal_obeys_no_value(self, files: list[str], tmp_path: Path) -> None:
        """A value that holds escape codes is harmless on a terminal, and itself in a pipe."""
        command(*files, "set", "a", "-", cwd=tmp_path, stdin=b"red \x1b[31mtext\nnext")
        assert command(*files, "get", "a", cwd=tmp_path).out == "red \x1b[31mtext\nnext\n"
        with Terminal([*files, "get", "a"], tmp_path) as terminal:
            assert terminal.end().out == "red \\x1b[31mtext\nnext\n"

    @pytest.mark.parametrize("columns", [60, 120])
    def test_a_table_of_keys(self, do: Toolcache, files: list[str], tmp_path: Path, columns: int) -> None:
        """On a terminal keys are a table that fits, with more columns where there is room."""
        do(*files, "set", "k" * 150, "1", "--tag", "some:tag")
        with Terminal([*files, "keys", "--no-color"], tmp_path, columns=columns) as terminal:
            lines = terminal.end().out.splitlines()
        assert max(map(len, lines)) <= columns
        assert lines[0].split()[0] == "KEY"
        assert ("TAGS" in lines[0]) is (columns > 60)
        assert lines[-1].startswith("1 entry, ")


class TestEndings:
    def test_a_reader_that_leaves(self, do: Toolcache, files: list[str], tmp_path: Path) -> None:
        """Whoever reads a pipe may leave: no complaint."""
        for number in range(3):
            do(*files, "set", f"key:{number}", "1")
        ours, theirs = os.pipe()
        os.close(ours)
        line = [sys.executable, "-m", "toolcache", *files, "keys"]
        done = subprocess.run(
            line, stdout=theirs, stderr=subprocess.PIPE, check=False, cwd=tmp_path, env=environment(), timeout=30
        )
        os.close(theirs)
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.parametrize("document", [False, True])
    @pytest.mark.parametrize("late", [False, True])
    def test_a_disk_that_is_full(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, document: bool, late: bool
    ) -> None:
        """What cannot be written is told in one sentence, exit code 1: also where it shows only when all is written."""

        class Full(io.StringIO):
            flushed = not late

            def write(self, text: str) -> int:
                if not late:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return len(text)

            def flush(self) -> None:
                if not self.flushed:  # what stands in for it after that takes everything
                    self.flushed = True
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(sys, "stdout", Full())
        assert main(["config", "--backend", "memory", *(["--json"] if document else [])]) == 1
        monkeypatch.undo()
        (said,) = capsys.readouterr().err.splitlines()
        assert said.startswith("error: ")
        assert said.endswith(os.strerror(errno.ENOSPC))

    def test_ctrl_c(self, tmp_path: Path) -> None:
        """Ctrl-C in the middle of something ends it with 130, and no traceback."""
        with Terminal(["--backend", "memory", "bench", "--seconds", "30"], tmp_path) as terminal:
            terminal.until(ESCAPE)  # the bar
            terminal.press("\x03")
            ended = terminal.end()
        assert ended.code == 130
        assert "Traceback" not in ended.out

    def test_an_error_has_no_traceback_unless_wanted(self, tmp_path: Path) -> None:
        """Errors are a sentence; ``--debug`` shows where they come from."""
        (tmp_path / "file").write_text("")
        wrong = ["--dir", str(tmp_path / "files"), "restore", str(tmp_path / "nothing"), "--yes"]
        ran = command(*wrong, cwd=tmp_path)
        assert ran.code == 1
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1
        assert "Traceback" in command(*wrong, "--debug", cwd=tmp_path).err


class TestWatch:
    @pytest.mark.parametrize("leave", ["q", "\x03"])
    def test_it_shows_until_told_to_leave(self, files: list[str], tmp_path: Path, leave: str) -> None:
        """It takes the whole screen, looks again each second, follows the size of the terminal, and gives all back."""
        with Terminal([*files, "watch", "--interval", "100ms"], tmp_path) as terminal:
            terminal.until(f"{ESCAPE}?1049h")
            terminal.until("q leaves")
            terminal.until("q leaves", times=3)
            terminal.resize(120)
            terminal.until(" " * 100)
            terminal.press(leave)
            ended = terminal.end()
        assert ended.code == 0
        assert f"{ESCAPE}?1049l" in ended.out
        assert "Traceback" not in ended.out

    def test_in_a_pipe_it_looks_once(self, files: list[str], tmp_path: Path) -> None:
        """Without a terminal, and with ``--json``, it is one look."""
        assert "the last 15m" in command(*files, "watch", cwd=tmp_path).out
        assert json.loads(command(*files, "watch", "--period", "5m", "--json", cwd=tmp_path).out)["period"] == "5m"


class TestSpeed:
    @pytest.mark.parametrize(
        ("arguments", "spared"),
        [
            (["--help"], ("rich", "asyncio", "toolcache.settings", "toolcache.cache", "redis", "json")),
            (["stats", "--help"], ("rich", "asyncio", "toolcache.settings", "toolcache.cache", "redis")),
            (["stats", "--json"], ("rich", "redis", "numpy")),
            (["stats"], ("redis", "numpy", "rich.progress", "rich.live", "rich.markdown", "rich.syntax")),
        ],
        ids=["help", "help of a verb", "document", "table"],
    )
    def test_what_is_not_needed_is_not_loaded(
        self, arguments: list[str], spared: tuple[str, ...], tmp_path: Path
    ) -> None:
        """The help loads no table, no loop and no cache; a verb loads no other verb."""
        line = [sys.executable, "-X", "importtime", "-m", "toolcache", *arguments]
        done = subprocess.run(
            line,
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env=environment(HOME=str(tmp_path)),
            timeout=30,
        )
        loaded = set(re.findall(r"\| +(\S+)$", done.stderr, re.MULTILINE))
        assert loaded.isdisjoint(spared)
        assert loaded & {home.partition(":")[0] for home in HOMES.values()} <= {"toolcache.cli.stats"}


class TestHelp:
    def test_every_verb_has_its_place(self) -> None:
        """The table of the help, that of the modules and that of the lines have the same verbs, each once."""
        listed = [verb for verbs in FAMILIES.values() for verb in verbs.split()]
        assert sorted(listed) == sorted(SHORT) == sorted(HOMES)

    def test_a_bare_install(self, tmp_path: Path) -> None:
        """Where click is not installed it says what to install, and not the name of another project's distribution."""
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        (hidden / "sitecustomize.py").write_text(
            "import importlib.util as u, sys\n"
            "find = u.find_spec\n"
            "u.find_spec = lambda name, *a: None if name == 'click' else find(name, *a)\n"
        )
        ran = command("stats", cwd=tmp_path, environ={"PYTHONPATH": f"{hidden}{os.pathsep}{ROOT}"})
        assert (ran.code, ran.out) == (2, "")
        assert "pip install '.[cli]'" in ran.err
        assert "pip install toolcache" not in ran.err

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_completion(self, shell: str, tmp_path: Path) -> None:
        """Each shell gets a script that calls the command."""
        ran = command("completion", shell, cwd=tmp_path)
        assert ran.code == 0
        assert "_TOOLCACHE_COMPLETE" in ran.out
        assert json.loads(command("completion", shell, "--json", cwd=tmp_path).out)["shell"] == shell

    def test_what_is_completed(self, tmp_path: Path) -> None:
        """Verbs and options are completed, and nothing of the cache is loaded for it."""
        words = {"_TOOLCACHE_COMPLETE": "bash_complete", "COMP_WORDS": "toolcache st", "COMP_CWORD": "1"}
        assert command(cwd=tmp_path, environ=words).out.split() == ["plain,stale", "plain,stats"]
        words |= {"COMP_WORDS": "toolcache stats --pe", "COMP_CWORD": "2"}
        assert command(cwd=tmp_path, environ=words).out.split() == ["plain,--period"]
