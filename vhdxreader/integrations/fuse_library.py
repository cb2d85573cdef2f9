"""mfusepy with reads that go straight into the memory of libfuse. Imported only when something is mounted.

In: operations whose `read` fills a buffer. Out: `Fuse`, which serves them as `mfusepy.FUSE` does; that one asks for
bytes, and copies them.
"""

from __future__ import annotations

import ctypes
import itertools
import threading
from typing import Any

import mfusepy

THREADS = 16
"""Threads of libfuse that stay when they have nothing to do."""

_thread = threading.local()
_numbers = itertools.count()


class Fuse(mfusepy.FUSE):  # type: ignore[misc]  # mfusepy has no types
    """The file system, served as long as it is mounted."""

    def read(self, _path: bytes, memory: Any, size: int, offset: int, info: Any) -> int:
        """Called by libfuse, whose memory is valid until this returns."""
        _stay()
        buffer = (ctypes.c_ubyte * size).from_address(ctypes.addressof(memory.contents))
        done: int = self.operations.read(buffer, offset, info.contents.fh)
        return done


def _stay() -> None:
    """Have Python keep what it knows of this thread.

    It would forget it after each call, and map and unmap memory for the next one. It is kept for as many threads as
    libfuse does not end, since nothing would free it.
    """
    if not hasattr(_thread, "known"):
        _thread.known = True
        if next(_numbers) < THREADS:
            ctypes.pythonapi.PyGILState_Ensure()
