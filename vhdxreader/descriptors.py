"""The descriptors and data sectors of log entries [2.3.1.2 to 2.3.1.4], many at a time.

A log of 64 MB holds two million descriptors: an object for each would cost a minute. They are taken apart as packed
words; a test ties that to the grammar. In: their bytes. Out: columns of plain integers. Layer 2.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from functools import reduce
from itertools import compress
from operator import add, or_

from . import spec

_LIMIT = 1 << 64
_SHIFT = spec.LOG_SECTOR_SIZE.bit_length() - 1
_WORD = 8
_WORDS = spec.LOG_DESCRIPTOR_SIZE // _WORD
_SECTOR_QUARTERS = spec.LOG_SECTOR_SIZE // 4

# As they come out of a cast to native 4-byte words.
_ZERO = int.from_bytes(spec.ZERO_DESCRIPTOR_SIGNATURE, sys.byteorder)
_DATA = int.from_bytes(spec.DATA_DESCRIPTOR_SIGNATURE, sys.byteorder)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Consecutive descriptors of an entry, a column for each field; offsets and lengths in bytes of the file."""

    raw: memoryview
    signatures: array[int]
    offsets: array[int]
    lengths: array[int]  # 4096 for a data descriptor

    @classmethod
    def unpack(cls, raw: memoryview) -> Descriptors:
        """Take apart whole descriptors. `raw` must stay as it is while the result is in use."""
        signatures = array("I", raw.cast("I")[:: 2 * _WORDS].tobytes())
        lengths = _column(raw, 1)
        if signatures.count(_ZERO) != len(signatures):
            pairs = zip(signatures, lengths, strict=True)
            lengths = array("Q", [n if signature == _ZERO else spec.LOG_SECTOR_SIZE for signature, n in pairs])
        return cls(raw, signatures, _column(raw, 2), lengths)

    def __len__(self) -> int:
        return len(self.signatures)

    @property
    def data_count(self) -> int:
        """How many are data descriptors."""
        return self.signatures.count(_DATA)

    def is_data(self) -> list[bool]:
        """For each whether it is a data descriptor."""
        return [signature == _DATA for signature in self.signatures]

    def edges(self, index: int) -> bytes:
        """LeadingBytes and TrailingBytes of the data descriptor at `index`."""
        at = index * spec.LOG_DESCRIPTOR_SIZE
        return bytes(self.raw[at + 8 : at + 16]) + bytes(self.raw[at + 4 : at + 8])

    def zero_ranges(self) -> tuple[list[int], list[int]]:
        """First sector of each range that a zero descriptor names, and the one behind; empty ranges left out."""
        starts = [offset >> _SHIFT for offset in self.offsets]
        ends = [start + (length >> _SHIFT) for start, length in zip(starts, self.lengths, strict=True)]
        wanted = [s == _ZERO and n > 0 for s, n in zip(self.signatures, self.lengths, strict=True)]
        return list(compress(starts, wanted)), list(compress(ends, wanted))

    def data_sectors(self) -> list[int]:
        """The sector of the file that each data descriptor names."""
        return [offset >> _SHIFT for offset in compress(self.offsets, self.is_data())]

    def reserved_is_zero(self) -> bool:
        """Whether the Reserved fields of all zero descriptors are."""
        reserved = self.raw.cast("I")[1 :: 2 * _WORDS].tolist()
        return not any(compress(reserved, (signature == _ZERO for signature in self.signatures)))

    def problem(self, sequence_number: int) -> str:
        """Why one of them at least makes its entry no entry; empty where none does."""
        if self.data_count + self.signatures.count(_ZERO) != len(self):
            return "a descriptor has neither of the two signatures"
        if self.raw.cast("Q")[3::_WORDS].tobytes() != sequence_number.to_bytes(_WORD, "little") * len(self):
            return "a descriptor has another SequenceNumber"
        if (reduce(or_, self.offsets) | reduce(or_, self.lengths)) % spec.LOG_SECTOR_SIZE:
            return "a descriptor's FileOffset or ZeroLength is no multiple of 4 KB"
        if max(map(add, self.offsets, self.lengths)) >= _LIMIT:
            return "a descriptor's range goes beyond 2^64"
        return ""

    def targets_headers(self) -> bool:
        """Whether one targets something below the region tables."""
        return min(self.offsets) < spec.LOG_TARGETS_START

    def targets(self, start: int, end: int) -> bool:
        """Whether one targets a byte from `start` up to `end`."""
        if min(self.offsets) >= end:
            return False
        pairs = zip(self.offsets, self.lengths, strict=True)
        return any(offset < end and offset + length > start for offset, length in pairs)


def data_sectors_are_good(raw: memoryview, sequence_number: int) -> bool:
    """Whether these sectors are all data sectors with this sequence number, in both of its halves [2.3.1.4]."""
    words = raw.cast("I")
    count = len(raw) // spec.LOG_SECTOR_SIZE
    high = (sequence_number >> 32).to_bytes(4, "little")
    low = (sequence_number & 0xFFFF_FFFF).to_bytes(4, "little")
    return (
        words[::_SECTOR_QUARTERS].tobytes() == spec.DATA_SECTOR_SIGNATURE * count
        and words[1::_SECTOR_QUARTERS].tobytes() == high * count
        and words[_SECTOR_QUARTERS - 1 :: _SECTOR_QUARTERS].tobytes() == low * count
    )


def _column(raw: memoryview, number: int) -> array[int]:
    """The 8-byte field `number` of each descriptor."""
    words = array("Q", raw.cast("Q")[number::_WORDS].tobytes())
    if sys.byteorder == "big":
        words.byteswap()
    return words
