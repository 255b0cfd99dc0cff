"""The group of all verbs, and what becomes of their errors."""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from toolcache.cli.call import Choices, write
from toolcache.cli.problems import Code, Problem, problem_of
from toolcache.cli.verb import HELP, options
from toolcache.cli.verbs import FAMILIES, HOMES, SHORT, load

_EPILOG: Final = (
    "Exit codes: 0 done and well; 1 a problem was found, or what was asked for was not; 2 asked in a way that cannot be; "
    "3 a store cannot be reached; 130 interrupted."
)
_ABOUT: Final = "The cache for agents, seen and changed from a shell. Options may stand before or after the verb."


class Toolcache(click.Group):
    """Loads the verb that is called, and no other."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Every verb."""
        return sorted(HOMES)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb; None where there is none."""
        return load(cmd_name) if cmd_name in HOMES else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb's command; one that does not exist is told with the nearest one that does."""
        if args and args[0] not in HOMES and not args[0].startswith("-"):
            near = get_close_matches(args[0], HOMES, 1)
            meant = f": did you mean {near[0]!r}?" if near else "; see toolcache --help"
            raise click.UsageError(f"there is no verb {args[0]!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs by what they are for, from the table."""
        for family, verbs in FAMILIES.items():
            with formatter.section(family):
                formatter.write_dl([(verb.ljust(10), SHORT[verb]) for verb in verbs.split()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs from the table, and options."""
        verbs = [CompletionItem(verb, help=SHORT[verb]) for verb in sorted(HOMES) if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


def _version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from toolcache import __version__

        click.echo(f"toolcache {__version__}")
        ctx.exit()


def _group() -> Toolcache:
    version = click.Option(
        ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version."
    )
    made = Toolcache("toolcache", help=_ABOUT, epilog=_EPILOG, context_settings=HELP, no_args_is_help=False)
    made.params = [*options(), version]
    made.invoke_without_command = True
    made.callback = _alone
    return made


def _alone() -> None:
    """Without a verb: the help."""
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


app: Final = _group()


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say, and tell what went wrong; returns the exit code.

    Raises:
        SystemExit: with code 2, where the arguments cannot be.
    """
    choices = Choices()
    told = _Told(list(arguments), choices)
    code = told.code()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _hush()
    except OSError as error:
        return told.unwritten(error)
    except ValueError:  # closed already
        pass
    return code


class _Told:
    """One run, whose errors are told as they should be."""

    def __init__(self, arguments: list[str], choices: Choices) -> None:
        self._arguments = arguments
        self._choices = choices

    def code(self) -> int:  # noqa: PLR0911 - one return per ending
        """Run it; returns the exit code."""
        try:
            ended = app.main(
                args=self._arguments,
                prog_name="toolcache",
                standalone_mode=False,
                obj=self._choices,
                windows_expand_args=False,
            )
        except click.exceptions.Exit as left:
            return left.exit_code
        except click.ClickException as error:
            return self._tell(Problem(_sentence(error)))
        except (click.Abort, KeyboardInterrupt):
            return self._tell(Problem("interrupted", Code.INTERRUPTED, "interrupted"))
        except BrokenPipeError:
            _hush()
            return Code.OK
        except Problem as problem:
            return self._tell(problem)
        except Exception as error:  # noqa: BLE001 - told in a sentence, or with --debug as it is
            return self._unforeseen(error)
        return ended if isinstance(ended, int) else Code.OK

    def _unforeseen(self, error: Exception) -> int:
        if self._choices.debug:
            raise error
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        problem = problem_of(error)
        if problem is None:
            problem = Problem(f"{type(error).__name__}: {error} (--debug shows where)", Code.FOUND, "failed")
        return self._tell(problem)

    @staticmethod
    def unwritten(error: OSError) -> int:
        """Standard output takes no more; returns the exit code."""
        _hush()
        sys.stderr.write(_printable(f"error: standard output cannot be written: {error.strerror or error}\n"))
        return Code.FOUND

    def _tell(self, problem: Problem) -> int:
        if self._choices.as_json or _wants_json(self._arguments):
            try:
                write(problem.document())
                sys.stdout.flush()
            except BrokenPipeError:
                _hush()
            except OSError as error:
                return self.unwritten(error)
        elif problem.code == Code.INTERRUPTED:
            sys.stderr.write("\n")
        else:
            sys.stderr.write(_printable(f"error: {problem.message}\n"))
        return int(problem.code)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether a document was asked for, on a line that could not be read to its end."""
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in own


def _sentence(error: click.ClickException) -> str:
    """What click says, as a sentence with a way out."""
    text = error.format_message().rstrip(".")
    ctx: Any = getattr(error, "ctx", None)
    text = text[:1].lower() + text[1:] if not text[:2].isupper() else text
    where = ctx.command_path if ctx is not None else "toolcache"
    return text if "did you mean" in text.lower() or "--help" in text else f"{text}; see {where} --help"


def _printable(text: str) -> str:
    encoding = sys.stderr.encoding or "ascii"
    safe = "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in text)
    return safe.encode(encoding, "backslashreplace").decode(encoding)


def _hush() -> None:
    """Whoever read has gone: what is still to be written goes nowhere, without complaint."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, sys.stdout.fileno())
    except (OSError, ValueError):
        pass
    finally:
        os.close(null)
