"""Which of two headers or region tables to take for salvage, where the rules give none [2.2.2, 2.2.3].

In: both copies. Out: the better one, and a finding unless something proves that it is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from .. import spec
from ..errors import VhdxError
from ..files.source import Source
from . import header as headers
from . import region_table as regions
from .bat import Bat
from .header import Header
from .log import Ring, examine, find_active
from .metadata import Metadata, read_metadata
from .overlaps import Span, collision
from .region_table import Region, RegionTable
from .rules import Findings
from .structure_copies import Copy

T = TypeVar("T")

_LOOKED_AT = 4096  # BAT entries
_RESERVED_STATES = (4, 5)


def salvage_header(source: Source, copies: Iterable[Copy[Header]], findings: Findings) -> Header | None:
    """The later one of two that agree on log and data; else the one whose log has an active sequence; else header 1.

    None where no header lies in the file.
    """
    guesses = list(_guesses(copies, headers.decode))
    if len(guesses) == 2 and _agree(*guesses):
        return max(guesses, key=lambda header: header.sequence_number)
    with_log = next((header for header in guesses if _has_sequence(source, header)), None)
    if with_log is not None or not guesses:
        return with_log
    first = guesses[0]
    findings.add(
        "header.unproven", f"header {'12'[first.file_offset != spec.HEADER_OFFSETS[0]]} is taken", first.file_offset
    )
    return first


def salvage_table(source: Source, copies: Iterable[Copy[RegionTable]], findings: Findings) -> RegionTable | None:
    """The first whose metadata region begins with its signature and whose BAT fits; else the first that names a BAT.

    None where none does.
    """
    guesses = list(_guesses(copies, _decode_table))
    found = [table for table in guesses if (metadata := _metadata(source, table)) and _fits(source, table, metadata)]
    table = next(iter([*found, *(table for table in guesses if _known(table, spec.REGION_BAT))]), None)
    if table is None:
        return None
    both_agree = len(found) == 2 and _places(found[0]) == _places(found[1])
    if not (both_agree or (len(found) == 1 and _has_blocks(source, table))):
        findings.add("region_table.unproven", "a region table is taken that nothing proves", table.file_offset)
    return table


def _guesses(copies: Iterable[Copy[T]], decode: Callable[[bytes, int], T]) -> Iterator[T]:
    """What the copies say, valid or not."""
    for copy in copies:
        try:
            if copy.data:
                yield decode(copy.data, copy.file_offset)
        except VhdxError:
            continue


def _agree(one: Header, other: Header) -> bool:
    first, second = ((h.log_guid, h.log_offset, h.log_length, h.data_write_guid) for h in (one, other))
    return first == second and one.data_write_guid != spec.NIL_GUID


def _has_sequence(source: Source, header: Header) -> bool:
    if not (header.has_log and header.log_is_in_place(source.size)):
        return False
    try:
        examined = examine(Ring(source, header), header.log_guid)
        return find_active((one.entry for one in examined if not one.problem), header.log_length) is not None
    except VhdxError:
        return False


def _decode_table(data: bytes, offset: int) -> RegionTable:
    """As much of a table as there can be, if it claims more entries than fit."""
    count = int.from_bytes(data[8:12], "little")
    limited = data[:8] + min(count, spec.MAX_REGION_ENTRIES).to_bytes(4, "little") + data[12:]
    table = regions.decode(limited, offset)
    return replace(table, regions=tuple(region for region in table.regions if region.guid != spec.NIL_GUID))


def _known(table: RegionTable, guid: object) -> Region | None:
    return next((region for region in table.regions if region.guid == guid), None)


def _places(table: RegionTable) -> list[tuple[int, int]]:
    return [
        (region.file_offset, region.length) for region in sorted(table.regions, key=lambda r: r.guid) if region.is_known
    ]


def _metadata(source: Source, table: RegionTable) -> Metadata | None:
    region = _known(table, spec.REGION_METADATA)
    return None if region is None else read_metadata(source, region, Findings(strict=False, keep=1))


def _fits(source: Source, table: RegionTable, metadata: Metadata) -> bool:
    """Whether the BAT region can hold this disk's BAT, and is in its place."""
    region, geometry = _known(table, spec.REGION_BAT), metadata.geometry
    if region is None or geometry is None:
        return False
    in_place = region.file_offset % spec.MB == 0 and spec.HEADER_SECTION_SIZE <= region.file_offset < source.size
    return in_place and region.length >= geometry.entries * spec.BAT_ENTRY_SIZE


def _has_blocks(source: Source, table: RegionTable) -> bool:
    """Whether the beginning of the BAT leads to blocks, and to none that cannot be: other bytes would not."""
    region, metadata = _known(table, spec.REGION_BAT), _metadata(source, table)
    geometry = None if metadata is None else metadata.geometry
    if region is None or geometry is None:
        return False
    occupied = [Span(0, spec.HEADER_SECTION_SIZE, "", True, 0)]
    occupied += [Span(r.file_offset, r.end, "", True, 0) for r in table.regions if r.is_known]
    seen: set[int] = set()
    words, _ = Bat(source, region.file_offset, geometry, region.length).read(0, min(geometry.entries, _LOOKED_AT))
    for word in filter(None, words):
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        if word & spec.RESERVED_MASK or state in _RESERVED_STATES:
            return False
        if state >= spec.PayloadState.FULLY_PRESENT:
            if start in seen or start >= source.size or collision(occupied, start, start + 1):
                return False
            seen.add(start)
    return bool(seen)
