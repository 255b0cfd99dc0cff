"""An endpoint: one row of the table that routes, checks and documents."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from toolcache.entry import MISSING
from toolcache.fields import Frozen, each
from toolcache.web.problems import Problem
from toolcache.web.schema import Schema, read
from toolcache.web.tokens import Access, Who

if TYPE_CHECKING:
    from toolcache.web.house import House

ANYTHING: Schema = {"type": "object"}
EVENTS: Final = "text/event-stream"


class Param(Frozen):
    """A parameter of the query.

    Attributes:
        name: its name.
        schema: what it may be.
        says: what it is for.
        default: unless given; MISSING where it has to be.
    """

    name: str
    schema: Schema
    says: str
    default: Any = None


class Asked(Frozen):
    """What somebody asks of an endpoint, read and checked.

    Attributes:
        who: somebody.
        query: every parameter of the endpoint.
        body: what the JSON of the request said.
        key: the key in the path.
        root: where the application is mounted.
        accept: what the client takes.
        if_none_match: the validators of answers that it has.
    """

    who: Who
    query: Mapping[str, Any] = each(factory=dict)
    body: Any = None
    key: str = ""
    root: str = ""
    accept: str | None = None
    if_none_match: str = ""


Handler = Callable[["House", Asked], Awaitable[Any]]
"""Answers with what JSON can say, or with a ``Response``."""


class Endpoint(Frozen):
    """An endpoint.

    Attributes:
        name: of the operation.
        method: of HTTP; GET is HEAD, too.
        path: ``{key}`` in it is the rest of it.
        access: what one must be allowed to do.
        handler: answers.
        summary: what it does, in a line; ``more`` says more.
        params: of its query.
        body: what its JSON may be; None where it takes none.
        answer: what its JSON is; of a stream of events the data of each.
        refusals: statuses besides those that all have.
        others: further responses, as OpenAPI has them.
        media: of its answers; ``medias``: others that it has, if asked for.
        heavy: whether it goes through all entries, or as much else, so that few run at a time; or of which queries it does.
    """

    name: str
    method: str
    path: str
    access: Access
    handler: Handler
    summary: str
    more: str = ""
    params: tuple[Param, ...] = ()
    body: Schema | None = None
    answer: Schema = each(factory=lambda: ANYTHING)
    refusals: tuple[int, ...] = ()
    others: Mapping[int, Mapping[str, Any]] = each(factory=dict)
    media: str = "application/json"
    medias: tuple[str, ...] = ()
    heavy: bool | Callable[[Mapping[str, Any]], bool] = False

    def takes_turn(self, query: Mapping[str, Any]) -> bool:
        """Whether a request with this query is one of the heavy ones."""
        return self.heavy if isinstance(self.heavy, bool) else self.heavy(query)

    def read(self, pairs: list[tuple[str, str]]) -> dict[str, Any]:
        """The parameters of a query.

        Raises:
            Problem: one is unknown, given twice, missing, or cannot be.
        """
        known = {param.name: param for param in self.params}
        found = {}
        for name, text in pairs:
            if name not in known:
                takes = ", ".join(known) or "none"
                raise Problem(422, f"a parameter of the query is unknown here: it takes {takes}", at="query")
            if name in found:
                raise Problem(422, f"query.{name} is given twice", at=f"query.{name}")
            found[name] = read(known[name].schema, text, f"query.{name}")
        for name, param in known.items():
            if name not in found and param.default is MISSING:
                raise Problem(422, f"query.{name} is missing: {param.says}", at=f"query.{name}")
        return {name: found.get(name, param.default) for name, param in known.items()}

    def __hash__(self) -> int:
        return hash((self.method, self.path))
