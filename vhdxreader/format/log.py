"""The log [2.3]: its entries, which of them are valid, and the active sequence.

In: a source and the current header. Out: frozen dataclasses. Nothing wrong in a log is an error of the file: an entry
that is not valid ends a sequence, as a power cut would leave it. Work and memory grow with the log's size only,
whatever is in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from .. import spec
from ..files.source import Source
from ..plain_values import counted
from . import checksum, grammar
from .header import Header
from .log_descriptors import Descriptors, data_sectors_are_good

_SECTOR = spec.LOG_SECTOR_SIZE
_PIECE = 256 * spec.KB
_FIRST_DESCRIPTORS = (_SECTOR - spec.LOG_ENTRY_HEADER_SIZE) // spec.LOG_DESCRIPTOR_SIZE
_MORE_DESCRIPTORS = _SECTOR // spec.LOG_DESCRIPTOR_SIZE


@dataclass(frozen=True, slots=True)
class LogEntry:
    """The header of a log entry [2.3.1.1], all in bytes; `log_offset` and `tail` count from the log's start."""

    log_offset: int
    length: int
    checksum: int
    tail: int
    sequence_number: int
    descriptor_count: int
    log_guid: UUID
    flushed_file_offset: int
    last_file_offset: int
    reserved_is_zero: bool

    @property
    def descriptor_sectors(self) -> int:
        """Sectors that header and descriptors fill: 126 descriptors in the first, 128 in each further one."""
        return 1 + -(-max(self.descriptor_count - _FIRST_DESCRIPTORS, 0) // _MORE_DESCRIPTORS)

    @property
    def data_count(self) -> int:
        """How many data sectors fit behind; in a valid entry one for each data descriptor."""
        return self.length // _SECTOR - self.descriptor_sectors

    @property
    def descriptors_end(self) -> int:
        """Bytes from the entry's start up to the end of the last descriptor."""
        return spec.LOG_ENTRY_HEADER_SIZE + self.descriptor_count * spec.LOG_DESCRIPTOR_SIZE


@dataclass(frozen=True, slots=True)
class ExaminedEntry:
    """What begins with the signature of an entry: it is valid, or there is a `problem`.

    `rule` names the rule that is broken where that is one the specification only implies, and the only one. Unless
    `has_room`, even its descriptors are not all there.
    """

    entry: LogEntry
    problem: str = ""
    rule: str = ""
    has_room: bool = True


@dataclass(frozen=True, slots=True)
class ActiveSequence:
    """A run of valid entries up to the head, the one with the greatest head of all sequences [2.3.2]."""

    entries: tuple[LogEntry, ...]
    tail: int  # index of the entry at the head's Tail

    @property
    def head(self) -> LogEntry:
        return self.entries[-1]

    @property
    def to_replay(self) -> tuple[LogEntry, ...]:
        """From the tail to the head: what lies before was applied long ago."""
        return self.entries[self.tail :]


class Ring:
    """The log as a ring of sectors of 4 KiB, in a source that holds all of it."""

    def __init__(self, source: Source, header: Header) -> None:
        self.source = source
        self.offset = header.log_offset
        self.length = header.log_length

    @property
    def end(self) -> int:
        return self.offset + self.length

    def read(self, start: int, size: int) -> bytes:
        """The `size` bytes at offset `start` of the log, those that wrap around its end joined."""
        start %= self.length
        first = min(size, self.length - start)
        data = self.source.read_at(self.offset + start, first)
        return data if first == size else data + self.source.read_at(self.offset, size - first)

    def pieces(self, start: int, size: int) -> Iterator[tuple[int, memoryview]]:
        """The same in pieces of whole sectors up to 256 KiB, each with how far from `start` it is."""
        for at in range(0, size, _PIECE):
            yield at, memoryview(self.read(start + at, min(_PIECE, size - at)))

    def entry_offsets(self) -> array[int]:
        """Offsets in the log of all sectors that begin with an entry's signature, ascending."""
        found = array("Q")
        signature = spec.LOG_ENTRY_SIGNATURE
        for start, end in self._data_ranges():
            for at, piece in self.pieces(start, end - start):
                signatures = piece.cast("I")[:: _SECTOR // 4].tobytes()
                if signature in signatures:
                    sectors = range(len(piece) // _SECTOR)
                    found.extend(start + at + _SECTOR * i for i in sectors if signatures.startswith(signature, 4 * i))
        return found

    def _data_ranges(self) -> Iterator[tuple[int, int]]:
        """Where the log is no hole, in offsets of whole sectors from its start."""
        done = 0
        for start, end in self.source.data_ranges(self.offset, self.end):
            start = max((start - self.offset) // _SECTOR * _SECTOR, done)
            done = -(-(end - self.offset) // _SECTOR) * _SECTOR
            yield start, done


def examine(ring: Ring, log_guid: UUID) -> Iterator[ExaminedEntry]:
    """Everything that begins with an entry's signature, by ascending offset.

    Descriptors and data sectors have signatures of their own, so no entry holds the beginning of another. Each can
    therefore reach up to the next at most, and each sector is looked at once.
    """
    offsets = ring.entry_offsets()
    for i, offset in enumerate(offsets):
        following = offsets[i + 1] if i + 1 < len(offsets) else offsets[0] + ring.length
        entry = _decode(ring, offset, log_guid)
        no_room = _room_problem(entry, ring, following - offset)
        problem = no_room or _header_problem(entry, ring, log_guid)
        yield ExaminedEntry(entry, problem, has_room=not no_room) if problem else _examine_content(entry, ring)


def descriptors(ring: Ring, entry: LogEntry, *, backwards: bool = False) -> Iterator[Descriptors]:
    """The descriptors of an entry, up to 8192 at a time; `backwards` gives the last batch first."""
    size = entry.descriptor_sectors * _SECTOR
    starts = range(0, size, _PIECE)
    for at in reversed(starts) if backwards else starts:
        piece = memoryview(ring.read(entry.log_offset + at, min(_PIECE, size - at)))
        raw = _descriptor_bytes(entry, at, piece)
        if raw:
            yield Descriptors.unpack(raw)


def find_active(entries: Iterable[LogEntry], log_length: int) -> ActiveSequence | None:
    """The active sequence [2.3.2] of valid entries given by ascending offset; None where there is no sequence.

    Valid entries do not overlap, so an entry follows one other at most, and all entries of a run lead to one head: a
    run is a sequence from any of its entries up to its tail on, and begins with the first of those in the ring.
    """
    entries = tuple(entries)
    index = {entry.log_offset: i for i, entry in enumerate(entries)}
    best: tuple[int, int] | None = None
    active: ActiveSequence | None = None
    for run in _runs(entries, index, log_length):
        head = entries[run[-1]]
        if index.get(head.tail, -1) not in run:
            continue
        tail = run.index(index[head.tail])
        first = min(run[: tail + 1])
        rank = head.sequence_number, -first  # of equal heads the one that is met first
        if best is None or rank > best:
            start = run.index(first)
            best, active = rank, ActiveSequence(tuple(entries[i] for i in run[start:]), tail - start)
    return active


def _runs(entries: Sequence[LogEntry], index: Mapping[int, int], log_length: int) -> Iterator[array[int]]:
    """All entries by their indexes, in runs as long as can be: each behind the one it follows."""
    following = array("q", [-1]) * len(entries)
    is_inner = bytearray(len(entries))
    for i, entry in enumerate(entries):
        next_index = index.get((entry.log_offset + entry.length) % log_length)
        if next_index is not None and entries[next_index].sequence_number == entry.sequence_number + 1:
            following[i] = next_index
            is_inner[next_index] = True
    for i, inner in enumerate(is_inner):
        if not inner:
            run = array("q", [i])
            while following[run[-1]] >= 0:
                run.append(following[run[-1]])
            yield run


def _room_problem(entry: LogEntry, ring: Ring, room: int) -> str:
    """What is wrong with the length of an entry behind which there is `room` up to the next."""
    if entry.length % _SECTOR or not 0 < entry.length <= ring.length:
        return f"its EntryLength is {entry.length:#x}"
    if entry.data_count < 0:
        return f"its EntryLength of {entry.length:#x} has no room for {counted(entry.descriptor_count, 'descriptor')}"
    if entry.length > room:
        return f"another entry begins in its {entry.length:#x} bytes"
    return ""


def _header_problem(entry: LogEntry, ring: Ring, log_guid: UUID) -> str:
    """What is wrong with the other fields of an entry's header."""
    if entry.log_guid != log_guid:
        return f"its LogGuid is {entry.log_guid}"
    if entry.sequence_number == 0:
        return "its SequenceNumber is 0"
    if entry.tail % _SECTOR or entry.tail >= ring.length:
        return f"its Tail is {entry.tail:#x}"
    return ""


def _examine_content(entry: LogEntry, ring: Ring) -> ExaminedEntry:
    """The rules for an entry's descriptors and data sectors, and its checksum."""
    data_count = crc = 0
    data_start = entry.descriptor_sectors * _SECTOR
    implied: dict[str, str] = {}
    for at, piece in ring.pieces(entry.log_offset, entry.length):
        crc = checksum.extended(crc, piece) if at else checksum.checksum(piece)
        raw = _descriptor_bytes(entry, at, piece)
        if raw:
            batch = Descriptors.unpack(raw)
            problem = batch.problem(entry.sequence_number)
            if problem:
                return ExaminedEntry(entry, problem)
            data_count += batch.data_count
            implied.update(_implied_problems(batch, ring))
        data_end = data_start + data_count * _SECTOR
        sectors = piece[max(data_start - at, 0) : max(data_end - at, 0)]
        if sectors and not data_sectors_are_good(sectors, entry.sequence_number):
            return ExaminedEntry(entry, "a data sector's signature or sequence number is wrong")
    if crc != entry.checksum:
        return ExaminedEntry(entry, f"its checksum is {entry.checksum:#010x}, but its bytes give {crc:#010x}")
    if data_count != entry.data_count:
        wanted = data_start + data_count * _SECTOR
        implied["log.entry_length"] = f"its EntryLength is {entry.length:#x}, its content needs {wanted:#x}"
    for rule, problem in implied.items():
        return ExaminedEntry(entry, problem, rule if len(implied) == 1 else "")
    return ExaminedEntry(entry)


def _implied_problems(batch: Descriptors, ring: Ring) -> Iterator[tuple[str, str]]:
    """Breaches of the rules on targets that the specification only implies."""
    if not batch.all_begin_behind(spec.LOG_TARGETS_START):
        yield "log.target_header", "a descriptor targets something below the region tables"
    if not batch.all_begin_behind(ring.end) and batch.targets(ring.offset, ring.end):
        yield "log.target_log", "a descriptor targets the log itself"


def _descriptor_bytes(entry: LogEntry, at: int, piece: memoryview) -> memoryview:
    """The descriptors in the piece of an entry that lies `at` bytes from its start."""
    return piece[max(spec.LOG_ENTRY_HEADER_SIZE - at, 0) : max(entry.descriptors_end - at, 0)]


def _decode(ring: Ring, offset: int, log_guid: UUID) -> LogEntry:
    """The header of the entry at `offset`; its LogGuid is that very object if they are equal, to save memory."""
    at = ring.offset + offset
    raw = grammar.decode("LogEntryHeader", ring.source.read_at(at, spec.LOG_ENTRY_HEADER_SIZE), at)
    return LogEntry(
        log_offset=offset,
        length=raw.len_entry,
        checksum=raw.checksum,
        tail=raw.tail,
        sequence_number=raw.sequence_number,
        descriptor_count=raw.num_descriptors,
        log_guid=log_guid if raw.log_guid.raw == log_guid.bytes_le else UUID(bytes_le=raw.log_guid.raw),
        flushed_file_offset=raw.flushed_file_offset,
        last_file_offset=raw.last_file_offset,
        reserved_is_zero=raw.reserved == 0,
    )
