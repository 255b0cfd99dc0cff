"""What is told to a client whose request is not answered: one shape for all, that of RFC 9457."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final

from starlette.responses import Response

from toolcache.errors import (
    BackupError,
    CacheClosedError,
    CacheWriteError,
    SerializationError,
    ToolCacheError,
    UnsupportedKeyError,
    ValueTooLargeError,
)

MEDIA: Final = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the word of the standard
    """Ends a request with this status.

    Args:
        status: of HTTP, 4xx or 5xx.
        detail: what is wrong, and what to do; for the client alone, it is never logged.
        headers: further fields of the response.
        at: the part of the request that is meant, such as ``"query.period"``.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, *, at: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.at = at

    def response(self, request_id: str) -> Response:
        """The same for the client."""
        said = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.at:
            said["at"] = self.at
        return Response(json.dumps(said), self.status, self.headers, MEDIA)


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "what is wrong, and what to do"},
        "at": {"type": "string", "description": "the part of the request that is meant"},
        "request_id": {"type": "string", "description": "by which the log of the server knows the request"},
    },
}


@contextmanager
def refusing(at: str = "") -> Iterator[None]:
    """Within it, what the cache says of an argument is said to the client: nothing else may raise here."""
    try:
        yield
    except ToolCacheError as error:
        raise problem_of(error, at) from None
    except (TypeError, ValueError) as error:
        raise Problem(422, str(error), at=at) from None


def problem_of(error: ToolCacheError, at: str = "") -> Problem:
    """What is told of an error of the cache."""
    match error:
        case ValueTooLargeError():
            return Problem(413, str(error), at=at)
        case SerializationError() | UnsupportedKeyError():
            return Problem(422, str(error), at=at)
        case CacheClosedError():
            return Problem(503, "the cache of this server was closed")
        case CacheWriteError() | BackupError():
            why = "no layer that others read could be told: repeat it once the store is back, /health tells"
            return Problem(503, why, {"Retry-After": "5"})
        case _:
            return Problem(503, "the cache cannot do that now: see /health", {"Retry-After": "5"})
