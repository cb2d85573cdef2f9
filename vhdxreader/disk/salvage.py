"""What a salvaging read could not read, and filled with zeros instead.

In: ranges of the virtual disk with the error that a read would raise. Out: a sorted, merged list of bounded length.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

from ..errors import VhdxError
from ..format.rules import finding

_MAX_RANGES = 1 << 16


@dataclass(frozen=True, slots=True)
class Lost:
    """`length` bytes at `disk_offset` of the virtual disk that were read as zeros, but are not known to be zeros.

    `rule` is broken in the file at `depth` of the chain (0 is the opened one); `reason` says how, at the range's start.
    """

    disk_offset: int
    length: int
    depth: int
    rule: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        problem = finding(self.rule, self.reason) if self.rule else VhdxError(self.reason)
        return {
            "disk_offset": self.disk_offset,
            "length": self.length,
            "depth": self.depth,
            "problem": {**problem.to_dict(), "disk_offset": self.disk_offset},
        }

    @property
    def means(self) -> str:
        """What a breach of the rule means for the data; true of the whole range."""
        return finding(self.rule, self.reason).means if self.rule else ""

    @property
    def end(self) -> int:
        """The first byte behind the range."""
        return self.disk_offset + self.length

    def touches(self, other: Lost) -> bool:
        """Whether no byte lies between the two."""
        return self.disk_offset <= other.end and other.disk_offset <= self.end

    def joined(self, other: Lost, reason: str | None = None) -> Lost:
        """The range from the first byte of the two to the last."""
        first = min(self, other, key=lambda lost: lost.disk_offset)
        length = max(self.end, other.end) - first.disk_offset
        return Lost(first.disk_offset, length, first.depth, first.rule, reason or first.reason)


class LostRanges:
    """Ranges in order. Neighbours for which the same rule is broken in the same file are one. Safe for threads.

    At most 65 536 are kept. Where there are more, some are joined over what lies between them, and say so: what is in
    no range was read as it is, always.
    """

    def __init__(self) -> None:
        self._ranges: list[Lost] = []
        self._lock = threading.Lock()

    def add(self, offset: int, length: int, depth: int, error: VhdxError) -> None:
        """Record that `length` bytes at `offset` cannot be read because of `error`."""
        lost = Lost(offset, length, depth, error.rule or "", str(error))
        with self._lock:
            self._insert(lost)
            if len(self._ranges) > _MAX_RANGES:
                self._join_nearest(lost.disk_offset)

    def snapshot(self) -> tuple[Lost, ...]:
        """All ranges now, by offset."""
        with self._lock:
            return tuple(self._ranges)

    def _insert(self, lost: Lost) -> None:
        ranges = self._ranges
        first = last = bisect_left(ranges, lost.disk_offset, key=lambda known: known.disk_offset)
        while first and _alike(ranges[first - 1], lost):
            first -= 1
            lost = lost.joined(ranges[first])
        while last < len(ranges) and _alike(ranges[last], lost):
            lost = lost.joined(ranges[last])
            last += 1
        ranges[first:last] = [lost]

    def _join_nearest(self, offset: int) -> None:
        ranges = self._ranges
        here = bisect_right(ranges, offset, key=lambda known: known.disk_offset) - 1
        first = min((i for i in (here - 1, here) if 0 <= i < len(ranges) - 1), key=lambda i: _gap(ranges, i))
        reason = f"more than {_MAX_RANGES} ranges are lost; not all of this one is"
        ranges[first : first + 2] = [ranges[first].joined(ranges[first + 1], reason)]


def _alike(one: Lost, other: Lost) -> bool:
    return one.touches(other) and (one.rule, one.depth) == (other.rule, other.depth)


def _gap(ranges: list[Lost], index: int) -> int:
    return ranges[index + 1].disk_offset - ranges[index].end
