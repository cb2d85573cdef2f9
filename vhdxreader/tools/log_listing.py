"""The log as it lies on disk: every entry, whether it counts, and what its descriptors would hit.

Works on images that do not open, as long as there is a current header. In: a path or file object. Out: dataclasses.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .. import spec
from ..disk.structures import Structures, read_structures
from ..errors import Finding, VhdxError
from ..files.opening import PathOrFile, open_source
from ..files.source import Closing, Source
from ..format import header as headers
from ..format.bat import Bat
from ..format.header import Header
from ..format.log import ActiveSequence, ExaminedEntry, Ring, descriptors, examine, find_active
from ..format.log_replay import LogMode
from ..format.log_summary import LogSummary, summarize_listed_log
from ..format.overlaps import Span
from ..format.rules import Findings, finding
from ..plain_values import checksum_text, decimal_text, plain

_MAX_NAMED = 8  # targets of one descriptor
_MAX_BLOCKS = 1 << 20  # that can be named
_INDEX_BITS = 32  # of a block's index in the BAT


@dataclass(frozen=True, slots=True)
class LogUpdate:
    """A descriptor: it replaces `length` bytes at `file_offset`, with zeros or (`kind` "data") other bytes.

    `targets` names what lies there; `kind` is "unknown" where the signature is.
    """

    kind: str
    file_offset: int
    length: int
    targets: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kind": self.kind,
            "file_offset": self.file_offset,
            "length": self.length,
            "targets": list(self.targets),
        }


class LogListing(Closing):
    """The log of an image. `examined` is what looks like an entry, by ascending offset; `active` the active sequence;
    `roles` says by their offsets what its entries are in it: "applied" before, or to be "replayed"; "tail"; "head".

    Close it, or use it in a `with` statement.
    """

    def __init__(self, source: Source) -> None:
        """Find all entries; `source` is closed with the list. Raises `VhdxError` where there is no current header, or
        where it names a log to replay that does not lie in the file."""
        findings = Findings(filename=source.name)
        copies = headers.read_headers(source)
        if all(copy.value is None for copy in copies):
            headers.read_creator(source, findings)  # rather say that it is no VHDX at all
        header = headers.choose_current(copies, findings)
        assert header is not None  # strict findings raise
        if header.has_log:
            headers.validate(header, source.size, findings)
        self.name = source.name
        self.header: Header = header
        self.examined: tuple[ExaminedEntry, ...] = ()
        self.active: ActiveSequence | None = None
        self._source = source
        self._ring: Ring | None = None
        if header.log_is_in_place(source.size):
            self._ring = Ring(source, header)
            self.examined = tuple(examine(self._ring, header.log_guid))
        if header.has_log:
            valid = (examined.entry for examined in self.examined if not examined.problem)
            self.active = find_active(valid, header.log_length)
        self.roles = _roles(self.active)
        self._layout: _Layout | None = None

    def updates(self, examined: ExaminedEntry) -> Iterator[LogUpdate]:
        """The descriptors of an entry, in order; none where they are not all there."""
        if self._ring is None or not examined.has_room:
            return
        if self._layout is None:
            self._layout = _Layout(read_structures(self._source, Findings(strict=False), LogMode.IGNORE))
        for batch in descriptors(self._ring, examined.entry):
            for kind, offset, length in zip(batch.kinds, batch.offsets, batch.lengths, strict=True):
                targets = self._layout.targets(offset, offset + length)
                yield LogUpdate(_KINDS.get(kind, "unknown"), offset, length, targets)

    def summary(self) -> LogSummary:
        """The log in a few words."""
        valid = sum(not examined.problem for examined in self.examined)
        return summarize_listed_log(self.header, self.active, valid)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without the entries, of which there can be many: keys as in the schema `vhdxreader/log/1`."""
        return {"filename": plain(self.name), "log": plain(self.summary())}

    def entry_to_dict(self, examined: ExaminedEntry) -> dict[str, Any]:
        """An entry as JSON has it, without its descriptors."""
        entry, rule = examined.entry, examined.rule
        file_offset = self.header.log_offset + entry.log_offset
        problem: Finding | VhdxError | None = None
        if rule:
            problem = finding(rule, examined.problem, file_offset, self.name)
        elif examined.problem:
            problem = VhdxError(examined.problem, file_offset=file_offset, section="2.3.1")
            problem.filename = self.name
        return {
            "log_offset": entry.log_offset,
            "file_offset": file_offset,
            "length": entry.length,
            "valid": problem is None,
            "problem": plain(problem),
            "roles": [] if problem else list(self.roles.get(entry.log_offset, ())),
            "sequence_number": decimal_text(entry.sequence_number),
            "log_guid": plain(entry.log_guid),
            "tail_log_offset": entry.tail,
            "flushed_file_offset": entry.flushed_file_offset,
            "last_file_offset": entry.last_file_offset,
            "descriptor_count": entry.descriptor_count,
            "checksum": checksum_text(entry.checksum),
        }

    def close(self) -> None:
        """Close the file if it was opened by its path."""
        self._source.close()


_KINDS = {ord("z"): "zero", ord("d"): "data"}


def read_log(file: PathOrFile) -> LogListing:
    """The log of the image in `file`, which is as in `vhdxreader.open`. The file is all that is needed, no parent.

    Raises `VhdxError` as `LogListing` does, and `OSError` where the file cannot be opened or read.
    """
    source = open_source(file)
    try:
        return LogListing(source)
    except BaseException:
        source.close()
        raise


def _roles(active: ActiveSequence | None) -> dict[int, tuple[str, ...]]:
    if active is None:
        return {}
    roles = {
        entry.log_offset: ["replayed" if i >= active.tail else "applied"] for i, entry in enumerate(active.entries)
    }
    roles[active.to_replay[0].log_offset].append("tail")
    roles[active.head.log_offset].append("head")
    return {offset: tuple(names) for offset, names in roles.items()}


class _Layout:
    """What lies where in a file, by what it says on disk."""

    def __init__(self, found: Structures) -> None:
        self._size = found.source.size
        self._spans = [Span(0, spec.LOG_TARGETS_START, "header section", True, 0)]
        for number, start in enumerate(spec.REGION_TABLE_OFFSETS, 1):
            self._spans.append(Span(start, start + spec.REGION_TABLE_SIZE, f"region table {number}", True, 0))
        reserved = self._spans[-1].end
        self._spans.append(Span(reserved, spec.HEADER_SECTION_SIZE, "header section", True, 0))
        if found.header is not None and found.header.log_is_in_place(self._size):
            start = found.header.log_offset
            self._spans.append(Span(start, start + found.header.log_length, "log", True, 0))
        regions = found.region_table.regions if found.region_table else ()
        self._spans += [Span(region.file_offset, region.end, f"{region.name} region", True, 0) for region in regions]
        self._starts, self._covers = _segments(self._spans)
        self._geometry = found.map.bat.geometry if found.map else None
        self._blocks = sorted(islice(_blocks(found.map.bat), _MAX_BLOCKS)) if found.map else []

    def targets(self, start: int, end: int) -> tuple[str, ...]:
        """What has a byte from `start` up to `end`, at most `_MAX_NAMED` of it by name."""
        spans = self._structures(start, end)
        spans += islice((span for span in self._block_spans(start, end) if start < span.end), _MAX_NAMED)
        names = [span.name for span in spans[:_MAX_NAMED]]
        if len(spans) > _MAX_NAMED:
            names.append("more")
        if end > self._size:
            names.append("beyond the end of the file")
        return tuple(names) or ("unused space",)

    def _structures(self, start: int, end: int) -> list[Span]:
        """The structures that have a byte of it; no more than one behind `_MAX_NAMED` counts."""
        found: set[int] = set()
        for i in range(bisect_right(self._starts, start) - 1, bisect_left(self._starts, end)):
            found.update(self._covers[i])
            if len(found) > _MAX_NAMED:
                break
        return [self._spans[i] for i in sorted(found)]

    def _block_spans(self, start: int, end: int) -> Iterator[Span]:
        """The blocks that begin before `end`, from the last on that does before `start`."""
        first = max(bisect_right(self._blocks, (start // spec.MB + 1) << _INDEX_BITS) - 1, 0)
        for i in range(first, bisect_left(self._blocks, -(-end // spec.MB) << _INDEX_BITS)):
            yield self._block_span(self._blocks[i])

    def _block_span(self, block: int) -> Span:
        assert self._geometry is not None
        start, index = (block >> _INDEX_BITS) * spec.MB, block & ((1 << _INDEX_BITS) - 1)
        is_bitmap, _ = self._geometry.block_at(index)
        size = spec.SECTOR_BITMAP_SIZE if is_bitmap else self._geometry.block_size
        return Span(start, start + size, self._geometry.block_name(index), True, 0)


def _segments(spans: Sequence[Span]) -> tuple[list[int], list[list[int]]]:
    """Where each stretch begins in which the same spans lie, and the numbers of those; no more of them than are named
    and one, since an image can have thousands in one place. Nothing begins before 0, and the last has none."""
    starting: dict[int, list[int]] = {0: []}
    ending: dict[int, list[int]] = {}
    for i, span in enumerate(spans):
        if span.start < span.end:
            starting.setdefault(span.start, []).append(i)
            ending.setdefault(span.end, []).append(i)
    active: dict[int, None] = {}
    points, covers = sorted({*starting, *ending}), []
    for point in points:
        for i in ending.get(point, ()):
            del active[i]
        active |= dict.fromkeys(starting.get(point, ()))
        covers.append(list(islice(active, _MAX_NAMED + 1)))
    return points, covers


def _blocks(bat: Bat) -> Iterator[int]:
    """The blocks that are in the file: the megabyte where each begins, and behind it, in the lower bits, its index."""
    for first, words, _ in bat.pages(bat.geometry.entries):
        for index, word in enumerate(words, first):
            if word & spec.STATE_MASK >= spec.PayloadState.FULLY_PRESENT:  # a present bitmap's state is the same
                yield (word & spec.FILE_OFFSET_MASK) // spec.MB << _INDEX_BITS | index
