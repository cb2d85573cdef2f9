"""Sector bitmap blocks [2.4.2]: which sectors of a partially present block are in the file.

In: a source and the BAT. Out: stretches of sectors alike, found by words and bytes.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence

from .. import spec
from ..files.source import Source
from .bat import Bat
from .overlaps import Span, collision
from .rules import breach

_PAGE_SIZE = 4 * spec.KB  # bytes of bitmap: 16 MB of a disk with 512-byte sectors
_PAGE_BITS = 8 * _PAGE_SIZE
_MAX_PAGES = 1024  # 4 MB


class SectorBitmaps:
    """The bits of all sector bitmap blocks, in pages that are read when first asked for; at most 4 MB are kept.

    `occupied` are the structures that no block may overlap. Safe for threads.
    """

    def __init__(self, source: Source, bat: Bat, occupied: Sequence[Span]) -> None:
        self._source = source
        self._bat = bat
        self._occupied = occupied
        self._sector_size = bat.geometry.sector_size
        self.page_span = _PAGE_BITS * self._sector_size  # bytes of the virtual disk
        self._pages: dict[int, bytes] = {}
        self._lock = threading.Lock()

    def run_at(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether the sector at `offset` of the virtual disk is in the file, and for how many bytes, at most `length`,
        that holds; it ends early at multiples of `page_span`.

        `CorruptImageError` where the sector bitmap block cannot serve, `TruncatedImageError` where the file ends
        before the sector's bit.
        """
        sector, within = divmod(offset, self._sector_size)
        number, bit = divmod(sector, _PAGE_BITS)
        page = self._pages.get(number)
        if page is None:
            page = self._load(number)
        if bit >= 8 * len(page):
            raise self._past_end(offset)
        present, count = _alike(page, bit, -(-(within + length) // self._sector_size))
        return present, min(length, count * self._sector_size - within)

    def absent(self, offset: int, length: int) -> list[tuple[int, int]] | None:
        """Start and end, from `offset` on, of each stretch of `length` bytes not in the file; None where one page
        does not tell. Raises as `run_at`."""
        sector, within = divmod(offset, self._sector_size)
        number, first = divmod(sector, _PAGE_BITS)
        count = -(-(within + length) // self._sector_size)
        page = self._pages.get(number) or self._load(number)
        if first + count > 8 * len(page):
            return None
        bits = int.from_bytes(page[first // 8 : (first + count + 7) // 8], "little") >> first % 8
        text = f"{bits & (1 << count) - 1:0{count}b}"[::-1]
        size = self._sector_size
        return [
            (max(zeros.start() * size - within, 0), min(zeros.end() * size - within, length))
            for zeros in re.finditer("0+", text)
        ]

    def _load(self, number: int) -> bytes:
        """Page `number` of all bitmaps, counted from the virtual disk's first sector; short if the file ends in it."""
        block = self._locate(number * self.page_span)
        start = min(block + number * _PAGE_SIZE % spec.SECTOR_BITMAP_SIZE, self._source.size)
        page = self._source.read_at(start, min(_PAGE_SIZE, self._source.size - start))
        with self._lock:
            while len(self._pages) >= _MAX_PAGES:
                del self._pages[next(iter(self._pages))]
            self._pages[number] = page
        return page

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

    def _past_end(self, offset: int) -> Exception:
        block, end = self._locate(offset), self._source.size
        message = f"a sector bitmap block lies at {block:#x}, but the file ends at {end:#x}"
        return breach("bitmap.past_end", message, max(block, end))


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
