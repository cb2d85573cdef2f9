"""A source as it is after writes that were only made in memory: what replaying a log gives."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import index

from .. import spec
from ..errors import TruncatedImageError
from .descriptor_source import DescriptorSource
from .range_union import Ranges
from .source import Source, fill_zeros

_SIZE = spec.LOG_SECTOR_SIZE
_SHIFT = _SIZE.bit_length() - 1
_EDGES = spec.LEADING_BYTES + spec.TRAILING_BYTES
_BASE, _ZERO = -1, -2  # what a piece comes from, where it is not the index of a sector


@dataclass(frozen=True, slots=True)
class Sectors:
    """Sectors of 4 KiB that replace the base's, ascending and each there once.

    Sector `numbers[i]` of the file has its content at `positions[i]` of the base, a data sector [2.3.1.4], except for
    the leading and trailing bytes, which are `edges[12 * i:12 * i + 12]`.
    """

    numbers: Sequence[int]
    positions: Sequence[int]
    edges: bytes


class OverlaySource(Source):
    """`base` with ranges of zeros over it and sectors over both, said to be `size` long. `zeros` are in sectors.

    What is not overlaid goes to the base as it is, without a copy. Behind the base's end only what is overlaid is
    there: all else is missing, and a read of it fails. The overlay closes its base.
    """

    def __init__(self, base: Source, size: int, zeros: Ranges, sectors: Sectors) -> None:
        self.name = base.name
        self.path = base.path
        self.identity = base.identity
        self.is_remote = base.is_remote
        self.size = max(size, base.size)
        self.zeros = zeros
        self.sectors = sectors
        self._base = base
        firsts = [*sectors.numbers[:1], *zeros.starts[:1]]
        lasts = [*(number + 1 for number in sectors.numbers[-1:]), *zeros.ends[-1:]]
        self._first = min(firsts, default=0) << _SHIFT
        self._last = max(lasts, default=0) << _SHIFT

    @property
    def base(self) -> Source:
        """What lies below: the file as it is."""
        return self._base

    def is_overlaid(self, offset: int, size: int) -> bool:
        """Whether any of the `size` bytes at `offset` are not the base's."""
        end = offset + size
        if end > self._base.size:
            return True
        if end <= self._first or offset >= self._last:
            return False
        zeros, numbers = self.zeros, self.sectors.numbers
        sector = offset >> _SHIFT
        i = bisect_right(zeros.ends, sector)
        if i < len(zeros.starts) and zeros.starts[i] << _SHIFT < end:
            return True
        i = bisect_left(numbers, sector)
        return i < len(numbers) and numbers[i] << _SHIFT < end

    @property
    def whole_end(self) -> int:
        return self._base.size

    def holds(self, offset: int, length: int) -> tuple[bool, int]:
        offset, length = index(offset), index(length)
        end = offset + length
        if end <= self._base.size:
            return True, length
        stretches = self._stretches(offset, end)
        done, held = next(stretches, (offset, False))  # none, of no length
        for stop, alike in stretches:
            if alike != held:
                break
            done = stop
        return held, done - offset

    def overlaid_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that are not the base's, in order; neighbours are not joined."""
        for at, stop, origin in self._pieces(start, end):
            if origin != _BASE:
                yield at, stop

    def overlaid_bytes(self) -> int:
        """How many bytes of the file sectors and zeros replace."""
        zeros = self.zeros
        alone = sum(not zeros.covers(number) for number in self.sectors.numbers)
        return (zeros.total() + alone) << _SHIFT

    def read_into(self, buffer: memoryview, offset: int) -> None:
        offset = index(offset)
        if not self.is_overlaid(offset, len(buffer)):
            self._base.read_into(buffer, offset)
            return
        for start, stop, origin in self._pieces(offset, offset + len(buffer)):
            part = buffer[start - offset : stop - offset]
            if origin == _BASE:
                self._read_base(part, start)
            elif origin == _ZERO:
                fill_zeros(part)
            else:
                within = start - (self.sectors.numbers[origin] << _SHIFT)
                part[:] = self._sector(origin)[within : within + len(part)]

    def read_many(self, parts: Sequence[tuple[memoryview, int]]) -> None:
        parts = [(buffer, index(offset)) for buffer, offset in parts]
        self._base.read_many([part for part in parts if not self.is_overlaid(part[1], len(part[0]))])
        for buffer, offset in parts:
            if self.is_overlaid(offset, len(buffer)):
                self.read_into(buffer, offset)

    def will_read(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._base.will_read(ranges)

    def neighbour(self, relative: str) -> Source | None:
        return self._base.neighbour(relative)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        start, end = index(start), index(end)
        return iter([(start, end)]) if self.is_overlaid(start, end - start) else self._base.data_ranges(start, end)

    def file_of(self, offset: int, size: int) -> DescriptorSource | None:
        offset, size = index(offset), index(size)
        return None if self.is_overlaid(offset, size) else self._base.file_of(offset, size)

    def status(self) -> os.stat_result | None:
        return self._base.status()

    def stamp(self) -> Hashable:
        return self._base.stamp()

    def files(self) -> set[Hashable]:
        return self._base.files()

    def writer_lock(self) -> str:
        return self._base.writer_lock()

    def close(self) -> None:
        self._base.close()

    def discard(self) -> None:
        self._base.discard()

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        count = max(min(len(buffer), self.size - offset), 0)
        self.read_into(buffer[:count], offset)
        return count

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The range from `start` up to `end`, cut by what it comes from: sectors lie on top."""
        numbers = self.sectors.numbers
        i = bisect_left(numbers, start >> _SHIFT)
        while start < end:
            sector_start = numbers[i] << _SHIFT if i < len(numbers) else end
            if start < sector_start:
                stop = min(sector_start, end)
                yield from self._pieces_below(start, stop)
            else:
                stop = min(sector_start + _SIZE, end)
                yield start, stop, i
                i += 1
            start = stop

    def _pieces_below(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The same below the sectors: zeros, else the base."""
        starts, ends = self.zeros
        i = bisect_right(ends, start >> _SHIFT)
        while start < end:
            zeros_start = starts[i] << _SHIFT if i < len(starts) else end
            if start < zeros_start:
                stop = min(zeros_start, end)
                yield start, stop, _BASE
            else:
                stop = min(ends[i] << _SHIFT, end)
                yield start, stop, _ZERO
                i += 1
            start = stop

    def _stretches(self, start: int, end: int) -> Iterator[tuple[int, bool]]:
        """Where each piece of a range ends, in order, and whether it is there."""
        file_end = self._base.size
        for at, stop, origin in self._pieces(start, end):
            if origin == _BASE and at < file_end < stop:
                yield file_end, True
            yield stop, origin != _BASE or stop <= file_end

    def _read_base(self, part: memoryview, start: int) -> None:
        file_end = self._base.size
        if start + len(part) > file_end:
            message = f"the file ends at {file_end:#x}, and nothing in its log writes all that is read"
            raise TruncatedImageError(message, file_offset=max(start, file_end))
        self._base.read_into(part, start)

    def _sector(self, number: int) -> bytes:
        """The 4 KiB that a data sector and its descriptor stand for [2.3.1.4]."""
        data = self._base.read_at(self.sectors.positions[number], _SIZE)
        edges = self.sectors.edges[_EDGES * number : _EDGES * (number + 1)]
        leading, trailing = edges[: spec.LEADING_BYTES], edges[spec.LEADING_BYTES :]
        return leading + data[spec.LEADING_BYTES : _SIZE - spec.TRAILING_BYTES] + trailing
