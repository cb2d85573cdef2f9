"""mfusepy with reads that go straight into the memory of libfuse. Imported only when something is mounted.

In: operations whose `read` fills a buffer. Out: `Fuse`, which serves them as `mfusepy.FUSE` does; that one asks for
bytes, and copies them.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from contextlib import suppress
from typing import Any

import mfusepy

THREADS = 16
"""Threads of libfuse that stay when they have nothing to do."""

_READ_AHEAD = 512 << 10  # bytes; the system's own 128 KiB cost four times the requests

_WRITABLE = 0x200  # PyBUF_WRITE
_view = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)(
    ("PyMemoryView_FromMemory", ctypes.pythonapi)
)

_thread = threading.local()
_numbers = itertools.count()


class Fuse(mfusepy.FUSE):  # type: ignore[misc]  # mfusepy has no types
    """The file system, served as long as it is mounted."""

    def __init__(self, operations: Any, mountpoint: str, **options: Any) -> None:
        self._mountpoint = os.path.realpath(mountpoint)
        super().__init__(operations, mountpoint, **options)

    def init_fuse_3(self, connection: Any, config: Any) -> None:
        """Called by libfuse before all else. Only root may have the system read further ahead than it does."""
        super().init_fuse_3(connection, config)
        self.operations.is_mounted = True
        with suppress(OSError):
            with open(f"/sys/class/bdi/{_device(self._mountpoint)}/read_ahead_kb", "w") as file:
                file.write(str(_READ_AHEAD >> 10))
            connection.contents.max_readahead = _READ_AHEAD

    def read(self, _path: bytes, memory: Any, size: int, offset: int, info: Any) -> int:
        """Called by libfuse, whose memory is valid until this returns."""
        _stay()
        buffer = _view(ctypes.addressof(memory.contents), size, _WRITABLE)
        done: int = self.operations.read(buffer, offset, info.contents.fh)
        return done


def _device(mountpoint: str) -> str:
    """The number of what is mounted there, such as "0:57", without a question to it."""
    shown = os.fsencode(mountpoint)
    for character in b"\\ \t\n":
        shown = shown.replace(bytes([character]), b"\\%03o" % character)
    with open("/proc/self/mountinfo", "rb") as file:
        found = [fields[2] for fields in (line.split(b" ") for line in file) if fields[4] == shown]
    return found[-1].decode() if found else ""


def _stay() -> None:
    """Have Python keep what it knows of this thread.

    It would forget it after each call, and map and unmap memory for the next one. It is kept for as many threads as
    libfuse does not end, since nothing would free it.
    """
    if not hasattr(_thread, "known"):
        _thread.known = True
        if next(_numbers) < THREADS:
            ctypes.pythonapi.PyGILState_Ensure()
