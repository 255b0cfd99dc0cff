"""The views of a fleet: what they say, and that they say it within their width and letters."""

import io
import json
import re

import cli_views
import fleet_by_hand
import pytest

from toolcache.cli import documents, fleet
from toolcache.cli.call import Call, Choices
from toolcache.cli.screen import Screen, colours, shown
from toolcache.cli.stats import answer
from toolcache.cli.watch import Pulse, leaves, picture
from toolcache.metrics.counts import LayerCounts
from toolcache.metrics.snapshot import Metrics, Snapshot

VIEWS = dict(cli_views.views())


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_as_they_were(name: str) -> None:
    """Each view is what tests/views/ has; after a change that is meant, run tests/cli_views.py and look at the difference."""
    assert VIEWS[name] == (cli_views.FOLDER / f"{name}.txt").read_text("utf-8")


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_screen(columns: int) -> None:
    """Whatever the width, no line is broken by it, and none ends in blanks."""
    lines = cli_views.drawn(columns).splitlines()
    assert max(map(len, lines)) <= columns
    assert not [line for line in lines if line != line.rstrip()]


def test_other_letters() -> None:
    """Where the encoding lacks letters there are none but of ASCII, and no less is told."""
    text = cli_views.drawn(80, encoding="ascii")
    assert text.isascii()
    assert re.findall(r"\d[\d,.]+", text) == re.findall(r"\d[\d,.]+", cli_views.drawn(80).replace("–", "-"))


def test_a_pipe_has_no_escape_codes() -> None:
    """Nothing but text goes into a pipe."""
    assert "\x1b" not in cli_views.drawn(80)


def test_the_total_is_that_of_the_rows() -> None:
    """Hits and misses of the domains' rows add up to those above."""
    text = cli_views.drawn(120)
    metrics = fleet_by_hand.metrics()
    rows = [line.split() for line in text.splitlines() if line.split()[:1] and line.split()[0] in metrics.by("domain")]
    assert sum(int(row[1].replace(",", "")) for row in rows) == metrics.hits
    assert sum(int(row[2].replace(",", "")) for row in rows) == metrics.misses


def test_outages_are_put_together() -> None:
    """Neighbouring steps in which a layer was away are one outage, others are several."""
    (one,) = fleet.outages(fleet_by_hand.metrics())
    assert (one.layer, one.since, one.until, one.seconds) == (
        "redis",
        fleet_by_hand.BEGAN + 31 * 60,
        fleet_by_hand.BEGAN + 33 * 60,
        180.0,
    )
    away = {"redis": LayerCounts(down_seconds=1.0)}
    points = tuple(Snapshot(at, at + 60, layers=away if at in {0, 120} else {}) for at in (0, 60, 120))
    assert [(one.since, one.until) for one in fleet.outages(Metrics(0, 180, points=points))] == [(0, 60), (120, 180)]


def test_the_breakers_of_processes_that_have_ended() -> None:
    """What a process had written down before it ended says nothing of how a layer is now; those at work do."""
    metrics = fleet_by_hand.metrics()
    assert [one.pid for one in fleet.alive(metrics)] == [4000, 4001, 4002]
    later = metrics._replace(until=metrics.until + 14)
    assert [one.pid for one in fleet.alive(later)] == [4000, 4001]
    assert str(fleet.breaker(fleet.alive(later), "redis")) == "● open in 1 of 2"
    assert str(fleet.breaker(fleet.alive(metrics._replace(until=metrics.until + 15)), "redis")) == "● closed"
    paper = cli_views.Paper()
    Screen(paper, {}).show(fleet.title(later, "shop", "1h"))
    assert paper.getvalue().endswith("3 processes, 2 at work\n")


def test_many_rows_are_told_in_one() -> None:
    """Of more than a dozen domains the least busy are one row."""
    from toolcache.metrics.counts import Counts
    from toolcache.series import Series

    series = {Series(f"domain-{number:02}"): Counts(hits_memory=100 - number) for number in range(20)}
    paper = cli_views.Paper()
    Screen(paper, {}).show(fleet.rows_by(Metrics(0, 60, series=series), "domain", 80))
    lines = paper.getvalue().splitlines()
    assert len(lines) == 1 + fleet.MOST + 1
    assert lines[-1].split()[:3] == ["8", "others", str(sum(100 - number for number in range(12, 20)))]


def test_a_name_that_is_hostile() -> None:
    """A name that holds escape codes, or letters that turn text around, is shown by their numbers."""
    assert shown("a\x1b[2Jb\u202ec\n") == "a\\x1b[2Jb\\u202ec\\n"


@pytest.mark.parametrize(
    ("environ", "terminal", "plain", "wanted"),
    [
        ({"TERM": "xterm"}, True, False, "auto"),
        ({"TERM": "xterm"}, False, False, None),
        ({"TERM": "dumb"}, True, False, None),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False, None),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, False, "auto"),
        ({"FORCE_COLOR": "1"}, False, False, "standard"),
        ({"FORCE_COLOR": "0"}, False, False, None),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False, None),
        ({"FORCE_COLOR": "1"}, True, True, None),
    ],
)
def test_colours(environ: dict[str, str], terminal: bool, plain: bool, wanted: str | None) -> None:
    """``--no-color`` and NO_COLOR win, then FORCE_COLOR, then what the terminal is."""
    assert colours(environ, terminal=terminal, plain=plain) == wanted


def test_the_document() -> None:
    """The document has the sums, the labels, the layers, the points and the processes, and is plain JSON."""
    metrics = fleet_by_hand.metrics()
    read = json.loads(json.dumps(documents.plain(documents.metrics(metrics, "1h")), allow_nan=False))
    assert read["total"]["hits"] == metrics.hits
    assert read["domains"]["search"]["misses"] == metrics.by("domain")["search"].misses
    assert read["models"].keys() == {"small"}
    assert read["layers"]["redis"]["down_seconds"] == 180
    assert sum(point["hits"] for point in read["points"]) == metrics.hits
    assert [one["pid"] for one in read["processes"]] == [4000, 4001, 4002]
    assert read["total"]["latency"]["p50"] == metrics.total.times.p50


@pytest.mark.parametrize(("complete", "code"), [(True, 0), (False, 3)])
def test_what_is_missing_is_said(complete: bool, code: int) -> None:
    """Where a layer could not be asked, the exit code says so, and the document."""
    told = answer(Call(Choices()), fleet_by_hand.metrics(complete=complete), "shop", "1h", "domain")
    assert told.code == code


def test_the_pulse() -> None:
    """Calls a second are what came since the last look; a fleet whose old minutes fell out of the period has none less."""
    pulse = Pulse()
    pulse.look(fleet_by_hand.metrics(10), 100.0)
    assert (list(pulse.calls), pulse.hit_rate) == ([], None)
    pulse.look(fleet_by_hand.metrics(11), 102.0)
    point = fleet_by_hand.point(10)
    assert pulse.calls[-1] == (point.hits + point.misses) / 2
    assert pulse.hit_rate == point.hits / (point.hits + point.misses)
    pulse.look(fleet_by_hand.metrics(9), 103.0)
    assert pulse.calls[-1] == 0
    assert pulse.hit_rate is None


@pytest.mark.parametrize("height", [8, 24, 60])
def test_how_to_leave_is_always_told(height: int) -> None:
    """Where the screen is too low for all, the last line still says how to leave, and how much is left out."""
    paper = io.StringIO()
    screen = Screen(paper, {"COLUMNS": "80"})
    frame = picture(fleet_by_hand.metrics(22), Pulse(), screen, "shop", "15m", "domain")
    whole = screen.console.render_lines(frame, pad=False)
    lines = screen.console.render_lines(frame, screen.console.options.update(height=height), pad=False)
    told = "\n".join("".join(segment.text for segment in line).rstrip() for line in lines).rstrip("\n").split("\n")
    assert len(told) == min(height, len(whole))
    assert "q leaves" in told[-1]
    left_out = len(whole) - len(told)
    assert (f"{left_out} more lines" in told[-1]) == (left_out > 0)


@pytest.mark.parametrize(
    ("typed", "left"), [(b"q", True), (b"Q", True), (b"\x1b", True), (b"", True), (b"x", False), (b"\x1b[A", False)]
)
def test_which_keys_leave(typed: bytes, left: bool) -> None:
    """An arrow, or a wheel, which begin with what Escape sends, do not leave."""
    assert leaves(typed) is left
