"""What a power cut may leave behind, for a list of recorded calls.

The calls: ("create", path), ("write", path, bytes), ("fsync", path), ("rename", from, to), ("unlink", path),
("fsyncdir", directory), and ("ack", token) where a promise was made. The model is what POSIX guarantees at least: bytes
written since the last fsync of a file may be there, be zeros, be cut short or be missing; changes of names since the
last fsync of the directory may be lost from some point on, in order, each directory by itself (after the ALICE work of
Pillai et al., *All File Systems Are Not Created Equal*, 2014).
"""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final, TypeAlias

Call: TypeAlias = tuple[Any, ...]
_MODES: Final = ("kept", "lost", "torn", "zeros")


@dataclass
class Disk:
    """Files by number, their names as programs see them, and what of both is safe."""

    data: dict[int, bytes] = field(default_factory=dict)
    synced: dict[int, bytes] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    safe_names: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, list[Call]] = field(default_factory=dict)
    acks: list[Any] = field(default_factory=list)

    def apply(self, call: Call) -> None:
        """One more call."""
        getattr(self, f"_{call[0]}")(*call[1:])

    def _create(self, path: str) -> None:
        number = self.names[path] = len(self.data)
        self.data[number] = self.synced[number] = b""
        self._rename_later(path, ("link", path, number))

    def _write(self, path: str, data: bytes) -> None:
        self.data[self.names[path]] += data

    def _fsync(self, path: str) -> None:
        number = self.names[path]
        self.synced[number] = self.data[number]

    def _rename(self, source: str, target: str) -> None:
        number = self.names[target] = self.names.pop(source)
        self._rename_later(source, ("unlink", source))
        self._rename_later(target, ("link", target, number))

    def _unlink(self, path: str) -> None:
        self.names.pop(path, None)
        self._rename_later(path, ("unlink", path))

    def _fsyncdir(self, directory: str) -> None:
        for change in self.waiting.pop(directory, []):
            _change(self.safe_names, change)

    def _ack(self, token: Any) -> None:
        self.acks.append(token)

    def _rename_later(self, path: str, change: Call) -> None:
        self.waiting.setdefault(str(PurePath(path).parent), []).append(change)

    def left(self, kept: dict[str, int], mode: str) -> dict[str, bytes]:
        """Names and contents, with so many of each directory's unsafe changes kept."""
        names = dict(self.safe_names)
        for directory, count in kept.items():
            for change in self.waiting[directory][:count]:
                _change(names, change)
        return {path: self._content(number, mode) for path, number in names.items()}

    def _content(self, number: int, mode: str) -> bytes:
        full, safe = self.data[number], self.synced[number]
        unsafe = len(full) - len(safe)
        if mode == "kept":
            return full
        return safe + {"lost": b"", "torn": full[len(safe) :][: unsafe // 2], "zeros": bytes(unsafe)}[mode]


def _change(names: dict[str, int], change: Call) -> None:
    if change[0] == "link":
        names[change[1]] = change[2]
    else:
        names.pop(change[1], None)


def states(calls: list[Call]) -> list[tuple[list[Any], dict[str, bytes]]]:
    """For a cut after each call: each directory that may be left, and the latest promises made when it may be."""
    found: dict[frozenset[tuple[str, bytes]], list[Any]] = {}
    for cut in range(len(calls) + 1):
        disk = Disk()
        for call in calls[:cut]:
            disk.apply(call)
        choices = [[(directory, n) for n in range(len(changes) + 1)] for directory, changes in disk.waiting.items()]
        for combination in itertools.product(*choices):
            for mode in _MODES:
                # promises only ever grow in number, so those of the last cut that leaves this are the most
                found[frozenset(disk.left(dict(combination), mode).items())] = list(disk.acks)
    return [(acks, dict(files)) for files, acks in found.items()]


def of_segments(calls: list[Call], root: Path) -> list[Call]:
    """The promises, and the calls that are of the life of a log's segments."""
    return [call for call in calls if call[0] == "ack" or ".log" in call[1] or call[1] == f"{root}/seg"]


@contextmanager
def restored(made: Path, files: dict[str, bytes]) -> Iterator[Path]:
    """The log that was made there as a cut left it, to be read elsewhere inside the block."""
    cut = made.with_name("cut")
    root = cut / "log"
    for name in ("seg", "locks"):
        (root / name).mkdir(parents=True, mode=0o700)
    for name in ("FORMAT", "tails"):
        shutil.copyfile(made / name, root / name)
    root.chmod(0o700)
    for path, content in files.items():
        (root / Path(path).relative_to(made)).write_bytes(content)
    try:
        yield root
    finally:
        shutil.rmtree(cut)
