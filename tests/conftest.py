"""What the tests share: real images, other readers as witnesses, and what their absence means.

A test marked `corpus` or `witness` is skipped where it cannot run. With `CI` in the environment, or with
`--no-witness-skips`, such a skip is a failure: there, everything must have been asked.
"""

from __future__ import annotations

import bz2
import gzip
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
UNPACK = {".gz": gzip.open, ".bz2": bz2.open}
MB = 1 << 20

OF_PACKAGES = {
    "fsspec": ["disk/test_azure.py", "disk/test_remote.py", "integrations/test_fsspec.py"],
    "jinja2": ["tools/test_report.py"],
    "jsonschema": ["cli/test_schemas.py"],
    "mfusepy": ["integrations/test_fuse.py"],
    "pytsk3": ["integrations/test_tsk.py"],
}
"""What can only be collected where a package is that not every system has; `make setup` installs all of them."""
collect_ignore = [file for package, files in OF_PACKAGES.items() if find_spec(package) is None for file in files]


def pytest_addoption(parser):
    parser.addoption(
        "--no-witness-skips",
        action="store_true",
        default=bool(os.environ.get("CI")),
        help="fail where a witness or the corpus is missing (the default if CI is set)",
    )


def pytest_configure():
    """A shell's job in the background ignores Ctrl-C, one of nohup a hang-up, and so would what the tests start."""
    for name, usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    is_needed = item.get_closest_marker("witness") or item.get_closest_marker("corpus")
    was_skipped = report.skipped and not hasattr(report, "wasxfail")
    if is_needed and was_skipped and item.config.getoption("--no-witness-skips"):
        report.outcome = "failed"
        report.longrepr = f"must not be skipped here: {report.longrepr[2]}"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """A folder with the real images, decompressed, with holes where they hold zeros."""
    if not CORPUS.is_dir():
        pytest.skip("the corpus ../shared/corpus is missing")
    folder = tmp_path_factory.mktemp("corpus")
    for packed in CORPUS.iterdir():
        if packed.suffix in UNPACK:
            with UNPACK[packed.suffix](packed) as source, (folder / packed.stem).open("wb") as out:
                while piece := source.read(MB):
                    out.seek(len(piece), os.SEEK_CUR) if not any(piece) else out.write(piece)
                out.truncate()
    return folder


@pytest.fixture(scope="session")
def witness() -> Callable[[str], str]:
    """`witness("qemu-img")` is the path of another reader's program; the test is skipped where there is none."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"the witness {name} is not installed")
        return path

    return find


@pytest.fixture(scope="session")
def qemu(witness) -> Qemu:
    return Qemu(witness("qemu-img"), witness("qemu-io"))


class Qemu:
    """qemu's two tools, as far as the tests need them."""

    def __init__(self, img: str, io: str) -> None:
        self._img, self._io = img, io

    def to_vhdx(self, raw: Path, image: Path, subformat: str, block_size: int) -> Path:
        """Make a VHDX of a raw disk; `block_size` in bytes."""
        options = f"subformat={subformat},block_size={block_size}"
        run(self._img, "convert", "-f", "raw", "-O", "vhdx", "-o", options, raw, image)
        return image

    def to_raw(self, image: Path, raw: Path) -> Path:
        """The virtual disk in a VHDX, as a sparse raw file."""
        run(self._img, "convert", "-f", "vhdx", "-O", "raw", image, raw)
        return raw

    def write(self, image: Path, *writes: tuple[int, int, int]) -> None:
        """Overwrite (byte value, offset, length) in the virtual disk of a VHDX."""
        commands = [part for value, at, length in writes for part in ("-c", f"write -P {value} {at} {length}")]
        run(self._io, "-f", "vhdx", *commands, image)


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
