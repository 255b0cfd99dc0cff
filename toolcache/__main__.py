"""The command ``python -m toolcache``, which is ``toolcache``."""

import sys
from collections.abc import Sequence

from toolcache import __version__


def main(arguments: Sequence[str]) -> int:
    """Do what is asked; returns the exit code, see ``toolcache.cli.main``.

    Args:
        arguments: those after the command's name.
    """
    if arguments == ["--version"]:  # before anything is loaded that only other arguments need
        sys.stdout.write(f"toolcache {__version__}\n")
        return 0
    from toolcache.cli import main as cli

    return cli(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
