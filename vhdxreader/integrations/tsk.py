"""A disk for The Sleuth Kit's Python bindings (`pip install vhdxreader[tsk]`).

with vhdxreader.open("disk.vhdx") as disk:
file_system = pytsk3.FS_Info(ImgInfo(disk), offset=disk.partitions()[1].disk_offset)
"""

from __future__ import annotations

import pytsk3

from .. import PartitionStream, VirtualDisk


class ImgInfo(pytsk3.Img_Info):  # type: ignore[misc]  # the binding has no types
    """What pytsk3 reads an image through. The disk, or the partition, stays the caller's to close."""

    def __init__(self, disk: VirtualDisk | PartitionStream) -> None:
        self._disk = disk
        super().__init__(url="", type=pytsk3.TSK_IMG_TYPE_EXTERNAL)

    def close(self) -> None:
        """Nothing: the disk is not its own."""

    def read(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`; `OSError` where they cannot be read."""
        return self._disk.pread(size, offset)

    def get_size(self) -> int:
        """Bytes."""
        return self._disk.size
