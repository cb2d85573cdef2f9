"""`check(file)`: everything that is wrong with an image, also with one that cannot be opened.

In: a path or file object. Out: a frozen `Report`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from .. import spec
from ..disk.chain import Parents, Policy, follow_chain
from ..disk.structures import Structures, read_structures
from ..errors import Finding, ParentError, ParentMismatchError, Severity, UnsupportedImageError, VhdxError
from ..files.opening import PathOrFile
from ..files.source import Source
from ..format.log_replay import LogMode
from ..format.log_summary import LogSummary, summarize_log
from ..format.metadata import DiskType
from ..format.rules import RULES, Findings
from ..format.stamp import Stamp
from ..plain_values import counted, plain
from .block_check import BlockWalk, Progress, Totals
from .file_space import FileRange, first_ranges
from .skeleton import ends_with_structures
from .zero_tail import report_zero_tail

KEPT_FINDINGS = 100
"""How many findings of one rule a report lists; `Report.counts` has how many there are."""

KEPT_RANGES = 1000
"""How many unused ranges of the file a report lists; `unused_ranges` has all."""

_NOT_VHDX = "identifier.signature"
_OF_ANY_STATE = {"log.ignored", "file.unused", "file.zero_tail"}  # findings that say nothing of damage before a replay
_WINDOWS = "Microsoft Windows"  # begins its Creator; who copied or resized the image is another matter


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found. Sizes are bytes; None is what could not be found out.

    `findings` are in the order in which they were met, at most `KEPT_FINDINGS` of a rule; `counts` says by rule id how
    often it is broken. They are of the image as it is after the replay of its log; `before_replay` is what is wrong on
    disk, but no longer after it. `unused_size` of the file belong to no structure and no block, in whole megabytes,
    and `trimmed_size` to blocks that were trimmed and keep their place; `unused` are these ranges, the first
    `KEPT_RANGES` of them;
    `bytes_read` is what a deep check read of the blocks. `log` is None where there is no current header. A file that
    has neither the signature nor any valid header or region table is no VHDX, and nothing else is said of it. Where
    the file was `changed` during the check, all of this is of no one moment.

    `parent_state` is "none" of an image that has no parent, "found", "missing", "mismatch" (what is there is not the
    parent), "unknown" (the image is too broken to say which file it is) or "not_looked_at". `parents` are the reports
    on the ancestors, the parent first, as far as they were found; whose findings these are, each says.
    """

    name: str
    file_size: int
    is_vhdx: bool
    findings: tuple[Finding, ...]
    counts: Mapping[str, int]
    log: LogSummary | None = None
    disk_type: DiskType | None = None
    virtual_size: int | None = None
    block_size: int | None = None
    payload_blocks: int | None = None
    allocated_blocks: int | None = None
    bitmap_blocks: int | None = None
    unused_size: int | None = None
    trimmed_size: int | None = None
    unused: tuple[FileRange, ...] | None = None
    read_size: int | None = None
    before_replay: tuple[Finding, ...] = ()
    changed: bool = False
    parent_state: str | None = None
    parents: tuple[Report, ...] = ()

    @property
    def worst(self) -> Severity | None:
        """The highest severity of any finding, also of the parents; None if there is none."""
        severities = [finding.severity for finding in self.findings]
        return max([*severities, *(report.worst for report in self.parents if report.worst)], default=None)

    @property
    def is_corrupt(self) -> bool:
        """Whether an ERROR says that the image or a parent is damaged: not only that it is of a kind that is not
        supported, or that a parent was not found. Never of an image that was changed meanwhile."""
        is_damaged = any(finding.severity is Severity.ERROR and not _is_no_damage(finding) for finding in self.findings)
        damaged = self.is_vhdx and not self.changed and is_damaged
        return damaged or any(report.is_corrupt for report in self.parents)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: keys as in the schema `vhdxreader/check/1`."""
        facts = {
            "filename": self.name,
            "format": "vhdx" if self.is_vhdx else None,
            "worst": self.worst,
            "disk_type": self.disk_type,
            "virtual_size": self.virtual_size,
            "file_size": self.file_size,
            "block_size": self.block_size,
            "payload_block_count": self.payload_blocks,
            "allocated_block_count": self.allocated_blocks,
            "bitmap_block_count": self.bitmap_blocks,
            "unused_size": self.unused_size,
            "trimmed_size": self.trimmed_size,
            "unused": self.unused,
            "read_size": self.read_size,
            "log": self.log,
            "finding_counts": self.counts,
            "findings": self.findings,
            "before_replay": self.before_replay,
            "changed": self.changed,
            "parent_state": self.parent_state,
            "parents": self.parents,
        }
        return {key: plain(value) for key, value in facts.items()}


def check(
    file: PathOrFile,
    *,
    parent: Parents = None,
    parents: Policy = "relative",
    deep: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Hold an image, and its parents, against every rule of [MS-VHDX] that a reader can check.

    Never raises for what is wrong with the image; works on one that `open` refuses, and goes on behind every error as
    far as structures can be found. `file` is as in `open`. All entries of the BAT are looked at, and with `deep` every
    byte that a block has in the file is read. `progress` is called with the number of BAT entries done and of all, of
    each file anew.

    `parent` and `parents` are as in `open`. With None for both, parents are not looked at; nor are they where `file` is
    a file object, which has no folder to find them from, unless they are given.

    Memory is bounded: at most 16 MiB for each of up to seven maps of the file's space, and `KEPT_FINDINGS` findings of
    a rule, for each file.

    Raises `OSError` where the file cannot be opened, or cannot be read outside of blocks.
    """
    parent = parent or None if isinstance(parent, (list, tuple)) else parent
    if parent is None and isinstance(parents, str) and not isinstance(file, (str, bytes, os.PathLike)):
        parents = None
    members, borrowed, error = follow_chain(file, parent, parents, _Member)
    child, ancestors = members[0], members[1:]
    try:
        if error is not None:
            members[-1].noted.add(error.rule or "", error.message, error.file_offset)
        reports = tuple(member.report(deep, progress) for member in ancestors)
        looked_for = parent is not None or parents is not None
        state = _parent_state(child, looked_for, bool(ancestors or borrowed), error)
        return replace(child.report(deep, progress), parent_state=state, parents=reports)
    finally:
        for member in members:
            member.close()


def _parent_state(child: _Member, looked_for: bool, is_found: bool, error: VhdxError | None) -> str | None:
    """What `Report.parent_state` says."""
    metadata = child.metadata
    if metadata is None:
        return None
    if not metadata.has_parent:
        return "none"
    if is_found:
        return "found"
    if child.parent_locator is None:
        return "unknown"
    if not looked_for:
        return "not_looked_at"
    return "mismatch" if isinstance(error, ParentMismatchError) else "missing"


class _Member:
    """A file of the chain that is checked, as `follow_chain` wants it."""

    def __init__(self, source: Source) -> None:
        """Reads all but the blocks; what is wrong is noted."""
        self._source = source
        self._stamp = Stamp(source)
        self.noted = Findings(strict=False, keep=KEPT_FINDINGS, filename=source.name)
        self._found = read_structures(source, self.noted, LogMode.REPLAY)
        self.name, self.path, self.identity = source.name, source.path, source.identity
        self.is_remote, self.neighbour = source.is_remote, source.neighbour
        self.parent_locator = self._found.parent_locator
        self.metadata = self._found.metadata
        self.findings: tuple[Finding, ...] = ()  # what is met on the way to the parent
        self.parent: _Member | None = None

    def report(self, deep: bool, progress: Progress | None) -> Report:
        """The report on this one file. Looks at its blocks."""
        for finding in self.findings:
            self.noted.add(finding.rule, finding.message, finding.file_offset)
        return _check(self._source, self._stamp, self._found, self.noted, deep, progress)

    def close(self) -> None:
        """Close the file."""
        self._source.close()


def _check(
    source: Source, stamp: Stamp, found: Structures, findings: Findings, deep: bool, progress: Progress | None
) -> Report:
    if not found.is_vhdx:
        signature = tuple(finding for finding in findings if finding.rule == _NOT_VHDX)
        return Report(source.name, source.size, False, signature, MappingProxyType({_NOT_VHDX: 1}))
    statistics = _check_blocks(found, findings, deep, progress)
    if found.header is not None:
        statistics["log"] = summarize_log(found.header, found.log, LogMode.REPLAY)
    if found.metadata is not None:
        statistics["disk_type"] = found.metadata.disk_type
        statistics["virtual_size"] = found.metadata.virtual_disk_size
        statistics["block_size"] = found.metadata.block_size
    if found.log is not None and found.log.is_replayed:
        statistics["before_replay"] = _findings_on_disk(source, set(findings))
    if ends_with_structures(found, source.size, bitmaps=True):
        _say_once(findings, source.size)
    if findings.counts["payload.short_last"] and source.size % spec.MB and found.creator.startswith(_WINDOWS):
        message = f"the file ends at {source.size:#x}, inside its last block; its Creator is {found.creator}"
        findings.add("file.cut_short", message, source.size)
    if stamp.differs():
        statistics["changed"] = True
        findings.add("file.changed", stamp.error().message)
    counts = MappingProxyType(dict(findings.counts))
    return Report(source.name, source.size, True, tuple(findings), counts, **statistics)


def _say_once(findings: Findings, file_size: int) -> None:
    """Of a skeleton, that its payload is not there."""
    count = sum(findings.drop(rule) for rule in ("payload.past_end", "bitmap.past_end"))
    if count:
        message = (
            f"behind {file_size:#x}, where the file ends with its last structure, there should be"
            f" {counted(count, 'block')}: a skeleton"
        )
        findings.add("file.skeleton", message, file_size)


def _findings_on_disk(source: Source, known: set[Finding]) -> tuple[Finding, ...]:
    """What is wrong with the file as it is, and put right by the log's replay."""
    findings = Findings(strict=False, keep=KEPT_FINDINGS, filename=source.name)
    _check_blocks(read_structures(source, findings, LogMode.IGNORE), findings, False, None)
    return tuple(finding for finding in findings if finding not in known and finding.rule not in _OF_ANY_STATE)


def _check_blocks(found: Structures, findings: Findings, deep: bool, progress: Progress | None) -> dict[str, Any]:
    region = found.regions.get(spec.REGION_BAT)
    if found.map is None or region is None or found.metadata is None or found.region_table is None:
        return {}
    others = [region for region in found.region_table.regions if not region.is_known]
    walk = BlockWalk(found.source, found.map, region, others, findings)
    walk.run(deep=deep, progress=progress)
    geometry, totals = found.map.bat.geometry, walk.totals
    read = totals.bytes_read if deep else None
    report_zero_tail(found.source, found.map, findings)
    if not walk.is_whole:
        return {"payload_blocks": geometry.payload_blocks, "read_size": read}
    is_fixed = found.metadata.disk_type == "fixed"
    absent = geometry.payload_blocks - totals.allocated_blocks
    if is_fixed and absent > 0:
        message = f"there is no space in the file for {counted(absent, 'block')} of the fixed disk"
        findings.add("payload.fixed_absent", message, region.file_offset)
    unused, count = first_ranges(walk, found.source.size, KEPT_RANGES)
    _report_unused(totals, count, geometry.block_size, is_fixed, findings)
    return {
        "payload_blocks": geometry.payload_blocks,
        "allocated_blocks": totals.allocated_blocks,
        "bitmap_blocks": totals.bitmap_blocks,
        "unused_size": totals.unused_bytes,
        "trimmed_size": totals.trimmed_bytes,
        "unused": unused,
        "read_size": read,
    }


def _report_unused(totals: Totals, count: int, block_size: int, is_fixed: bool, findings: Findings) -> None:
    """Space of whole blocks that belongs to nothing may be that of blocks whose entries were lost."""
    blocks = totals.unused_bytes // block_size
    if not blocks:
        return
    room = f"room for {counted(blocks, 'block')}"
    pages = f"; zeros: {counted(totals.zero_pages, 'page')} of the BAT" if totals.zero_pages else ""
    message = f"{totals.unused_bytes:#x} bytes in {counted(count, 'range')} belong to nothing, {room}{pages}"
    findings.add("file.unused", message)
    if is_fixed and totals.zero_pages:
        message = f"zeros instead of BAT entries: {counted(totals.zero_pages, 'page')} of 4 KiB; the file has {room}"
        findings.add("bat.zero_page", f"{message} that belongs to nothing", totals.first_zero_page)


def _is_no_damage(finding: Finding) -> bool:
    error = RULES[finding.rule].error
    return error is not None and issubclass(error, (UnsupportedImageError, ParentError))
