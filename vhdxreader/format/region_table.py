"""The two region tables [2.2.3]: decode, choose one, and find the regions it lists.

In: a source (behind the log's replay). Out: frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from .. import spec
from ..files.source import Source
from ..plain_values import checksum_text, plain
from . import grammar
from .overlaps import Span, report_overlaps
from .rules import Findings
from .structure_copies import Copy, Place, read_copies, report_bad_copies

PLACE = Place(
    "region table", "region_table", spec.REGION_TABLE_OFFSETS, spec.REGION_TABLE_SIZE, spec.REGION_TABLE_SIGNATURE
)


@dataclass(frozen=True, slots=True)
class Region:
    """An entry of the region table [2.2.3.2]: `length` bytes at `file_offset`."""

    guid: UUID
    file_offset: int
    length: int
    required: bool
    entry_offset: int  # where the entry itself is in the file

    @property
    def end(self) -> int:
        return self.file_offset + self.length

    @property
    def name(self) -> str:
        """ "BAT", "metadata", or the GUID of an unknown region."""
        return spec.REGION_NAMES.get(self.guid, str(self.guid))

    @property
    def is_known(self) -> bool:
        return self.guid in spec.REGION_NAMES

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "region_guid": plain(self.guid),
            "file_offset": self.file_offset,
            "length": self.length,
            "required": self.required,
        }


@dataclass(frozen=True, slots=True)
class RegionTable:
    """A region table [2.2.3.1]. `entry_count` is what it claims; `regions` is empty where that is too many."""

    file_offset: int
    checksum: int
    entry_count: int
    regions: tuple[Region, ...]
    reserved_is_zero: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without place and regions."""
        return {"entry_count": self.entry_count, "checksum": checksum_text(self.checksum)}


def read_region_tables(source: Source) -> tuple[Copy[RegionTable], Copy[RegionTable]]:
    """Both region tables, each decoded or with the reason why it is not valid."""
    return read_copies(source, PLACE, decode)


def choose_table(copies: tuple[Copy[RegionTable], Copy[RegionTable]], findings: Findings) -> RegionTable | None:
    """The first valid copy [2.2.3]. None only where `findings` does not raise."""
    report_bad_copies(copies, PLACE, findings)
    first, second = copies
    if first.value and second.value and first.data != second.data:
        findings.add(
            "region_table.differ", "the region tables differ, both valid; the first is used", second.file_offset
        )
    return first.value or second.value


def find_regions(table: RegionTable, source: Source, findings: Findings) -> dict[UUID, Region]:
    """The known regions by GUID, after the rules for the table and all its entries. Absent ones only where `findings`
    does not raise."""
    if table.entry_count > spec.MAX_REGION_ENTRIES:
        message = f"the region table claims {table.entry_count} entries, at most {spec.MAX_REGION_ENTRIES} fit"
        findings.add("region_table.entry_count", message, table.file_offset)
        return {}
    if not table.reserved_is_zero:
        findings.add("region_table.reserved", "reserved fields of the region table are not zero", table.file_offset)
    known: dict[UUID, Region] = {}
    seen: set[UUID] = set()
    for region in table.regions:
        if region.guid in seen:
            rule = "region.duplicate" if region.is_known else "region.duplicate_unknown"
            findings.add(rule, f"region {region.name} is listed again", region.entry_offset)
            continue
        seen.add(region.guid)
        _validate_region(region, source, findings)
        if region.is_known:
            known[region.guid] = region
    for guid, name in spec.REGION_NAMES.items():
        if guid not in known:
            findings.add("region.missing", f"the region table has no {name} region", table.file_offset)
    return known


def validate_overlaps(regions: Iterable[Region], log: Span | None, findings: Findings) -> None:
    """No region overlaps another, nor the log where it must be replayed [2.2.3]."""
    spans = [Span(r.file_offset, r.end, f"region {r.name}", r.is_known, r.entry_offset) for r in regions]
    report_overlaps(spans if log is None else [*spans, log], "region.overlap", findings)


def _validate_region(region: Region, source: Source, findings: Findings) -> None:
    at = region.entry_offset
    aligned = region.file_offset % spec.MB == 0 and region.length % spec.MB == 0
    if not aligned or region.file_offset < spec.HEADER_SECTION_SIZE or region.length == 0:
        rule = "region.location" if region.is_known else "region.location_unknown"
        findings.add(
            rule, f"region {region.name} is said to be {region.length:#x} bytes at {region.file_offset:#x}", at
        )
    if not source.holds_all(region.file_offset, region.length):
        rule = "region.past_end" if region.is_known else "region.past_end_unknown"
        findings.add(rule, f"region {region.name} ends at {region.end:#x}, the file at {source.whole_end:#x}", at)
    if region.is_known:
        if not region.required:
            findings.add("region.not_required", f"region {region.name} is not marked required", at)
    elif region.required:
        findings.add("region.unknown_required", f"region {region.name} is required, but not known", at)
    else:
        findings.add("region.unknown", f"region {region.name} is not known", at)


def decode(data: bytes, offset: int) -> RegionTable:
    """A region table from its 64 KiB at a file offset, valid or not."""
    raw = grammar.decode("RegionTable", data, offset)
    entries = grammar.part(raw, "entries", offset) if raw.num_entries <= spec.MAX_REGION_ENTRIES else []
    first_entry = offset + spec.REGION_TABLE_HEADER_SIZE
    return RegionTable(
        file_offset=offset,
        checksum=raw.checksum,
        entry_count=raw.num_entries,
        regions=tuple(
            Region(
                guid=UUID(bytes_le=entry.guid.raw),
                file_offset=entry.ofs_region,
                length=entry.len_region,
                required=entry.is_required,
                entry_offset=first_entry + index * spec.REGION_ENTRY_SIZE,
            )
            for index, entry in enumerate(entries)
        ),
        reserved_is_zero=raw.reserved == 0 and all(entry.reserved == 0 for entry in entries),
    )
