"""The table of endpoints, and which of them a request means."""

from collections.abc import Iterable, Mapping
from typing import Final

from toolcache.web import actions, entries, insights, statistics
from toolcache.web.endpoint import Endpoint
from toolcache.web.openapi import openapi
from toolcache.web.page import endpoints as page
from toolcache.web.paths import text_of
from toolcache.web.problems import Problem
from toolcache.web.tokens import Access

_KEY: Final = "{key}"

TABLE: Final[tuple[Endpoint, ...]] = (
    *statistics.ENDPOINTS,
    *insights.ENDPOINTS,
    *entries.ENDPOINTS,
    *actions.ENDPOINTS,
    *page.ENDPOINTS,
    Endpoint(
        name="openapi",
        method="GET",
        path="/api/v1/openapi.json",
        access=Access.OPEN,
        handler=openapi,
        summary="What can be asked, for machines: OpenAPI 3.1",
        others={304: {"description": "you have it"}},
    ),
)


class Routes:
    """Finds endpoints.

    Args:
        table: of endpoints.
    """

    def __init__(self, table: Iterable[Endpoint]) -> None:
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._keyed: dict[bytes, dict[str, Endpoint]] = {}
        for one in table:
            if one.path.endswith(_KEY):
                self._keyed.setdefault(one.path.removesuffix(_KEY).encode("ascii"), {})[one.method] = one
            else:
                self._fixed.setdefault(one.path, {})[one.method] = one
        self._prefixes = sorted(self._keyed, key=len, reverse=True)

    def find(self, path: bytes) -> tuple[Mapping[str, Endpoint], str]:
        """The endpoints of a path, by method, and the key in it; none where nothing is there.

        Raises:
            Problem: the path cannot be read.
        """
        whole = text_of(path)
        if whole in self._fixed:
            return self._fixed[whole], ""
        for prefix in self._prefixes:
            if path.startswith(prefix) and len(path) > len(prefix):
                return self._keyed[prefix], text_of(path[len(prefix) :])
        return {}, ""


def allowed(methods: Iterable[str]) -> str:
    """The field Allow."""
    known = set(methods)
    return ", ".join(sorted(known | ({"HEAD"} if "GET" in known else set())))


def chosen(methods: Mapping[str, Endpoint], method: str) -> Endpoint:
    """The endpoint of a method.

    Raises:
        Problem: there is nothing at this path, or not with this method.
    """
    if not methods:
        raise Problem(404, "there is nothing here: /api/v1/openapi.json lists what there is")
    found = methods.get("GET" if method == "HEAD" else method)
    if found is None:
        raise Problem(405, f"this path takes {allowed(methods)}", {"Allow": allowed(methods)})
    return found
