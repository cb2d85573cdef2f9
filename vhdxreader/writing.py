"""Writing to file objects of every kind.

In: a binary file object and bytes. Out: all of them are there, or an error is raised. Layer 1: imports nothing of the
package.
"""

from __future__ import annotations

import errno
import io
from typing import BinaryIO


def write_all(file: BinaryIO, data: memoryview) -> None:
    """Write all of it: a raw file, such as the standard output of `python -u`, may take only a part at once.

    Raises `BlockingIOError` where the file takes nothing without a wait.
    """
    while len(data):
        count: int | None = file.write(data)
        if count is None and not isinstance(file, io.RawIOBase):
            return  # not of the io module, and does not count: it has no other way than to take all
        if not count:
            raise BlockingIOError(errno.EAGAIN, "the target takes no more data without a wait")
        data = data[count:]
