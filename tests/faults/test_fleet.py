"""A fleet of workers, small and short. ``make fleet`` plays it at length."""

import json

import pytest
from faults import fleet
from faults.fleet import Fleet, Outcome, table


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["killed", "emptied"])
def test_each_request_runs_once(mode: str) -> None:
    """G4, G6: one execution but for deaths and long pauses, one answer, whatever becomes of Redis."""
    outcome = Fleet(mode, 7, processes=4, requests=60, deaths=2, pauses=1).play()
    assert outcome.violations == [], f"make fleet PROCESSES=4 REQUESTS=60 ARGS='--mode {mode}' says more"
    assert outcome.counts["answers"] > outcome.counts["executions"] >= outcome.counts["requests"] == 60


@pytest.mark.parametrize(
    ("door", "found"), [("locked", set()), ("unlocked", {"G4", "G6"}), ("impatient", {"G4", "G6"})]
)
def test_it_tells_right_from_wrong(
    door: str, found: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """G4, G6: one that locks holds; one that does not, and one that does not wait, are found out, by programs too."""
    words = ["--processes", "2", "--requests", "20", "--seed", "3", "--lease", "0.3", "--mode", "down", "--json"]
    monkeypatch.setattr("sys.argv", ["fleet", *words, "--door", door])
    assert fleet.main() == bool(found)
    said = capsys.readouterr()
    told = json.loads(said.out)
    (played,) = told["fleets"]
    assert {wrong.split(":")[0] for wrong in played["violations"]} == found
    assert (told["seed"], played["mode"], played["holds"]) == (3, "down", not found)
    assert (played["counts"]["requests"], played["counts"]["deaths"]) == (20, 2)
    assert "SEED=3" in said.err


def test_people_see_what_was_counted_and_what_does_not_hold() -> None:
    """G4: a column for each mode; of many violations some."""
    good = Outcome("healthy", 7, 1.5, {"requests": 1_000, "deaths": 2}, {}, [])
    bad = Outcome("down", 7, 2.0, {"requests": 1_000, "deaths": 3}, {"TakenOver": 4}, [f"G4: {n}" for n in range(30)])
    lines = table([good, bad]).splitlines()
    assert [line.split() for line in lines[:5]] == [
        ["healthy", "down"], ["requests", "1,000", "1,000"], ["deaths", "2", "3"], ["seconds", "1.5", "2.0"],
        ["verdict", "holds", "BROKEN"],
    ]  # fmt: skip
    assert lines[5] == "down SEED=7: G4: 0"
    assert lines[-2:] == ["down SEED=7: and 10 more", "down SEED=7: events: 4 x TakenOver"]
