"""What of a file's bytes is not proven to be the virtual disk's: they are in the file, but perhaps in another place.

In: what was found of a file. Out: stretches of the virtual disk, each with the rule that is broken and how.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

from .. import spec
from ..errors import Finding
from ..files.overlay import OverlaySource
from ..files.word_columns import are_zero
from .address_map import AddressMap, Kind
from .space_map import SpaceMap

_WITH_SPACE = int(spec.PayloadState.FULLY_PRESENT)
_PARTIALLY_PRESENT = int(spec.PayloadState.PARTIALLY_PRESENT)


class Doubt(NamedTuple):
    """`length` bytes at `offset` of the virtual disk."""

    offset: int
    length: int
    rule: str
    reason: str


class Doubts:
    """Those of one file. `replayed` is its map after the replay of a log that is ignored. Safe for threads."""

    def __init__(
        self, address_map: AddressMap, unproven: Finding | None = None, replayed: AddressMap | None = None
    ) -> None:
        """`unproven` says why nothing of it is certain."""
        self._map = address_map
        self._all = unproven
        self._replayed = replayed
        self._shared: SpaceMap | None = None
        self._lock = threading.RLock()

    def of(self, offset: int, length: int) -> Iterator[Doubt]:
        """Those of a range, whose bytes this file gives or leaves to its parent."""
        length = min(length, self._map.size - offset)
        if length <= 0:
            return
        if self._all is not None:
            yield Doubt(offset, length, self._all.rule, str(self._all))
            return
        if self._replayed is not None:
            yield from self._changed(self._replayed, offset, offset + length)
        yield from self._of_blocks(offset, offset + length)

    def _changed(self, replayed: AddressMap, at: int, end: int) -> Iterator[Doubt]:
        """What the replay would make another: by the map, or by what it writes into a block."""
        overlay = replayed.source
        assert isinstance(overlay, OverlaySource)
        reason = "a log that is not replayed changes these bytes"
        while at < end:
            length, kind, where = self._map.run_at(at, end - at)
            after = replayed.run_at(at, length)
            length = min(length, after[0])
            if after[1:] != (kind, where):
                yield Doubt(at, length, "log.ignored", reason)
            elif kind is Kind.DATA:
                for start, stop in overlay.overlaid_ranges(where, where + length):
                    yield Doubt(at + start - where, stop - start, "log.ignored", reason)
            at += length

    def _of_blocks(self, start: int, end: int) -> Iterator[Doubt]:
        """Blocks that are said to be partially present where there is no parent, and those that share their space."""
        bat = self._map.bat
        size, has_parent = bat.geometry.block_size, bat.geometry.has_parent
        for block in range(start // size, -(-end // size)):
            word = bat.known_payload(block)
            state, where = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
            if state < _WITH_SPACE:
                continue
            at, stop = max(start, block * size), min(end, (block + 1) * size)
            if state == _PARTIALLY_PRESENT and not has_parent:
                message = f"payload block {block} is partially present, but the disk has no parent"
                yield Doubt(at, stop - at, "payload.partially_present", message)
            elif self._is_shared(where, size) or (state == _PARTIALLY_PRESENT and self._has_shared_bitmap(block)):
                message = f"payload block {block} at {where:#x}, or its sector bitmap block, lies on another block"
                yield Doubt(at, stop - at, "block.shared", message)

    def _has_shared_bitmap(self, block: int) -> bool:
        geometry = self._map.bat.geometry
        words, _ = self._map.bat.read(geometry.bitmap_index(block // geometry.chunk_ratio), 1)
        return self._is_shared(words[0] & spec.FILE_OFFSET_MASK, spec.SECTOR_BITMAP_SIZE)

    def _is_shared(self, start: int, size: int) -> bool:
        with self._lock:
            if self._shared is None:
                self._shared = _find_shared(self._map)
            return next(self._shared.taken_in(start, start + size), None) is not None


def _find_shared(address_map: AddressMap) -> SpaceMap:
    """The space of the file that more than one block takes; looks at the whole BAT."""
    geometry, file_size = address_map.bat.geometry, address_map.source.size
    taken, shared = SpaceMap(file_size), SpaceMap(file_size)
    for first, words, _ in address_map.bat.pages(geometry.entries, holes=False):
        if are_zero(words):
            continue
        for index, word in enumerate(words, first):
            if word & spec.STATE_MASK < _WITH_SPACE:
                continue
            is_bitmap, number = geometry.block_at(index)
            if is_bitmap and not geometry.has_parent:
                continue
            start = word & spec.FILE_OFFSET_MASK
            end = start + (spec.SECTOR_BITMAP_SIZE if is_bitmap else geometry.block_size)
            if number < geometry.payload_blocks:
                for place in taken.taken_in(start, end):
                    shared.take(place, place + spec.MB)
                taken.take(start, end)
    return shared
