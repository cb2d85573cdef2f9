"""Pictures of a disk and a file as SVG: a grid of cells, filled from below by what they are made of.

In: cells. Out: markup with numbers and fixed words only; nothing of an image's text is in it. Kinds differ by pattern
as well as by colour; `style.css` has both, by the classes that are used here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from ...plain_values import short_size
from ..allocation import DiskCell, FileCell

if TYPE_CHECKING:
    from markupsafe import Markup

_COLUMNS = 32
_SIDE = 10  # of a cell
_LEFT = 46  # for the labels
_LEAST = 2  # height of what is lost, or of data, however little
_OLDEST = 4  # depth from which on parents look alike
_HEIGHT, _WIDTH = 160, _COLUMNS * _SIDE  # of the picture of the order


def draw_disk(cells: Sequence[DiskCell]) -> Markup:
    """The disk's cells, in rows."""
    return _grid(cells, [cell.disk_offset for cell in cells], "disk", "Virtual disk, in order")


def draw_file(cells: Sequence[FileCell]) -> Markup:
    """The file's cells, in rows."""
    return _grid(cells, [cell.file_offset for cell in cells], "file", "Image file, in order")


def draw_order(cells: Sequence[DiskCell], file_size: int) -> Markup:
    """Where in the file (upwards) each part of the disk (to the right) has its data."""
    size = sum(cell.length for cell in cells)
    parts = [f'<rect class="ground" x="{_LEFT}" y="4" width="{_WIDTH}" height="{_HEIGHT}"/>']
    for cell in cells:
        if cell.file_start is None or cell.file_end is None:
            continue
        left, right = (_WIDTH * at / size for at in (cell.disk_offset, cell.disk_offset + cell.length))
        low, high = (_HEIGHT * min(at / file_size, 1) for at in (cell.file_start, cell.file_end))
        high = min(max(high, low + 1), _HEIGHT)
        low = min(low, high - 1)
        box = (
            f'x="{_LEFT + left:.1f}" y="{4 + _HEIGHT - high:.1f}" width="{right - left:.1f}" height="{high - low:.1f}"'
        )
        parts.append(f'<rect class="data" {box}/>')
    for text, y in ((short_size(file_size), 12), ("0", 4 + _HEIGHT)):
        parts.append(f'<text x="{_LEFT - 4}" y="{y}" text-anchor="end">{text}</text>')
    parts.append(f'<text x="{_LEFT}" y="{_HEIGHT + 16}">0</text>')
    end = _LEFT + _WIDTH
    parts.append(f'<text x="{end}" y="{_HEIGHT + 16}" text-anchor="end">disk: {short_size(size)}</text>')
    return _svg("order", "Place in the file by place on the disk", _HEIGHT + 20, parts)


def class_of(word: str) -> str:
    """The class by which the style knows a kind, as `parts` of a cell calls it."""
    if not word.startswith("parent"):
        return word
    return f"parent-{min(int(word.split()[1]), _OLDEST)}"


def _grid(cells: Sequence[DiskCell] | Sequence[FileCell], offsets: Sequence[int], name: str, title: str) -> Markup:
    rows = -(-len(cells) // _COLUMNS)
    width, height = _SIDE * min(_COLUMNS, len(cells)), _SIDE * rows
    parts = [f'<rect class="ground" x="{_LEFT}" y="0" width="{width}" height="{height}"/>']
    for row in range(0, rows, max(rows // 6, 1)):
        label = short_size(offsets[row * _COLUMNS])
        parts.append(f'<text x="{_LEFT - 4}" y="{row * _SIDE + 8}" text-anchor="end">{label}</text>')
    for row in range(rows):
        for column, width, cell in _alike(cells[row * _COLUMNS :][:_COLUMNS]):
            parts += _filled(cell, _LEFT + column * _SIDE, row * _SIDE, width * _SIDE)
    return _svg(name, title, rows * _SIDE + 2, parts)


def _alike(row: Sequence[DiskCell | FileCell]) -> Iterator[tuple[int, int, DiskCell | FileCell]]:
    """Neighbours that look the same, as one: the first one's number in its row, how many, and one of them."""
    column = 0
    for _, group in groupby(row, key=_look):
        same = list(group)
        yield column, len(same), same[0]
        column += len(same)


def _look(cell: DiskCell | FileCell) -> list[tuple[str, float]]:
    return [(word, part / cell.length) for word, part in cell.parts().items()]


def _filled(cell: DiskCell | FileCell, x: int, y: int, width: int) -> Iterator[str]:
    """A cell's parts, one upon the other; what reads as zeros without a file, or belongs to nothing, is the ground."""
    bottom = float(y + _SIDE)
    for word, part in cell.parts().items():
        if word in ("absent", "unused"):
            continue
        height = min(max(_SIDE * part / cell.length, _LEAST if word != "zero" else 1), bottom - y)
        bottom -= height
        if height > 0:
            box = f'x="{x}" y="{_short(bottom)}" width="{width}" height="{_short(height)}"'
            yield f'<rect class="{class_of(word)}" {box}/>'


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _svg(name: str, title: str, height: int, parts: Sequence[str]) -> Markup:
    from markupsafe import Markup

    head = (
        f'<svg class="picture" role="img" aria-labelledby="{name}-title" viewBox="0 0 {_LEFT + _WIDTH} {height}">'
        f'<title id="{name}-title">{title}; the table beside it has the amounts</title>'
    )
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704  # of numbers and words that are written here
