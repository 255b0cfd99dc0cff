"""The page in a real browser: that it tells what the API tells, to everybody, and runs nothing but itself."""

import json
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest
from agents_at_work import Agents
from chromium import Window, browser, cells, figure, settled, window
from playwright.sync_api import Browser, Page, expect
from served import Served
from servers import RedisServer

from toolcache import ToolCache

pytestmark = pytest.mark.slow

HOSTILE: Final = (
    "<img src=x onerror=window.pwned=1>",
    '"><script>window.pwned=1</script>',
    "'; window.pwned=1; //",
    "javascript:window.pwned=1",
    "{{constructor.constructor('window.pwned=1')()}}",
    "a/../../b?c#d%2e%2e",
    "ends\u202ehere\u0000 \u2028 and a very long " + "word" * 60,
)


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as made:
        yield made


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server whose cache was worked through by agents, and is left alone now."""
    at = tmp_path_factory.mktemp("busy")
    with Served(partial(ToolCache, namespace="shop", directory=at)) as served:
        agents = Agents(served.cache)
        served.call(agents.work(300))
        yield served


@pytest.fixture(scope="module")
def _desk(chrome: Browser, busy: Served) -> Iterator[Window]:
    with window(chrome, busy.url) as made:
        yield made


@pytest.fixture
def desk(_desk: Window, busy: Served) -> Window:
    """The busy server on a desktop, loaded anew."""
    _desk.complaints.clear()
    _desk.page.goto(busy.url)
    for section in ("entries", "processes"):
        expect(_desk.page.locator(f"#{section} tbody tr").first).to_be_visible()
    return _desk


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Makes servers of caches that nobody has used yet."""
    made: list[Served] = []

    def make(**options: Any) -> Served:
        served = Served(partial(ToolCache, namespace="fresh", directory=tmp_path / str(len(made))), **options)
        made.append(served.__enter__())
        return served

    yield make
    for served in made:
        served.close()


def test_what_it_shows_is_what_the_api_says(desk: Window, busy: Served) -> None:
    """Hit rate, calls, latencies, savings, layers and domains are the API's, and nothing is wrong on the way."""
    said = busy.api("cache/stats", params={"period": "1h"})
    page = desk.page
    settled(page, said["hits"])
    assert figure(page, "Hit rate") == f"{int(said['hit_rate'] * 1000) / 10:.1f} %"
    assert page.locator("#namespace").inner_text() == said["namespace"] == "shop"
    saved = busy.api("cache/savings", params={"period": "1h"})
    assert figure(page, "Saved") == f"${saved['cost_saved']:.2f}"
    assert f"{saved['computations_avoided']:,} times" in page.locator(".figure", has_text="Saved").inner_text()
    for name, domain in said["domains"].items():
        calls = domain["hits"] + domain["misses"]
        told = cells(page, "names", name)
        assert told[:2] == [name, f"{calls:,}"]
        assert told[2] == f"{int(domain['hit_rate'] * 1000 + 1e-9) / 10:.1f} %"
    for layer, shown in {"memory": "Memory", "file": "Files"}.items():
        told = cells(page, "layers", shown)
        assert told[3:5] == [f"{said['layers'][layer]['hits']:,}", f"{said['layers'][layer]['misses']:,}"]
    assert cells(page, "processes", str(said["processes"][0]["pid"]))[3] == f"{said['fleet']['entries']:,}"
    assert desk.complain() == []


def test_the_numbers_of_the_plots_are_a_table_too(desk: Window, busy: Served) -> None:
    """Whoever does not see the plots reads the same numbers, and what each plot comes to in a sentence."""
    points = [point for point in busy.api("cache/metrics")["points"] if point["hits"]]
    page = desk.page
    settled(page, sum(point["hits"] for point in points))
    page.locator("#numbers summary").click()
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator("#numbers tbody tr").all()]
    assert len(rows) == 60
    assert [row[1:3] for row in rows if row[1] != "0"] == [
        [f"{point['hits']:,}", f"{point['misses']:,}"] for point in reversed(points)
    ]
    for plot, word in zip(page.locator(".canvas").all(), ("misses", "lowest", "99 of 100", "computing"), strict=True):
        assert word in (plot.get_attribute("aria-label") or "")
    for title in ("Calls", "Hit rate", "Latency", "Saved"):
        expect(page.get_by_role("img", name=re.compile(f"^{title}: ")).locator("canvas")).to_have_count(1)


def test_it_goes_on_by_itself(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """A page of a cache that nobody has used says what to do; a second or two after the first calls it shows them."""
    served = fresh()
    with window(chrome, served.url) as seen:
        page = seen.page
        expect(page.locator("#nothing")).to_contain_text("Nothing counted yet")
        expect(page.locator("#names .empty:visible")).to_contain_text("Nothing counted yet")
        expect(page.locator("#entries .empty:visible")).to_contain_text("No key matches")
        served.call(Agents(served.cache).work(20))
        expect(page.locator("#nothing")).to_be_hidden()
        stats = served.cache.stats()
        settled(page, stats.hits)
        assert seen.complain() == []


def test_an_outage_shows_within_two_seconds(chrome: Browser, own_redis: RedisServer, tmp_path: Path) -> None:
    """Redis is killed: two seconds later the page says so, in words, and in the history of the layer; then that it is over."""
    make = partial(ToolCache, redis_url=own_redis.url, directory=tmp_path, namespace="shop", recovery_time=0.2)
    with Served(make) as served, window(chrome, served.url) as seen:
        page = seen.page
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        took: list[float] = []
        while not took or (
            min(took) >= 2.0 and len(took) < 3
        ):  # a machine that has other things to do is no fault of ours
            if took:
                own_redis.start()
                expect(page.locator("#outage")).to_be_hidden()
            own_redis.stop()
            began = time.monotonic()
            expect(page.locator("#outage")).to_contain_text("Redis does not answer")
            took.append(time.monotonic() - began)
        assert min(took) < 2.0, took
        assert page.locator("#status-text").inner_text() == "Redis away"
        assert "no answer" in cells(page, "layers", "Redis")[1]
        expect(page.locator("#layers svg.strip rect.down, #layers svg.strip rect.fault").first).to_be_attached()
        assert "!" in page.title()
        page.get_by_role("button", name="Search").click()
        expect(page.locator("#entries .row.end .note")).to_contain_text("Not all")
        own_redis.start()
        expect(page.locator("#outage")).to_be_hidden()
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        assert seen.complain() == []


def test_a_lost_connection_is_said(chrome: Browser, tmp_path: Path) -> None:
    """When the server is gone, the page says how old its numbers are, keeps them, and goes on when it is back."""
    make = partial(ToolCache, namespace="shop", directory=tmp_path)
    served = Served(make).__enter__()
    with window(chrome, served.url) as seen:
        page = seen.page
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        served.close()
        expect(page.locator("#lost")).to_contain_text(re.compile(r"does not answer.*Last heard \d+ s ago"))
        assert page.locator("#namespace").inner_text() == "shop"
        with Served(make, port=served.port):
            expect(page.locator("#lost")).to_be_hidden()
            expect(page.locator("#status-text")).to_have_text("all layers answer")


def test_a_server_that_falls_silent_is_said(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """A connection over which nothing comes any more is given up after five seconds, and the page says so in its own words."""
    with window(chrome, fresh().url) as seen:
        page = seen.page
        page.clock.install()
        page.reload()
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        page.route("**/api/v1/events*", lambda _: None)  # nor does it answer anew
        for said in ("The server is silent.", "The server does not answer."):
            page.clock.fast_forward(6_000)
            expect(page.locator("#lost")).to_contain_text(re.compile(rf"^{said} Last heard \d+ s ago"))


def test_what_is_stored_stays_text(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """Keys, tags, values and names that are markup or program are shown letter by letter, and run nowhere."""
    served = fresh()

    async def store() -> None:
        for number, text in enumerate(HOSTILE):
            await served.cache.set(text, {"value": text}, tags=[f"tag {number} <b onclick=window.pwned=1>"])
            await served.cache.get_metadata(text[:60], compute=lambda: "x")

    served.call(store())
    with window(chrome, served.url, viewport={"width": 360, "height": 780}) as seen:
        page = seen.page
        expect(page.locator("#entries tbody tr")).to_have_count(2 * len(HOSTILE))
        shown = page.locator("#entries tbody th button").evaluate_all("all => all.map(one => one.textContent)")
        assert set(HOSTILE[:-1]) <= set(shown)
        page.get_by_role("tab", name="Tools").click()
        for text in HOSTILE[:-1]:
            page.locator("#entries tbody button").nth(shown.index(text)).click()
            dialog = page.locator("dialog")
            expect(dialog.locator("pre")).to_contain_text(json.dumps(text)[1:-1])
            assert "<b onclick=window.pwned=1>" in dialog.locator(".facts").inner_text()
            assert dialog.locator("h2").text_content() == text
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
        assert page.evaluate(
            "[window.pwned ?? null, document.querySelectorAll('img, b[onclick], main script').length]"
        ) == [None, 0]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert seen.complain() == []


def test_entries_are_searched_looked_into_and_forgotten(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """A pattern finds, pages turn, an entry shows its value; delete and forget ask first, and do it in the cache."""
    served = fresh()

    async def store() -> None:
        for number in range(45):
            await served.cache.set(f"page:{number:02}", {"number": number}, ttl="1h", tags=["products:phones"])
        await served.cache.set("other", [1, 2])

    served.call(store())
    with window(chrome, served.url) as seen:
        page = seen.page
        rows = page.locator("#entries tbody tr")
        note = page.locator("#entries .row.end .note")
        page.get_by_label("Keys like").fill("page:*")
        page.get_by_role("button", name="Search").click()
        expect(note).to_have_text("1 to 20")
        first = rows.first.locator("button").inner_text()
        page.get_by_role("button", name="Next").click()
        expect(note).to_have_text("21 to 40")
        page.get_by_role("button", name="Next").click()
        expect(note).to_have_text("41 to 45")
        expect(page.get_by_role("button", name="Next")).to_be_disabled()
        for _ in range(2):
            page.get_by_role("button", name="Previous").click()
        expect(rows.first.locator("button")).to_have_text(first)

        page.get_by_label("Keys like").fill("page:07")
        page.keyboard.press("Enter")
        expect(rows).to_have_count(1)
        page.get_by_role("button", name="page:07").click()
        expect(page.locator("dialog pre")).to_have_text('{\n  "number": 7\n}')
        expect(page.locator("dialog .facts")).to_contain_text("products:phones")
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Keep it").click()
        assert served.call(served.cache.exists("page:07"))
        page.get_by_role("button", name="Delete").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
        expect(note).to_have_text("Deleted.")
        assert not served.call(served.cache.exists("page:07"))

        page.get_by_role("combobox", name="Forget entries").select_option("tag")
        page.get_by_label("Which").fill("products")
        page.get_by_role("button", name="Forget …").click()
        page.keyboard.press("Escape")
        assert served.call(served.cache.exists("page:08"))
        page.get_by_role("button", name="Forget …").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Forget").click()
        expect(page.locator(".forget .note")).to_contain_text("Forgotten.")
        assert not served.call(served.cache.exists("page:08"))
        assert served.call(served.cache.exists("other"))
        assert seen.complain() == []


def test_a_token_is_typed_once_and_kept_out_of_addresses(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """Without a token nothing is told; a wrong one is refused; a right one is kept for the tab, and sent in a header.

    One that may only read is offered nothing that changes.
    """
    secret = "a-secret-of-the-reader-3f"
    served = fresh(tokens={secret: "read"})
    served.call(served.cache.set("key", "value"))
    asked: list[str] = []
    with window(chrome, served.url) as seen:
        page = seen.page
        page.on("request", lambda request: asked.append(request.url))
        field = page.get_by_role("textbox", name="Token")
        expect(field).to_be_focused()
        assert page.locator("#namespace").inner_text() == ""
        field.fill("a-wrong-one-of-some-length")
        page.keyboard.press("Enter")
        expect(page.get_by_text("That token was refused.")).to_be_visible()
        page.get_by_role("textbox", name="Token").fill(secret)
        page.keyboard.press("Enter")
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        expect(page.get_by_role("button", name="key", exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Forget …")).to_be_disabled()
        page.get_by_role("button", name="key", exact=True).click()
        expect(page.locator("dialog").get_by_role("button", name="Delete")).to_be_disabled()
        page.keyboard.press("Escape")
        page.reload()
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        assert not any(secret in url for url in [*asked, page.url])
        assert page.evaluate("[JSON.stringify(localStorage), document.cookie]") == ["{}", ""]
        page.get_by_role("button", name="Forget token").click()
        expect(page.get_by_role("textbox", name="Token")).to_be_focused()
        assert page.evaluate("sessionStorage.length") == 0


def test_values_that_the_server_does_not_show(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """Where values are not to be seen, the page says why, and shows all else."""
    served = fresh(values=False)
    served.call(served.cache.set("key", "a secret"))
    with window(chrome, served.url) as seen:
        page = seen.page
        page.get_by_role("button", name="key", exact=True).click()
        expect(page.locator("dialog .note")).to_contain_text("Values are not shown")
        expect(page.locator("dialog pre")).to_be_hidden()
        assert "a secret" not in page.content()


def test_it_works_below_any_prefix(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """Mounted in another application, all addresses follow; without the slash at the end, too."""
    served = fresh(prefix="/ops/cache")
    served.call(served.cache.set("below a prefix/7", 1))
    for url in (served.url, served.url.rstrip("/")):
        with window(chrome, url) as seen:
            page = seen.page
            expect(page.locator("#status-text")).to_have_text("all layers answer")
            page.get_by_role("button", name="below a prefix/7").click()
            expect(page.locator("dialog pre")).to_have_text("1")
            assert seen.complain() == []


def test_periods(desk: Window, busy: Served) -> None:
    """A day and a month are looked at as well, and their totals are the API's."""
    page = desk.page
    for label, period, points in (("24 hours", "24h", 24), ("30 days", "30d", 30), ("1 hour", "1h", 60)):
        page.get_by_label(label).check()
        settled(page, busy.api("cache/stats", params={"period": period})["hits"])
        expect(page.locator("#layers svg.strip").first.locator("rect")).to_have_count(points)
    assert desk.complain() == []


def complaints_about(nodes: list[dict[str, Any]], roles: set[str]) -> list[str]:
    def said(node: dict[str, Any], what: str) -> str:
        return str(node.get(what, {}).get("value", "")).strip()

    return [
        f"{said(node, 'role')} {node['nodeId']}"
        for node in nodes
        if said(node, "role") in roles and not said(node, "name")
    ]


NAMED: Final = {
    *("button", "link", "textbox", "searchbox", "combobox", "radio", "tab", "tabpanel", "tablist", "table", "region"),
    *("dialog", "alertdialog", "image", "img", "navigation", "heading", "columnheader", "rowheader", "group", "figure"),
}


def test_everything_has_a_name(desk: Window) -> None:
    """Of what the page is for assistive technology, nothing that one can use, or that tells something, is without a name."""
    page = desk.page
    page.locator("#numbers summary").click()
    roles = {str(node["role"]["value"]) for node in desk.nodes()}
    assert {"button", "searchbox", "combobox", "radio", "tab", "table", "image", "navigation", "main"} <= roles
    assert complaints_about(desk.nodes(), NAMED) == []
    page.locator("#entries tbody button").first.click()
    expect(page.locator("dialog pre")).to_be_visible()
    assert complaints_about(desk.nodes(), NAMED) == []
    page.get_by_role("button", name="Delete").click()
    assert complaints_about(desk.nodes(), NAMED) == []
    assert "alertdialog" in {str(node["role"]["value"]) for node in desk.nodes()}


def focused(page: Page) -> dict[str, Any]:
    script = """() => {
        const at = document.activeElement, style = getComputedStyle(at.matches("#period input") ? at.nextSibling : at);
        const where = at.getBoundingClientRect();
        return {tag: at.tagName, id: at.id, text: at.textContent.trim().slice(0, 40), role: at.getAttribute("role"),
                visible: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
                y: where.top + scrollY, in: where.bottom > 0 && where.top < innerHeight};
    }"""
    found: dict[str, Any] = page.evaluate(script)
    return found


def test_the_keyboard_suffices(desk: Window) -> None:
    """From the skip link on, Tab reaches everything from top to bottom, and one always sees where it is."""
    page = desk.page
    page.keyboard.press("Tab")
    assert focused(page)["text"] == "Skip to the numbers"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    walked = []
    for _ in range(80):
        page.keyboard.press("Tab")
        walked.append(focused(page))
        if walked[-1]["tag"] == "BODY":
            break
    walked = walked[:-1]
    assert all(step["visible"] and step["in"] for step in walked), [step for step in walked if not step["visible"]]
    below = [step["y"] for step in walked]
    assert all(later >= sooner - 60 for sooner, later in pairwise(below))
    reached = {step["text"] for step in walked}
    assert {"Domains", "Search", "Next", "Forget …", "Work it out", "Read again"} <= reached


def test_keys_of_its_own(desk: Window) -> None:
    """A slash goes to the search, arrows between tabs, Enter opens an entry, Esc closes it and gives the focus back."""
    page = desk.page
    rows = page.locator("#entries tbody button")
    expect(rows.first).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Keys like")).to_be_focused()
    page.keyboard.type("embedding:*")
    page.keyboard.press("Enter")
    expect(rows.first).to_have_text(re.compile("^embedding:"))
    rows.first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Keys like")).not_to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    expect(rows.first).to_be_focused()
    page.get_by_role("tab", name="Domains").focus()
    for key, name in (("ArrowRight", "Agents"), ("End", "Models"), ("ArrowRight", "Domains"), ("ArrowLeft", "Models")):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=name)).to_be_focused()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tabpanel", name="Models").get_by_text("embed-3")).to_be_visible()


CONTRAST: Final = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgb = (colour) => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = (at) => { for (; at; at = at.parentElement) { const c = rgb(getComputedStyle(at).backgroundColor); if (c[3] === 255) return c; } };
    const poor = [];
    for (const at of document.querySelectorAll("body *")) {
        const says = [...at.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!says || !at.checkVisibility() || at.closest(":disabled, option, .hidden, .skip")) continue;
        const [one, two] = [light(rgb(getComputedStyle(at).color)), light(behind(at))];
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (contrast < 4.5) poor.push(`${at.tagName}.${at.className} ${at.textContent.slice(0, 30)} ${contrast.toFixed(2)}`);
    }
    return [poor, light(behind(document.body)) < 0.1];
}"""


def test_both_themes_can_be_read(chrome: Browser, busy: Served) -> None:
    """The page follows the system; all text stands out by 4.5 to 1; a theme that was chosen stays chosen."""
    with window(chrome, busy.url, color_scheme="light") as seen:
        page = seen.page
        expect(page.locator("#entries tbody tr").first).to_be_visible()
        assert page.evaluate(CONTRAST) == [[], False]
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(CONTRAST) == [[], True]
        page.get_by_role("button", name="Theme: system").click()
        page.get_by_role("button", name="Theme: light").click()
        expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
        page.emulate_media(color_scheme="light")
        assert page.evaluate(CONTRAST) == [[], True]
        page.reload()
        expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert seen.complain() == []


def test_it_fits_a_phone(chrome: Browser, busy: Served) -> None:
    """At 360 pixels nothing scrolls sideways, no text is cut off, and what is to be touched is large enough."""
    with window(chrome, busy.url, viewport={"width": 360, "height": 780}, has_touch=True) as seen:
        page = seen.page
        for section in ("entries", "processes", "names"):
            expect(page.locator(f"#{section} tbody tr").first).to_be_visible()
        page.locator("#numbers summary").click()
        wide = "[...document.querySelectorAll('main *')].filter(one => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.scroll, .u-wrap, .hidden')).map(one => one.outerHTML.slice(0, 80))"
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [360, 360]
        assert page.evaluate(wide) == []
        sideways = "[...document.querySelectorAll('.scroll')].filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.textContent.slice(0, 60))"
        assert page.evaluate(sideways) == []
        for tab in ("Agents", "Tools", "Models"):
            page.get_by_role("tab", name=tab).click()
            assert page.evaluate(sideways) == []
        small = "[...document.querySelectorAll('button, input:not([type=radio]), select, summary')].filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 24).map(one => one.textContent)"
        assert page.evaluate(small) == []
        page.locator("#entries tbody button").first.click()
        assert page.evaluate("document.querySelector('dialog').getBoundingClientRect().right <= innerWidth")


def test_nothing_moves_for_those_who_asked_for_that(desk: Window) -> None:
    """With reduced motion the page jumps instead of gliding."""
    for motion, behaviour in (("no-preference", "smooth"), ("reduce", "auto")):
        desk.page.emulate_media(reduced_motion=motion)  # type: ignore[arg-type]  # its words
        assert desk.page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour


def test_a_browser_without_storage(chrome: Browser, busy: Served) -> None:
    """Where storage is forbidden, the page works as long as it is open."""
    with window(chrome, "about:blank") as seen:
        page = seen.page
        page.add_init_script(
            "for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get() { throw new DOMException('no', 'SecurityError'); } });"
        )
        page.goto(busy.url)
        expect(page.locator("#status-text")).to_have_text("all layers answer")
        page.get_by_role("button", name="Theme: system").click()
        expect(page.get_by_role("button", name="Theme: light")).to_be_visible()
        assert seen.complain() == []


def test_the_tests_would_notice(chrome: Browser, busy: Served) -> None:
    """What these tests look for, they find: text that is made markup is refused and reported, and so is an inline script."""
    with window(chrome, busy.url) as seen:
        page = seen.page
        tried = page.evaluate(
            "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'done'; } catch (error) { return error.name; } })()"
        )
        assert tried == "TypeError"
        page.evaluate(
            "const style = document.createElement('style'); style.textContent = 'p {}'; document.body.append(style)"
        )
        page.evaluate(
            "document.body.append(document.createElement('img')); document.querySelector('img').src = 'https://example.org/x'"
        )
        page.wait_for_function("window.reports.length >= 3")
        assert {"require-trusted-types-for", "style-src-elem", "img-src"} <= {
            one.split()[0] for one in seen.complain() if " " in one
        }


def test_alerts_show_as_they_stand(chrome: Browser, fresh: Callable[..., Served]) -> None:
    """What fires stands first, with its condition and its value; what was told of it is kept below."""
    served = fresh()

    async def judged() -> None:
        served.cache.alerts.create("many misses", metric="misses", condition="> 10", window="5m")
        served.cache.alerts.create("all well", metric="misses", condition="> 1000", window="5m")
        await Agents(served.cache).work(60)
        await served.cache.alerts.evaluate()

    with window(chrome, served.url) as seen:
        page = seen.page
        expect(page.locator("#alerts .empty").first).to_contain_text("No alert is declared")
        served.call(judged())
        expect(page.locator("#alerts tbody tr").first).to_contain_text("firing")
        name, state, condition, value, _ = page.locator("#alerts tbody tr").first.locator("th, td").all_inner_texts()
        assert (name, state) == ("many misses", "firing")
        assert condition == "misses > 10, over 300 s"
        assert int(value) > 10
        page.locator("#alerts summary").click()
        expect(page.locator("#alerts details tbody tr")).to_contain_text("many misses")
        assert seen.complain() == []


def test_top_entries_and_advice(desk: Window, busy: Served) -> None:
    """Each tab is what ``top()`` says, and opens the entry; advice comes when it is asked for, with all that ``diagnose()`` finds."""
    page = desk.page
    for tab, by in (("Largest", "bytes"), ("Dearest", "dollars"), ("Most hits", "hits")):
        page.get_by_role("tab", name=tab).click()
        expected = [row.key for row in busy.call(busy.cache.top(10, by=by))]  # type: ignore[arg-type]  # its words
        expect(page.locator("#hot tbody th")).to_have_text(expected)
    hits = busy.call(busy.cache.top(1, by="hits"))[0].hits
    assert cells(page, "hot", str(page.locator("#hot tbody th").first.inner_text()))[1] == f"{hits:,}"
    page.locator("#hot tbody button").first.click()
    expect(page.locator("dialog pre")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Work it out").click()
    expect(page.locator("#advice .note")).to_contain_text("sampled")
    titles = page.locator("#advice h3").all_inner_texts()
    assert {"Size of memory", "Entries of low value"} <= set(titles)
    diagnosis = busy.call(busy.cache.diagnose())
    for finding in diagnosis.findings:
        assert finding.change in page.locator("#advice").inner_text()
    assert desk.complain() == []
