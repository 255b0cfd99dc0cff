"""Which arguments make a key: some of them, parts of them, and what they are made equal by."""

import dataclasses
import types
from collections import defaultdict
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.errors import MissingScopeError, SettingsError, UnsupportedKeyError
from toolcache.keys.canonical import digest
from toolcache.keys.choice import Choice
from toolcache.keys.plan import KeyPlan
from toolcache.keys.scopes import scope
from toolcache.normalize import casefold, rounded


async def ask(query: str, user: Any = None, filters: Any = None, *, trace: str = "") -> None: ...


def key(plan: KeyPlan, /, *args: Any, **kwargs: Any) -> str:
    return plan.key(args, kwargs)


@dataclasses.dataclass
class User:
    id: int
    session: object = dataclasses.field(default_factory=object)

    @property
    def name(self) -> str:
        raise AssertionError("nothing is worked out for a key")


class Place(NamedTuple):
    city: str
    where: object = object()


class Held:
    kind = "class"

    def __init__(self) -> None:
        self.tenant = "acme"


class Both(dict[str, int]):
    __dataclass_fields__: Any = types.MappingProxyType({"id": None})


# -- paths ----------------------------------------------------------------------------------------------------------


def test_a_path_takes_one_part_of_an_argument() -> None:
    """BUG-71: keys of mappings, fields of dataclasses and of named tuples, at any depth; the rest may be anything."""
    plan = KeyPlan(ask, key_params=["query", "user.id", "filters.where.lang"])
    where = {"where": {"lang": "no", "page": object()}}
    assert key(plan, "q", User(7), where) == key(plan, "q", User(7, object()), {"where": {"lang": "no"}})
    assert key(plan, "q", User(7), where) != key(plan, "q", User(8), where)
    assert key(plan, "q", User(7), where) != key(plan, "q", User(7), {"where": {"lang": "en"}})
    assert key(plan, "q", User(7), where) == key(plan, "q", {"id": 7}, types.MappingProxyType(where))
    city = KeyPlan(ask, key_params=["user.city"])
    assert key(city, "q", Place("Oslo")) == key(city, "p", Place("Oslo", object())) != key(city, "q", Place("Rome"))
    tenant = KeyPlan(ask, key_params=["user.tenant"])
    assert key(tenant, "q", Held()) == key(tenant, "p", {"tenant": "acme"})


@pytest.mark.parametrize(
    ("value", "path", "told"),
    [
        (None, "user.id", "NoneType has no 'id'"),
        ({"name": "hunter2"}, "user.id", "dict has no 'id'"),
        ({"id": {"a": 1}}, "user.id.b", "dict has no 'b'"),
        ({"id.a": 1}, "user.id.a", "dict has no 'id'"),
        (defaultdict(str, name="x"), "user.id", "defaultdict has no 'id'"),
        (User(7), "user.name", "User has no 'name'"),
        (Held(), "user.kind", "Held has no 'kind'"),
        (Held, "user.__doc__", "type has no '__doc__'"),
        (Place("Oslo"), "user.count", "Place has no 'count'"),
        (Both(id=7), "user.id", "may be a key or a field"),
        ("text", "user.upper", "str has no 'upper'"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_error(value: Any, path: str, told: str) -> None:
    """BUG-71, BUG-107: it names the path, and nothing of what is there."""
    with pytest.raises(UnsupportedKeyError, match=told) as caught:
        key(KeyPlan(ask, key_params=[path]), "q", value)
    assert repr(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert not isinstance(value, defaultdict) or "id" not in value


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"key_params": ["usr.id"]}, "names 'usr.id', but its parameters are: query"),
        ({"key_params": ["user..id"]}, "is no path"),
        ({"key_params": ["user."]}, "is no path"),
        ({"key_params": ["query"], "ignored": ["query"]}, "cannot be in the key and be ignored"),
        ({"ignored": ["filters.page"], "ignored_by": "ignore"}, "ignore of f names 'filters.page'"),
        ({"ignored": "trace", "ignored_by": "ignore"}, r"write ignore=\['trace'\]"),
        ({"key_params": ["user.id"], "normalize": {"user": casefold}}, "names 'user', but its key is made of: user.id"),
        ({"normalize": {"qeury": casefold}}, "names 'qeury'"),
        ({"normalize": {"query": "casefold"}}, "normalize of f is a function"),
        ({"normalize": "casefold"}, "normalize of f is a function"),
        ({"vary": "tenant"}, r"write vary=\['tenant'\]"),
        ({"vary": [""]}, "vary of f"),
        ({"vary": {"tenant": "acme"}}, "for 'tenant' nothing that can be called"),
        ({"strict": True}, "needs names of scopes"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(options: dict[str, Any], told: str) -> None:
    """BUG-106, BUG-71: what names nothing is found when the function is decorated."""
    with pytest.raises(SettingsError, match=told):
        KeyPlan(ask, key_prefix="f", **options)


def test_what_is_ignored_does_not_count() -> None:
    """BUG-71, BUG-106: any value there is the same call; all the others count."""
    plan = KeyPlan(ask, ignored=["trace", "user"])
    assert key(plan, "q", object(), trace="a") == key(plan, "q", object(), trace="b")
    assert key(plan, "q", filters=1) != key(plan, "q", filters=2)
    assert key(plan, "q") != key(KeyPlan(ask), "q")


def test_names_may_be_gone_through_but_once() -> None:
    """BUG-68: a generator of names is as good as a list, and no key is made of nothing."""
    given: Any = (name for name in ["query", "user.id"])
    assert key(KeyPlan(ask, key_params=given), "q", {"id": 1}) == key(
        KeyPlan(ask, key_params=["query", "user.id"]), "q", {"id": 1}
    )
    scopes: Any = (name for name in ["tenant"])
    with pytest.raises(MissingScopeError):
        key(KeyPlan(ask, vary=scopes, strict=True), "q")


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "a.b"]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "a.b"]), inner, max_size=3),
    max_leaves=5,
)


@given(PARTS, PARTS)
def test_different_parts_differ(first: Any, second: Any) -> None:
    """BUG-68, BUG-69: two calls share a key if the parts that are chosen are equal, and only then."""
    plan, whole = KeyPlan(ask, key_params=["user.x", "filters.x"]), KeyPlan(ask, key_params=["user", "filters"])
    calls = [("q", {"x": first, "y": 1}, {"x": second}), ("p", {"x": second}, {"x": first, "z": 2})]
    trimmed = [("q", call[1]["x"], call[2]["x"]) for call in calls]
    assert (key(plan, *calls[0]) == key(plan, *calls[1])) == (key(whole, *trimmed[0]) == key(whole, *trimmed[1]))


def test_the_form_of_keys_of_parts_is_frozen() -> None:
    """BUG-69: what is stored today is found by the next version."""
    plan = KeyPlan(ask, key_params=["query", "user.id"], key_prefix="ask", vary=["tenant"])
    with scope(tenant="acme"):
        assert key(plan, "q", {"id": 7}) == "ask:" + digest({"query": "q", "user.id": 7, "@tenant": "acme"})
        assert key(plan, "q", {"id": 7}) == "ask:973bf8bedad41ba7833c3db7ecdf28728a460129a487474577bef767b817bb1f"


# -- normalisers ----------------------------------------------------------------------------------------------------


def test_normalisers_by_name() -> None:
    """BUG-106: each is applied to its own argument, or part of one, and to no other."""
    plan = KeyPlan(
        ask, key_params=["query", "user", "filters.near"], normalize={"query": casefold, "filters.near": rounded(1)}
    )
    assert key(plan, "Q", "u", {"near": 0.31}) == key(plan, "q", "u", {"near": 0.29})
    assert key(plan, "Q", "U", {"near": 0.3}) != key(plan, "Q", "u", {"near": 0.3})
    assert key(plan, "q", "u", {"near": 0.31}) != key(plan, "q", "u", {"near": 0.36})


def test_one_for_all_that_takes_any_value() -> None:
    """BUG-106: ``normalize=rounded(1)`` is no option that does nothing, and a function of texts gets texts alone."""
    assert key(KeyPlan(ask, normalize=rounded(1)), "Q", 0.31) == key(KeyPlan(ask, normalize=rounded(1)), "Q", 0.29)
    assert key(KeyPlan(ask, normalize=str.casefold), "Q", 7) == key(KeyPlan(ask, normalize=str.casefold), "q", 7)


# -- scopes ---------------------------------------------------------------------------------------------------------


@given(*[st.none() | st.sampled_from(["a", "b", "a:b", 1, True])] * 4)
def test_scopes_are_told_apart(tenant: Any, user: Any, other_tenant: Any, other_user: Any) -> None:
    """BUG-111: two calls share a key only if all is said of them that is said of the other, in value and type."""
    plan = KeyPlan(ask, vary=["tenant", "user"])

    def keyed(**said: Any) -> str:
        with scope(**{name: value for name, value in said.items() if value is not None}):
            return key(plan, "q")

    alike = [(type(one), one) for one in (tenant, user)] == [(type(one), one) for one in (other_tenant, other_user)]
    assert (keyed(tenant=tenant, user=user) == keyed(tenant=other_tenant, user=other_user)) is alike


def test_a_missing_scope_is_an_error_where_it_must_be_said() -> None:
    """BUG-111: it names the scope and the function, and what to write."""
    plan = KeyPlan(ask, key_prefix="ask", vary=["tenant", "user"], strict=True)
    with scope(tenant="acme"), pytest.raises(MissingScopeError, match=r"'user' of ask.*with scope\(user") as caught:
        key(plan, "q")
    assert caught.value.scope == "user"
    with scope(tenant="acme", user="u1"):
        assert key(plan, "q") == key(KeyPlan(ask, key_prefix="ask", vary=["tenant", "user"]), "q")


def test_a_choice_among_fields() -> None:
    """A3: the same for what is no function: fields by name."""
    choice = Choice("weather", ("location", "unit", "trace"), ignored=["trace"], normalize=casefold)
    told = choice.values({"location": "OSLO", "unit": "c", "trace": object()})
    assert told == {"location": "oslo", "unit": "c"}
    assert choice.digest(told) == choice.digest({"unit": "c", "location": "oslo"})
    with pytest.raises(UnsupportedKeyError, match="'location' of weather"):
        choice.digest({"location": object()})
