"""Replaying the log in memory [2.3.3]: what its updates leave is laid over the file, which itself stays as it is.

In: a source and its current header. Out: the source that everything behind the headers is read from.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NoReturn, TypeAlias
from uuid import UUID

from .. import spec
from ..errors import UnreadableError
from ..files.overlay import OverlaySource, Sectors
from ..files.range_union import STRETCH, Keys, Ranges, RangeUnion, union
from ..files.source import Source
from .header import Header
from .log import ActiveSequence, ExaminedEntry, LogEntry, Ring, descriptors, examine, find_active
from .rules import Findings

_SECTOR = spec.LOG_SECTOR_SIZE
_EDGES = spec.LEADING_BYTES + spec.TRAILING_BYTES


Log: TypeAlias = Literal["replay", "refuse", "ignore"]
"""The values of `LogMode`, as callers write them."""


class LogMode(StrEnum):
    """What to do with a log that must be replayed."""

    REPLAY = "replay"  # in memory
    REFUSE = "refuse"
    IGNORE = "ignore"  # read the state before it

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f'log is {value!r}, expected "replay", "refuse" or "ignore"')


@dataclass(frozen=True, slots=True)
class LogState:
    """The log of an image that was not closed cleanly: its valid entries by ascending offset, the active sequence, and
    the file as its replay gave it (`overlay`), None where it was not replayed."""

    guid: UUID
    file_offset: int
    length: int
    entries: tuple[LogEntry, ...]
    active: ActiveSequence | None
    overlay: Source | None

    @property
    def is_replayed(self) -> bool:
        return self.overlay is not None

    @property
    def sectors(self) -> int:
        """How many sectors of 4 KiB of the file the replay gave new content, other than zeroing them."""
        return len(self.overlay.sectors.numbers) if isinstance(self.overlay, OverlaySource) else 0

    @property
    def ranges(self) -> int:
        """How many ranges of the file the replay zeroed, after those that touch were joined."""
        return len(self.overlay.zeros.starts) if isinstance(self.overlay, OverlaySource) else 0

    @property
    def bytes(self) -> int:
        """How many bytes of the file sectors and ranges are together."""
        return self.overlay.overlaid_bytes() if isinstance(self.overlay, OverlaySource) else 0


def open_log(source: Source, header: Header, mode: LogMode, findings: Findings) -> LogState | None:
    """The log's state, replayed or not as `mode` says; None where there is nothing to replay.

    Where `findings` does not raise, also None if the log does not lie in the file.
    """
    if not header.has_log:
        return None
    if mode is LogMode.REFUSE:
        findings.add(
            "log.dirty", "the image has a log to replay, and was asked to be refused for that", header.file_offset
        )
    if not header.log_is_in_place(source.size):
        return None
    ring = Ring(source, header)
    try:
        entries = _valid_entries(ring, header.log_guid, findings)
    except UnreadableError as error:  # which may hide the newest of them
        findings.add("log.unreadable", error.message, error.file_offset)
        return LogState(header.log_guid, ring.offset, ring.length, (), None, None)
    active = find_active(entries, ring.length)
    overlay = None
    if mode is LogMode.IGNORE:
        what = f"{len(active.to_replay)} log entries" if active else "a log without a valid sequence"
        findings.add("log.ignored", f"{what} not replayed, as asked: this is the state before them", ring.offset)
    elif active is None:
        message = f"the header names a log to replay, but among its {len(entries)} valid entries there is no sequence"
        findings.add("log.no_sequence", message, ring.offset)
    else:
        _validate(active, ring, findings)
        overlay = replay(ring, active, findings)
    return LogState(header.log_guid, ring.offset, ring.length, entries, active, overlay)


def replay(ring: Ring, active: ActiveSequence, findings: Findings) -> OverlaySource | None:
    """The file after the updates from tail to head, the later winning. None only where `findings` does not raise."""
    entries = active.to_replay
    collected = _collect(ring, entries, findings)
    if collected is None:
        return None
    zeros, numbers = collected
    sectors = _LastWrites(numbers).find(ring, entries)
    written = max([0, *(number + 1 for number in numbers[-1:]), *zeros.ends[-1:]]) * _SECTOR
    message = (
        f"in use, or not closed after a crash; the log was replayed in memory; entries: {len(entries)}, "
        f"sectors of 4 KiB written: {len(sectors.numbers)}, ranges zeroed: {len(zeros.starts)}"
    )
    findings.add("log.replayed", message, ring.offset)
    return OverlaySource(ring.source, max(active.head.last_file_offset, written), zeros, sectors)


def _collect(ring: Ring, entries: Iterable[LogEntry], findings: Findings) -> tuple[Ranges, list[int]] | None:
    """All that is zeroed, and the numbers of all sectors that are written, whatever comes later."""
    union = RangeUnion()
    numbers: set[int] = set()
    reserved_is_zero = True
    for entry in entries:
        reserved_is_zero &= entry.reserved_is_zero
        for batch in descriptors(ring, entry):
            union.add(batch.zero_ranges())
            numbers.update(batch.data_sectors())
            reserved_is_zero &= batch.reserved_is_zero()
        if union.count > spec.MAX_LOG_ZERO_RANGES:
            message = f"the log zeroes more than {spec.MAX_LOG_ZERO_RANGES} separate ranges"
            findings.add("log.too_many_ranges", message, ring.offset + entry.log_offset)
            return None
    if not reserved_is_zero:
        findings.add("log.reserved", "reserved fields of the log's active sequence are not zero", ring.offset)
    return union.result(), sorted(numbers)


class _LastWrites:
    """Finds for each written sector its last data sector, unless it was zeroed behind that.

    Goes backwards, so that the first update met for a sector is its last; sectors for which none was met yet are open.
    `_next[i]` leads to the first open one from the i-th on, and is shortened on the way: the work stays linear.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers  # ascending
        self._next = array("Q", range(len(numbers) + 1))
        self._open = len(numbers)
        self._positions = array("Q", bytes(8 * len(numbers)))  # 0: zeroed
        self._edges = bytearray(_EDGES * len(numbers))
        self._zeros: list[Keys] = []  # met, but not looked at
        self._waiting = 0  # how many ranges they are

    def find(self, ring: Ring, entries: Sequence[LogEntry]) -> Sectors:
        """The sectors that are left of these entries, the first being the tail."""
        for entry in reversed(entries):
            if not self._open:
                break
            position = entry.log_offset + entry.length
            for batch in descriptors(ring, entry, backwards=True):
                starts, ends = batch.ranges()
                stop = len(batch)
                for i in reversed(batch.data_indexes()):
                    self._meet_zeros(Keys(starts[i + 1 : stop], ends[i + 1 : stop]))
                    position -= _SECTOR
                    number = batch.offsets[i] // _SECTOR
                    self._meet_data(number, ring.offset + position % ring.length, batch.edges(i))
                    stop = i
                self._meet_zeros(Keys(starts[:stop], ends[:stop]))
        visible = [i for i, position in enumerate(self._positions) if position]
        return Sectors(
            array("Q", [self._numbers[i] for i in visible]),
            array("Q", [self._positions[i] for i in visible]),
            b"".join(self._edges[_EDGES * i : _EDGES * (i + 1)] for i in visible),
        )

    def _meet_data(self, number: int, position: int, edges: bytes) -> None:
        self._look_at_zeros()
        at = bisect_left(self._numbers, number)
        if self._next[at] == at:
            self._close(at)
            self._positions[at] = position
            self._edges[_EDGES * at : _EDGES * (at + 1)] = edges

    def _meet_zeros(self, keys: Keys) -> None:
        if keys.starts:
            self._zeros.append(keys)
            self._waiting += len(keys.starts)
            if self._waiting >= STRETCH:
                self._look_at_zeros()

    def _look_at_zeros(self) -> None:
        """Close what was zeroed, going through the ranges or through the open sectors, whichever are fewer."""
        if not self._waiting:
            return
        numbers, zeros = self._numbers, union(self._zeros).ranges()
        self._zeros, self._waiting = [], 0
        if len(zeros.starts) < self._open:
            for start, end in zip(*zeros, strict=True):
                at = self._first_open(bisect_left(numbers, start))
                while at < len(numbers) and numbers[at] < end:
                    self._close(at)
                    at = self._first_open(at)
            return
        at = self._first_open(0)
        while at < len(numbers):
            if zeros.covers(numbers[at]):
                self._close(at)
            at = self._first_open(at + 1)

    def _close(self, at: int) -> None:
        self._next[at] = at + 1
        self._open -= 1

    def _first_open(self, at: int) -> int:
        while self._next[at] != at:
            self._next[at] = self._next[self._next[at]]
            at = self._next[at]
        return at


def _valid_entries(ring: Ring, log_guid: UUID, findings: Findings) -> tuple[LogEntry, ...]:
    """The valid entries; of those that only our reading of the specification rejects, the first of a kind is named."""
    entries: list[LogEntry] = []
    rejected: dict[str, ExaminedEntry] = {}
    counts: Counter[str] = Counter()
    for examined in examine(ring, log_guid):
        if not examined.problem:
            entries.append(examined.entry)
        elif examined.rule:
            rejected.setdefault(examined.rule, examined)
            counts[examined.rule] += 1
    for rule, first in rejected.items():
        more = f" ({counts[rule] - 1} more like it)" if counts[rule] > 1 else ""
        message = f"the log entry {first.entry.sequence_number} is not taken: {first.problem}{more}"
        findings.add(rule, message, ring.offset + first.entry.log_offset)
    return tuple(entries)


def _validate(active: ActiveSequence, ring: Ring, findings: Findings) -> None:
    """The rules for the head's file offsets, the only ones that count."""
    head, size = active.head, ring.source.size
    if size < head.flushed_file_offset:
        message = (
            f"the file has {size:#x} bytes, but {head.flushed_file_offset:#x} were flushed when the log was written"
        )
        findings.add("log.flushed_file_offset", message, size)
    if head.flushed_file_offset % spec.MB or head.last_file_offset % spec.MB:
        offsets = f"{head.flushed_file_offset:#x} and {head.last_file_offset:#x}"
        message = f"FlushedFileOffset and LastFileOffset are {offsets}, no multiples of 1 MiB"
        findings.add("log.file_offsets", message, ring.offset + head.log_offset)
