"""A fleet of workers, small and short. ``make fleet`` plays it at length."""

import json

import pytest
from faults import fleet
from faults.fleet import Fleet


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["killed", "emptied"])
def test_each_request_runs_once(mode: str) -> None:
    """G4, G6: one execution but for deaths and long pauses, one answer, whatever becomes of Redis."""
    outcome = Fleet(mode, 7, processes=4, requests=60, deaths=2, pauses=1, lease=1.0).play()
    assert outcome.violations == [], f"make fleet PROCESSES=4 REQUESTS=60 ARGS='--mode {mode}' says more"
    assert outcome.counts["answers"] > outcome.counts["executions"] >= outcome.counts["requests"] == 60


@pytest.mark.parametrize(("door", "code"), [("locked", 0), ("unlocked", 1)])
def test_it_is_played_as_a_command(
    door: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """G4: what ``make fleet PROCESSES=2 REQUESTS=20 SEED=3`` runs, what programs read of it, and how it ends."""
    words = ["--processes", "2", "--requests", "20", "--seed", "3", "--lease", "0.3", "--mode", "down", "--json"]
    monkeypatch.setattr("sys.argv", ["fleet", *words, "--door", door])
    assert fleet.main() == code
    said = capsys.readouterr()
    told = json.loads(said.out)
    (played,) = told["fleets"]
    assert (told["seed"], played["mode"], played["holds"], bool(played["violations"])) == (
        3,
        "down",
        not code,
        bool(code),
    )
    assert played["counts"]["requests"] == 20
    assert "SEED=3" in said.err
