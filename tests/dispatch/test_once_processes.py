"""Requests that are run once, asked for by processes of one host and of several."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dispatch.askers import Asker, runs
from servers import RedisServer

_MUCH_SOONER = 10.0
"""Seconds that no lease here and no unprompted look is as short as."""


class Scene:
    """A Redis, hosts, and processes there.

    Args:
        at: a directory for all of them.
        server: the Redis.
        layering: what caches have below memory.
    """

    def __init__(self, at: Path, server: RedisServer, layering: str = "redis+files") -> None:
        self.at = at
        self.server = server
        self.layering = layering
        self.witness = at / "witness"
        self.askers: list[Asker] = []
        self._numbers = itertools.count()

    def begin(self, name: str, host: str = "host", **options: Any) -> Asker:
        """One more process, which may not be ready yet."""
        url = self.server.url if "redis" in self.layering else ""
        directory = self.at / host if "files" in self.layering else None
        asker = Asker(name, url, directory, self.witness, **options)
        self.askers.append(asker)
        return asker

    def start(self, *names: str, host: str = "host", **options: Any) -> list[Asker]:
        """Processes of one host, ready."""
        begun = [self.begin(name, host, **options) for name in names]
        return [asker.ready() for asker in begun]

    def runs(self, key: str) -> list[tuple[str, int]]:
        """Who has begun to run a request, and the number of the attempt."""
        return runs(self.witness, key)

    def gate(self) -> Path:
        """A file that is not there yet."""
        return self.at / f"gate-{next(self._numbers)}"

    def close(self) -> None:
        """End the processes."""
        for asker in self.askers:
            asker.leave()
        for asker in self.askers:
            asker.close()


@pytest.fixture
def scene(tmp_path: Path, own_redis: RedisServer) -> Iterator[Scene]:
    """A scene of a test's own."""
    scene = Scene(tmp_path, own_redis)
    yield scene
    scene.close()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene for the tests that end nobody: two processes of one host and one of another, which look only when they are told."""
    with RedisServer() as server:
        scene = Scene(tmp_path_factory.mktemp("standing"), server)
        near = [scene.begin(name, deaf=True) for name in ("first", "second")]
        far = scene.begin("far", "elsewhere", deaf=True)
        for asker in (*near, far):
            asker.ready()
        yield scene
        scene.close()


def of(scene: Scene, *names: str) -> list[Asker]:
    """The processes of these names."""
    return [next(asker for asker in scene.askers if asker.name == name) for name in names]


# -- one run for all --------------------------------------------------------------------------------------------------


def test_a_hundred_callers_in_two_processes_are_one_run(standing: Scene) -> None:
    """BUG-115: fifty callers in each of two processes, and fifty on another host, have one execution's output."""
    askers, gate = of(standing, "first", "second", "far"), standing.gate()
    steps = [asker.ask("crowd", until=gate, callers=50) for asker in askers]
    gate.touch()
    outputs = {asker.output(step) for asker, step in zip(askers, steps, strict=True)}
    ((name, attempt),) = standing.runs("crowd")
    assert outputs == {f"of {name}"}
    assert attempt == 1


@pytest.mark.parametrize("who", ["second", "far"])
def test_who_waits_is_told_of_the_answer(standing: Scene, who: str) -> None:
    """SPEC 8: a waiter in another process, here or on another host, has the answer when it stands, and asks a few times at most."""
    (runner, waiter), gate, key = of(standing, "first", who), standing.gate(), f"told {who}".replace(" ", "-")
    running = runner.ask(key, until=gate)
    runner.hear(begun=key)
    waiting = waiter.ask(key, callers=50)
    time.sleep(0.2)  # until they wait; sooner would prove less, never more
    gate.touch()
    ran, told = runner.done(running), waiter.done(waiting)
    assert told["outputs"] == ran["outputs"] == ["of first"]
    assert told["done_at"] - ran["ended_at"] < _MUCH_SOONER  # who is not told looks after five minutes
    assert told["sent"] <= 16
    assert len(standing.runs(key)) == 1


@pytest.mark.parametrize("who", ["second", "far"])
def test_who_waits_is_told_of_the_failure(standing: Scene, who: str) -> None:
    """SPEC 8: a waiter is told that the run it waited for has failed; the next call runs, here or on another host."""
    (runner, waiter), gate, key = of(standing, "first", who), standing.gate(), f"failed-{who}"
    running = runner.ask(key, until=gate, how="raise")
    runner.hear(begun=key)
    waiting = waiter.ask(key)
    time.sleep(0.2)  # until it waits; sooner would prove less, never more
    gate.touch()
    assert runner.output(running) == "! ValueError"
    assert waiter.output(waiting) == "! StoredAgentError"
    assert waiter.once(key) == f"of {who}"
    assert [name for name, _ in standing.runs(key)] == ["first", who]


def test_another_process_with_another_payload_is_refused(standing: Scene) -> None:
    """BUG-115: the same key with something else asked is a conflict, while it runs and after it, on each host."""
    (first, second, far), gate = of(standing, "first", "second", "far"), standing.gate()
    running = first.ask("payload", until=gate, asks={"to": "ada"})
    first.hear(begun="payload")
    assert second.once("payload", asks={"to": "bob"}) == "! TaskMismatchError"
    assert far.once("payload", asks={"to": "bob"}) == "! TaskMismatchError"
    gate.touch()
    assert first.output(running) == "of first"
    assert far.once("payload", asks={"to": "bob"}) == "! TaskMismatchError"
    assert second.once("payload", asks={"to": "ada"}) == far.once("payload", asks={"to": "ada"}) == "of first"
    assert len(standing.runs("payload")) == 1


def test_another_host_has_the_answer_from_redis(standing: Scene) -> None:
    """ID-10: completed on one host, it is an answer on another one that has never heard of it, and in its files from then on."""
    first, far = of(standing, "first", "far")
    assert first.once("elsewhere") == "of first"
    assert far.once("elsewhere") == "of first"
    for key in standing.server.command("KEYS", "tc1:i:default:*elsewhere"):
        standing.server.command("DEL", key)
    assert far.once("elsewhere") == "of first"
    assert len(standing.runs("elsewhere")) == 1


def test_another_host_may_forget(standing: Scene) -> None:
    """SPEC 8: what another host has forgotten is heeded at the next call, whatever the files here say."""
    first, second, far = of(standing, "first", "second", "far")
    assert first.once("forgotten") == second.once("forgotten") == "of first"
    assert far.done(far.do("forget", key="forgotten"))["known"]
    assert second.once("forgotten") == "of second"
    assert first.once("forgotten") == far.once("forgotten") == "of second"
    assert [name for name, _ in standing.runs("forgotten")] == ["first", "second"]


def test_another_host_may_forget_what_is_running(standing: Scene) -> None:
    """ID-33: its caller gets the output, which is stored nowhere; the next call runs."""
    (first, far), gate = of(standing, "first", "far"), standing.gate()
    running = first.ask("forgotten-meanwhile", until=gate)
    first.hear(begun="forgotten-meanwhile")
    assert not far.done(far.do("forget", key="forgotten-meanwhile"))["known"]
    assert far.once("forgotten-meanwhile") == "of far"
    gate.touch()
    assert first.output(running) == "of first"
    assert first.once("forgotten-meanwhile") == "of far"


# -- the dead, the paused, the closed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layering", ["redis", "files", "redis+files"])
def test_a_killed_process_is_taken_over(tmp_path: Path, own_redis: RedisServer, layering: str) -> None:
    """BUG-115: kill -9 in mid-run; who waits takes it over as the second attempt: on files at once, in Redis after its lease."""
    scene = Scene(tmp_path, own_redis, layering)
    lease = 1 if layering == "redis" else 600
    try:
        first, second = scene.start("first", "second")
        first.ask("killed", until=scene.gate(), lease=lease)
        first.hear(begun="killed")
        waiting = second.ask("killed", lease=lease)
        first.kill()
        assert second.output(waiting) == "of second"
        assert scene.runs("killed") == [("first", 1), ("second", 2)]
        assert "TakenOver" in second.done(second.do("tell"))["events"]
    finally:
        scene.close()


@pytest.mark.parametrize("layering", ["redis", "files", "redis+files"])
def test_who_finishes_late_is_fenced_out(tmp_path: Path, own_redis: RedisServer, layering: str) -> None:
    """ID-12, BUG-115: a runner that stood still is overtaken; the first answer is everybody's, its own callers' too, from then on."""
    scene, gate = Scene(tmp_path, own_redis, layering), tmp_path / "gate"
    try:
        slow, quick = scene.start("slow", "quick")
        running = slow.ask("paused", until=gate, lease=1)
        slow.hear(begun="paused")
        with slow.paused():
            assert quick.once("paused", lease=1) == "of quick"
            gate.touch()
        assert slow.output(running) == "of quick"
        assert slow.once("paused") == quick.once("paused") == "of quick"
        assert scene.runs("paused") == [("slow", 1), ("quick", 2)]
        assert "DuplicateExecution" in slow.done(slow.do("tell"))["events"]
    finally:
        scene.close()


def test_a_process_that_closes_lets_go(scene: Scene) -> None:
    """ID-23: SIGTERM, and a cache closed without draining: the claim is released, here and for other hosts, whatever its lease."""
    leaving, here = scene.start("leaving", "here", deaf=True)
    (far,) = scene.start("far", host="elsewhere", deaf=True)
    for key in ("for-here", "for-far"):
        leaving.ask(key, until=scene.gate(), lease=600)
        leaving.hear(begun=key)
    waiting = here.ask("for-here", lease=600), far.ask("for-far", lease=600)
    leaving.terminate()
    leaving.hear(closed=True)
    assert (here.output(waiting[0]), far.output(waiting[1])) == ("of here", "of far")
    assert scene.runs("for-here") == [("leaving", 1), ("here", 1)]
    assert scene.runs("for-far") == [("leaving", 1), ("far", 1)]


def test_what_kills_its_process_is_given_up(scene: Scene) -> None:
    """ID-24: it runs three times, each in another process, and then never again: here, and on another host."""
    askers = [scene.begin(f"victim-{number}") for number in range(3)]
    last, far = scene.begin("last"), scene.begin("far", "elsewhere")
    for asker in askers:
        asker.ready().ask("deadly", how="die", lease=600)
        asker.process.wait()
    assert last.ready().once("deadly", how="die", lease=600) == "! TakeoverLimitError"
    assert last.once("deadly", how="die", lease=600) == "! TakeoverLimitError"
    assert far.ready().once("deadly", how="die", lease=600) == "! TakeoverLimitError"
    assert [attempt for _, attempt in scene.runs("deadly")] == [1, 2, 3]
