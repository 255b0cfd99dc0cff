"""How many reads does memory answer, under each policy, beside what others find on the same traces?

    make hit-ratio                                     writes the page of the documentation
    python -m benchmarks.hit_ratio --only glimpse      prints the table of one trace

Every entry weighs the same and every miss comes in. Where recorded traces are at hand (see ``traces``), LRU, FIFO and LFU
must find exactly what other implementations find. Without them made traces serve, and there is nobody to compare with.
"""

import multiprocessing
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Any, Final

from benchmarks.main import arguments, read, write
from benchmarks.place import describe
from benchmarks.progress import bar
from benchmarks.traces import Trace, traces
from toolcache.protocols import MemoryPolicy
from toolcache.settings import STRATEGIES
from toolcache.testing.policies import held_of

POLICIES: Final = tuple(name for name in STRATEGIES if name not in {"tiered", "ttl"})
"""Those that go by what is asked for and in which order. A trace has neither lifetimes nor sizes: "ttl" would be "fifo"."""

EXACT: Final = {"lru": "LRU", "fifo": "FIFO", "lfu": "LFU"}
"""Ours, and whose hits they must have."""

S3FIFO: Final = "S3FIFO_libcachesim"
"""The authors' own."""

OTHERS: Final = {
    "LRU": "LRU",
    "ARC": "ARC",
    "LIRS": "LIRS_libcachesim",
    "W-TinyLFU": "WTinyLFU_theine2_adaptive",
    "S3-FIFO": S3FIFO,
    "best": "best",
    "OPT": "OPT",
}
"""Those of the reference that a table shows. The best is whichever finds most without knowing what will be asked for, as
OPT does."""

_QUICK: Final = ("glimpse", "multi1", "web12", "scan", "loop")


@dataclass
class Row:
    """What was found on one trace with one size, by each of ours and of others; hits of so many accesses."""

    trace: str
    size: int
    accesses: int
    hits: dict[str, int]
    reference: dict[str, int]

    def ratio(self, policy: str) -> float:
        """Of ours, in percent."""
        return 100 * self.hits[policy] / self.accesses

    def theirs(self, policy: str) -> float | None:
        """Of another's, in percent; None where there is none."""
        hits = self.reference.get(policy)
        if policy == "best":
            hits = max((found for name, found in self.reference.items() if not name.startswith("OPT")), default=None)
        return None if hits is None else 100 * hits / self.accesses


def main() -> None:
    """Run the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--policies", metavar="NAMES", help=f"these of ours: {', '.join(POLICIES)}")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes; as many as cores unless given"
    )
    parser.add_argument("--page", metavar="FILE", type=Path, help="write a page, with its .json and .svg beside it")
    parser.add_argument("--of", metavar="FILE", type=Path, help="measure nothing: read the JSON of an earlier run")
    options = parser.parse_args()
    run = read(options.of) if options.of else measure(options)
    rows = [Row(**{name: told[name] for name in Row.__dataclass_fields__}) for told in run["rows"]]
    print("\n".join(table(rows)))
    print("\n".join(verdicts(rows)) or "made traces: there is nobody to compare with")
    if options.json:
        write(options.json, run)
    if options.page:
        from benchmarks.hit_curves import curves, page

        write(options.page.with_suffix(".json"), run)
        options.page.with_suffix(".svg").write_text(curves(rows), encoding="utf-8")
        options.page.write_text(page(run, rows, options.page.stem), encoding="utf-8")


def measure(options: Any) -> dict[str, Any]:
    """Try every policy with every size on every trace wanted."""
    wanted = chosen(traces(), options.only, quick=options.quick)
    policies = options.policies.split(",") if options.policies else list(POLICIES)
    if unknown := set(policies) - set(POLICIES):
        sys.exit(f"no policy {', '.join(unknown)} here: there are {', '.join(POLICIES)}")
    work = [(trace, policy, size) for trace in wanted for size in trace.sizes for policy in policies]
    rows: dict[tuple[str, int], Row] = {}
    with (
        bar(0, len(work)) as watched,
        ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as crew,
    ):
        under_way: dict[Future[tuple[int, int]], tuple[Trace, str, int]] = {
            crew.submit(try_out, *each): each for each in work
        }
        for number, done in enumerate(as_completed(under_way)):
            trace, policy, size = under_way[done]
            hits, accesses = done.result()
            row = rows.setdefault(
                (trace.name, size), Row(trace.name, size, accesses, {}, trace.reference.get(size, {}))
            )
            row.hits[policy] = hits
            watched(number)(f"{policy} with {size:,} on {trace.name}", 1.0)
    found = [rows[trace.name, size] for trace in wanted for size in trace.sizes]
    return {
        "machine": describe(("agent-toolcache",)),
        "quick": options.quick,
        "traces": [{"name": one.name, "pattern": one.pattern, "source": one.source} for one in wanted],
        "rows": [{"name": f"{row.trace}/{row.size}", **asdict(row)} for row in found],
    }


def chosen(there: Sequence[Trace], names: str | None, *, quick: bool) -> list[Trace]:
    """The traces named; all if none is, or the short ones."""
    by_name = {trace.name: trace for trace in there}
    wanted = names.split(",") if names else [name for name in by_name if not quick or name in _QUICK]
    if unknown := [name for name in wanted if name not in by_name]:
        sys.exit(f"no trace {', '.join(unknown)} here: there are {', '.join(by_name)}")
    return [by_name[name] for name in wanted]


def try_out(trace: Trace, policy: str, size: int) -> tuple[int, int]:
    """Hits of a policy on a trace, and accesses."""
    module, _, name = STRATEGIES[policy].partition(":")
    keys = trace.keys()
    return hits_on(keys, getattr(import_module(module), name)(), size), len(keys)


def hits_on(keys: Iterable[int], policy: MemoryPolicy, size: int) -> int:
    """Hits in a cache of ``size`` entries, called as the memory store calls a policy."""
    # One entry for each key, made once; ``era`` says whether it is held. Making them anew takes longer than all else.
    entries = {key: held_of(str(key)) for key in set(keys)}
    by_name = {entry.key: entry for entry in entries.values()}
    admit, evict, touch = policy.admit, policy.evict, policy.touch
    hits = held = 0
    for key in keys:
        entry = entries[key]
        if entry.era:
            hits += 1
            entry.hits += 1
            if touch is not None:
                touch(entry.key, entry)
            continue
        if held >= size:
            by_name[evict()].era = 0
        else:
            held += 1
        entry.era, entry.hits = 1, 0
        admit(entry.key, entry)
    return hits


def table(rows: Sequence[Row]) -> Iterator[str]:
    """What each finds, in percent; of ours those that must be exact are marked where they are not."""
    ours = [policy for policy in POLICIES if policy in rows[0].hits]
    others = [name for name, key in OTHERS.items() if any(row.theirs(key) is not None for row in rows)]
    head = ["", "entries", *ours, *(f"[{name}]" for name in others)]
    cells = [head]
    for row in rows:
        marks = {policy: "" if exact(row, policy) is not False else "≠" for policy in ours}
        theirs = [row.theirs(OTHERS[name]) for name in others]
        cells.append(
            [row.trace, f"{row.size:,}"]
            + [f"{row.ratio(policy):.2f}{marks[policy]}" for policy in ours]
            + ["" if ratio is None else f"{ratio:.2f}" for ratio in theirs]
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        yield "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        ).rstrip()


def exact(row: Row, policy: str) -> bool | None:
    """Whether ours has the very hits of the reference; None where it need not, or there is none."""
    theirs = row.reference.get(EXACT.get(policy, ""))
    return None if theirs is None else row.hits[policy] == theirs


def verdicts(rows: Sequence[Row]) -> Iterator[str]:
    """What was aimed at, and whether it was reached."""
    for policy in EXACT:
        told = [found for row in rows if policy in row.hits and (found := exact(row, policy)) is not None]
        if told:
            yield f"{policy}: equal to the reference, to the last hit, in {sum(told)} of {len(told)}"
    if gaps := beside(rows, "s3fifo", S3FIFO):
        far, row = max((abs(gap), f"{row.trace}/{row.size}") for gap, row in gaps)
        yield f"s3fifo: at most {far:.2f} points from the reference ({row}), {mean(gap for gap, _ in gaps):+.2f} on the mean of {len(gaps)}"
    if gaps := beside(rows, "adaptive", S3FIFO):
        yield f"adaptive: {mean(gap for gap, _ in gaps):+.2f} points beside S3-FIFO's reference, on the mean of {len(gaps)}"
    if gaps := beside(rows, "adaptive", "LRU"):
        least, row = min((gap, f"{row.trace}/{row.size}") for gap, row in gaps)
        yield f"adaptive: {mean(gap for gap, _ in gaps):+.2f} points beside LRU, on the mean of {len(gaps)}; at worst {least:+.2f} ({row})"


def beside(rows: Sequence[Row], policy: str, other: str) -> list[tuple[float, Row]]:
    """Points of ours above another's, where it has any."""
    return [
        (row.ratio(policy) - ratio, row)
        for row in rows
        if policy in row.hits and (ratio := row.theirs(other)) is not None
    ]


if __name__ == "__main__":
    main()
