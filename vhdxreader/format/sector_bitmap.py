"""Sector bitmap blocks [2.4.2]: which sectors of a partially present block are in the file.

In: a source and the BAT. Out: stretches of sectors alike, found by words and bytes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from copy import copy

from .. import spec
from ..errors import TruncatedImageError, VhdxError
from ..files.partial_reads import Gap, read_around
from ..files.source import Source
from .bat import Bat
from .overlaps import Span, collision
from .rules import breach

_PAGE_SIZE = 4 * spec.KB  # bytes of bitmap: 16 MiB of a disk with 512-byte sectors
_PAGE_BITS = 8 * _PAGE_SIZE
_MAX_PAGES = 1024  # 4 MiB


class SectorBitmaps:
    """The bits of all sector bitmap blocks, in pages that are read when first asked for; at most 4 MiB are kept.

    `occupied` are the structures that no block may overlap. Safe for threads.
    """

    def __init__(self, source: Source, bat: Bat, occupied: Sequence[Span]) -> None:
        self._source = source
        self._bat = bat
        self._occupied = occupied
        self._sector_size = bat.geometry.sector_size
        self.page_span = _PAGE_BITS * self._sector_size  # bytes of the virtual disk
        self._pages: dict[int, bytes] = {}
        self._gaps: dict[int, list[Gap]] = {}  # of those pages that have some, in bits
        self._lock = threading.RLock()

    def run_at(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether the sector at `offset` of the virtual disk is in the file, and for how many bytes, at most `length`,
        that holds; it ends early at multiples of `page_span`.

        `CorruptImageError` where the sector bitmap block cannot serve, `TruncatedImageError` where the file ends
        before the sector's bit, `OSError` where the medium does not give it.
        """
        sector, within = divmod(offset, self._sector_size)
        number, bit = divmod(sector, _PAGE_BITS)
        page = self._pages.get(number)
        if page is None:
            page = self._load(number)
        limit = -(-(within + length) // self._sector_size)
        if number in self._gaps:
            limit = self._before_gap(number, bit, limit)
        present, count = _alike(page, bit, limit)
        count = min(count, limit)
        return present, min(length, count * self._sector_size - within)

    def absent(self, offset: int, length: int) -> list[tuple[int, int]] | None:
        """Start and end, from `offset` on, of each stretch of `length` bytes not in the file; None where one page
        does not tell. Raises as `run_at`."""
        sector, within = divmod(offset, self._sector_size)
        number, first = divmod(sector, _PAGE_BITS)
        count = -(-(within + length) // self._sector_size)
        page = self._pages.get(number) or self._load(number)
        if first + count > 8 * len(page) or number in self._gaps:
            return None
        bits = int.from_bytes(page[first // 8 : (first + count + 7) // 8], "little") >> first % 8
        text = f"{bits & (1 << count) - 1:0{count}b}"[::-1]
        size = self._sector_size
        return [
            (max(zeros.start() * size - within, 0), min(zeros.end() * size - within, length))
            for zeros in re.finditer("0+", text)
        ]

    def unreadable_run(self, offset: int, length: int) -> int:
        """For how many bytes from `offset` on, at most `length`, the reason holds for which `run_at` raised there."""
        sector, within = divmod(offset, self._sector_size)
        number, bit = divmod(sector, _PAGE_BITS)
        gap = next((gap for gap in self._gaps.get(number, ()) if gap.start <= bit < gap.end), None)
        return length if gap is None else min(length, (gap.end - bit) * self._sector_size - within)

    def forget(self, offset: int) -> None:
        """Read the bit of the sector at `offset` of the virtual disk anew when it is asked for next."""
        with self._lock:
            self._drop(offset // self.page_span)

    def _load(self, number: int) -> bytes:
        """Page `number` of all bitmaps, counted from the virtual disk's first sector."""
        start = self._locate(number * self.page_span) + number * _PAGE_SIZE % spec.SECTOR_BITMAP_SIZE
        page, gaps = read_around(self._source, start, _PAGE_SIZE)
        with self._lock:
            while len(self._pages) >= _MAX_PAGES:
                self._drop(next(iter(self._pages)))
            if gaps:
                self._gaps[number] = [
                    Gap(8 * (gap.start - start), 8 * (gap.end - start), self._error(number, gap)) for gap in gaps
                ]
            self._pages[number] = page
        return page

    def _drop(self, number: int) -> None:
        self._pages.pop(number, None)
        self._gaps.pop(number, None)

    def _before_gap(self, number: int, bit: int, limit: int) -> int:
        """How many bits from `bit` on, at most `limit`, can be read; raises where the first cannot."""
        for gap in self._gaps.get(number, ()):
            if gap.start <= bit < gap.end:
                raise copy(gap.error)
            if bit < gap.start:
                return min(limit, gap.start - bit)
        return limit

    def _locate(self, offset: int) -> int:
        """File offset of the sector bitmap block for the virtual disk's byte at `offset`."""
        chunk = offset // self._bat.geometry.chunk_size
        index = self._bat.geometry.bitmap_index(chunk)
        word, entry_offset = self._bat.word(index), self._bat.entry_offset(index)
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        if state != spec.BitmapState.PRESENT:
            message = f"sector bitmap block {chunk} is needed, but its state is {state}, expected 6"
            raise breach("bitmap.not_present", message, entry_offset)
        span = collision(self._occupied, start, start + spec.SECTOR_BITMAP_SIZE)
        if span is not None:
            message = f"sector bitmap block {chunk} lies at {start:#x}, on the {span.name}"
            raise breach("bitmap.overlap", message, entry_offset)
        return start

    def _error(self, number: int, gap: Gap) -> VhdxError:
        if not isinstance(gap.error, TruncatedImageError):
            return gap.error
        block = self._locate(number * self.page_span)
        message = f"a sector bitmap block lies at {block:#x}, but the file ends at {self._source.whole_end:#x}"
        return breach("bitmap.past_end", message, gap.start)


def _alike(bits: bytes, first: int, limit: int) -> tuple[bool, int]:
    """The value of bit `first` (bit 0 of byte 0 comes first), and how many bits from it on have it.

    Looks no further than a few bytes behind `limit` bits.
    """
    index, shift = divmod(first, 8)
    word = int.from_bytes(bits[index : index + 8], "little") >> shift
    present = bool(word & 1)
    count = min(64, 8 * (len(bits) - index)) - shift
    other = (~word if present else word) & ((1 << count) - 1)
    if other:
        return present, (other & -other).bit_length() - 1
    rest = bits[index + 8 : index + 8 + max(limit - count + 7, 0) // 8]
    tail = rest.lstrip(b"\xff" if present else b"\0")
    count += 8 * (len(rest) - len(tail))
    if tail:
        other = tail[0] ^ 0xFF if present else tail[0]
        count += (other & -other).bit_length() - 1
    return present, count
