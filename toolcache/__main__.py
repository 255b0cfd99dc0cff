"""The command ``python -m toolcache``."""

import sys
from collections.abc import Sequence

from toolcache import __version__

_VERSION = f"toolcache {__version__}\n"


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code.

    Args:
        arguments: those after the command's name.

    Raises:
        SystemExit: with code 2 for arguments that it does not know, and 0 after ``--help``.
    """
    if arguments == ["--version"]:  # before anything is loaded that only other arguments need
        sys.stdout.write(_VERSION)
        return 0
    from argparse import ArgumentParser

    parser = ArgumentParser("python -m toolcache", description="The cache for agents.")
    parser.add_argument("--version", action="version", version=_VERSION, help="show the version and exit")
    parser.parse_args(arguments)
    parser.print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
