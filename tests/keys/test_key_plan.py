"""Calls as keys: equal calls share one, all others have their own."""

import functools
import inspect
import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolcache.errors import SettingsError, UnsupportedKeyError
from toolcache.keys.canonical import Digest, digest, key_type
from toolcache.keys.plan import KeyPlan, make_key

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

HERE = __name__


def key(plan: KeyPlan, /, *args: Any, **kwargs: Any) -> str:
    return plan.key(args, kwargs)


async def search(query: str, top_k: int = 10, *, trace_id: str = "") -> None: ...


async def anything(
    first: object, /, second: object = None, *rest: object, flag: bool = False, **more: object
) -> None: ...


def test_golden_keys() -> None:
    """KY-12, BUG-69: the keys of calls are frozen: module, qualified name, digest of the arguments by name."""
    plan = KeyPlan(search, key_prefix="kb")
    assert key(plan, "q") == "kb:" + digest({"query": "q", "top_k": 10, "trace_id": ""})
    assert key(plan, "q") == "kb:23c8a6bf579640845ce13ffa50829cb33edb511df420f9b3cdb65e1f28740965"
    assert key(KeyPlan(search), "q") == f"{HERE}.search:" + digest({"query": "q", "top_k": 10, "trace_id": ""})
    assert make_key("search", "red shoes", top_k=10) == "search:" + digest((("search", "red shoes"), {"top_k": 10}))
    assert make_key("search", "red shoes", top_k=10) == (
        "search:e427d7cfe5dad5fe2f8004baf16730614c641ea54673981f3979f672197d9837"
    )


def test_equal_calls_share_a_key() -> None:
    """KY-02, BUG-69: by position, by name, in any order, with defaults said or not."""
    plan = KeyPlan(search)
    keys = {
        key(plan, "q"),
        key(plan, query="q"),
        key(plan, "q", 10),
        key(plan, "q", top_k=10),
        key(plan, top_k=10, query="q"),
        key(plan, trace_id="", top_k=10, query="q"),
    }
    assert len(keys) == 1


def test_other_calls_have_other_keys() -> None:
    """BUG-68: another value, or another type, at any parameter is another key."""
    plan = KeyPlan(search)
    calls = [
        ("q",),
        ("Q",),
        ("q", 11),
        ("q", 10.0),
        ("q", True),
        ("q", "10"),
        (b"q",),
        (None,),
        ("",),
        (["q"],),
        (("q",),),
    ]
    assert len({key(plan, *call) for call in calls} | {key(plan, "q", trace_id="t")}) == len(calls) + 1


def test_order_within_arguments_does_not_matter() -> None:
    """BUG-69: dicts and sets are the same in any order."""
    plan = KeyPlan(search)
    assert key(plan, {"a": 1, "b": {1, 2}}) == key(plan, {"b": {2, 1}, "a": 1})


CALLS = st.tuples(
    st.lists(st.integers(0, 2) | st.sampled_from(["a", None]), min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["second", "flag", "first", "x", "y"]), st.integers(0, 2), max_size=3),
)


def bound(function: Callable[..., object], call: tuple[list[Any], dict[str, Any]]) -> str | None:
    """What inspect says the call means; None where it is no call of the function."""
    try:
        arguments = inspect.signature(function).bind(*call[0], **call[1])
    except TypeError:
        return None
    arguments.apply_defaults()
    return digest(dict(arguments.arguments))


async def positional(a: object, b: object = 1, c: object = 2) -> None: ...
async def mixed(a: object, b: object = 1, *, second: object, flag: object = 0) -> None: ...
async def only(*, second: object = 1, flag: object = 0) -> None: ...
async def variadic(*rest: object, flag: object = 0) -> None: ...
async def first_only(second: object = 0, /, flag: object = 0) -> None: ...


@patient
@given(st.sampled_from([anything, positional, mixed, only, variadic, first_only, search]), CALLS)
def test_binding_agrees_with_inspect(function: Callable[..., object], call: tuple[list[Any], dict[str, Any]]) -> None:
    """KY-02: the quick way of binding arguments gives what the slow one gives, errors included."""
    plan = KeyPlan(function, key_prefix="f")
    expected = bound(function, call)
    if expected is None:
        with pytest.raises(TypeError):
            plan.key(tuple(call[0]), call[1])
    else:
        assert plan.key(tuple(call[0]), call[1]) == f"f:{expected}"


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("q", 1, 2), {}),
        (("q",), {"query": "q"}),
        (("q",), {"nope": 1}),
        ((), {"top_k": 1}),
        (("q", 1), {"top_k": 1}),
    ],
)
def test_wrong_calls_are_type_errors(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """BUG-71: what the function would refuse has no key."""
    with pytest.raises(TypeError):
        KeyPlan(search).key(args, kwargs)
    with pytest.raises(TypeError):
        KeyPlan(search, key_params=[]).key(args, kwargs)


def test_variadic_arguments() -> None:
    """BUG-68: positions and names beyond the signature count, and are not confused."""
    plan = KeyPlan(anything)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {}),
        ((1, 2), {}),
        ((1, 2, 3), {}),
        ((1, 2, 3, 4), {}),
        ((1, 2, (3, 4)), {}),
        ((1,), {"x": 1}),
        ((1,), {"first": 1}),
        ((1,), {"rest": ()}),
        ((1,), {"more": {}}),
        ((1,), {"x": 1, "y": 2}),
    ]
    assert len({plan.key(*call) for call in calls}) == len(calls)
    assert key(plan, 1, x=1, y=2) == key(plan, 1, y=2, x=1)
    assert key(plan, 1, None) == key(plan, 1, second=None, flag=False)


def test_key_params_choose() -> None:
    """BUG-71: only the named parameters count, in any order; what is not named may be anything."""
    plan = KeyPlan(search, key_params=["query"])
    assert key(plan, "q", trace_id=object()) == key(plan, "q", 99)
    assert key(plan, "q") != key(plan, "other")
    both = [KeyPlan(search, key_params=names) for names in (["query", "top_k"], ("top_k", "query"))]
    assert key(both[0], "q") == key(both[1], "q")
    assert key(KeyPlan(search, key_params=[]), "a") == key(KeyPlan(search, key_params=[]), "b")


def test_unknown_key_params_are_refused() -> None:
    """BUG-71: a misspelt parameter is an error where it is written, and says what there is."""
    with pytest.raises(SettingsError, match=r"names 'qeury', but its parameters are: query, top_k, trace_id"):
        KeyPlan(search, key_params=["qeury", "top_k"])
    with pytest.raises(SettingsError, match=r"write key_params=\['query'\]"):
        KeyPlan(search, key_params="query")
    with pytest.raises(SettingsError, match="key_params"):
        KeyPlan(search, key_params=[1])  # type: ignore[list-item]  # what a caller may do


class Session:
    """Two are equal to look at."""

    def __init__(self, user: str) -> None:
        self.user = user

    def __repr__(self) -> str:
        return "<Session>"


@pytest.mark.parametrize(
    ("args", "kwargs", "place"),
    [
        ((Session("a"),), {}, "argument 'query' of"),
        (("q", {"deep": [1, Session("a")]}), {}, "search['deep'][1]"),
        (("q",), {"trace_id": Session("a")}, "argument 'trace_id' of"),
    ],
)
def test_unsupported_arguments_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any], place: str) -> None:
    """KY-03, BUG-71: an argument without canonical form is an error that names parameter, function and type."""
    with pytest.raises(UnsupportedKeyError, match=r"test_key_plan\.Session") as caught:
        KeyPlan(search).key(args, kwargs)
    assert place in str(caught.value)
    assert f"{HERE}.search" in str(caught.value)


def test_a_secret_argument_stays_out_of_the_error() -> None:
    """BUG-107: the error for one argument does not repeat the others."""
    with pytest.raises(UnsupportedKeyError) as caught:
        key(KeyPlan(search), "hunter2", Session("hunter2"))
    assert "hunter2" not in str(caught.value)


def test_normalize() -> None:
    """KY-02: texts that normalise alike share a key; other types are left alone, and unchosen parameters too."""
    plan = KeyPlan(search, key_params=["query", "top_k"], normalize=str.casefold)
    assert key(plan, "Straße") == key(plan, "STRASSE")
    assert key(plan, 1) != key(plan, "1")
    assert key(KeyPlan(search), "A") != key(KeyPlan(search), "a")
    seen: list[str] = []

    def note(text: str) -> str:
        seen.append(text)
        return text

    key(KeyPlan(search, key_params=["query"], normalize=note), "q", trace_id="t")
    assert seen == ["q"]


class Shop:
    def __init__(self, name: str) -> None:
        self.name = name

    async def find(self, query: str) -> None: ...

    @classmethod
    async def make(cls, name: str) -> None: ...

    @staticmethod
    async def tidy(query: str) -> None: ...


class Market(Shop):
    pass


class Library:
    async def find(self, query: str) -> None: ...


@key_type
@dataclass
class Tenant:
    name: str

    async def find(self, query: str) -> None: ...


def test_self_is_not_in_the_key() -> None:
    """BUG-71: instances never enter keys by address: those of one class share."""
    plan = KeyPlan(Shop.find)
    assert key(plan, Shop("a"), "q") == key(plan, Shop("b"), "q") == key(plan, self=Shop("c"), query="q")
    assert key(plan, Shop("a"), "q") != key(plan, Shop("a"), "p")


def test_methods_of_two_classes_do_not_collide() -> None:
    """BUG-70: methods of one name in two classes, and one method inherited by a class that may change its meaning."""
    shop = key(KeyPlan(Shop.find), Shop("a"), "q")
    assert shop != key(KeyPlan(Library.find), Library(), "q")
    assert shop != key(KeyPlan(Shop.find), Market("a"), "q")
    assert key(KeyPlan(Shop.find), Market("a"), "q") == key(KeyPlan(Shop.find), Market("b"), "q")
    make = Shop.make.__func__  # type: ignore[attr-defined]  # the function beneath the classmethod
    assert key(KeyPlan(make), Shop, "n") != key(KeyPlan(make), Market, "n")
    assert key(KeyPlan(Shop.tidy), "q").startswith(f"{HERE}.Shop.tidy:")


def test_self_is_in_the_key_if_asked_for() -> None:
    """BUG-71: key_params may name self, which then needs a canonical form."""
    plan = KeyPlan(Tenant.find, key_params=["self", "query"])
    assert key(plan, Tenant("a"), "q") == key(plan, Tenant("a"), "q") != key(plan, Tenant("b"), "q")
    with pytest.raises(UnsupportedKeyError, match="argument 'self'"):
        key(KeyPlan(Shop.find, key_params=["self", "query"]), Shop("a"), "q")


def test_self_of_a_plain_function_counts() -> None:
    """BUG-71: only in a class body is a first parameter called self left out."""

    async def local(self: object) -> None: ...

    assert key(KeyPlan(local), 1) != key(KeyPlan(local), 2)


def test_name_and_prefix() -> None:
    """KY-12: a renamed or moved function has new keys; an explicit name keeps them."""

    async def renamed(query: str, top_k: int = 10, *, trace_id: str = "") -> None: ...

    assert key(KeyPlan(search), "q") != key(KeyPlan(renamed), "q")
    assert key(KeyPlan(search, key_prefix="kb"), "q") == key(KeyPlan(renamed, key_prefix="kb"), "q")
    renamed.__qualname__, renamed.__module__ = search.__qualname__, "elsewhere"
    assert key(KeyPlan(search), "q") != key(KeyPlan(renamed), "q")
    moved = KeyPlan(Library.find, key_prefix="find")
    assert key(moved, Library(), "q") == key(KeyPlan(Shop.find, key_prefix="find"), Shop("a"), "q")


def test_functions_without_a_name() -> None:
    """KY-12: what has no name needs a prefix."""
    partial = functools.partial(search, top_k=3)
    with pytest.raises(SettingsError, match="give it a key_prefix"):
        KeyPlan(partial)
    assert key(KeyPlan(partial, key_prefix="three"), "q") == key(KeyPlan(search, key_prefix="three"), "q", 3)
    for wrong in ("", 1):
        with pytest.raises(SettingsError, match="key_prefix is a name"):
            KeyPlan(search, key_prefix=wrong)  # type: ignore[arg-type]  # what a caller may do


def test_make_key_tells_all_apart() -> None:
    """BUG-68, BUG-72: order, borders, types and names of what makes up a key count."""
    made = [
        make_key(),
        make_key("a"),
        make_key("a", "b"),
        make_key("b", "a"),
        make_key("a:b"),
        make_key("a", ("b",)),
        make_key(("a", "b")),
        make_key("a", None),
        make_key("a", b="b"),
        make_key("a", {"b": "b"}),
        make_key(1, "a"),
        make_key("1", "a"),
        make_key(Digest("a" * 64)),
        make_key("a" * 64),
    ]
    assert len(set(made)) == len(made)
    assert make_key("a", x=1, y=2) == make_key("a", y=2, x=1)


parts = st.lists(st.text(max_size=5) | st.integers(-2, 2) | st.sampled_from(["search", "a:b"]), max_size=4).map(tuple)
named = st.dictionaries(st.text(string.ascii_lowercase, min_size=1, max_size=2), st.integers(-1, 1), max_size=2)


@patient
@given(parts, named, parts, named)
def test_make_key_is_injective(left: Any, left_named: Any, right: Any, right_named: Any) -> None:
    """BUG-72: two keys are equal exactly if all that went in is."""
    same = (left, left_named) == (right, right_named)
    assert (make_key(*left, **left_named) == make_key(*right, **right_named)) == same


def test_make_key_is_readable_where_that_is_safe() -> None:
    """KY-09: a plain first word stands in front; anything else is in the digest only."""
    assert make_key("search", "x").startswith("search:")
    for hidden in ("two words", "a:b", "", "é", "x" * 65, 7, "a\n"):
        assert len(make_key(hidden, "x")) == 64


def test_make_key_names_what_it_cannot_take() -> None:
    """BUG-71: the error says which part."""
    with pytest.raises(UnsupportedKeyError, match="at part 1"):
        make_key("search", Session("a"))
    with pytest.raises(UnsupportedKeyError, match=r"at user\[0\]"):
        make_key("search", user=[Session("a")])


def test_embeddings_name_all_that_decides_them() -> None:
    """BUG-74: model, revision, dimensions, normalisation, task and text are told apart, in whatever they contain."""
    base = {"model": "e5:large", "revision": "1", "dimensions": 256, "normalised": True, "task": "query", "text": "a:b"}
    changes: dict[str, Any] = {
        "model": "e5",
        "revision": "2",
        "dimensions": 512,
        "normalised": False,
        "task": "passage",
        "text": "b",
    }
    keys = {make_key("embedding", **base)} | {
        make_key("embedding", **{**base, name: new}) for name, new in changes.items()
    }
    assert len(keys) == 7
    assert make_key("embedding", "a:b", "c") != make_key("embedding", "a", "b:c")
