"""What varies in keys is found, what is asked for is not blamed, and no value is kept."""

import random
import sys
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from toolcache.insight.sketch import Clue
from toolcache.insight.variance import CALLS, FEWEST, SHUT, Windows

Make = Callable[[int], dict[str, Any]]


def clue_of(make: Make, calls: int = 300) -> Clue | None:
    """What a window says of calls."""
    windows = Windows()
    for number in range(calls):
        windows.note("here", make(number))
    clues = windows.clues()
    return clues[0] if clues else None


def city(number: int) -> str:
    return f"city {number % 10}"


START = datetime(2026, 1, 1, tzinfo=UTC)
dice = random.Random(3)

VARYING: dict[str, tuple[Make, tuple[str, ...]]] = {
    "a trace id": (lambda n: {"city": city(n), "trace_id": f"t{n}"}, ("trace_id",)),
    "a uuid by any name": (lambda n: {"city": city(n), "x": str(uuid.uuid4())}, ("x",)),
    "a uuid that is one": (lambda n: {"city": city(n), "x": uuid.uuid4()}, ("x",)),
    "a time": (lambda n: {"city": city(n), "at": 1.7e9 + n}, ("at",)),
    "a datetime": (lambda n: {"city": city(n), "at": START + timedelta(seconds=n)}, ("at",)),
    "a time within a text": (
        lambda n: {
            "messages": [
                {"role": "system", "content": f"It is 2026-01-01T10:{n // 60:02}:{n % 60:02}Z"},
                {"content": city(n)},
            ]
        },
        ("messages[0].content~mark",),
    ),
    "two at once": (
        lambda n: {"city": city(n), "request_id": n, "at": START + timedelta(seconds=n)},
        ("at", "request_id"),
    ),
    "capitals and spaces": (
        lambda n: {"q": "".join(dice.choice((c, c.upper())) for c in "red shoes please") + " " * (n % 3)},
        ("q~text",),
    ),
    "digits of a number": (lambda n: {"lat": 59.9 + n % 4 + dice.random() / 1e6}, ("lat~number",)),
    "deep in parameters": (lambda n: {"params": {"model": "m", "seed": n}, "q": city(n)}, ("params.seed",)),
}

MEANT: dict[str, Make] = {
    "a query": lambda n: {"query": f"shoes of kind {n}", "top_k": 5},
    "a query in few languages": lambda n: {"query": f"shoes of kind {n}", "language": "de" if n % 2 else "en"},
    "a user": lambda n: {"user_id": str(uuid.uuid4())},
    "users who come again": lambda n: {"user_id": f"00000000-0000-4000-8000-{n % 40:012}", "language": str(n % 2)},
    "days": lambda n: {"city": city(n), "day": f"2026-01-{n % 28 + 1:02}"},
    "a number": lambda n: {"page": n},
    "whole hits": lambda n: {"city": city(n), "trace_id": "none"},
    "an id that is all there is": lambda n: {"trace_id": n},
}


@pytest.mark.parametrize("name", VARYING)
def test_what_varies_is_found(name: str) -> None:
    """Each by the calls' digests alone, with how many keys there would be without."""
    make, fields = VARYING[name]
    clue = clue_of(make)
    assert clue is not None
    assert tuple(sorted(clue.fields)) == fields
    assert clue.calls == 300
    assert clue.keys > 100
    assert clue.fewer <= 10


@pytest.mark.parametrize("name", MEANT)
def test_what_is_meant_is_not_blamed(name: str) -> None:
    """What was asked for may well be another thing each time."""
    assert clue_of(MEANT[name]) is None


def test_few_calls_say_nothing() -> None:
    """Less than a window's worth is no evidence."""
    make = VARYING["a trace id"][0]
    assert clue_of(make, FEWEST - 1) is None
    assert clue_of(make, FEWEST) is not None


def test_most_calls_are_not_looked_at() -> None:
    """Of 41 calls one is: first a thousand in a row, then none for forty thousand."""
    windows, looked = Windows(), 0
    for number in range(100_000):
        windows.left -= 1
        if windows.left < 0:
            looked += 1
            windows.note("here", {"n": number})
    assert looked <= 3 * 1_024
    assert looked > 2 * 1_024
    assert SHUT.left - 1 >= 0


def test_it_tells_of_what_has_been_mended() -> None:
    """A window of calls that no longer vary takes back what an earlier one has said."""
    windows = Windows()
    make = VARYING["a trace id"][0]
    for number in range(CALLS):
        windows.note("here", make(number))
    assert windows.clues()
    for number in range(3_000):
        windows.note("here", {"city": city(number)})
    assert windows.clues() == ()


def test_no_value_is_kept() -> None:
    """Digests under a random key, and names of fields: nothing that was passed lives on, and two processes differ."""
    first, second = Windows(), Windows()
    for windows in (first, second):
        for _ in range(40):
            windows.note("here", {"q": "a secret query", "at": 1.7e9})
    columns = [one._windows["here"]._plain for one in (first, second)]
    assert columns[0].keys() == columns[1].keys() == {"q", "at"}
    assert columns[0]["q"][0] != columns[1]["q"][0]
    seen, told = set[int](), list[object]()
    about = [vars(first)]
    while about:
        one: Any = about.pop()
        told += [one] if isinstance(one, str) else []
        parts = [*one.keys(), *one.values()] if isinstance(one, dict) else list(one) if isinstance(one, tuple) else []
        about += [vars(one)] if hasattr(one, "__dict__") and id(one) not in seen else []
        about += parts
        seen.add(id(one))
    assert set(told) >= {"here", "q"}
    assert "a secret query" not in told


def test_it_stays_small() -> None:
    """Places and fields are bounded, whatever is passed."""
    windows = Windows()
    for number in range(40):
        for place in range(20):
            windows.note(f"place {place}", {f"field{one}": number * one for one in range(50)})
    assert len(windows._windows) <= 8
    assert all(len(one._plain) + len(one._alike) <= 24 for one in windows._windows.values())
    windows.note("deep", {"a": {"b": {"c": {"d": object()}}}})


def test_threads_share_a_window() -> None:
    """Several threads note their calls at once: some are not looked at, and nobody is troubled."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    windows, raised = Windows(), list[BaseException]()

    def note() -> None:
        try:
            for number in range(1_500):
                windows.note("search", {"query": f"Text {number % 7}", "at": number / 7, f"field{number % 5}": number})
        except BaseException as error:  # noqa: BLE001 - told
            raised.append(error)

    crew = [threading.Thread(target=note) for _ in range(4)]
    try:
        for one in crew:
            one.start()
        for one in crew:
            one.join(30)
    finally:
        sys.setswitchinterval(before)
    windows.clues()
    assert raised == []


def test_names_that_are_data_are_not_kept() -> None:
    """A mapping whose keys are no names of fields, such as addresses, is one value: none of them leaves."""
    windows = Windows()
    for number in range(600):
        scores = {f"ann{who}@example.com": 0.5 + number % 10 / 10**6 for who in range(3)}
        windows.note("tool:rank", {"scores": scores, "request_id": f"{number:032x}"})
    assert "example" not in repr(windows.clues())
    assert windows.clues()


def test_a_long_text_is_not_gone_through() -> None:
    """A document in a field costs what its digest does: it is neither split nor folded."""
    windows = Windows()
    for number in range(40):
        windows.note("model", {"text": "A  b " * 1_000 + str(number), "q": f"A  {number}"})
    assert windows._windows["model"]._alike.keys() == {"q~text"}
