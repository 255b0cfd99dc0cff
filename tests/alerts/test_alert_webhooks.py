"""Webhooks against a real server: what is sent, what is tried again, and what is refused."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alerting import an_alert
from hooks import Hooks, serving, status
from hypothesis import given
from hypothesis import strategies as st
from servers import free_port

from toolcache.alerts import Webhook, WebhookError, verify
from toolcache.alerts.signature import signature
from toolcache.clock import SystemClock
from toolcache.testing import FakeClock

SECRET = "0123456789abcdef-secret"


class Hurried(SystemClock):
    """The machine's clock, which waits for nothing, and notes for how long it would have."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Not at all."""
        self.slept.append(seconds)


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    """A server to send to."""
    async with serving() as hooks:
        yield hooks


@pytest.fixture
def hurried() -> Hurried:
    """So that tests need not wait between tries."""
    return Hurried()


async def test_what_is_sent(hooks: Hooks) -> None:
    """D3: the alert as JSON, to the whole URL, with an id by which a second copy is known."""
    await Webhook(hooks.url)(an_alert())
    (request,) = hooks.requests
    assert request.line == "POST /hooks/cache?team=ops HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{hooks.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "0123456789abcdef"
    assert "toolcache-signature" not in request.headers
    assert json.loads(request.body) == an_alert().as_dict()
    assert json.loads(request.body)["text"] == "few hits: hit_rate is 10 %"


async def test_the_signature_is_verified(hooks: Hooks) -> None:
    """D3: whoever knows the secret can tell that it came from us, just now, and whole."""
    await Webhook(hooks.url, secret=SECRET)(an_alert())
    (request,) = hooks.requests
    header = request.headers["toolcache-signature"]
    assert verify(SECRET, header, request.body)
    assert verify(SECRET.encode(), header, request.body)
    assert not verify("another-secret-of-16", header, request.body)
    assert not verify(SECRET, header, request.body + b" ")
    sent = int(header[2:].partition(",")[0])
    assert verify(SECRET, header, request.body, now=sent + 299)
    assert not verify(SECRET, header, request.body, now=sent + 301)
    assert not verify(SECRET, header, request.body, now=sent - 301)
    assert verify(SECRET, header, request.body, now=sent + 301, tolerance="10m")


def test_a_signature_is_what_the_page_says() -> None:
    """D3: HMAC-SHA256 of the instant, a dot and the body: others can compute it in any language."""
    import hashlib
    import hmac

    expected = hmac.new(SECRET.encode(), b'1000.{"a":1}', hashlib.sha256).hexdigest()
    assert signature(SECRET, b'{"a":1}', 1000.9) == f"t=1000,v1={expected}"


@given(st.text(max_size=60))
def test_whatever_is_no_signature(header: str) -> None:
    """D3: no header that was not made with the secret is taken, and none raises."""
    assert not verify(SECRET, header, b"{}", now=1000.0)
    assert not verify(SECRET, f"t=1000,v1={header}", b"{}", now=1000.0)
    assert not verify(SECRET, header + signature(SECRET, b"{}", 1.0), b"{}", now=1000.0)


@pytest.mark.parametrize("code", [500, 503, 429, 408])
async def test_it_is_tried_again(hooks: Hooks, hurried: Hurried, code: int) -> None:
    """D3: after what may pass, with the same id, each time a while later."""
    hooks.answers = [status(code), b"", status(code), status(204)]
    await Webhook(hooks.url, clock=hurried)(an_alert())
    assert [request.headers["idempotency-key"] for request in hooks.requests] == ["0123456789abcdef"] * 4
    assert len({request.body for request in hooks.requests}) == 1
    assert len(hurried.slept) == 3
    assert 0.5 <= hurried.slept[0] <= 1.0
    assert hurried.slept[0] < hurried.slept[2]


async def test_in_the_end_it_gives_up(hooks: Hooks, hurried: Hurried) -> None:
    """D3: as often as it is told to."""
    hooks.answers = [status(500)] * 9
    with pytest.raises(WebhookError, match="the answer was 500"):
        await Webhook(hooks.url, retries=2, clock=hurried)(an_alert())
    assert len(hooks.requests) == 3
    with pytest.raises(WebhookError):
        await Webhook(hooks.url, retries=0, clock=hurried)(an_alert())
    assert len(hooks.requests) == 4


@pytest.mark.parametrize("code", [301, 302, 307, 308, 400, 401, 404, 410])
async def test_what_does_not_pass_is_not_tried_again(hooks: Hooks, hurried: Hurried, code: int) -> None:
    """D3: redirects are not followed, and what is refused is refused."""
    async with serving() as elsewhere:
        hooks.answers = [status(code, f"Location: {elsewhere.url}")]
        with pytest.raises(WebhookError, match=f"the answer was {code}"):
            await Webhook(hooks.url, clock=hurried)(an_alert())
        assert len(hooks.requests) == 1
        assert elsewhere.requests == []


@pytest.mark.parametrize("answer", [b"nonsense\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"SSH-2.0-x\r\n", b"x" * 20_000])
async def test_what_is_no_answer(hooks: Hooks, hurried: Hurried, answer: bytes) -> None:
    """D3: whatever else stands there, it is not taken for an answer."""
    hooks.answers = [answer]
    with pytest.raises(WebhookError, match="no answer"):
        await Webhook(hooks.url, retries=0, clock=hurried)(an_alert())


async def test_what_comes_before_the_answer(hooks: Hooks) -> None:
    """D3: 1xx is not the answer yet."""
    hooks.answers = [b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + status(200)]
    await Webhook(hooks.url, retries=0)(an_alert())
    assert len(hooks.requests) == 1


async def test_it_does_not_wait_for_ever(hooks: Hooks, hurried: Hurried) -> None:
    """D3: each try has its time, and leaves no connection behind."""
    hooks.answers = [None, status(200)]
    await Webhook(hooks.url, timeout="50ms", clock=hurried)(an_alert())
    assert len(hooks.requests) == 2
    async with asyncio.timeout(5):
        await hooks.closed.wait()
    hooks.answers = [None]
    with pytest.raises(WebhookError, match=r"no answer in 0\.05 s"):
        await Webhook(hooks.url, timeout="50ms", retries=0, clock=hurried)(an_alert())


async def test_nobody_listens(hurried: Hurried) -> None:
    """D3: that is tried again, too."""
    with pytest.raises(WebhookError, match="no answer"):
        await Webhook(f"http://127.0.0.1:{free_port()}/", retries=3, clock=hurried)(an_alert())
    assert len(hurried.slept) == 3


async def test_cancelled_it_leaves_nothing_behind(hooks: Hooks) -> None:
    """D3: closing the cache ends a try at once."""
    hooks.answers = [None]
    task = asyncio.create_task(Webhook(hooks.url)(an_alert()))
    await hooks.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5):
        await hooks.closed.wait()


async def test_certificates_are_verified(certificates: Path, hurried: Hurried) -> None:
    """D3: a server that nobody trusts is told nothing, and not asked again; one of an authority of your own is."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    async with serving(server) as hooks:
        url = f"https://127.0.0.1:{hooks.port}/"
        with pytest.raises(WebhookError, match="the certificate is not trusted"):
            await Webhook(url, clock=hurried)(an_alert())
        assert hooks.requests == []
        assert hurried.slept == []
        own = ssl.create_default_context(cafile=certificates / "ca.pem")
        await Webhook(url, ssl=own)(an_alert())
        assert len(hooks.requests) == 1
        elsewhere = f"https://localhost:{hooks.port}/"  # the certificate is for the address alone
        with pytest.raises(WebhookError, match="the certificate is not trusted"):
            await Webhook(elsewhere, ssl=own, clock=hurried)(an_alert())
        assert len(hooks.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.8.9.1:80/x",
        "http://[::1]:8080/",
        "http://localhost/",
        "https://example.org/a?b=c",
    ],
)
def test_urls_that_may_be(url: str) -> None:
    """D3: https anywhere, http on this host."""
    assert Webhook(url).retries == 4


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://example.org/", "http to example.org can be read on the way: use https, or say insecure=True"),
        ("http://localhost.example.org/", "can be read on the way"),
        ("http://127.0.0.1.example.org/", "can be read on the way"),
        ("http://[2001:db8::1]/", "can be read on the way"),
        ("ftp://example.org/", "url is a URL such as"),
        ("file:///etc/passwd", "url is a URL such as"),
        ("https://", "url is a URL such as"),
        ("https://example.org:0/", "url is a URL such as"),
        ("https://example.org:70000/", "url is a URL such as"),
        ("https://ada:secret@example.org/", "url holds a user or a password"),
        ("https://example.org/a b", "without spaces"),
        ("https://example.org/\r\nX: y", "without spaces"),
        ("https://ex\u00e4mple.org/", "ASCII"),
        (None, "url is a URL"),
    ],
)
def test_urls_that_may_not(url: Any, match: str) -> None:
    """D3: nothing that could be read, or lead, elsewhere; the error does not repeat what may be a secret."""
    with pytest.raises(ValueError, match=match) as refusal:
        Webhook(url)
    assert "secret@" not in str(refusal.value)


def test_insecure_is_said_aloud() -> None:
    """D3: http elsewhere only for who wants it so."""
    assert Webhook("http://example.org/", insecure=True).timeout == 10.0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"secret": "short"}, "secret is at least 16 bytes"),
        ({"secret": 7}, "secret is at least 16 bytes"),
        ({"retries": -1}, "retries is a number from 0 to 10"),
        ({"retries": 11}, "retries is a number from 0 to 10"),
        ({"retries": True}, "retries is a number from 0 to 10"),
        ({"timeout": "soon"}, "timeout='soon' is no span of time"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], match: str) -> None:
    """D3: refused when it is made, not when it is needed."""
    with pytest.raises((ValueError, TypeError), match=match):
        Webhook("https://example.org/", **options)


def test_what_is_shown_of_it() -> None:
    """D3: neither the secret nor the path, which may be one."""
    assert (
        repr(Webhook("https://example.org:8443/T0/B0/token?key=x", secret=SECRET))
        == "Webhook('https://example.org:8443/…')"
    )


async def test_the_instant_is_the_clocks(hooks: Hooks) -> None:
    """D3: the signature tells when the clock says it is."""
    await Webhook(hooks.url, secret=SECRET, clock=FakeClock(1_234_567_890.0))(an_alert())
    assert hooks.requests[0].headers["toolcache-signature"].startswith("t=1234567890,v1=")
