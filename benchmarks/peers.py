"""The other readers, each where it is installed: nothing here fails where one is missing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType

try:
    import pyvhdi
except ImportError:
    pyvhdi = None
try:
    from dissect.hypervisor.disk import vhdx as dissect
except ImportError:
    dissect = None

Pread = Callable[[int, int], bytes]  # (size, offset)

PYVHDI: ModuleType | None = pyvhdi


def open_pyvhdi(path: Path, *parents: Path) -> object:
    """An open `pyvhdi.file`, with its chain of parents set."""
    file = pyvhdi.file()
    file.open(str(path))
    if parents:
        file.set_parent(open_pyvhdi(*parents))
    return file


def positioned_reads(path: Path, *parents: Path) -> dict[str, Pread]:
    """The positioned read of every library that is there. dissect has none: it seeks and reads."""
    reads: dict[str, Pread] = {}
    if pyvhdi:
        reads["pyvhdi"] = open_pyvhdi(path, *parents).read_buffer_at_offset
    if dissect:
        disk = dissect.VHDX(path)

        def seek_and_read(size: int, offset: int) -> bytes:
            disk.seek(offset)
            return disk.read(size)

        reads["dissect"] = seek_and_read
    return reads


def command(name: str) -> str | None:
    """The path of an installed command."""
    return shutil.which(name)


def own_command(folder: Path, *words: str | Path) -> Callable[[], object]:
    """Runs `vhdxreader` with these words, with bytecode in the folder, as after an installation."""
    command, environment = own_words(*words), own_environment(folder)
    return lambda: subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)


def own_words(*words: str | Path) -> list[str]:
    """The command line of `vhdxreader` with these words."""
    return [sys.executable, "-m", "vhdxreader", *map(str, words)]


def own_environment(folder: Path) -> dict[str, str]:
    """What it is run in: bytecode is kept in the folder, as after an installation."""
    return {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),
    }


def versions() -> dict[str, str]:
    """What is compared with what."""
    found = {"python": platform.python_version()}
    for package in ("libvhdi-python", "dissect.hypervisor", "kaitaistruct", "crc32c"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    tools = {name: ["--version"] for name in ("qemu-img", "cp", "cmp", "nbdkit", "nbdcopy")}
    tools |= {"7zz": ["i"], "vhdimount": ["-V"]}
    for name, arguments in tools.items():
        found[name] = _first_line([name, *arguments]) if command(name) else "not installed"
    return found


def _first_line(words: list[str]) -> str:
    lines = subprocess.run(words, capture_output=True, text=True, check=False).stdout.split("\n")
    return next((line.strip() for line in lines if line.strip()), "unknown")
