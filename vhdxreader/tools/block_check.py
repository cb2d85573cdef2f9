"""Every block of an image, held against the rules for BAT entries and against all other blocks [2.4, 2.5].

In: what was found of an image. Out: findings and totals. Memory is bounded: the BAT comes in pages, and the space that
is taken is one bit for each megabyte of the file.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from .. import spec
from ..disk.address_map import AddressMap
from ..disk.image import VhdxImage
from ..disk.space_map import MAX_TRACKED, SpaceMap
from ..errors import TruncatedImageError
from ..files.partial_reads import Gap, fill_around
from ..files.source import Source
from ..files.word_columns import joined, repeated
from ..format.bat import Bat
from ..format.overlaps import collision
from ..format.region_table import Region
from ..format.rules import Findings

Progress = Callable[[int, int], object]

_PAGE_ENTRIES = 4096
_ENTRIES_IN_4_KB = 4 * spec.KB // spec.BAT_ENTRY_SIZE
_FULLY_PRESENT = int(spec.PayloadState.FULLY_PRESENT)
_PARTIALLY_PRESENT = int(spec.PayloadState.PARTIALLY_PRESENT)
_TO_LOOK_AT = spec.RESERVED_MASK | 0b101  # bits that payload entries in the states 0 and 2 do not have
_WORTH_A_RUN = 4  # blocks
_FIRST_WITH_SPACE = 4  # of the payload states; two of those are reserved


@dataclass(slots=True)
class Totals:
    """What a walk counted, in whole megabytes of the file: `unused_bytes` belong to nothing, `trimmed_bytes` to blocks
    that were trimmed and keep their place. `zero_pages` of the BAT, of 4 KiB, have no entry but zeros."""

    allocated_blocks: int = 0
    bitmap_blocks: int = 0
    unused_bytes: int = 0
    trimmed_bytes: int = 0
    zero_pages: int = 0
    first_zero_page: int | None = None
    bytes_read: int = 0


class BlockWalk:
    """One walk over the BAT in `region`; `others` are unknown regions, which blocks should not lie on either.

    After it, `used` is the space of the file that belongs to something, and `trimmed` the part of that which is only
    kept for blocks that were trimmed.
    """

    used: SpaceMap
    trimmed: SpaceMap

    def __init__(
        self, source: Source, address_map: AddressMap, region: Region, others: list[Region], findings: Findings
    ) -> None:
        self.totals = Totals()
        self._source = source
        self._map = address_map
        self._bat: Bat = address_map.bat
        self._findings = findings
        self._space = SpaceMap(source.size)
        self._trimmed = SpaceMap(source.size)
        self._occupied_end = max(span.end for span in address_map.occupied)
        self._awaited = -1  # index of the sector bitmap entry that the last partially present block needs
        geometry = self._bat.geometry
        self._block_size = geometry.block_size
        self._payload_blocks = geometry.payload_blocks
        self._chunk_ratio = geometry.chunk_ratio
        self._has_parent = geometry.has_parent
        readable = (min(region.end, source.size) - region.file_offset) // spec.BAT_ENTRY_SIZE
        self.entries = max(min(geometry.entries, readable), 0)
        self.is_whole = self.entries == geometry.entries  # whether the totals are of all blocks
        for start, end in [
            *((s.start, s.end) for s in address_map.occupied),
            *((r.file_offset, r.end) for r in others),
        ]:
            self._space.take(start, end)

    def run(self, *, deep: bool, progress: Progress | None) -> None:
        """Look at every entry; with `deep` also read every byte that a block has in the file."""
        if self._source.size > MAX_TRACKED:
            message = f"the file has {self._source.size:#x} bytes; overlaps are looked for in the first 128 TiB"
            self._findings.add("file.untracked", message, MAX_TRACKED)
        buffer = memoryview(bytearray(spec.MB)) if deep else None
        for first in range(0, self.entries, _PAGE_ENTRIES):
            words, gaps = self._bat.read(first, min(_PAGE_ENTRIES, self.entries - first))
            self._add_unreadable(gaps)
            self.is_whole = self.is_whole and not gaps
            for at in range(0, len(words), _ENTRIES_IN_4_KB):
                self._piece(first + at, words[at : at + _ENTRIES_IN_4_KB], buffer)
            if progress is not None:
                progress(first + len(words), self.entries)
        self._look_at_space()

    def _piece(self, first: int, words: array[int], buffer: memoryview | None) -> None:
        """Look at 4 KiB of entries. All of them at once, where there is nothing to see: a table can have 67 million."""
        column, count = joined(words), len(words)
        if not column:  # what a lost page reads as
            self.totals.zero_pages += 1
            if self.totals.first_zero_page is None:
                self.totals.first_zero_page = self._bat.entry_offset(first)
        is_awaited = first <= self._awaited < first + count
        if is_awaited or column & repeated(_TO_LOOK_AT, count) or (column and self._has_bitmap_state(first, words)):
            self._page(first, words, buffer)

    def _has_bitmap_state(self, first: int, words: array[int]) -> bool:
        """Whether a sector bitmap entry among them is not zero."""
        step = self._chunk_ratio + 1
        return any(words[-(first + 1) % step :: step])

    def _look_at_space(self) -> None:
        """What belongs to nothing, and what is kept for trimmed blocks only."""
        if not self._trimmed.taken():  # as a rule; the maps of the largest file have 16 MiB each
            self.used, self.trimmed = self._space, self._trimmed
        else:
            self._tell_trimmed_apart()
        self.totals.trimmed_bytes = self.trimmed.taken()
        self.totals.unused_bytes = max(-(-self._source.size // spec.MB) * spec.MB - self.used.taken(), 0)

    def _tell_trimmed_apart(self) -> None:
        shared = self._trimmed.both(self._space).taken()
        if shared:
            message = f"{shared:#x} bytes of places that trimmed blocks keep belong to something else, too"
            self._findings.add("block.trimmed_shared", message, self._bat.offset)
        self.trimmed = self._trimmed.without(self._space)
        self.used = self._space.either(self._trimmed)

    def _page(self, first: int, words: array[int], buffer: memoryview | None) -> None:
        done = 0
        for i, word in enumerate(words):
            if i < done or not (word or first + i == self._awaited):
                continue
            run = self._sound_run(first + i, words, i) if buffer is None else 0
            if not run:
                self._entry(first + i, word, buffer)
            done = i + run

    def _sound_run(self, index: int, words: array[int], i: int) -> int:
        """How many fully present blocks follow each other from here on in the file, too, with nothing to be said of any
        of them; they are counted. None where that takes a closer look, or is not worth it."""
        count = 1
        while i + count < len(words) and words[i + count] - words[i + count - 1] == self._block_size:
            count += 1
        start, length = words[i] & spec.FILE_OFFSET_MASK, count * self._block_size
        chunk, place = divmod(index, self._chunk_ratio + 1)
        is_inside = place + count <= self._chunk_ratio  # no sector bitmap entry among them, nor the disk's last block
        if count < _WORTH_A_RUN or words[i] & ~spec.FILE_OFFSET_MASK != _FULLY_PRESENT or not is_inside:
            return 0
        if chunk * self._chunk_ratio + place + count >= self._payload_blocks or start < self._occupied_end:
            return 0
        if not self._source.holds_all(start, length) or not self._space.is_free(start, start + length):
            return 0
        self._space.take(start, start + length)
        self.totals.allocated_blocks += count
        return count

    def _entry(self, index: int, word: int, buffer: memoryview | None) -> None:
        chunk, place = divmod(index, self._chunk_ratio + 1)
        block = chunk * self._chunk_ratio + place
        if place == self._chunk_ratio:
            self._bitmap(chunk, index, word, buffer)
        elif block >= self._payload_blocks:
            return
        elif word & spec.STATE_MASK >= _FIRST_WITH_SPACE:
            self._payload(block, index, word, buffer)
        elif word & spec.STATE_MASK in spec.TRIMMED_STATES and (place_kept := word & spec.FILE_OFFSET_MASK):
            self._trimmed.take(place_kept, min(place_kept + self._block_size, self._source.size))
        if word & spec.RESERVED_MASK:
            self._add("bat.reserved", f"BAT entry {index} is {word:#x}: reserved bits are not zero", index)

    def _payload(self, block: int, index: int, word: int, buffer: memoryview | None) -> None:
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        base, size = block * self._block_size, self._block_size
        end = start + min(size, self._map.size - base)
        rule = self._broken_rule(state, start, end)
        if rule and not self._findings.has_enough(rule):
            error = self._map.error_at(base)
            self._findings.add(error.rule or rule, error.message, error.file_offset)
        if state < _FULLY_PRESENT:
            return
        if not rule and not self._source.holds_all(start, size):
            message = f"payload block {block}, the last, ends with the virtual disk"
            self._add("payload.short_last", message, index)
        if state == _PARTIALLY_PRESENT and self._has_parent:
            self._awaited = self._bat.geometry.bitmap_index(block // self._chunk_ratio)
        self.totals.allocated_blocks += 1
        if buffer is not None:
            self._read(start, end, buffer)
        if not self._space.take(start, start + size) and rule != "payload.overlap":
            self._add_shared(f"payload block {block}", start, index)

    def _broken_rule(self, state: int, start: int, end: int) -> str:
        """The rule for which a read of the payload block fails, but for its sector bitmap; empty if none."""
        if state < _FULLY_PRESENT:
            return "payload.state"
        if state == _PARTIALLY_PRESENT and not self._has_parent:
            return "payload.partially_present"
        if start < self._occupied_end and collision(self._map.occupied, start, end):
            return "payload.overlap"
        return "" if self._source.holds_all(start, end - start) else "payload.past_end"

    def _bitmap(self, chunk: int, index: int, word: int, buffer: memoryview | None) -> None:
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        end, needed, name = start + spec.SECTOR_BITMAP_SIZE, index == self._awaited, f"sector bitmap block {chunk}"
        if not self._has_parent:
            if state:
                self._add("bitmap.unexpected", f"{name} has state {state}, but the disk has no parent", index)
        elif state != spec.BitmapState.PRESENT:
            if needed or state:
                rule = "bitmap.not_present" if needed else "bitmap.unneeded"
                self._add(rule, f"{name} has state {state}, expected {6 if needed else '0 or 6'}", index)
        else:
            if (span := collision(self._map.occupied, start, end)) is not None:
                rule = "bitmap.overlap" if needed else "bitmap.unneeded"
                self._add(rule, f"{name} lies at {start:#x}, on the {span.name}", index)
            elif not self._source.holds_all(start, end - start):
                rule = "bitmap.past_end" if needed else "bitmap.unneeded"
                self._add(rule, f"{name} lies at {start:#x}, but the file ends at {self._source.whole_end:#x}", index)
            self.totals.bitmap_blocks += 1
            if buffer is not None:
                self._read(start, end, buffer)
            if not self._space.take(start, end) and span is None:
                self._add_shared(name, start, index)

    def _add_shared(self, name: str, start: int, index: int) -> None:
        if not self._findings.has_enough("block.shared"):
            self._add("block.shared", f"{name} at {start:#x} lies on another block or an unknown region", index)

    def _read(self, start: int, end: int, buffer: memoryview) -> None:
        """Read what the file has of a block and was not read yet."""
        for at in self._space.free(start, end):
            part = buffer[: end - at]
            gaps = list(fill_around(self._source, part, at))
            self._add_unreadable(gaps)
            self.totals.bytes_read += len(part) - sum(gap.end - gap.start for gap in gaps)

    def _add_unreadable(self, gaps: list[Gap]) -> None:
        """What the medium does not give; what the file does not have, its own rules say."""
        for gap in gaps:
            if not isinstance(gap.error, TruncatedImageError):
                self._findings.add("file.unreadable", f"{gap.end - gap.start} bytes: {gap.error.message}", gap.start)

    def _add(self, rule: str, message: str, index: int) -> None:
        self._findings.add(rule, message, self._bat.entry_offset(index))


def walk_image(image: VhdxImage, findings: Findings) -> BlockWalk:
    """The walk over the BAT of an opened image, done."""
    regions = image.region_table.regions
    bat = next(region for region in regions if region.guid == spec.REGION_BAT)
    others = [region for region in regions if not region.is_known]
    walk = BlockWalk(image.map.source, image.map, bat, others, findings)
    walk.run(deep=False, progress=None)
    return walk
