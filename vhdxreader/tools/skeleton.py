"""The skeleton of an image: its beginning, up to the end of its last structure that is no payload.

Enough to see everything that the image says of itself, with all offsets and checksums, and none of the disk's content
but blocks that lie between structures. In: a source, or what was found of an image. Out: how much that is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import index

from .. import spec
from ..disk.image import VhdxImage
from ..disk.needed_files import named_files
from ..disk.structures import Structures, find_structures
from ..files.opening import AnyPath, PathOrFile, open_source
from ..files.source import Source
from ..files.writing import WholeFile, write_all_at
from ..format.bat import Bat
from ..format.log_replay import LogMode

_PIECE = spec.MB


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The first `size` bytes of an image, which end with the structure called `last`."""

    size: int
    last: str


def write_skeleton(
    file: PathOrFile, target: AnyPath, *, max_size: int, bitmaps: bool = False, overwrite: bool = False
) -> tuple[Skeleton, bool]:
    """Copy the skeleton of an image to a new file, unless it has more than `max_size` bytes; whether it was written.

    Up to the end of log, metadata region, BAT and unknown regions, with `bitmaps` also of sector bitmap blocks; for an
    image with a log to replay, also of those that replay makes. What is wrong with the image does not matter:
    structures that cannot be found do not count. The file is there whole or not at all, and replaces another only with
    `overwrite`, the image, or what it names as its parent, never.

    Raises `NotVhdxError` for a file that has neither the signature nor a valid header or region table;
    `FileExistsError`, `shutil.SameFileError` and other `OSError`s.
    """
    with open_source(file) as source:
        found = [find_structures(source, mode) for mode in (LogMode.IGNORE, LogMode.REPLAY)]
        end, last = max(end for each in found for end in _ends(each, source.size, bitmaps))
        skeleton = Skeleton(min(end, source.size), last)
        is_written = skeleton.size <= index(max_size)
        if is_written:
            protected = source.files().union(*(named_files(each.parent_locator, source.path) for each in found))
            with WholeFile(target, overwrite=overwrite, protected=protected) as output:
                _copy_beginning(source, skeleton.size, output.fd)
        return skeleton, is_written


def _copy_beginning(source: Source, size: int, fd: int) -> None:
    for at in range(0, size, _PIECE):
        write_all_at(fd, memoryview(source.read_at(at, min(_PIECE, size - at))), at)


def ends_with_structures(found: Structures | VhdxImage, file_size: int, *, bitmaps: bool = False) -> bool:
    """Whether the file ends with its last structure, as a skeleton does (and an image to which nothing was written).

    `file_size` is without what the log's replay adds.
    """
    return file_size == max(_ends(found, file_size, bitmaps))[0]


def lacks_payload(image: VhdxImage) -> bool:
    """Whether the file ends with its last structure, and a block lies behind, or what a log that is not replayed needs.

    Looks at the first million payload blocks only.
    """
    if not ends_with_structures(image, image.file_size):
        return False
    log = image.log
    if log is not None and log.active is not None and not log.is_replayed:
        return image.file_size < log.active.head.flushed_file_offset
    return image.map.count_missing() > 0


def _ends(found: Structures | VhdxImage, file_size: int, bitmaps: bool) -> Iterator[tuple[int, str]]:
    """Where each structure ends, and its name."""
    yield spec.HEADER_SECTION_SIZE, "header section"
    for header in (copy.value for copy in found.headers):
        if header is not None and header.log_is_in_place(file_size):
            yield header.log_offset + header.log_length, "log"
    for table in (copy.value for copy in found.region_tables):
        for region in table.regions if table is not None else ():
            yield region.end, f"{region.name} region"
    if bitmaps and found.map is not None and found.map.bat.geometry.has_parent:
        yield from _bitmap_ends(found.map.bat, file_size)


def _bitmap_ends(bat: Bat, file_size: int) -> Iterator[tuple[int, str]]:
    for chunk in range(bat.geometry.bitmap_blocks):
        index = bat.geometry.bitmap_index(chunk)
        words, gaps = bat.read(index, 1)
        if gaps:
            return
        word = words[0]
        end = (word & spec.FILE_OFFSET_MASK) + spec.SECTOR_BITMAP_SIZE
        if word & spec.STATE_MASK == spec.BitmapState.PRESENT and end <= file_size:
            yield end, f"sector bitmap block {chunk}"
