"""The REST API and the page, served."""

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, cast

import click

from toolcache.cli.call import Answer, Call, write
from toolcache.cli.problems import Problem, failed
from toolcache.cli.verb import verb

_SCOPES: Final = ("read", "write", "admin")
_NEEDS: Final = "toolcache serve needs starlette and uvicorn: in a checkout, run  pip install '.[server]'"


@verb("serve")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8377, show_default=True, metavar="N", help="0 takes a free one."
)
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="SCOPE=SECRET",
    help="A bearer token: read=…, write=… or admin=…; may be repeated. Other users see it in the list of processes: "
    "the variable TOOLCACHE_TOKENS and --token-file are not seen.",
)
@click.option("--token-file", metavar="PATH", help="A file of such tokens, one a line.")
@click.option("--values", is_flag=True, help="Show values to those who may read.")
@click.option("--allow-host", "hosts", multiple=True, metavar="NAME", help="A name to be asked by; may be repeated.")
@click.option("--cors", multiple=True, metavar="ORIGIN", help="An origin whose pages may ask; may be repeated.")
@click.option("--no-page", is_flag=True, help="The API alone.")
def serve(
    call: Call, tokens: Sequence[str], token_file: str | None, hosts: Sequence[str], no_page: bool, **told: Any
) -> Coroutine[Any, Any, Answer]:
    """Serve.

    It listens on this machine alone unless there is a token. Ctrl-C, or SIGTERM, ends it.
    """
    if not all(find_spec(module) for module in ("starlette", "uvicorn")):
        raise Problem(_NEEDS, kind="missing")
    given = [*tokens, *(_lines(token_file) if token_file is not None else ())]
    options = {"values": told["values"], "allowed_hosts": hosts, "cors": told["cors"], "page": not no_page}
    if given:
        options["tokens"] = dict(_token(one) for one in given)
    return _serve(call, told["host"], told["port"], options)


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - a path of a person's
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise Problem(f"--token-file {path}: others may read it; chmod go= {path}")
        return [line.strip() for line in file if line.strip() and not line.startswith("#")]


def _token(given: str) -> tuple[str, str]:
    scope, equals, secret = given.partition("=")
    if not equals or scope not in _SCOPES or not secret:
        raise Problem(f"a token is SCOPE=SECRET, where the scope is one of {', '.join(_SCOPES)}")
    return secret, scope


async def _serve(call: Call, host: str, port: int, options: dict[str, Any]) -> Answer:
    from toolcache.web.serving import serve as run

    def listening(url: str) -> None:
        if call.as_json:
            import sys

            write({"url": url})
            sys.stdout.flush()
        else:
            call.note(f"listening on {url} (Ctrl-C ends it)")

    async with call.cache(coherence=True) as cache:
        with _ending() as task:
            try:
                await run(cache, host=host, port=port, on_listening=listening, **options)
            except asyncio.CancelledError:
                task.uncancel()
            except OSError as error:
                why = os.strerror(error.errno) if error.errno else str(error)
                raise failed(f"cannot listen on {host}:{port}: {why}; --port takes another one, 0 a free one") from None
    return Answer(None, None)


@contextmanager
def _ending() -> Iterator[asyncio.Task[Any]]:
    """The task that serves; whoever ends the process as systems do has it cancelled, as Ctrl-C does."""
    task, loop = cast("asyncio.Task[Any]", asyncio.current_task()), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
