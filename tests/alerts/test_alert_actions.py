"""What is done when an alert fires: programs, the log, functions; one at a time to each, and none waits for another."""

import asyncio
import json
import logging
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alerting import an_alert

from toolcache import ToolCache
from toolcache.alerts import Alert, Command, CommandError, Log
from toolcache.alerts.courier import Courier
from toolcache.events import AlertActionFailed
from toolcache.testing import Recorder

WRITES = """
import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("TOOLCACHE_ALERT_")}
with open(sys.argv[1] + ".part", "w") as file:
    json.dump([sys.argv[2:], json.load(sys.stdin), told], file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
"""


@pytest.fixture
def recorder() -> Recorder:
    """What was told."""
    return Recorder()


@pytest.fixture
async def courier(recorder: Recorder) -> AsyncIterator[Courier]:
    """Tells actions."""
    async with ToolCache(files=False) as cache:
        cache.subscribe(recorder)
        yield Courier(cache._parts, cache._machine.homes)


async def test_a_program_is_told_the_alert(tmp_path: Path) -> None:
    """D3: as JSON on its standard input and in variables; its arguments are what they are, and no shell's."""
    out = tmp_path / "out.json"
    await Command([sys.executable, "-c", WRITES, str(out), "$HOME; `id`"])(an_alert())
    arguments, alert, variables = json.loads(out.read_text("utf-8"))
    assert arguments == ["$HOME; `id`"]
    assert alert == an_alert().as_dict()
    assert variables == {
        "TOOLCACHE_ALERT_ID": "0123456789abcdef",
        "TOOLCACHE_ALERT_KEY": "fedcba9876543210",
        "TOOLCACHE_ALERT_NAME": "few hits",
        "TOOLCACHE_ALERT_STATUS": "firing",
        "TOOLCACHE_ALERT_TEXT": "few hits: hit_rate is 10 %",
        "TOOLCACHE_ALERT_METRIC": "hit_rate",
        "TOOLCACHE_ALERT_VALUE": "0.1",
        "TOOLCACHE_ALERT_THRESHOLD": "0.5",
    }


async def test_a_program_that_fails() -> None:
    """D3: its code is told; one that is not there is an error like any other."""
    with pytest.raises(CommandError, match="it ended with code 3"):
        await Command([sys.executable, "-c", "raise SystemExit(3)"])(an_alert())
    with pytest.raises(FileNotFoundError):
        await Command(["/nowhere/at/all"])(an_alert())


async def test_a_program_that_reads_nothing() -> None:
    """D3: whoever does not want to know is not forced to."""
    command = Command([sys.executable, "-c", "import os; os.close(0)"])
    await command(an_alert(only={"domain": "x" * 200_000}))
    assert command.timeout == 30.0


async def test_a_program_that_does_not_end(tmp_path: Path) -> None:
    """D3: it is killed when its time is over, and what it has started with it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    program = "import subprocess, sys; subprocess.run(['sleep', '60'], stdout=open(sys.argv[1], 'w'))"
    try:
        with pytest.raises(CommandError, match=r"it was killed after 0\.3 s"):
            await Command([sys.executable, "-c", program, str(fifo)], timeout="300ms")(an_alert())
        os.set_blocking(reader, True)
        assert (
            await asyncio.wait_for(asyncio.to_thread(os.read, reader, 1), 10) == b""
        )  # nobody can write to it any more
    finally:
        os.close(reader)


@pytest.mark.parametrize("arguments", ["page-me --quiet", b"page-me", ["page-me", 7]])
def test_commands_are_lists(arguments: Any) -> None:
    """D3: a text is no list: there is no shell to take it apart."""
    with pytest.raises(TypeError, match="a command is a list of texts"):
        Command(arguments)


@pytest.mark.parametrize("arguments", [[], [""], ["a", "b\0c"]])
def test_commands_name_a_program(arguments: list[str]) -> None:
    """D3: refused when it is made."""
    with pytest.raises(ValueError, match="a command names a program"):
        Command(arguments)


def test_what_is_shown_of_a_command() -> None:
    """D3: not the arguments, which may be secrets."""
    assert repr(Command(["/bin/page-me", "--token", "secret"])) == "Command(['/bin/page-me', …])"
    assert repr(Command(["/bin/page-me"])) == "Command(['/bin/page-me'])"
    assert stat.S_ISREG(Path(sys.executable).stat().st_mode)


async def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """D3: one line, as grave as it was told; what is over is no more than worth knowing."""
    with caplog.at_level(logging.DEBUG, "toolcache.alerts"):
        await Log("error")(an_alert())
        await Log("error")(an_alert(status="resolved"))
        await Log("debug")(an_alert(status="resolved"))
        await Log()(an_alert())
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO", "DEBUG", "WARNING"]
    assert {record.getMessage() for record in caplog.records} == {"few hits: hit_rate is 10 %"}
    assert repr(Log("Error")) == "Log('error')"


@pytest.mark.parametrize("level", ["eror", "", 30])
def test_levels_that_are_none(level: Any) -> None:
    """D3: refused, with those that there are."""
    with pytest.raises(ValueError, match="is none of debug, info, warning, error, critical"):
        Log(level)


async def test_functions_of_all_kinds(courier: Courier) -> None:
    """D3: sync ones run in a thread, and hold nothing up; async ones, and objects, on the loop."""
    told: list[tuple[str, bool]] = []

    def note(kind: str) -> None:
        told.append((kind, threading.current_thread() is threading.main_thread()))

    def plain(_: Alert) -> None:
        note("plain")

    async def coroutine(_: Alert) -> None:
        note("async")

    def later(_: int, alert: Alert) -> Any:
        return coroutine(alert)

    class Thing:
        async def __call__(self, _: Alert) -> None:
            note("object")

    await courier.carry(an_alert(), [plain, coroutine, Thing(), partial(later, 1)])
    assert sorted(told) == [("async", True), ("async", True), ("object", True), ("plain", False)]
    assert (courier.sent, courier.failed) == (4, 0)


async def test_one_at_a_time_to_each(courier: Courier) -> None:
    """D3: an action that is at something gets what comes meanwhile afterwards, in order; others need not wait for it."""
    go, all_fast = asyncio.Event(), asyncio.Event()
    slow: list[str] = []
    fast: list[str] = []
    running = most = 0

    async def slowly(alert: Alert) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await go.wait()
        slow.append(alert.id)
        running -= 1

    async def quickly(alert: Alert) -> None:
        fast.append(alert.id)
        if len(fast) == 3:
            all_fast.set()

    tasks = [courier.carry(an_alert(id=str(number)), [slowly, quickly]) for number in range(3)]
    await all_fast.wait()
    assert slow == []
    go.set()
    await asyncio.wait(tasks)
    assert slow == fast == ["0", "1", "2"]
    assert most == 1


async def test_faults_are_counted_and_told(courier: Courier, recorder: Recorder) -> None:
    """D3: whatever an action does, others are told, and the fault is told without its text."""
    told = []

    async def broken(_: Alert) -> None:
        raise ValueError("secret")

    async def cancelled(_: Alert) -> None:
        raise asyncio.CancelledError

    async def timed_out(_: Alert) -> None:
        raise TimeoutError

    def fine(alert: Alert) -> None:
        told.append(alert)

    await courier.carry(an_alert(), [broken, cancelled, timed_out, Command(["/nowhere"]), fine])
    assert (courier.sent, courier.failed, len(told)) == (1, 4, 1)
    failed = {event.handler.rpartition(".")[2]: event.reason for event in recorder.of(AlertActionFailed)}
    assert failed == {
        "broken": "ValueError",
        "cancelled": "CancelledError",
        "timed_out": "TimeoutError",
        "Command(['/nowhere'])": "FileNotFoundError",
    }


async def test_an_action_does_not_take_for_ever(courier: Courier, recorder: Recorder) -> None:
    """D3: one that hangs is given up, and the next alert reaches it."""

    class Hanging:
        patience = 0.02
        begun = 0

        async def __call__(self, _: Alert) -> None:
            self.begun += 1
            await asyncio.Event().wait()

    hanging = Hanging()
    await asyncio.wait([courier.carry(an_alert(), [hanging]), courier.carry(an_alert(), [hanging])])
    assert hanging.begun == 2
    assert [event.reason for event in recorder.of(AlertActionFailed)] == ["it took longer than 0.02 s"] * 2


async def test_functions_that_never_return(courier: Courier) -> None:
    """D3: they take no thread from others, however many they are."""
    go, told = threading.Event(), list[Alert]()

    class Hanging:
        patience = 0.01

        def __call__(self, _: Alert) -> None:
            go.wait()

    try:
        await courier.carry(an_alert(), [Hanging() for _ in range(50)])
        await courier.carry(an_alert(), [told.append])
    finally:
        go.set()
    assert len(told) == 1
    assert (courier.sent, courier.failed) == (1, 50)
