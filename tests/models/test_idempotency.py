"""What is promised of a request that is to run once, searched for a way to break it; and what cannot be promised.

- On one host it is executed once, whatever Redis does; once more at most for each process that was killed, paused for
  longer than its lease, or has failed. So too on several hosts, while Redis can be reached and keeps its data.
- No host ever changes an answer that it has given; and while Redis can be reached and keeps its data, all give the same.
- Whatever has happened, a call that is waited for can be answered without anything else having to happen.
- A host that has forgotten neither answers nor holds anything older, nor does Redis from when it has been told.

Each rule of the protocol is switched off in turn, and the search must find what it was there for.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import fields, replace
from typing import NamedTuple

import pytest
from models.explorer import explore
from models.request_model import Model, Steps
from models.request_state import Rules, World

TWO = (0, 0, 1)
"""The hosts of three processes."""

OUTAGES = ("partitions", "restarts", "silence")
ENDS = ("kills", "pauses", "failures", "cancels")


class Case(NamedTuple):
    """Where to search."""

    may: tuple[str, ...]
    hosts: tuple[int, ...] = (0, 0)
    faults: int = 0
    slips: int = 0
    attempts: int = 9
    prompt: bool = False

    def model(self, **rules: bool) -> Model:
        """With these rules changed."""
        changed = replace(Rules(), **rules)
        return Model(changed, *self.may, hosts=self.hosts, attempts=self.attempts, prompt=self.prompt)


HOLDS = {
    "one host, Redis at its worst": Case((*OUTAGES, "delays"), faults=4),
    "one host, three processes, Redis and kills": Case((*OUTAGES, "kills"), hosts=(0, 0, 0), faults=2, slips=2),
    "one host, Redis and whatever befalls a process": Case((*OUTAGES, *ENDS, "delays"), faults=1, slips=2),
    "one host, forgetting": Case(("partitions", "forgets", "pauses"), faults=1, slips=2),
    "one host, attempts that kill": Case((*OUTAGES, "kills"), faults=2, slips=3, attempts=2),
    "two hosts": Case(ENDS, hosts=TWO, slips=2),
    "two hosts with two processes": Case(("kills", "pauses"), hosts=(0, 0, 1, 1), slips=1),
    "two hosts, forgetting": Case(("forgets", *ENDS), hosts=TWO, slips=1),
    "two hosts, forgetting, Redis lost": Case(("restarts", "forgets"), hosts=TWO, faults=1, slips=1),
    "two hosts, attempts that kill": Case(("kills",), hosts=TWO, slips=3, attempts=2),
    "two hosts, Redis at its worst": Case((*OUTAGES, "delays", "kills", "pauses"), hosts=TWO, faults=1, slips=1),
    "two hosts, heartbeats in time": Case(("restarts",), hosts=TWO, faults=3, prompt=True),
}


@pytest.mark.parametrize("name", HOLDS)
def test_what_is_promised_holds(name: str) -> None:
    """ID-01, ID-08, ID-10, ID-12, ID-24, ID-30, ID-33: nothing that may happen breaks a promise."""
    case = HOLDS[name]
    explored = case.model().explore(case.faults, case.slips)
    assert not explored.wrong, str(explored)
    assert explored.states > 500, f"{explored.states} states are no search"


MORE, CHANGED, BOTH = "too many executions", "a host changes its answer", "two answers"
AGAIN = "runs what another host runs, or has answered"
IN_FILE, IN_REDIS = "a file holds what was forgotten", "Redis holds what was forgotten"
LIMITED = "more attempts than there may be"

NEEDED = {
    "file_first": (MORE, Case(("partitions",), faults=1)),
    "through_file": (CHANGED, Case(("partitions",), hosts=TWO, faults=1)),
    "write_once": (CHANGED, Case(("pauses",), slips=1)),
    "owned": (CHANGED, Case(("pauses", "failures", "cancels"), slips=2)),
    "redis_first": (BOTH, Case(("kills",), hosts=TWO, slips=1)),
    "reassert": (AGAIN, Case(("restarts",), hosts=TWO, faults=1, prompt=True)),
    "replay": (AGAIN, Case(("restarts",), hosts=TWO, faults=1, prompt=True)),
    "fenced": (IN_REDIS, Case(("forgets",), slips=1)),
    "floor": (IN_FILE, Case(("forgets",), slips=1)),
    "heirs": (IN_REDIS, Case(("forgets", "failures"), slips=2)),
    "above": (MORE, Case(("forgets",), hosts=TWO, slips=1)),
    "pass_on": (LIMITED, Case(("kills", "partitions"), faults=2, slips=3, attempts=2)),
    "lineage": (LIMITED, Case(("kills", "partitions"), faults=2, slips=3, attempts=2)),
    "limited": (LIMITED, Case(("kills",), slips=2, attempts=2)),
    "limit_stays": (CHANGED, Case(("kills", "pauses"), slips=2, attempts=1)),
    "limit_asks": (BOTH, Case(("kills",), hosts=TWO, slips=2, attempts=2)),
}
"""What goes wrong without a rule, and what it takes."""


@pytest.mark.parametrize("rule", [field.name for field in fields(Rules)])
def test_each_rule_is_needed(rule: str) -> None:
    """Without any one of the rules a promise is broken, the one that it was made for: the check can fail."""
    wrong, case = NEEDED[rule]
    explored = case.model(**{rule: False}).explore(case.faults, case.slips)
    assert explored.wrong == wrong, str(explored)
    assert not case.model().explore(case.faults, case.slips).wrong


@pytest.mark.parametrize("slip", ["failures", "cancels"])
def test_a_late_failure_ends_nothing(slip: str) -> None:
    """SPEC 8.4: who overran the lease and fails, or is abandoned, would take away what another has answered."""
    case = Case(("pauses", slip), slips=2)
    assert case.model(owned=False).explore(case.faults, case.slips).wrong == CHANGED
    assert not case.model().explore(case.faults, case.slips).wrong


# -- every call is answered ------------------------------------------------------------------------------------------------


def unanswered(case: Case, *, patient: bool = True, **rules: bool) -> list[str]:
    """The worlds in which a process can do what it will, and others too, and its call is never answered.

    Nothing befalls them from there on; leases in Redis end, if they are ``patient``.
    """
    model = case.model(**rules)
    start = model.begin(case.faults, case.slips)
    before: dict[World, list[World]] = defaultdict(list)
    answered: list[set[World]] = [set() for _ in case.hosts]

    def noted(world: World) -> Steps:
        for said, after in model.steps(world):
            yield said, after
            if (after.faults, after.slips) != (world.faults, world.slips) or not (patient or said[0] in "ph"):
                continue
            before[after].append(world)
            for at, (was, now) in enumerate(zip(world.processes, after.processes, strict=True)):
                if now.phase == "asks" != was.phase != "backs" or said == f"p{at} answers":
                    answered[at].add(world)

    every: set[World] = set()

    def seen(world: World) -> str:
        every.add(world)
        return ""

    explore(start, noted, seen)
    stuck = []
    for at, there in enumerate(answered):
        queue = list(there)
        while queue:
            fresh = [world for world in before[queue.pop()] if world not in there]
            there.update(fresh)
            queue += fresh
        stuck += [f"p{at} in {world}" for world in every - there]
    return stuck


@pytest.mark.parametrize(
    "case",
    [
        Case((*OUTAGES, *ENDS), faults=2, slips=1),
        Case(("partitions", "forgets", "kills"), faults=1, slips=2, attempts=1),
        Case(("partitions", "restarts", "kills", "pauses"), hosts=TWO, faults=1, slips=1),
    ],
    ids=["one host", "one host, forgetting", "two hosts"],
)
def test_no_call_waits_for_ever(case: Case) -> None:
    """SPEC 8: from wherever they have got to, each process can have its answer, though nothing ever mends."""
    assert not unanswered(case)[:1]


def test_a_dead_process_is_not_waited_for() -> None:
    """ID-24: on one host a killed process's claim is free at once, in Redis too, however many died in turn."""
    case = Case(("kills", "restarts"), faults=1, slips=3)
    assert not unanswered(case, patient=False)[:1]
    for rule in ("pass_on", "lineage"):
        assert unanswered(case, patient=False, **{rule: False}), f"{rule} would not be missed"


# -- what cannot be promised -----------------------------------------------------------------------------------------------


def twice(world: World) -> bool:
    """Two executions, and each host has its own answer."""
    (one, _), (other, _) = world.answers
    return world.runs == 2 and 0 < one != other > 0


def old(world: World) -> bool:
    """One host has forgotten, and another answers what it had before."""
    return world.acknowledged[0] > 0 and world.files[1].kind == "C" and world.files[1].fence == 0


LIMITS: dict[str, tuple[Case, Callable[[World], bool]]] = {
    "hosts that do not both reach Redis": (Case(("partitions",), hosts=TWO, faults=1), twice),
    "a Redis that loses a claim and is asked before it is told again": (
        Case(("restarts",), hosts=TWO, faults=1),
        twice,
    ),
    "a pause longer than the lease": (Case(("pauses",), slips=1), lambda world: world.runs > 1),
    "all of these": (
        Case((*OUTAGES, "kills", "pauses"), hosts=TWO, faults=1, slips=1),
        lambda world: world.runs > 2 and twice(world._replace(runs=2)),
    ),
    "a forget, where another host has answered": (Case(("forgets",), hosts=TWO, slips=1), old),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_limits_are_where_they_are_said_to_be(name: str) -> None:
    """ID-35, SPEC 0: two hosts apart both execute, and so on: what is documented as not promised does happen."""
    case, there = LIMITS[name]
    model = case.model()
    found = explore(model.begin(case.faults, case.slips), model.steps, lambda world: "so" if there(world) else "")
    assert found.wrong, f"{name}: that is no limit"
