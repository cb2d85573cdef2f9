"""Every rule of the format that a reader can check: its id, its section, and what happens when it is broken.

`RULES` is the one place that decides between refusing and tolerating: whatever could make a read wrong or unbounded
is refused, whatever cannot is a finding.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..errors import (
    CorruptImageError,
    DirtyLogError,
    Finding,
    NotVhdxError,
    ParentError,
    ParentMismatchError,
    ParentNotFoundError,
    ParentPermissionError,
    Severity,
    TruncatedImageError,
    UnreadableError,
    UnsupportedImageError,
    VhdxError,
)


class Effect(Enum):
    """What breaking a rule does."""

    REFUSE = "refused at opening"
    READ = "error when the data is read"
    NOTE = "finding"


@dataclass(frozen=True, slots=True)
class Rule:
    """One checkable demand of [MS-VHDX]: `must` says it, `means` what a breach means for the data."""

    id: str
    section: str
    severity: Severity
    effect: Effect
    error: type[VhdxError] | None
    must: str
    means: str


class Findings:
    """What was met so far, in order.

    `add` raises for a rule that refuses the image; a collector made with `strict=False` only records, and whoever
    called `add` goes on as far as it can. No more than `keep` findings of one rule are kept; `counts` has how many
    there were. `filename` names the file in each.
    """

    def __init__(self, *, strict: bool = True, keep: int = sys.maxsize, filename: str | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self._found: list[Finding] = []
        self.strict = strict
        self._keep = keep
        self._filename = filename

    def add(self, rule_id: str, message: str, offset: int | None = None) -> None:
        """Record a breach of the rule `rule_id` at file offset `offset`, or raise its error."""
        rule = RULES[rule_id]
        if self.strict and rule.effect is Effect.REFUSE:
            raise breach(rule_id, message, offset, self._filename)
        self.counts[rule_id] += 1
        if self.counts[rule_id] <= self._keep:
            self._found.append(finding(rule_id, message, offset, self._filename))

    def add_unreadable(self, error: UnreadableError) -> None:
        """Record that the medium does not give a structure, or raise that."""
        if self.strict:
            raise error
        self.add("file.unreadable", error.message, error.file_offset)

    def has_enough(self, rule_id: str) -> bool:
        """Whether no more findings of a rule are kept; if so, one more breach of it was counted."""
        if self.counts[rule_id] < self._keep:
            return False
        self.counts[rule_id] += 1
        return True

    def drop(self, rule_id: str) -> int:
        """Forget the findings of a rule; how many breaches there were."""
        self._found = [finding for finding in self._found if finding.rule != rule_id]
        return self.counts.pop(rule_id, 0)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)


def finding(rule_id: str, message: str, offset: int | None = None, filename: str | None = None) -> Finding:
    """The finding of a breach of a rule, at a file offset."""
    rule = RULES[rule_id]
    return Finding(rule.id, rule.severity, message, offset, rule.section, rule.means, filename)


def breach(rule_id: str, message: str, offset: int | None = None, filename: str | None = None) -> VhdxError:
    """The error of a rule that refuses an image or a read, at a file offset."""
    rule = RULES[rule_id]
    assert rule.error is not None, rule_id
    error = rule.error(message, file_offset=offset, rule=rule.id, section=rule.section)
    error.means = rule.means
    error.filename = filename
    return error


def _refuse(id: str, section: str, error: type[VhdxError], must: str, means: str = "the image is refused") -> Rule:
    return Rule(id, section, Severity.ERROR, Effect.REFUSE, error, must, means)


def _read(id: str, section: str, error: type[VhdxError], must: str, means: str) -> Rule:
    return Rule(id, section, Severity.ERROR, Effect.READ, error, must, means)


def _error(id: str, section: str, must: str, means: str) -> Rule:
    return Rule(id, section, Severity.ERROR, Effect.NOTE, None, must, means)


def _warn(id: str, section: str, must: str, means: str = "the data is not affected") -> Rule:
    return Rule(id, section, Severity.WARNING, Effect.NOTE, None, must, means)


def _info(id: str, section: str, must: str, means: str = "common and harmless") -> Rule:
    return Rule(id, section, Severity.INFO, Effect.NOTE, None, must, means)


_OTHER_COPY = "the other copy serves, if that is valid"
_UNNEEDED = "nothing that is needed; ignored"
_ENTRY_LEFT_OUT = "the entry does not count, and the disk may be that of an earlier moment"

_RULES = (
    # File and header section
    _refuse("identifier.signature", "2.2.1", NotVhdxError, 'the file begins with "vhdxfile"', "not a VHDX file"),
    _refuse("identifier.damaged", "2.2.1", CorruptImageError, 'the file begins with "vhdxfile"; valid headers follow'),
    _info(
        "file.size",
        "2.2",
        "the file's length is a multiple of 1 MiB",
        "harmless by itself; where something is missing at the end, the file was cut short",
    ),
    _warn(
        "file.cut_short",
        "2.4",
        "a file that Windows made is as long as its last block, and a multiple of 1 MiB",
        "probably a copy cut short; what is missing lies behind the disk's end, as far as can be seen",
    ),
    _warn(
        "file.locked",
        "2.2.2",
        "nobody has the image open for writing, as a lock would show",
        "it may change while it is read; make a snapshot, and read what that leaves",
    ),
    _warn(
        "file.changed",
        "2.2.2",
        "the image stays as it is while it is read",
        "what was found is a mixture of several moments, and no verdict on any",
    ),
    _warn("header.truncated", "2.2.2", "both headers lie inside the file", _OTHER_COPY),
    _warn("header.unreadable", "2.2.2", "the medium gives both headers", _OTHER_COPY),
    _warn("header.signature", "2.2.2", 'a header begins with "head"', _OTHER_COPY),
    _warn("header.checksum", "2.2.2", "a header's checksum is right", _OTHER_COPY),
    _refuse("header.none_valid", "2.2.2", CorruptImageError, "one header at least is valid"),
    _refuse("header.both_truncated", "2.2.2", TruncatedImageError, "one header at least lies inside the file"),
    _refuse(
        "header.same_sequence",
        "2.2.2",
        CorruptImageError,
        "two valid headers that differ have different SequenceNumbers",
    ),
    _error(
        "header.unproven",
        "2.2.2",
        "of two headers that are not valid, or that differ, something tells which is right",
        "header 1 was taken: nothing that was read is certain to be right",
    ),
    _info("header.identical", "2.2.2", "two valid headers have different SequenceNumbers; these are copies"),
    _refuse("header.version", "2.2.2", UnsupportedImageError, "the current header's Version is 1"),
    _refuse("header.log_version", "2.2.2", UnsupportedImageError, "LogVersion is 0 where a log must be replayed"),
    _warn("header.log_version_unused", "2.2.2", "LogVersion is 0; no log needs replay"),
    _refuse(
        "header.log_location",
        "2.2.2",
        CorruptImageError,
        "a log to replay lies behind the header section, in whole megabytes, and is not empty",
    ),
    _refuse("header.log_past_end", "2.2.2", TruncatedImageError, "a log to replay lies inside the file"),
    _warn("header.log_location_unused", "2.2.2", "LogOffset and LogLength are in place; no log needs replay"),
    _info("header.no_log", "2.2.2", "there is a log region; its length is 0 and no log needs replay"),
    _warn("header.reserved", "2.2.2", "reserved bytes of the header are zero"),
    # Log
    _warn(
        "log.replayed",
        "2.3.3",
        "the image was closed, and has no log to replay",
        "replayed in memory; the file is stale",
    ),
    _refuse("log.dirty", "2.3.3", DirtyLogError, "the image has no log to replay, where the caller wants none"),
    _error(
        "log.ignored",
        "2.3.3",
        "a log is replayed before anything is read; the caller wanted it ignored",
        "the state before the last writes, and perhaps no consistent one",
    ),
    _refuse("log.unreadable", "2.3", UnreadableError, "the medium gives all of a log to replay"),
    _refuse("log.no_sequence", "2.3.2", DirtyLogError, "a log to replay has a valid sequence of entries"),
    _refuse(
        "log.flushed_file_offset",
        "2.3.1.1",
        TruncatedImageError,
        "the file is as long as the FlushedFileOffset of the active sequence's head",
    ),
    _refuse("log.too_many_ranges", "2.3.3", DirtyLogError, "the log zeroes at most 2097152 separate ranges, our limit"),
    _warn(
        "log.file_short",
        "2.3.1.1",
        "the file is as long as the LastFileOffset of the active sequence's head",
        "present blocks that lie behind its end, if any, are not there: probably a copy cut short",
    ),
    _info("log.file_offsets", "2.3.1.1", "FlushedFileOffset and LastFileOffset are multiples of 1 MiB"),
    _warn("log.entry_length", "2.3.1.1", "an entry is as long as its descriptors and data sectors", _ENTRY_LEFT_OUT),
    _warn("log.target_header", "2.3.1", "an entry targets nothing below the region tables", _ENTRY_LEFT_OUT),
    _warn("log.target_log", "2.3.1", "an entry does not target the log itself", _ENTRY_LEFT_OUT),
    _warn("log.reserved", "2.3.1", "reserved fields of log entries are zero"),
    # Region tables
    _warn("region_table.truncated", "2.2.3", "both region tables lie inside the file", _OTHER_COPY),
    _warn("region_table.unreadable", "2.2.3", "the medium gives both region tables", _OTHER_COPY),
    _warn("region_table.signature", "2.2.3.1", 'a region table begins with "regi"', _OTHER_COPY),
    _warn("region_table.checksum", "2.2.3.1", "a region table's checksum is right", _OTHER_COPY),
    _refuse("region_table.none_valid", "2.2.3", CorruptImageError, "one region table at least is valid"),
    _refuse(
        "region_table.both_truncated", "2.2.3", TruncatedImageError, "one region table at least lies inside the file"
    ),
    _error(
        "region_table.unproven",
        "2.2.3",
        "of two region tables that are not valid, both say the same, or what one says fits",
        "the first that leads to metadata was taken: nothing that was read is certain to be right",
    ),
    _warn("region_table.differ", "2.2.3", "both region tables are equal", "the first is used"),
    _refuse("region_table.entry_count", "2.2.3.1", CorruptImageError, "a region table has at most 2047 entries"),
    _warn("region_table.reserved", "2.2.3", "reserved fields of the region table are zero"),
    _refuse("region.missing", "2.2.3.2", CorruptImageError, "there is a BAT region and a metadata region"),
    _refuse("region.duplicate", "2.2.3.2", CorruptImageError, "a region is listed once"),
    _warn("region.duplicate_unknown", "2.2.3.2", "a region is listed once; this one is not known", _UNNEEDED),
    _refuse(
        "region.location",
        "2.2.3.2",
        CorruptImageError,
        "a region lies at or behind 1 MiB, in whole megabytes, and is not empty",
    ),
    _warn("region.location_unknown", "2.2.3.2", "a region lies in whole megabytes; this one is not known", _UNNEEDED),
    _refuse("region.overlap", "2.2.3", CorruptImageError, "the regions and the log do not overlap"),
    _warn("region.overlap_unknown", "2.2.3", "regions do not overlap; one of these is not known", _UNNEEDED),
    _read(
        "region.past_end",
        "2.2.3.2",
        TruncatedImageError,
        "a region lies inside the file",
        "what needs the missing part cannot be read",
    ),
    _warn("region.past_end_unknown", "2.2.3.2", "a region lies inside the file; this one is not known", _UNNEEDED),
    _refuse("region.unknown_required", "2.2.3.2", UnsupportedImageError, "a required region is a known one"),
    _info("region.unknown", "2.2.3.2", "a region is a known one; this one is not required", _UNNEEDED),
    _info("region.not_required", "2.2.3.2", "the BAT and metadata regions are marked required"),
    # Metadata
    _refuse("metadata.truncated", "2.6.1", TruncatedImageError, "metadata table and needed items lie inside the file"),
    _warn("metadata.truncated_unneeded", "2.6.1", "virtual disk ID and physical sector size lie inside the file"),
    _error(
        "metadata.given",
        "2.6",
        "the image itself says its geometry",
        "it is as right as what was given: nothing that was read is certain to be right",
    ),
    _refuse("metadata_table.signature", "2.6.1.1", CorruptImageError, 'the metadata table begins with "metadata"'),
    _refuse("metadata_table.entry_count", "2.6.1.1", CorruptImageError, "a metadata table has at most 2047 entries"),
    _warn("metadata_table.user_items", "2.6.1.1", "there are at most 1024 user metadata items", _UNNEEDED),
    _warn("metadata_table.reserved", "2.6.1", "reserved fields of the metadata table are zero"),
    _refuse("item.duplicate", "2.6.1.2", CorruptImageError, "a metadata item is listed once"),
    _warn("item.duplicate_unknown", "2.6.1.2", "a metadata item is listed once; this one is not known", _UNNEEDED),
    _refuse(
        "item.location",
        "2.6.1.2",
        CorruptImageError,
        "a metadata item lies behind the table, inside the region, and has at most 1 MiB",
    ),
    _warn(
        "item.location_unknown", "2.6.1.2", "a metadata item lies inside the region; this one is not known", _UNNEEDED
    ),
    _refuse("item.overlap", "2.6.1.2", CorruptImageError, "known metadata items do not overlap"),
    _warn("item.overlap_unknown", "2.6.1.2", "metadata items do not overlap; one of these is not known", _UNNEEDED),
    _refuse("item.unknown_required", "2.6.1.2", UnsupportedImageError, "a required metadata item is a known one"),
    _info("item.unknown", "2.6.1.2", "a system metadata item is a known one; this one is not required", _UNNEEDED),
    _refuse("item.missing", "2.6.2", CorruptImageError, "file parameters, disk size and logical sector size are there"),
    _warn("item.missing_unneeded", "2.6.2", "virtual disk ID and physical sector size are there"),
    _refuse("item.length", "2.6.2", CorruptImageError, "a known metadata item has its length at least"),
    _warn("item.long", "2.6.2", "a known metadata item is not longer than specified", "its first bytes are used"),
    _warn("item.flags", "2.6.2", "a known metadata item has the flags that are specified for it"),
    _refuse(
        "file_parameters.block_size", "2.6.2.1", CorruptImageError, "BlockSize is a power of two from 1 MiB to 256 MiB"
    ),
    _warn("file_parameters.reserved", "2.6.2.1", "reserved flags of the file parameters are zero"),
    _refuse(
        "virtual_disk_size.value",
        "2.6.2.2",
        CorruptImageError,
        "the virtual disk size is a multiple of the logical sector size",
    ),
    _refuse("virtual_disk_size.limit", "2.6.2.2", CorruptImageError, "the virtual disk size is at most 64 TiB"),
    _refuse("logical_sector_size.value", "2.6.2.4", CorruptImageError, "the logical sector size is 512 or 4096"),
    _warn("physical_sector_size.value", "2.6.2.5", "the physical sector size is 512 or 4096"),
    _refuse("parent_locator.missing", "2.6.2.6", CorruptImageError, "a differencing disk has a parent locator"),
    _warn("parent_locator.unexpected", "2.6.2.6", "only a differencing disk has a parent locator", "the flag decides"),
    # Parent locator
    _refuse("parent_locator.type", "2.6.2.6.1", UnsupportedImageError, "LocatorType is that of a VHDX parent"),
    _warn("parent_locator.reserved", "2.6.2.6.1", "reserved fields of the parent locator are zero"),
    _refuse(
        "parent_locator.entry_count", "2.6.2.6.1", CorruptImageError, "the parent locator is as long as its entries"
    ),
    _refuse(
        "parent_locator.strings",
        "2.6.2.6.2",
        CorruptImageError,
        "keys and values together are not longer than the parent locator",
    ),
    _refuse(
        "parent_locator.location",
        "2.6.2.6.2",
        CorruptImageError,
        "keys and values lie inside the parent locator; their offsets and lengths are not zero",
    ),
    _refuse("parent_locator.text", "2.6.2.6.2", CorruptImageError, "keys and values are UTF-16 without NUL"),
    _refuse("parent_locator.duplicate", "2.6.2.6.1", CorruptImageError, "a key is listed once"),
    _refuse("parent_locator.linkage", "2.6.2.6.3", CorruptImageError, "parent_linkage is there and is a GUID"),
    _info("parent_locator.linkage2", "2.6.2.6.3", "parent_linkage2 is there, and not all zeros, only during a merge"),
    _warn("parent_locator.linkage2_value", "2.6.2.6.3", "parent_linkage2 is a GUID", "it is ignored"),
    _warn("parent_locator.no_path", "2.6.2.6.3", "there is a path to the parent", "the parent must be given by hand"),
    _info("parent_locator.prefix", "2.6.2.6.3", "absolute_win32_path begins with \\\\?\\"),
    # The chain of parents
    _refuse("parent.not_found", "2.6.2.6.3", ParentNotFoundError, "a differencing disk's parent is there"),
    _refuse("parent.permission", "2.6.2.6.3", ParentPermissionError, "a differencing disk's parent may be read"),
    _refuse(
        "parent.mismatch",
        "2.6.2.6.3",
        ParentMismatchError,
        "the parent is what the child was made from: DataWriteGuid, logical sector size, no cycle",
    ),
    _refuse("parent.unexpected", "2.6.2.1", ParentMismatchError, "only a differencing disk is given a parent"),
    _refuse("parent.depth", "2.6.2.6", ParentError, "a chain has at most 256 files", "the chain is refused"),
    _read(
        "parent.absent",
        "2.4",
        ParentNotFoundError,
        "the parent is open when its data is read",
        "the rest needs the parent",
    ),
    _info("parent.name_case", "2.6.2.6.3", "the parent's name is spelled as in the parent locator", "it matches"),
    _warn(
        "parent.ambiguous",
        "2.6.2.6.3",
        "one file of those searched has the parent's DataWriteGuid",
        "a copy of the parent that was written to by a tool that does not say so has it, too",
    ),
    # BAT and blocks
    _refuse("bat.too_small", "2.5", CorruptImageError, "the BAT region holds an entry for every block"),
    _read("payload.state", "2.5.1.1", CorruptImageError, "a payload block's state is a known one", "the block is lost"),
    _read(
        "payload.partially_present",
        "2.5.1.1",
        CorruptImageError,
        "only a differencing disk has partially present blocks",
        "the block is lost",
    ),
    _read(
        "payload.past_end",
        "2.5.1",
        TruncatedImageError,
        "a present payload block lies inside the file",
        "the part past the end is lost",
    ),
    _read(
        "payload.overlap",
        "2.4",
        CorruptImageError,
        "a payload block overlaps neither the header section nor log, BAT or metadata",
        "the block is lost",
    ),
    _read(
        "bitmap.not_present",
        "2.5.1.2",
        CorruptImageError,
        "the sector bitmap block of a partially present block is present",
        "the block is lost",
    ),
    _read(
        "bitmap.past_end",
        "2.5.1",
        TruncatedImageError,
        "a sector bitmap block that is needed lies inside the file",
        "the sectors that the missing part describes are lost",
    ),
    _read(
        "bitmap.overlap",
        "2.4",
        CorruptImageError,
        "a sector bitmap block overlaps neither the header section nor log, BAT or metadata",
        "the partially present blocks it describes are lost",
    ),
    # What only `check` looks for
    _warn("bat.reserved", "2.5.1", "reserved bits of a BAT entry are zero"),
    _info(
        "payload.short_last", "2.4", "the file holds all of the last block; what is missing is behind the disk's end"
    ),
    _info(
        "file.unused",
        "2.4",
        "all of the file belongs to a structure or a block",
        "leaked space, mostly harmless; or blocks whose BAT entries were lost, and read as zeros now",
    ),
    _info(
        "file.zero_tail",
        "2.4",
        "the file does not end with present blocks that hold nothing but zeros",
        "blocks that were never written to, or a copy that made the file's whole length first and broke off",
    ),
    _warn(
        "file.broken_off",
        "2.4",
        "where the file ends with zeros, the disk's backup GPT is not among them",
        "a copy that made the file's whole length first and broke off: what lies behind is lost, and reads as zeros",
    ),
    _warn(
        "bat.zero_page",
        "2.5",
        "no 4 KiB of a fixed disk's BAT are zeros beside file space that belongs to nothing",
        "the entries were probably lost, and their blocks read as zeros",
    ),
    _warn(
        "block.trimmed_shared",
        "2.5.1.1",
        "the place that a trimmed block keeps belongs to nothing else",
        "its old content is gone; what it reads as is not affected",
    ),
    _warn(
        "payload.trimmed_shown",
        "2.5.1.1",
        "trimmed blocks read as zeros; the caller wanted their old content",
        "no reader but one that is asked to gives these bytes",
    ),
    _info("payload.fixed_absent", "2.6.2.1", "all blocks of a fixed disk are present", "absent ones read as zeros"),
    _warn("bitmap.unexpected", "2.5.1.2", "only a differencing disk has sector bitmap blocks", _UNNEEDED),
    _warn("bitmap.unneeded", "2.5.1.2", "a sector bitmap block is in place; no block needs this one", _UNNEEDED),
    Rule(
        "block.shared",
        "2.4",
        Severity.ERROR,
        Effect.NOTE,
        None,
        "no two blocks share space in the file",
        "one of them may hold the other's data",
    ),
    _warn(
        "file.untracked",
        "2.2",
        "a file has at most 128 TiB, twice the largest virtual disk",
        "overlaps behind 128 TiB are not looked for",
    ),
    # Stands for payload.past_end and bitmap.past_end where all of the payload is gone.
    Rule(
        "file.skeleton",
        "2.4",
        Severity.ERROR,
        Effect.READ,
        None,
        "the file does not end with its last structure while blocks lie behind",
        "a skeleton, or a copy cut short: the content of these blocks is not there",
    ),
    Rule(
        "file.unreadable",
        "2.4",
        Severity.ERROR,
        Effect.READ,
        UnreadableError,
        "the medium gives all bytes of structures and blocks",
        "what cannot be read is lost",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _RULES}
