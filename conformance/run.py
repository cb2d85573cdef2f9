"""Hold a reader of VHDX against the suite, by a command line that writes the raw disk.

    python run.py FOLDER 'qemu-img convert -f vhdx -O raw {image} {raw}'
    python run.py FOLDER --stdout '7zz e -so -tVHDX {image}'

{image} and {raw} are the paths of the image and of what is to be written, {parents} those of its parents, nearest
first. Exit code 0 says that the disk was read; any other that it was refused. Standard library only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

VERDICTS = {
    "right": "as the specification has it",
    "may refuse": "no data of a disk that a reader may refuse",
    "right, but error": "the disk's bytes, and an exit code that says otherwise",
    "refuses valid": "no data of a disk that should be read",
    "accepts broken": "data of a disk that must be refused",
    "WRONG DATA": "other bytes than the disk's, and no error",
    "crash": "ended by a signal",
    "timeout": "not done in time",
}
RIGHT = ("right", "may refuse")


def run(arguments: list[str], raw: Path, to_stdout: bool, seconds: float) -> str | int:
    """Exit code of a run, or what became of it."""
    try:
        with (raw if to_stdout else Path(f"{raw}.log")).open("wb") as out:
            done = subprocess.run(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, timeout=seconds
            )
    except subprocess.TimeoutExpired:
        return "timeout"
    return "crash" if done.returncode < 0 else done.returncode


def digest(raw: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was written."""
    if not raw.exists():
        return 0, ""
    with raw.open("rb") as file:
        return raw.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def verdict(expected: dict[str, object], code: str | int, raw: Path) -> str:
    """What the outcome is worth."""
    if isinstance(code, str):
        return code
    if expected["outcome"] == "refused":
        return "right" if code else "accepts broken"
    size, sha256 = digest(raw)
    same = size == expected["size"] and sha256 in (expected["sha256"], expected.get("or_sha256"))
    if not code:
        return "right" if same else "WRONG DATA"
    if expected["outcome"] == "either":
        return "may refuse"
    return "right, but error" if same else "refuses valid"


def judge(case: dict, folder: Path, options: argparse.Namespace) -> str:
    """Run the reader on one case, in a temporary folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as temporary:
        raw = Path(temporary, "disk.raw")
        parents = [str(folder / name) for name in case["parents"]]
        arguments: list[str] = []
        for word in shlex.split(options.command):
            if word == "{parents}":
                arguments += parents
            else:
                arguments.append(word.replace("{image}", str(folder / case["image"])).replace("{raw}", str(raw)))
        return verdict(case["expected"], run(arguments, raw, options.stdout, options.timeout), raw)


def main() -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where manifest.json is")
    parser.add_argument("command", help="the reader's command line")
    parser.add_argument("--stdout", action="store_true", help="the disk is what the command prints")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="for each image (default: 60)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict")
    options = parser.parse_args()
    folder = options.folder.resolve()
    cases = [
        case for case in json.loads((folder / "manifest.json").read_text())["cases"] if options.only in case["name"]
    ]
    verdicts: dict[str, str] = {}
    for case in cases:
        verdicts[case["name"]] = found = judge(case, folder, options)
        if found not in RIGHT:
            print(f"{found:16} {case['name']:32} {case['section']:9} {case['tests']}", flush=True)
    count = Counter(verdicts.values())
    for name, meaning in VERDICTS.items():
        print(f"{count[name]:4} {name:16} {meaning}")
    if options.json:
        options.json.write_text(json.dumps(verdicts, indent=1) + "\n")
    return 0 if cases and sum(count[name] for name in RIGHT) == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
