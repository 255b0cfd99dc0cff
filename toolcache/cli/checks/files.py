"""The directory: whose it is, what it lies on, how much room there is."""

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from toolcache.cli.checks.finding import Finding
from toolcache.cli.figures import size

_DISTANT: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "fuse.sshfs"}
)
_FLEETING: Final = frozenset({"tmpfs", "ramfs"})
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def files(where: str, max_disk: int) -> Iterator[Finding]:
    """Of the directory of the files.

    Args:
        where: its path, whether or not it is there.
        max_disk: bytes that the files may take.
    """
    path = Path(where)
    there = next(one for one in (path, *path.absolute().parents) if one.exists())
    yield from _rights(path, there)
    kind = file_system(str(there.resolve()))
    if kind in _DISTANT:
        says = f"{where} lies on {kind}, which does not lock and sync as a local disk does"
        yield Finding("directory", "bad", says, "choose a directory on a local disk: directory, --dir")
    elif kind in _FLEETING:
        says = f"{where} lies in memory ({kind}): what is kept there is gone when the host restarts"
        yield Finding("directory", "warn", says, "choose a directory on a disk: directory, --dir")
    elif kind == "overlay":
        says = f"{where} lies in a container: it is gone with it"
        yield Finding("directory", "note", says, "mount a volume there if it is to last")
    elif kind:
        yield Finding("directory", "ok", f"lies on a local disk ({kind})")
    free = shutil.disk_usage(there).free
    if free < max_disk:
        says = f"{size(free)} are free, and the files may take {size(max_disk)}"
        yield Finding("directory", "warn", says, "free some room, or lower max_disk")
    else:
        yield Finding("directory", "ok", f"{size(free)} are free, of which the files take {size(max_disk)} at most")


def _rights(path: Path, there: Path) -> Iterator[Finding]:
    do = "choose another one: directory, --dir"
    if not there.is_dir():
        yield Finding("directory", "bad", f"{there} is no directory", do)
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Finding("directory", "bad", f"{there} cannot be written by this user", f"change its rights, or {do}")
    elif there == path and (known := path.stat()).st_uid != os.getuid():
        yield Finding("directory", "bad", f"{path} belongs to another user ({known.st_uid})", do)
    elif there == path and path.stat().st_mode & _OTHERS_WRITE:
        says = f"other users may write to {path}: the cache refuses it"
        yield Finding("directory", "bad", says, f"chmod go-w {path}")
    elif there == path:
        yield Finding("directory", "ok", f"{path} belongs to this user alone")
    else:
        yield Finding("directory", "ok", f"{path} will be made when it is first used")


def file_system(path: str, mounts: str = "/proc/self/mountinfo") -> str:
    """The kind of file system that a path lies on; empty where nobody says."""
    try:
        lines = Path(mounts).read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    for line in lines:
        head, _, tail = line.partition(" - ")
        words = head.split()
        if len(words) > 4 and tail:  # noqa: PLR2004 - the fifth is where it is mounted
            point = words[4].encode().decode("unicode_escape")
            beneath = path == point or path.startswith(point.rstrip("/") + "/")
            if beneath and len(point) >= len(best):
                best, kind = point, tail.split()[0]
    return kind
