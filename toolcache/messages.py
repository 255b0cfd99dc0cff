"""Messages to the other processes of a namespace: told once, awaited by nobody.

    Redis   published on tc1:x:<namespace>, and heard over the connection that tells of changes
    files   a record in the log, which the host's other processes follow: without Redis, or while it cannot be told

A message is a blob like any other, under a store key of its own: sealed where a secret is set, and checked as a value is.
Whatever comes from outside and is no such blob is dropped and counted. Who hears a message twice (a cluster's nodes all
tell it, a lost reply has it sent again) passes it on once; who was not listening for a while is told so when it listens
again, since nothing is kept for those who are away.
"""

import os
import re
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple, Protocol

from toolcache.aside import Lengthy
from toolcache.blob import CorruptBlobError
from toolcache.channels import SupportsMessages
from toolcache.errors import SerializationError
from toolcache.events import MessageRejected, MessagesRefused
from toolcache.keys.text import key_digest, store_key
from toolcache.parts import Parts
from toolcache.protocols import Write

MAX_MESSAGE: Final = 65_536
"""Bytes of name and payload, encoded."""

NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")

OWN: Final = "bus."
"""How the names of the cache's own events begin, which no process tells another."""

_LIFE: Final = 300.0
"""Seconds that a message is good for, and its record stays in the log: a host may have been asleep meanwhile."""

_ID: Final = 32
_ROOM: Final = 1_024
"""Bytes around a message: its id, header, meta, seal and checksum."""

_REMEMBERED: Final = 8_192
"""Ids that are known to have come, and once more as many older ones."""


class Message(NamedTuple):
    """What is said: ``id`` is its own alone, ``sent_at`` in seconds since the epoch."""

    id: str
    name: str
    payload: dict[str, Any]
    sent_at: float


class Audience(Protocol):
    """To whom messages are passed on, on the loop that hears them."""

    def hear(self, message: Message, /) -> None:
        """Another process has said this."""
        ...

    def missed(self, layer: str, seconds: float, /) -> None:
        """Nothing was heard by this layer for so long; it is again."""
        ...


class Messages:
    """Sends and hears for one cache.

    Args:
        parts: the cache's parts.

    Attributes:
        audience: told what others say; None as long as nobody wants to know.
        rejected: what came and was no message.
    """

    def __init__(self, parts: Parts) -> None:
        self.audience: Audience | None = None
        self.rejected = 0
        self._parts = parts
        self._files = parts.files
        redis = parts.redis
        self._redis = redis if redis is not None and isinstance(redis.store, SupportsMessages) else None
        self._prefix = store_key("x", parts.namespace, "")
        self._channel = self._prefix[:-1]
        self._seen: set[str] = set()
        self._older: set[str] = set()
        self._lock = threading.Lock()
        self._deaf_since: float | None = None

    # -- saying -----------------------------------------------------------------------------------------------------

    def pack(self, name: str, payload: dict[str, Any]) -> tuple[Message, bytes]:
        """A message, and what goes over the wire.

        Raises:
            SerializationError: the payload is no plain data, or too much of it.
        """
        parts = self._parts
        try:
            encoded = parts.coder.at_once([name, payload])
        except Lengthy:
            size = MAX_MESSAGE + 1
        else:
            size = len(encoded.body)
        if size > MAX_MESSAGE:
            raise SerializationError(
                f"the payload takes more than {MAX_MESSAGE:,} bytes: store it in the cache, and send its key"
            )
        own: dict[str, Any] = parts.coder.decode(encoded)[1]  # the caller may go on to change what was given
        message = Message(os.urandom(_ID // 2).hex(), name, own, parts.clock.time())
        ends_ms = int((message.sent_at + _LIFE) * 1000)
        blob = parts.envelope.pack(
            encoded,
            digest=key_digest(self._prefix + message.id),
            version=parts.hybrid.next(),
            created_ms=int(message.sent_at * 1000),
            fresh_until_ms=ends_ms,
            gone_ms=ends_ms,
        )
        self._first(message.id)  # heard here already
        return message, blob

    async def send(self, message: Message, blob: bytes) -> tuple[str | None, str | None]:
        """Tell the other processes; what Redis and the files made of it: "done", "failed", or None for not asked."""
        due = self._parts.due()
        redis = files = None
        if self._redis is not None and isinstance(self._redis.store, SupportsMessages):
            publish = partial(self._redis.store.publish, self._channel, message.id.encode() + blob)
            said = await self._redis.ask(publish, mutation=True, until=due.redis)
            redis = "failed" if said is None else "done"
            due = due.after(self._redis)
        if self._files is not None and redis != "done":
            stored = await self._files.write([Write(self._prefix + message.id, blob)], until=due.files)
            files = "done" if stored else "failed"
        return redis, files

    # -- hearing ----------------------------------------------------------------------------------------------------

    @property
    def awaited(self) -> bool:
        """Whether anybody wants to know."""
        return self.audience is not None

    def told(self, raw: bytes) -> None:
        """This was published; by whomever."""
        if len(raw) > MAX_MESSAGE + _ROOM or len(raw) < _ID:
            self._reject("redis", "size")
        else:
            self._take("redis", raw[:_ID].decode("ascii", "replace"), raw[_ID:])

    def is_one(self, name: str) -> bool:
        """Whether a store key is that of a message."""
        return name.startswith(self._prefix)

    async def fetch(self, names: Sequence[str]) -> None:
        """These store keys of messages were written to the files."""
        new = [name for name in names if not self._known(name.removeprefix(self._prefix))]
        if self._files is None or self.audience is None or not new:
            return
        blobs = await self._files.read(new)
        if blobs is None or None in blobs:
            self.gap("file", 0.0)
        for name, blob in zip(new, blobs or (), strict=bool(blobs)):
            if blob is not None:
                self._take("file", name.removeprefix(self._prefix), blob)

    def gap(self, layer: str, seconds: float) -> None:
        """Something may have been said that was not heard."""
        if self.audience is not None:
            self.audience.missed(layer, seconds)

    def lose(self, heard_at: float | None) -> None:
        """Redis passes nothing on any more; it was heard for the last time then."""
        self._deaf_since = self._parts.clock.time() if heard_at is None else heard_at

    def listen(self) -> None:
        """Redis passes messages on from now on."""
        if self._deaf_since is not None:
            since, self._deaf_since = self._deaf_since, None
            self.gap("redis", max(0.0, self._parts.clock.time() - since))

    def refused(self) -> None:
        """Redis will not pass messages on."""
        if self._redis is not None:
            self._parts.announce(MessagesRefused("redis", self._channel))

    def _take(self, layer: str, number: str, blob: bytes) -> None:
        if self.audience is None or self._known(number):
            return
        try:
            message = self._read(number, blob)
        except CorruptBlobError as fault:
            self._reject(layer, fault.reason)
            return
        if self._first(number):
            self.audience.hear(message)

    def _read(self, number: str, blob: bytes) -> Message:
        """The message of a blob; raises CorruptBlobError for all else."""
        parts = self._parts
        if re.fullmatch(r"[0-9a-f]{32}", number) is None or len(blob) > MAX_MESSAGE + _ROOM:
            raise CorruptBlobError("size")
        try:
            found = parts.envelope.unpack(blob, key_digest(self._prefix + number), MAX_MESSAGE)
        except Lengthy:
            raise CorruptBlobError("bomb") from None
        if not found.header.alive(
            int(parts.clock.time() * 1000)
        ):  # said long ago: whoever repeats it was not who said it
            raise CorruptBlobError("late")
        said = None if found.encoded is None else parts.coder.decode(found.encoded)
        match said:
            case [str(name), dict(payload)] if NAME.fullmatch(name) and all(type(field) is str for field in payload):
                if not name.startswith(OWN):
                    return Message(number, name, payload, found.header.created_ms / 1000)
        raise CorruptBlobError("message")

    def _reject(self, layer: str, reason: str) -> None:
        self.rejected += 1
        self._parts.announce(MessageRejected(layer, reason))

    def _known(self, number: str) -> bool:
        return number in self._seen or number in self._older

    def _first(self, number: str) -> bool:
        """Whether it is the first time that this one comes, or is sent."""
        with self._lock:
            if self._known(number):
                return False
            if len(self._seen) >= _REMEMBERED:
                self._older, self._seen = self._seen, set()
            self._seen.add(number)
            return True
