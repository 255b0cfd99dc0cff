"""How cost grows with keys, value size, processes, hosts and tags: measured here, and carried on to a cluster."""

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.main import arguments, read, write
from benchmarks.place import Place, describe
from benchmarks.scale.cluster import Calibration, project
from benchmarks.scale.measure import FULL, QUICK, Bench, Sweep
from benchmarks.scale.page import filled, limits_table, table
from benchmarks.scale.plot import plot

_DISTRIBUTIONS = ("agent-toolcache", "hiredis", "msgpack", "redis")


def main() -> None:
    """Run the sweeps, or those of ``--only``; print, and write what is wanted."""
    parser = arguments(__doc__)
    parser.add_argument("--page", metavar="FILE", type=Path, help="renew a page, and its .json and .svg beside it")
    parser.add_argument(
        "--of", metavar="FILE", type=Path, help="measure nothing: calculate from the JSON of an earlier run"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    run = read(options.of) if options.of else perform(options.only, quick=options.quick)
    if options.only is None:
        calculate(run)
    if options.json:
        write(options.json, run)
    if options.page:
        publish(options.page, run)


def perform(only: str | None, *, quick: bool) -> dict[str, Any]:
    """A run: the machine, and the sweeps."""
    run: dict[str, Any] = {"machine": describe(_DISTRIBUTIONS), "quick": quick, "sweeps": []}
    with Place(server=True, quick=quick) as place:
        bench = Bench(place, QUICK if quick else FULL)
        sweeps = {sweep.__name__: sweep for sweep in bench.all()}
        wanted = list(sweeps) if only is None else only.split(",")
        if unknown := [name for name in wanted if name not in sweeps]:
            sys.exit(f"no sweep {', '.join(unknown)}: there are {', '.join(sweeps)}")
        for name in wanted:
            sweep = sweeps[name]()
            print(table(sweep), flush=True)
            run["sweeps"].append(asdict(sweep))
        bench.close()
    return run


def calculate(run: dict[str, Any]) -> None:
    """Add what a cluster would come to, where all that takes was measured."""
    cost = Calibration.of([Sweep(**sweep) for sweep in run["sweeps"]])
    run["calibration"] = asdict(cost)
    run["cluster"] = project(cost, quick=run["quick"])
    print("\n".join(["", *limits_table(run["cluster"]["limits"])]))


def publish(page: Path, run: dict[str, Any]) -> None:
    """Renew what a page says of a run, its data and its picture."""
    data, picture = page.with_suffix(".json"), page.with_suffix(".svg")
    write(data, run)
    if drawn := plot(run):
        picture.write_text(drawn, encoding="utf-8")
    page.write_text(filled(page.read_text("utf-8"), run, data.name, picture.name), encoding="utf-8")


if __name__ == "__main__":
    main()
