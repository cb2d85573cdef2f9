"""Export of a virtual disk to raw: a file, a block device or a stream.

In: an opened disk and where to write. Out: the same bytes there, holes where nothing is but zeros.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import BinaryIO, Literal, TypeAlias

from ..disk.address_map import Extent
from ..disk.partition_stream import PartitionStream
from ..disk.virtual_disk import VirtualDisk
from ..files.descriptors import file_identity
from ..files.opening import AnyPath
from ..files.writing import WholeFile, write_all, write_all_at
from ..format.stamp import changed_error
from .mapfile import mapfile
from .read_ahead import STEP as READ_AHEAD_STEP
from .read_ahead import is_remote, read_ahead, steps
from .steady import steady
from .vhd import padded_size, vhd_footer

Disk: TypeAlias = "VirtualDisk | PartitionStream"
Format: TypeAlias = Literal["raw", "vhd"]
Progress = Callable[[int, int], None]  # bytes done, and of all

_STEP = 1 << 20  # what is read and written at once
_COPY_STEP = 16 << 20  # what the kernel copies at once: a signal waits for as long
_WRITE_OUT_STEP = 32 << 20
_SMALL = 64 << 10  # data extents that are shorter are read, not copied
_ZEROS = memoryview(bytes(_STEP))
_ZERO_GRANULE = bytes(4 << 10)  # zeros are looked for in pieces of the size that file systems have for blocks


def convert(
    disk: Disk,
    target: AnyPath | BinaryIO,
    *,
    format: Format = "raw",  # as `open` has its `file`
    exact: bool = False,
    overwrite: bool = False,
    sparse: bool = True,
    detect_zeroes: bool = False,
    lost_map: AnyPath | None = None,
    progress: Progress | None = None,
    changing: bool = False,
    verify_source: bool = False,
) -> None:
    """Write all bytes of a disk or partition to `target`, a path or a binary file object, which gets them in order.

    A file has its name only when it is whole and on the disk; a block device is written in place. Either is replaced
    only with `overwrite`, an image of the disk's chain never. A file has holes where the disk's extents and its images'
    own holes say that there are zeros, with `detect_zeroes` also for each 4 KB of zeros inside data; without `sparse`
    none. For a disk opened with `errors="zero"`, `lost_map` is the path of a GNU ddrescue mapfile to write, which is
    there before the target is.

    With `format` "vhd" it is a fixed VHD: the disk, zeros up to whole megabytes as Azure wants them (with `exact` only
    to whole sectors), and a footer.

    An image that is seen to change meanwhile is an error, and a file is not named then, unless `changing` allows it.
    `verify_source` reads the disk a second time and compares.

    Raises what a read of the disk raises; `FileExistsError`, `shutil.SameFileError` and other `OSError`s;
    `OverflowError` for a disk over 2,040 GiB as a VHD.
    """
    end, footer = (disk.size, b"") if format == "raw" else _vhd_end(disk.size, exact)
    protected = {image.identity for image in disk.images}
    with (
        _open_target(target, end + len(footer), protected, overwrite, sparse) as output,
        _open_map(lost_map, target, protected, overwrite) as map_file,  # before the copy, which may take hours
        steady(disk, changing=changing),
    ):
        output.expects_second_reading = verify_source
        _Copy(disk, output, detect_zeroes=detect_zeroes, progress=progress).run()
        if verify_source:
            _read_again(disk, output)
        output.write_zeros(disk.size, end - disk.size)
        output.write(memoryview(footer), end)
        if map_file is not None:
            write_all_at(map_file.fd, memoryview(mapfile(disk.size, disk.lost, disk.doubtful).encode()), 0)


def _vhd_end(size: int, exact: bool) -> tuple[int, bytes]:
    """Where the footer of a VHD begins, and the footer."""
    end = padded_size(size, exact=exact)
    return end, vhd_footer(end)


class _Output(ABC):
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


class _Stream(_Output):
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


class _Placed(_Output):
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


class _Copy:
    """One run of `convert`."""

    def __init__(self, disk: Disk, output: _Output, *, detect_zeroes: bool, progress: Progress | None) -> None:
        self._disk = disk
        self._output = output
        self._detect_zeroes = detect_zeroes
        self._copier = output if isinstance(output, _Placed) and not detect_zeroes else None
        self._progress = progress
        self._buffer = bytearray(_STEP)

    def run(self) -> None:
        if is_remote(self._disk):
            self._run_ahead()
        else:
            self._run_in_turn()

    def _run_ahead(self) -> None:
        """What lies between the data is zeros."""
        done = 0
        for offset, data in read_ahead(self._disk, self._data_ranges()):
            self._output.write_zeros(done, offset - done)
            self._put(data, offset, bytes(data) if self._detect_zeroes else None)
            done = offset + len(data)
            self._report(done)
        self._output.write_zeros(done, self._disk.size - done)
        self._report(self._disk.size)

    def _data_ranges(self) -> Iterator[tuple[int, int]]:
        """Offset and length of what has data, in steps, wherever it is in which file."""
        start = end = 0
        for extent in self._disk.extents():
            is_there = self._disk.account(extent)
            if not extent.data and (is_there or not any(self._disk.fill)):
                continue
            if extent.disk_offset != end:
                if start < end:
                    yield start, end - start
                start = extent.disk_offset
            end = extent.disk_offset + extent.length
            while end - start >= READ_AHEAD_STEP:
                yield start, READ_AHEAD_STEP
                start += READ_AHEAD_STEP
        if start < end:
            yield start, end - start

    def _run_in_turn(self) -> None:
        done, size = 0, self._disk.size
        while done < size:
            for extent in self._disk.extents(offset=done):
                if extent.data and extent.length < _SMALL:
                    break
                self._copy(extent)
                done = extent.disk_offset + extent.length
            else:
                return
            # A call of the kernel for each small extent would take longer than to read them, with all that follows.
            length = min(_STEP, size - done)
            self._transfer(done, length, detect_zeroes=True)
            done += length

    def _copy(self, extent: Extent) -> None:
        is_there = self._disk.account(extent)
        if extent.file_offset is not None:
            self._copy_data(extent, extent.file_offset)
        elif is_there or not any(self._disk.fill):
            self._output.write_zeros(extent.disk_offset, extent.length)
            self._report(extent.disk_offset + extent.length)
        else:
            self._transfer(extent.disk_offset, extent.length, detect_zeroes=False)

    def _copy_data(self, extent: Extent, first: int) -> None:
        """Copy what the image's file has; where that has holes, there are zeros, too."""
        source = self._disk.images[extent.depth].map.source
        shift, last = extent.disk_offset - first, first + extent.length
        done = first
        for start, end in source.data_ranges(first, last):
            self._output.write_zeros(done + shift, start - done)
            for at in range(start, end, _COPY_STEP):
                length = min(_COPY_STEP, end - at)
                file = source.file_of(at, length) if self._copier else None
                copied = self._copier.copy(file.fd, at, at + shift, length) if self._copier and file else 0
                self._transfer(at + shift + copied, length - copied, detect_zeroes=self._detect_zeroes)
            done = end
        self._output.write_zeros(done + shift, last - done)
        self._report(last + shift)

    def _transfer(self, offset: int, length: int, *, detect_zeroes: bool) -> None:
        """Read and write; what the kernel copied is not seen here."""
        for start in range(offset, offset + length, _STEP):
            data = memoryview(self._buffer)[: offset + length - start]
            self._disk.preadinto(data, start)
            self._put(data, start, self._buffer if detect_zeroes else None)
        self._report(offset + length)

    def _put(self, data: memoryview, offset: int, look_into: bytes | bytearray | None) -> None:
        """Write; but what is zeros as such, if there is the same data to look into."""
        if look_into is None:
            self._output.write(data, offset)
            return
        for start, end, is_zero in _stretches(look_into, len(data)):
            if is_zero:
                self._output.write_zeros(offset + start, end - start)
            else:
                self._output.write(data[start:end], offset + start)

    def _report(self, done: int) -> None:
        if self._progress:
            self._progress(done, self._disk.size)


def _read_again(disk: Disk, output: _Output) -> None:
    """Read the disk a second time; `ImageChangedError` where that gives something else."""
    for start, part in read_ahead(disk, steps(disk.size)) if is_remote(disk) else _in_turn(disk):
        if not output.is_same(part, start):
            raise changed_error(disk.name)


def _in_turn(disk: Disk) -> Iterator[tuple[int, memoryview]]:
    buffer = memoryview(bytearray(_STEP))
    for start in range(0, disk.size, _STEP):
        part = buffer[: disk.size - start]
        disk.preadinto(part, start)
        yield start, part


def _stretches(data: bytes | bytearray, length: int) -> Iterator[tuple[int, int, bool]]:
    """The first `length` bytes cut into granules that are zeros, and what lies between: start, end, whether zeros."""
    granules = range(0, length, len(_ZERO_GRANULE))
    for is_zero, alike in groupby(granules, lambda at: data.startswith(_ZERO_GRANULE, at, length)):
        starts = list(alike)
        yield starts[0], min(starts[-1] + len(_ZERO_GRANULE), length), is_zero


@contextmanager
def _open_target(
    target: AnyPath | BinaryIO, size: int, protected: Collection[Hashable], overwrite: bool, sparse: bool
) -> Iterator[_Output]:
    if not isinstance(target, (str, bytes, os.PathLike)):
        yield _Stream(target)
        target.flush()
        return
    mode = _mode(target)
    if stat.S_ISBLK(mode):
        with _open_device(target, size, protected, overwrite) as fd:
            yield _Placed(fd, reads_zeros=False)
            os.fsync(fd)
    elif stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        with open(target, "wb", buffering=0) as file:
            yield _Stream(file)
    else:
        with WholeFile(target, overwrite=overwrite, protected=protected) as whole:
            os.truncate(whole.fd, size)
            yield _Placed(whole.fd, reads_zeros=sparse)


@contextmanager
def _open_map(
    path: AnyPath | None, target: AnyPath | BinaryIO, protected: Collection[Hashable], overwrite: bool
) -> Iterator[WholeFile | None]:
    if path is None:
        yield None
        return
    with WholeFile(path, overwrite=overwrite, protected=protected) as whole:
        if isinstance(target, (str, bytes, os.PathLike)) and os.path.realpath(os.fsdecode(target)) == whole.path:
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
        yield fd
    finally:
        os.close(fd)
