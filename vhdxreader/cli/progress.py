"""Progress on standard error: for whatever takes longer than a second, where that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from .output import color_is_wanted, short_size

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])


class Report(Protocol):
    """Told how much is done and of how much, and perhaps what else is to be said."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None: ...


_PATIENCE = 1.0  # seconds without a bar


def shows_progress(command: F) -> F:
    """Give a command `--progress/--no-progress` and `-q`, as the keyword `progress`: whether, None for where it can."""
    quiet = click.option("-q", "--quiet", is_flag=True, help="No progress, no words that are not asked for.")
    shown = click.option(
        "-p", "--progress/--no-progress", default=None, help="Show progress.  [default: on a terminal, after a second]"
    )
    return shown(quiet(command))


@contextmanager
def progress_bar(
    what: str, wanted: bool | None, *, quiet: bool = False, unit: str = "bytes"
) -> Iterator[Report | None]:
    """What to report progress to: `done` of `total` bytes, or of another unit. None where nobody would see it."""
    if quiet or wanted is False or (wanted is None and not _is_seen()):
        yield None
        return
    bar = _LateBar(what, unit, 0.0 if wanted else _PATIENCE)
    try:
        yield bar.report
    finally:
        bar.stop()


def _is_seen() -> bool:
    return sys.stderr.isatty()


class _LateBar:
    """A bar that begins when the work has taken a while."""

    def __init__(self, what: str, unit: str, patience: float) -> None:
        self._what = what
        self._unit = unit
        self._begin = time.monotonic() + patience
        self._bar: Progress | None = None

    def report(self, done: int, total: int, note: str = "", /) -> None:
        if self._bar is None:
            if time.monotonic() < self._begin:
                return
            self._bar = _bar(self._what, self._unit)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total, note=note)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def _bar(what: str, unit: str) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        """How much is done, and how fast, in the units of all other output."""

        def render(self, task: Task) -> Text:
            if unit != "bytes":
                rate = f", {task.speed:.3g}/s" if task.speed else ""
                return Text(f"{int(task.completed)} of {int(task.total or 0)} {unit}{rate}{task.fields['note']}")
            rate = f", {short_size(int(task.speed))}/s" if task.speed else ""
            return Text(f"{short_size(int(task.completed))} of {short_size(int(task.total or 0))}{rate}")

    console = Console(stderr=True, no_color=not color_is_wanted(sys.stderr))
    columns = (TextColumn("{task.description}"), BarColumn(20), TaskProgressColumn(), Amount(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    bar.add_task(what, total=None, note="")
    return bar
