"""The suite on every CPython of this machine that is supported, each in an environment of its own, against the wheel.

Found are `python3.N` and `python3.Nt` on PATH, what pyenv has in its folder, and what is named as an argument. Only
wheels are installed: without one, a test dependency is left out, and the tests that need it with it. `--fast` leaves
out what is slow or asks another program; `--smoke` does, and has only the rooms where Pythons differ. `--others` leaves
out the Python that runs this. Prints a table, and ends with 1 if a test failed anywhere.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["pytest>=8,<10", "hypothesis>=6.100,<7"]
WANTED = {"fsspec": "fsspec[http]", "pytsk3": "pytsk3", "mfusepy": "mfusepy", "blake3": "blake3", "xxhash": "xxhash"}
WANTED |= {"jsonschema": "jsonschema", "jinja2": "jinja2"}
ROOMS = [f"tests/{room}" for room in ("files", "format", "disk", "tools", "cli", "integrations")]
TREE_ONLY = ["--deselect", "tests/format/test_rules.py::test_documentation_is_current"]  # of the tree, not the wheel
SMOKE = [
    "tests/files",
    "tests/format",
    *(f"tests/disk/test_{name}.py" for name in ("lifetime", "stream", "thread_stress")),
]
FAST = ["-m", "not slow and not witness and not corpus"]
ASK = """
import json, platform, sys, sysconfig
free = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
print(json.dumps([platform.python_implementation(), list(sys.version_info[:2]),
    platform.python_version() + "t" * free, sys.prefix]))
"""


@dataclass
class Result:
    python: str
    passed: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0
    note: str = ""


def found(named: list[str]) -> dict[str, str]:
    """The path of an interpreter for each version."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    paths = [path for folder in folders for path in sorted(glob.glob(f"{folder}/python3.[0-9]*"))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    paths += sorted(map(str, pyenv.glob("versions/*/bin/python3")))
    pythons: dict[str, str] = {}
    for path in [*named, *paths]:
        if not re.search(r"python3?(\.\d+t?)?$", path) or "/shims/" in path:
            continue
        asked = subprocess.run([path, "-c", ASK], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            kind, version, name, _ = json.loads(asked.stdout)
            if kind == "CPython" and tuple(version) >= (3, 11):
                pythons.setdefault(name, path)
    return dict(sorted(pythons.items(), key=lambda item: [int(n) for n in re.findall(r"\d+", item[0])]))


def install(python: Path, *packages: str) -> bool:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    return subprocess.run([*command, *packages], stderr=subprocess.DEVNULL, check=False).returncode == 0


def suite(name: str, path: str, wheel: Path, folder: Path, rooms: list[str], options: list[str]) -> Result:
    result = Result(name)
    environment = folder / name
    subprocess.run([path, "-m", "venv", "--clear", environment], check=True)
    python = environment / "bin" / "python"
    if not install(python, str(wheel), *NEEDED):
        result.note = "a needed package has no wheel"
        result.failed = 1
        return result
    lacking = [module for module, package in WANTED.items() if not install(python, package)]
    result.note = "without " + ", ".join(lacking) if lacking else ""
    started = time.monotonic()
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *rooms, *TREE_ONLY, *options]
    variables = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # the wheel, not the tree
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    result.seconds = time.monotonic() - started
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|skipped|failed|errors?)\b", done.stdout[-300:])}
    result.passed, result.skipped = counts.get("passed", 0), counts.get("skipped", 0)
    result.failed = counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0)
    if done.returncode:
        result.failed = result.failed or 1
        print(done.stdout[-6000:], done.stderr[-2000:])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="*", help="further interpreters")
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--environments", type=Path, default=ROOT / ".platforms")
    parser.add_argument("--only", action="store_true", help="only the interpreters that are named")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--others", action="store_true")
    options, rest = parser.parse_known_args()
    rest += FAST if options.fast or options.smoke else []
    pythons = found(options.pythons)
    if options.only:
        pythons = {name: path for name, path in pythons.items() if path in options.pythons}
    if options.others:
        pythons = {name: path for name, path in pythons.items() if name != platform.python_version()}
    print("found:", ", ".join(f"{name} ({path})" for name, path in pythons.items()), flush=True)
    results = []
    for name, path in pythons.items():
        results.append(
            suite(name, path, options.wheel.resolve(), options.environments, SMOKE if options.smoke else ROOMS, rest)
        )
        print(f"{name}: {results[-1].passed} passed, {results[-1].failed} failed", flush=True)
    print(f"\n{'Python':<10} {'passed':>7} {'skipped':>8} {'failed':>7} {'seconds':>8}")
    for one in results:
        print(f"{one.python:<10} {one.passed:>7} {one.skipped:>8} {one.failed:>7} {one.seconds:>8.0f}  {one.note}")
    return int(not (results or options.others) or any(one.failed for one in results))


if __name__ == "__main__":
    sys.exit(main())
