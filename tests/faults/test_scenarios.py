"""The scenarios hold, with shortened times and one seed. ``make faults`` plays them at length, with any."""

import json

import pytest
from faults import (  # noqa: F401 - they register
    dispatching,
    endings,
    everything,
    lifecycles,
    outages,
    refusals,
    replies,
)
from faults.scenarios import SCENARIOS, play
from programs import run

LONG = {"F-07", "F-09", "F-13", "F-15", "F-16", "F-17", "F-18", "F-19", "F-20", "F-21", "F-26", "F-28"}


def _marked(name: str) -> object:
    return pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.timeout(180)  # of a busy machine: which of them has to be how quick, the report says
@pytest.mark.parametrize("name", [_marked(name) for name in sorted(SCENARIOS)])
async def test_nothing_is_lost_and_nobody_waits(name: str) -> None:
    """F-01, F-02, F-03, F-04, F-05, F-06, F-07, F-08, F-09, F-10, F-11, F-12, F-13, F-14, F-15, F-16, F-17, F-18, F-19, F-20, F-21, F-22, F-23, F-24, F-25, F-26, F-27, F-28: I1 to I12 hold."""
    report = await play(name, 7, quick=True)
    assert report.violations == (), f"make faults SCENARIO={name} SEED=7 says more"


@pytest.mark.slow
def test_everything_is_played_for_as_long_as_wanted() -> None:
    """F-28: what ``make soak MINUTES=0.02 SEED=3 ARGS=--json`` runs; it ends by itself, and says how to play it again."""
    out, err = run(
        """
    import sys
    from faults.soak import main
    sys.argv = ["soak", "--minutes", "0.02", "--seed", "3", "--json"]
    sys.exit(main())
        """
    )
    told = json.loads(out)
    assert (told["seed"], told["violations"], told["failed"]) == (3, 0, [])
    assert told["calls"] > told["acknowledged"] > 0
    assert "SEED=3" in err


def test_one_is_played_by_name() -> None:
    """FAULTS 3: what ``make faults SCENARIO=F-24 SEED=3`` runs, and what programs read of it."""
    out, err = run(
        """
    import sys
    from faults.__main__ import main
    sys.argv = ["faults", "--scenario", "F-24", "--seed", "3", "--quick", "--json"]
    sys.exit(main())
        """
    )
    (report,) = json.loads(out)
    assert (report["scenario"], report["seed"], report["holds"]) == ("F-24", 3, True)
    assert "F-24 SEED=3" in err
