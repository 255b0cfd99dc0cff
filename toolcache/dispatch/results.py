"""What became of a task: AgentResult, the error of a run that failed, and how far a dispatch is."""

from asyncio import CancelledError
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeAlias

from toolcache.errors import StoredAgentError
from toolcache.record_body import words_of

Status: TypeAlias = Literal["completed", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class TaskError:
    """Why a run failed, as text that outlives its process.

    Attributes:
        type: the name of the exception's class, with its module unless it is built in: ``"ValueError"``.
        message: its text, of which ``of`` keeps the first 2,000 characters.

    Examples:
        >>> TaskError.of(ValueError("no such label"))
        TaskError(type='ValueError', message='no such label')
    """

    type: str
    message: str = ""

    @classmethod
    def of(cls, exception: BaseException) -> Self:
        """The words of an exception; of a failure elsewhere, those that came from there. One that cannot tell its text has none."""
        if isinstance(exception, StoredAgentError):
            return cls(exception.type, exception.message)
        return cls(*words_of(exception))


@dataclass(frozen=True, slots=True)
class AgentResult:
    """What became of one task.

    Two results are equal if they tell the same; the exception object, which exists in this process alone, does not
    count, and neither it nor the output is shown by ``repr``.

    Attributes:
        task_id: the digest of the task in its cache: 64 hex digits.
        output: what the run returned, None unless it completed.
        status: "completed", "failed", or "timeout" for a run that took too long.
        error: why there is no output; None if there is.
        replayed: whether the answer was stored before this call asked.
        attempts: how many runs were begun for it, 2 or more after processes that died.
        started_at: when the last of them began, in seconds since the epoch; 0.0 if none did, or nobody knows.
        finished_at: when it ended.
        seconds: how long it took.
        cost_usd: what it reported to have cost, in US dollars. Replayed, this is what was saved.
        tokens: the tokens that it reported.
        exception: what it raised, if it did so in this process.

    Examples:
        >>> result = AgentResult("0a1b", {"label": "greeting"}, cost_usd=0.002)
        >>> result.ok, result.unwrap()
        (True, {'label': 'greeting'})
        >>> AgentResult("0a1b", status="failed", error=TaskError("ValueError", "no such label")).ok
        False
    """

    task_id: str
    output: Any = field(default=None, repr=False)
    status: Status = "completed"
    error: TaskError | None = None
    replayed: bool = False
    attempts: int = 1
    started_at: float = 0.0
    finished_at: float = 0.0
    seconds: float = 0.0
    cost_usd: float = 0.0
    tokens: int = 0
    exception: BaseException | None = field(default=None, compare=False, repr=False)

    @property
    def ok(self) -> bool:
        """Whether there is an output."""
        return self.status == "completed"

    def unwrap(self) -> Any:
        """The output of a run that completed.

        Raises:
            BaseException: what the run raised, the object itself, if that was in this process. A cancellation of the
                run is not raised, as it would cancel the caller: it is the cause of a ``StoredAgentError``.
            TimeoutError: it took too long, elsewhere or earlier.
            StoredAgentError: it failed, elsewhere or earlier; a stored failure is never rebuilt as its own class.
        """
        if self.ok:
            return self.output
        exception = self.exception
        try:
            if exception is not None and not isinstance(exception, CancelledError):
                raise exception
            error = self.error or TaskError.of(exception or Exception())
            if self.status == "timeout":
                raise TimeoutError(error.message or "the run of this task took longer than its timeout") from exception
            raise StoredAgentError(error.type, error.message, key=self.task_id[:8]) from exception
        finally:
            # The traceback holds this frame: without its names, no circle keeps the run's locals in memory.
            del exception, self


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a dispatch is, told whenever a run begins or an answer comes.

    Attributes:
        total: the tasks given.
        done: those that are answered: completed or failed.
        running: those that are being run or waited for.
        completed: those that have an output.
        replayed: those of ``done`` that were answered from a record.
        failed: those that have none: failed, or took too long.
        result: the answer that has just come; None when a run has begun.

    Examples:
        >>> str(Progress(total=10, done=4, running=3, completed=3, replayed=2, failed=1))
        '4 of 10 done (2 replayed, 1 failed), 3 running'
    """

    total: int
    done: int = 0
    running: int = 0
    completed: int = 0
    replayed: int = 0
    failed: int = 0
    result: AgentResult | None = None

    def __str__(self) -> str:
        told = [f"{count:,} {what}" for count, what in ((self.replayed, "replayed"), (self.failed, "failed")) if count]
        which = f" ({', '.join(told)})" if told else ""
        running = f", {self.running:,} running" if self.running else ""
        return f"{self.done:,} of {self.total:,} done{which}{running}"
