"""Claims: what their records say, and what to do about one. Pure: it decides, others ask the store.

    claim     nothing stands, or a lapsed claim, or that of one who has ended → ours; another's → wait; ours already → a reply was lost, and it is ours
    renew     ours → a new lease; nothing, since the store has lost it → ours again; another's → lost
    release   ours → nothing; else it is not ours to touch

Whoever wants something tries it on what it believes to stand there. If something else does, the store says what, and one
decides again. So an answer that was lost costs one question more, and nobody takes or ends what is another's.
"""

import zlib
from collections.abc import Container
from enum import Enum
from typing import Final

from toolcache.blob import CLAIM, HEADER_SIZE, Header, pack_header, read_header
from toolcache.keys.text import key_digest
from toolcache.swaps import UNKNOWN, Move, Standing

OWNER_SIZE: Final = 16
_CRC_SIZE: Final = 4
_OUTLIVES: Final = 2.0
"""How many leases the record stays, renewed or removed by nobody."""


class Verdict(Enum):
    """What has become of an attempt."""

    OURS = "ours"
    BUSY = "busy"
    """Another's, and its lease goes on."""
    OVER = "over"
    """No longer ours, or nothing."""


class Claimant:
    """One who claims one key, for one computation or run.

    Args:
        key: the store key of the claim.
        owner: 16 random bytes that nobody else has.
        fence: the version at which it is claimed.
        now: seconds since the epoch.
        lease: seconds that it is to be its own without a word from it.
        over: owners that are known to have ended, whatever their claims say.
    """

    __slots__ = ("_digest", "_lease", "_over", "_record", "owner")

    def __init__(
        self, key: str, owner: bytes, fence: bytes, *, now: float, lease: float, over: Container[bytes] = ()
    ) -> None:
        self.owner = owner
        self._lease = lease
        self._over = over
        self._digest = key_digest(key)
        created_ms = int(now * 1000)
        gone_ms = created_ms + int(lease * _OUTLIVES * 1000)
        header = Header(CLAIM, fence, created_ms, gone_ms, gone_ms, 0, self._digest, 0, OWNER_SIZE)
        self._record = pack_header(header) + owner + zlib.crc32(owner).to_bytes(_CRC_SIZE, "big")

    def claim(self, standing: Standing) -> Move[Verdict] | Verdict:
        """Take it, if it is free. To be begun with NOTHING, or with a claim that was seen lapsed."""
        owner = owner_of(standing.blob, self._digest)
        if not standing.raw or standing.left <= 0 or owner in self._over:
            return self._lay(standing)
        return Verdict.OURS if owner == self.owner else Verdict.BUSY

    def renew(self, standing: Standing) -> Move[Verdict] | Verdict:
        """Lease it for longer, if it is ours, or if the store has lost it. One that lapsed unnoticed is still ours."""
        if not standing.raw or self._holds(standing):
            return self._lay(standing)
        return Verdict.OVER

    def release(self, standing: Standing) -> Move[Verdict] | Verdict:
        """End it, if it is ours."""
        return Move(standing.raw, None, Verdict.OVER) if self._holds(standing) or standing is UNKNOWN else Verdict.OVER

    def _lay(self, standing: Standing) -> Move[Verdict]:
        return Move(standing.raw, self._record, Verdict.OURS, ttl=self._lease * _OUTLIVES, lease=self._lease)

    def _holds(self, standing: Standing) -> bool:
        return owner_of(standing.blob, self._digest) == self.owner


def owner_of(blob: bytes, digest: bytes) -> bytes | None:
    """Whose claim a record is; None for bytes that cannot be read as one of this key, and are left to end by themselves."""
    header = read_header(blob)
    if header is None or header.digest != digest or header.meta_len or header.body_len != OWNER_SIZE:
        return None
    owner, check = blob[HEADER_SIZE:-_CRC_SIZE], blob[-_CRC_SIZE:]
    return owner if zlib.crc32(owner) == int.from_bytes(check, "big") else None
