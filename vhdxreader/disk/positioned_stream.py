"""A read-only binary stream over positioned reads: one cursor, nothing else."""

from __future__ import annotations

import errno
import io
import operator
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, BinaryIO, NoReturn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    class _BinaryStream(io.RawIOBase, BinaryIO):
        """A `BinaryIO`, too, as the streams of `io` are for type checkers."""

else:
    _BinaryStream = io.RawIOBase


class PositionedStream(_BinaryStream):
    """What `open(raw, "rb", buffering=0)` is, except that a read is always full unless at the end, and that there is no
    `fileno()`. The stream's own position is not safe for threads; `pread` and `preadinto` are."""

    mode = "rb"
    size: int
    _position = 0

    @abstractmethod
    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset`, less only at the end; the position stays. Safe for threads."""

    @abstractmethod
    def preadinto(self, buffer: WriteableBuffer, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""

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
        data = self.pread(self.size if size < 0 else size, position)
        self._position = position + len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count = self.preadinto(buffer, self._position)
        self._position += count
        return count

    def write(self, _data: ReadableBuffer, /) -> NoReturn:
        self._check_open()
        raise io.UnsupportedOperation(f"a {type(self).__name__} is read-only")

    def truncate(self, _size: int | None = None, /) -> NoReturn:
        self._check_open()
        raise io.UnsupportedOperation(f"a {type(self).__name__} is read-only")

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
