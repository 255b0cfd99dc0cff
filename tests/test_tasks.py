"""AgentTask: when two tasks are the same."""

import copy
import dataclasses
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.dispatch.tasks import AgentTask
from toolcache.errors import UnsupportedKeyError

TASK = AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small", agent_version="3")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def task(**changed: Any) -> AgentTask:
    return dataclasses.replace(TASK, **changed)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_a_task_made_again_is_the_same_task(args: dict[str, Any]) -> None:
    """ID-01: the digest depends on what is asked alone, so a retry in another process finds the result."""
    again = dict(reversed(list(copy.deepcopy(args).items())))
    first, second = AgentTask("a", "t", args), AgentTask("a", "t", again)
    assert first.digest() == second.digest()
    assert first.fingerprint == second.fingerprint
    assert first == second
    assert hash(first) == hash(second)


def test_the_digest_is_what_it_always_was() -> None:
    """What is stored outlives the code: these three digests must never change."""
    assert TASK.digest() == "0b4349ea44b07e69bdf1564fbb2e70133421a375544b385b97b4596ab7b518dd"
    assert TASK.fingerprint == "adc94ec8f4877bcf9d8decbb58cd8a1f0ae1fbada9dcb16f6b578579fe3f6fe7"
    assert (
        task(idempotency_key="order-7").digest() == "37b491ff1ed606cb129091d7fc7b7ae26ae5a0e4c82bf044240c32605e4de1f7"
    )


def test_the_order_of_arguments_does_not_matter() -> None:
    """ID-19: arguments by name, at every depth."""
    one = task(args={"a": 1, "b": {"x": 1, "y": 2}})
    other = task(args={"b": {"y": 2, "x": 1}, "a": 1})
    assert one.digest() == other.digest()


def test_types_are_told_apart() -> None:
    """ID-20: 1, 1.0, True, "1" and b"1" are five tasks."""
    values: list[Any] = [1, 1.0, True, "1", b"1"]
    assert len({task(args={"n": value}).digest() for value in values}) == 5


def test_whatever_is_asked_differently_is_another_task() -> None:
    """ID-21: agent, template, version, model, arguments, tenant and namespace each make another record."""
    digests = {
        TASK.digest(),
        task(agent="other").digest(),
        task(template="classify  {text}").digest(),
        task(agent_version="4").digest(),
        task(agent_version=None).digest(),
        task(model="large").digest(),
        task(model=None).digest(),
        task(args={"text": "hello "}).digest(),
        task(args=None).digest(),
        task(tenant="acme").digest(),
        TASK.digest(namespace="shop"),
    }
    assert len(digests) == 11


def test_on_whose_behalf_is_no_part_of_what_is_asked() -> None:
    """The fingerprint leaves namespace, tenant, key and timeout out; the digest takes the cache's tenant by default."""
    assert task(tenant="acme", idempotency_key="k", timeout="5s").fingerprint == TASK.fingerprint
    assert task(timeout="5s").digest() == TASK.digest()
    assert TASK.digest(tenant="acme") == task(tenant="acme").digest() == task(tenant="acme").digest(tenant="cache's")
    assert TASK.digest(tenant="acme") != TASK.digest()


def test_a_key_of_the_callers_own_is_the_identity() -> None:
    """A key stands for the task within namespace, tenant and agent; what is asked then shows in the fingerprint alone."""
    keyed = task(idempotency_key="order-7")
    assert keyed.digest() == task(idempotency_key="order-7", args=None, model=None, template="other").digest()
    assert keyed.fingerprint != task(idempotency_key="order-7", args=None).fingerprint
    others = {
        task(idempotency_key="order-8").digest(),
        task(idempotency_key="order-7", agent="other").digest(),
        task(idempotency_key="order-7", tenant="acme").digest(),
        keyed.digest(namespace="shop"),
        TASK.digest(),
    }
    assert keyed.digest() not in others
    assert len(others) == 5


@pytest.mark.parametrize("key", ["x" * 10_240, "../../etc", "a\0b", "a\r\nSET x y", "\udc80 lone", "*", "{a}"])
def test_a_hostile_key_is_only_hashed(key: str) -> None:
    """ID-38: whatever the key, the digest is 64 hex digits and its own."""
    digest = task(idempotency_key=key).digest()
    assert len(digest) == 64
    assert set(digest) <= set("0123456789abcdef")
    assert digest != task(idempotency_key=key + "'").digest()


def test_lists_stand_for_tuples() -> None:
    """DECISIONS: a tuple comes back from a store as a list, so a task holds lists from the start."""
    made = task(args={"pair": (1, (2, [3, (4,)])), "by": {"name": ("a",)}})
    assert made.args == {"pair": [1, [2, [3, [4]]]], "by": {"name": ["a"]}}
    assert made.digest() == task(args={"pair": [1, [2, [3, [4]]]], "by": {"name": ["a"]}}).digest()


def test_an_agent_that_changes_its_arguments_changes_nothing() -> None:
    """ID-36: the record is keyed by the arguments as passed in, and the caller's own are left alone."""
    passed: dict[str, Any] = {"tags": ["a"], "set": {1}, "deep": {"list": [1]}}
    made = task(args=passed)
    before = made.digest()
    made.args["tags"].append("b")
    made.args["set"].add(2)
    made.args["deep"]["list"].clear()
    made.args["new"] = 1
    assert passed == {"tags": ["a"], "set": {1}, "deep": {"list": [1]}}
    assert made.digest() == before == task(args=passed).digest()
    passed["tags"].append("c")
    assert made.digest() == before


def test_a_task_can_be_sent_to_another_process() -> None:
    """A worker gets the task with its identity."""
    made = task(args={"when": datetime(2026, 1, 1, tzinfo=UTC)}, timeout="1m")
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again.args == made.args
    assert again.digest() == made.digest()
    assert again.timeout == 60.0


def test_a_repr_tells_nothing_that_was_asked() -> None:
    """BUG-107: template, arguments and key stay out of logs."""
    shown = repr(AgentTask("classifier", "hunter2", {"text": "hunter2"}, idempotency_key="hunter2"))
    assert "classifier" in shown
    assert "hunter2" not in shown


class Opaque:
    def __deepcopy__(self, memo: dict[int, Any]) -> "Opaque":
        raise AssertionError("not to be copied before it is refused")


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        ({"args": {"x": Opaque()}}, UnsupportedKeyError, r"\['args'\]\['x'\]"),
        ({"args": {"x": [lambda: 1]}}, UnsupportedKeyError, r"\['args'\]\['x'\]\[0\]"),
        ({"args": ["x"]}, TypeError, "args is a mapping"),
        ({"args": {1: "x"}}, TypeError, "a name in args of a task is text, not int"),
        ({"agent": None}, TypeError, "agent of a task is text, not NoneType"),
        ({"agent": ""}, ValueError, "agent of a task is empty"),
        ({"template": b"x"}, TypeError, "template of a task is text"),
        ({"model": 4}, TypeError, "model of a task is text"),
        ({"idempotency_key": ""}, ValueError, "idempotency_key of a task is empty"),
        ({"timeout": 0}, ValueError, "timeout"),
    ],
)
def test_a_task_that_cannot_be_is_refused(wrong: dict[str, Any], error: type[Exception], text: str) -> None:
    """ID-36: what has no canonical form is refused when the task is made, and the error says where it is."""
    with pytest.raises(error, match=text):
        task(**wrong)


def test_arguments_that_contain_themselves_are_refused() -> None:
    """A knot is an error with a text, not a crash."""
    knot: list[Any] = []
    knot.append(knot)
    with pytest.raises(UnsupportedKeyError, match="contain themselves"):
        AgentTask("a", "t", {"knot": knot})
