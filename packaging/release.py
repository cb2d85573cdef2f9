"""`make release`: an sdist and a wheel of what is committed, built twice to the same bytes, checked, and told of.

    python packaging/release.py OUT

In: HEAD. Out, in the folder OUT: the sdist, the wheel, a bill of materials in CycloneDX (what a new environment has
once the wheel is installed, with licences), and SHA256SUMS, in the place of an older release. Nothing is uploaded. Ends
with 1, and leaves OUT as it is, where two builds differ, twine finds fault, or OUT has other files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, **options: object) -> str:
    """What a command prints; it must succeed."""
    kept = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([*map(str, command)], check=False, **kept, **options)
    if done.returncode:
        raise SystemExit(f"{command[:4]} failed: {done.stdout}")
    return done.stdout.strip()


def committed(commit: str, folder: Path) -> Path:
    """What is in a commit, and nothing else that lies about, in a folder."""
    folder.mkdir()
    archive = subprocess.run(["git", "-C", ROOT, "archive", commit], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
    return folder


def build(tree: Path, day: str, out: Path) -> list[Path]:
    """The sdist of a tree, and the wheel made of that sdist, as of a day in seconds since 1970."""
    variables = {**os.environ, "SOURCE_DATE_EPOCH": day}
    run(sys.executable, "-m", "build", "--outdir", out, tree, env=variables, umask=0o022)
    return sorted(out.iterdir())


def digests(files: list[Path]) -> dict[str, str]:
    """The SHA-256 of each file by name."""
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def bill_of_materials(wheel: Path, folder: Path, out: Path) -> None:
    """What the wheel brings along, asked of an environment with nothing else in it."""
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel)
    options = ["--output-reproducible", "--pyproject", ROOT / "pyproject.toml", "--output-file", out]
    run(sys.executable, "-m", "cyclonedx_py", "environment", *options, python)


def is_free(out: Path) -> bool:
    """Whether a folder has nothing in it, or an older release and nothing else."""
    sums = out / "SHA256SUMS"
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.exists() else []
    names = [line.partition("  ")[2] for line in lines]
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    return there <= {name for name in names if name.startswith("vhdxreader-")} | {sums.name}


def make(commit: str, day: str, folder: Path) -> Path:
    """The release of a commit, in a new folder of this one."""
    first = build(committed(commit, folder / "tree"), day, folder / "release")
    second = build(committed(commit, folder / "again"), day, folder / "second")
    if digests(first) != digests(second):
        raise SystemExit(f"two builds differ: {digests(first)} {digests(second)}")
    run(sys.executable, "-m", "twine", "check", "--strict", *first)
    out = folder / "release"
    (wheel,) = out.glob("*.whl")
    bill_of_materials(wheel, folder / "environment", out / f"{wheel.name.rsplit('-', 3)[0]}.cdx.json")
    return out


def main() -> int:
    """Make a release in a folder."""
    out = Path(sys.argv[1])
    if not is_free(out):
        print(f"{out} has files that are no release")
        return 1
    commit, day = run("git", "-C", ROOT, "log", "-1", "--format=%H %ct").split()
    with tempfile.TemporaryDirectory() as name:
        made = make(commit, day, Path(name))
        text = "".join(f"{digest}  {name}\n" for name, digest in digests(sorted(made.iterdir())).items())
        (made / "SHA256SUMS").write_text(text, encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(made, out)
    print(f"{commit} built twice, with the same bytes:\n{text}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
