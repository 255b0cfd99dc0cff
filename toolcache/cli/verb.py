"""A verb: a command that takes the global options too, is given a ``Call``, and returns an ``Answer``."""

import inspect
from collections.abc import Callable
from typing import Any, Final

import click

from toolcache.cli.call import Answer, Call, Choices
from toolcache.cli.verbs import SHORT

HELP: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

BACKENDS: Final = ("file", "redis", "memory")


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Note a global option, wherever on the line it stands; of two, the last one holds."""
    if value is not None and param.name is not None:
        setattr(ctx.find_root().ensure_object(Choices), param.name, value)


def options() -> list[click.Parameter]:
    """The global options, which stand before or after the verb."""

    def option(*names: str, **more: Any) -> click.Option:
        return GlobalOption([*names], expose_value=False, callback=_keep, **more)

    def switch(*names: str, **more: Any) -> click.Option:
        return option(*names, is_flag=True, flag_value=True, default=None, **more)

    return [
        option("--backend", type=click.Choice(BACKENDS), help="Files alone, Redis, or memory alone."),
        option("--redis-url", metavar="URL", help="The Redis to use."),
        option("--namespace", metavar="NAME", help="The cache's namespace."),
        option("--dir", "directory", metavar="PATH", help="The directory of its files."),
        option("--env-file", metavar="PATH", help="A file of settings; .env unless given."),
        option("--timeout", metavar="SPAN", help="What one call may spend on a store: 5s."),
        switch("--json", "as_json", help="Print one JSON document."),
        switch("--yes", "-y", help="Do not ask."),
        switch("--no-color", help="No colours; nor with NO_COLOR."),
        switch("--debug", help="Show the traceback of an error."),
    ]


class GlobalOption(click.Option):
    """An option of every verb; the help lists it apart."""


class Verb(click.Command):
    """One verb of the command line."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params.extend(options())

    def invoke(self, ctx: click.Context) -> int:
        """Do it, tell what came of it, and return the exit code."""
        call = Call(ctx.find_root().ensure_object(Choices))
        answer: Any = ctx.invoke(self.callback or _nothing, call, **ctx.params)
        if inspect.iscoroutine(answer):
            import asyncio

            answer = asyncio.run(answer)
        return int(call.deliver(answer))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verb's own options, and then the global ones."""
        for title, wanted in (("Options", False), ("Options of every verb", True)):
            rows = [
                record
                for param in self.get_params(ctx)
                if isinstance(param, click.Option)
                and isinstance(param, GlobalOption) is wanted
                and (record := param.get_help_record(ctx)) is not None
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


def _nothing(_call: Call) -> Answer:
    return Answer(None, None)


def verb(name: str) -> Callable[[Callable[..., Any]], Verb]:
    """Make a verb of a function, plain or async; its docstring is the help, below the line of the table."""

    def decorate(function: Callable[..., Any]) -> Verb:
        more = inspect.cleandoc((function.__doc__ or "").partition("\n")[2])
        made = click.command(
            name, cls=Verb, context_settings=HELP, short_help=SHORT[name], help=f"{SHORT[name]}\n\n{more}".strip()
        )
        return made(function)

    return decorate
