"""What a disk can be written to: a stream, a file that is whole or not there, or a block device.

In: a path or a file object. Out: an `Output` that takes the disk's bytes in order.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ..files.descriptors import file_identity, real_path
from ..files.opening import AnyPath
from ..files.writing import WholeFile, naming, write_all, write_all_at

_STEP = 1 << 20  # what is read and written at once
_WRITE_OUT_STEP = 32 << 20
_ZEROS = memoryview(bytes(_STEP))


class Output(ABC):
    """Where the disk's bytes go, in order of their offsets."""

    expects_second_reading = False

    @abstractmethod
    def write(self, data: memoryview, offset: int) -> None:
        """Write all of it at `offset`, behind all that was written before."""

    @abstractmethod
    def is_same(self, data: memoryview, offset: int) -> bool:
        """Whether a second reading, which gives all data in the same order, is as what was written, as far as can be
        told by then."""

    def write_zeros(self, offset: int, length: int) -> None:
        """As `write`, of `length` zeros."""
        for start in range(0, length, _STEP):
            self.write(_ZEROS[: length - start], offset + start)


class StreamOutput(Output):
    """A target that has no offsets: everything must come."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._digest, self._second_digest = hashlib.sha256(), hashlib.sha256()

    def write(self, data: memoryview, offset: int) -> None:
        assert offset == self._position
        self._position += len(data)
        if self.expects_second_reading:
            self._digest.update(data)
        write_all(self._file, data)

    def is_same(self, data: memoryview, offset: int) -> bool:
        self._second_digest.update(data)
        is_last = offset + len(data) == self._position
        return not is_last or self._digest.digest() == self._second_digest.digest()


class PlacedOutput(Output):
    """A target that takes bytes at offsets. Where it `reads_zeros` before anything is written, zeros are left out."""

    def __init__(self, fd: int, *, reads_zeros: bool) -> None:
        self._fd = fd
        self._reads_zeros = reads_zeros
        self._can_copy = hasattr(os, "copy_file_range")
        self._begun = 0  # of what lies before, the system was told to write it out

    def write(self, data: memoryview, offset: int) -> None:
        write_all_at(self._fd, data, offset)
        self._write_out(offset + len(data))

    def write_zeros(self, offset: int, length: int) -> None:
        if not self._reads_zeros:
            super().write_zeros(offset, length)

    def is_same(self, data: memoryview, offset: int) -> bool:
        os.lseek(self._fd, offset, os.SEEK_SET)  # not every system has `pread`
        while part := os.read(self._fd, len(data)):
            if part != data[: len(part)]:
                return False
            data = data[len(part) :]
        return not data

    def copy(self, fd: int, where: int, offset: int, length: int) -> int:
        """Have the kernel copy from `where` of another file; how many bytes it did, for whatever reason it stopped."""
        done = 0
        while self._can_copy and done < length:
            try:
                count = os.copy_file_range(fd, self._fd, length - done, where + done, offset + done)
            except OSError:  # unless it cannot be done this way only, the write that comes instead meets it, too
                self._can_copy = False
                break
            if not count:
                break
            done += count
        self._write_out(offset + done)
        return done

    def _write_out(self, end: int) -> None:
        """Have the system write to the disk while we go on: otherwise it would all wait for the last step."""
        if end - self._begun >= _WRITE_OUT_STEP and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, self._begun, end - self._begun, os.POSIX_FADV_DONTNEED)
            self._begun = end


@contextmanager
def open_target(
    target: AnyPath | BinaryIO, size: int, protected: Collection[Hashable], overwrite: bool, sparse: bool
) -> Iterator[Output]:
    """A target for `size` bytes; a file has its name, and a device all of it, only when the context ends well."""
    if not isinstance(target, (str, bytes, os.PathLike)):
        yield StreamOutput(target)
        target.flush()
        return
    mode = _mode(target)
    if stat.S_ISBLK(mode):
        with _open_device(target, size, protected, overwrite) as fd:
            yield PlacedOutput(fd, reads_zeros=False)
            os.fsync(fd)
    elif stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        with open(target, "wb", buffering=0) as file:
            yield StreamOutput(file)
    else:
        with WholeFile(target, overwrite=overwrite, protected=protected) as whole:
            os.truncate(whole.fd, size)
            yield PlacedOutput(whole.fd, reads_zeros=sparse)


@contextmanager
def open_map(
    path: AnyPath | None, target: AnyPath | BinaryIO, protected: Collection[Hashable], overwrite: bool
) -> Iterator[WholeFile | None]:
    """The file for a mapfile, which is made before the copy begins; None if none is wanted."""
    if path is None:
        yield None
        return
    with WholeFile(path, overwrite=overwrite, protected=protected) as whole:
        if isinstance(target, (str, bytes, os.PathLike)) and real_path(os.fsdecode(target)) == whole.path:
            raise shutil.SameFileError(f"{whole.path} cannot be both the target and its mapfile")
        yield whole


def _mode(path: AnyPath) -> int:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return 0


@contextmanager
def _open_device(path: AnyPath, size: int, protected: Collection[Hashable], overwrite: bool) -> Iterator[int]:
    """A block device, which must be large enough, and not in use by the system."""
    if not overwrite:
        raise FileExistsError(
            errno.EEXIST, "it is a block device, and all on it would be overwritten", os.fsdecode(path)
        )
    fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)  # EXCL: not while it is mounted
    try:
        device, _ = file_identity(os.fstat(fd))
        if any(isinstance(identity, tuple) and identity[0] == device for identity in protected):
            raise shutil.SameFileError(f"{os.fsdecode(path)} is the image itself, or has it or one that it needs on it")
        there = os.lseek(fd, 0, os.SEEK_END)
        if there < size:
            raise OSError(errno.ENOSPC, f"the device has {there} bytes, the disk {size}", os.fsdecode(path))
        with naming(os.fsdecode(path)):
            yield fd
    finally:
        os.close(fd)
