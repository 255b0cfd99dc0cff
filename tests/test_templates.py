"""Filling templates: what arguments look like, and all that a template cannot do."""

import copy
import json
import re
import string
from datetime import UTC, date, datetime, time
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolcache import AgentTask, Digest, TemplateError
from toolcache.dispatch.templates import MAX_PROMPT, fill

SECRET = "correct horse battery staple"

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ATOMS, inner, max_size=4) | st.frozensets(ATOMS),
    max_leaves=12,
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
PIECES = st.lists(
    st.one_of(
        st.sampled_from(["{", "}", "{{", "}}", "{}", "{0}", "{a.b}", "{a[0]}", "{a!r}", "{a:>9}", "{a:{b}}", "{a b}"]),
        st.sampled_from(["{a}", "{b}", "{_c1}", "{class}"]),
        st.text(max_size=5),
    ),
    max_size=8,
).map("".join)
ARGS = {"a": "A", "b": "{a}", "_c1": "}}{{", "class": ""}


class Foreign:
    """Tells whether anybody asked it for its text."""

    asked = False

    def __format__(self, _spec: str) -> str:
        Foreign.asked = True
        return SECRET

    def __str__(self) -> str:
        return format(self)

    __repr__ = __str__


class ForeignText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return SECRET

    def __format__(self, _spec: str) -> str:
        return SECRET


def by_python(template: str) -> tuple[str | None, set[str]]:
    """What ``str.format`` makes of a template, None if it refuses, and the names that it asks for."""
    try:
        asked = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        return template.format_map(ARGS), asked
    except (ValueError, LookupError, AttributeError, TypeError):
        return None, set()


def filled_or_refused(template: str, args: dict[str, Any]) -> str | TemplateError:
    try:
        return fill(template, args)
    except TemplateError as error:
        return error


class TestFilling:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("a {b} }} \n", "a {b} }} \n"),
            (None, "None"),
            (True, "True"),
            (7, "7"),
            (-0.5, "-0.5"),
            (1e300, "1e+300"),
            (Decimal("1.00"), "1.00"),
            (date(2026, 1, 31), "2026-01-31"),
            (time(12, 30), "12:30:00"),
            (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00+00:00"),
            (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
            (Digest("A" * 64), "a" * 64),
            (b"\x00\xff", "AP8="),
            ([], "[]"),
            ([1, "é\n", None, True, [0.5, Decimal("1.0")]], r'[1, "é\n", null, true, [0.5, 1.0]]'),
            ((1, b"\x00"), '[1, "AA=="]'),
            (float("inf"), "inf"),
            ([float("nan"), float("-inf"), Decimal("NaN")], '["nan", "-inf", "NaN"]'),
            ({"b": 1, "a": {}}, '{"a": {}, "b": 1}'),
            ({1: 2, None: 3, (4, "x"): 5, UUID(int=0): 6}, None),
            ({"z", "a", 3}, '["a", "z", 3]'),
            (frozenset({date(2026, 1, 31)}), '["2026-01-31"]'),
        ],
        ids=lambda one: type(one).__name__ if isinstance(one, set) else str(one),
    )
    def test_what_an_argument_looks_like(self, value: object, text: str | None) -> None:
        """Text is itself, other single values as they are written, and what holds several is JSON."""
        if text is None:
            text = r'{"00000000-0000-0000-0000-000000000000": 6, "1": 2, "[4, \"x\"]": 5, "null": 3}'
        assert fill("({a})", {"a": value}) == f"({text})"

    @given(VALUES)
    def test_what_is_equal_as_a_key_looks_equal(self, value: Any) -> None:
        """ID-19: equal tasks run once, so their prompts are the same: no order of a dict or set shows."""

        def turned(one: Any) -> Any:
            if isinstance(one, dict):
                return {key: turned(item) for key, item in reversed(list(one.items()))}
            if isinstance(one, list):
                return [turned(item) for item in one]
            return frozenset(reversed(list(one))) if isinstance(one, frozenset) else copy.deepcopy(one)

        one, other = AgentTask("a", "{v}", {"v": value}), AgentTask("a", "{v}", {"v": turned(value)})
        assert one.digest() == other.digest()
        assert one.prompt == other.prompt

    @given(st.lists(VALUES, max_size=3))
    def test_what_holds_several_is_json_on_one_line(self, value: list[Any]) -> None:
        """Whatever the container holds, its text is strict JSON without a line break."""

        def refuse(constant: str) -> None:
            pytest.fail(f"{constant} is not JSON")

        text = fill("{v}", {"v": value})
        read = json.loads(text, parse_int=str, parse_constant=refuse)
        assert len(read) == len(value)
        assert not {"\n", "\r"} & set(text)

    def test_a_context_of_decimals_does_not_show(self) -> None:
        """What a thread set for its decimals changes no prompt."""
        with localcontext() as context:
            context.capitals = 0
            assert fill("{a}", {"a": Decimal("1E+9")}) == "1E+9"

    @given(st.lists(st.tuples(st.text(), NAMES), max_size=6), st.text(), st.data())
    def test_a_template_made_of_its_pieces(self, pieces: list[tuple[str, str]], tail: str, data: st.DataObject) -> None:
        """Any literal text comes out as it is once its braces are doubled, with each argument in its places."""
        args = {name: data.draw(st.text(), label=name) for _, name in pieces}
        double = {ord("{"): "{{", ord("}"): "}}"}
        template = "".join(f"{text.translate(double)}{{{name}}}" for text, name in pieces) + tail.translate(double)
        assert fill(template, args) == "".join(text + args[name] for text, name in pieces) + tail

    @given(PIECES)
    def test_it_fills_as_python_does_or_not_at_all(self, template: str) -> None:
        """What is not refused is what ``str.format`` makes of it; what ``str.format`` refuses is refused."""
        expected, asked = by_python(template)
        args = {name: text for name, text in ARGS.items() if name in asked}
        filled = filled_or_refused(template, args)
        if isinstance(filled, str):
            assert filled == expected
        else:
            assert filled.position is None or template[filled.position] in "{}"

    @given(st.text(alphabet="{}ab.:! ", max_size=30))
    def test_no_template_raises_anything_else(self, template: str) -> None:
        """Any text at all is filled, or refused with a ``TemplateError``."""
        filled = filled_or_refused(template, {})
        expected, asked = by_python(template)
        assert filled == expected if isinstance(filled, str) else asked or expected is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("template", "argument", "position", "says"),
        [
            ("say {a.b}", "a", 4, "attributes"),
            ("say {a.__class__.__init__}", "a", 4, "attributes"),
            ("say {a[0]}", "a", 4, "items"),
            ("say {a!r}", "a", 4, "converted"),
            ("say {a!s}", "a", 4, "converted"),
            ("say {a:>10}", "a", 4, "formatted"),
            ("say {a:999999999}", "a", 4, "formatted"),
            ("say {a:}", "a", 4, "formatted"),
            ("say {a:{b}}", None, 4, "another brace"),
            ("say {}", None, 4, "not by number"),
            ("say {0}", None, 4, "not by number"),
            ("say {0.a}", None, 4, "not by number"),
            ("say { a }", None, 4, "no name"),
            ("say {a-b}", None, 4, "no name"),
            ('say {"a": 1}', None, 4, "{{ and }}"),
            ("say {a", None, 4, "not closed"),
            ("say {", None, 4, "not closed"),
            ("say }", None, 4, "closes nothing"),
            ("{{{a}}}}", None, 7, "closes nothing"),
        ],
    )
    def test_more_than_a_name(self, template: str, argument: str | None, position: int, says: str) -> None:
        """A template says where arguments go and nothing else; what is refused is named, with its place."""
        with pytest.raises(TemplateError, match=says) as caught:
            fill(template, {"a": SECRET, "b": 5})
        assert (caught.value.argument, caught.value.position) == (argument, position)
        assert re.search(rf"\bcharacter {position}\b", str(caught.value))
        assert SECRET not in str(caught.value)

    def test_a_missing_argument(self) -> None:
        """The error names what is asked for and where."""
        with pytest.raises(TemplateError, match="'text' at character 9,") as caught:
            fill("classify {text} as {label}", {"label": SECRET})
        assert (caught.value.argument, caught.value.position) == ("text", 9)
        assert SECRET not in str(caught.value)

    def test_a_surplus_argument(self) -> None:
        """What the template does not ask for is named; a doubled brace asks for nothing."""
        with pytest.raises(TemplateError, match="does not ask for the argument 'label'") as caught:
            fill("classify {text} {{label}}", {"text": SECRET, "label": SECRET})
        assert (caught.value.argument, caught.value.position) == ("label", None)
        assert SECRET not in str(caught.value)

    def test_a_long_name_is_told_in_part(self) -> None:
        """A name of a megabyte does not make a text of a megabyte."""
        with pytest.raises(TemplateError) as caught:
            fill("{" + "a" * 1_000_000 + "}", {})
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"k": one}, lambda one: {one: 1}])
    @pytest.mark.parametrize("value", [Foreign(), ForeignText("mine")], ids=["object", "text"])
    def test_foreign_code_is_not_asked(self, value: Any, wrap: Any) -> None:
        """A class of others has no text here, at no depth, and none of its methods is called to find out."""
        Foreign.asked = False
        with pytest.raises(TemplateError, match=f"of type {type(value).__name__}") as caught:
            fill("{a}", {"a": wrap(value)})
        assert caught.value.argument == "a"
        assert not Foreign.asked
        assert SECRET not in str(caught.value)

    def test_what_became_of_arguments_in_the_meantime(self) -> None:
        """Arguments that somebody tied into a knot, or a number that Python does not write, are refused by name."""
        knot: list[Any] = []
        knot.append(knot)
        with pytest.raises(TemplateError, match=r"'a'.*contains itself") as caught:
            fill("{a}", {"a": knot})
        assert caught.value.__cause__ is None
        with pytest.raises(TemplateError, match=r"'n'.*too many digits"):
            fill("{n}", {"n": 10**5000})

    def test_the_work_is_bounded(self) -> None:
        """A short argument that is asked for very often is refused before the text is made."""
        piece = "x" * 1_000_000
        times = MAX_PROMPT // len(piece)
        assert len(fill("{a}" * times, {"a": piece})) == times * len(piece)
        with pytest.raises(TemplateError, match="16,777,216 characters") as caught:
            fill("{a}" * 1_000_000, {"a": piece})
        assert caught.value.position == times * len("{a}")


class TestPrompt:
    def test_it_is_the_template_filled(self) -> None:
        """The prompt is made of what the task keeps: a copy of its arguments, with lists for tuples."""
        labels = ["greeting"]
        task = AgentTask("classifier", "Is {text} one of {labels}?", {"text": "hi", "labels": (labels, 1)})
        labels.append("other")
        assert task.prompt == 'Is hi one of [["greeting"], 1]?'

    def test_a_task_is_made_with_any_template(self) -> None:
        """What is stored can be asked for although the template cannot be filled; only the prompt is refused."""
        task = AgentTask("classifier", "classify {0}", {"text": "hi"})
        assert len(task.digest()) == 64
        with pytest.raises(TemplateError):
            _ = task.prompt

    def test_it_is_made_at_each_call(self) -> None:
        """Nothing of a prompt is kept: it is as large as the arguments, and a task may wait for long."""
        task = AgentTask("classifier", "classify {text}", {"text": "hi"})
        assert task.prompt == task.prompt
        assert task.prompt is not task.prompt
