"""The seal: what it says, and that it shows nothing."""

import hashlib
import hmac

import pytest

from toolcache.blob import MAC_SIZE
from toolcache.codec.seal import Seal
from toolcache.errors import SettingsError


def test_the_algorithm_is_frozen() -> None:
    """SZ-13: HMAC-SHA256 with a key derived from the secret, the first 16 bytes."""
    key = hmac.digest(b"secret", b"toolcache blob seal 1", hashlib.sha256)
    assert Seal(b"secret").make(b"data") == hmac.digest(key, b"data", hashlib.sha256)[:16]
    assert Seal(b"secret").make(b"").hex() == Seal("secret").make(memoryview(b"")).hex()


def test_only_the_seal_of_these_data_by_this_secret_matches() -> None:
    """SZ-13: another secret, other data, a shorter or an empty MAC do not match."""
    mac = Seal("secret").make(b"data")
    assert len(mac) == MAC_SIZE
    assert Seal("secret").matches(b"data", mac)
    assert not Seal("Secret").matches(b"data", mac)
    assert not Seal("secret").matches(b"datb", mac)
    assert not Seal("secret").matches(b"data", mac[:-1])
    assert not Seal("secret").matches(b"data", b"")


def test_comparison_takes_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """SZ-13: the comparison is the one that does not stop at the first difference."""
    calls: list[tuple[bytes, bytes]] = []

    def compare(left: bytes, right: bytes) -> bool:
        calls.append((left, right))
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", compare)
    Seal("secret").matches(b"data", bytes(16))
    assert len(calls) == 1


def test_the_secret_is_not_shown() -> None:
    """BUG-107: neither repr nor attributes hold the secret."""
    seal = Seal("hunter2hunter2")
    assert "hunter2" not in repr(seal)
    assert not any(b"hunter2" in getattr(seal, name) for name in Seal.__slots__)


@pytest.mark.parametrize("secret", ["", b""])
def test_an_empty_secret_is_refused(secret: str | bytes) -> None:
    """A setting that would look like a seal and be none says so."""
    with pytest.raises(SettingsError, match="secret is empty"):
        Seal(secret)
