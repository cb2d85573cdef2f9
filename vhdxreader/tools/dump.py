"""`dump`: every field of every structure, as it lies on disk, with its place, its bytes and what it means.

In: a path or file object. Out: a tree of nodes, one structure at a time, so that memory stays small. A structure that
cannot be read is a node that says why; those beside it stay. Nothing is replayed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any
from uuid import UUID

from .. import spec
from ..disk.structures import Structures, find_structures
from ..errors import VhdxError
from ..files.opening import PathOrFile, open_source
from ..files.source import Source
from ..format import grammar
from ..format.log_replay import LogMode
from ..format.metadata import KNOWN_ITEMS, MetadataItem, read_table
from ..format.region_table import Region
from ..format.rules import Findings
from ..format.structure_copies import Copy
from ..plain_values import checksum_text, counted, decimal_text, plain
from .skeleton import ends_with_structures

MAX_DUMP_COUNT = 65536
"""The most BAT entries or log sectors that are shown at a time."""

_MAX_RAW = 4096  # bytes of one node; of more, only the beginning
_NAMES = spec.REGION_NAMES | {guid: item.name for guid, item in KNOWN_ITEMS.items()} | {spec.LOCATOR_VHDX: "VHDX"}


_TEXT_VALUES = {"sequence_number": decimal_text, "checksum": checksum_text}


@dataclass(frozen=True, slots=True)
class DumpNode:
    """A field, or a structure with its `children`: `size` bytes at `file_offset`, which begin with `raw`.

    `value` is a field's, plain: a number, a boolean or text (GUIDs and states included). `meaning` is for people. A
    structure that cannot be read has the reason for it in `problem`. A field of bits is `bits` wide, from bit `bit` on.
    """

    name: str
    file_offset: int | None = None
    size: int = 0
    raw: bytes = b""
    value: int | bool | str | None = None
    meaning: str = ""
    problem: str = ""
    bit: int | None = None
    bits: int | None = None
    children: tuple[DumpNode, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `length` bytes at `file_offset`, of which those with fields repeat none."""
        problem = VhdxError(self.problem, file_offset=self.file_offset) if self.problem else None
        return {
            "name": self.name,
            "file_offset": self.file_offset,
            "length": self.size,
            "first_bit": self.bit,
            "bit_count": self.bits,
            "raw": None if self.children else self.raw.hex(),
            "value": self._plain_value(),
            "meaning": plain(self.meaning) or None,
            "problem": plain(problem),
            "fields": [child.to_dict() for child in self.children],
        }

    def _plain_value(self) -> int | bool | str | None:
        if isinstance(self.value, int) and self.name in _TEXT_VALUES:
            return _TEXT_VALUES[self.name](self.value)
        return None if self.value is None else plain(self.value)

    def __getitem__(self, name: str) -> Any:
        """The value of the child with this name."""
        return next(child.value for child in self.children if child.name == name)


def dump(file: PathOrFile, sections: Sequence[str] = (), *, first: int = 0, count: int = 64) -> Iterator[DumpNode]:
    """The nodes of these sections, by default of all of `DUMP_SECTIONS`.

    Of the BAT, `count` entries are shown, and of the log as many sectors of 4 KiB, from number `first` on; `count` is
    at most `MAX_DUMP_COUNT`. `file` is as in `vhdxreader.open`.

    Raises `NotVhdxError` for a file that has neither the signature nor a valid header or region table, and `OSError`
    where it cannot be read.
    """
    numbers = range(operator.index(first), operator.index(first) + min(operator.index(count), MAX_DUMP_COUNT))
    with open_source(file) as source:
        found = find_structures(source, LogMode.IGNORE)
        for section in sections or _SECTIONS:
            yield from _SECTIONS[section](found, numbers)


def _header(found: Structures, _numbers: range) -> Iterator[DumpNode]:
    source = found.source
    identifier = _structure(source, "file type identifier", "FileTypeIdentifier", 0, spec.IDENTIFIER_SIZE)
    if not identifier.problem:
        at = len(spec.IDENTIFIER_SIGNATURE)
        creator = _bytes(source, "creator", at, spec.IDENTIFIER_SIZE - at)
        creator = replace(creator, value=found.creator, meaning=found.creator)
        identifier = replace(identifier, children=(*identifier.children, creator))
    yield identifier
    for copy in found.headers:
        meaning = _copy_meaning(copy, "current", found.header)
        yield _structure(source, f"header {copy.number}", "Header", copy.file_offset, spec.HEADER_SIZE, meaning)


def _region(found: Structures, _numbers: range) -> Iterator[DumpNode]:
    source = found.source
    for copy in found.region_tables:
        meaning = _copy_meaning(copy, "in use", found.region_table)
        name, size = f"region table {copy.number}", spec.REGION_TABLE_HEADER_SIZE
        table = _structure(source, name, "RegionTable", copy.file_offset, size, meaning)
        yield table
        if table.raw.startswith(spec.REGION_TABLE_SIGNATURE):
            place = copy.file_offset + size, spec.REGION_ENTRY_SIZE, spec.MAX_REGION_ENTRIES
            yield from _entries(source, table, "RegionTableEntry", *place)


def _metadata(found: Structures, _numbers: range) -> Iterator[DumpNode]:
    source, region = found.source, found.regions.get(spec.REGION_METADATA)
    if region is None:
        yield DumpNode("metadata table", problem="there is no metadata region")
        return
    size = spec.METADATA_TABLE_HEADER_SIZE
    table = _structure(source, "metadata table", "MetadataTable", region.file_offset, size)
    yield table
    if not table.raw.startswith(spec.METADATA_SIGNATURE):
        return
    place = region.file_offset + size, spec.METADATA_ENTRY_SIZE, spec.MAX_METADATA_ENTRIES
    yield from _entries(source, table, "MetadataTableEntry", *place)
    for item in _items(source, region):
        known = KNOWN_ITEMS[item.item_id] if item.is_known else None
        if known is None or item.length < known.size:
            problem = "" if known is None else f"it should have {known.size} bytes"
            yield replace(_bytes(source, f"item {item.name}", item.file_offset, item.length), problem=problem)
        else:
            yield _structure(source, f"item {item.name}", known.structure, item.file_offset, known.size)


def _locator(found: Structures, _numbers: range) -> Iterator[DumpNode]:
    source, region = found.source, found.regions.get(spec.REGION_METADATA)
    items = [] if region is None else _items(source, region)
    locators = [item for item in items if item.is_known and item.item_id == spec.ITEM_PARENT_LOCATOR]
    if not locators:
        yield DumpNode("parent locator", meaning="there is none")
    for item in locators:
        locator = _structure(source, "parent locator", "ParentLocatorItem", item.file_offset, spec.LOCATOR_HEADER_SIZE)
        yield locator
        if not locator.problem:
            yield from _locator_entries(source, item, locator)


def _locator_entries(source: Source, item: MetadataItem, locator: DumpNode) -> Iterator[DumpNode]:
    rest = item.length  # of the strings: more of them than the item has bytes overlap, and could be gigabytes
    at = item.file_offset + spec.LOCATOR_HEADER_SIZE
    most = (item.length - spec.LOCATOR_HEADER_SIZE) // spec.LOCATOR_ENTRY_SIZE
    for entry in _entries(source, locator, "ParentLocatorEntry", at, spec.LOCATOR_ENTRY_SIZE, most):
        if entry.problem:
            yield entry
            return
        rest -= entry["len_key"] + entry["len_value"]
        if rest < 0:
            yield replace(entry, problem="the strings have more bytes than the item")
            return
        strings = [_text(source, item, name, entry[f"ofs_{name}"], entry[f"len_{name}"]) for name in ("key", "value")]
        meaning = " = ".join(string.meaning for string in strings)
        yield replace(entry, meaning=meaning, children=(*entry.children, *strings))


def _bat(found: Structures, numbers: range) -> Iterator[DumpNode]:
    if found.map is None:
        yield DumpNode("BAT", problem="regions or metadata do not say where it is, or how large")
        return
    bat, geometry, lost = found.map.bat, found.map.bat.geometry, False
    for index in range(numbers.start, min(numbers.stop, geometry.entries)):
        is_bitmap, _ = geometry.block_at(index)
        structure = "BatSectorBitmapEntry" if is_bitmap else "BatPayloadEntry"
        place = bat.entry_offset(index), spec.BAT_ENTRY_SIZE
        node = _structure(found.source, geometry.block_name(index), structure, *place)
        if node.problem:
            yield node
            return
        word = int.from_bytes(node.raw, "little")
        state, where = node["state"], word & spec.FILE_OFFSET_MASK
        present = (word & spec.STATE_MASK) >= spec.PayloadState.FULLY_PRESENT
        meaning = f"{state} at {where:#x}" if present else f"{state}, stale offset {where:#x}" if where else str(state)
        yield replace(node, meaning=meaning)
        lost |= present and where >= found.source.size
    if lost and ends_with_structures(found, found.source.size):
        yield DumpNode("payload", meaning="not there: the file ends with its last structure")


def _log(found: Structures, numbers: range) -> Iterator[DumpNode]:
    header = found.header
    if header is None:
        yield DumpNode("log", problem="there is no current header that says where it is")
        return
    for number in range(numbers.start, min(numbers.stop, header.log_length // spec.LOG_SECTOR_SIZE)):
        at = header.log_offset + number * spec.LOG_SECTOR_SIZE
        sector = _log_sector(found.source, f"log sector {number}", at, header.log_guid)
        yield sector
        if sector.problem:
            return


def _log_sector(source: Source, name: str, at: int, log_guid: UUID) -> DumpNode:
    """A sector by its signature; one that goes on with an entry's descriptors begins with one of those."""
    sector = _bytes(source, name, at, spec.LOG_SECTOR_SIZE)
    signature = sector.raw[:4]
    if signature == spec.LOG_ENTRY_SIGNATURE:
        entry = _structure(source, name, "LogEntryHeader", at, spec.LOG_ENTRY_HEADER_SIZE)
        is_ours = entry["log_guid"] == str(log_guid)
        guid = "the current header's LogGuid" if is_ours else "not the current header's LogGuid: stale"
        meaning = f"entry {entry['sequence_number']} with {counted(entry['num_descriptors'], 'descriptor')}, {guid}"
        start, most = spec.LOG_ENTRY_HEADER_SIZE, entry["num_descriptors"]
        children = (*entry.children, *_descriptors(source, at + start, sector.raw[start:], most))
        return replace(sector, meaning=meaning, children=children)
    if signature == spec.DATA_SECTOR_SIGNATURE:
        data = _structure(source, name, "LogDataSector", at, spec.LOG_SECTOR_SIZE)
        return replace(data, meaning=f"data of entry {data['sequence_high'] << 32 | data['sequence_low']}")
    children = tuple(_descriptors(source, at, sector.raw, len(sector.raw)))
    if children:
        return replace(sector, meaning=counted(len(children), "descriptor"), children=children)
    return replace(sector, meaning="other" if any(sector.raw) else "zeros") if not sector.problem else sector


def _descriptors(source: Source, at: int, data: bytes, most: int) -> Iterator[DumpNode]:
    """The descriptors that a sector holds from its byte `at` of the file on, up to the first that is none."""
    kinds = {
        spec.ZERO_DESCRIPTOR_SIGNATURE: "LogZeroDescriptor",
        spec.DATA_DESCRIPTOR_SIGNATURE: "LogDataDescriptor",
    }
    for i in range(min(most, len(data) // spec.LOG_DESCRIPTOR_SIZE)):
        offset = i * spec.LOG_DESCRIPTOR_SIZE
        kind = kinds.get(data[offset : offset + 4])
        if kind is None:
            return
        node = _structure(source, f"descriptor {i}", kind, at + offset, spec.LOG_DESCRIPTOR_SIZE)
        what = f"{node['len_zero']:#x} zeros" if kind == "LogZeroDescriptor" else "4 KiB"
        yield replace(node, meaning=f"{what} at {node['ofs_file']:#x}")


_SECTIONS: dict[str, Callable[[Structures, range], Iterator[DumpNode]]] = {
    "header": _header,
    "region": _region,
    "metadata": _metadata,
    "locator": _locator,
    "bat": _bat,
    "log": _log,
}

DUMP_SECTIONS = tuple(_SECTIONS)
"""What an image is divided into, in the order in which it is shown."""


def _structure(source: Source, name: str, structure: str, offset: int, size: int, meaning: str = "") -> DumpNode:
    """A structure with its fields as the grammar has them, or with the reason why it cannot be read."""
    try:
        data = source.read_at(offset, size)
        children = tuple(_field(field) for field in grammar.fields(structure, data, offset))
    except VhdxError as error:
        return DumpNode(name, offset, size, meaning=meaning, problem=error.message)
    return DumpNode(name, offset, size, data[:_MAX_RAW], meaning=meaning, children=children)


def _field(field: grammar.Field) -> DumpNode:
    value, meaning = field.value, ""
    if isinstance(value, UUID):
        meaning = f"{value} {_NAMES.get(value, '')}".rstrip()
        value = str(value)
    elif isinstance(value, IntEnum):
        value = meaning = value.name.lower().removeprefix("bitmap_")
    elif isinstance(value, bytes):
        meaning = _signature(value)
        value = None
    elif isinstance(value, bool):
        meaning = str(value).lower()
    else:
        meaning = str(value) if value < 4096 else f"{value} ({value:#x})"
    return DumpNode(field.name, field.offset, len(field.raw), field.raw, value, meaning, "", field.bit, field.bits)


def _signature(value: bytes) -> str:
    if 4 <= len(value) <= 8 and value.isalpha():
        return f'"{value.decode("ascii")}"'
    return "zeros" if not any(value) else ""


def _entries(source: Source, table: DumpNode, structure: str, at: int, size: int, most: int) -> Iterator[DumpNode]:
    """The entries behind a table, which says how many there are."""
    claimed = table["num_entries"]
    if claimed > most:
        yield DumpNode("entries", at, problem=f"{claimed} are claimed, but at most {most} fit")
        return
    for i in range(claimed):
        entry = _structure(source, f"entry {i}", structure, at + i * size, size)
        yield replace(entry, meaning=_entry_meaning(entry))


def _entry_meaning(entry: DumpNode) -> str:
    """What the GUID with which an entry begins stands for; nothing if it begins with something else."""
    if not entry.children or not isinstance(guid := entry.children[0].value, str):
        return ""
    if any(child.name == "is_user" and child.value for child in entry.children):
        return "user item"
    return _NAMES.get(UUID(guid), "unknown")


def _items(source: Source, region: Region) -> list[MetadataItem]:
    """The items that have bytes."""
    return [item for item in read_table(source, region, Findings(strict=False, keep=1)) or () if item.length]


def _bytes(source: Source, name: str, offset: int, size: int) -> DumpNode:
    try:
        return DumpNode(name, offset, size, source.read_at(offset, min(size, _MAX_RAW)))
    except VhdxError as error:
        return DumpNode(name, offset, size, problem=error.message)


def _text(source: Source, item: MetadataItem, name: str, offset: int, size: int) -> DumpNode:
    if offset + size > item.length:
        return DumpNode(name, item.file_offset + offset, size, problem="it ends behind the item")
    node = _bytes(source, name, item.file_offset + offset, size)
    text = node.raw.decode("utf-16-le", "replace")
    return replace(node, value=text, meaning=text)


def _copy_meaning(copy: Copy[Any], chosen: str, current: object) -> str:
    if copy.value is None:
        return f"not valid: {copy.problem}"
    return f"valid, {chosen}" if copy.value is current else "valid"
