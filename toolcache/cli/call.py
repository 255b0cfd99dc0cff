"""One call of a verb: what it was told, the cache that it opens, how it asks and answers."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from toolcache.cli.problems import Code, Problem

if TYPE_CHECKING:
    from toolcache.cli.screen import Screen
    from toolcache.settings import Settings
    from toolcache.tool_cache import ToolCache

PATIENCE: Final = 2.0
"""Seconds that a person waits rather than be told that a distant Redis is away, unless ``--timeout`` says so."""


class Choices:
    """What the global options were given; None where they were not."""

    backend: str | None = None
    redis_url: str | None = None
    namespace: str | None = None
    directory: str | None = None
    env_file: str | None = None
    timeout: str | None = None
    as_json: bool = False
    yes: bool = False
    no_color: bool = False
    debug: bool = False


class Answer:
    """What a verb came to.

    Args:
        document: for ``--json``: plain data.
        show: tells a person.
        code: the exit code.
    """

    def __init__(self, document: Any, show: "Callable[[Screen], None] | None", code: Code = Code.OK) -> None:
        self.document = document
        self.show = show
        self.code = code


class Call:
    """One call of a verb.

    Args:
        choices: what the global options were given.

    Attributes:
        env_file: the file of settings that is read, if it is there.

    Raises:
        Problem: a file of settings was named that is not there.
    """

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.env_file = _env_file(choices.env_file)
        self._screens: dict[str, Screen] = {}

    @property
    def as_json(self) -> bool:
        """Whether a document is wanted, and nothing else on standard output."""
        return self.choices.as_json

    @property
    def out(self) -> "Screen":
        """Standard output."""
        return self._screen("stdout")

    @property
    def err(self) -> "Screen":
        """Standard error: what is told on the way."""
        return self._screen("stderr")

    def _screen(self, name: str) -> "Screen":
        if name not in self._screens:
            from toolcache.cli.screen import Screen

            self._screens[name] = Screen(getattr(sys, name), os.environ, plain=self.choices.no_color)
        return self._screens[name]

    def deliver(self, answer: Answer) -> Code:
        """Tell what it came to."""
        if self.as_json:
            if answer.document is not None:  # it was written already, or is none
                write(answer.document)
        elif answer.show is not None:
            answer.show(self.out)
        return answer.code

    def note(self, text: str) -> None:
        """Tell a person, on standard error."""
        self.err.note(text)

    def confirm(self, question: str) -> None:
        """Ask before what cannot be undone; without a terminal to ask on, only ``--yes`` will do.

        Raises:
            Problem: the answer was no, or nobody could be asked.
        """
        if self.choices.yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise Problem(f"{question} Nobody can be asked here: add --yes if that is what you want.", kind="refused")
        import click

        if not click.confirm(question, err=True):
            raise Problem("nothing was changed", Code.FOUND, "refused")

    # -- the cache ----------------------------------------------------------------------------------------------------

    def options(self) -> dict[str, Any]:
        """The settings that the global options are.

        Raises:
            Problem: they contradict one another.
        """
        said = self.choices
        named = {"namespace": said.namespace, "directory": said.directory, "redis_url": said.redis_url}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if said.backend in {"file", "memory"}:
            if said.redis_url is not None:
                raise Problem(
                    f"--backend {said.backend} does without Redis: leave out --redis-url, or say --backend redis"
                )
            given["redis_url"] = None
            given["files"] = said.backend == "file"
            if said.directory is not None and said.backend == "memory":
                raise Problem("--backend memory keeps no files: leave out --dir, or say --backend file")
        return given

    def settings(self, **options: Any) -> "Settings":
        """What the environment, the file and the options come to.

        Args:
            options: of the verb's own; they win.
        """
        from toolcache.settings import Settings
        from toolcache.sources import DEFAULT_REDIS

        settings = Settings.from_env(None, self.env_file, **self.options())
        if self.choices.backend == "redis" and settings.redis_url is None:
            settings = settings.replace(redis_url=DEFAULT_REDIS)
        return settings.replace(**self._patience(settings) | options)

    def _patience(self, settings: "Settings") -> dict[str, Any]:
        """How long stores are waited for; and what a cache does without that lives for one command."""
        from toolcache.durations import seconds

        aside: dict[str, Any] = {"coherence": False}
        if "metrics" in type(settings)._fields:
            aside["metrics"] = False
        if self.choices.timeout is None:
            return aside | {"op_timeout": max(settings.op_timeout, PATIENCE)}
        span = seconds(self.choices.timeout, name="--timeout")
        return aside | {"op_timeout": span, "file_timeout": span, "connect_timeout": span}

    @asynccontextmanager
    async def cache(self, **options: Any) -> "AsyncIterator[ToolCache]":
        """A cache as all this says, which counts nothing in the fleet's numbers; closed at the end."""
        from toolcache.cli.quiet import quiet
        from toolcache.tool_cache import ToolCache

        with quiet():
            async with ToolCache(self.settings(**options)) as cache:
                yield cache


def _env_file(named: str | None) -> str:
    """The file of settings; one that was named is there."""
    if named is not None and not os.path.isfile(named):  # noqa: PTH113 - pathlib takes longer than the help
        raise Problem(f"--env-file {named}: there is no such file")
    return named or ".env"


def write(document: Any) -> None:
    """Print a document as JSON, in letters that every terminal has and none obeys."""
    import json

    from toolcache.cli.documents import plain

    sys.stdout.write(json.dumps(plain(document), indent=2, allow_nan=False) + "\n")
