"""A partition of a virtual disk as a read-only file object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from operator import index
from typing import TYPE_CHECKING, Any, TypeVar

from .address_map import Extent
from .image import VhdxImage
from .partitions import Partition
from .positioned_stream import PositionedStream
from .salvage import DamagedRange, Doubtful, Lost

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from .virtual_disk import VirtualDisk

R = TypeVar("R", bound=DamagedRange)


class PartitionStream(PositionedStream):
    """The bytes of one partition, as the raw file of the same bytes would be. Closing it leaves its disk open.

    `partition` says where on `disk` it lies. What a read raises is what a read of the disk raises.
    """

    def __init__(self, disk: VirtualDisk, partition: Partition) -> None:
        self.partition = partition
        self.size = partition.length
        self.disk = disk
        self._start = partition.disk_offset
        self._end = self._start + self.size

    @property
    def name(self) -> str:
        """The image's name and the partition's number."""
        return f"{self.disk.name}#{self.partition.number}"

    @property
    def images(self) -> tuple[VhdxImage, ...]:
        """The files of the disk's chain."""
        return self.disk.images

    @property
    def lost(self) -> tuple[Lost, ...]:
        """As `VirtualDisk.lost`, of the partition: by offsets in it."""
        return self._inside(self.disk.lost)

    @property
    def doubtful(self) -> tuple[Doubtful, ...]:
        """As `VirtualDisk.doubtful`, of the partition: by offsets in it."""
        return self._inside(self.disk.doubtful)

    @property
    def fill(self) -> bytes:
        """As `VirtualDisk.fill`; what is repeated begins at multiples of its length from the disk's start."""
        return self.disk.fill

    def has_changed(self) -> bool:
        """As `VirtualDisk.has_changed`."""
        return self.disk.has_changed()

    def account(self, extent: Extent) -> bool:
        """As `VirtualDisk.account`."""
        return self.disk.account(replace(extent, disk_offset=extent.disk_offset + self._start))

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset` of the partition, less only at its end; the position stays. Safe for threads."""
        return self.disk.pread(min(index(size), self._rest(offset)), self._start + index(offset))

    def preadinto(self, buffer: WriteableBuffer, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        view = memoryview(buffer).cast("B")[: self._rest(offset)]
        return self.disk.preadinto(view, self._start + index(offset))

    def extents(self, *, offset: int = 0, length: int | None = None, chain: bool = True) -> Iterator[Extent]:
        """As `VirtualDisk.extents`; offsets are those in the partition."""
        rest = self._rest(offset)
        length = rest if length is None else min(index(length), rest)
        for extent in self.disk.extents(offset=self._start + index(offset), length=length, chain=chain):
            yield replace(extent, disk_offset=extent.disk_offset - self._start)

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_open()
        return _open_again, (self.disk, self.partition, self._position)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.size} bytes{' closed' if self.closed else ''}>"

    def _inside(self, ranges: Iterable[R]) -> tuple[R, ...]:
        """The parts of ranges that lie in the partition, by offsets in it."""
        return tuple(
            replace(entry, disk_offset=start - self._start, length=end - start)
            for entry in ranges
            if (start := max(entry.disk_offset, self._start)) < (end := min(entry.end, self._end))
        )

    def _rest(self, offset: int) -> int:
        """How many bytes follow `offset`."""
        self._check_open()
        if index(offset) < 0:
            raise ValueError(f"negative offset {offset}")
        return max(self.size - index(offset), 0)


def _open_again(disk: VirtualDisk, partition: Partition, position: int) -> PartitionStream:
    stream = PartitionStream(disk, partition)
    stream.seek(position)
    return stream
