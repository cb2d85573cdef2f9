"""The header of a GPT (UEFI 2.10, 5.3.2), which lies in the disk's second sector and, as a backup, in its last.

In: a sector. Out: what it says, if it is valid.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

_HEADER = struct.Struct("<8s4xII4xQQQQ16sQIII")  # what is needed of it
_SIGNATURE = b"EFI PART"
_MIN_ENTRY_SIZE = 128


class GptHeader(NamedTuple):
    """All places are in sectors; `alternate` is that of the other header, partitions lie in those that are usable."""

    alternate: int
    first_usable: int
    last_usable: int
    guid: UUID
    entries: int
    entry_count: int
    entry_size: int
    entries_checksum: int

    def says_the_same(self, other: GptHeader) -> bool:
        """Whether the other one has the same disk and partitions."""
        return (self.guid, self.entries_checksum) == (other.guid, other.entries_checksum)


def read_gpt_header(sector: bytes, number: int) -> GptHeader | None:
    """The header in sector `number`, if it is valid: signature, checksum and its own place."""
    if not sector.startswith(_SIGNATURE):
        return None
    _, size, checksum, own, *rest = _HEADER.unpack_from(sector)
    alternate, first, last, guid, entries, count, entry_size, entries_checksum = rest
    if not _HEADER.size <= size <= len(sector) or own != number:
        return None
    if crc32(sector[:16] + bytes(4) + sector[20:size]) != checksum:
        return None
    if entry_size < _MIN_ENTRY_SIZE or entry_size & entry_size - 1:
        return None
    return GptHeader(alternate, first, last, UUID(bytes_le=guid), entries, count, entry_size, entries_checksum)
