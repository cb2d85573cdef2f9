"""The partition table of a disk: GPT (UEFI 2.10, chapter 5.3), MBR with its logical partitions, or none.

In: positioned reads of a disk that is not to be trusted. Out: frozen values, every partition inside the disk. Numbers
are those of Linux: a GPT entry's index plus one; an MBR's primary partitions are 1 to 4, the logical ones begin at 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias
from uuid import UUID
from zlib import crc32

from .. import spec
from ..errors import CorruptImageError, Finding, Severity
from ..plain_values import plain
from .gpt_header import GptHeader, read_gpt_header
from .partition_types import gpt_type_name, mbr_type_name
from .volumes import find_volume, is_boot_sector

Pread: TypeAlias = Callable[[int, int], bytes]  # size, offset

_BOOT_SIGNATURE = b"\x55\xaa"
_MBR_TABLE, _MBR_ENTRY = 446, struct.Struct("<B3xB3xII")  # status, type, first sector, sectors
_EXTENDED = (0x05, 0x0F, 0x85)
_PROTECTIVE = 0xEE
_FIRST_LOGICAL = 5
_MAX_LOGICAL = 256  # a chain of them can be a loop

_GPT_ENTRY = struct.Struct("<16s16sQQQ72s")  # UEFI 5.3.3
_MAX_GPT_ENTRIES = spec.MB  # bytes; 16 KiB is usual
_MAX_IDENTIFIED = 256  # partitions whose volume is looked at: each is a read

_BACKUP_MEANS = "The partitions shown are those of the GPT itself, which is valid."
_MEANS = "The partitions shown may not be those that the disk's owner made."


@dataclass(frozen=True, slots=True)
class Partition:
    """`length` bytes at `disk_offset` of the disk; `number` is what Linux calls it.

    `type` is a GUID in a GPT and two hexadecimal digits in an MBR, `type_name` what that is known as, or None; `guid`
    and `name` are the partition's own, of a GPT only. `volume` is what lies in it by its signature, such as "NTFS".
    An `extended` one holds the logical partitions, and nothing else.
    """

    number: int
    disk_offset: int
    length: int
    type: str
    type_name: str | None
    guid: UUID | None = None
    name: str | None = None
    bootable: bool = False
    extended: bool = False
    volume: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "number": self.number,
            "disk_offset": self.disk_offset,
            "length": self.length,
            "type": self.type,
            "type_name": self.type_name,
            "partition_guid": plain(self.guid),
            "name": plain(self.name),
            "bootable": self.bootable,
            "extended": self.extended,
            "volume": self.volume,
        }


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """What divides a disk. `scheme` is "none" where nothing does; the whole disk may then be one `volume`.

    `guid` is the disk's, of a GPT; `signature` the eight hexadecimal digits by which Windows knows an MBR. `findings`
    are what is wrong with the table, and was tolerated.
    """

    scheme: Literal["gpt", "mbr", "none"]
    sector_size: int
    partitions: tuple[Partition, ...] = ()
    guid: UUID | None = None
    signature: str | None = None
    volume: str | None = None
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "scheme": self.scheme,
            "sector_size": self.sector_size,
            "disk_guid": plain(self.guid),
            "disk_signature": self.signature,
            "volume": self.volume,
            "partitions": plain(self.partitions),
            "findings": plain(self.findings),
        }

    def __getitem__(self, number: int) -> Partition:
        """The partition of this number; `KeyError` where there is none."""
        for partition in self.partitions:
            if partition.number == number:
                return partition
        raise KeyError(number)


def read_partitions(pread: Pread, size: int, sector_size: int) -> PartitionTable:
    """The partition table of a disk of `size` bytes with logical sectors of 512 or 4096.

    A valid GPT, else its backup with a WARNING, wins over an MBR that protects it; a table made for the other sector
    size is found, too. What reaches past the disk's end is clipped to it, with a WARNING; partitions that overlap or
    lie among the GPT's own sectors, and a backup that is not as it should be, have one, too. Raises what a read raises.
    """
    return _Reading(pread, size, sector_size).table()


class _Reading:
    """One look at a disk."""

    def __init__(self, pread: Pread, size: int, sector_size: int) -> None:
        self._pread = pread
        self._size = size
        self._sector_size = sector_size
        self._findings: list[Finding] = []
        self._mbr = pread(512, 0)

    def table(self) -> PartitionTable:
        has_mbr = self._has_mbr()
        types = [kind for _, kind, _, _ in _entries(self._mbr)] if has_mbr else []
        if not any(types) or _PROTECTIVE in types:
            found = self._gpt()
            if found is not None:
                return found
            if _PROTECTIVE in types:
                self._warn("partitions.gpt", "an MBR protects a GPT, but neither it nor its backup is valid", 0)
        return self._mbr_table() if any(types) else self._no_table()

    def _no_table(self) -> PartitionTable:
        volume = find_volume(self._pread, 0, self._size)
        return PartitionTable("none", self._sector_size, volume=volume, findings=tuple(self._findings))

    def _has_mbr(self) -> bool:
        if self._mbr[510:512] != _BOOT_SIGNATURE or is_boot_sector(self._mbr):
            return False
        return all(status in (0, 0x80) for status, *_ in _entries(self._mbr))

    def _mbr_table(self) -> PartitionTable:
        partitions, logical = list[Partition](), _FIRST_LOGICAL  # numbers go on over several extended ones
        for number, entry in enumerate(_entries(self._mbr), 1):
            _, kind, first, count = entry
            if not kind or not count:
                continue
            partition = self._mbr_partition(number, entry, 0)
            if partition is not None:
                partitions.append(partition)
            if kind in _EXTENDED:
                partitions += self._logical(first, logical)
                logical = max([logical, *(partition.number + 1 for partition in partitions)])
        signature = self._mbr[440:444][::-1].hex()
        return PartitionTable(
            "mbr",
            self._sector_size,
            self._identified(sorted(partitions, key=lambda partition: partition.number)),
            signature=signature,
            findings=tuple(self._findings),
        )

    def _mbr_partition(self, number: int, entry: tuple[int, int, int, int], base: int) -> Partition | None:
        status, kind, first, count = entry
        return self._placed(
            Partition(
                number,
                (base + first) * self._sector_size,
                count * self._sector_size,
                f"{kind:02x}",
                mbr_type_name(kind),
                bootable=status == 0x80,
                extended=kind in _EXTENDED,
            )
        )

    def _logical(self, extended: int, number: int) -> Iterator[Partition]:
        """The logical partitions of the extended one that begins at this sector, from `number` on."""
        for at, sector in self._logical_tables(extended):
            for entry in _entries(sector):
                _, kind, _, count = entry
                if kind and count and kind not in _EXTENDED:
                    partition = self._mbr_partition(number, entry, at)
                    number += 1
                    if partition is not None:
                        yield partition

    def _logical_tables(self, extended: int) -> Iterator[tuple[int, bytes]]:
        """A chain of tables, each with one partition, and the place of the next table from `extended` on."""
        seen: set[int] = set()
        at: int | None = extended
        while at is not None:
            offset = at * self._sector_size
            if at in seen or len(seen) == _MAX_LOGICAL:
                self._warn("partitions.logical", "the chain of logical partitions is a loop, or too long", offset)
                return
            seen.add(at)
            sector = self._read(512, offset)
            if sector[510:512] != _BOOT_SIGNATURE:
                self._warn("partitions.logical", "the chain of logical partitions breaks off", offset)
                return
            yield at, sector
            at = next((extended + first for _, kind, first, _ in _entries(sector) if kind in _EXTENDED), None)

    def _gpt(self) -> PartitionTable | None:
        """The first valid GPT: of the disk's sector size, then the other; the primary one, then its backup."""
        sizes = sorted(spec.SECTOR_SIZES, key=lambda size: size != self._sector_size)
        for sector_size in sizes:
            for offset in (sector_size, (self._size // sector_size - 1) * sector_size):
                found = self._gpt_at(offset, sector_size)
                if found is not None:
                    return found
        return None

    def _gpt_at(self, offset: int, sector_size: int) -> PartitionTable | None:
        header = self._gpt_header(offset, sector_size)
        if header is None:
            return None
        entries = self._gpt_entries(header, sector_size)
        if not entries:
            return None
        if offset != sector_size:
            self._warn("partitions.gpt_primary", "the primary GPT is not valid; its backup is used", sector_size)
        else:
            self._check_backup(header, sector_size)
        if sector_size != self._sector_size:
            self._warn("partitions.sector_size", f"the GPT is made for sectors of {sector_size} bytes", offset)
        partitions = self._gpt_partitions(entries, header, sector_size)
        return PartitionTable(
            "gpt", sector_size, self._identified(partitions), guid=header.guid, findings=tuple(self._findings)
        )

    def _gpt_header(self, offset: int, sector_size: int) -> GptHeader | None:
        if not 0 < offset <= self._size - sector_size:
            return None
        return read_gpt_header(self._read(sector_size, offset), offset // sector_size)

    def _check_backup(self, header: GptHeader, sector_size: int) -> None:
        """Of a valid GPT: the backup that it names is valid, says the same, and is the last sector [UEFI 5.3.2]."""
        offset = header.alternate * sector_size
        backup = self._gpt_header(offset, sector_size)
        if backup is None or not self._gpt_entries(backup, sector_size):
            self._warn("partitions.gpt_backup", "the backup of the GPT is not valid", offset, _BACKUP_MEANS)
        elif not backup.says_the_same(header):
            self._warn("partitions.gpt_backup", "the backup of the GPT does not say the same", offset, _BACKUP_MEANS)
        elif header.alternate != self._size // sector_size - 1:
            message = "the backup of the GPT is not in the last sector, as where a disk was grown"
            self._warn("partitions.gpt_not_at_end", message, offset, _BACKUP_MEANS)

    def _gpt_entries(self, header: GptHeader, sector_size: int) -> bytes:
        """The entries; empty where they are not what the header says, or too many."""
        length = header.entry_count * header.entry_size
        start = header.entries * sector_size
        if length > _MAX_GPT_ENTRIES or start + length > self._size:
            return b""
        entries = self._read(length, start)
        return entries if crc32(entries) == header.entries_checksum else b""

    def _gpt_partitions(self, entries: bytes, header: GptHeader, sector_size: int) -> Iterator[Partition]:
        for number, at in enumerate(range(0, len(entries), header.entry_size), 1):
            kind, own, first, last, _, name = _GPT_ENTRY.unpack_from(entries, at)
            if not any(kind):
                continue
            guid = UUID(bytes_le=kind)
            found = self._placed(
                Partition(
                    number,
                    first * sector_size,
                    (last - first + 1) * sector_size,
                    str(guid),
                    gpt_type_name(guid),
                    guid=UUID(bytes_le=own),
                    name=name.decode("utf-16-le", "surrogatepass").partition("\0")[0],
                )
            )
            if found is None:
                continue
            if found.disk_offset + found.length == (last + 1) * sector_size:  # else that was told of
                self._check_usable(number, first, last, header, sector_size)
            yield found

    def _check_usable(self, number: int, first: int, last: int, header: GptHeader, sector_size: int) -> None:
        """A partition lies in the usable sectors [UEFI 5.3.3]: others hold the GPT itself."""
        if first < header.first_usable or last > header.last_usable:
            usable = f"sectors {header.first_usable:#x} to {header.last_usable:#x}"
            message = f"partition {number}, sectors {first:#x} to {last:#x}, is not in those that are usable, {usable}"
            self._warn("partitions.not_usable", message, first * sector_size)

    def _placed(self, partition: Partition) -> Partition | None:
        """The partition as far as it lies in the disk; None where none of it does."""
        inside = min(partition.disk_offset + partition.length, self._size) - partition.disk_offset
        if partition.disk_offset <= 0 or inside <= 0:
            self._warn("partitions.outside", f"partition {partition.number} is not in the disk", partition.disk_offset)
            return None
        if inside < partition.length:
            self._warn("partitions.outside", f"partition {partition.number} reaches past the disk's end", self._size)
        return replace(partition, length=inside)

    def _identified(self, partitions: Iterable[Partition]) -> tuple[Partition, ...]:
        """The partitions with their volumes; those that overlap are told of."""
        found = tuple(self._with_volume(place, partition) for place, partition in enumerate(partitions))
        self._check_overlaps(partition for partition in found if not partition.extended)
        return found

    def _with_volume(self, place: int, partition: Partition) -> Partition:
        looked_at = place < _MAX_IDENTIFIED and not partition.extended
        volume = find_volume(self._read, partition.disk_offset, partition.length) if looked_at else None
        return replace(partition, volume=volume)

    def _check_overlaps(self, partitions: Iterable[Partition]) -> None:
        """Warn of each that begins before one with a smaller place has ended: once, however many it overlaps."""
        last: Partition | None = None  # the one that ends last
        for partition in sorted(partitions, key=lambda partition: partition.disk_offset):
            end = partition.disk_offset + partition.length
            if last is not None and partition.disk_offset < last.disk_offset + last.length:
                message = f"partitions {last.number} and {partition.number} overlap"
                self._warn("partitions.overlap", message, partition.disk_offset)
            if last is None or end > last.disk_offset + last.length:
                last = partition

    def _read(self, size: int, offset: int) -> bytes:
        """What lies there; nothing where it cannot be read, so that a backup is looked for."""
        try:
            return self._pread(size, offset)
        except (OSError, CorruptImageError) as error:
            self._warn("partitions.unreadable", f"{size} bytes cannot be read: {error}", offset)
            return b""

    def _warn(self, rule: str, message: str, disk_offset: int, means: str = _MEANS) -> None:
        message = f"{message} (disk offset {disk_offset:#x})"
        self._findings.append(Finding(rule, Severity.WARNING, message, None, "", means))


def _entries(sector: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The four entries of an MBR, or of a logical partition's table."""
    return _MBR_ENTRY.iter_unpack(sector[_MBR_TABLE : _MBR_TABLE + 4 * _MBR_ENTRY.size])
