"""Which space of the file is taken, a bit for each megabyte: finds blocks that share it, and what belongs to nothing.

In: stretches of the file. Out: whether they were free. Memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import spec

MAX_TRACKED = 128 * spec.TB  # of the file: 16 MiB of bits; the largest virtual disk needs little more than half of it
_PIECE = 4096  # bytes of bits that are skipped at once


class SpaceMap:
    """Which megabytes of the file are taken, one bit each."""

    def __init__(self, file_size: int) -> None:
        self._end = min(-(-file_size // spec.MB), MAX_TRACKED // spec.MB)
        self._bits = bytearray(-(-self._end // 8))

    def take(self, start: int, end: int) -> bool:
        """Take the bytes from `start` up to `end`, in whole megabytes; whether all of them were free until now."""
        first, last = start // spec.MB, min(-(-end // spec.MB), self._end)
        if first >= last:
            return True
        where = slice(first // 8, (last + 7) // 8)
        taken = int.from_bytes(self._bits[where], "little")
        wanted = (1 << last - first) - 1 << first % 8
        self._bits[where] = (taken | wanted).to_bytes(where.stop - where.start, "little")
        return not taken & wanted

    def free(self, start: int, end: int) -> Iterator[int]:
        """Where the megabytes from `start` up to `end` begin that are not taken."""
        for number in range(start // spec.MB, min(-(-end // spec.MB), self._end)):
            if not self._bits[number >> 3] >> (number & 7) & 1:
                yield number * spec.MB

    def taken_in(self, start: int, end: int) -> Iterator[int]:
        """Where the megabytes from `start` up to `end` begin that are taken."""
        for number in range(start // spec.MB, min(-(-end // spec.MB), self._end)):
            if self._bits[number >> 3] >> (number & 7) & 1:
                yield number * spec.MB

    def count(self, start: int, end: int) -> int:
        """How many bytes are taken from `start` up to `end`, in whole megabytes."""
        first, last = start // spec.MB, min(-(-end // spec.MB), self._end)
        bits = int.from_bytes(self._bits[first // 8 : (last + 7) // 8], "little") >> first % 8
        return (bits & (1 << max(last - first, 0)) - 1).bit_count() * spec.MB

    def is_free(self, start: int, end: int) -> bool:
        """Whether none of the megabytes from `start` up to `end` is taken."""
        first, last = start // spec.MB, min(-(-end // spec.MB), self._end)
        bits = int.from_bytes(self._bits[first // 8 : (last + 7) // 8], "little") >> first % 8
        return first >= last or not bits & (1 << last - first) - 1

    def ranges(self, *, taken: bool) -> Iterator[tuple[int, int]]:
        """Start and end, in whole megabytes, of each stretch that is taken, or of each that is not."""
        inside, outside = (0xFF, 0) if taken else (0, 0xFF)  # bytes of nothing but this kind, and of the other
        start = None
        for at in range(0, len(self._bits), _PIECE):
            piece = self._bits[at : at + _PIECE]
            if piece.count(outside if start is None else inside) == len(piece):
                continue
            for i, byte in enumerate(piece, at):
                if byte == (outside if start is None else inside):
                    continue
                for number in range(8 * i, min(8 * i + 8, self._end)):
                    if (byte >> (number & 7) & 1) == taken:
                        start = number if start is None else start
                    elif start is not None:
                        yield start * spec.MB, number * spec.MB
                        start = None
        if start is not None:
            yield start * spec.MB, self._end * spec.MB

    def both(self, other: SpaceMap) -> SpaceMap:
        """What is taken here and in `other`, of the same file."""
        return self._combined(int.from_bytes(self._bits, "little") & int.from_bytes(other._bits, "little"))

    def without(self, other: SpaceMap) -> SpaceMap:
        """What is taken here and not in `other`, of the same file."""
        return self._combined(int.from_bytes(self._bits, "little") & ~int.from_bytes(other._bits, "little"))

    def either(self, other: SpaceMap) -> SpaceMap:
        """What is taken here or in `other`, of the same file."""
        return self._combined(int.from_bytes(self._bits, "little") | int.from_bytes(other._bits, "little"))

    def _combined(self, bits: int) -> SpaceMap:
        new = SpaceMap(0)
        new._end = self._end
        new._bits = bytearray(bits.to_bytes(len(self._bits), "little"))
        return new

    def taken(self) -> int:
        """How many bytes are taken, in whole megabytes."""
        return int.from_bytes(self._bits, "little").bit_count() * spec.MB
