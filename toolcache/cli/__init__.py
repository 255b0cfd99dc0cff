"""The command ``toolcache``: what a cache holds, does and saves, seen and changed from a shell."""

import sys
from collections.abc import Sequence

NEEDS = "the command line needs click and rich: in a checkout, run  pip install '.[cli]'"
"""What is told where they are not installed."""

_SELDOM = 50_000
"""Objects that come before rubbish is looked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked.

    Args:
        arguments: those after the command's name; the process's own unless given.

    Returns:
        The exit code: 0 for done and well; 1 found a problem, or did not find what was asked for; 2 it was asked in a way
        that cannot be; 3 a store cannot be reached; 130 interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:  # before anything is loaded that only other arguments need
        from toolcache import __version__

        sys.stdout.write(f"toolcache {__version__}\n")
        return 0
    import gc
    from importlib.util import find_spec

    if find_spec("click") is None or find_spec("rich") is None:
        sys.stderr.write(f"error: {NEEDS}\n")
        return 2
    before = gc.get_threshold()
    gc.set_threshold(
        _SELDOM, *before[1:]
    )  # what is loaded stays, and looking for rubbish in it takes a sixth of the time
    try:
        from toolcache.cli.app import run

        return run(given)
    finally:
        gc.set_threshold(*before)
