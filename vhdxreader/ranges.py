"""The union of very many ranges, in bounded memory.

A log can name millions of them, so they are kept as packed words and sorted a stretch at a time. Layer 1.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import chain, compress, islice
from operator import lt
from typing import NamedTuple

STRETCH = 1 << 15  # ranges that are plain integers, and not packed, at a time: what a processor caches


class Ranges(NamedTuple):
    """Ranges from `starts[i]` up to `ends[i]`; of a union ascending, and none overlaps or touches another."""

    starts: array[int]
    ends: array[int]

    def total(self) -> int:
        """How much they cover."""
        return sum(self.ends) - sum(self.starts)

    def covers(self, number: int) -> bool:
        """Whether a union has `number` in one of its ranges."""
        i = bisect_right(self.ends, number)
        return i < len(self.starts) and self.starts[i] <= number


class RangeUnion:
    """Takes ranges in any order. `count` is how many are kept, at 16 bytes each, after those that touch were joined."""

    def __init__(self) -> None:
        self.count = 0
        self._pending: list[Ranges] = []
        self._waiting = 0  # how many ranges are pending
        self._runs: list[Ranges] = []

    def add(self, starts: array[int], ends: array[int]) -> None:
        """Add ranges, none of them empty, in any order; at most some ten thousand at a time."""
        self._pending.append(Ranges(starts, ends))
        self._waiting += len(starts)
        if self._waiting >= STRETCH:
            self._pack()

    def result(self) -> Ranges:
        """The union; nothing can be added behind it."""
        self._pack()
        if len(self._runs) < 2:
            return self._runs[0] if self._runs else Ranges(array("Q"), array("Q"))
        return _merged(self._runs)

    def _pack(self) -> None:
        run = union(self._pending)
        if run.starts:
            self._runs.append(run)
            self.count += len(run.starts)
        self._pending, self._waiting = [], 0


def union(parts: Sequence[Ranges]) -> Ranges:
    """The union of ranges in any order, as plain integers meanwhile.

    Between the i-th lowest end of all and the next start i ranges have begun and i have ended: where the end is the
    lower of the two, nothing is covered.
    """
    starts = sorted(chain.from_iterable(part.starts for part in parts))
    ends = sorted(chain.from_iterable(part.ends for part in parts))
    gaps = list(map(lt, ends, islice(starts, 1, None)))
    return Ranges(
        array("Q", starts[:1] + list(compress(islice(starts, 1, None), gaps))),
        array("Q", list(compress(ends, gaps)) + ends[-1:]),
    )


def _merged(runs: Sequence[Ranges]) -> Ranges:
    """The union of many runs, by slices of all of them that together are about one stretch."""
    total = sum(len(run.starts) for run in runs)
    merged = Ranges(array("Q", bytes(8 * total)), array("Q", bytes(8 * total)))  # growing would take more memory
    used = 0
    step = max(STRETCH // (2 * len(runs)), 1)
    samples = sorted(chain.from_iterable(run.starts[::step] for run in runs))
    cuts = samples[len(runs) :: len(runs)]  # a slice has at most two steps of each run
    cursors = [0] * len(runs)
    for cut in [*cuts, None]:
        parts: list[Ranges] = []
        for i, run in enumerate(runs):
            stop = len(run.starts) if cut is None else bisect_left(run.starts, cut, cursors[i])
            if stop > cursors[i]:
                parts.append(Ranges(run.starts[cursors[i] : stop], run.ends[cursors[i] : stop]))
            cursors[i] = stop
        used = _append(merged, used, parts[0] if len(parts) == 1 else union(parts))
    del merged.starts[used:], merged.ends[used:]
    return merged


def _append(merged: Ranges, used: int, more: Ranges) -> int:
    """Put `more` behind the first `used` ranges of `merged`; none of it begins before their last start. How many are
    used then."""
    starts, ends = merged
    joined = bisect_right(more.starts, ends[used - 1]) if used else 0
    if joined:
        ends[used - 1] = max(ends[used - 1], more.ends[joined - 1])
    new = len(more.starts) - joined
    starts[used : used + new] = more.starts[joined:]
    ends[used : used + new] = more.ends[joined:]
    return used + new
