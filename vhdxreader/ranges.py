"""The union of very many ranges, in bounded memory.

A log can name millions of them, so they are kept as packed words and sorted a stretch at a time. Layer 1.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import chain, compress, islice
from operator import lt
from typing import NamedTuple

_STRETCH = 1 << 17  # ranges that are plain integers, and not packed, at a time


class Ranges(NamedTuple):
    """Ranges from `starts[i]` up to `ends[i]`, ascending, that neither overlap nor touch."""

    starts: Sequence[int]
    ends: Sequence[int]

    def total(self) -> int:
        """How much they cover."""
        return sum(self.ends) - sum(self.starts)


class RangeUnion:
    """Takes ranges in any order. `count` is how many are kept, at 16 bytes each, after those that touch were joined."""

    def __init__(self) -> None:
        self.count = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._runs: list[Ranges] = []

    def add(self, starts: Iterable[int], ends: Iterable[int]) -> None:
        """Add ranges, none of them empty; at most some ten thousand at a time."""
        self._starts.extend(starts)
        self._ends.extend(ends)
        if len(self._starts) >= _STRETCH:
            self._pack()

    def result(self) -> Ranges:
        """The union; nothing can be added behind it."""
        self._pack()
        if len(self._runs) < 2:
            return self._runs[0] if self._runs else Ranges(array("Q"), array("Q"))
        return _merged(self._runs)

    def _pack(self) -> None:
        run = _union(self._starts, self._ends)
        if run.starts:
            self._runs.append(run)
            self.count += len(run.starts)
        self._starts, self._ends = [], []


def _union(starts: list[int], ends: list[int]) -> Ranges:
    """Sorts both lists. Between the i-th lowest end and the next start i ranges have begun and i have ended: where the
    end is the lower of the two, nothing is covered."""
    starts.sort()
    ends.sort()
    gaps = list(map(lt, ends, islice(starts, 1, None)))
    return Ranges(
        array("Q", chain(starts[:1], compress(islice(starts, 1, None), gaps))),
        array("Q", chain(compress(ends, gaps), ends[-1:])),
    )


def _merged(runs: Sequence[Ranges]) -> Ranges:
    """The union of many runs, by slices of all of them that together are about one stretch."""
    starts, ends = array("Q"), array("Q")
    step = max(_STRETCH // (2 * len(runs)), 1)
    samples = sorted(chain.from_iterable(run.starts[::step] for run in runs))
    cuts = samples[len(runs) :: len(runs)]  # a slice has at most two steps of each run
    cursors = [0] * len(runs)
    for cut in [*cuts, None]:
        slice_starts: list[int] = []
        slice_ends: list[int] = []
        for i, run in enumerate(runs):
            stop = len(run.starts) if cut is None else bisect_left(run.starts, cut, cursors[i])
            slice_starts += run.starts[cursors[i] : stop]
            slice_ends += run.ends[cursors[i] : stop]
            cursors[i] = stop
        _append(starts, ends, _union(slice_starts, slice_ends))
    return Ranges(starts, ends)


def _append(starts: array[int], ends: array[int], more: Ranges) -> None:
    """Join `more`, none of which begins before the last start."""
    joined = bisect_right(more.starts, ends[-1]) if ends else 0
    if joined:
        ends[-1] = max(ends[-1], more.ends[joined - 1])
    starts.extend(more.starts[joined:])
    ends.extend(more.ends[joined:])
