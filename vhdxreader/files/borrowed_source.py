"""A source that somebody else closes.

In: a source. Out: the same, but for its end.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence

from .descriptor_source import DescriptorSource
from .source import Source


class BorrowedSource(Source):
    """All that `base` is, except that closing it closes nothing."""

    def __init__(self, base: Source) -> None:
        self.name, self.path, self.size, self.identity = base.name, base.path, base.size, base.identity
        self.is_remote, self.version = base.is_remote, base.version
        self._base = base

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        inside = buffer[: max(self.size - offset, 0)]
        self._base.read_into(inside, offset)
        return len(inside)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        self._base.read_into(buffer, offset)

    def read_at(self, offset: int, size: int) -> bytes:
        return self._base.read_at(offset, size)

    def read_many(self, parts: Sequence[tuple[memoryview, int]]) -> None:
        self._base.read_many(parts)

    def will_read(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._base.will_read(ranges)

    def neighbour(self, relative: str) -> Source | None:
        return self._base.neighbour(relative)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        return self._base.data_ranges(start, end)

    def file_of(self, offset: int, size: int) -> DescriptorSource | None:
        return self._base.file_of(offset, size)

    def status(self) -> os.stat_result | None:
        return self._base.status()

    def stamp(self) -> Hashable:
        return self._base.stamp()

    def files(self) -> set[Hashable]:
        return self._base.files()

    def writer_lock(self) -> str:
        return self._base.writer_lock()

    def close(self) -> None:
        """Nothing."""
