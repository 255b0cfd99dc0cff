"""The document of the application, and the application held to it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import rest_reference
from rest import ADMIN, TOKENS, asking, bearer

from toolcache import ToolCache
from toolcache.testing import FakeClock
from toolcache.web.app import app
from toolcache.web.endpoint import Endpoint
from toolcache.web.table import TABLE


@pytest.fixture
async def cache() -> AsyncIterator[ToolCache]:
    async with ToolCache(files=False, namespace="shop") as made:
        yield made


async def test_the_document_tells_every_endpoint(cache: ToolCache) -> None:
    """D9: each row of the table is an operation, with its scope, parameters and answers; whoever has it need not load it again."""
    async with asking(cache) as client:
        answer = await client.get("/api/v1/openapi.json")
        said = answer.json()
        assert said["openapi"].startswith("3.1")
        told = {(method.upper(), path) for path, item in said["paths"].items() for method in item}
        assert told == {(one.method, one.path) for one in TABLE}
        names = [operation["operationId"] for item in said["paths"].values() for operation in item.values()]
        assert len(names) == len(set(names)) == len(TABLE)
        assert said["paths"]["/api/v1/cache/stats"]["get"]["security"] == [{"token": []}]
        (stream,) = said["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"].items()
        assert stream[0] == "text/event-stream"
        assert stream[1]["schema"]["properties"]["data"]["contentSchema"]["properties"].keys() >= {"at", "health"}
        again = await client.get("/api/v1/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_the_document_tells_no_more_than_there_is(cache: ToolCache) -> None:
    """D9: without the page, what it alone lives on is neither there nor in the document."""
    async with asking(cache, page=False) as client:
        paths = (await client.get("/api/v1/openapi.json")).json()["paths"]
        assert {one.path for one in TABLE} - paths.keys() == {"/api/v1/events", "/api/v1/page/advice"}
        assert (await client.get("/api/v1/page/advice")).status_code == 404


def lacking(schema: Any) -> list[str]:
    """The names that objects always have, of which nothing is said."""
    if isinstance(schema, list):
        return [name for one in schema for name in lacking(one)]
    if not isinstance(schema, Mapping):
        return []
    mine = [name for name in schema.get("required", ()) if name not in schema.get("properties", {})]
    return (mine if schema.get("type") == "object" else []) + lacking(list(schema.values()))


@pytest.mark.parametrize("endpoint", TABLE, ids=lambda endpoint: endpoint.name)
def test_what_is_always_there_is_described(endpoint: Endpoint) -> None:
    """D9: the document says of each field that an answer or a body always has what it is."""
    assert lacking(endpoint.answer) == lacking(endpoint.body) == []


class Hurried(FakeClock):
    """A clock on which no two requests are near each other, so that nobody asks too often."""

    def monotonic(self) -> float:
        self.advance(1)
        return super().monotonic()


@pytest.mark.slow
def test_the_application_does_what_its_document_says() -> None:
    """D9: requests made from the document, right and wrong ones, are answered as it says: status, media, fields, content."""
    import schemathesis
    from schemathesis.engine import events, from_schema

    cache = ToolCache(files=False, namespace="shop", metrics=False)
    refused = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422"]
    config = schemathesis.Config.from_dict(
        {
            "headers": bearer(ADMIN),
            "generation": {"max-examples": 2, "deterministic": True, "allow-x00": True},
            "phases": {"stateful": {"enabled": False}},
            "max-stream-events": 2,  # what one listens to, and the first beat: the next comes after a second
            "checks": {
                "negative_data_rejection": {"expected-statuses": refused},
                "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "410"]},
            },
        }
    )
    served = app(cache, tokens=TOKENS, clock=Hurried(), values=True)
    whole = schemathesis.openapi.from_asgi("/api/v1/openapi.json", served, config=config)
    schema = whole.exclude(operation_id_regex="_short$")  # the same handlers once more
    wrong, checked, asked = [], 0, set()
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            asked.add(event.recorder.label)
            for check in (one for several in event.recorder.checks.values() for one in several):
                checked += 1
                if check.failure_info is not None:
                    wrong.append((event.recorder.label, check.name, str(check.failure_info.failure)))
    asyncio.run(cache.aclose())
    assert wrong == []
    assert {f"{one.method} {one.path}" for one in TABLE if not one.name.endswith(("_short", "openapi"))} <= asked
    assert checked > 3_000


def test_the_page_of_reference_is_the_table() -> None:
    """E5: docs/reference/rest.md says what the table says; ``python tests/rest_reference.py`` writes it."""
    assert rest_reference.PAGE.read_text("utf-8") == rest_reference.page()
