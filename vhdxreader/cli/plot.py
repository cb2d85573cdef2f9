"""`vhdxreader map --plot`: the disk and the image's file, drawn with characters, one screen wide.

In: cells. Out: text. Each kind has a character of its own; on a terminal also a colour.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence

import click

import vhdxreader
from vhdxreader import DiskCell, FileCell, VirtualDisk

from .output import color_is_wanted, printable, short_size

_MAX_ROWS = 16
_MAX_LENGTH = 1024  # of a row
_BLOCKS = {"data": "█", "some data": "▄", "zero": "░", "absent": "·", "unknown": "?", "lost": "X"}
_FILE_BLOCKS = {"blocks": "█", "structures": "S", "trimmed": "▒", "unused": "·"}
_ASCII = str.maketrans("█▄░▒·", "#:-%.")
_COLORS = {"data": "blue", "some data": "blue", "lost": "red", "unknown": "yellow", "structures": "magenta"}
_MEANINGS = {
    "data": "in this file",
    "some data": "in this file, less than half of it",
    "zero": "zeros, as the image says",
    "absent": "in no file, reads as zeros",
    "unknown": "in a parent that is not open",
    "lost": "cannot be read",
    "structures": "headers, log, BAT, metadata",
    "blocks": "payload and sector bitmap blocks",
    "trimmed": "of blocks that were trimmed",
    "unused": "belongs to nothing",
}

Cells = Sequence[DiskCell] | Sequence[FileCell]


def print_plot(disk: VirtualDisk) -> bool:
    """Print both pictures; whether something is lost."""
    width = shutil.get_terminal_size().columns
    label = len(f"{max(disk.size, disk.image.file_size):#x}")
    most = _MAX_ROWS * _row_length(width - label - 1)
    cells, own = vhdxreader.disk_cells(disk, most), vhdxreader.file_cells(disk.image, most)
    places = [f"{cell.disk_offset:#x}".rjust(label) for cell in cells]
    _print_picture(f"Virtual disk of {printable(disk.name)}", cells, places, width)
    if not all(cell.exact for cell in cells):
        click.echo("Where there are very many parts, places all over were looked at: amounts are estimates.")
    click.echo()
    _print_picture("Its file", own, [f"{cell.file_offset:#x}".rjust(label) for cell in own], width)
    return any(cell.lost for cell in cells)


def _row_length(width: int) -> int:
    """How many cells a row has: as many as fit, in eights where they do."""
    return min(max(width // 8 * 8 or width, 1), _MAX_LENGTH)


def _print_picture(title: str, cells: Cells, places: Sequence[str], width: int) -> None:
    """Print a picture with its scale, and what its characters stand for."""
    size = sum(cell.length for cell in cells)
    click.echo(f"{title}: {short_size(size)}, {short_size(cells[0].length)} a character")
    length = _row_length(width - len(places[0]) - 1)
    words = [_word(cell) for cell in cells]
    for start in range(0, len(cells), length):
        click.echo(f"{places[start]} {''.join(_drawn(words[start : start + length]))}")
    for character, text in _legend(vhdxreader.total_parts(cells), size, set(words)):
        click.echo(f"  {character} {text[: width - 4]}".rstrip())


def _word(cell: DiskCell | FileCell) -> str:
    """What to draw for a cell: what is lost or a structure in any case, data rather than none, of data what is most."""
    parts = cell.parts()
    for word in ("lost", "structures"):
        if word in parts:
            return word
    in_files = {word: length for word, length in parts.items() if word == "data" or word.startswith("parent")}
    word = max(in_files or parts, key=lambda word: parts[word])
    return "some data" if word == "data" and 2 * parts[word] < cell.length else word


def _character(word: str) -> str:
    if word.startswith("parent"):
        depth = int(word.split()[1])
        return str(depth) if depth < 10 else "+"
    character = {**_BLOCKS, **_FILE_BLOCKS}[word]
    encoding = sys.stdout.encoding or "ascii"
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return character.translate(_ASCII)
    return character


def _drawn(words: Sequence[str]) -> Iterator[str]:
    """The characters of a row, in colour where that is wanted."""
    colored = color_is_wanted(sys.stdout)
    for word in words:
        color = "cyan" if word.startswith("parent") else _COLORS.get(word)
        yield click.style(_character(word), fg=color) if colored and color else _character(word)


def _legend(parts: Mapping[str, int], size: int, drawn: set[str]) -> Iterator[tuple[str, str]]:
    """For each kind its character; and how much of it there is, what it is."""
    shown = list(parts)
    if "some data" in drawn:
        shown.insert(shown.index("data") + 1, "some data")
    for word in shown:
        amount = "" if word == "some data" else f"{short_size(parts[word])} ({_percent(parts[word], size)})"
        meaning = _MEANINGS.get(word, "in the parent of this depth")
        yield "".join(_drawn([word])), f"{word:<10} {amount:>20}  {meaning}"


def _percent(part: int, whole: int) -> str:
    """Never 0 % of something, nor 100 % of not all."""
    share = 100 * part / whole
    if part < whole:
        share = min(share, 99.9)
    return "<0.1 %" if share < 0.1 else f"{share:.1f} %".replace(".0 %", " %")
