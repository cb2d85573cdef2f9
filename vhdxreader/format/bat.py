"""The block allocation table [2.5]: its entries, paged in on demand.

Entries are plain 64-bit words, since an object for each of the 67 million of a 64 TiB disk would cost gigabytes; `spec`
has their bit layout.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Iterator
from copy import copy

from .. import spec
from ..errors import TruncatedImageError, VhdxError
from ..files.partial_reads import Gap, read_around
from ..files.source import Source
from .block_geometry import Geometry
from .checksum import extended
from .rules import breach

_PAGE_SHIFT = 12  # entries in a page: 4096, of 8 bytes
_PAGE_ENTRIES = 1 << _PAGE_SHIFT
_PAGE_MASK = _PAGE_ENTRIES - 1
_MAX_PAGES = 128  # 4 MiB
_UNKNOWN = 0xFFFF_FFFF_FFFF_FFFC  # stands for an entry that cannot be read; one that is so has a reserved state


class Bat:
    """Entries of the BAT as 64-bit words; those of payload blocks in pages that are read when first asked for, of which
    at most 4 MiB are kept.

    The region has `length` bytes, all that are needed if None. An entry raises if it is not there, or cannot be read:
    `CorruptImageError` behind the region's end, `TruncatedImageError` where the file ends before it, `OSError` where
    the medium fails. Safe for threads.
    """

    def __init__(self, source: Source, offset: int, geometry: Geometry, length: int | None = None) -> None:
        self.geometry = geometry
        self.offset = offset
        self._source = source
        self._end = offset + geometry.entries * spec.BAT_ENTRY_SIZE
        if length is not None:
            self._end = min(self._end, offset + length)
        self._ratio = geometry.chunk_ratio
        self._blocks = geometry.payload_blocks
        self._pages: dict[int, array[int]] = {}
        self._gaps: dict[int, list[Gap]] = {}  # of those pages that have some
        self._sums: dict[int, int] = {}  # of every page that was ever read
        self._lock = threading.RLock()  # a signal handler may read, too

    def word(self, index: int) -> int:
        """The entry at `index`."""
        is_bitmap, number = self.geometry.block_at(index)
        if not is_bitmap and number < self._blocks:
            return self.payload(number)
        words, gaps = self.read(index, 1)
        if gaps:
            raise self._error(index, gaps[0])
        return words[0]

    def payload(self, block: int) -> int:
        """The entry of payload block `block`."""
        page = self._pages.get(block >> _PAGE_SHIFT)
        if page is None:
            page = self._load(block >> _PAGE_SHIFT)
        word = page[block & _PAGE_MASK]
        if word == _UNKNOWN:
            self._raise_problem(block)
        return word

    def known_payload(self, block: int) -> int:
        """The entry of payload block `block`; 0 where it is not there or cannot be read."""
        try:
            return self.payload(block)
        except VhdxError:
            return 0

    def alike(self, block: int, count: int, step: int) -> int:
        """How many blocks behind `block`, at most `count`, have entries of which each is the one before plus `step`.

        There may be still more: it does not look further than to the end of the page.
        """
        page = self._pages.get(block >> _PAGE_SHIFT)
        if page is None:
            page = self._load(block >> _PAGE_SHIFT)
        place = block & _PAGE_MASK
        behind = memoryview(page)[place + 1 : place + 1 + count]
        if step == 0:
            return _equal(behind, page[place])
        wanted = range(page[place] + step, page[place] + step * (len(behind) + 1), step)
        return next(
            (i for i, (word, other) in enumerate(zip(behind, wanted, strict=True)) if word != other), len(behind)
        )

    def read(self, first: int, count: int) -> tuple[array[int], list[Gap]]:
        """Entries `first` to `first + count`, not kept, and the gaps between those that are there and can be read. In a
        gap they are 0."""
        start, end = self.entry_offset(first), self.entry_offset(first + count)
        inside = max(min(end, self._end) - start, 0)
        data, gaps = read_around(self._source, start, inside)
        if start + inside < end:
            message = f"the BAT region ends at {self._end:#x}, before an entry that is needed"
            gaps.append(Gap(start + inside, end, breach("bat.too_small", message, start + inside)))
        words = array("Q", data.ljust(end - start, b"\0"))
        if sys.byteorder == "big":
            words.byteswap()
        return words, gaps

    def words(self, first: int, count: int) -> array[int]:
        """Entries `first` to `first + count`, not kept."""
        words, gaps = self.read(first, count)
        if gaps:
            raise self._error(first, gaps[0])
        return words

    def pages(self, count: int, *, holes: bool = True) -> Iterator[tuple[int, array[int], list[Gap]]]:
        """The first `count` entries in pages that are not kept: the index of the first, entries, gaps as `read` has
        them; fewer where the region or the file ends before. Without `holes`, no page that the file system knows as
        one, and whose entries are 0."""
        count = min(count, max(min(self._end, self._source.size) - self.offset, 0) // spec.BAT_ENTRY_SIZE)
        for first in range(0, count, _PAGE_ENTRIES):
            behind = min(first + _PAGE_ENTRIES, count)
            if holes or self._holds_data(self.entry_offset(first), self.entry_offset(behind)):
                yield first, *self.read(first, behind - first)

    def count_present(self) -> int:
        """How many payload blocks have space in the file; reads the whole table, a page at a time."""
        return sum(
            word & spec.STATE_MASK >= spec.PayloadState.FULLY_PRESENT
            for number in range(-(-self._blocks // _PAGE_ENTRIES))
            for word in filter(None, self._payload_words(number))
        )

    def present(self, limit: int) -> Iterator[tuple[int, int]]:
        """Number and entry of each payload block that has space in the file, of the first `limit` blocks, a page at a
        time. Entries that cannot be read are left out."""
        for number in range(-(-min(self._blocks, limit) // _PAGE_ENTRIES)):
            first, count = self._page_range(number)
            words, _ = self.read(first, count)
            for block, word in enumerate(self._without_bitmaps(words, first), number << _PAGE_SHIFT):
                if word & spec.STATE_MASK >= spec.PayloadState.FULLY_PRESENT:
                    yield block, word

    def forget(self, block: int) -> None:
        """Read the entry of payload block `block` anew when it is asked for next."""
        with self._lock:
            self._drop(block >> _PAGE_SHIFT)

    def entry_offset(self, index: int) -> int:
        """File offset of the entry at `index`."""
        return self.offset + index * spec.BAT_ENTRY_SIZE

    def _holds_data(self, start: int, end: int) -> bool:
        return next(self._source.data_ranges(start, end), None) is not None

    def _load(self, number: int) -> array[int]:
        """Page `number`, kept."""
        page, gaps = self._read_page(number)
        with self._lock:
            while len(self._pages) >= _MAX_PAGES:
                self._drop(next(iter(self._pages)))
            if gaps:
                self._gaps[number] = gaps
            self._pages[number] = page
            self._sums.setdefault(number, extended(0, memoryview(page)))
        return page

    def has_changed(self) -> bool:
        """Whether a page that was read is another one by now. Reads all those pages."""
        with self._lock:
            sums = dict(self._sums)
        return any(extended(0, memoryview(self._read_page(number)[0])) != known for number, known in sums.items())

    def _read_page(self, number: int) -> tuple[array[int], list[Gap]]:
        """Page `number`, with `_UNKNOWN` for what is in a gap, and its gaps."""
        first, count = self._page_range(number)
        words, gaps = self.read(first, count)
        for gap in gaps:
            start, end = self._indexes(gap)
            start, end = max(start - first, 0), min(end - first, count)
            words[start:end] = array("Q", [_UNKNOWN]) * (end - start)
        return self._without_bitmaps(words, first), gaps

    def _drop(self, number: int) -> None:
        self._pages.pop(number, None)
        self._gaps.pop(number, None)

    def _indexes(self, gap: Gap) -> tuple[int, int]:
        """The entries of which a gap has a byte: the first, and the one behind the last."""
        size = spec.BAT_ENTRY_SIZE
        return (gap.start - self.offset) // size, -((self.offset - gap.end) // size)

    def _page_range(self, number: int) -> tuple[int, int]:
        """The first entry of page `number`, and how many its payload blocks stretch over."""
        block = number << _PAGE_SHIFT
        first = self.geometry.payload_index(block)
        return first, self.geometry.payload_index(min(block + _PAGE_ENTRIES, self._blocks) - 1) + 1 - first

    def _payload_words(self, number: int) -> array[int]:
        """The entries of page `number`, not kept."""
        first, count = self._page_range(number)
        return self._without_bitmaps(self.words(first, count), first)

    def _without_bitmaps(self, words: array[int], first: int) -> array[int]:
        """Entries from `first` on without those of sector bitmap blocks."""
        del words[self._ratio - first % (self._ratio + 1) :: self._ratio + 1]
        return words

    def _raise_problem(self, block: int) -> None:
        """Say why an entry is not known; nothing where it only looks so."""
        number, index = block >> _PAGE_SHIFT, self.geometry.payload_index(block)
        for gap in self._gaps.get(number, ()):
            start, end = self._indexes(gap)
            if start <= index < end:
                raise self._error(index, gap)

    def _error(self, index: int, gap: Gap) -> VhdxError:
        if not isinstance(gap.error, TruncatedImageError):
            return copy(gap.error)
        return breach("region.past_end", f"the file ends before BAT entry {index}", self.entry_offset(index))


def _equal(words: memoryview, word: int) -> int:
    """How many of the first words are `word`."""
    data = words.tobytes()
    pattern = word.to_bytes(8, sys.byteorder)
    first, last = 0, len(data) // 8
    if data == pattern * last:  # as a rule, and then nothing more is to be looked for
        return last
    while last - first > 1:
        middle = (first + last) // 2
        if data[8 * first : 8 * middle] == pattern * (middle - first):
            first = middle
        else:
            last = middle
    return first
