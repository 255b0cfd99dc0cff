"""What somebody would write who wants files and no library for it."""

from typing import Any

from benchmarks.place import Place
from benchmarks.subject import Subject


class Aiofiles(Subject):
    """A file per key: written beside, then renamed, so that nobody reads half a value."""

    name = "aiofiles, a file per key"
    needs = ("aiofiles",)

    async def open(self, place: Place) -> None:
        self.folder = place.folder()
        self._written = 0
        self.get, self.set = self._get, self._set

    async def _get(self, key: str) -> Any:
        import aiofiles

        async with aiofiles.open(self.folder / key, "rb") as file:
            return await file.read()

    async def _set(self, key: str, value: bytes) -> None:
        import aiofiles
        import aiofiles.os

        self._written += 1
        beside = self.folder / f"{key}.{self._written}"
        async with aiofiles.open(beside, "wb") as file:
            await file.write(value)
        await aiofiles.os.replace(beside, self.folder / key)
