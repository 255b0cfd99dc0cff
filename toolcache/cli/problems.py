"""What can go wrong, in one sentence with what to do, and the exit code that it has."""

from enum import IntEnum
from typing import Any, Final


class Code(IntEnum):
    """Exit codes.

    OK: done, and all is well. FOUND: a problem was found, or what was asked for was not. USAGE: it was asked in a way that
    cannot be. UNREACHABLE: a store cannot be reached. INTERRUPTED: by Ctrl-C.
    """

    OK = 0
    FOUND = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


class Problem(Exception):  # noqa: N818 - told to a person, and no fault of the program
    """What ends a verb.

    Args:
        message: a sentence that says what is wrong, and what to do.
        code: the exit code.
        kind: the same for programs: "usage", "settings", "not_found", "refused", "unreachable", "failed", "missing".
    """

    def __init__(self, message: str, code: Code = Code.USAGE, kind: str = "usage") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind

    def document(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {"error": {"kind": self.kind, "message": self.message, "code": int(self.code)}}


def not_found(message: str) -> Problem:
    """What was asked for is not there."""
    return Problem(message, Code.FOUND, "not_found")


def unreachable(message: str) -> Problem:
    """A store cannot be reached."""
    return Problem(message, Code.UNREACHABLE, "unreachable")


def failed(message: str) -> Problem:
    """It was tried, and did not work out."""
    return Problem(message, Code.FOUND, "failed")


_KINDS: Final = {
    "SettingsError": ("settings", Code.USAGE),
    "CacheWriteError": ("unreachable", Code.UNREACHABLE),
    "StoresUnavailableError": ("unreachable", Code.UNREACHABLE),
    "BackupError": ("failed", Code.FOUND),
}


def problem_of(error: Exception) -> Problem | None:
    """What an exception of the library means to a person; None for one that nobody foresaw."""
    for cls in type(error).__mro__:
        if cls.__name__ in _KINDS and cls.__module__ == "toolcache.errors":
            kind, code = _KINDS[cls.__name__]
            return Problem(str(error), code, kind)
    if type(error).__module__ == "toolcache.errors":
        return failed(str(error))
    if isinstance(error, OSError):
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""  # not the number of a file
        return failed(f"{where}{error.strerror or error}")
    if isinstance(error, ModuleNotFoundError):
        return Problem(str(error), kind="missing")
    if type(error) in {
        ValueError,
        TypeError,
    }:  # what a person wrote that cannot be; those of the program are subclasses
        return Problem(str(error))
    return None
