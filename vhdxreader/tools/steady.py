"""Reading an image that may change meanwhile: a change is said, and not taken for damage.

In: opened disks. Out: `ImageChangedError` where a change is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..disk.partition_stream import PartitionStream
from ..disk.virtual_disk import VirtualDisk
from ..errors import CorruptImageError
from ..format.stamp import changed_error


@contextmanager
def steady(*disks: VirtualDisk | PartitionStream, changing: bool = False) -> Iterator[None]:
    """Raise `ImageChangedError` at the end where a change of any of the disks' files is seen, and instead of a
    `CorruptImageError` also then. With `changing`, a change is no reason to raise at the end."""
    try:
        yield
    except CorruptImageError as error:
        raise_if_changed(*disks, cause=error)
        raise
    if not changing:
        raise_if_changed(*disks)


def raise_if_changed(*disks: VirtualDisk | PartitionStream, cause: BaseException | None = None) -> None:
    """`ImageChangedError` where a change is seen."""
    for disk in disks:
        if disk.has_changed():
            raise changed_error(disk.name) from cause
