"""Which space of the file is taken, a bit for each megabyte: finds blocks that share it, and what belongs to nothing.

In: stretches of the file. Out: whether they were free. Memory is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

from .. import spec

MAX_TRACKED = 128 * spec.TB  # of the file: 16 MB of bits; the largest virtual disk needs little more than half of it


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

    def taken(self) -> int:
        """How many bytes are taken, in whole megabytes."""
        return int.from_bytes(self._bits, "little").bit_count() * spec.MB
