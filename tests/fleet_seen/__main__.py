"""Plays the proof of the fleet, and shows it: ``PYTHONPATH=.:tests python -m fleet_seen --away 10``."""

import argparse
import sys
import time

from fleet_seen.proof import Proof, counted, counts_of, dollars_of, loss, prove
from rich.console import Console
from rich.table import Table


def table(proof: Proof) -> Table:
    """A row for each domain and outcome: what each process has noted, and what is read of all."""
    noted = {pid: counts_of(notes) for pid, notes in {**proof.living, proof.victim: proof.killed}.items()}
    read = counted(proof.shared.minutes)
    heads = [
        "",
        *(f"{pid} (killed)" if pid == proof.victim else str(pid) for pid in noted),
        "sum",
        "read",
        "by Redis alone",
    ]
    shown = Table(title="calls, as noted by each process and as read of the fleet")
    for head in heads:
        shown.add_column(head, no_wrap=True, justify="right" if head else "left")
    elsewhere = counted(proof.elsewhere.minutes)
    for domain, became in sorted({(domain, became) for domain, _, became in read}):

        def total(counts: "dict[tuple[str, str, str], int]") -> int:
            return sum(number for key, number in counts.items() if (key[0], key[2]) == (domain, became))  # noqa: B023 - used at once

        each = [total(counts) for counts in noted.values()]
        shown.add_row(f"{domain} {became}", *(f"{one:,}" for one in (*each, sum(each), total(read), total(elsewhere))))
    return shown


def main() -> int:
    """1 if anything but what the killed one did last is missing."""
    parser = argparse.ArgumentParser(prog="python -m fleet_seen", description=__doc__)
    parser.add_argument("--away", type=float, default=10.0, help="seconds that Redis is away")
    parser.add_argument("--late", action="store_true", help="kill the one while Redis is away, not before")
    options = parser.parse_args()
    begun, console = time.monotonic(), Console(width=None if sys.stdout.isatty() else 110)
    proof = prove(
        options.away, late=options.late, say=lambda what: console.print(f"{time.monotonic() - begun:6.1f} s  {what}")
    )
    console.print(table(proof))
    missing, redis = loss(proof), proof.shared.minutes.layers["redis"]
    console.print(
        f"the killed one had written until {missing.seconds:.2f} s before its end; {missing.missing:,} calls of it are missing\n"
        f"Redis was away for {proof.away:.1f} s: {redis.down_seconds:.1f} s over all, {redis.faults} faults, "
        f"{redis.refused:,} operations spared, breakers opened {redis.opened} times\n",
        soft_wrap=True,
    )
    if proof.shown is not None:
        words = f"the page, in a browser: {proof.shown.calls}, {proof.shown.saved} saved, Redis away for {proof.shown.rows['layers', 'Redis'][8]}\n"
        console.print(words, highlight=False, soft_wrap=True)
    console.print(str(proof.shared.savings), highlight=False, soft_wrap=True)
    saved, spent = dollars_of(counted(proof.shared.minutes))
    console.print(f"\nby the workers' own prices: ${saved:,.4f} saved, ${spent:,.4f} spent")
    exact = all(counted(proof.shared.owners[pid]) == counts_of(notes) for pid, notes in proof.living.items())
    holds = exact and missing.seconds <= missing.allowed and not missing.odd
    console.print("holds" if holds else "BROKEN")
    return not holds


if __name__ == "__main__":
    sys.exit(main())
