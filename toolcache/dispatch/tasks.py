"""AgentTask: one call of an agent, and the digest by which a repetition of it is known."""

from collections.abc import Mapping
from typing import Any, Final

from toolcache.durations import Duration, seconds
from toolcache.errors import UnsupportedKeyError
from toolcache.fields import Frozen
from toolcache.keys.canonical import Digest, digest

_SCHEMA: Final = 1
_UNCHANGEABLE: Final = frozenset({type(None), bool, int, float, str, bytes, Digest})


class AgentTask(Frozen):
    """What an agent is asked to do. Two tasks that ask the same have the same digest, in every process.

    ``args`` is a copy of what was passed, with lists for tuples, as they come back from a store. The identity is taken
    when the task is made, so an agent that changes its arguments changes no digest. Their order does not matter; ``1``,
    ``1.0``, ``True``, ``"1"`` and ``b"1"`` are five different arguments.

    Args:
        agent: who is asked.
        template: what is asked, such as ``"classify {text}"``; its text is part of the identity. It is filled, and
            errors in it are found, when ``prompt`` is read.
        args: what the template is filled with; keys accept them: numbers, text, bytes, None, dates, Decimal, UUID, and
            lists, dicts and sets of those.
        model: part of the identity.
        agent_version: part of the identity.
        idempotency_key: the caller's own identity, instead of template, version, model and arguments; it counts within
            namespace, tenant and agent.
        tenant: on whose behalf; the cache's unless given.
        timeout: how long the run may take, for whoever runs the task; no part of the identity.

    Raises:
        UnsupportedKeyError: an argument has no canonical form, is nested too deeply or contains itself.
        TypeError: agent, template or another text is none.

    Examples:
        >>> task = AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small")
        >>> task.digest() == AgentTask("classifier", "classify {text}", {"text": "hello"}, model="small").digest()
        True
        >>> task.prompt
        'classify hello'
    """

    agent: str
    template: str
    args: dict[str, Any]
    model: str | None
    agent_version: str | None
    idempotency_key: str | None
    tenant: str | None
    timeout: float | None

    def __init__(
        self,
        agent: str,
        template: str,
        args: Mapping[str, Any] | None = None,
        *,
        model: str | None = None,
        agent_version: str | None = None,
        idempotency_key: str | None = None,
        tenant: str | None = None,
        timeout: Duration | None = None,
    ) -> None:
        own = _own_args({} if args is None else args)
        for name, value in (("agent", agent), ("template", template)):
            _check_text(name, value)
        optional = {
            "model": model,
            "agent_version": agent_version,
            "idempotency_key": idempotency_key,
            "tenant": tenant,
        }
        for name, one in optional.items():
            if one is not None:
                _check_text(name, one)
        limit = None if timeout is None else seconds(timeout, name="timeout")
        what = _identity(agent=agent, template=template, args=own, model=model, version=agent_version)
        self.__dict__["_asked"] = digest(what)
        # Only now: what is no key has been refused, and nothing of it runs.
        super().__init__(agent, template, {name: _own(value) for name, value in own.items()}, **optional, timeout=limit)

    def __eq__(self, other: object) -> bool:
        return self._told() == other._told() if isinstance(other, AgentTask) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        told = ("agent", "model", "agent_version", "tenant", "timeout", "fingerprint")
        return f"AgentTask({', '.join(f'{name}={getattr(self, name)!r}' for name in told)})"

    def _told(self) -> dict[str, Any]:
        # The fingerprint stands for the arguments, which an agent may change.
        return {**vars(self), "args": None}

    @property
    def fingerprint(self) -> Digest:
        """What is asked, without on whose behalf: tells that a key was used again for something else."""
        asked: Digest = self.__dict__["_asked"]
        return asked

    @property
    def prompt(self) -> str:
        """The template, filled with the arguments as they are now; `toolcache.dispatch.templates` tells how.

        Raises:
            TemplateError: template and arguments do not fit.
        """
        from toolcache.dispatch.templates import fill

        return fill(self.template, self.args)

    def digest(self, *, namespace: str = "default", tenant: str | None = None) -> Digest:
        """The identity of this task in a namespace: 64 hex digits.

        Args:
            namespace: the cache's.
            tenant: the cache's, for a task that names none.
        """
        scope = {"namespace": namespace, "tenant": tenant if self.tenant is None else self.tenant}
        if self.idempotency_key is None:
            return digest(_identity(**scope, task=str(self.fingerprint)))
        return digest(_identity(**scope, agent=self.agent, key=self.idempotency_key))


def _identity(**of: Any) -> dict[str, Any]:
    return {"schema": _SCHEMA, **of}


def _own_args(args: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(args, Mapping):
        raise TypeError(f"args is a mapping of names to values, not {type(args).__name__}")
    for name in args:
        _check_text("a name in args", name)
    try:
        return {name: _lists_for_tuples(value) for name, value in args.items()}
    except RecursionError:
        raise UnsupportedKeyError("args of a task are nested too deeply, or contain themselves: flatten them") from None


def _lists_for_tuples(value: Any) -> Any:
    if type(value) is list or type(value) is tuple:
        return [_lists_for_tuples(one) for one in value]
    if type(value) is dict:
        return {key: _lists_for_tuples(one) for key, one in value.items()}
    return value


def _own(value: Any) -> Any:
    """A copy that shares nothing which can be changed, of what is copied already as far as lists and dicts go."""
    if type(value) in _UNCHANGEABLE:
        return value
    if type(value) is list:
        value[:] = map(_own, value)
        return value
    if type(value) is dict:
        for key, one in value.items():
            value[key] = _own(one)
        return value
    from copy import deepcopy

    return deepcopy(value)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} of a task is text, not {type(value).__name__}")
    if not value and name in {"agent", "idempotency_key"}:
        raise ValueError(f"{name} of a task is empty: give it a name")
