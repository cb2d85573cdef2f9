"""`VirtualDisk`: the virtual disk as a read-only file object."""

from __future__ import annotations

import errno
import io
import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .address_map import Extent
from .block_reads import Reader
from .image import VhdxImage
from .salvage import Lost, LostRanges


class VirtualDisk(io.RawIOBase):
    """The virtual disk of an image and its parents, as the raw file of the same bytes would be.

    Behaves like `open(raw, "rb", buffering=0)`, except that a read is always full unless at the end, and that there is
    no `fileno()`. `pread` and `preadinto` are safe for threads; the stream's own position is not.
    """

    mode = "rb"

    def __init__(
        self, images: Sequence[VhdxImage], borrowed: Sequence[VhdxImage] = (), *, salvage: bool = False
    ) -> None:
        """`images` and behind them `borrowed` are the chain, child first; the disk closes only `images`."""
        self._owned = tuple(images)
        self.images = (*images, *borrowed)
        self._reader = Reader([image.map for image in self.images], LostRanges() if salvage else None)
        self._position = 0
        self.size = images[0].size

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
        """What was read as zeros since it cannot be read, by offset; only of a disk opened with `errors="zero"`."""
        return self._reader.lost

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset`, less only at the disk's end; the position stays. Safe for threads.

        Raises `CorruptImageError` or `TruncatedImageError` (both `OSError`) where a file does not hold what it should,
        `ParentNotFoundError` where the bytes are in a parent that is not open; opened with `errors="zero"`, it gives
        zeros there instead, and `lost` lists them.
        """
        return self._reader.pread(size, offset)

    def preadinto(self, buffer: Any, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        return self._reader.preadinto(buffer, offset)

    def extents(self, *, offset: int = 0, length: int | None = None, chain: bool = True) -> Iterator[Extent]:
        """What the bytes from `offset` on come from, in order and without gaps; `length` bytes or up to the end.

        Of the whole chain, or without `chain` of the opened image alone: what it changed; its parent's part is ABSENT.
        """
        return (self._reader if chain else self.image).extents(offset=offset, length=length)

    def lose(self, extent: Extent) -> None:
        """What a read of an extent does that is neither data nor zeros: raise, or list it in `lost`. For those who use
        `extents` and don't read what has no data."""
        self._check_open()
        self._reader.lose(extent.offset, extent.depth, extent.length, extent.kind)

    def readable(self) -> bool:
        self._check_open()
        return True

    def seekable(self) -> bool:
        self._check_open()
        return True

    def writable(self) -> bool:
        self._check_open()
        return False

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        position = operator.index(offset)
        if operator.index(whence) != os.SEEK_SET:
            bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}
            position += bases.get(operator.index(whence), -position - 1)  # else: before the start
        if position < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        position = self._position
        size = -1 if size is None else operator.index(size)
        data = self._reader.pread(self.size if size < 0 else size, position)
        self._position = position + len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        count = self._reader.preadinto(buffer, self._position)
        self._position += count
        return count

    def write(self, _data: Any, /) -> NoReturn:
        self._check_open()
        raise io.UnsupportedOperation("a virtual disk is read-only")

    def truncate(self, _size: int | None = None, /) -> NoReturn:
        self._check_open()
        raise io.UnsupportedOperation("a virtual disk is read-only")

    def close(self) -> None:
        self._reader.close()
        if not self.closed:
            for image in self._owned:
                image.close()
        super().close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def __repr__(self) -> str:
        state = " closed" if self.closed else ""
        return f"<{type(self).__name__} {self.name!r} {self.size} bytes{state}>"

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
