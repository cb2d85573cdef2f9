"""`VirtualDisk`: the virtual disk as a read-only file object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

from .address_map import Extent
from .block_reads import Reader
from .image import VhdxImage, doubts_of
from .positioned_stream import PositionedStream
from .salvage import Doubtful, Lost, Salvaging

if TYPE_CHECKING:  # imported when somebody asks for partitions
    from _typeshed import WriteableBuffer

    from .partition_stream import PartitionStream
    from .partitions import PartitionTable


class VirtualDisk(PositionedStream):
    """The virtual disk of an image and its parents, as the raw file of the same bytes would be.

    Behaves like `open(raw, "rb", buffering=0)`, except that a read is always full unless at the end, and that there is
    no `fileno()`. `pread` and `preadinto` are safe for threads; the stream's own position is not.
    """

    def __init__(
        self,
        images: Sequence[VhdxImage],
        borrowed: Sequence[VhdxImage] = (),
        *,
        salvage: bool = False,
        fill: bytes = b"\0",
    ) -> None:
        """`images` and behind them `borrowed` are the chain, child first; the disk closes only `images`.

        Who made it sets `opened_by`, which makes it again.
        """
        self._owned = tuple(images)
        self.images = (*images, *borrowed)
        self.fill = fill  # what lost bytes are made of
        self._salvaging: Salvaging | None = None
        if salvage or any(image.mismatch for image in self.images):
            doubts = [doubts_of(image) for image in self.images]
            self._salvaging = Salvaging(doubts, fill=fill, raises=not salvage)
        self._reader = Reader([image.map for image in self.images], self._salvaging)
        self.size = images[0].size
        self.opened_by: Callable[[], VirtualDisk] | None = None

    @property
    def image(self) -> VhdxImage:
        """The opened image itself, the child of all others; `images` has all of the chain."""
        return self.images[0]

    @property
    def name(self) -> str:
        """The image's path, or the name of the file object it was opened as."""
        return self.image.name

    @property
    def lost(self) -> tuple[Lost, ...]:
        """What of the bytes read until now cannot be read, and was zeros instead (or `fill`), by offset; only of a disk
        opened with `errors="zero"`."""
        return () if self._salvaging is None else self._salvaging.lost.snapshot()

    @property
    def doubtful(self) -> tuple[Doubtful, ...]:
        """What of the bytes read until now is as it lies in the file, but not proven to belong there, by offset; only
        of a disk opened with `errors="zero"`, or with a parent that does not match.

        What is neither in here nor in `lost` is right.
        """
        return () if self._salvaging is None else self._salvaging.doubtful.snapshot()

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset`, less only at the disk's end; the position stays. Safe for threads.

        Raises `CorruptImageError` or `TruncatedImageError` (both `OSError`) where a file does not hold what it should,
        `ParentNotFoundError` where the bytes are in a parent that is not open; opened with `errors="zero"`, it gives
        zeros there instead, and `lost` lists them.
        """
        return self._reader.pread(size, offset)

    def preadinto(self, buffer: WriteableBuffer, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        return self._reader.preadinto(buffer, offset)

    def extents(self, *, offset: int = 0, length: int | None = None, chain: bool = True) -> Iterator[Extent]:
        """What the bytes from `offset` on come from, in order and without gaps; `length` bytes or up to the end.

        Of the whole chain, or without `chain` of the opened image alone: what it changed; its parent's part is ABSENT.
        """
        return (self._reader if chain else self.image).extents(offset=offset, length=length)

    def account(self, extent: Extent) -> bool:
        """What a read of an extent does beside giving bytes: raise where there are none, or list them in `lost`, and
        what is doubtful in `doubtful`. Whether there are bytes, or zeros. For those who use `extents` instead of reads.
        """
        self._check_open()
        return self._reader.account(extent.disk_offset, extent.depth, extent.length, extent.kind)

    def has_changed(self) -> bool:
        """Whether somebody is seen to have changed a file of the chain since it was opened; False is "no change seen".

        What was read by then may be a mixture of several moments. See `VhdxImage.has_changed`.
        """
        self._check_open()
        return any(image.has_changed() for image in self.images)

    def partitions(self) -> PartitionTable:
        """The disk's partition table: GPT, MBR, or none.

        Raises what a read of the disk's first sector raises; what else cannot be read is a finding of the table.
        """
        from .partitions import read_partitions

        return read_partitions(self.pread, self.size, self.image.metadata.logical_sector_size)

    def partition(self, number: int) -> PartitionStream:
        """The partition of this number, Linux's, as a read-only file object. `KeyError` where there is none."""
        from .partition_stream import PartitionStream

        return PartitionStream(self, self.partitions()[index(number)])

    def close(self) -> None:
        self._reader.close()
        if not self.closed:
            for image in self._owned:
                image.close()
        super().close()

    def __del__(self) -> None:
        """Nothing: whoever still reads by way of `images` or `extents` does so; files are closed when nobody can."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How to open it again: pickled and copied, it is another disk, over files that are opened for it."""
        self._check_open()
        if self.opened_by is None:
            raise TypeError(f"cannot pickle or copy a {type(self).__name__!r} that vhdxreader.open did not give")
        return _open_again, (self.opened_by, self._position)

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<{type(self).__name__} {self.name!r} {self.size} bytes{state}>"


def _open_again(opened_by: Callable[[], VirtualDisk], position: int) -> VirtualDisk:
    disk = opened_by()
    disk.seek(position)
    return disk
