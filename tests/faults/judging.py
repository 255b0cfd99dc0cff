"""Whether what dispatches came to is what was promised."""

from collections.abc import Callable, Iterable
from math import inf
from typing import Final

from faults.accounts import Accounts, Call, Pause, Run, by_request

_MOMENT: Final = 1.0
"""Seconds that one who stood still after it had claimed may take until it begins."""

MayRaise = Callable[[Call], bool]


class Judge:
    """Judges accounts.

    A run stands from its beginning on, and no other may begin: unless its process died in it, stood still in it for so
    long that its lease may have lapsed, or it raised. It is over for the process when that has told its answer.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._calls: dict[tuple[str, str], list[Call]] = {}
        for call in accounts.calls:
            self._calls.setdefault((call.request, call.worker), []).append(call)
        self._long = accounts.long_pauses

    def judge(self, *, apart: bool = False, may_raise: MayRaise = lambda _call: False) -> list[str]:
        """What does not hold.

        Args:
            apart: judge each host by itself, as where Redis has lost what it knew: then each may run a request.
            may_raise: whether a call may have ended with its error; none may unless given.
        """
        accounts = self._accounts
        wrong = [*self._judge_calls(may_raise), *self._judge_tokens()]
        for place in sorted(set(accounts.hosts.values())) if apart else [None]:
            runs = [run for run in accounts.runs if place in (None, accounts.hosts[run.worker])]
            calls = [call for call in accounts.calls if place in (None, accounts.hosts[call.worker])]
            wrong += [*self._judge_runs(runs, calls), *self._judge_answers(calls)]
        return wrong

    def _judge_runs(self, runs: Iterable[Run], calls: Iterable[Call]) -> Iterable[str]:
        answered = by_request(call for call in calls if call.run is not None)
        for request, some in by_request(runs).items():
            told_at = min((call.told_at for call in answered.get(request, ())), default=inf)
            in_order = sorted(some, key=lambda run: run.begun_at)
            for number, run in enumerate(in_order):
                if self._was_late(run):
                    continue
                if standing := [other.name for other in in_order[:number] if self._over_at(other) > run.begun_at]:
                    yield f"G4: {request}: {run.name} was begun although {', '.join(standing)} stood"
                elif told_at < run.begun_at:
                    yield f"G4: {request}: {run.name} was begun {run.begun_at - told_at:.3f} s after an answer"

    def _over_at(self, run: Run) -> float:
        """From when on another may be begun."""
        calls = self._calls.get((run.request, run.worker), ())
        told_at = min((call.told_at for call in calls if call.run and call.told_at >= run.begun_at), default=inf)
        still = (pause.since for pause in self._pauses(run) if run.begun_at <= pause.until and pause.since < told_at)
        died_at = self._accounts.deaths.get(run.worker, inf) if told_at == inf else inf
        return min(died_at, run.ended_at if run.raised else inf, *still)

    def _was_late(self, run: Run) -> bool:
        """Whether it stood still between its claim and its beginning, of which nobody outside can know."""
        calls = self._calls.get((run.request, run.worker), ())
        asked_at = min((call.asked_at for call in calls), default=inf)
        return any(
            asked_at < pause.until and pause.since <= run.begun_at <= pause.until + _MOMENT
            for pause in self._pauses(run)
        )

    def _pauses(self, run: Run) -> Iterable[Pause]:
        return (pause for pause in self._long if pause.worker == run.worker)

    def _judge_answers(self, calls: Iterable[Call]) -> Iterable[str]:
        known = {(run.request, run.name) for run in self._accounts.runs}
        for request, some in by_request(calls).items():
            answers = sorted({call.run for call in some if call.run is not None})
            if len(answers) > 1:
                yield f"G6: {request}: it was answered with {', '.join(answers)}"
            if not answers and not any(call.error for call in some):
                yield f"G4: {request}: nobody got an answer"
            for name in answers:
                if (request, name) not in known:
                    yield f"I12: {request}: no run of it had the output {name}"

    def _judge_calls(self, may_raise: MayRaise) -> Iterable[str]:
        for call in self._accounts.calls:
            if call.error is not None and not may_raise(call):
                yield f"I1: {call.request}: {call.worker} got {call.error}"
            if call.told_at == inf and call.worker not in self._accounts.deaths:
                yield f"I2: {call.request}: {call.worker} was never answered"

    def _judge_tokens(self) -> Iterable[str]:
        for request, some in by_request(self._accounts.runs).items():
            if len(tokens := {run.token for run in some}) > 1:
                yield f"ID: {request}: its runs had {len(tokens)} idempotency keys"
