"""What the replay of a log changed: the file as it is, compared with the file behind its overlay.

In: the overlay, and the structures found behind it. Out: a frozen dataclass.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from operator import ne
from typing import Any

from .. import spec
from ..files.overlay import OverlaySource
from ..format.bat import Bat
from ..format.region_table import Region

_CHUNK = spec.MB


@dataclass(frozen=True, slots=True)
class LogChanges:
    """`region_tables` are the numbers (1, 2) of those whose bytes differ, `metadata_length` how many of the metadata
    region's do, `bat_entries` how many entries of the BAT; `grown` is by how many bytes the file is longer."""

    region_tables: tuple[int, ...]
    metadata_length: int
    bat_entries: int
    grown: int

    def summary(self) -> dict[str, Any]:
        """By the names that `LogSummary` has for them."""
        return {
            "changed_region_tables": self.region_tables,
            "changed_metadata_length": self.metadata_length,
            "changed_bat_entry_count": self.bat_entries,
            "grown_length": self.grown,
        }


def find_changes(overlay: OverlaySource, metadata: Region, bat: Bat) -> LogChanges:
    """Compare what is overlaid of these structures; work grows with that, memory does not."""
    tables = spec.REGION_TABLE_OFFSETS
    bat_end = bat.entry_offset(bat.geometry.entries)
    return LogChanges(
        region_tables=tuple(
            number
            for number, offset in enumerate(tables, 1)
            if any(_pairs(overlay, offset, offset + spec.REGION_TABLE_SIZE))
        ),
        metadata_length=sum(_differing(old, new) for old, new in _pairs(overlay, metadata.file_offset, metadata.end)),
        bat_entries=sum(
            sum(map(ne, array("Q", old), array("Q", new))) for old, new in _pairs(overlay, bat.offset, bat_end)
        ),
        grown=overlay.size - overlay.base.size,
    )


def _pairs(overlay: OverlaySource, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """The overlaid pieces of a range that differ, as they are in the file (zeros behind its end) and after replay."""
    base = overlay.base
    for piece_start, piece_end in overlay.overlaid_ranges(start, end):
        for at in range(piece_start, piece_end, _CHUNK):
            size = min(_CHUNK, piece_end - at)
            inside = max(min(size, base.size - at), 0)
            old = base.read_at(at, inside).ljust(size, b"\0") if inside else bytes(size)
            new = overlay.read_at(at, size)
            if old != new:
                yield old, new


def _differing(old: bytes, new: bytes) -> int:
    """How many bytes differ; as one long integer, since a metadata region can have 4 GiB."""
    difference = int.from_bytes(old, "little") ^ int.from_bytes(new, "little")
    return len(old) - difference.to_bytes(len(old), "little").count(0)
