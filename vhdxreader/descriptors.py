"""The descriptors and data sectors of log entries [2.3.1.2 to 2.3.1.4], many at a time.

A log of 64 MB holds two million descriptors: an object for each would cost a minute. They are taken apart as columns of
packed words, and a column is held against a rule as one long integer; a test ties the layout to the grammar. Layer 2.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from functools import lru_cache
from itertools import compress

from . import spec

_SHIFT = spec.LOG_SECTOR_SIZE.bit_length() - 1
_SIZE = spec.LOG_DESCRIPTOR_SIZE
_SECTOR_QUARTERS = spec.LOG_SECTOR_SIZE // 4

# The first letters of the signatures stand for them, once `problem` has seen the rest.
_ZERO, _DATA = spec.ZERO_DESCRIPTOR_SIGNATURE[:1], spec.DATA_DESCRIPTOR_SIGNATURE[:1]
_IS_ZERO, _IS_DATA = (bytes(letter == ord(kind) for letter in range(256)) for kind in (_ZERO, _DATA))


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Consecutive descriptors of an entry. `kinds` has the first letter of each signature; `offsets` and `lengths` are
    bytes of the file, a data descriptor's length being 4096."""

    raw: memoryview
    kinds: bytes
    offsets: array[int]
    lengths: array[int]

    @classmethod
    def unpack(cls, raw: memoryview) -> Descriptors:
        """Take apart whole descriptors."""
        kinds = raw[::_SIZE].tobytes()
        lengths = _column(raw, 1)
        if _DATA in kinds:
            pairs = zip(kinds, lengths, strict=True)
            lengths = array("Q", [spec.LOG_SECTOR_SIZE if _IS_DATA[kind] else n for kind, n in pairs])
        return cls(raw, kinds, _column(raw, 2), lengths)

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def data_count(self) -> int:
        """How many are data descriptors."""
        return self.kinds.count(_DATA)

    def data_indexes(self) -> list[int]:
        """Which are data descriptors."""
        return [i for i, kind in enumerate(self.kinds) if _IS_DATA[kind]] if _DATA in self.kinds else []

    def edges(self, index: int) -> bytes:
        """LeadingBytes and TrailingBytes of the data descriptor at `index`."""
        at = index * _SIZE
        return bytes(self.raw[at + 8 : at + 16]) + bytes(self.raw[at + 4 : at + 8])

    def problem(self, sequence_number: int) -> str:
        """Why one of them at least makes its entry no entry; empty where none does."""
        signatures = self.raw.cast("I")[:: _SIZE // 4].tobytes()
        wanted = self.kinds.replace(_ZERO, spec.ZERO_DESCRIPTOR_SIGNATURE)
        if wanted.replace(_DATA, spec.DATA_DESCRIPTOR_SIGNATURE) != signatures:
            return "a descriptor has neither of the two signatures"
        if self.raw.cast("Q")[3 :: _SIZE // 8].tobytes() != sequence_number.to_bytes(8, "little") * len(self):
            return "a descriptor has another SequenceNumber"
        offsets, lengths = _joined(self.offsets), _joined(self.lengths)
        if (offsets | lengths) & _repeated(spec.LOG_SECTOR_SIZE - 1, len(self)):
            return "a descriptor's FileOffset or ZeroLength is no multiple of 4 KB"
        if _sector_sums(offsets, lengths) & _repeated(-1 << (64 - _SHIFT), len(self)):
            return "a descriptor's range goes beyond 2^64"
        return ""

    def sectors(self) -> tuple[array[int], array[int]]:
        """The first sector of the file that each targets, and the one behind the last; none may have a problem."""
        offsets, lengths = _joined(self.offsets), _joined(self.lengths)
        return _split(offsets >> _SHIFT, len(self)), _split(_sector_sums(offsets, lengths), len(self))

    def zero_ranges(self) -> tuple[array[int], array[int]]:
        """`sectors` of the zero descriptors whose range is not empty."""
        starts, ends = self.sectors()
        if _DATA not in self.kinds and min(self.lengths):
            return starts, ends
        wanted = [n > 0 and not _IS_DATA[kind] for kind, n in zip(self.kinds, self.lengths, strict=True)]
        return array("Q", compress(starts, wanted)), array("Q", compress(ends, wanted))

    def data_sectors(self) -> list[int]:
        """The sector of the file that each data descriptor targets."""
        return [offset >> _SHIFT for offset in compress(self.offsets, self.kinds.translate(_IS_DATA))]

    def reserved_is_zero(self) -> bool:
        """Whether the Reserved fields of all zero descriptors are."""
        reserved = self.raw.cast("I")[1 :: _SIZE // 4]
        if _DATA not in self.kinds:
            return reserved.tobytes() == bytes(4 * len(self))
        return not any(compress(reserved.tolist(), self.kinds.translate(_IS_ZERO)))

    def targets(self, start: int, end: int) -> bool:
        """Whether one targets a byte from `start` up to `end`."""
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
    words = array("Q", raw.cast("Q")[number :: _SIZE // 8].tobytes())
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _joined(words: array[int]) -> int:
    """All words as one integer, each in 64 bits of it."""
    return int.from_bytes(words.tobytes(), sys.byteorder)


def _split(joined: int, count: int) -> array[int]:
    return array("Q", joined.to_bytes(8 * count, sys.byteorder))


def _sector_sums(offsets: int, lengths: int) -> int:
    """Their sums, all joined, in sectors: 53 bits each, so that none reaches into its neighbour. Of aligned words
    nothing is shifted into the neighbour either."""
    return (offsets >> _SHIFT) + (lengths >> _SHIFT)


@lru_cache(maxsize=16)
def _repeated(word: int, count: int) -> int:
    """`joined` of `count` equal words."""
    return _joined(array("Q", [word & 0xFFFF_FFFF_FFFF_FFFF]) * count)
