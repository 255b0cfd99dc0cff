"""Numbers and charts of the command line."""

import pytest

from toolcache.cli import charts, figures


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (3e-9, "3.00 ns"),
        (1.234e-6, "1.23 µs"),
        (12.34e-6, "12.3 µs"),
        (0.34, "340 ms"),
        (1.5, "1.50 s"),
        (59.94, "59.9 s"),
        (60, "1 min"),
        (3_599, "59 min 59 s"),
        (7_500, "2 h 5 min"),
        (86_400 * 3, "3 d"),
        (86_400 * 3 + 3_600, "3 d 1 h"),
        (float("inf"), "for ever"),
    ],
)
def test_spans(seconds: float, shown: str) -> None:
    """A span has three digits, and from a minute on two units."""
    assert figures.span(seconds) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0.0%"), (0.0001, "0.1%"), (0.5, "50.0%"), (0.87349, "87.3%"), (0.9999, "99.9%"), (1, "100.0%")],
)
def test_shares(share: float, shown: str) -> None:
    """Not quite all is not all, and not quite nothing is not nothing."""
    assert figures.percent(share) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (34_500_000, "34.5 MB"), (1.2e15, "1,200 TB")],
)
def test_sizes(size: float, shown: str) -> None:
    """Units are of thousands."""
    assert figures.size(size) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [(0, "$0.00"), (0.00012, "$0.0001"), (0.5, "$0.5000"), (12.345, "$12.35"), (1234.5, "$1,234.50")],
)
def test_dollars(dollars: float, shown: str) -> None:
    """Little ones have digits enough to be told apart."""
    assert figures.usd(dollars) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "now"), (1.2, "1 s ago"), (12, "12 s ago"), (59.7, "1 min ago"), (7200, "2 h ago")]
)
def test_ages(seconds: float, shown: str) -> None:
    """Ages are whole seconds."""
    assert figures.ago(seconds) == shown


def test_thousands_are_separated() -> None:
    assert figures.count(1_234_567) == "1,234,567"


@pytest.mark.parametrize(
    ("values", "top", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], None, "▁▂▃▄▅▆▇█"),
        ([0.0, 0.5, 1.0, None], 1.0, "▁▅█·"),
        ([0.0, 0.0], None, "▁▁"),
        ([], None, ""),
        ([None], None, "·"),
        ([5.0], 1.0, "█"),
    ],
)
def test_sparklines(values: list[float | None], top: float | None, line: str) -> None:
    """The largest value is a full block, or ``top`` is, and where there is no value there is a dot."""
    assert charts.sparkline(values, top=top) == line


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "░░░░"), (0.01, "█░░░"), (0.5, "██░░"), (1, "████"), (7, "████"), (-1, "░░░░")]
)
def test_bars(share: float, shown: str) -> None:
    """Whatever is more than nothing shows, and more than all is all."""
    assert charts.bar(share, 4) == shown


@pytest.mark.parametrize(("number", "width"), [(0, 5), (3, 5), (5, 5), (7, 5), (60, 16), (60, 59), (61, 60)])
def test_groups_hold_every_point_once(number: int, width: int) -> None:
    """Points are grouped in their order, in groups of one size but for the first, and no more than there is room for."""
    groups = list(charts.groups(range(number), width))
    assert [one for group in groups for one in group] == list(range(number))
    assert len(groups) <= width
    sizes = {len(group) for group in groups[1:]}
    assert len(sizes) <= 1
    assert all(groups)
