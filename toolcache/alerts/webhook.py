"""An action that posts the alert to a URL."""

import asyncio
import ipaddress
import ssl as tls
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from toolcache.alerts.alert import Alert
from toolcache.alerts.signature import SIGNATURE, signature
from toolcache.clock import SYSTEM
from toolcache.durations import Duration, seconds
from toolcache.protocols import Clock

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_AGAIN: Final = frozenset({408, 425, 429}) | frozenset(range(500, 600))
"""Answers after which it is worth trying once more."""
_LONGEST_LINE: Final = 8_192
_MOST_RETRIES: Final = 10
_PAUSES: Final = (0.5, 30.0)
"""Seconds between tries, first and longest."""
_SHORTEST_SECRET: Final = 16


class WebhookError(Exception):
    """A webhook was not taken; ``again`` is whether it is worth trying once more."""

    def __init__(self, reason: str, *, again: bool) -> None:
        super().__init__(reason)
        self.again = again


class Webhook:
    """Posts the alert, as JSON, to a URL.

    It is taken when the answer is 2xx. It is tried again after 408, 425, 429, 5xx, and when nothing answers, with the same
    ``Idempotency-Key``; redirects are not followed. With a secret, ``Toolcache-Signature`` says who sent it and when: whoever
    receives it asks ``verify``. The certificate of an ``https`` URL must be one that this host trusts. No proxy is used.

    Args:
        url: where to; ``http`` only to this host itself. The field ``text`` of what is sent is the sentence that chat
            services show.
        secret: what both sides know; at least 16 bytes.
        timeout: of one try.
        retries: how often it is tried again.
        insecure: whether ``http`` may go elsewhere, where everybody on the way can read it.
        ssl: another context than the default one, for an authority of your own.
        clock: another than the machine's, for tests.

    Raises:
        ValueError: the URL, the secret or a number cannot be.
        TypeError: insecure is neither true nor false.

    Examples:
        >>> Webhook("https://hooks.example.org/services/T0/B0/x", secret="sixteen bytes or more")
        Webhook('https://hooks.example.org/…')
    """

    def __init__(
        self,
        url: str,
        *,
        secret: bytes | str | None = None,
        timeout: Duration = "10s",
        retries: int = 4,
        insecure: bool = False,
        ssl: tls.SSLContext | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        if not isinstance(insecure, bool):  # "false" is a text, and true of each
            raise TypeError(f"insecure is true or false, not {insecure!r}")
        self._url = _checked(url, insecure=insecure)
        if secret is not None and (not isinstance(secret, bytes | str) or len(secret) < _SHORTEST_SECRET):
            raise ValueError(
                f"secret is at least {_SHORTEST_SECRET} bytes, or text of that many, for example 32 random ones"
            )
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= _MOST_RETRIES:
            raise ValueError(f"retries is a number from 0 to {_MOST_RETRIES}, not {retries!r}")
        self._secret = secret
        self._ssl = ssl
        self._clock = clock
        self.timeout = seconds(timeout, name="timeout")
        self.retries = retries
        self.patience = (retries + 1) * (self.timeout + _PAUSES[1])
        """Seconds that whoever calls it is to wait, at most."""

    async def __call__(self, alert: Alert, /) -> None:
        """Post it.

        Raises:
            WebhookError: it was not taken, however often it was tried.
        """
        import json

        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

        body = json.dumps(alert.as_dict(), ensure_ascii=False).encode()
        first, longest = _PAUSES
        trying = AsyncRetrying(
            sleep=self._clock.sleep,
            stop=stop_after_attempt(self.retries + 1),
            wait=wait_exponential(multiplier=first, max=longest - first) + wait_random(0, first),
            retry=retry_if_exception(lambda fault: isinstance(fault, WebhookError) and fault.again),
            reraise=True,
        )
        await trying(self._post, alert.id, body)

    async def _post(self, idempotency: str, body: bytes) -> None:
        try:
            async with asyncio.timeout(self.timeout):
                status = await self._ask(self._request(idempotency, body))
        except TimeoutError:
            raise WebhookError(f"no answer in {self.timeout:g} s", again=True) from None
        except tls.SSLCertVerificationError:
            raise WebhookError("the certificate is not trusted", again=False) from None
        except (OSError, ValueError, EOFError) as fault:
            raise WebhookError(f"no answer ({type(fault).__name__})", again=True) from None
        if not 200 <= status < 300:  # noqa: PLR2004 - what is taken
            raise WebhookError(f"the answer was {status}", again=status in _AGAIN)

    def _request(self, idempotency: str, body: bytes) -> bytes:
        target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        headers = {
            "Host": self._url.netloc,
            "User-Agent": "toolcache",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Idempotency-Key": idempotency,
            "Connection": "close",
        }
        if self._secret is not None:
            headers[SIGNATURE] = signature(self._secret, body, self._clock.time())
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("ascii") + body

    async def _ask(self, request: bytes) -> int:
        """Send it; the status of the answer, of which nothing else matters."""
        encrypted = self._url.scheme == "https"
        port = self._url.port or (443 if encrypted else 80)
        reader, writer = await asyncio.open_connection(
            self._url.hostname, port, ssl=await self._context() if encrypted else None, limit=_LONGEST_LINE
        )
        try:
            writer.write(request)
            await writer.drain()
            while True:
                version, _, rest = (await reader.readline()).partition(b" ")
                status = int(rest[:3])
                if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
                    raise ValueError(version)
                if status >= 200:  # noqa: PLR2004 - what is below is not the answer yet
                    return status
                while (await reader.readline()).strip():
                    pass
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                writer.transport.abort()  # what else the other side has to say does not matter

    async def _context(self) -> tls.SSLContext:
        if self._ssl is None:
            from anyio import to_thread

            self._ssl = await to_thread.run_sync(tls.create_default_context)  # it reads files
        return self._ssl

    def __repr__(self) -> str:
        return f"Webhook('{self._url.scheme}://{self._url.netloc}/…')"  # the rest may be a secret


def _checked(url: Any, *, insecure: bool) -> "SplitResult":
    from urllib.parse import urlsplit

    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url is a URL such as 'https://hooks.example.org/cache', of ASCII letters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in {"http", "https"} or not host or port == 0:
        raise ValueError("url is a URL such as 'https://hooks.example.org/cache'")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url holds a user or a password, which would be shown: sign what is sent with secret=...")
    if parts.scheme == "http" and not insecure and not _is_here(host):
        raise ValueError(f"url: http to {host} can be read on the way: use https, or say insecure=True")
    return parts


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
