"""AgentResult, TaskError and Progress: what became of tasks, and how far they are."""

import asyncio
import copy
import dataclasses
import doctest
import gc
import pickle
import weakref
from typing import Any

import pytest

from toolcache import AgentResult, Progress, StoredAgentError, TaskError
from toolcache.dispatch import results, tasks, templates

ID = "0a1b2c3d" * 8
ERROR = TaskError("agents.RateLimited", "slow down")


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class TestTaskError:
    def test_it_is_the_words_of_an_exception(self) -> None:
        """The class by name, with its module unless it is built in, and the text."""
        assert TaskError.of(ValueError("no such label")) == TaskError("ValueError", "no such label")
        assert TaskError.of(asyncio.CancelledError()) == TaskError("asyncio.exceptions.CancelledError")
        assert TaskError.of(MuteError()) == TaskError(f"{__name__}.MuteError", "")

    def test_it_is_bounded_and_can_be_written(self) -> None:
        """A text of a megabyte, or one that is no Unicode, does not keep a failure from being stored."""
        assert TaskError.of(ValueError("x" * 2_000)).message == "x" * 2_000
        long = TaskError.of(ValueError("x" * 1_000_000)).message
        assert len(long) == 2_000
        assert long.endswith("x…")
        assert TaskError.of(ValueError("a\ud800b")).message == "a?b"


class TestUnwrap:
    @pytest.mark.parametrize("output", [0, "", {}, [], False, None, {"a": 1}])
    def test_the_output_as_it_is(self, output: Any) -> None:
        """Falsy outputs are outputs."""
        result = AgentResult(ID, output, replayed=True)
        assert result.ok
        assert result.unwrap() is output

    def test_the_exception_of_this_process(self) -> None:
        """Who ran it here gets the very exception, traceback and all, as often as asked."""
        error = ValueError("no such label")
        result = AgentResult(ID, status="failed", error=TaskError.of(error), exception=error)
        assert not result.ok
        for _ in range(2):
            with pytest.raises(ValueError, match="no such label") as caught:
                result.unwrap()
            assert caught.value is error

    def test_a_failure_elsewhere(self) -> None:
        """What is known of it by name stays a name."""
        with pytest.raises(StoredAgentError, match=r"agents\.RateLimited: slow down") as caught:
            AgentResult(ID, status="failed", error=ERROR, replayed=True).unwrap()
        assert (caught.value.type, caught.value.message, caught.value.key) == (ERROR.type, ERROR.message, "0a1b2c3d")
        assert caught.value.__cause__ is None

    def test_a_timeout_is_a_timeout(self) -> None:
        """Who catches ``TimeoutError`` catches those of other processes too; one raised here is raised itself."""
        with pytest.raises(TimeoutError, match="longer than its timeout"):
            AgentResult(ID, status="timeout").unwrap()
        with pytest.raises(TimeoutError, match=r"^after 30 s$"):
            AgentResult(ID, status="timeout", error=TaskError("TimeoutError", "after 30 s")).unwrap()
        mine = TimeoutError("mine")
        with pytest.raises(TimeoutError) as caught:
            AgentResult(ID, status="timeout", error=ERROR, exception=mine).unwrap()
        assert caught.value is mine

    async def test_a_cancelled_run_does_not_cancel_who_asks(self) -> None:
        """One task's cancellation is its own: to look at its result raises no ``CancelledError``."""
        result = AgentResult(ID, status="failed", exception=asyncio.CancelledError("by hand"))
        with pytest.raises(StoredAgentError, match=r"CancelledError: by hand") as caught:
            result.unwrap()
        assert caught.value.__cause__ is result.exception

    def test_it_leaves_no_circle(self) -> None:
        """A result that was asked and dropped is gone at once, without waiting for the garbage collector."""

        class Output:
            pass

        def ask() -> weakref.ref[Output]:
            output = Output()
            try:
                AgentResult(ID, output, status="failed", exception=ValueError("no")).unwrap()
            except ValueError:
                return weakref.ref(output)
            raise AssertionError

        gc.disable()
        try:
            assert ask()() is None
        finally:
            gc.enable()


class TestRecords:
    @pytest.mark.parametrize(
        "record",
        [ERROR, AgentResult(ID, [1], error=ERROR, status="failed"), Progress(3, result=AgentResult(ID, 1))],
        ids=lambda record: type(record).__name__,
    )
    def test_they_are_frozen_and_travel(self, record: Any) -> None:
        """They cannot be changed, can be copied and sent to another process, and come back equal."""
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(record, dataclasses.fields(record)[0].name, "other")
        assert pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == record
        assert not hasattr(record, "__dict__")

    def test_what_a_log_shows_of_a_result(self) -> None:
        """Outputs do not end up in logs by way of a ``repr``."""
        result = AgentResult(ID, "correct horse", exception=ValueError("battery staple"))
        assert "correct" not in repr(result)
        assert "battery" not in repr(result)
        assert "correct" not in repr(Progress(1, done=1, result=result))

    def test_the_exception_does_not_count(self) -> None:
        """Two callers, of whom one has the exception itself, have the same result."""
        result = AgentResult(ID, status="failed", error=ERROR)
        assert dataclasses.replace(result, exception=ValueError("here")) == result

    def test_progress_in_words(self) -> None:
        """A line for people: what is done, what of it is special, what runs."""
        assert str(Progress(5)) == "0 of 5 done"
        assert str(Progress(5, running=2)) == "0 of 5 done, 2 running"
        assert (
            str(Progress(2_000, done=1_500, completed=1_500, replayed=1_500)) == "1,500 of 2,000 done (1,500 replayed)"
        )
        assert str(Progress(3, 3, 0, 1, 1, 2)) == "3 of 3 done (1 replayed, 2 failed)"


@pytest.mark.parametrize("module", [results, tasks, templates], ids=lambda module: module.__name__)
def test_the_examples_are_true(module: Any) -> None:
    """What the docstrings show is what comes out."""
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
