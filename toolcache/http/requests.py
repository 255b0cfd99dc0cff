"""Requests: what of them a page belongs to."""

import hashlib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, quote

from toolcache.http.fields import Directives, Fields, directives, value, values
from toolcache.http.pages import Page
from toolcache.http.rules import Visitor
from toolcache.tags import MAX_LENGTH, MAX_LEVELS

Query: TypeAlias = Literal["kept", "sorted"] | Collection[str]

_CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
_BEYOND: Final = frozenset({b"range", b"if-range", b"if-match", b"if-unmodified-since", b"transfer-encoding"})
_CONTROLS: Final = frozenset({b"cache-control", b"pragma"})
_SPACES: Final = re.compile(r"\s*,\s*")


class Place(NamedTuple):
    """Where a page is kept: the fields of its key.

    Attributes:
        url: of the request: scheme, host, where the application is mounted, path as it came and as it is routed, query.
        audience: whom the page is for.
        varied: what is asked of the fields that it depends on; empty for the first that comes.
        own: whether it is for one client alone.
    """

    url: tuple[str, str, str, str, str, str]
    audience: tuple[str, str]
    varied: tuple[tuple[str, str], ...]
    own: bool

    @property
    def key(self) -> dict[str, Any]:
        """The fields by name."""
        return {"url": self.url, "audience": self.audience, "varied": self.varied}


class Request:
    """A request of GET or HEAD.

    Args:
        scope: of ASGI.
        visitor: who asks.
        query: which of its parameters make another page, and whether their order does.
        vary: fields that every page depends on.
        obeyed: whether what the client says of caches counts.
    """

    def __init__(
        self, scope: Mapping[str, Any], visitor: Visitor, *, query: Query, vary: Collection[str], obeyed: bool
    ) -> None:
        self.fields: list[tuple[bytes, bytes]] = [(name.lower(), content) for name, content in scope["headers"]]
        self._names = frozenset([name for name, _ in self.fields])  # most requests have few of those that matter
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.visitor = visitor
        self.said: Directives = directives(self.fields) if obeyed and not self._names.isdisjoint(_CONTROLS) else {}
        host = (value(self.fields, b"host") or b"").decode("latin-1").lower()
        path = (scope.get("raw_path") or quote(scope["path"]).encode("ascii")).decode("latin-1")
        asked = _normal(scope.get("query_string", b""), query)
        # Both paths: what stands before may send one to another place, for some clients alone.
        self._url = (scope.get("scheme", "http"), host, scope.get("root_path", ""), path, self.path, asked)
        self._vary = tuple((name, self.says(name)) for name in sorted(name.lower() for name in vary))

    def says(self, name: str) -> str:
        """What it says in a field, but for the spaces between members, digested: it may be a secret. Empty for nothing."""
        text = b",".join(values(self.fields, name.encode("latin-1"))).decode("latin-1")
        said = _SPACES.sub(",", text.strip())
        return hashlib.sha256(said.encode()).hexdigest() if said else ""

    def places(self, *, private: bool) -> list[Place]:
        """Where a page for it may be, the nearest first; ``private``: there are pages for one client alone."""
        group, credentials = self.visitor.group or "", self.visitor.credentials
        shared = Place(self._url, (group, ""), self._vary, own=False)
        if not (private and credentials):
            return [shared]
        return [shared._replace(audience=(group, credentials), own=True), shared]

    def again(self, place: Place, page: Page) -> Place:
        """Where the page for it is, of the representations that this one is one of."""
        named = dict(self._vary) | {name: self.says(name) for name, _ in page.varied}
        return place._replace(varied=tuple(sorted(named.items())))

    def varied(self, names: Collection[str]) -> tuple[tuple[str, str], ...]:
        """What it says of the fields that a response depends on."""
        return tuple((name, self.says(name)) for name in sorted({name.lower() for name in names}))

    @property
    def obstacle(self) -> str | None:
        """Why it is none of the cache's, as Cache-Status says it; None if it is."""
        if "no-store" in self.said:
            return "request"
        carries = b"content-length" in self._names and value(self.fields, b"content-length") != b"0"
        return "bypass" if carries or not self._names.isdisjoint(_BEYOND) else None

    def knows(self, page: Page) -> bool:
        """Whether the client says that it has this page."""
        return not self._names.isdisjoint(_CONDITIONS) and page.is_known(self.fields)

    def unconditional(self, page: Page | None) -> list[tuple[bytes, bytes]]:
        """Its fields as the application is to see them: asked for the whole page, or whether this one is still right."""
        fields = [field for field in self.fields if field[0] not in _CONDITIONS]
        if page is not None and page.validated:
            for asked, told in ((b"if-none-match", b"etag"), (b"if-modified-since", b"last-modified")):
                if (known := value(page.fields, told)) is not None:
                    fields.append((asked, known))
        return fields


class Credentials:
    """How clients say who they are.

    Args:
        fields: the fields that do, by their names.
        cookies: if ``Cookie`` is one of them, those that do; None for all.
    """

    def __init__(self, fields: Collection[str], cookies: Collection[str] | None) -> None:
        self._names = frozenset(name.lower().encode("latin-1") for name in fields)
        self._cookies = None if cookies is None else {name.encode("latin-1") for name in cookies}

    def visitor(self, fields: Fields, group: str | None) -> Visitor:
        """Who asks. A ``group`` without a name is none."""
        given = [(name.lower(), raw) for name, raw in fields]
        told = sorted((name, said) for name, raw in given if name in self._names for said in self._said(name, raw))
        digest = hashlib.sha256(repr(told).encode("latin-1")).hexdigest() if told else ""
        return Visitor(group or None, digest)

    def _said(self, name: bytes, raw: bytes) -> list[bytes]:
        if name != b"cookie" or self._cookies is None:
            return [raw]
        cookies = [one.strip() for one in raw.split(b";")]
        return [one for one in cookies if one.partition(b"=")[0].strip() in self._cookies]


def page_tag(path: str) -> str:
    """The tag of the pages of a path and of those beneath it: ``cache.invalidate(tags=[page_tag("/products")])``.

    Examples:
        >>> page_tag("/products/7")
        'http:products:7'
    """
    tag = "http"
    for segment in filter(None, path.split("/")):
        longer = f"{tag}:{quote(segment, safe='')}"
        if len(longer) > MAX_LENGTH or longer.count(":") >= MAX_LEVELS:
            break
        tag = longer
    return tag


def path_tag(path: str) -> str:
    """The tag of the pages of this path alone."""
    return f"http-path:{hashlib.sha256(path.encode()).hexdigest()[:32]}"


def _normal(raw: bytes, query: Query) -> str:
    text = raw.decode("latin-1")
    if query == "kept":
        return text
    # Byte by byte: what is no UTF-8 is told apart by applications that take it for something else.
    pairs = parse_qsl(text, keep_blank_values=True, encoding="latin-1")
    names = () if query == "sorted" else {name.encode().decode("latin-1") for name in query}
    chosen = [pair for pair in pairs if query == "sorted" or pair[0] in names]
    return "&".join(
        f"{quote(name, safe='')}={quote(said, safe='')}" for name, said in sorted(chosen, key=lambda pair: pair[0])
    )
