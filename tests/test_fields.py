"""Classes of named fields: what a dataclass promises, without the code it writes."""

import copy
import dataclasses
from typing import Any

import pytest

from toolcache.fields import Fields, Frozen, each


class Point(Frozen):
    """A value."""

    x: float
    y: float = 0.0
    name: str = ""


class Tally(Fields):
    """Counts."""

    hits: int = 0
    misses: int = 0
    callers: set[str] = each(factory=set)


class Place(Point):
    """A subclass."""

    height: float = 0.0


class Same(Point):
    """A subclass without fields of its own."""


KINDS: list[Any] = [Point, Tally]


def test_fields_are_given_by_place_or_name() -> None:
    """Fields are taken in their order, or by name; what is not given has its default."""
    assert Point(1.0, 2.0, "a") == Point(name="a", y=2.0, x=1.0) == Point(1.0, 2.0, name="a")
    assert (Point(1.0).y, Point(1.0).name) == (0.0, "")


@pytest.mark.parametrize(
    ("args", "named"),
    [((), {}), ((), {"y": 1.0}), ((1.0, 2.0, "a", 4), {}), ((1.0,), {"x": 1.0}), ((1.0,), {"z": 1.0})],
    ids=["nothing", "one is missing", "too many", "twice", "unknown"],
)
def test_wrong_fields_are_refused(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A field that is missing, unknown or given twice is a TypeError that names those there are."""
    with pytest.raises(TypeError, match="Point takes x, y, name"):
        Point(*args, **named)


def test_a_value_does_not_change() -> None:
    """A frozen one refuses assignment and deletion, of its fields and of any other name; it is as its fields are, hash included."""
    point = Point(1.0)
    for name in ("x", "z"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(point, name, 2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    assert len({point, Point(1.0), Point(2.0)}) == 2
    assert point != Point(2.0)
    assert point != (1.0, 0.0, "")
    assert repr(point) == "Point(x=1.0, y=0.0, name='')"


def test_the_other_kind_changes() -> None:
    """One that is not frozen takes assignments, shares nothing with others, and has no hash."""
    tally, other = Tally(), Tally(misses=1)
    tally.hits += 1
    tally.callers.add("a")
    assert (tally.hits, other.hits, other.callers) == (1, 0, set())
    assert tally != other
    with pytest.raises(TypeError, match="unhashable"):
        hash(tally)


def test_a_subclass_adds_fields() -> None:
    """A subclass has the fields of its base, then its own; what is of another class is another value."""
    assert (Place(1.0, height=2.0).x, Place(1.0, height=2.0).height) == (1.0, 2.0)
    assert Same(1.0) != Point(1.0)
    assert [len(dataclasses.fields(kind)) for kind in (Point, Place, Same)] == [3, 4, 3]


def test_the_module_dataclasses_knows_them() -> None:
    """``fields``, ``asdict``, ``astuple`` and ``replace`` take them, and so do patterns and copies."""
    point = Point(1.0, name="a")
    assert [(one.name, one.default) for one in dataclasses.fields(Point)] == [
        ("x", dataclasses.MISSING),
        ("y", 0.0),
        ("name", ""),
    ]
    assert [one.name for one in dataclasses.fields(Tally())] == ["hits", "misses", "callers"]
    assert dataclasses.asdict(point) == {"x": 1.0, "y": 0.0, "name": "a"}
    assert dataclasses.astuple(point) == (1.0, 0.0, "a")
    assert dataclasses.replace(point, y=5.0) == point._replace(y=5.0) == Point(1.0, 5.0, "a")
    assert copy.copy(point) == copy.deepcopy(point) == point
    match point:
        case Point(x, y, name=name):
            assert (x, y, name) == (1.0, 0.0, "a")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_they_are_what_dataclasses_would_make(kind: Any) -> None:
    """The same annotations under the decorator give objects that look and compare alike."""
    decorated: Any = dataclasses.make_dataclass(
        kind.__name__, [(one.name, one.type, one) for one in dataclasses.fields(kind)], frozen=kind is Point
    )
    args = (1,) if kind is Point else ()
    assert repr(decorated(*args)) == repr(kind(*args))
    assert dataclasses.asdict(decorated(*args)) == dataclasses.asdict(kind(*args))
    assert kind.__match_args__ == decorated.__match_args__
