"""How a work is measured: every contestant once in each round, one after another, so that all of them meet the same
noise; the ratio is taken within each round, and what counts is the median of the rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Values = Mapping[str, float]  # by contestant


@dataclass(frozen=True, slots=True)
class Work:
    """One row of the table.

    A contestant does the work once and gives what it took: seconds, or whatever `show` can show. `ratio` makes the
    figure that is held against `goal` of one round's values; a contestant that it needs may be missing (`KeyError`).
    """

    name: str
    contestants: Mapping[str, Callable[[], float]]
    show: Callable[[float], str]
    what: str  # what the ratio is, in words
    ratio: Callable[[Values], float]
    goal: float | None = None  # None: for information
    at_least: bool = False  # the goal is a floor, not a ceiling
    rounds: int | None = None  # fewer than asked for, where one takes long
    often: int = 1  # so many times more rounds, where one is short


@dataclass(frozen=True, slots=True)
class Result:
    """A measured work: the median of each contestant, and of the ratio (None where a peer that it needs is missing)."""

    work: Work
    medians: dict[str, float]
    ratio: float | None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none, or no ratio."""
        if self.ratio is None or self.work.goal is None:
            return None
        return self.ratio >= self.work.goal if self.work.at_least else self.ratio <= self.work.goal


def measure(work: Work, rounds: int) -> Result:
    """Run the work's rounds, and one before them to warm up. Each round begins with another contestant."""
    rounds = min(rounds, work.rounds or rounds) * work.often
    names = list(work.contestants)
    taken: list[dict[str, float]] = []
    for number in range(rounds + 1):
        first = number % len(names)
        taken.append({name: work.contestants[name]() for name in names[first:] + names[:first]})
    taken = taken[1:]
    medians = {name: statistics.median(values[name] for values in taken) for name in names}
    try:
        ratio = statistics.median(work.ratio(values) for values in taken)
    except KeyError:
        ratio = None
    return Result(work, medians, ratio)


def timed(task: Callable[[], object]) -> Callable[[], float]:
    """A contestant: the seconds that `task` takes."""

    def seconds() -> float:
        start = time.perf_counter()
        task()
        return time.perf_counter() - start

    return seconds


def processor_time(task: Callable[[], object]) -> Callable[[], float]:
    """A contestant: the seconds of processors that `task` takes, here and in the processes that it waits for."""

    def seconds() -> float:
        start = sum(os.times()[:4])
        task()
        return sum(os.times()[:4]) - start

    return seconds


def each(count: int) -> Callable[[float], str]:
    """Shows seconds as microseconds for each of `count` operations."""
    return lambda seconds: f"{seconds / count * 1e6:.2f} µs"


def rate(size: int) -> Callable[[float], str]:
    """Shows seconds as the rate at which `size` bytes went."""
    return lambda seconds: f"{size / seconds / 1e6:.0f} MB/s"


def milliseconds(seconds: float) -> str:
    """Shows seconds as milliseconds."""
    return f"{seconds * 1e3:.1f} ms"


def megabytes(size: float) -> str:
    """Shows bytes as MB."""
    return f"{size / 1e6:.1f} MB"
