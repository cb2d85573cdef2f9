"""A whole process: start, import, open, first and last sector; its time and its peak memory.

The floor is a process that only imports what the library cannot do without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import peers
from images import Images
from measure import Work, megabytes, milliseconds, timed

_ROOT = Path(__file__).resolve().parent.parent.parent
_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": ""}
_FLOOR = "import kaitaistruct, crc32c, dataclasses, uuid"
_OURS = "import vhdxreader; d = vhdxreader.open({0!r}); d.pread(512, 0); d.pread(512, d.size - 512); d.close()"
_PYVHDI = (
    "import pyvhdi; d = pyvhdi.file(); d.open({0!r}); n = d.get_media_size();"
    "d.read_buffer_at_offset(512, 0); d.read_buffer_at_offset(512, n - 512)"
)
_DISSECT = (
    "from dissect.hypervisor.disk.vhdx import VHDX; d = VHDX({0!r}); d.seek(0); d.read(512); d.seek(d.size - 512);"
    "d.read(512)"
)
# The peak of this process alone: the one that the parent is told of counts the parent's own memory before exec.
_PEAK = "\nprint(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"


def works(images: Images) -> Iterator[Work]:
    """A small image and one of 64 TB."""
    for name, path in (("small image", images.small), ("64 TB image", images.huge_empty)):
        _ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(images.folder / "pycache")  # bytecode, as after an installation
        programs = {"floor": _FLOOR, "ours": _OURS.format(str(path))}
        if peers.PYVHDI:
            programs["pyvhdi"] = _PYVHDI.format(str(path))
        if peers.dissect:
            programs["dissect"] = _DISSECT.format(str(path))
        times = {who: timed(_process(program)) for who, program in programs.items()}
        if peers.command("qemu-img"):
            times["qemu-img"] = timed(
                lambda path=path: subprocess.run(["qemu-img", "info", path], check=True, stdout=-3)
            )
        ratio = "ours / floor"
        yield Work(f"process, {name}", times, milliseconds, ratio, lambda v: v["ours"] / v["floor"], 1.5)
        if Path("/proc/self/status").exists():
            peaks = {who: _peak(program) for who, program in programs.items()}
            over = "MB above floor"
            yield Work(f"its peak memory, {name}", peaks, megabytes, over, lambda v: (v["ours"] - v["floor"]) / 1e6, 10)


def _process(program: str) -> Callable[[], str]:
    words = [sys.executable, "-c", program]
    return lambda: subprocess.run(words, check=True, env=_ENVIRONMENT, stdout=subprocess.PIPE, text=True).stdout


def _peak(program: str) -> Callable[[], float]:
    run = _process(program + _PEAK)
    return lambda: int(run()) * 1024
