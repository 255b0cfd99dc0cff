"""What callers notice of an outage of Redis, beside other caches: ``make outage-report``."""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.main import arguments, read, write
from benchmarks.outages.faults import FAULTS
from benchmarks.outages.page import filled
from benchmarks.outages.play import Times, play
from benchmarks.outages.plot import plot
from benchmarks.outages.report import Row, table
from benchmarks.outages.subjects import SUBJECTS
from benchmarks.place import describe

_DISTRIBUTIONS: Final = ("agent-toolcache", "aiocache", "cachekit", "cashews", "hiredis", "py-key-value-aio", "redis")
_BAR: Final = 40


def main() -> None:
    """Play each fault; print, and write what is wanted."""
    parser = arguments(__doc__)
    parser.add_argument("--faults", metavar="NAMES", help="these faults, with commas in between")
    parser.add_argument("--seconds", type=float, help="how long each outage is; 60 unless given")
    parser.add_argument("--seed", help="decides what is called when; 1 unless given")
    parser.add_argument("--page", metavar="FILE", type=Path, help="renew a page, and its .json and .svg beside it")
    parser.add_argument("--of", metavar="FILE", type=Path, help="play nothing: read the JSON of an earlier run")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))  # ended politely, the servers end too
    run = read(options.of) if options.of else perform(options)
    if options.json:
        write(options.json, run)
    if options.page:
        _publish(options.page, run)


def perform(options: Any) -> dict[str, Any]:
    """A run: the machine, and the rows of each fault."""
    faults = [FAULTS[name] for name in _chosen("fault", options.faults, list(FAULTS))]
    names = _chosen("cache", options.only, list(SUBJECTS))
    subjects = {name: SUBJECTS[name]() for name in names}
    absent = {name: lacking for name, subject in subjects.items() if (lacking := subject.missing())}
    there = [name for name in names if name not in absent]
    times = Times.quick() if options.quick else Times()
    if options.seconds is not None:
        times = replace(times, outage=options.seconds)
    run: dict[str, Any] = {
        "command": " ".join(["make outage-report", *_given(options)]),
        "machine": describe(_DISTRIBUTIONS),
        "quick": options.quick,
        "times": asdict(times),
        "titles": {fault.name: fault.title for fault in faults},
        "about": {name: subjects[name].about for name in there},
        "absent": [f"{name}: {', '.join(lacking)} is not installed" for name, lacking in absent.items()],
        "rows": [],
        "failures": {},
    }
    for number, fault in enumerate(faults, 1):
        with _progress(f"{number}/{len(faults)} {fault.name}", times.total):
            rows, failures = play(fault, there, times, options.seed or "1")
        print(table(fault.title, rows, failures), flush=True)
        run["failures"][fault.name] = failures
        run["rows"] += [{"name": row.name, **asdict(row)} for row in rows]
    return run


def _given(options: Any) -> list[str]:
    """What has to be given to ``make`` for the same run."""
    words = {word: getattr(options, word) for word in ("only", "faults", "seconds", "seed")}
    given = ["--quick"] * options.quick + [f"--{word} {value}" for word, value in words.items() if value is not None]
    return [f'ARGS="{" ".join(given)}"'] if given else []


def _chosen(what: str, names: str | None, there: list[str]) -> list[str]:
    wanted = there if names is None else [name.strip() for name in names.split(",")]
    if unknown := [name for name in wanted if name not in there]:
        sys.exit(f"no {what} {', '.join(unknown)}: there are {', '.join(there)}")
    return wanted


def _publish(file: Path, run: dict[str, Any]) -> None:
    data, picture = file.with_suffix(".json"), file.with_suffix(".svg")
    write(data, run)
    begin = run["times"]["before"]
    rows = [Row(**row) for row in run["rows"]]
    picture.write_text(plot(run["titles"], rows, (begin, begin + run["times"]["outage"])), "utf-8")
    file.write_text(filled(file.read_text("utf-8"), run, data.name, picture.name), "utf-8")


@contextmanager
def _progress(title: str, seconds: float) -> Iterator[None]:
    """A bar on the terminal while something takes its time; a line elsewhere."""
    if not sys.stderr.isatty():
        sys.stderr.write(f"{title}, {seconds:g} s\n")
        yield
        return
    done, begun = threading.Event(), time.monotonic()

    def draw() -> None:
        while not done.wait(0.2):
            share = min(1.0, (time.monotonic() - begun) / seconds)
            sys.stderr.write(f"\r{title:<16} {'█' * int(share * _BAR):░<{_BAR}} {share:4.0%}")
            sys.stderr.flush()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        sys.stderr.write(f"\r{' ' * (_BAR + 22)}\r")


if __name__ == "__main__":
    main()
