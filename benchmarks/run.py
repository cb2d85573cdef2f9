"""Measure the works that vhdxreader has goals for, beside the raw file and the other readers that are installed.

    python benchmarks/run.py [WORK ...] [--rounds N] [--folder FOLDER] [--json FILE]

Prints a table of ratios and goals, and writes JSON where asked. The images (about 6 GB) are made in FOLDER, a
temporary one if it is not given, and the disk behind it is what `convert` writes to.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import peers
from images import Images
from measure import Result, measure
from works import WORKS


def main() -> int:
    """Run the benchmarks; 0 if every goal that could be measured is met."""
    options = _options()
    folder = options.folder or Path.cwd()
    results = []
    with tempfile.TemporaryDirectory(dir=folder, prefix="vhdxreader-benchmark-") as inner:
        images = Images(Path(inner))
        for name in options.works or WORKS:
            for work in WORKS[name](images):
                result = measure(work, options.rounds)
                results.append(result)
                print(_line(result), flush=True)
    print()
    facts = {"machine": _machine(), "versions": peers.versions()}
    for key, value in {**facts["machine"], **facts["versions"]}.items():
        print(f"{key}: {value}")
    if options.json:
        rows = [_plain(result) for result in results]
        options.json.write_text(json.dumps({**facts, "rounds": options.rounds, "works": rows}, indent=2) + "\n")
    return any(result.met is False for result in results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"some of {', '.join(WORKS)}; by default all")
    parser.add_argument("--rounds", type=int, default=9, help="how often each contestant runs (9)")
    parser.add_argument("--folder", type=Path, help="where to make the images (a new folder in the current one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    unknown = set(options.works) - set(WORKS)
    if unknown:
        parser.error(f"unknown work: {', '.join(sorted(unknown))}")
    return options


def _line(result: Result) -> str:
    work = result.work
    mark = {True: "met", False: "MISSED", None: ""}[result.met]
    ratio = "not measured: a peer is missing" if result.ratio is None else f"{result.ratio:.2f}"
    goal = "" if work.goal is None else f"{'≥' if work.at_least else '≤'} {work.goal:g}"
    shown = ", ".join(f"{name} {work.show(value)}" for name, value in result.medians.items())
    return f"{work.name:<38} {work.what:<34} {ratio:>8} {goal:>7} {mark:<7} {shown}"


def _plain(result: Result) -> dict[str, Any]:
    work = result.work
    return {
        "work": work.name,
        "ratio_of": work.what,
        "ratio": result.ratio,
        "goal": work.goal,
        "at_least": work.at_least,
        "met": result.met,
        "medians": result.medians,
    }


def _machine() -> dict[str, str]:
    return {"system": platform.platform(), "cpu": _cpu(), "cpus": str(os.cpu_count())}


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n")
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
