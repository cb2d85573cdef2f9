"""The parent locator of a differencing disk [2.6.2.6]: keys and values that say which file the parent is.

In: a source and the locator's metadata item. Out: a frozen dataclass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from .. import spec
from ..errors import TruncatedImageError, UnreadableError
from ..files.source import Source
from ..plain_values import counted, plain
from . import grammar
from .metadata import MetadataItem
from .rules import Findings

_GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_GUID_TEXT = re.compile(rf"\{{{_GUID}\}}|{_GUID}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ParentLocator:
    """A parent locator of the VHDX type. Text from the file: paths are Windows paths, and not to be trusted.

    `entries` are all pairs of key and value in the locator's order; a path is None where its key is not there.
    """

    entries: tuple[tuple[str, str], ...]
    linkage: UUID
    linkage2: UUID | None
    relative_path: str | None
    volume_path: str | None
    absolute_win32_path: str | None

    def accepts(self, data_write_guid: UUID) -> bool:
        """Whether a file with this DataWriteGuid in its current header is the parent [2.6.2.6.3]; nil is no file's."""
        return data_write_guid != spec.NIL_GUID and data_write_guid in (self.linkage, self.linkage2)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "parent_linkage_guid": plain(self.linkage),
            "parent_linkage2_guid": plain(self.linkage2),
            "relative_path": plain(self.relative_path),
            "volume_path": plain(self.volume_path),
            "absolute_win32_path": plain(self.absolute_win32_path),
            "entries": [{"key": plain(key), "value": plain(value)} for key, value in self.entries],
        }


def read_locator(source: Source, item: MetadataItem, findings: Findings) -> ParentLocator | None:
    """The parent locator, validated. None only where `findings` does not raise."""
    data = _read_item(source, item, findings)
    if data is None:
        return None
    raw = grammar.decode("ParentLocatorItem", data, item.file_offset)
    kind = UUID(bytes_le=raw.locator_type.raw)
    if kind != spec.LOCATOR_VHDX:
        findings.add("parent_locator.type", f"LocatorType is {kind}, expected {spec.LOCATOR_VHDX}", item.file_offset)
        return None
    if raw.reserved:
        findings.add("parent_locator.reserved", "a reserved field of the parent locator is not zero", item.file_offset)
    if spec.LOCATOR_HEADER_SIZE + raw.num_entries * spec.LOCATOR_ENTRY_SIZE > len(data):
        message = f"the parent locator claims {counted(raw.num_entries, 'entry')}, but has {len(data)} bytes"
        findings.add("parent_locator.entry_count", message, item.file_offset)
        return None
    entries = grammar.part(raw, "entries", item.file_offset)
    total = sum(entry.len_key + entry.len_value for entry in entries)
    if total > len(data):  # overlapping strings could decode to gigabytes
        message = f"the parent locator's strings have {total} bytes, but all of it has {len(data)}"
        findings.add("parent_locator.strings", message, item.file_offset)
        return None
    return _validated(tuple(_decode_entries(entries, data, item, findings)), item, findings)


def _read_item(source: Source, item: MetadataItem, findings: Findings) -> bytes | None:
    if item.length < spec.LOCATOR_HEADER_SIZE:
        message = f"{item.name} has {counted(item.length, 'byte')}, expected {spec.LOCATOR_HEADER_SIZE} at least"
        findings.add("item.length", message, item.entry_offset)
        return None
    try:
        return source.read_at(item.file_offset, item.length)
    except TruncatedImageError as error:
        findings.add("metadata.truncated", f"{item.name} is not whole: {error.message}", error.file_offset)
    except UnreadableError as error:
        findings.add_unreadable(error)
    return None


def _decode_entries(
    entries: list[Any], data: bytes, item: MetadataItem, findings: Findings
) -> Iterator[tuple[str, str]]:
    """The pairs whose text is sound, the first of those with the same key."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        offset = item.file_offset + spec.LOCATOR_HEADER_SIZE + index * spec.LOCATOR_ENTRY_SIZE
        key = _text(data, entry.ofs_key, entry.len_key, f"key {index}", offset, findings)
        value = _text(data, entry.ofs_value, entry.len_value, f"value {index}", offset, findings)
        if key is None or value is None:
            continue
        if key in seen:
            findings.add("parent_locator.duplicate", f"the parent locator has the key {_shown(key)} twice", offset)
            continue
        seen.add(key)
        yield key, value


def _text(data: bytes, start: int, length: int, what: str, offset: int, findings: Findings) -> str | None:
    if not start or not length or start + length > len(data):
        message = f"{what} of the parent locator is said to be {length} bytes at {start:#x} of {len(data):#x}"
        findings.add("parent_locator.location", message, offset)
        return None
    try:
        text = data[start : start + length].decode("utf-16-le")
    except UnicodeDecodeError as error:
        findings.add("parent_locator.text", f"{what} of the parent locator is no UTF-16: {error.reason}", offset)
        return None
    if "\0" in text:
        findings.add("parent_locator.text", f"{what} of the parent locator has a NUL in it", offset)
        return None
    return text


def _validated(entries: tuple[tuple[str, str], ...], item: MetadataItem, findings: Findings) -> ParentLocator | None:
    """The rules for the known keys [2.6.2.6.3]."""
    values = dict(entries)
    linkage, linkage2 = (_guid(values.get(key)) for key in ("parent_linkage", "parent_linkage2"))
    if "parent_linkage2" in values and linkage2 != spec.NIL_GUID:
        rule = "parent_locator.linkage2" if linkage2 is not None else "parent_locator.linkage2_value"
        findings.add(rule, f"parent_linkage2 is {_shown(values['parent_linkage2'])}", item.file_offset)
    relative, volume, absolute = (values.get(key) for key in ("relative_path", "volume_path", "absolute_win32_path"))
    if relative is volume is absolute is None:
        findings.add("parent_locator.no_path", "the parent locator has none of the three paths", item.file_offset)
    if absolute is not None and not absolute.startswith("\\\\?\\"):
        message = f"absolute_win32_path is {_shown(absolute)}, expected to begin with \\\\?\\"
        findings.add("parent_locator.prefix", message, item.file_offset)
    if linkage is None:
        found = values.get("parent_linkage")
        message = "parent_linkage is missing" if found is None else f"parent_linkage is {_shown(found)}, no GUID"
        findings.add("parent_locator.linkage", message, item.file_offset)
        return None
    # A nil GUID names no file; as the second linkage it is how writers say that there is none.
    second = None if linkage2 == spec.NIL_GUID else linkage2
    return ParentLocator(entries, linkage, second, relative, volume, absolute)


def _guid(text: str | None) -> UUID | None:
    return UUID(text) if text is not None and _GUID_TEXT.fullmatch(text) else None


def _shown(text: str) -> str:
    """Text for a message, of bounded length and without control characters."""
    return repr(text if len(text) <= 100 else text[:100] + "\N{HORIZONTAL ELLIPSIS}")
