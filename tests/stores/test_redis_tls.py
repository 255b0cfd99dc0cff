"""The Redis store over TLS, with a certificate authority made for the occasion."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError
from servers import RedisServer, free_port, supports_tls

from toolcache.protocols import PutStatus, Write
from toolcache.resilience.faults import FaultKind, classify
from toolcache.stores.redis.store import RedisStore
from toolcache.testing.stores import blob_of

pytestmark = pytest.mark.skipif(not supports_tls(), reason="the server under test was built without TLS")


def _serve(certificates: Path, *, clients: str) -> Iterator[tuple[int, RedisServer]]:
    port = free_port()
    files = [
        word
        for name, file in (("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem"))
        for word in (f"--tls-{name}-file", str(certificates / file))
    ]
    with RedisServer("--tls-port", str(port), "--tls-auth-clients", clients, *files) as server:
        yield port, server


@pytest.fixture
def tls_port(certificates: Path) -> Iterator[int]:
    """Where a server with TLS listens."""
    for port, _ in _serve(certificates, clients="no"):
        yield port


@pytest.fixture
def mutual_port(certificates: Path) -> Iterator[int]:
    """Where a server listens that asks its clients for certificates."""
    for port, _ in _serve(certificates, clients="yes"):
        yield port


def write(key: str, body: bytes = b"body") -> Write:
    """A write of a whole blob, as of now."""
    return Write(key, blob_of(key, body, now=time.time()))


@pytest.mark.parametrize("by", ["url", "keywords", "data"])
async def test_verified_by_an_authority_of_ones_own(tls_port: int, certificates: Path, by: str) -> None:
    """BUG-104: the authority arrives from the URL and from keywords, as a file and as text; values of all sizes pass."""
    authority = certificates / "ca.pem"
    options: dict[str, Any] = {
        "url": {"url": f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={authority}"},
        "keywords": {"host": "127.0.0.1", "port": tls_port, "tls": True, "ssl_ca_certs": str(authority)},
        "data": {"url": f"rediss://127.0.0.1:{tls_port}", "ssl_ca_data": authority.read_text()},
    }
    store = RedisStore(**options[by])
    writes = [write("small"), write("large", bytes(300_000))]
    assert [one.status for one in await store.put_many(writes)] == [PutStatus.STORED] * 2
    assert await store.get_many(["small", "large"]) == [one.blob for one in writes]
    await store.aclose()


@pytest.mark.parametrize("options", [{}, {"ssl_cert_reqs": "required"}])
async def test_an_unknown_authority_is_refused(tls_port: int, options: dict[str, Any]) -> None:
    """BUG-104: certificates are verified unless told otherwise; the failure is class AUTH, since asking again is vain."""
    store = RedisStore(f"rediss://127.0.0.1:{tls_port}", **options)
    with pytest.raises(OSError, match="certificate") as raised:
        await store.get_many(["k"])
    assert classify(raised.value) is FaultKind.AUTH
    await store.aclose()


async def test_the_host_name_is_verified(tls_port: int, certificates: Path) -> None:
    """BUG-104: a certificate for another name is refused, unless the names are not to be compared."""
    url = f"rediss://localhost:{tls_port}?ssl_ca_certs={certificates / 'ca.pem'}"
    store = RedisStore(url)
    with pytest.raises(OSError, match="ertificate") as raised:
        await store.get_many(["k"])
    assert classify(raised.value) is FaultKind.AUTH
    await store.aclose()
    lenient = RedisStore(url, ssl_check_hostname=False)
    assert await lenient.get_many(["k"]) == [None]
    await lenient.aclose()


async def test_verification_can_be_switched_off(tls_port: int) -> None:
    """BUG-104: ``ssl_cert_reqs=none`` is heard, in the URL."""
    store = RedisStore(f"rediss://127.0.0.1:{tls_port}?ssl_cert_reqs=none")
    assert await store.get_many(["k"]) == [None]
    await store.aclose()


async def test_a_client_with_a_certificate(mutual_port: int, certificates: Path) -> None:
    """BUG-104: certificate and key of the client arrive; without them the server hangs up."""
    authority = str(certificates / "ca.pem")
    known = RedisStore(
        f"rediss://127.0.0.1:{mutual_port}",
        ssl_ca_certs=authority,
        ssl_certfile=str(certificates / "client.pem"),
        ssl_keyfile=str(certificates / "client.key"),
        ssl_min_version="1.2",
    )
    assert await known.get_many(["k"]) == [None]
    await known.aclose()
    unknown = RedisStore(f"rediss://127.0.0.1:{mutual_port}", ssl_ca_certs=authority)
    with pytest.raises(RedisError):
        await unknown.get_many(["k"])
    await unknown.aclose()


async def test_tls_and_plain_do_not_meet(tls_port: int, redis_server: RedisServer, certificates: Path) -> None:
    """BUG-104: each spoken to the other is a fault of the connection within its time, not a hang."""
    secure = RedisStore(
        f"rediss://127.0.0.1:{redis_server.port}", ssl_ca_certs=str(certificates / "ca.pem"), connect_timeout=1.0
    )
    plain = RedisStore(f"redis://127.0.0.1:{tls_port}", op_timeout=1.0, connect_timeout=1.0)
    for store in (secure, plain):
        with pytest.raises((RedisError, OSError)) as raised:
            await store.get_many(["k"])
        assert classify(raised.value) is FaultKind.CONN
        await store.aclose()
