"""The union of very many ranges, in bounded memory.

A log can name millions of them, so they are kept as packed words and sorted a stretch at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import compress, islice
from operator import lt
from typing import NamedTuple

from .word_columns import from_doubles

STRETCH = 1 << 13  # ranges that are Python objects, and not packed, at a time: what a processor caches
_MERGED_STRETCHES = 4  # the same for a merge, which passes over them less often


class Ranges(NamedTuple):
    """Ranges from `starts[i]` up to `ends[i]`, ascending; none overlaps or touches another."""

    starts: array[int]
    ends: array[int]

    def total(self) -> int:
        """How much they cover."""
        return sum(self.ends) - sum(self.starts)

    def covers(self, number: int) -> bool:
        """Whether `number` is in one of the ranges."""
        i = bisect_right(self.ends, number)
        return i < len(self.starts) and self.starts[i] <= number


class Keys(NamedTuple):
    """Ranges in any order, their numbers as `columns.as_doubles` gives them."""

    starts: array[float]
    ends: array[float]

    def ranges(self) -> Ranges:
        """The same as integers, if they are a union."""
        return Ranges(from_doubles(self.starts), from_doubles(self.ends))


class RangeUnion:
    """Takes ranges in any order. `count` is how many are kept, at 16 bytes each, after those that touch were joined."""

    def __init__(self) -> None:
        self.count = 0
        self._pending: list[Keys] = []
        self._waiting = 0  # how many ranges are pending
        self._runs: list[Keys] = []

    def add(self, keys: Keys) -> None:
        """Add ranges, none of them empty; at most some ten thousand at a time."""
        self._pending.append(keys)
        self._waiting += len(keys.starts)
        if self._waiting >= STRETCH:
            self._pack()

    def result(self) -> Ranges:
        """The union; nothing can be added behind it."""
        self._pack()
        return self._runs[0].ranges() if len(self._runs) == 1 else _merged(self._runs)

    def _pack(self) -> None:
        run = union(self._pending)
        if run.starts:
            self._runs.append(run)
            self.count += len(run.starts)
        self._pending, self._waiting = [], 0


def union(parts: Iterable[Keys]) -> Keys:
    """The union of ranges in any order, as Python objects meanwhile.

    Between the i-th lowest end of all and the next start i ranges have begun and i have ended: where the end is the
    lower of the two, nothing is covered.
    """
    all_starts, all_ends = array("d"), array("d")
    for part in parts:
        all_starts += part.starts
        all_ends += part.ends
    starts, ends = sorted(all_starts), sorted(all_ends)
    if all(map(lt, ends, islice(starts, 1, None))):
        return Keys(array("d", starts), array("d", ends))
    gaps = list(map(lt, ends, islice(starts, 1, None)))
    return Keys(
        array("d", starts[:1] + list(compress(islice(starts, 1, None), gaps))),
        array("d", list(compress(ends, gaps)) + ends[-1:]),
    )


def _merged(runs: Sequence[Keys]) -> Ranges:
    """The union of many runs, by slices of all of them that together are a few stretches."""
    total = sum(len(run.starts) for run in runs)
    merged = Ranges(array("Q", [0]) * total, array("Q", [0]) * total)  # growing would take more memory
    used = 0
    step = max(_MERGED_STRETCHES * STRETCH // (2 * len(runs)), 1) if runs else 1
    samples = sorted(key for run in runs for key in run.starts[::step])
    cuts = samples[len(runs) :: len(runs)] if runs else []  # a slice has at most two steps of each run
    cursors = [0] * len(runs)
    for cut in [*cuts, None]:
        parts: list[Keys] = []
        for i, run in enumerate(runs):
            stop = len(run.starts) if cut is None else bisect_left(run.starts, cut, cursors[i])
            if stop > cursors[i]:
                parts.append(Keys(run.starts[cursors[i] : stop], run.ends[cursors[i] : stop]))
            cursors[i] = stop
        used = _append(merged, used, (parts[0] if len(parts) == 1 else union(parts)).ranges())
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
