"""What the errors of requests that run once carry, and what they never do."""

import copy
import pickle

import pytest

from toolcache.errors import (
    AlreadyInProgressError,
    DispatchError,
    RunTimeoutError,
    SerializationError,
    StoredAgentError,
    StoresUnavailableError,
    TakeoverLimitError,
    TaskMismatchError,
    TemplateError,
    ToolCacheError,
    WaitTimeoutError,
)

SAMPLES: list[DispatchError] = [
    DispatchError(),
    AlreadyInProgressError(key="0a1b2c3d"),
    WaitTimeoutError(key="0a1b2c3d"),
    TaskMismatchError(key="0a1b2c3d"),
    TakeoverLimitError(key="0a1b2c3d", attempts=3),
    StoredAgentError("httpx.ReadTimeout", "no answer", key="0a1b2c3d"),
    StoresUnavailableError(key="0a1b2c3d", reason="redis: timed out, file: no space left on device"),
    RunTimeoutError(key="0a1b2c3d", timeout=2.0),
    TemplateError("no such argument", argument="text", position=9),
]
each = pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)


def test_the_samples_are_all() -> None:
    """Each error of requests that run once is tested below."""
    assert {type(error) for error in SAMPLES} == {DispatchError, *DispatchError.__subclasses__()}


@each
def test_an_error_goes_from_process_to_process(error: DispatchError) -> None:
    """A pool of workers sends errors on: each comes back with its class, its text and what it carries."""
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)
        assert again.args == error.args


@each
def test_an_error_names_the_request_as_events_do(error: DispatchError) -> None:
    """Of the request, the text has the first digits of its digest, if they were told, and nothing else."""
    assert (error.key in str(error)) or not error.key
    assert str(error).count(error.key or "\0") == bool(error.key)
    assert isinstance(error, ToolCacheError)


def test_a_stored_failure_tells_class_and_text() -> None:
    """Name and message are fields; no attempt is made at the class that they name."""
    error = StoredAgentError("KeyboardInterrupt", "stop")
    assert (error.type, error.message) == ("KeyboardInterrupt", "stop")
    assert "with KeyboardInterrupt: stop;" in str(error)
    assert not isinstance(error, KeyboardInterrupt)
    assert repr(error) == "StoredAgentError('KeyboardInterrupt', 'stop')"
    assert "with ValueError;" in str(StoredAgentError("ValueError"))


def test_an_output_that_cannot_be_stored_comes_along() -> None:
    """What a run returned is with the error, and not in its text."""
    result = ["the only copy"]
    error = SerializationError("cannot store $", result=result)
    assert error.result is result
    assert "copy" not in str(error)
    assert SerializationError("cannot store $").result is None


def test_what_limits_and_stores_say() -> None:
    """How often it was begun, what is the matter with the stores, and what to do."""
    assert "begun 3 times" in str(TakeoverLimitError(attempts=3))
    assert "max_attempts" in str(TakeoverLimitError())
    assert TakeoverLimitError(attempts=3).attempts == 3
    error = StoresUnavailableError(reason="redis: timed out")
    assert error.reason == "redis: timed out"
    assert "(redis: timed out)" in str(error)
    assert 'on_store_down="run"' in str(error)


def test_waiting_too_long_is_a_timeout() -> None:
    """Who catches timeouts catches that one, and a template that does not fit is a wrong value."""
    with pytest.raises(TimeoutError, match="goes on"):
        raise WaitTimeoutError
    with pytest.raises(ValueError, match="no such argument"):
        raise SAMPLES[-1]
