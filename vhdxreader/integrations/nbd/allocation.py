"""The `base:allocation` context: which ranges of an export are zeros that have no space.

In: an export. Out: lengths and states for a reply.
"""

from __future__ import annotations

from collections.abc import Iterator

from .export import Export
from .protocol import State

_AHEAD = 64 << 30  # bytes that are looked at in one go: clients ask for the next ones in steps of 128 MiB


class Allocation:
    """What one client is told of an export. It remembers the last range, which may reach behind what was asked."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._last = (0, 0, 0)  # start, end, state

    def states(self, offset: int, length: int, most: int) -> list[tuple[int, int]]:
        """Length and state of the ranges from `offset` on, at most so many; neighbours alike are one. `OSError` where
        it cannot be told."""
        start, end, state = self._last
        if start <= offset and offset + length <= end:
            return [(length, state)]
        try:
            return list(self._found(offset, length, most, _AHEAD))
        except OSError:  # perhaps of what lies ahead
            return list(self._found(offset, length, most, 0))

    def _found(self, offset: int, length: int, most: int, ahead: int) -> Iterator[tuple[int, int]]:
        stop = offset + length
        for start, end, state in self._ranges(offset, stop, max(length, ahead)):
            self._last = start, end, state
            yield min(end, stop) - start, state
            most -= 1
            if not most:
                return

    def _ranges(self, offset: int, stop: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Start, end and state of all ranges up to `stop`; the last one may end behind it."""
        start = end = offset
        state = -1
        for extent in self._export.extents(offset=offset, length=min(size, self._export.size - offset)):
            found = State.HOLE | State.ZERO if extent.zero else 0
            if found != state and end > start:
                yield start, end, state
                start = end
            state = found
            end += extent.length
            if end >= stop:
                break
        yield start, end, state
