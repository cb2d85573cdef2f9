"""What a salvaging read could not read and filled with something else, and what it gave without being sure.

In: ranges of the virtual disk, each with the rule that is broken. Out: sorted, merged lists of bounded length.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import VhdxError
from ..files.source import fill_zeros
from ..format.rules import finding
from .doubts import Doubts

_MAX_RANGES = 1 << 16
_FILL_STEP = 1 << 20

R = TypeVar("R", bound="DamagedRange")


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """`length` bytes at `disk_offset` of the virtual disk.

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

    def touches(self, other: DamagedRange) -> bool:
        """Whether no byte lies between the two."""
        return self.disk_offset <= other.end and other.disk_offset <= self.end

    def joined(self: R, other: R, reason: str | None = None) -> R:
        """The range from the first byte of the two to the last."""
        first = min(self, other, key=lambda lost: lost.disk_offset)
        length = max(self.end, other.end) - first.disk_offset
        return type(self)(first.disk_offset, length, first.depth, first.rule, reason or first.reason)


@dataclass(frozen=True, slots=True)
class Lost(DamagedRange):
    """Bytes that cannot be read: zeros, or what was asked for, were given instead."""


@dataclass(frozen=True, slots=True)
class Doubtful(DamagedRange):
    """Bytes that are in the file and were given, though nothing proves that they are the disk's at this place."""


class DamagedRanges(Generic[R]):
    """Ranges of one kind in order. Neighbours for which the same rule is broken in the same file are one. Safe for
    threads.

    At most 65 536 are kept. Where there are more, some are joined over what lies between them, and say so: what is in
    no range was read as it is, always.
    """

    def __init__(self, kind: type[R]) -> None:
        self._kind = kind
        self._ranges: list[R] = []
        self._waiting: list[R] = []  # to be put among the others
        self._busy = False
        self._lock = threading.RLock()

    def add(self, offset: int, length: int, depth: int, rule: str, reason: str) -> None:
        """Record a range. A signal handler in the middle of this leaves its own to the `add` that it is in."""
        with self._lock:
            self._waiting.append(self._kind(offset, length, depth, rule, reason))
            if not self._busy:
                self._insert_waiting()

    def snapshot(self) -> tuple[R, ...]:
        """All ranges now, by offset."""
        with self._lock:
            if not self._busy:
                self._insert_waiting()
            if not self._waiting:
                return tuple(self._ranges)
            now: DamagedRanges[R] = DamagedRanges(self._kind)
            now._ranges, now._waiting = self._ranges.copy(), self._waiting.copy()
            return now.snapshot()

    def _insert_waiting(self) -> None:
        self._busy = True
        try:
            while self._waiting:
                lost = self._waiting[0]
                self._insert(lost)
                if len(self._ranges) > _MAX_RANGES:
                    self._join_nearest(lost.disk_offset)
                del self._waiting[0]
        finally:
            self._busy = False

    def _insert(self, lost: R) -> None:
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
        reason = f"more than {_MAX_RANGES} ranges are listed; not all of this one should be"
        ranges[first : first + 2] = [ranges[first].joined(ranges[first + 1], reason)]


def _alike(one: DamagedRange, other: DamagedRange) -> bool:
    return one.touches(other) and (one.rule, one.depth) == (other.rule, other.depth)


def _gap(ranges: Sequence[DamagedRange], index: int) -> int:
    return ranges[index + 1].disk_offset - ranges[index].end


class Salvaging:
    """What a salvaging reader keeps: lists of what is `lost` and `doubtful`, and how lost bytes are filled.

    `doubts` are those of each file of the chain. Where it `raises`, nothing is lost: only doubtful bytes are listed.
    """

    def __init__(self, doubts: Sequence[Doubts], *, fill: bytes = b"\0", raises: bool = False) -> None:
        self.lost: DamagedRanges[Lost] = DamagedRanges(Lost)
        self.doubtful: DamagedRanges[Doubtful] = DamagedRanges(Doubtful)
        self.doubts = tuple(doubts)
        self.fill = fill
        self.raises = raises

    def doubt(self, offset: int, length: int, depth: int) -> None:
        """List what is doubtful of bytes that come from the file at `depth`, by way of all above it."""
        for number in range(depth + 1):
            for doubt in self.doubts[number].of(offset, length):
                self.doubtful.add(doubt.offset, doubt.length, number, doubt.rule, doubt.reason)

    def is_certain(self, offset: int, length: int, depth: int) -> bool:
        """Whether none of these bytes is doubtful."""
        return not any(True for number in range(depth + 1) for _ in self.doubts[number].of(offset, length))

    def fill_lost(self, view: memoryview, offset: int) -> None:
        """Fill bytes of the virtual disk that are lost; the pattern begins at multiples of its length."""
        if not any(self.fill):
            fill_zeros(view)
            return
        size = len(self.fill)
        pattern = self.fill * (1 + -(-_FILL_STEP // size))
        for at in range(0, len(view), _FILL_STEP):
            part, start = view[at : at + _FILL_STEP], (offset + at) % size
            part[:] = pattern[start : start + len(part)]
