"""The judge of dispatches finds what it is there to find, and nothing else."""

from math import inf
from pathlib import Path

import pytest
from faults.accounts import Account, Accounts, Call, Pause, Reader, Run, runs_of
from faults.judging import Judge

LEASE = 2.0


def accounts(*noted: Run | Call | Pause, hosts: str = "here", **deaths: float) -> Accounts:
    """What was noted; workers are "a", "b" and "c"."""
    return Accounts(
        LEASE,
        dict(zip("abc", hosts.split(",") * 3, strict=False)),
        deaths,
        [one for one in noted if isinstance(one, Run)],
        [one for one in noted if isinstance(one, Call)],
        [one for one in noted if isinstance(one, Pause)],
    )


def ran(worker: str, at: float, name: str = "", **how: object) -> Run:
    return Run("r", worker, name or f"{worker}@{at:g}", at, token="t", **how)  # type: ignore[arg-type]  # of a Run


def told(worker: str, at: float, run: str | None, *, asked: float = 0.0, error: str | None = None) -> Call:
    return Call("r", worker, asked, at, run, error)


def kinds(found: Accounts, *, apart: bool = False) -> list[str]:
    return [wrong.split(":")[0] for wrong in Judge(found).judge(apart=apart)]


GOOD = {
    "one run, and its answer for all": accounts(ran("a", 1), told("a", 2, "a@1"), told("b", 2.1, "a@1")),
    "a death in the run": accounts(ran("a", 1), ran("b", 2), told("b", 3, "b@2"), Call("r", "a", 0.0), a=1.5),
    "a death before it was told": accounts(ran("a", 1, ended_at=2), told("b", 3, "a@1"), Call("r", "a", 0.0), a=2.1),
    "a pause in the run": accounts(
        ran("a", 1), Pause("a", 1.1, 4), ran("b", 3.5), told("b", 3.9, "b@3.5"), told("a", 5, "b@3.5")
    ),
    "a pause before it began": accounts(
        Pause("a", 1.1, 4), ran("b", 3), told("b", 3.5, "b@3"), ran("a", 4.1), told("a", 5, "b@3")
    ),
    "killed while it stood still": accounts(
        ran("a", 1), Pause("a", 1.1, inf), ran("b", 3.5), told("b", 4, "b@3.5"), Call("r", "a", 0.0), a=5
    ),
    "a run after one that raised": accounts(
        ran("a", 1, ended_at=2, raised=True), ran("b", 2.1), told("b", 3, "b@2.1"), told("a", 3, "b@2.1")
    ),
}
BAD = {
    "two runs at once": (accounts(ran("a", 1), ran("b", 1.1), told("a", 2, "a@1"), told("b", 2, "a@1")), ["G4"]),
    "two runs by one process": (accounts(ran("a", 1), ran("a", 1.1), told("a", 2, "a@1")), ["G4"]),
    "a run after an answer": (
        accounts(ran("a", 1), told("b", 2, "a@1"), ran("b", 3), Call("r", "a", 0.0), a=1.5), ["G4"]
    ),
    "a run before the death": (
        accounts(ran("a", 1), ran("b", 2), told("b", 4, "b@2"), Call("r", "a", 0.0), a=3), ["G4"]
    ),
    "a second run for one death": (
        accounts(ran("a", 1), ran("b", 2), ran("c", 3), told("b", 4, "b@2"), told("c", 4, "b@2"), a=1.5), ["G4"]
    ),
    "a run although the pause was short": (
        accounts(ran("a", 1), Pause("a", 1.1, 2), ran("b", 1.9), told("b", 3, "a@1"), told("a", 3, "a@1")), ["G4"]
    ),
    "a run although another stood still": (
        accounts(ran("a", 1), Pause("c", 1.1, 4), ran("b", 3.5), told("b", 4, "a@1"), told("a", 4, "a@1")), ["G4"]
    ),
    "the late runner's own answer": (
        accounts(ran("a", 1), Pause("a", 1.1, 4), ran("b", 3.5), told("b", 3.9, "b@3.5"), told("a", 5, "a@1")), ["G6"]
    ),
    "an answer of nobody": (accounts(ran("a", 1), told("a", 2, "z")), ["I12"]),
    "no answer": (accounts(ran("a", 1), Call("r", "a", 0.0)), ["I2", "G4"]),
    "an error": (accounts(told("a", 2, None, error="WaitTimeoutError")), ["I1"]),
    "another idempotency key": (
        accounts(ran("a", 1), Run("r", "b", "b", 2, token="u"), told("b", 3, "b"), Call("r", "a", 0.0), a=1.5), ["ID"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("found", GOOD.values(), ids=GOOD)
def test_what_was_promised_is_not_complained_of(found: Accounts) -> None:
    """G4: one more execution for each death and each long pause in one."""
    assert Judge(found).judge() == []


@pytest.mark.parametrize(("found", "expected"), BAD.values(), ids=BAD)
def test_what_was_not_promised_is_found(found: Accounts, expected: list[str]) -> None:
    """G4, G6: each thing that may go wrong is told of."""
    assert kinds(found) == expected


def test_hosts_that_could_not_know_are_judged_apart() -> None:
    """G5: without Redis each host runs a request once, and has its answer."""
    found = accounts(ran("a", 1), ran("b", 1.1), told("a", 2, "a@1"), told("b", 2, "b@1.1"), hosts="here,there")
    assert kinds(found) == ["G4", "G6"]
    assert kinds(found, apart=True) == []
    assert kinds(
        accounts(ran("a", 1), ran("c", 2), told("c", 3, "c@2"), told("a", 3, "c@2"), hosts="here,there"), apart=True
    ) == ["G4"]


def test_an_account_is_read_as_it_was_kept(tmp_path: Path) -> None:
    """ID: what is counted is what was noted, by whoever has died since too."""
    for worker in ("a", "b"):
        account = Account(tmp_path, worker)
        account.note("asked", 0, "r", 1.0)
        account.begin(ran(worker, 2, attempt=2))
        if worker == "a":
            account.note("ended", "a@2", 3.0, True)
            account.note("told", 0, 4.0, "b@2", None)
            account.note("stood still", 5.0, 9.0)
            account.note("event", "TakenOver")
        account.close()
    found = Accounts(LEASE, {"a": "here", "b": "here"}, {"b": 3.0}, pauses=[Pause("a", 4.9, 9.1)])
    found.read(tmp_path)
    assert found.runs == [ran("a", 2, attempt=2, ended_at=3.0, raised=True), ran("b", 2, attempt=2)]
    assert runs_of(tmp_path, "r") == [ran("a", 2, attempt=2), ran("b", 2, attempt=2)]
    assert found.calls == [Call("r", "a", 1.0, 4.0, "b@2"), Call("r", "b", 1.0)]
    assert found.long_pauses == [Pause("a", 4.9, 9.1)]
    assert found.events == {"TakenOver": 1}
    assert Reader(tmp_path).look() == 1
    assert found.counts() == {
        "requests": 1, "calls": 2, "executions": 2, "answers": 1, "replays": 1, "deaths": 1, "pauses": 1,
        "extra executions": 1, "more than one answer": 0, "without an answer": 0,
    }  # fmt: skip
