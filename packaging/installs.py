"""`make installs`: the release as users install it: by every Python found, the wheel and the sdist, each in a new
environment, and what each extra adds.

    python packaging/installs.py dist/release

The smoke test is examples/demo.py: every byte of an image that the tests' independent builder makes, read by what was
installed and not by the tree. Ends with 1 where one fails.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_FOR_USERS = {"bench", "dev", "docs", "fuzz", "release"}
WHERE = "import vhdxreader; print(vhdxreader.__version__, vhdxreader.__file__)"


def found() -> dict[str, str]:
    """Every supported Python, as tests/platforms/pythons.py finds them."""
    spec = importlib.util.spec_from_file_location("pythons", ROOT / "tests" / "platforms" / "pythons.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pythons"] = module
    spec.loader.exec_module(module)
    return module.found([])


def ask(*command: str | Path) -> str:
    """What a command prints, away from the tree; `RuntimeError` with all of it where it fails."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, cwd="/", env=variables)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def environment(path: str, folder: Path, *packages: str) -> Path:
    """The python of a new environment with packages."""
    ask(path, "-m", "venv", folder)
    python = folder / "bin" / "python"
    ask(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return python


def smoke(python: Path) -> str:
    """The version that is installed, after it read an image."""
    version, place = ask(python, "-c", WHERE).split(" ", 1)
    assert Path(place).is_relative_to(python.parents[1]), place
    assert version == PROJECT["version"]
    ask(python, ROOT / "examples" / "demo.py")
    assert "Usage" in ask(python.parent / "vhdxreader", "--help")
    return version


def contents(python: Path) -> dict[str, float]:
    """Each package of an environment with its megabytes, without what came with the environment."""
    packages = json.loads(ask(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    names = [package["name"] for package in packages if package["name"] not in {"pip", "setuptools", "vhdxreader"}]
    code = (
        "import importlib.metadata as m, sys, os\n"
        "for name in sys.argv[1:]:\n"
        "    files = [f.locate() for f in m.files(name) or () if f.suffix != '.pyc']\n"
        "    print(sum(os.path.getsize(f) for f in files if os.path.exists(f)))"
    )
    sizes = map(int, ask(python, "-c", code, *names).split())
    return {name: size / 1e6 for name, size in zip(names, sizes, strict=True)}


def main() -> int:
    """Install it everywhere, and tell."""
    (wheel,), (sdist,) = (sorted(Path(sys.argv[1]).resolve().glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        for number, (version, path) in enumerate(found().items()):
            for kind, file in (("wheel", wheel), ("sdist", sdist)):
                try:
                    said = smoke(environment(path, Path(name, f"{number}-{kind}"), str(file)))
                    print(f"Python {version:9} {kind}: {said} reads", flush=True)
                except RuntimeError as error:
                    failed = 1
                    print(f"Python {version:9} {kind}: {error}", flush=True)
        base = contents(environment(sys.executable, Path(name, "base"), str(wheel)))
        print(f"{'none':8} {len(base):3} packages {sum(base.values()):7.1f} MB: {', '.join(base)}", flush=True)
        for extra in sorted({*PROJECT["optional-dependencies"]} - NOT_FOR_USERS):
            more = contents(environment(sys.executable, Path(name, extra), f"{wheel}[{extra}]"))
            more = {package: size for package, size in more.items() if package not in base}
            print(f"{extra:8} {len(more):3} packages {sum(more.values()):7.1f} MB: {', '.join(more)}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
