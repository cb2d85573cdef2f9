"""Comparing two disks byte by byte, without a look at what both maps say is zeros, or the very same bytes.

In: two disks, raw files or streams. Out: whether they are the same, and where not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, NamedTuple, TypeAlias, cast

from .. import spec
from ..disk.partition_stream import PartitionStream
from ..disk.virtual_disk import VirtualDisk
from ..files.opening import PathOrFile, open_source
from ..files.source import Source
from .read_ahead import is_remote

Progress = Callable[[int, int], object]  # bytes done, and of all
_Bytes: TypeAlias = "bytes | bytearray"

_STEP = spec.MB // 8  # both sides' bytes stay in the processor's cache until they are compared
_REMOTE_STEP = spec.MB
_ZEROS = bytes(_REMOTE_STEP)
_GRANULE = 512  # bytes: what ranges consist of
_ENDLESS = 1 << 63
_MAX_RANGES = 1 << 16


@dataclass(frozen=True, slots=True)
class DifferingRange:
    """`length` bytes at `disk_offset` of both disks, in sectors of 512 bytes of which each has a differing byte."""

    disk_offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """`size_a` and `size_b` are the disks' sizes, None for a stream that was not read to its end; what is behind the
    end of the smaller one counts as compared with zeros. `first_difference` is the offset of the first byte that
    differs, `differing_byte_count` how many do. `ranges` are at most 65 536 of the `range_count` ranges in which
    they lie. `equal` is what was asked for: with `strict`, disks of different sizes are not.
    """

    size_a: int | None
    size_b: int | None
    equal: bool
    first_difference: int | None
    differing_byte_count: int
    range_count: int
    ranges: tuple[DifferingRange, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "equal": self.equal,
            "virtual_sizes": [self.size_a, self.size_b],
            "first_disk_offset": self.first_difference,
            "differing_byte_count": self.differing_byte_count,
            "range_count": self.range_count,
            "ranges": [{"disk_offset": one.disk_offset, "length": one.length} for one in self.ranges],
        }


class Stretch(NamedTuple):
    """Bytes from `start` up to `end` of a disk. `origin` is the same for the same bytes of the same file; None for
    zeros."""

    start: int
    end: int
    origin: Hashable | None


class Side(ABC):
    """One of the two. `size` is None as long as it is not known."""

    size: int | None
    is_remote: bool = False

    @abstractmethod
    def stretches(self) -> Iterator[Stretch]:
        """All of it, in order and without gaps."""

    @abstractmethod
    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill the buffer from `offset` on, behind all that was read before; how many bytes, fewer only at the end."""


class DiskSide(Side):
    """A virtual disk, or a partition of one."""

    def __init__(self, disk: VirtualDisk | PartitionStream) -> None:
        self.size: int = disk.size
        self.is_remote = is_remote(disk)
        self._disk = disk
        whole = disk.disk if isinstance(disk, PartitionStream) else disk
        # After a log's replay, the bytes at a file's offset are others.
        self._origins = [(image.identity, image.log is not None and image.log.is_replayed) for image in whole.images]

    def stretches(self) -> Iterator[Stretch]:
        for extent in self._disk.extents():
            origin: Hashable | None = object()  # to be read, where it raises
            if extent.zero:
                origin = None
            elif extent.file_offset is not None:
                origin = self._origins[extent.depth], extent.file_offset - extent.disk_offset
            yield Stretch(extent.disk_offset, extent.disk_offset + extent.length, origin)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return self._disk.preadinto(buffer, offset)


class RawSide(Side):
    """A raw file, whose holes are known to be zeros."""

    def __init__(self, source: Source) -> None:
        self.size: int = source.size
        self.is_remote = source.is_remote
        self._source = source

    def stretches(self) -> Iterator[Stretch]:
        done = 0
        for start, end in chain(self._source.data_ranges(0, self.size), [(self.size, self.size)]):
            if done < start:
                yield Stretch(done, start, None)
            if start < end:
                yield Stretch(start, end, ((self._source.identity, False), 0))
            done = end

    def read_into(self, buffer: memoryview, offset: int) -> int:
        there = buffer[: max(self.size - offset, 0)]
        self._source.read_into(there, offset)
        return len(there)


class StreamSide(Side):
    """A stream that can only be read from its beginning to its end, such as standard input."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = None
        self._file = file
        self._position = 0

    def stretches(self) -> Iterator[Stretch]:
        yield Stretch(0, _ENDLESS, object())

    def read_into(self, buffer: memoryview, offset: int) -> int:
        while self._position < offset and self._next(min(_STEP, offset - self._position)):
            pass
        done = 0
        while done < len(buffer) and (part := self._next(len(buffer) - done)):
            buffer[done : done + len(part)] = part
            done += len(part)
        return done

    def _next(self, size: int) -> bytes:
        part = b"" if self.size is not None else self._file.read(size)
        self._position += len(part)
        if not part and self.size is None:
            self.size = self._position
        return part


Comparable: TypeAlias = "VirtualDisk | PartitionStream | PathOrFile | Side"


def compare(
    a: Comparable, b: Comparable, *, strict: bool = False, first_only: bool = False, progress: Progress | None = None
) -> Comparison:
    """Compare two disks; with `first_only` no further than their first difference.

    Each is an opened disk, a partition of one, or something raw: a path, a seekable file object, or a stream that is
    read from where it stands to its end. Raises what a read of either raises: a comparison that could not look at all
    of them is none.
    """
    with ExitStack() as stack:
        return _compare(_side(a, stack), _side(b, stack), strict, first_only, progress)


def _side(given: Comparable, stack: ExitStack) -> Side:
    if isinstance(given, Side):
        return given
    if isinstance(given, (VirtualDisk, PartitionStream)):
        return DiskSide(given)
    if hasattr(given, "seekable") and not given.seekable():
        return StreamSide(cast("BinaryIO", given))
    return RawSide(stack.enter_context(open_source(given)))


def _compare(a: Side, b: Side, strict: bool, first_only: bool, progress: Progress | None) -> Comparison:
    found = _Differences()
    for at, data_a, data_b in _unlike_pieces(a, b, progress):
        if data_a != data_b:
            found.add(at, data_a, data_b)
            if first_only:
                break
    equal = found.first is None and not (strict and a.size != b.size)
    size = _ENDLESS if a.size is None or b.size is None else max(a.size, b.size)
    return Comparison(a.size, b.size, equal, found.first, found.bytes, found.range_count, found.ranges(size))


def _unlike_pieces(a: Side, b: Side, progress: Progress | None) -> Iterator[tuple[int, _Bytes, _Bytes]]:
    """What must be looked at: the offset and the bytes of either side, as many of both; zeros behind a side's end. They
    are good until the next are asked for."""
    step = _REMOTE_STEP if a.is_remote or b.is_remote else _STEP
    pieces_a, pieces_b = _Pieces(a, step), _Pieces(b, step)
    for start, end, origin_a, origin_b in _merged(a, b):
        if origin_a == origin_b:
            continue
        for at in range(start, end, step):
            if a.size is not None and b.size is not None and at >= max(a.size, b.size):
                return
            size = min(step, end - at)
            yield at, pieces_a.piece(origin_a, size, at), pieces_b.piece(origin_b, size, at)
            if progress is not None:
                progress(at + size, max(a.size or 0, b.size or 0, at + size))


class _Pieces:
    """Reads a side into one buffer again and again: fresh memory would cost more than the comparison. It is a
    `bytearray` since two of them are compared by `memcmp`, two views byte by byte."""

    def __init__(self, side: Side, step: int) -> None:
        self._side = side
        self._whole = bytearray(step)

    def piece(self, origin: Hashable | None, size: int, offset: int) -> _Bytes:
        """The bytes of a stretch of this origin; they are good until the next call."""
        if origin is None:
            return _ZEROS[:size]
        data = self._whole if size == len(self._whole) else bytearray(size)
        count = self._side.read_into(memoryview(data), offset)
        if count < size:
            data[count:] = bytes(size - count)
        return data


def _merged(a: Side, b: Side) -> Iterator[tuple[int, int, Hashable | None, Hashable | None]]:
    """Start, end and both origins of each stretch in which none of the two changes."""
    stretches_a, stretches_b = _endless(a), _endless(b)
    one, other, at = next(stretches_a), next(stretches_b), 0
    while at < _ENDLESS:
        end = min(one.end, other.end)
        if at < end:
            yield at, end, one.origin, other.origin
        at = end
        one = next(stretches_a, one) if one.end == end else one
        other = next(stretches_b, other) if other.end == end else other


def _endless(side: Side) -> Iterator[Stretch]:
    """The stretches of a side, and zeros behind them."""
    end = 0
    for stretch in side.stretches():
        end = stretch.end
        yield stretch
    if end < _ENDLESS:
        yield Stretch(end, _ENDLESS, None)


class _Differences:
    """What was found to differ."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.bytes = 0
        self.range_count = 0
        self._sectors: list[tuple[int, int]] = []  # first and end of each range
        self._next = 0  # behind the last of them

    def add(self, offset: int, a: _Bytes, b: _Bytes) -> None:
        """Count in a piece that differs."""
        difference = (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")
        self.bytes += len(a) - difference.count(0)
        if self.first is None:
            self.first = offset + len(difference) - len(difference.lstrip(b"\0"))
        for sector in range(offset // _GRANULE, -(-(offset + len(difference)) // _GRANULE)):
            start = max(sector * _GRANULE - offset, 0)
            end = min((sector + 1) * _GRANULE - offset, len(difference))
            if difference.count(0, start, end) < end - start and sector >= self._next:
                self._add_sector(sector)

    def _add_sector(self, sector: int) -> None:
        if sector > self._next or not self.range_count:
            self.range_count += 1
            if len(self._sectors) < _MAX_RANGES:
                self._sectors.append((sector, sector + 1))
        elif self.range_count == len(self._sectors):
            self._sectors[-1] = self._sectors[-1][0], sector + 1
        self._next = sector + 1

    def ranges(self, size: int) -> tuple[DifferingRange, ...]:
        """Those that are kept; none ends behind `size`."""
        stretches = ((first * _GRANULE, min(end * _GRANULE, size)) for first, end in self._sectors)
        return tuple(DifferingRange(start, end - start) for start, end in stretches)
