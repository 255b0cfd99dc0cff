"""What is told of scale: measured by a run, carried on by a formula that a simulation bears out, typed by nobody."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale.cluster import LIMITS, LOADS, Calibration, Load, limit, line, outlook, project, simulate
from benchmarks.scale.measure import Sweep
from benchmarks.scale.page import filled, table

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/scale.md"

COST = Calibration(
    hit=1e-6, miss=100e-6, write=200e-6, told=20e-6, read_server=10e-6, write_server=40e-6, tell_server=10e-6,
    read_bytes=300.0, tell_bytes=75.0, connections=3.0, connection_bytes=60_000.0, key_bytes=300.0,
)  # fmt: skip
LOAD = Load("some", nodes=3, reads=100.0, writes=2.0, held=0.8)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_smoke_run_gives_figures(tmp_path: Path) -> None:
    """The command measures every sweep over a real server, and what follows for a cluster; the page takes it."""
    file = tmp_path / "run.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--quick", "--json", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    run = json.loads(file.read_text("utf-8"))
    sweeps = [Sweep(**told) for told in run["sweeps"]]
    assert [sweep.name for sweep in sweeps] == [
        "memory", "redis", "sizes", "listeners", "processes", "followers", "tags", "members",
    ]  # fmt: skip
    for sweep in sweeps:
        assert sweep.title in done.stdout
        assert all(figure > 0 for name in sweep.curves[:1] for figure in sweep.column(name))
    assert Calibration(**run["calibration"]).read_server > 0
    assert len(run["cluster"]["limits"]) == len(LOADS)
    assert "A quick run" in filled(PAGE.read_text("utf-8"), run, "scale.json", "scale.svg")


def test_an_unknown_sweep_is_refused() -> None:
    """A sweep that is not there is an error that lists those that are."""
    command = [sys.executable, "-m", "benchmarks.scale", "--only", "planets"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode != 0
    assert "listeners" in done.stderr


def test_the_page_is_what_its_run_says() -> None:
    """No figure of the published page was typed by hand: it is what the run beside it gives."""
    data, picture = PAGE.with_suffix(".json"), PAGE.with_suffix(".svg")
    text = PAGE.read_text("utf-8")
    assert text == filled(text, json.loads(data.read_text("utf-8")), data.name, picture.name)
    assert picture.read_text("utf-8").startswith("<?xml")


def test_the_published_limits_follow_from_the_published_costs() -> None:
    """What the page says of a cluster is calculated from what it says was measured."""
    run = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
    cost = Calibration.of([Sweep(**told) for told in run["sweeps"]])
    assert cost == Calibration(**run["calibration"])
    for told in run["cluster"]["limits"]:
        load = Load(**told["load"])
        assert told["limits"] == {name: limit(load, cost, broken) for name, broken in LIMITS.items()}


def test_a_page_without_its_markers_is_refused() -> None:
    """Nothing is overwritten that was not meant to be."""
    run = json.loads(PAGE.with_suffix(".json").read_text("utf-8"))
    with pytest.raises(ValueError, match="scale-measured: begin"):
        filled("# A page\n", run, "a.json", "a.svg")


@pytest.mark.parametrize("processes", [2, 20, 60])
def test_the_simulation_bears_the_formula_out(processes: int) -> None:
    """Call by call comes to what the formula says of hits, of how busy a node is, of messages and of bytes."""
    said, seen = outlook(LOAD, processes, COST), simulate(LOAD, processes, COST, seconds=6.0)
    assert seen["hits"] == pytest.approx(said.hits, abs=0.05)
    assert seen["node"] == pytest.approx(said.node, rel=0.35)
    assert seen["sent"] == pytest.approx(said.sent, rel=0.35)
    assert seen["messages"] == pytest.approx(said.messages, rel=0.25)


def test_messages_grow_with_the_square_of_the_fleet() -> None:
    """Each process is told of the writes of all: twice the processes, twice as much for each, four times for the nodes."""
    one, two = outlook(LOAD, 100, COST), outlook(LOAD, 200, COST)
    assert two.messages == pytest.approx(2 * one.messages)
    assert two.hits < one.hits
    told = replace(COST, read_server=0.0, write_server=0.0)
    assert outlook(LOAD, 200, told).node == pytest.approx(4 * outlook(LOAD, 100, told).node)


def test_what_helps_helps() -> None:
    """More nodes relieve nodes, not processes; namespaces relieve both; who is not told of anything has no messages."""
    before = outlook(LOAD, 400, COST)
    nodes = outlook(replace(LOAD, nodes=6), 400, COST)
    assert nodes.node == pytest.approx(before.node / 2)
    assert nodes.process == before.process
    apart = outlook(replace(LOAD, namespaces=8), 400, COST)
    assert apart.process == pytest.approx(before.process / 8)
    assert apart.node < before.node
    assert apart.hits > before.hits
    untold = outlook(replace(LOAD, told=False), 400, COST)
    assert untold.messages == untold.process == 0
    assert 0 < untold.hits < LOAD.held


def test_a_limit_is_the_last_number_that_holds() -> None:
    """One process more, and it is broken; what no number breaks has no limit."""
    for name, broken in LIMITS.items():
        most = limit(LOAD, COST, broken)
        assert most is not None, name
        assert not broken(outlook(LOAD, most, COST), LOAD)
        assert broken(outlook(LOAD, most + 1, COST), LOAD)
    assert limit(replace(LOAD, told=False), COST, LIMITS["messages take 20 % of a process"]) is None


def test_a_projection_names_every_load() -> None:
    """The limits of each load, and the simulation beside the formula."""
    told = project(COST, quick=True)
    assert [one["load"]["name"] for one in told["limits"]] == [load.name for load in LOADS]
    assert {one["load"] for one in told["checks"]} <= {load.name for load in LOADS}


def test_a_line_is_laid_through_points() -> None:
    """Least squares, and nothing below nought."""
    assert line([1, 2, 4], [5.0, 7.0, 11.0]) == pytest.approx((3.0, 2.0))
    assert line([1, 2], [4.0, 2.0]) == (3.0, 0.0)
    assert line([1], [4.0]) == (4.0, 0.0)


def test_a_sweep_is_a_table() -> None:
    """What is varied comes first, figures have the digits that mean something."""
    sweep = Sweep("keys", "Keys in a jar", "keys", ["get, µs"])
    sweep.add(1_000, 12.3456)
    assert "Keys in a jar" in table(sweep)
    assert "1,000     12.3" in table(sweep)
    assert sweep.column("get, µs") == [12.35]
