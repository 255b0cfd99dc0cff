"""The keys of answers: everything that decides one is in its key."""

from collections import UserString
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache.domain_keys import DomainKeys
from toolcache.errors import UnsupportedKeyError
from toolcache.keys.canonical import digest

KEYS = DomainKeys("shop", None)
ASKED: dict[str, Any] = {"agent": "faq", "goal": "refund", "model": "small", "temperature": 0.2, "tools": ("a", "b")}
SAID: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "What does it cost?"},
]


def test_golden_keys_of_answers() -> None:
    """BUG-69: these forms are frozen."""
    asked = {"agent": "faq", "goal": "refund", "model": "small", "temperature": 0.0, "tools": [str(digest("a"))]}
    assert KEYS.response("faq", "refund", model="small", temperature=0, tools=["a"]) == f"response:faq:{digest(asked)}"
    whole = {"model": "a:b", "messages": SAID, "params": {"top_p": 1}}
    assert str(KEYS.completion("a:b", SAID, {"top_p": 1})) == f"model:a%3Ab:{digest(whole)}"


@pytest.mark.parametrize(
    "change",
    [
        {"agent": "other"},
        {"goal": "Refund"},
        {"goal": {"text": "refund"}},
        {"model": "large"},
        {"temperature": 0.3},
        {"temperature": None},
        {"tools": ()},
        {"tools": ("a",)},
        {"tools": ("a", {"name": "b"})},
    ],
)
def test_all_that_decides_a_response_is_in_its_key(change: dict[str, Any]) -> None:
    """BUG-75: agent, goal, model, temperature and tools."""
    assert KEYS.response(**{**ASKED, **change}) != KEYS.response(**ASKED)


TOOLS = st.lists(st.sampled_from(["a", "b", "a:b"]) | st.fixed_dictionaries({"name": st.sampled_from(["a", "b"])}))


@given(TOOLS, TOOLS, st.randoms())
def test_tools_are_a_set(tools: list[Any], others: list[Any], random: Any) -> None:
    """BUG-75, BUG-69: who lists them in another order, or one twice, asks for the same; any other set is another key."""
    keyed = KEYS.response(**{**ASKED, "tools": tools})
    assert keyed == KEYS.response(**{**ASKED, "tools": tuple(random.sample(tools, len(tools)) + tools[:1])})
    same = {digest(one) for one in tools} == {digest(one) for one in others}
    assert (keyed == KEYS.response(**{**ASKED, "tools": others})) is same


def test_a_temperature_is_a_number() -> None:
    """BUG-69: 0, 0.0 and -0.0 are one; what is none is refused, and a text of tools too."""
    keys = {KEYS.response(**{**ASKED, "temperature": zero}) for zero in (0, 0.0, -0.0)}
    assert len(keys) == 1
    for wrong in ("0", True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="temperature"):
            KEYS.response(**{**ASKED, "temperature": wrong})
    with pytest.raises(TypeError, match="list of names"):
        KEYS.response(**{**ASKED, "tools": "search"})


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("change", [{"role": "tool"}, {"content": "Else"}, {"content": None}, {"name": "ada"}, None])
def test_the_whole_conversation_is_in_the_key(turn: int, change: dict[str, Any] | None) -> None:
    """BUG-75: the system's prompt and every turn, not the last alone."""
    said = [dict(one) for one in SAID]
    if change is None:
        del said[turn]
    else:
        said[turn].update(change)
    assert KEYS.completion("m", said) != KEYS.completion("m", SAID)


def test_model_and_parameters_are_in_the_key() -> None:
    """BUG-75: any other parameter, and the order of turns; but not in which kind of list they came."""
    base = KEYS.completion("m", SAID, {"temperature": 0.2, "tools": ["a"]})
    assert base == KEYS.completion("m", tuple(SAID), {"tools": ["a"], "temperature": 0.2})
    others = [
        KEYS.completion("n", SAID, {"temperature": 0.2, "tools": ["a"]}),
        KEYS.completion("m", SAID[::-1], {"temperature": 0.2, "tools": ["a"]}),
        KEYS.completion("m", SAID, {"temperature": 0.2}),
        KEYS.completion("m", SAID, {"temperature": 0.2, "tools": ["b"]}),
        KEYS.completion("m", SAID, {"temperature": 0.2, "tools": ["a"], "seed": 1}),
        KEYS.completion("m", "Hello", {"temperature": 0.2, "tools": ["a"]}),
    ]
    assert len({base, *others}) == 7
    assert KEYS.completion("m", SAID) == KEYS.completion("m", SAID, {}) == KEYS.completion("m", SAID, None)


def test_tenants_share_no_answer() -> None:
    """BUG-111: a tenant is part of every digest."""
    ours, theirs = DomainKeys("shop", "ours"), DomainKeys("shop", "theirs")
    assert len({each.response(**ASKED) for each in (KEYS, ours, theirs)}) == 3
    assert len({each.completion("m", SAID) for each in (KEYS, ours, theirs)}) == 3


@pytest.mark.parametrize("wrong", [UserString("x"), object(), [object()]])
def test_what_has_no_canonical_form_is_refused(wrong: Any) -> None:
    """BUG-71: nowhere is a value left out of a key."""
    for name in ("goal", "model"):
        with pytest.raises(UnsupportedKeyError):
            KEYS.response(**{**ASKED, name: wrong})
    with pytest.raises(UnsupportedKeyError):
        KEYS.response(**{**ASKED, "tools": [wrong]})
    for said, params in (([wrong], {}), (SAID, {"stop": wrong})):
        with pytest.raises(UnsupportedKeyError):
            KEYS.completion("m", said, params)
