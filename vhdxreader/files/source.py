"""Where an image's bytes come from: positioned, exact reads that move nothing and may run in parallel.

In: a path or a binary file object. Out: a `Source`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias

from ..errors import TruncatedImageError, UnreadableError, VhdxError
from .locks import writer_lock

AnyPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
PathOrFile: TypeAlias = "AnyPath | BinaryFile"

_ZEROS = memoryview(bytes(1 << 20))

# What a system reports of a bad place of the medium, and of one whose checksum is wrong.
_MEDIUM_ERRORS = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENODATA", "EILSEQ", "EREMOTEIO", "EBADMSG", "EUCLEAN")
    if hasattr(errno, name)
)

# A pipe must not hang the opening; the flag does nothing to regular files. Not every flag exists everywhere.
_OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
    _OPEN_FLAGS |= getattr(os, _flag, 0)

_SHARING_VIOLATION = 32  # of Windows; a share that Linux has mounted gives EBUSY or ETXTBSY
_HELD = (
    "another program has it for itself, as Hyper-V has the disks of a running machine: make a checkpoint, or a snapshot"
    " of the volume, and read the file that this leaves as it is"
)


class BinaryFile(Protocol):
    """What a file object must have for an image to be read from it; it need not come from the module `io`."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes from the position on; none at the end only."""

    def seek(self, offset: int, whence: Literal[0, 2] = 0, /) -> object:
        """Move the position, from the start (0) or the end (2)."""

    def tell(self) -> int:
        """The position."""


class Closing(ABC):
    """Has a `close`, which a `with` statement calls, whatever happened in it."""

    @abstractmethod
    def close(self) -> None:
        """Give back what this object itself opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Source(Closing):
    """Bytes at offsets from 0 to `size`, as they were when the source was opened. Safe for threads."""

    name: str  # for messages
    path: str | None  # None where there is no path
    size: int
    identity: Hashable  # equal for two sources of one file, as far as can be told: `file_identity`, if it is one

    @abstractmethod
    def _read_some(self, buffer: memoryview, offset: int) -> int:
        """Fill the start of the buffer, at least one byte unless at the end; how many bytes."""

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer with the bytes at `offset`; `TruncatedImageError` where the file has less."""
        done = self._read_there(buffer, offset)
        while done < len(buffer):
            count = self._read_there(buffer[done:], offset + done)
            if count <= 0:
                raise TruncatedImageError(
                    f"the file ends {len(buffer) - done} bytes before the end of what is read",
                    file_offset=offset + done,
                )
            done += count

    def read_at(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`, never less."""
        if size > max(self.size - offset, 0):  # before anything is allocated
            raise TruncatedImageError(
                f"{size} bytes are expected, but the file ends at {self.size:#x}", file_offset=offset
            )
        buffer = bytearray(size)
        self.read_into(memoryview(buffer), offset)
        return bytes(buffer)

    def _read_there(self, buffer: memoryview, offset: int) -> int:
        """`_read_some`, with an error that says of which file, and where."""
        try:
            return self._read_some(buffer, offset)
        except VhdxError:
            raise
        except OSError as error:
            if error.errno in _MEDIUM_ERRORS:
                raise self._unreadable(error, offset) from error
            if error.errno is not None:
                raise OSError(error.errno, f"{error.strerror} at file offset {offset:#x}", self.name) from error
            raise

    def _unreadable(self, error: OSError, offset: int) -> UnreadableError:
        message = f"{self.name} cannot be read: {error.strerror}"
        found = UnreadableError(message, file_offset=offset, rule="file.unreadable", section="2.4")
        found.filename, found.errno = self.name, error.errno
        return found

    @property
    def whole_end(self) -> int:
        """Up to here no byte is missing; behind it, `holds` tells."""
        return self.size

    def holds(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether the byte at `offset` is there, and for how many bytes, at most `length`, that holds."""
        inside = min(self.size - offset, length)
        return (True, inside) if inside > 0 else (False, length)

    def holds_all(self, offset: int, length: int) -> bool:
        """Whether all of these bytes are there."""
        return offset + length <= self.whole_end or self.holds(offset, length) == (True, length)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that may hold anything but zeros; what the file system knows as holes is left out."""
        yield start, end

    def file_of(self, offset: int, size: int) -> DescriptorSource | None:  # noqa: ARG002  # for those that have one
        """Where these very bytes can be read at the same offset through a descriptor; None where they cannot."""
        return None

    def state_now(self) -> Hashable:
        """What can be told of the file without reading it. Where it differs from what it was, the file was changed;
        where it does not, no change was seen."""
        return None

    def writer_lock(self) -> str:
        """Who is known by a lock to have the file open for writing, in words; empty where nobody is."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Give back what the source itself opened. Further reads raise `ValueError`."""


class DescriptorSource(Source):
    """A file that this object opened itself, read with `pread`. `fd` is its descriptor, -1 when it is closed."""

    def __init__(self, path: AnyPath, *, only_regular: bool = False) -> None:
        self.path = self.name = os.fsdecode(path)
        self.fd = os.open(path, _OPEN_FLAGS)
        try:
            status = os.fstat(self.fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.name)
            if only_regular:
                _check_regular(status)
            self.identity = file_identity(status)
            self.size = _seekable_size(self.fd, self.name)
        except BaseException:
            self.close()
            raise

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        if self.fd < 0:
            raise ValueError("I/O operation on closed image")
        return os.preadv(self.fd, (buffer,), offset)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        return _data_ranges(self.fd, start, end)

    def read_at(self, offset: int, size: int) -> bytes:
        if offset + size <= self.size and self.fd >= 0:
            with contextlib.suppress(OSError):  # the other way says where it is
                data = os.pread(self.fd, size, offset)
                if len(data) == size:
                    return data
        return super().read_at(offset, size)

    def file_of(self, offset: int, size: int) -> DescriptorSource | None:
        return self if offset + size <= self.size else None

    def state_now(self) -> Hashable:
        return _state(os.fstat(self.fd)), _named(self.path)

    def writer_lock(self) -> str:
        return writer_lock(self.fd)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()


class FileObjectSource(Source):
    """A file object, read by seeking under a lock.

    It is borrowed unless it has the `path` that it was opened by: never closed, but put back to where it stood.
    """

    def __init__(self, file: BinaryFile, *, path: str | None = None) -> None:
        self.path = path
        self.name = path or str(getattr(file, "name", None) or f"<{type(file).__name__}>")
        self._file: Any = file
        # The object's address is unique while it lives, and it is held here.
        self.identity: Hashable = file_identity(os.fstat(raw.fileno())) if (raw := self._raw()) else id(file)
        self._lock = threading.Lock()
        self._position = file.tell()
        self._file.seek(0, os.SEEK_END)  # which may give None, as mmap's does
        self.size = file.tell()

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        with self._lock:
            self._file.seek(offset)
            return _read_into(self._file, buffer)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        raw = self._raw()
        if raw is None:
            return super().data_ranges(start, end)
        with self._lock:
            position = raw.tell()
            ranges = list(_data_ranges(raw.fileno(), start, end))
            raw.seek(position)  # a buffer around it relies on that
        return iter(ranges)

    def state_now(self) -> Hashable:
        raw = self._raw()
        if raw is not None:
            return _state(os.fstat(raw.fileno())), _named(self.path)
        with self._lock:
            self._file.seek(0, os.SEEK_END)
            size: int = self._file.tell()
            return size

    def writer_lock(self) -> str:
        raw = self._raw()
        return "" if raw is None else writer_lock(raw.fileno())

    def _raw(self) -> io.FileIO | None:
        """The file itself, if it is one: a subclass, or what wraps a file, need not show the file's own bytes."""
        raw = getattr(self._file, "raw", self._file)
        return raw if type(raw) is io.FileIO else None

    def close(self) -> None:
        if self.path is not None:
            self._file.close()
        elif not getattr(self._file, "closed", False):
            self._file.seek(self._position)


def open_source(file: PathOrFile) -> Source:
    """A source over a path, which it opens and closes, or a seekable binary file object, which it borrows."""
    if isinstance(file, (str, bytes, os.PathLike)):
        return _open_path(file)
    if not hasattr(file, "read") or hasattr(file, "encoding"):
        raise TypeError(f"a path or a binary file object is expected, not {type(file).__name__}")
    if hasattr(file, "seekable") and not file.seekable():
        raise io.UnsupportedOperation("the file object is not seekable")
    return FileObjectSource(file)


def open_regular(path: AnyPath) -> Source:
    """A source over a path that may name anything: `OSError` unless it is a regular file, before a byte is read.

    A device or a pipe is not even opened, unless it takes the file's place at this very moment.
    """
    _check_regular(os.stat(path))
    return _open_path(path, only_regular=True)


def _open_path(path: AnyPath, *, only_regular: bool = False) -> Source:
    try:
        return _open_file(path, only_regular=only_regular)
    except OSError as error:
        if getattr(error, "winerror", None) == _SHARING_VIOLATION or error.errno in (errno.EBUSY, errno.ETXTBSY):
            raise OSError(error.errno, f"{error.strerror}; {_HELD}", os.fsdecode(path)) from error
        raise


def _open_file(path: AnyPath, *, only_regular: bool) -> Source:
    if hasattr(os, "preadv"):
        return DescriptorSource(path, only_regular=only_regular)
    file = io.FileIO(path, opener=lambda name, _: os.open(name, _OPEN_FLAGS))
    try:
        if only_regular:
            _check_regular(os.fstat(file.fileno()))
        return FileObjectSource(file, path=os.fsdecode(path))
    except BaseException:
        file.close()
        raise


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def file_identity(status: os.stat_result) -> tuple[int, int]:
    """The device that a file is on, and its inode; for a block device, which may have many nodes, itself and 0."""
    if stat.S_ISBLK(status.st_mode):
        return status.st_rdev, 0
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> Hashable:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _named(path: str | None) -> Hashable:
    """The file that has the path by now; None where none has. A path that is not absolute may mean another folder."""
    if path is None or not os.path.isabs(path):
        return None
    try:
        return file_identity(os.stat(path))
    except OSError:
        return None


def fill_zeros(buffer: memoryview) -> None:
    """Make all bytes of a buffer zero."""
    for start in range(0, len(buffer), len(_ZEROS)):
        part = buffer[start : start + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]


def _data_ranges(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Moves the descriptor's position."""
    if not hasattr(os, "SEEK_DATA"):
        yield start, end
        return
    while start < end:
        try:
            start = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            # ENXIO: nothing but a hole up to the file's end. If that is nearer by now, let a read meet it.
            if error.errno != errno.ENXIO or os.fstat(fd).st_size < end:
                yield start, end
            return
        hole = min(os.lseek(fd, start, os.SEEK_HOLE), end)
        if start < hole:
            yield start, hole
        start = hole


def _seekable_size(fd: int, name: str) -> int:
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    except OSError as error:  # which does not say what it is about
        raise OSError(error.errno, "the file is not seekable", name) from error


def _read_into(file: Any, buffer: memoryview) -> int:
    if hasattr(file, "readinto"):
        return file.readinto(buffer) or 0
    data = file.read(len(buffer))
    if len(data) > len(buffer):
        raise OSError(f"{type(file).__name__}.read gave more than was asked for")
    buffer[: len(data)] = data
    return len(data)
