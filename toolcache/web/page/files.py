"""The files of the page: read once, told apart by what is in them, under headers that let nothing else in."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toolcache.aside import aside

HERE: Final = Path(__file__).parent
KINDS: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Nothing inline, nothing evaluated, nothing from elsewhere; and no text becomes markup, whoever tries.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class File:
    """One file: its bytes, its kind, its tag."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.headers = {
            **HEADERS,
            "Cache-Control": "no-cache",  # asked for each time, sent when it is another
            "Content-Type": KINDS[path.suffix],
            "ETag": f'"{hashlib.sha256(self.body).hexdigest()[:32]}"',
        }


@cache
def files() -> dict[str, File]:
    """All of them, by the path that a browser asks for."""
    found = [path for path in HERE.rglob("*") if path.suffix in KINDS]
    return {path.relative_to(HERE).as_posix(): File(path) for path in found}


async def serve(request: Request) -> Response:
    """One of the files; the page itself where the path names none."""
    name = request.path_params.get("file", "index.html")
    file = (await aside(files)).get(name)
    if file is None:
        return Response("there is no such file\n", 404, {**HEADERS, "Content-Type": "text/plain"})
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {file.headers["ETag"], "*"}:
        return Response(status_code=304, headers={**file.headers})
    return Response(file.body, headers=file.headers)


ROUTES: Final = (Route("/", serve, name="page"), Route("/page/{file:path}", serve, name="page_files"))
