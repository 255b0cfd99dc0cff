"""All questions, each script in a process of its own: ``make bench``."""

import subprocess
import sys
import tempfile
import time
from importlib import import_module
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from benchmarks import SCRIPTS
from benchmarks.main import arguments, read, write
from benchmarks.page import page
from benchmarks.plots import pictures

_LONGEST: Final = 1200.0


def main() -> None:
    """Run all scripts, or those of ``--only``; gather what they measured."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--page", metavar="FILE", type=Path, help="write a page of the whole run, its .json and pictures beside it"
    )
    parser.add_argument("--of", metavar="FILE", type=Path, help="measure nothing: read the JSON of an earlier run")
    options = parser.parse_args()
    run = read(options.of) if options.of else measure(options.only, quick=options.quick)
    if options.json:
        write(options.json, run)
    if options.page and not options.only:  # a page tells one whole run
        options.page.parent.mkdir(parents=True, exist_ok=True)
        data = options.page.with_suffix(".json")
        write(data, run)
        options.page.write_text(page(run, data.name, pictures(run, options.page)), encoding="utf-8")


def measure(only: str | None, *, quick: bool) -> dict[str, Any]:
    """A run: the machine, and the results of each script."""
    wanted = SCRIPTS if only is None else tuple(only.split(","))
    if unknown := [name for name in wanted if name not in SCRIPTS]:
        sys.exit(f"no script {', '.join(unknown)}: there are {', '.join(SCRIPTS)}")
    run: dict[str, Any] = {"quick": quick, "scripts": {}}
    with tempfile.TemporaryDirectory(prefix="toolcache-bench-") as folder:
        file = Path(folder) / "run.json"
        sizes = [len(import_module(f"benchmarks.{name}").TASKS) for name in wanted]
        for done, name in zip(accumulate(sizes, initial=0), wanted, strict=False):
            command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(file), *(["--quick"] if quick else [])]
            command += ["--part", str(done), str(sum(sizes))]
            begun = time.monotonic()
            with subprocess.Popen(command) as script:
                try:
                    code = script.wait(timeout=_LONGEST)
                except BaseException:
                    script.terminate()  # it ends its server itself
                    raise
            if code and (quick or not file.exists()):
                sys.exit(code)  # a long run goes on to the end, and its page says what fails
            told = read(file)
            file.unlink()
            run.setdefault("machine", told["machine"])
            took = round(time.monotonic() - begun)
            print(f"\n{name} took {took} s", flush=True)
            run["scripts"][name] = {"question": told["question"], "seconds": took, "results": told["results"]}
    return run


if __name__ == "__main__":
    main()
