"""Curves of the sweeps, on logarithmic scales, a panel for each, as an SVG."""

from io import BytesIO
from math import ceil
from textwrap import fill
from typing import Any, Final

from benchmarks.scale.measure import Sweep
from benchmarks.subject import installed

_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
_ACROSS: Final = 2
_SIZE: Final = (4.6, 2.7)  # inches of a panel


def plot(run: dict[str, Any]) -> str | None:
    """The picture of a run; None where matplotlib is not installed."""
    if installed("matplotlib") is None:
        return None
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    sweeps = [Sweep(**told) for told in run["sweeps"]]
    down = ceil(len(sweeps) / _ACROSS)
    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "toolcache", "font.family": "sans-serif", "font.size": 8.0}
    ):
        figure = Figure(figsize=(_SIZE[0] * _ACROSS, _SIZE[1] * down), layout="tight", facecolor="white")
        for place, sweep in enumerate(sweeps):
            _panel(figure.add_subplot(down, _ACROSS, place + 1), sweep)
        drawn = BytesIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in drawn.getvalue().decode().splitlines()) + "\n"


def _panel(axes: Any, sweep: Sweep) -> None:
    across = [row[0] for row in sweep.rows]
    for name, colour in zip(sweep.curves, _COLOURS, strict=False):
        axes.plot(across, sweep.column(name), "o-", color=colour, label=name, markersize=3, linewidth=1.2)
    axes.set_title(fill(sweep.title, 60), fontsize=8)
    axes.set_xlabel(sweep.varied)
    if min(across) > 0 and max(across) / min(across) > 20:
        axes.set_xscale("log")
    else:
        axes.set_xticks(across)
    axes.set_ylim(bottom=0)
    if max(figure for name in sweep.curves for figure in sweep.column(name)) > 1_000:
        axes.set_ylim(bottom=1)
        axes.set_yscale("log")
    axes.grid(visible=True, color="#dddddd", linewidth=0.6)
    axes.legend(fontsize=7, frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
