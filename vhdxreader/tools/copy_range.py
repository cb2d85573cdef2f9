"""A part of a disk to whatever takes bytes.

In: an opened disk or partition. Out: its bytes, in order, through one buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import index
from typing import BinaryIO

from ..disk.positioned_stream import PositionedStream
from ..files.writing import write_all

_BUFFER_SIZE = 1 << 20


def copy_range(
    disk: PositionedStream,
    target: BinaryIO,
    *,
    offset: int = 0,
    length: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write `length` bytes at `offset` of a disk or partition, or all up to its end, to a binary file object.

    The disk's own position stays. `progress` is called with the number of bytes done and of all. Raises `ValueError`
    where the range is not in the disk, what a read of the disk raises, and what the target does; `BlockingIOError`
    where it takes nothing without a wait.
    """
    offset = index(offset)
    rest = disk.size - offset
    length = rest if length is None else index(length)
    if offset < 0 or not 0 <= length <= rest:
        raise ValueError(f"{length} bytes at {offset} are not in a disk of {disk.size} bytes")
    buffer = memoryview(bytearray(min(_BUFFER_SIZE, length)))
    start, end = offset, offset + length
    while offset < end:
        part = buffer[: end - offset]
        offset += disk.preadinto(part, offset)
        write_all(target, part)
        if progress is not None:
            progress(offset - start, length)
    target.flush()
