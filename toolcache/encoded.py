"""Values as stores have them: bytes, and what is to be known of these."""

from typing import NamedTuple, Self


class Encoded(NamedTuple):
    """A value on its way to a store: ``body``, the codec that made it and, for vectors, the element type."""

    body: bytes
    codec: str
    dtype: str = ""

    @property
    def etag(self) -> str:
        """What its source calls this state of it; "" if nobody has said so."""
        return ""


class Marked(Encoded):
    """The same of a value of which that was said."""

    _etag: str

    def __new__(cls, encoded: Encoded, etag: str) -> Self:
        """Say it."""
        self = tuple.__new__(cls, encoded)
        self._etag = etag
        return self

    @property
    def etag(self) -> str:
        """As was said."""
        return self._etag
