"""The way in: every request passes here, whatever it asks for, and every answer goes out here."""

import asyncio
import json
import logging
import re
import secrets
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from traceback import extract_tb
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from toolcache.errors import ToolCacheError
from toolcache.web import hosts
from toolcache.web.admission import Rules
from toolcache.web.bodies import json_body
from toolcache.web.endpoint import Asked, Endpoint
from toolcache.web.house import House
from toolcache.web.paths import below, text_of
from toolcache.web.problems import Problem, problem_of
from toolcache.web.table import Routes, allowed, chosen
from toolcache.web.tokens import Access, Who

logger: Final = logging.getLogger("toolcache.web")

_PARAMS: Final = 20
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SAFE: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = _SAFE | {"POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
_SECURITY: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class BrokenOffError(ConnectionError):
    """An answer that had begun could not be ended; what became of it is in the log already."""


class Gate:
    """The application.

    Args:
        house: what the endpoints share.
        routes: finds endpoints.
        rules: who may come in.
        page: further routes, for anybody.
    """

    def __init__(self, house: House, routes: Routes, rules: Rules, page: Iterable[Route] = ()) -> None:
        self._house = house
        self._routes = routes
        self._rules = rules
        self._page = Router(routes=list(page), redirect_slashes=False, default=_nothing)

    def end(self) -> None:
        """Have streams come to their end, since the server does."""
        self._house.ending.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            await self._house.aclose()
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
        else:
            await _Visit(self._house, self._routes, self._rules, self._page, scope, receive, send).run()


class _Visit:
    """One request."""

    def __init__(
        self, house: House, routes: Routes, rules: Rules, page: Router, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._house = house
        self._routes = routes
        self._rules = rules
        self._page = page
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers = Headers(scope=scope)
        given = self._headers.get("x-request-id", "")
        self._id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self._what = "-"
        self._who = Who("-", Access.OPEN)
        self._status = 0
        self._length = 0
        self._is_open = False

    async def run(self) -> None:
        """Answer, whatever happens, and write it down."""
        began = self._house.clock.monotonic()
        try:
            await self._answered()
        finally:
            took = 1000 * (self._house.clock.monotonic() - began)
            method = self._scope["method"] if self._scope["method"] in _METHODS else "?"
            row = (method, self._what, self._status, self._length, took, self._who.name, self._id)
            logger.info("%s %s %d %d bytes %.1f ms %s %s", *row)

    async def _answered(self) -> None:
        try:
            await self._answer()
        except Problem as problem:
            await self._refuse(problem)
        except ToolCacheError as error:
            await self._refuse(problem_of(error))
        except HTTPException as error:  # of Starlette's routes
            await self._refuse(Problem(error.status_code, HTTPStatus(error.status_code).phrase, error.headers))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client is told, and the log
            # Neither the text of the error nor its traceback is written down: either may tell of keys or values.
            where = extract_tb(error.__traceback__)[-1]
            logger.error(  # noqa: TRY400 - see above
                "request %s failed: %s at %s:%d",
                self._id,
                type(error).__name__,
                where.filename,
                where.lineno or 0,
            )
            await self._refuse(Problem(500, "the server has failed at this; its log says more under the request's id"))

    async def _refuse(self, problem: Problem) -> None:
        if self._status:  # too late: the end of the connection has to say it, and the server's log nothing more
            raise BrokenOffError from None
        await self._tell(problem.response(self._id))

    async def _answer(self) -> None:
        headers, method = self._headers, self._scope["method"]
        self._rules.check_host(headers)
        # Of two lengths, two servers in a row may believe another one each.
        if "content-length" in headers and "transfer-encoding" in headers:
            raise Problem(400, "a request has one length", {"Connection": "close"})
        path = below(self._scope)
        methods, key = self._routes.find(path)
        if method == "OPTIONS" and (origin := headers.get("origin")) in self._rules.cors:
            await self._tell(_preflight(origin or "", allowed(methods)))
            return
        hosts.check_origin(headers, self._rules.cors, changes=method not in _SAFE)
        if not methods:
            await self._show_page(path)
            return
        endpoint = chosen(methods, method)
        self._what = endpoint.path
        self._admit(endpoint.access)
        _check_accept(headers, endpoint)
        asked = Asked(
            who=self._who,
            query=endpoint.read(self._query()),
            body=await self._body(endpoint),
            key=key,
            root=self._scope.get("root_path", ""),
            accept=headers.get("accept"),
            if_none_match=headers.get("if-none-match", ""),
        )
        await self._tell(await self._handled(endpoint, asked))

    async def _show_page(self, path: bytes) -> None:
        self._what = "page"
        self._admit(Access.OPEN)
        # What a mount around has to say of errors is not asked: this application's are its own.
        inner = {name: one for name, one in self._scope.items() if name != "starlette.exception_handlers"}
        inner |= {"app": self._page, "path": text_of(path), "root_path": ""}
        await self._page(inner, self._receive, self._pass_on)

    async def _heard(self) -> Message:
        """What comes from the client; once the server ends, that it has hung up, so that no stream keeps the server."""
        coming, ending = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._house.ending.wait())
        try:
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
            return coming.result() if coming.done() else {"type": "http.disconnect"}
        finally:
            for one in (coming, ending):
                one.cancel()
            await asyncio.wait({coming, ending})

    async def _handled(self, endpoint: Endpoint, asked: Asked) -> Response:
        heavy = endpoint.access if endpoint.takes_turn(asked.query) else None
        said = await self._house.answer(partial(endpoint.handler, self._house, asked), heavy)
        return said if isinstance(said, Response) else Response(_json(said), media_type=endpoint.media)

    # -- who asks, and what ---------------------------------------------------------------------------------------------

    def _admit(self, access: Access) -> None:
        """Know who asks, and whether they may; the log is to know them even where they may not."""
        now = self._house.clock.monotonic()
        self._who = self._rules.identify(self._scope, self._headers, now)
        self._rules.check(self._who, access, now)

    def _query(self) -> list[tuple[str, str]]:
        try:
            text = self._scope.get("query_string", b"").decode("ascii")
            return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_PARAMS)
        except UnicodeDecodeError:
            raise Problem(400, "a query is UTF-8, percent-encoded", at="query") from None
        except ValueError:
            raise Problem(400, f"a query has at most {_PARAMS} parameters", at="query") from None

    async def _body(self, endpoint: Endpoint) -> Any:
        if endpoint.body is None:
            return None
        return await json_body(self._headers, self._receive, endpoint.body, self._rules.max_body)

    # -- what they are told ---------------------------------------------------------------------------------------------

    async def _tell(self, response: Response) -> None:
        await response(self._scope, self._heard, self._pass_on)
        if self._house.ending.is_set() and self._is_open:
            await self._pass_on({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._is_open = message["status"], True
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = self._id
            self._allow_origin(headers)
        elif message["type"] == "http.response.body":
            if self._scope["method"] == "HEAD":
                message = {**message, "body": b""}
            self._length += len(message.get("body", b""))
            self._is_open = message.get("more_body", False)
        await self._send(message)

    def _allow_origin(self, headers: MutableHeaders) -> None:
        if not self._rules.cors:
            return
        headers.add_vary_header("Origin")
        if (origin := self._headers.get("origin")) in self._rules.cors:
            headers["Access-Control-Allow-Origin"] = origin or ""
            headers["Access-Control-Expose-Headers"] = "Retry-After, X-Request-ID"
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"


def _json(said: Any) -> str:
    return json.dumps(said, separators=(",", ":"), allow_nan=False)


def _preflight(origin: str, methods: str) -> Response:
    fields = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": methods,
        "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-ID",
        "Access-Control-Max-Age": "600",
    }
    return Response(None, 204, fields)


def _check_accept(headers: Headers, endpoint: Endpoint) -> None:
    """Refuse where none of what the client takes is what the endpoint has."""
    if "accept" not in headers:
        return
    kinds = {endpoint.media, endpoint.media.partition("/")[0] + "/*", "*/*", *endpoint.medias}
    for one in ",".join(headers.getlist("accept")).split(","):
        name, *parameters = (part.strip().lower() for part in one.split(";"))
        if name in kinds and not any(re.fullmatch(r"q=0(\.0{0,3})?", part) for part in parameters):
            return
    raise Problem(406, f"this answers with {endpoint.media} alone")


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    del scope, receive, send
    raise Problem(404, "there is nothing here: /api/v1/openapi.json lists what there is")


async def _live(receive: Receive, send: Send) -> None:
    """The lifespan of a server: the cache is its caller's, so nothing of it is begun or ended."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return
