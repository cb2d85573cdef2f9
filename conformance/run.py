"""Hold a reader of VHDX against the suite, by a command line that writes the raw disk.

    python run.py FOLDER 'qemu-img convert -f vhdx -O raw {image} {raw}'
    python run.py FOLDER --stdout '7zz e -so -tVHDX {image}'

{image} and {raw} are the paths of the image and of what is to be written, {parents}, a word of its own, those of its
parents, nearest first. Exit code 0 says that the disk was read; any other that it was refused. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import signal
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
    "CHANGED IMAGE": "wrote to the image: make the suite again",
}
RIGHT = ("right", "may refuse")


def run(arguments: list[str], raw: Path, to_stdout: bool, seconds: float) -> str | int:
    """Exit code of a run, or what became of it."""
    with (raw if to_stdout else Path(f"{raw}.log")).open("wb") as out:
        reader = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True
        )
    try:
        code = reader.wait(seconds)
    except subprocess.TimeoutExpired:
        return "timeout"
    finally:
        end(reader)
    return "crash" if code < 0 else code


def end(reader: subprocess.Popen[bytes]) -> None:
    """End a program, and what it started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(reader.pid, signal.SIGKILL)
    reader.kill()
    reader.wait()


def digest(raw: Path) -> tuple[int, str]:
    """Size and SHA-256 of what was written."""
    if not raw.is_file():
        return 0, ""
    with raw.open("rb") as file:
        return raw.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def state(files: list[Path]) -> list[tuple[int, int]]:
    """What changes when files are written to."""
    return [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]


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
    files = [folder / name for name in (case["image"], *case["parents"])]
    before = state(files)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        raw = Path(temporary, "disk.raw")
        arguments: list[str] = []
        for word in options.command:
            if word == "{parents}":
                arguments += map(str, files[1:])
            else:
                arguments.append(word.replace("{image}", str(files[0])).replace("{raw}", str(raw)))
        found = verdict(case["expected"], run(arguments, raw, options.stdout, options.timeout), raw)
    return found if state(files) == before else "CHANGED IMAGE"


def words(command: str) -> list[str]:
    """The words of a command line in which all is that it needs."""
    found = shlex.split(command)
    if "{image}" not in command:
        raise ValueError("{image} is not in it")
    if any("{parents}" in word and word != "{parents}" for word in found):
        raise ValueError("{parents} is not a word of its own")
    return found


def arguments() -> tuple[argparse.Namespace, list[dict]]:
    """The options, and the cases that they want."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where manifest.json is")
    parser.add_argument("command", help="the reader's command line")
    parser.add_argument("--stdout", action="store_true", help="the disk is what the command prints")
    parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS", help="for each image (default: 60)")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict")
    options = parser.parse_args()
    if "{raw}" not in options.command and not options.stdout:
        parser.error("the command line has no {raw}, and without --stdout nobody reads what it prints")
    try:
        options.command = words(options.command)
        manifest = json.loads((options.folder / "manifest.json").read_text())
    except (OSError, ValueError) as error:
        parser.error(f"{error}")
    cases = [case for case in manifest["cases"] if options.only in case["name"]]
    return options, cases or parser.error(f"no case has {options.only!r} in its name")


def main() -> int:
    """The command line; gives the exit code."""
    options, cases = arguments()
    folder = options.folder.resolve()
    verdicts: dict[str, str] = {}
    for case in cases:
        try:
            verdicts[case["name"]] = found = judge(case, folder, options)
        except OSError as error:
            sys.exit(f"cannot be run: {error}")
        if found not in RIGHT:
            print(f"{found:16} {case['name']:32} {case['section']:9} {case['tests']}", flush=True)
    count = Counter(verdicts.values())
    for name, meaning in VERDICTS.items():
        print(f"{count[name]:4} {name:16} {meaning}")
    if options.json:
        options.json.write_text(json.dumps(verdicts, indent=1) + "\n")
    return 0 if sum(count[name] for name in RIGHT) == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
