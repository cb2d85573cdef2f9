"""Space of an image's file that belongs to nothing, or only to blocks that were trimmed: where carvers look.

In: an opened image, or a walk over its blocks. Out: ranges of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from ..disk.image import VhdxImage
from ..format.rules import Findings
from .block_check import BlockWalk, walk_image


@dataclass(frozen=True, slots=True)
class FileRange:
    """`length` bytes at `file_offset` of the file. `kind` is "unused" (they belong to nothing) or "trimmed" (a block
    that was trimmed keeps its place there, and reads as zeros)."""

    file_offset: int
    length: int
    kind: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"file_offset": self.file_offset, "length": self.length, "kind": self.kind}


def unused_ranges(image: VhdxImage) -> Iterator[FileRange]:
    """All ranges of the file that no structure and no present block has, by offset, in whole megabytes but for the
    file's end. Reads the whole BAT."""
    return ranges_of(walk_image(image, Findings(strict=False, keep=0)), image.file_size)


def first_ranges(walk: BlockWalk, file_size: int, most: int) -> tuple[tuple[FileRange, ...], int]:
    """The first ranges of a walk, at most so many, and how many of all are unused."""
    count = sum(1 for _ in walk.used.ranges(taken=False))
    return tuple(islice(ranges_of(walk, file_size), most)), count


def ranges_of(walk: BlockWalk, file_size: int) -> Iterator[FileRange]:
    """The ranges that a walk left, by offset."""
    unused = ((start, end, "unused") for start, end in walk.used.ranges(taken=False))
    trimmed = ((start, end, "trimmed") for start, end in walk.trimmed.ranges(taken=True))
    for start, end, kind in merge(unused, trimmed):
        if start < file_size:
            yield FileRange(start, min(end, file_size) - start, kind)
