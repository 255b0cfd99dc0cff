"""The files of the page: what they are, what they may not be, how they are told apart."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from toolcache.web.page import files

HERE: Final = files.HERE
OURS: Final = sorted(path for path in HERE.rglob("*") if path.suffix in files.KINDS and "vendor" not in path.parts)
CONTENTS: Final = {path: path.read_bytes() for path in OURS}
SCRIPTS: Final = [path for path in OURS if path.suffix == ".js"]
VENDORED: Final = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}
DANGEROUS: Final = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|javascript:|\.style\b"
)


def name(path: Path) -> str:
    return path.relative_to(HERE).as_posix()


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    routes = [Route("/", files.serve), Route("/page/{file:path}", files.serve)]
    transport = httpx.ASGITransport(Starlette(routes=routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as made:
        yield made


def test_what_is_vendored_is_what_its_authors_published() -> None:
    """The three files of uPlot are those of its package, to the last bit."""
    at = HERE / "vendor/uplot"
    assert {file: hashlib.sha256((at / file).read_bytes()).hexdigest() for file in VENDORED} == VENDORED
    assert "1.6.32" in (at / "README.md").read_text("utf-8")
    assert "1.6.32" in (at / "uPlot.iife.min.js").read_text("utf-8")[:300]


async def test_a_browser_runs_only_what_is_ours(client: httpx.AsyncClient) -> None:
    """The policy lets in nothing inline, evaluated or from elsewhere, and goes with every answer, refusals included."""
    for path in ("/", "/page/js/main.js", "/page/no-such-file"):
        policy = (await client.get(path)).headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
        assert "unsafe" not in policy
        assert "*" not in policy
        assert "trusted-types 'none'" in policy


def test_the_page_holds_nothing_that_the_policy_forbids() -> None:
    """No script, style or handler stands in the markup, and no address leads elsewhere."""
    text = (HERE / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", text) == []
    addresses = re.findall(r'(?:href|src)="([^"#]+)"', text)
    assert len(addresses) > 5
    assert all((HERE / address.removeprefix("page/")).is_file() for address in addresses), addresses


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_no_script_makes_markup_of_text(script: Path) -> None:
    """Keys and values are what somebody stored: they become text, and nothing else."""
    assert re.findall(DANGEROUS, script.read_text("utf-8")) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", script.read_text("utf-8")) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_each_module_that_is_imported_is_there(script: Path) -> None:
    """An import names a file beside it, and every name in it is exported there."""
    for names, module in re.findall(r'import \{([^}]+)\} from "\./([\w.]+)"', script.read_text("utf-8")):
        source = (script.parent / module).read_text("utf-8")
        exported = set(re.findall(r"export (?:async )?(?:class|const|function|let) (\w+)", source))
        assert {one.strip() for one in names.split(",") if one.strip()} <= exported


@pytest.mark.parametrize("file", OURS, ids=name)
async def test_a_file_is_sent_once(client: httpx.AsyncClient, file: Path) -> None:
    """Whoever has a file already is told so in no bytes; a file that changed has another tag."""
    first = await client.get(f"/page/{name(file)}")
    assert first.status_code == 200
    assert hashlib.sha256(first.content).hexdigest()[:32] in first.headers["etag"]
    assert first.content == CONTENTS[file]
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    for said in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(f"/page/{name(file)}", headers={"If-None-Match": said})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert (await client.get(f"/page/{name(file)}", headers={"If-None-Match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "routes.py",
        "../routes.py",
        "%2e%2e/routes.py",
        "vendor/uplot/README.md",
        "js",
        "js/",
        "/etc/passwd",
        "js//main.js",
        "%00",
    ],
)
async def test_nothing_else_is_sent(client: httpx.AsyncClient, path: str) -> None:
    """What is no file of the page is not there: sources, folders, and what lies outside."""
    assert (await client.get(f"/page/{path}")).status_code == 404


async def test_heads_are_sent_without_bodies(client: httpx.AsyncClient) -> None:
    """HEAD tells what GET would send."""
    assert (await client.head("/")).headers["etag"] == (await client.get("/")).headers["etag"]
    assert (await client.head("/")).content == b""
