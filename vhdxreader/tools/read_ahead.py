"""Reads of a remote disk ahead of who uses them, many at a time, in bounded memory.

In: a disk and ranges of it. Out: their bytes, in order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Any

from .. import spec

STEP = 4 * spec.MB
"""The longest range."""
AT_ONCE = 10
_BUFFERS = AT_ONCE + 2  # one is in use, and one before it may be


def is_remote(disk: Any) -> bool:
    """Whether a read of a disk, or of a part of one, may cost a round trip."""
    return any(image.is_remote for image in getattr(disk, "images", ()))


def read_ahead(disk: Any, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, memoryview]]:
    """Offset and bytes of each range of offset and length; they are good until the next but one is asked for.

    Memory: 12 buffers of 4 MiB.
    """
    buffers = cycle([bytearray(0) for _ in range(_BUFFERS)])
    pending: deque[Future[tuple[int, memoryview]]] = deque()
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        try:
            for offset, length in ranges:
                if len(pending) >= AT_ONCE:
                    yield pending.popleft().result()
                pending.append(pool.submit(_read, disk, next(buffers), offset, length))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def steps(size: int) -> Iterator[tuple[int, int]]:
    """All of a disk of `size` bytes, as ranges."""
    for offset in range(0, size, STEP):
        yield offset, min(STEP, size - offset)


def _read(disk: Any, buffer: bytearray, offset: int, length: int) -> tuple[int, memoryview]:
    if not buffer:
        buffer.extend(bytes(STEP))
    part = memoryview(buffer)[:length]
    disk.preadinto(part, offset)
    return offset, part
