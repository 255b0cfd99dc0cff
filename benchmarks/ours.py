"""toolcache, as its users have it, over one layering or another."""

from collections.abc import Mapping
from typing import Any

from benchmarks.place import Place
from benchmarks.subject import FRESH, Subject, answer
from toolcache import ToolCache, cached
from toolcache.domains import Domain


class Ours(Subject):
    """toolcache with the defaults of its documentation, but for what ``settings`` says."""

    name = "toolcache"
    kind = "ours"

    def settings(self, place: Place) -> dict[str, Any]:
        """The keywords of ``ToolCache``."""
        raise NotImplementedError

    async def open(self, place: Place) -> None:
        self.cache = ToolCache(**self.settings(place))
        self.get, self.set, self.get_many, self.set_many = (
            self.cache.get, self.cache.set, self.cache.get_many, self.cache.set_many,
        )  # fmt: skip
        self.set_for = self.cache.set
        self.decorate = cached(ttl=FRESH, cache=self.cache)

    async def close(self) -> None:
        await self.cache.aclose()


class OursMemory(Ours):
    """Memory alone."""

    def __init__(self, *, name: str = "toolcache", note: str = "", **settings: Any) -> None:
        self.name, self.note, self._settings = name, note, settings

    def settings(self, place: Place) -> dict[str, Any]:  # noqa: ARG002 - memory needs no place
        return {"files": False, **self._settings}


class OursShared(OursMemory):
    """Memory, for a domain whose hits are the live object, as other caches' are."""

    async def open(self, place: Place) -> None:
        await super().open(place)
        self._domain = Domain("shared", ttl=FRESH, shared=True)
        self.set = self._set

    async def _set(self, key: str, value: Any) -> None:
        await self.cache._machine.set_many({key: value}, self._domain)  # noqa: SLF001 - no built-in domain is shared


class OursRedis(Ours):
    """Redis, with memory that holds a single entry, so that every read asks Redis; files are the fallback."""

    def __init__(self, *, files: bool = True, coherence: bool = True, **settings: Any) -> None:
        self._files, self._coherence, self._settings = files, coherence, settings
        self.name = ", ".join(["toolcache", *["no files"] * (not files), *["coherence=False"] * (not coherence)])
        self.note = "with files to fall back on, the default" if files and coherence else ""

    def settings(self, place: Place) -> dict[str, Any]:
        where: dict[str, Any] = {"directory": place.folder()} if self._files else {"files": False}
        self.database = place.database()
        # A namespace of its own: Redis tells of the changes in all databases.
        own = {"namespace": f"database{self.database.rpartition('/')[2]}", "coherence": self._coherence}
        return {"redis_url": self.database, "max_entries": 1, **own, **where, **self._settings}


class OursFiles(Ours):
    """Files, with memory that holds a single entry, so that every read asks the log."""

    def __init__(self, *, name: str = "toolcache", note: str = "", **settings: Any) -> None:
        self.name, self.note, self._settings = name, note, settings

    def settings(self, place: Place) -> dict[str, Any]:
        self.folder = place.folder()
        return {"directory": self.folder, "max_entries": 1, **self._settings}


async def fill(subject: Subject, mapping: Mapping[str, Any]) -> None:
    """Store values one by one, which every subject can."""
    for key, value in mapping.items():
        await answer(subject.set(key, value))


def asked(subject: Subject, layer: str) -> int:
    """Keys that one of ours has found in a layer; of others nobody asks."""
    return subject.cache.stats().layers[layer].hits if isinstance(subject, Ours) else 0
