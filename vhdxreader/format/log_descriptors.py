"""The descriptors and data sectors of log entries [2.3.1.2 to 2.3.1.4], many at a time.

A log of 64 MiB holds two million descriptors: an object for each would cost a minute. They are taken apart as columns
of packed words, and a column is held against a rule as one long integer; a test ties the layout to the grammar.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from itertools import compress

from .. import spec
from ..files.range_union import Keys
from ..files.word_columns import all_at_least, as_doubles, joined, repeated

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
    _offset_column: int  # the same two, joined
    _length_column: int

    @classmethod
    def unpack(cls, raw: memoryview) -> Descriptors:
        """Take apart whole descriptors."""
        kinds = bytes(raw)[::_SIZE]
        lengths = _column(raw, 1)
        if _DATA in kinds:
            pairs = zip(kinds, lengths, strict=True)
            lengths = array("Q", [spec.LOG_SECTOR_SIZE if _IS_DATA[kind] else n for kind, n in pairs])
        offsets = _column(raw, 2)
        return cls(raw, kinds, offsets, lengths, joined(offsets), joined(lengths))

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
        if (self._offset_column | self._length_column) & repeated(spec.LOG_SECTOR_SIZE - 1, len(self)):
            return "a descriptor's FileOffset or ZeroLength is no multiple of 4 KiB"
        if self._end_column() & repeated((1 << 64) - (1 << (64 - _SHIFT)), len(self)):
            return "a descriptor's range goes beyond 2^64"
        return ""

    def ranges(self) -> Keys:
        """The sectors of the file that each targets; none may have a problem."""
        count = len(self)
        return Keys(as_doubles(self._offset_column >> _SHIFT, count), as_doubles(self._end_column(), count))

    def zero_ranges(self) -> Keys:
        """`ranges` of the zero descriptors, without empty ones."""
        keys = self.ranges()
        if _DATA not in self.kinds and all_at_least(self._length_column >> _SHIFT, 1, len(self)):
            return keys
        wanted = [n > 0 and not _IS_DATA[kind] for kind, n in zip(self.kinds, self.lengths, strict=True)]
        return Keys(array("d", compress(keys.starts, wanted)), array("d", compress(keys.ends, wanted)))

    def data_sectors(self) -> list[int]:
        """The sector of the file that each data descriptor targets."""
        return [self.offsets[i] >> _SHIFT for i in self.data_indexes()]

    def reserved_is_zero(self) -> bool:
        """Whether the Reserved fields of all zero descriptors are."""
        reserved = self.raw.cast("I")[1 :: _SIZE // 4]
        if _DATA not in self.kinds:
            return reserved.tobytes() == bytes(4 * len(self))
        return not any(compress(reserved.tolist(), self.kinds.translate(_IS_ZERO)))

    def all_begin_behind(self, offset: int) -> bool:
        """Whether none targets anything below `offset`, a multiple of 4 KiB up to 2^63; none may have a problem."""
        return all_at_least(self._offset_column >> _SHIFT, offset >> _SHIFT, len(self))

    def targets(self, start: int, end: int) -> bool:
        """Whether one targets a byte from `start` up to `end`."""
        pairs = zip(self.offsets, self.lengths, strict=True)
        return any(offset < end and offset + length > start for offset, length in pairs)

    def _end_column(self) -> int:
        """In sectors. Of aligned words nothing is shifted into the neighbour, and of such small ones no sum reaches
        into it; if none has a problem, they have 52 bits."""
        return (self._offset_column >> _SHIFT) + (self._length_column >> _SHIFT)


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
