"""An image's structures in the order in which they must be read [2.2.2, 2.3.3]: what opening and checking share.

In: a source. Out: what was found. Collecting strictly, everything is there or an error was raised; collecting
leniently, reading goes on behind every error as far as structures can be found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from .. import spec
from ..errors import VhdxError
from ..files.source import Source
from ..format import header as headers
from ..format import region_table as regions
from ..format.bat import Bat
from ..format.block_geometry import Geometry
from ..format.header import Header
from ..format.log_replay import LogMode, LogState, open_log
from ..format.metadata import Metadata, read_metadata
from ..format.overlaps import Span, collision
from ..format.parent_locator import ParentLocator, read_locator
from ..format.region_table import Region, RegionTable
from ..format.rules import Findings, breach
from ..format.salvaged_copies import salvage_header, salvage_table
from ..format.structure_copies import Copy
from ..plain_values import counted
from .address_map import AddressMap


@dataclass(frozen=True, slots=True)
class Structures:
    """What an image says of itself. None is what was not found, only where the findings do not raise."""

    source: Source
    creator: str
    headers: tuple[Copy[Header], Copy[Header]]
    header: Header | None
    log: LogState | None  # of an image that was not closed cleanly
    region_tables: tuple[Copy[RegionTable], Copy[RegionTable]]
    region_table: RegionTable | None
    regions: dict[UUID, Region]  # the known ones
    metadata: Metadata | None
    parent_locator: ParentLocator | None  # of a differencing disk
    map: AddressMap | None

    @property
    def is_vhdx(self) -> bool:
        """Whether it is a VHDX file at all: by the signature, or by any valid header or region table."""
        copies = (*self.headers, *self.region_tables)
        return any(copy.value is not None for copy in copies) or headers.is_vhdx(self.source)


def read_structures(source: Source, findings: Findings, mode: LogMode, given: Geometry | None = None) -> Structures:
    """Read and validate everything but BAT and payload; `mode` says what to do with a log that must be replayed.

    `given` is the geometry of an image that does not say it; `VhdxError` for one that does.
    """
    creator = headers.read_creator(source, findings)
    if source.size % spec.MB:
        findings.add("file.size", f"the file has {source.size} bytes, no multiple of 1 MiB", source.size)
    if lock := source.writer_lock():
        findings.add("file.locked", lock)
    both_headers = headers.read_headers(source)
    header = headers.choose_current(both_headers, findings) or salvage_header(source, both_headers, findings)
    if source.is_remote:
        from .opening_plan import plan_opening

        plan_opening(source, header)
    span = log = None
    if header is not None:
        headers.validate(header, source.size, findings)
        span = _log_span(header, source.size)
        log = open_log(source, header, mode, findings)
    if log is not None and log.overlay is not None:
        source = log.overlay
    both_tables = regions.read_region_tables(source)
    table = regions.choose_table(both_tables, findings)
    known = {} if table is None else regions.find_regions(table, source, findings)
    if not known and (table := salvage_table(source, both_tables, findings) or table) is not None:
        known = regions.find_regions(table, source, findings)
    if table is not None:
        _validate_overlaps(table, span, log, findings)
    metadata = _read_metadata(source, known, findings)
    locator = _read_locator(source, metadata, findings)
    metadata = _with_geometry(metadata, given, findings)
    address_map = _address_map(source, known, metadata, _occupied(known.values(), span), findings)
    if log is not None and address_map is not None:
        _validate_file_end(log, address_map, findings)
    return Structures(
        source=source,
        creator=creator,
        headers=both_headers,
        header=header,
        log=log,
        region_tables=both_tables,
        region_table=table,
        regions=known,
        metadata=metadata,
        parent_locator=locator,
        map=address_map,
    )


def find_structures(source: Source, mode: LogMode) -> Structures:
    """What of an image can be found, whatever is wrong with it; `NotVhdxError` where nothing says that it is one."""
    found = read_structures(source, Findings(strict=False, keep=1), mode)
    if not found.is_vhdx:
        raise breach("identifier.signature", headers.not_vhdx_message(source), 0)
    return found


def _log_span(header: Header, file_size: int) -> Span | None:
    """The log, if it is where it may be; a log that is not, and has nothing to replay, is in no block's way."""
    if not header.log_is_in_place(file_size):
        return None
    return Span(header.log_offset, header.log_offset + header.log_length, "log", True, header.file_offset)


def _validate_overlaps(table: RegionTable, span: Span | None, log: LogState | None, findings: Findings) -> None:
    """No region overlaps another or the log; where that is not replayed, its place changes nothing."""
    replayed = log is not None and log.is_replayed
    regions.validate_overlaps(table.regions, span if replayed else None, findings)
    if span is None or replayed:
        return
    for region in table.regions:
        if collision([span], region.file_offset, region.end):
            findings.add("header.log_location_unused", f"the log overlaps region {region.name}", span.origin)


def _validate_file_end(log: LogState, address_map: AddressMap, findings: Findings) -> None:
    """The file is as long as the log's head says it was meant to be [2.3.1.1]: if not, it was perhaps cut short."""
    if log.overlay is None or log.active is None:
        return
    end, last = log.overlay.whole_end, log.active.head.last_file_offset
    if end < last:
        count = address_map.count_missing()
        message = (
            f"the file has {end:#x} bytes, and LastFileOffset is {last:#x}; not all there:"
            f" {counted(count, 'present block')}"
        )
        findings.add("log.file_short", message, end)


def _read_metadata(source: Source, known: dict[UUID, Region], findings: Findings) -> Metadata | None:
    region = known.get(spec.REGION_METADATA)
    return None if region is None else read_metadata(source, region, findings)


def _with_geometry(metadata: Metadata | None, given: Geometry | None, findings: Findings) -> Metadata | None:
    """The metadata, with what is given where they do not say it."""
    if given is None:
        return metadata
    if metadata is not None and metadata.geometry is not None:
        raise VhdxError("a geometry is given, but the image's metadata are readable and say it")
    findings.add("metadata.given", "the geometry is as the caller gave it")
    return Metadata.given(given)


def _read_locator(source: Source, metadata: Metadata | None, findings: Findings) -> ParentLocator | None:
    if metadata is None or not metadata.has_parent or metadata.parent_locator is None:
        return None
    return read_locator(source, metadata.parent_locator, findings)


def _address_map(
    source: Source, known: dict[UUID, Region], metadata: Metadata | None, occupied: list[Span], findings: Findings
) -> AddressMap | None:
    region = known.get(spec.REGION_BAT)
    if metadata is None or region is None:
        return None
    geometry = metadata.geometry
    if geometry is None:
        return None
    needed = geometry.entries * spec.BAT_ENTRY_SIZE
    if region.length < needed:
        message = f"the BAT region has {region.length:#x} bytes, {needed:#x} are needed"
        findings.add("bat.too_small", message, region.entry_offset)
    bat = Bat(source, region.file_offset, geometry, region.length)
    return AddressMap(bat, source, occupied, lenient=not findings.strict)


def _occupied(known: Iterable[Region], log: Span | None) -> list[Span]:
    """What no block may overlap [2.4]."""
    spans = [Span(0, spec.HEADER_SECTION_SIZE, "header section", True, 0)]
    spans += [Span(r.file_offset, r.end, f"{r.name} region", True, r.entry_offset) for r in known]
    return spans if log is None else [*spans, log]
