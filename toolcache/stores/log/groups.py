"""Which groups there are, and what is in them: names → key digests, beside the index of all keys.

Their records stand in the log like any other, under the key ``group:name``, and in the index; a flag tells them. So what
has no such flag pays nothing for them.
"""

from typing import Final, NamedTuple

from toolcache.groups import Grouped, is_name

_SIZE: Final = 17
"""Characters of a colon and a name."""


class Member(NamedTuple):
    """A record of a group: the digest of its key, and the key itself."""

    digest: bytes
    key: bytes


class Groups:
    """Members by group and name. Changed under the log's lock; read without one."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, Member]] = {}
        self._places: dict[bytes, tuple[str, str]] = {}

    def __len__(self) -> int:
        """How many records they have together."""
        return len(self._places)

    def add(self, digest: bytes, key: bytes) -> None:
        """A record with this key stands in the log."""
        text = key.decode(errors="replace")
        group, name = text[:-_SIZE], text[1 - _SIZE :]
        if digest not in self._places and text[-_SIZE : 1 - _SIZE] == ":" and is_name(name):
            self._members.setdefault(group, {})[name] = Member(digest, key)
            self._places[digest] = group, name

    def discard(self, digest: bytes) -> None:
        """It does no more."""
        group, name = self._places.pop(digest, ("", ""))
        if members := self._members.get(group):
            members.pop(name, None)
            if not members:
                del self._members[group]

    def of(self, group: str) -> dict[str, Member]:
        """The members of a group by name: a copy."""
        return self._members.get(group, {}).copy()  # one step for other threads

    def names(self, prefix: str) -> list[str]:
        """The groups that begin with a prefix, in order."""
        return sorted(group for group in list(self._members) if group.startswith(prefix))


def key_of(record: Grouped) -> str:
    """The key under which a record stands in the log."""
    return f"{record.group}:{record.name}"
