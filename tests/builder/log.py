"""Logs for the test image builder: entries to the byte, any damage to them, and a naive model of replay.

    entry = LogEntry(5, descriptors=[Zero(3 * MB, 8 * KB), Data(4 * MB, page)], overrides={"data[0].low": 4})
    log = Log(entries=[(0, entry)], guid=LOG_GUID)

All offsets, lengths and sizes are bytes; a ring offset counts from the log's start and may wrap around its
end.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .base import KB, MB, NO_GUID, Fields, SparseFile, StructureWriter, Value, crc32c, pack

SECTOR = 4 * KB
LOG_GUID = uuid.UUID("106e106e-0000-4000-8000-000000000001")


@dataclass(frozen=True)
class Zero:
    """A zero descriptor: `length` bytes at file offset `offset` become zero."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


@dataclass(frozen=True)
class Data:
    """A data descriptor and its data sector: 4096 bytes for file offset `offset`."""

    offset: int
    data: bytes

    def __post_init__(self) -> None:
        if len(self.data) != SECTOR:
            raise ValueError(f"a data sector holds {SECTOR} bytes, not {len(self.data)}")

    @property
    def end(self) -> int:
        return self.offset + SECTOR


Update = Zero | Data


@dataclass(frozen=True)
class LogEntry:
    """One log entry. `flushed` and `last` are FlushedFileOffset and LastFileOffset.

    `overrides` replaces fields by name:
        signature checksum entry_length tail sequence_number descriptor_count reserved log_guid
        flushed_file_offset last_file_offset
        desc[i].  signature file_offset sequence_number, trailing_bytes leading_bytes or reserved zero_length
        data[i].  signature high data low, where i counts data sectors only
    `fix_checksum` False leaves the checksum of the entry as it was before the overrides. `extra_sectors` of
    zeros at the end count in EntryLength and under the checksum, but no descriptor explains them.
    """

    sequence: int
    tail: int = 0
    log_guid: uuid.UUID = LOG_GUID
    flushed: int = 0
    last: int = 0
    descriptors: Sequence[Update] = ()
    overrides: Mapping[str, Value] = field(default_factory=dict)
    fix_checksum: bool = True
    extra_sectors: int = 0

    @property
    def data(self) -> list[Data]:
        return [update for update in self.descriptors if isinstance(update, Data)]

    @property
    def descriptor_sectors(self) -> int:
        """The first one holds 126 descriptors, each further one 128."""
        return 1 + max(0, -(-(len(self.descriptors) - 126) // 128))

    def __len__(self) -> int:
        """Bytes in the ring."""
        return SECTOR * (self.descriptor_sectors + len(self.data) + self.extra_sectors)

    def __bool__(self) -> bool:
        return True

    def tobytes(self) -> bytes:
        """The entry as it lies in the ring, from its first sector on."""
        writer = StructureWriter(SparseFile(len(self)), self.overrides)
        out = self._encode(writer)
        covered = out if self.fix_checksum else self._encode(StructureWriter(SparseFile(len(self))))
        length = int.from_bytes(covered[8:12], "little")
        checksum = pack("I", writer.override("checksum", crc32c(covered[:length])))
        writer.reject_unused()
        return out[:4] + checksum + out[8:]

    def _encode(self, writer: StructureWriter) -> bytes:
        """The entry with a checksum of zero."""
        at = writer.put(0, "", self._header())
        for i, update in enumerate(self.descriptors):
            at = writer.put(at, f"desc[{i}]", self._descriptor(update))
        at = SECTOR * self.descriptor_sectors
        for i, update in enumerate(self.data):
            at = writer.put(at, f"data[{i}]", self._data_sector(update))
        writer.file.write(4, bytes(4))
        return writer.file.tobytes()

    def _header(self) -> Fields:
        return [
            ("signature", "4s", b"loge"),
            ("checksum", "I", 0),
            ("entry_length", "I", len(self)),
            ("tail", "I", self.tail),
            ("sequence_number", "Q", self.sequence),
            ("descriptor_count", "I", len(self.descriptors)),
            ("reserved", "I", 0),
            ("log_guid", "16s", self.log_guid),
            ("flushed_file_offset", "Q", self.flushed),
            ("last_file_offset", "Q", self.last),
        ]

    def _descriptor(self, update: Update) -> Fields:
        if isinstance(update, Zero):
            kind: Fields = [
                ("signature", "4s", b"zero"),
                ("reserved", "I", 0),
                ("zero_length", "Q", update.length),
            ]
        else:
            trailing, leading = update.data[-4:], update.data[:8]
            kind = [
                ("signature", "4s", b"desc"),
                ("trailing_bytes", "4s", trailing),
                ("leading_bytes", "8s", leading),
            ]
        return [*kind, ("file_offset", "Q", update.offset), ("sequence_number", "Q", self.sequence)]

    def _data_sector(self, update: Data) -> Fields:
        return [
            ("signature", "4s", b"data"),
            ("high", "I", self.sequence >> 32),
            ("data", "4084s", update.data[8:-4]),
            ("low", "I", self.sequence & 0xFFFFFFFF),
        ]


Entries = Sequence[tuple[int, LogEntry]]
"""Entries with their ring offsets; where two overlap, the later in the list lies on top."""


@dataclass(frozen=True)
class Log:
    """A log region. With entries and a `guid` of zero (the default) it is clean and the entries are stale."""

    length: int = MB
    entries: Entries = ()
    guid: uuid.UUID = NO_GUID

    @property
    def in_sequence(self) -> list[LogEntry]:
        """The entries by sequence number."""
        return sorted((entry for _, entry in self.entries), key=lambda entry: entry.sequence)

    def write(self, file: SparseFile, log_offset: int) -> None:
        """Write the ring into an image."""
        for ring_offset, entry in self.entries:
            data = entry.tobytes()
            for at, start, stop in self.pieces(ring_offset, len(data)):
                file.write(log_offset + at, data[start:stop])

    def fix_checksum(self, file: SparseFile, log_offset: int, ring_offset: int, length: int) -> None:
        """Compute an entry's checksum anew, in place."""
        pieces = self.pieces(ring_offset, length)
        data = b"".join(file.read(log_offset + at, stop - start) for at, start, stop in pieces)
        checksum = crc32c(data[:4] + bytes(4) + data[8:])
        file.write(log_offset + ring_offset % self.length + 4, checksum.to_bytes(4, "little"))

    def pieces(self, ring_offset: int, length: int) -> list[tuple[int, int, int]]:
        """(ring offset, start and stop in the entry's bytes): one piece, or two for an entry that wraps."""
        if length > self.length or ring_offset % SECTOR:
            raise ValueError(f"an entry of {length} bytes cannot lie at {ring_offset} of a ring of {self.length}")
        start = ring_offset % self.length
        first = min(length, self.length - start)
        pieces = [(start, 0, first), (0, first, length)]
        return pieces if first < length else pieces[:1]


def run(
    groups: Iterable[Sequence[Update]],
    *,
    length: int = MB,
    at: int = 0,
    first: int = 1,
    tail: int | None = None,
    guid: uuid.UUID = LOG_GUID,
    flushed: int = 0,
    last: int = 0,
) -> list[tuple[int, LogEntry]]:
    """A sequence: an entry for each group of updates, one behind another in a ring of `length` from `at` on.

    Sequence numbers rise from `first`; every Tail is `tail`, by default the first entry.
    """
    entries: list[tuple[int, LogEntry]] = []
    used = 0
    tail = at if tail is None else tail
    for number, updates in enumerate(groups, first):
        entry = LogEntry(number, tail, guid, flushed, last, list(updates))
        entries.append(((at + used) % length, entry))
        used += len(entry)
    if used > length:
        raise ValueError(f"entries of {used} bytes do not fit in a ring of {length}")
    return entries


def damaged(
    entries: Entries, index: int, *, fix_checksum: bool = True, **overrides: Value
) -> list[tuple[int, LogEntry]]:
    """A copy of `entries` in which one has some fields overridden (see `LogEntry`)."""
    changed = list(entries)
    offset, entry = changed[index]
    changed[index] = (
        offset,
        replace(entry, overrides={**entry.overrides, **overrides}, fix_checksum=fix_checksum),
    )
    return changed


def diff(old: SparseFile, new: SparseFile) -> list[Update]:
    """The updates that make `new` of `old`, in 4 KiB pages; pages that become zero are joined into ranges."""
    updates: list[Update] = []
    for at in sorted(pages(old) | pages(new)):
        before, after = (file.read(at, SECTOR).ljust(SECTOR, b"\0") for file in (old, new))
        last = updates[-1] if updates else None
        if before == after:
            continue
        if any(after):
            updates.append(Data(at, after))
        elif isinstance(last, Zero) and last.end == at:
            updates[-1] = Zero(last.offset, last.length + SECTOR)
        else:
            updates.append(Zero(at, SECTOR))
    return updates


def pages(file: SparseFile) -> set[int]:
    """Offsets of the 4 KiB pages of which something was written."""
    found: set[int] = set()
    for start, piece in file.pieces():
        found.update(range(start // SECTOR * SECTOR, start + len(piece), SECTOR))
    return found


def replay(file: SparseFile, entries: Iterable[LogEntry]) -> SparseFile:
    """The file after these entries, the first being the tail and the last the head: what replay must make of
    it. What it gains in length and nobody writes is `missing`.
    """
    entries = list(entries)
    out = file.copy()
    for entry in entries:
        for update in entry.descriptors:
            if isinstance(update, Zero):
                out.zero(update.offset, update.length)
            else:
                out.write(update.offset, update.data)
    if entries:
        out.truncate(max(out.length, entries[-1].last))
    out.missing = tuple(
        unwritten(file.length, out.length, [update for entry in entries for update in entry.descriptors])
    )
    return out


def unwritten(start: int, end: int, updates: Iterable[Update]) -> Iterator[tuple[int, int]]:
    """The ranges from `start` up to `end` that no update writes."""
    for update in sorted(updates, key=lambda update: update.offset):
        if start < min(update.offset, end):
            yield start, min(update.offset, end)
        start = max(start, update.end)
    if start < end:
        yield start, end
