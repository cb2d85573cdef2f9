"""Export of a virtual disk as raw or fixed VHD: to a file, a block device or a stream.

In: an opened disk and where to write. Out: the same bytes there, holes where nothing is but zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import BinaryIO, Literal, TypeAlias

from ..disk.address_map import Extent
from ..disk.needed_files import needed_files
from ..disk.partition_stream import PartitionStream
from ..disk.virtual_disk import VirtualDisk
from ..files.opening import AnyPath
from ..files.writing import write_all_at
from ..format.stamp import changed_error
from .convert_targets import Output, PlacedOutput, open_map, open_target
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
_SMALL = 64 << 10  # data extents that are shorter are read, not copied
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
    only with `overwrite`, a file that the disk's images are read from, or name as a
    parent, never. A file has holes where the disk's extents and its images'
    own holes say that there are zeros, with `detect_zeroes` also for each 4 KiB of zeros inside data; without `sparse`
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
    protected = needed_files(disk)
    with (
        open_target(target, end + len(footer), protected, overwrite, sparse) as output,
        open_map(lost_map, target, protected, overwrite) as map_file,  # before the copy, which may take hours
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


class _Copy:
    """One run of `convert`."""

    def __init__(self, disk: Disk, output: Output, *, detect_zeroes: bool, progress: Progress | None) -> None:
        self._disk = disk
        self._output = output
        self._detect_zeroes = detect_zeroes
        self._copier = output if isinstance(output, PlacedOutput) and not detect_zeroes else None
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


def _read_again(disk: Disk, output: Output) -> None:
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
