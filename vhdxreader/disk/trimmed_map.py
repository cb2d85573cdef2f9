"""The address map with the old content of blocks that were trimmed but keep their place: shown on request only.

In: opened images. Out: the same, with another address map. Reads the whole BAT once, to see which places were reused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .. import spec
from ..errors import VhdxError
from ..files.source import Source
from ..files.word_columns import are_zero
from ..format.bat import Bat
from ..format.overlaps import Span
from ..format.rules import finding
from .address_map import AddressMap, Kind, Run
from .image import VhdxImage
from .space_map import SpaceMap

_PAGE_ENTRIES = 4096
_PRESENT = int(spec.PayloadState.FULLY_PRESENT)  # the state of a present sector bitmap block, too


class TrimmedMap(AddressMap):
    """Blocks in states 1 and 3 are data where they keep a place in the file that nothing else has [2.5.1.1]; in a child
    only those sectors whose bit is 1, since the rest may be anybody's. Everything else is as in `AddressMap`."""

    def __init__(self, bat: Bat, source: Source, occupied: Sequence[Span], *, lenient: bool = False) -> None:
        super().__init__(bat, source, occupied, lenient=lenient)
        self._reused = _reused_space(bat, source, self.occupied)

    def _alike(self, offset: int, length: int) -> int:
        state = self.bat.payload(offset // self._block_size) & spec.STATE_MASK
        return 0 if state in spec.TRIMMED_STATES else super()._alike(offset, length)

    def _block_run(self, offset: int, length: int) -> Run:
        block, within = divmod(offset, self._block_size)
        length, kind, where = super()._block_run(offset, length)
        if kind is not Kind.ZERO:
            return length, kind, where
        word = self.bat.payload(block)
        start = word & spec.FILE_OFFSET_MASK
        if word & spec.STATE_MASK not in spec.TRIMMED_STATES or not self._is_its_own(start):
            return length, kind, where
        length = min(length, self._block_size - within)
        if self.has_parent:
            try:
                was_written, length = self._bitmaps.run_at(offset, length)
            except VhdxError:
                return length, Kind.ZERO, 0
            if not was_written:
                return length, Kind.ZERO, 0
        return length, Kind.DATA, start + within

    def _is_its_own(self, start: int) -> bool:
        end = start + self._block_size
        return start > 0 and end <= self._whole_end and self._reused.is_free(start, end)


def show_trimmed(images: Iterable[VhdxImage], *, lenient: bool) -> None:
    """Have images read as what their trimmed blocks were; this is a finding of each."""
    for image in images:
        image.replace_map(TrimmedMap(image.bat, image.map.source, image.map.occupied, lenient=lenient))
        image.findings += (finding("payload.trimmed_shown", "trimmed blocks are shown as they were", None, image.name),)


def _reused_space(bat: Bat, source: Source, occupied: Sequence[Span]) -> SpaceMap:
    """The space that belongs to structures and present blocks, or to more than one trimmed block."""
    reused, trimmed = SpaceMap(source.size), SpaceMap(source.size)
    for span in occupied:
        reused.take(span.start, span.end)
    for state, start, size in _places(bat):
        is_kept = state in spec.TRIMMED_STATES and start > 0
        if state >= _PRESENT or (is_kept and not trimmed.take(start, min(start + size, source.size))):
            reused.take(start, start + size)
    return reused


def _places(bat: Bat) -> Iterator[tuple[int, int, int]]:
    """State, place and size of what each entry names."""
    geometry = bat.geometry
    for first in range(0, geometry.entries, _PAGE_ENTRIES):
        words, _ = bat.read(first, min(_PAGE_ENTRIES, geometry.entries - first))
        if are_zero(words):
            continue
        for index, word in enumerate(words, first):
            is_bitmap = (index + 1) % (geometry.chunk_ratio + 1) == 0
            size = spec.SECTOR_BITMAP_SIZE if is_bitmap else geometry.block_size
            yield word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK, size
