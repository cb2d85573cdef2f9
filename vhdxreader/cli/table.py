"""Tables that take the terminal's width: a path loses its middle before a row is broken. Elsewhere nothing is cut."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from .output import WORD_COLORS, color_is_wanted, printable, terminal_width

_GAP = "  "
_MIN_PATH = 12
_MIN_TEXT = 10
_BATCH = 1000  # rows: of a longer table, the first ones decide how wide its columns are
_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: numbers stand to the `right`, a `path` is shortened in its middle, text to `wrap` takes more lines, and
    what can be `spared` is left out where a terminal is too narrow for all."""

    title: str
    right: bool = False
    path: bool = False
    wrap: bool = False
    spared: bool = False

    def least(self, width: int) -> int:
        """How narrow it may become, of `width` characters."""
        return min(width, _MIN_PATH if self.path else _MIN_TEXT if self.wrap else width)


def print_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text, a cell for each column, as they come."""
    width = terminal_width()
    widths: list[int] = []
    kept: list[int] = []
    for batch in _batches([printable(cell) for cell in row] for row in rows):
        lines = batch if widths else [[column.title for column in columns], *batch]
        if not widths:
            widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
            kept = _kept(columns, widths, width)
            columns = [columns[i] for i in kept]
            widths = _fitted(columns, [widths[i] for i in kept], width)
        shown = [[cells[i] for i in kept] for cells in lines]
        if width is None:
            sys.stdout.writelines(_line(columns, widths, cells) for cells in shown)
        else:
            _print_rich(columns, widths, shown, titled=lines is not batch)


def shortened(path: str, width: int) -> str:
    """A path in at most `width` characters, without its middle if need be; of its end, the name, more stays."""
    if len(path) <= width:
        return path
    end = max(width - 1, 1) * 2 // 3
    return path[: max(width - 1 - end, 0)] + _ELLIPSIS + path[len(path) - end :]


def _batches(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Lists of rows, one at least."""
    rows = iter(rows)
    yield list(islice(rows, _BATCH))
    while batch := list(islice(rows, _BATCH)):
        yield batch


def _kept(columns: Sequence[Column], widths: Sequence[int], width: int | None) -> list[int]:
    """The numbers of the columns that are shown."""
    kept = list(range(len(columns)))
    least = [c.least(w) if c.path else w for c, w in zip(columns, widths, strict=True)]  # before text is wrapped
    while width is not None and _total([least[i] for i in kept]) > width:
        spared = [i for i in kept if columns[i].spared]
        if not spared:
            break
        kept.remove(spared[-1])
    return kept


def _fitted(columns: Sequence[Column], widths: list[int], width: int | None) -> list[int]:
    """The widths with which all columns fit: paths are shortened first, then text is wrapped."""
    excess = 0 if width is None else _total(widths) - width
    for kind in ("path", "wrap"):
        for i, column in enumerate(columns):
            if excess > 0 and getattr(column, kind):
                given = min(excess, widths[i] - column.least(widths[i]))
                widths[i] -= given
                excess -= given
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    padded = (
        cell.rjust(width) if column.right else cell.ljust(width)
        for column, width, cell in zip(columns, widths, cells, strict=True)
    )
    return _GAP.join(padded).rstrip() + "\n"


def _print_rich(columns: Sequence[Column], widths: Sequence[int], lines: Sequence[list[str]], *, titled: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    total = _total(widths)
    table = Table.grid(padding=(0, len(_GAP), 0, 0), pad_edge=False)
    for column, width in zip(columns, widths, strict=True):
        justify = "right" if column.right else "left"
        table.add_column(justify=justify, width=width, no_wrap=not column.wrap, overflow="fold")  # type: ignore[arg-type]
    for i, cells in enumerate(lines):
        shown = (shortened(cell, w) if c.path else cell for c, cell, w in zip(columns, cells, widths, strict=True))
        title = titled and i == 0
        table.add_row(*(Text(cell, "bold" if title else WORD_COLORS.get(cell, "")) for cell in shown))
    color = color_is_wanted(sys.stdout)
    console = Console(file=sys.stdout, width=max(total, 1), no_color=not color, highlight=False, soft_wrap=False)
    with console.capture() as captured:
        console.print(table)
    sys.stdout.writelines(line.rstrip() + "\n" for line in captured.get().splitlines())
