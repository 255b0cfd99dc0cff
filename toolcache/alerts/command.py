"""An action that runs a program."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress

from toolcache.alerts.alert import Alert
from toolcache.durations import Duration, seconds

_PREFIX = "TOOLCACHE_ALERT_"


class CommandError(Exception):
    """A program did not take an alert."""


class Command:
    """Runs a program, and tells it the alert: as JSON on its standard input, and in environment variables.

    There is no shell: the program gets the arguments as they are. The variables are ``TOOLCACHE_ALERT_NAME``, ``_STATUS``,
    ``_TEXT``, ``_METRIC``, ``_VALUE``, ``_THRESHOLD``, ``_ID`` and ``_KEY``. What it prints is dropped; what it leaves running is
    ended with it when its time is over.

    Args:
        arguments: the program and its arguments.
        timeout: after so long it is killed, with all that it has started.

    Raises:
        TypeError: the arguments are no list of texts.
        ValueError: there are none, or the timeout is no span.

    Examples:
        >>> Command(["/usr/local/bin/page-me", "--quiet"], timeout="10s")
        Command(['/usr/local/bin/page-me', …])
    """

    def __init__(self, arguments: Sequence[str], *, timeout: Duration = "30s") -> None:
        if not isinstance(arguments, list | tuple) or not all(isinstance(one, str) for one in arguments):
            raise TypeError("a command is a list of texts, the program and its arguments: there is no shell")
        if not arguments or not arguments[0] or any("\0" in one for one in arguments):
            raise ValueError("a command names a program, such as ['/usr/local/bin/page-me', '--quiet']")
        self._arguments = tuple(arguments)
        self.timeout = seconds(timeout, name="timeout")
        self.patience = self.timeout + 5.0
        """Seconds that whoever calls it is to wait, at most."""

    async def __call__(self, alert: Alert, /) -> None:
        """Run it.

        Raises:
            OSError: the program cannot be run.
            CommandError: it was killed, or ended with another code than 0.
        """
        import json

        nothing = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=nothing,
            stderr=nothing,
            env=os.environ | _variables(alert),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.timeout):
                await process.communicate(json.dumps(alert.as_dict()).encode())
        except TimeoutError:
            raise CommandError(f"it was killed after {self.timeout:g} s") from None
        finally:
            if process.returncode is None:
                _kill(process)
                await process.wait()
        if process.returncode:
            raise CommandError(f"it ended with code {process.returncode}")

    def __repr__(self) -> str:
        more = ", …" if len(self._arguments) > 1 else ""  # arguments may be secrets
        return f"Command([{self._arguments[0]!r}{more}])"


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a program and what it has started: it leads a session of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _variables(alert: Alert) -> dict[str, str]:
    told = {
        name: getattr(alert, name) for name in ("id", "key", "name", "status", "text", "metric", "value", "threshold")
    }
    return {_PREFIX + name.upper(): str(value).replace("\0", "") for name, value in told.items()}
