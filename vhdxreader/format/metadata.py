"""The metadata region [2.6]: its table, and the known items as plain values.

In: a source (behind the log's replay) and the metadata region. Out: frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from .. import spec
from ..errors import TruncatedImageError, UnreadableError
from ..files.partial_reads import read_around, read_together
from ..files.source import Source
from ..plain_values import counted, plain
from . import grammar
from .block_geometry import Geometry
from .overlaps import Span, report_overlaps
from .region_table import Region
from .rules import Findings

ReadAt: TypeAlias = Callable[[int, int], bytes]
"""As `Source.read_at`."""


class DiskType(StrEnum):
    """What kind of virtual disk an image holds; the very words of JSON and text."""

    FIXED = "fixed"
    DYNAMIC = "dynamic"
    DIFFERENCING = "differencing"


@dataclass(frozen=True, slots=True)
class MetadataItem:
    """An entry of the metadata table [2.6.1.2]: `length` bytes at `file_offset`; an empty item has 0 of both."""

    item_id: UUID
    is_user: bool
    is_virtual_disk: bool
    is_required: bool
    file_offset: int
    length: int
    entry_offset: int  # where the entry itself is in the file

    @property
    def is_known(self) -> bool:
        """Whether it is a system item of the specification; a user item never is, whatever its GUID."""
        return not self.is_user and self.item_id in KNOWN_ITEMS

    @property
    def name(self) -> str:
        """The specification's name of a known item, else its GUID."""
        return KNOWN_ITEMS[self.item_id].name if self.is_known else str(self.item_id)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "item_guid": plain(self.item_id),
            "file_offset": self.file_offset,
            "length": self.length,
            "user": self.is_user,
            "virtual_disk": self.is_virtual_disk,
            "required": self.is_required,
        }


@dataclass(frozen=True, slots=True)
class Metadata:
    """The known metadata items [2.6.2], sizes in bytes. `virtual_disk_id` and `physical_sector_size` are None where
    they are missing or make no sense: no data depends on them."""

    block_size: int
    leave_block_allocated: bool
    has_parent: bool
    virtual_disk_size: int
    virtual_disk_id: UUID | None
    logical_sector_size: int
    physical_sector_size: int | None
    parent_locator: MetadataItem | None
    items: tuple[MetadataItem, ...]

    @classmethod
    def given(cls, geometry: Geometry) -> Metadata:
        """What a caller knows of an image whose own metadata are gone."""
        size, block, sector = geometry.virtual_disk_size, geometry.block_size, geometry.sector_size
        return cls(block, False, geometry.has_parent, size, None, sector, None, None, ())

    @property
    def geometry(self) -> Geometry | None:
        """How the virtual disk is cut into blocks; None where that is none that can be."""
        block, sector, size = self.block_size, self.logical_sector_size, self.virtual_disk_size
        if not is_block_size(block) or sector not in spec.SECTOR_SIZES or size > spec.MAX_VIRTUAL_DISK_SIZE:
            return None
        return Geometry(size, block, sector, self.has_parent)

    @property
    def disk_type(self) -> DiskType:
        """By LeaveBlockAllocated and HasParent [2.6.2.1]."""
        if self.has_parent:
            return DiskType.DIFFERENCING
        return DiskType.FIXED if self.leave_block_allocated else DiskType.DYNAMIC


class _KnownItem(NamedTuple):
    name: str
    structure: str  # in the grammar
    size: int
    is_virtual_disk: bool
    needed: bool  # whether data depends on it; the parent locator is asked for by HasParent alone


KNOWN_ITEMS = {
    spec.ITEM_FILE_PARAMETERS: _KnownItem("File Parameters", "FileParametersItem", 8, False, True),
    spec.ITEM_VIRTUAL_DISK_SIZE: _KnownItem("Virtual Disk Size", "VirtualDiskSizeItem", 8, True, True),
    spec.ITEM_VIRTUAL_DISK_ID: _KnownItem("Virtual Disk ID", "VirtualDiskIdItem", 16, True, False),
    spec.ITEM_LOGICAL_SECTOR_SIZE: _KnownItem("Logical Sector Size", "LogicalSectorSizeItem", 4, True, True),
    spec.ITEM_PHYSICAL_SECTOR_SIZE: _KnownItem("Physical Sector Size", "PhysicalSectorSizeItem", 4, True, False),
    spec.ITEM_PARENT_LOCATOR: _KnownItem("Parent Locator", "ParentLocatorItem", spec.LOCATOR_HEADER_SIZE, False, True),
}


def read_metadata(source: Source, region: Region, findings: Findings) -> Metadata | None:
    """All of the metadata that a reader needs, validated. None only where `findings` does not raise."""
    items = read_table(source, region, findings)
    if items is None:
        return None
    known = _select_known(items, region, findings)
    sizes = {guid: kind.size for guid, kind in KNOWN_ITEMS.items() if guid != spec.ITEM_PARENT_LOCATOR}
    whole = [
        (known[guid].file_offset, size) for guid, size in sizes.items() if guid in known and known[guid].length >= size
    ]
    item = partial(_read_item, read_together(source, whole), known, region, findings)
    parameters = item(spec.ITEM_FILE_PARAMETERS)
    disk_size = item(spec.ITEM_VIRTUAL_DISK_SIZE)
    disk_id = item(spec.ITEM_VIRTUAL_DISK_ID)
    logical = item(spec.ITEM_LOGICAL_SECTOR_SIZE)
    physical = item(spec.ITEM_PHYSICAL_SECTOR_SIZE)
    if parameters is None or disk_size is None or logical is None:
        return None
    metadata = Metadata(
        block_size=parameters.len_block,
        leave_block_allocated=parameters.leave_block_allocated,
        has_parent=parameters.has_parent,
        virtual_disk_size=disk_size.virtual_disk_size,
        virtual_disk_id=disk_id and UUID(bytes_le=disk_id.virtual_disk_id.raw),
        logical_sector_size=logical.logical_sector_size,
        physical_sector_size=physical and physical.physical_sector_size,
        parent_locator=known.get(spec.ITEM_PARENT_LOCATOR),
        items=items,
    )
    if parameters.reserved:
        offset = known[spec.ITEM_FILE_PARAMETERS].file_offset
        findings.add("file_parameters.reserved", "reserved flags of the file parameters are not zero", offset)
    _validate_values(metadata, known, findings)
    return metadata


def read_table(source: Source, region: Region, findings: Findings) -> tuple[MetadataItem, ...] | None:
    """The entries of the metadata table, as they stand [2.6.1]. None only where `findings` does not raise."""
    size = spec.METADATA_TABLE_SIZE
    try:
        data = source.read_at(region.file_offset, size)
    except TruncatedImageError as error:
        findings.add("metadata.truncated", f"the metadata table is not whole: {error.message}", error.file_offset)
        return None
    except UnreadableError as error:
        findings.add_unreadable(error)
        data, _ = read_around(source, region.file_offset, size)  # what is zeros now, lists no item
    raw = grammar.decode("MetadataTable", data, region.file_offset)
    if raw.magic != spec.METADATA_SIGNATURE:
        message = f"the metadata table's signature is {raw.magic!r}, not {spec.METADATA_SIGNATURE!r}"
        findings.add("metadata_table.signature", message, region.file_offset)
        return None
    if raw.num_entries > spec.MAX_METADATA_ENTRIES:
        message = f"the metadata table claims {raw.num_entries} entries, at most {spec.MAX_METADATA_ENTRIES} fit"
        findings.add("metadata_table.entry_count", message, region.file_offset)
        return None
    entries = grammar.part(raw, "entries", region.file_offset)
    if raw.reserved or any(raw.reserved1) or any(entry.reserved or entry.reserved1 for entry in entries):
        findings.add(
            "metadata_table.reserved", "reserved fields of the metadata table are not zero", region.file_offset
        )
    first_entry = region.file_offset + spec.METADATA_TABLE_HEADER_SIZE
    return tuple(
        MetadataItem(
            item_id=UUID(bytes_le=entry.item_id.raw),
            is_user=entry.is_user,
            is_virtual_disk=entry.is_virtual_disk,
            is_required=entry.is_required,
            file_offset=region.file_offset + entry.ofs_item if entry.ofs_item else 0,
            length=entry.len_item,
            entry_offset=first_entry + index * spec.METADATA_ENTRY_SIZE,
        )
        for index, entry in enumerate(entries)
    )


def _select_known(items: tuple[MetadataItem, ...], region: Region, findings: Findings) -> dict[UUID, MetadataItem]:
    """The known items by GUID, after the rules for all entries of the table."""
    seen: set[tuple[UUID, bool]] = set()
    known: dict[UUID, MetadataItem] = {}
    for item in items:
        if (item.item_id, item.is_user) in seen:
            _add(findings, "item.duplicate", item, f"metadata item {item.name} is listed again")
            continue
        seen.add((item.item_id, item.is_user))
        if not _is_in_place(item, region):
            message = f"metadata item {item.name} is said to be {item.length:#x} bytes at {item.file_offset:#x}"
            _add(findings, "item.location", item, message)
        elif item.is_known:
            known[item.item_id] = item
            _check_flags(item, findings)
        if item.item_id in spec.IGNORED_ITEMS:
            continue
        if not item.is_known and item.is_required:
            why = "required, but not known"
            if item.item_id == spec.ITEM_INCOMPLETE:
                why = "there: the creation or conversion of this image was never finished"
            findings.add("item.unknown_required", f"metadata item {item.name} is {why}", item.entry_offset)
        elif not item.is_known and not item.is_user:
            findings.add("item.unknown", f"metadata item {item.name} is not known", item.entry_offset)
    users = sum(item.is_user for item in items)
    if users > spec.MAX_USER_ITEMS:
        message = f"there are {users} user metadata items, at most {spec.MAX_USER_ITEMS} are allowed"
        findings.add("metadata_table.user_items", message, region.file_offset)
    spans = (
        Span(i.file_offset, i.file_offset + i.length, f"metadata item {i.name}", i.is_known, i.entry_offset)
        for i in items
    )
    report_overlaps(spans, "item.overlap", findings)
    return known


def is_block_size(size: int) -> bool:
    """Whether a payload block can have this size in bytes [2.6.2.1]."""
    return size & (size - 1) == 0 and spec.MIN_BLOCK_SIZE <= size <= spec.MAX_BLOCK_SIZE


def _check_flags(item: MetadataItem, findings: Findings) -> None:
    found, expected = (item.is_virtual_disk, item.is_required), (KNOWN_ITEMS[item.item_id].is_virtual_disk, True)
    if found != expected:
        message = f"{item.name} has IsVirtualDisk, IsRequired {found}; expected {expected}"
        findings.add("item.flags", message, item.entry_offset)


def _is_in_place(item: MetadataItem, region: Region) -> bool:
    if item.length == 0:
        return item.file_offset == 0
    start = region.file_offset + spec.METADATA_TABLE_SIZE
    return (
        item.length <= spec.MAX_ITEM_LENGTH
        and start <= item.file_offset
        and item.file_offset + item.length <= region.end
    )


def _add(findings: Findings, rule: str, item: MetadataItem, message: str) -> None:
    """A breach that refuses the image for a known item and is only a finding for any other."""
    findings.add(rule if item.is_known else f"{rule}_unknown", message, item.entry_offset)


def _validate_values(metadata: Metadata, known: dict[UUID, MetadataItem], findings: Findings) -> None:
    """The specification's limits to the values [2.6.2]."""
    block, sector, size = metadata.block_size, metadata.logical_sector_size, metadata.virtual_disk_size
    if not is_block_size(block):
        message = f"BlockSize is {block:#x}, expected a power of two from 1 MiB to 256 MiB"
        findings.add("file_parameters.block_size", message, known[spec.ITEM_FILE_PARAMETERS].file_offset)
    if sector not in spec.SECTOR_SIZES:
        message = f"the logical sector size is {sector}, expected 512 or 4096"
        findings.add("logical_sector_size.value", message, known[spec.ITEM_LOGICAL_SECTOR_SIZE].file_offset)
    elif size % sector:
        message = f"the virtual disk size is {size}, expected a multiple of {sector}"
        findings.add("virtual_disk_size.value", message, known[spec.ITEM_VIRTUAL_DISK_SIZE].file_offset)
    if size > spec.MAX_VIRTUAL_DISK_SIZE:
        message = f"the virtual disk size is {size}, expected 64 TiB at most"
        findings.add("virtual_disk_size.limit", message, known[spec.ITEM_VIRTUAL_DISK_SIZE].file_offset)
    physical = metadata.physical_sector_size
    if physical is not None and physical not in spec.SECTOR_SIZES:
        message = f"the physical sector size is {physical}, expected 512 or 4096"
        findings.add("physical_sector_size.value", message, known[spec.ITEM_PHYSICAL_SECTOR_SIZE].file_offset)
    if metadata.has_parent and metadata.parent_locator is None:
        message = "HasParent is set, but there is no parent locator"
        findings.add("parent_locator.missing", message, known[spec.ITEM_FILE_PARAMETERS].file_offset)
    if metadata.parent_locator and not metadata.has_parent:
        message = "there is a parent locator, but HasParent is not set"
        findings.add("parent_locator.unexpected", message, metadata.parent_locator.file_offset)


def _read_item(read: ReadAt, known: dict[UUID, MetadataItem], region: Region, findings: Findings, guid: UUID) -> Any:
    """The decoded item, or None where it is missing or not whole."""
    item = known.get(guid)
    kind = KNOWN_ITEMS[guid]
    if item is None:
        findings.add(
            "item.missing" if kind.needed else "item.missing_unneeded",
            f"there is no metadata item {kind.name} in its place",
            region.file_offset,
        )
        return None
    if item.length < kind.size:
        message = f"{kind.name} has {counted(item.length, 'byte')}, expected {kind.size}"
        findings.add("item.length", message, item.entry_offset)
        return None
    if item.length > kind.size:
        findings.add(
            "item.long", f"{kind.name} has {counted(item.length, 'byte')}, expected {kind.size}", item.entry_offset
        )
    try:
        return grammar.decode(kind.structure, read(item.file_offset, kind.size), item.file_offset)
    except TruncatedImageError as error:
        rule = "metadata.truncated" if kind.needed else "metadata.truncated_unneeded"
        findings.add(rule, f"{kind.name} is not whole: {error.message}", error.file_offset)
    except UnreadableError as error:
        if kind.needed:
            findings.add_unreadable(error)
        else:
            findings.add("item.missing_unneeded", f"{kind.name}: {error.message}", item.file_offset)
    return None
