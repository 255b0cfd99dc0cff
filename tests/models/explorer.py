"""Every state that a model can get into, the nearest first.

A model is an immutable, hashable state, a function that tells all steps possible in it, and one that tells what is
wrong with it. The search is exhaustive within the bounds that the model sets itself, so what it does not find is not
there; and it is breadth-first, so what it finds is told in the fewest steps there are.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple, TypeVar

S = TypeVar("S", bound=Hashable)

_ENOUGH = 400_000


class Explored(NamedTuple):
    """How many states there are, and of the first wrong one what is wrong and the steps that lead there."""

    states: int
    wrong: str = ""
    path: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.states} states: " + (f"{self.wrong}: {'; '.join(self.path)}" if self.wrong else "nothing wrong")


def explore(start: S, steps: Callable[[S], Iterable[tuple[str, S]]], wrong: Callable[[S], str]) -> Explored:
    """All states, or those up to the first for which ``wrong`` says something."""
    came: dict[S, tuple[S, str] | None] = {start: None}
    queue = deque([start])
    while queue:
        state = queue.popleft()
        if said := wrong(state):
            return Explored(len(came), said, _path(came, state))
        for label, after in steps(state):
            step = (state, label)
            if came.setdefault(after, step) is step:  # half the hashing
                queue.append(after)
        assert len(came) < _ENOUGH, "the model is not bounded, or its bounds are too wide for a test"
    return Explored(len(came))


def _path(came: dict[S, tuple[S, str] | None], state: S) -> tuple[str, ...]:
    labels = []
    while (before := came[state]) is not None:
        state, label = before
        labels.append(label)
    return tuple(reversed(labels))
