"""What a virtual disk and an image's file are made of, in as few cells as a picture has.

In: an opened disk or image. Out: for each cell, how many bytes of it are of which kind. Time and memory are bounded by
the number of cells, whatever the size of the disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import index
from typing import Any

from .. import spec
from ..disk.address_map import Extent, Kind
from ..disk.image import VhdxImage
from ..disk.space_map import MAX_TRACKED, SpaceMap
from ..disk.virtual_disk import VirtualDisk
from ..format.rules import Findings
from .block_check import BlockWalk, walk_image

_EXTENTS = 1 << 18  # that are looked at one by one, of a whole disk
_PLACES = 1 << 16  # that are looked at in cells with more extents than their share of that

_GOLDEN_RATIO = 2654435769  # of 2^32: its multiples are spread evenly


@dataclass(slots=True)
class DiskCell:
    """`length` bytes at `disk_offset` of a virtual disk.

    `data` says by depth how many of them are in which file of the chain: depth 0 is the opened one, the others are its
    parents. `zero` are zeros by a block's state, `absent` are in no file and read as zeros, `unknown` are in a parent
    that is not open, and `lost` cannot be read.

    `extents` counts the parts that it is made of, `jumps` those of the opened file's own data that do not follow the
    data before them in the file, too; `file_start` and `file_end` are where in the file its own data lie, None for
    none. A cell that has too many parts is not `exact`: its bytes are estimated from places all over it.
    """

    disk_offset: int
    length: int
    data: dict[int, int] = field(default_factory=dict)
    zero: int = 0
    absent: int = 0
    unknown: int = 0
    lost: int = 0
    extents: int = 0
    jumps: int = 0
    file_start: int | None = None
    file_end: int | None = None
    exact: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "disk_offset": self.disk_offset,
            "length": self.length,
            "data_lengths": [{"depth": depth, "length": length} for depth, length in sorted(self.data.items())],
            "zero_length": self.zero,
            "absent_length": self.absent,
            "unknown_length": self.unknown,
            "lost_length": self.lost,
            "extent_count": self.extents,
            "jump_count": self.jumps,
            "exact": self.exact,
        }

    def parts(self) -> dict[str, int]:
        """How many bytes are what, in words, without what is none: "lost", "data", "parent 1" and so on, "zero",
        "unknown", "absent"."""
        depths = sorted(self.data.items())
        files = {f"parent {depth}" if depth else "data": length for depth, length in depths}
        rest = {"zero": self.zero, "unknown": self.unknown, "absent": self.absent}
        return _without_none({"lost": self.lost} | files | rest)

    def add(self, extent: Extent, length: int) -> None:
        """Count `length` bytes as what the extent is."""
        length = index(length)
        if extent.kind is Kind.DATA:
            self.data[extent.depth] = self.data.get(extent.depth, 0) + length
        elif extent.kind is Kind.ERROR:
            self.lost += length
        elif extent.kind is Kind.ZERO:
            self.zero += length
        elif extent.zero:
            self.absent += length
        else:
            self.unknown += length


@dataclass(frozen=True, slots=True)
class FileCell:
    """`length` bytes at `file_offset` of an image's file: how many belong to `structures` (headers, log, regions), to
    `blocks`, to `trimmed` blocks that keep their place, and to nothing (`unused`); in whole megabytes."""

    file_offset: int
    length: int
    structures: int
    blocks: int
    trimmed: int
    unused: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "file_offset": self.file_offset,
            "length": self.length,
            "structures_length": self.structures,
            "blocks_length": self.blocks,
            "trimmed_length": self.trimmed,
            "unused_length": self.unused,
        }

    def parts(self) -> dict[str, int]:
        """How many bytes are what, in words, without what is none."""
        kinds = {"structures": self.structures, "blocks": self.blocks, "trimmed": self.trimmed, "unused": self.unused}
        return _without_none(kinds)


def total_parts(cells: Iterable[DiskCell | FileCell]) -> dict[str, int]:
    """As `parts`, of all cells together."""
    total: Counter[str] = Counter()
    for cell in cells:
        total.update(cell.parts())
    return dict(total)


def _without_none(parts: dict[str, int]) -> dict[str, int]:
    return {word: length for word, length in parts.items() if length}


def disk_cells(disk: VirtualDisk, most: int) -> list[DiskCell]:
    """The disk in at most `most` cells of one size, a power of two of at least a logical sector; the last may be
    shorter.

    At most 2^18 extents are looked at one by one, and 2^16 places where there are more. Raises what `extents` does.
    """
    step = _cell_size(disk.size, index(most), disk.image.metadata.logical_sector_size)
    cells = [DiskCell(start, min(step, disk.size - start)) for start in range(0, disk.size, step)]
    in_turn, places = max(_EXTENTS // len(cells), 16), max(_PLACES // len(cells), 16)
    follows: int | None = None  # where in the file the next data would lie, if they followed
    for cell in cells:
        for extent in disk.extents(offset=cell.disk_offset, length=cell.length):
            if cell.extents == in_turn:
                _estimate(disk, cell, extent.disk_offset, places)
                follows = None
                break
            cell.extents += 1
            cell.add(extent, extent.length)
            if extent.file_offset is not None and extent.depth == 0:
                cell.jumps += follows is not None and follows != extent.file_offset
                follows = extent.file_offset + extent.length
                _widen(cell, extent.file_offset, follows)
    return cells


def _estimate(disk: VirtualDisk, cell: DiskCell, start: int, places: int) -> None:
    """Count the rest of a cell, from `start` on, as what lies at places in it."""
    cell.exact = False
    end = cell.disk_offset + cell.length
    sector = disk.image.metadata.logical_sector_size
    step = max((end - start) // places // sector * sector, sector)
    for i, begin in enumerate(range(start, end, step)):
        length = min(step, end - begin)
        at = begin + (i * _GOLDEN_RATIO % 2**32 * length >> 32)  # places in step with a pattern would mislead
        extent = next(disk.extents(offset=at, length=1))
        cell.add(extent, length)
        if extent.file_offset is not None and extent.depth == 0:
            _widen(cell, extent.file_offset, extent.file_offset + 1)


def _widen(cell: DiskCell, start: int, end: int) -> None:
    cell.file_start = start if cell.file_start is None else min(cell.file_start, start)
    cell.file_end = end if cell.file_end is None else max(cell.file_end, end)


def file_cells(image: VhdxImage, most: int) -> list[FileCell]:
    """The image's file in at most `most` cells of one size, a power of two of at least 1 MiB; the last may be shorter,
    and nothing is said of what lies behind 128 TiB. Reads the whole BAT."""
    return cells_of(walk_image(image, Findings(strict=False, keep=0)), image, index(most))


def cells_of(walk: BlockWalk, image: VhdxImage, most: int) -> list[FileCell]:
    """The cells by a walk over the blocks that was done."""
    size = min(image.file_size, MAX_TRACKED)
    structures = SpaceMap(size)
    for span in image.map.occupied:
        structures.take(span.start, span.end)
    step = _cell_size(size, most, spec.MB)
    return [_file_cell(walk, structures, start, min(step, size - start)) for start in range(0, size, step)]


def _file_cell(walk: BlockWalk, structures: SpaceMap, start: int, length: int) -> FileCell:
    end = start + length
    own, used, trimmed = (space.count(start, end) for space in (structures, walk.used, walk.trimmed))
    own, used = min(own, length), min(used, length)
    trimmed = min(trimmed, used - own)
    return FileCell(start, length, own, used - own - trimmed, trimmed, length - used)


def _cell_size(size: int, most: int, least: int) -> int:
    """The smallest power of two, `least` at least, of which no more than `most` make up `size` bytes."""
    return max(1 << max(-(-size // most) - 1, 0).bit_length(), least)
