"""Write the images and manifest.json into a new folder: make conformance OUT=folder.

Images come from the tests' builder, expected disks from its model of what was asked for, and what must be refused
from [MS-VHDX], whose section every case names. Nothing of vhdxreader is imported.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from conformance import broken, logs, valid  # noqa: E402
from conformance.case import Case  # noqa: E402


def all_cases() -> list[Case]:
    """Every case, each under a name of its own."""
    cases = [*valid.cases(), *broken.cases(), *logs.cases()]
    names = [case.name for case in cases]
    if len(names) != len(set(names)):
        raise ValueError(f"names that stand twice: {sorted({name for name in names if names.count(name) > 1})}")
    return cases


def write(case: Case, out: Path) -> dict[str, object]:
    """Save a case's files, sparse; gives its entry in the manifest."""
    image = case.make()
    name = f"{case.name}.vhdx"
    image.save(out / name)
    for parent, make in case.parents.items():
        make().save(out / parent)
    return {
        "name": case.name,
        "image": name,
        "parents": list(case.parents),
        "tests": case.tests,
        "section": case.section,
        "expected": case.expected(image),
    }


def main() -> None:
    """The command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: build.py OUT")
    out = Path(sys.argv[1])
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty")
    out.mkdir(parents=True, exist_ok=True)
    entries = [write(case, out) for case in all_cases()]
    manifest = {"version": 1, "specification": "MS-VHDX", "cases": entries}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.copy(HERE / "run.py", out)  # the suite is complete without this repository
    print(f"{len(entries)} cases in {out}")


if __name__ == "__main__":
    main()
