"""The file type identifier and the two headers [2.2.1, 2.2.2]: decode, choose the current one, validate it.

In: a source. Out: frozen dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Any
from uuid import UUID

from .. import spec
from ..errors import UnreadableError
from ..files.source import Source
from ..plain_values import checksum_text, decimal_text, plain
from . import grammar
from .rules import Findings
from .structure_copies import Copy, Place, read_copies, report_bad_copies

PLACE = Place("header", "header", spec.HEADER_OFFSETS, spec.HEADER_SIZE, spec.HEADER_SIGNATURE)


@dataclass(frozen=True, slots=True)
class Header:
    """A header [2.2.2]. `log_guid` is nil where there is no log to replay; `log_offset` is a file offset."""

    file_offset: int
    checksum: int
    sequence_number: int
    file_write_guid: UUID
    data_write_guid: UUID
    log_guid: UUID
    log_version: int
    version: int
    log_length: int
    log_offset: int
    reserved_is_zero: bool

    @property
    def has_log(self) -> bool:
        """Whether the header names a log to replay."""
        return self.log_guid != spec.NIL_GUID

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without the place."""
        return {
            "sequence_number": decimal_text(self.sequence_number),
            "file_write_guid": plain(self.file_write_guid),
            "data_write_guid": plain(self.data_write_guid),
            "log_guid": plain(self.log_guid),
            "log_version": self.log_version,
            "format_version": self.version,
            "log_file_offset": self.log_offset,
            "log_length": self.log_length,
            "checksum": checksum_text(self.checksum),
        }

    def log_is_in_place(self, file_size: int) -> bool:
        """Whether the log lies behind the header section and inside the file, in whole megabytes, and is not empty."""
        offset, length = self.log_offset, self.log_length
        aligned = offset % spec.MB == 0 and length % spec.MB == 0
        return aligned and length > 0 and offset >= spec.HEADER_SECTION_SIZE and offset + length <= index(file_size)


def is_vhdx(source: Source) -> bool:
    """Whether the file begins with the signature of a VHDX [2.2.1]; says nothing of the rest."""
    size = len(spec.IDENTIFIER_SIGNATURE)
    return source.size >= size and source.read_at(0, size) == spec.IDENTIFIER_SIGNATURE


def read_creator(source: Source, findings: Findings) -> str:
    """The Creator text of the file type identifier, diagnostic only: what cannot be decoded is replaced [2.2.1]."""
    try:
        has_signature = is_vhdx(source)
        data = source.read_at(0, min(source.size, spec.IDENTIFIER_SIZE))
    except UnreadableError as error:
        findings.add_unreadable(error)
        return ""
    if not has_signature:
        if any(copy.value is not None for copy in read_headers(source)):
            message = f'{source.name} does not begin with "vhdxfile", but valid headers follow; salvage reads it'
            findings.add("identifier.damaged", message, 0)
        else:
            findings.add("identifier.signature", not_vhdx_message(source), 0)
    text = data[len(spec.IDENTIFIER_SIGNATURE) :].decode("utf-16-le", "replace")
    return text.partition("\0")[0]


def not_vhdx_message(source: Source) -> str:
    """That the file is no VHDX, and what it is instead, where that can be told."""
    from .foreign import what_it_is  # of no use for what is a VHDX

    kind = what_it_is(source)
    return f'{source.name} does not begin with "vhdxfile"' + (f": it is {kind}" if kind else "")


def read_headers(source: Source) -> tuple[Copy[Header], Copy[Header]]:
    """Both headers, each decoded or with the reason why it is not valid."""
    return read_copies(source, PLACE, decode)


def choose_current(copies: tuple[Copy[Header], Copy[Header]], findings: Findings) -> Header | None:
    """The current header: the only valid one, or the one with the greater SequenceNumber [2.2.2].

    None only where `findings` does not raise.
    """
    report_bad_copies(copies, PLACE, findings)
    first, second = copies
    if first.value is None or second.value is None:
        return first.value or second.value
    number = first.value.sequence_number
    if number != second.value.sequence_number:
        return max(first.value, second.value, key=lambda header: header.sequence_number)
    if first.data == second.data:
        findings.add(
            "header.identical", f"both headers have SequenceNumber {number} and are identical", second.file_offset
        )
        return first.value
    findings.add("header.same_sequence", f"both headers have SequenceNumber {number}, but differ", first.file_offset)
    return None


def validate(header: Header, file_size: int, findings: Findings) -> None:
    """The rules for the current header: version and log fields, strict only where a log must be replayed."""
    if header.version != spec.HEADER_VERSION:
        findings.add("header.version", f"Version is {header.version}, expected 1", header.file_offset)
    if header.log_version != spec.LOG_VERSION:
        rule = "header.log_version" if header.has_log else "header.log_version_unused"
        findings.add(rule, f"LogVersion is {header.log_version}, expected 0", header.file_offset)
    if not header.reserved_is_zero:
        findings.add("header.reserved", "the header's reserved bytes are not zero", header.file_offset)
    _validate_log_location(header, file_size, findings)


def _validate_log_location(header: Header, file_size: int, findings: Findings) -> None:
    offset, length = header.log_offset, header.log_length
    if not header.has_log and length == 0:
        findings.add("header.no_log", "the log region has length 0", header.file_offset)
        return
    if header.log_is_in_place(file_size):
        return
    only_truncated = header.log_is_in_place(offset + length)
    rule = "header.log_past_end" if only_truncated else "header.log_location"
    rule = rule if header.has_log else "header.log_location_unused"
    message = f"the log is said to be {length:#x} bytes at {offset:#x}; the file has {file_size:#x} bytes"
    findings.add(rule, message, header.file_offset)


def decode(data: bytes, offset: int) -> Header:
    """A header from its 4 KiB at a file offset, valid or not."""
    raw = grammar.decode("Header", data, offset)
    return Header(
        file_offset=offset,
        checksum=raw.checksum,
        sequence_number=raw.sequence_number,
        file_write_guid=UUID(bytes_le=raw.file_write_guid.raw),
        data_write_guid=UUID(bytes_le=raw.data_write_guid.raw),
        log_guid=UUID(bytes_le=raw.log_guid.raw),
        log_version=raw.log_version,
        version=raw.version,
        log_length=raw.len_log,
        log_offset=raw.ofs_log,
        reserved_is_zero=not any(raw.reserved),
    )
