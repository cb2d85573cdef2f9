"""The address map: what each byte of the virtual disk comes from, apart from all reading of it.

In: BAT entries. Out: runs of one file, and extents merged over a chain of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from .. import spec
from ..errors import VhdxError
from ..files.source import Source
from ..format.bat import Bat
from ..format.overlaps import Span, collision
from ..format.rules import breach
from ..format.sector_bitmap import SectorBitmaps
from ..plain_values import plain


class Kind(StrEnum):
    """Where the bytes of an extent come from; the very words of JSON and text."""

    DATA = "data"  # the file
    ZERO = "zero"  # nowhere: they are zeros by the block's state
    ABSENT = "absent"  # no file: they are zeros, or in a parent that is not open
    ERROR = "error"  # they cannot be read


# Length in bytes, kind, and for DATA the file offset.
Run: TypeAlias = tuple[int, Kind, int]

_LOOKED_AT = 1 << 20  # BAT entries; to look at all of the largest table would take seconds
_COARSE = 16 * spec.KB  # stretches that are longer are read one by one

_FULLY_PRESENT = int(spec.PayloadState.FULLY_PRESENT)
_PARTIALLY_PRESENT = int(spec.PayloadState.PARTIALLY_PRESENT)
_STATE_KINDS: dict[int, Kind] = {
    spec.PayloadState.NOT_PRESENT: Kind.ABSENT,
    spec.PayloadState.UNDEFINED: Kind.ZERO,
    spec.PayloadState.ZERO: Kind.ZERO,
    spec.PayloadState.UNMAPPED: Kind.ZERO,
}


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes at `disk_offset` of the virtual disk.

    They come from the file `filename` of the chain, `depth` counts from the opened one (0) to its oldest ancestor. For
    DATA, `file_offset` is where they are in that file; for ERROR, `error` is what a read raises.
    """

    disk_offset: int
    length: int
    kind: Kind
    depth: int
    filename: str
    zero: bool  # whether they read as zeros without a look at any file
    file_offset: int | None = None
    error: VhdxError | None = None

    @property
    def present(self) -> bool:
        """Whether the file itself says what the bytes are, as `qemu-img map` means it."""
        return self.kind is Kind.DATA or self.kind is Kind.ZERO

    @property
    def data(self) -> bool:
        """Whether the bytes are in the file."""
        return self.kind is Kind.DATA

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "disk_offset": self.disk_offset,
            "length": self.length,
            "kind": str(self.kind),
            "depth": self.depth,
            "filename": plain(self.filename),
            "file_offset": self.file_offset,
            "zero": self.zero,
            "problem": plain(self.error),
        }


class AddressMap:
    """The runs of one file. `occupied` are the structures that no block may overlap. With `lenient`, a block that is
    said to be partially present is taken for fully present where there is no parent."""

    def __init__(self, bat: Bat, source: Source, occupied: Sequence[Span], *, lenient: bool = False) -> None:
        geometry = bat.geometry
        self.source = source
        self.size = geometry.virtual_disk_size
        self.has_parent = geometry.has_parent
        self._takes_partial = lenient or geometry.has_parent
        self.bat = bat
        self._bitmaps = SectorBitmaps(source, bat, occupied)
        self._whole_end = source.whole_end
        self.occupied = tuple(occupied)
        self._occupied_end = max(span.end for span in occupied)
        self._block_size = geometry.block_size
        self._joint = min(geometry.block_size, self._bitmaps.page_span)

    def run_at(self, offset: int, length: int) -> Run:
        """The first run at `offset` of the virtual disk, at most `length` long: blocks of one kind that are adjacent,
        in the file too if they are data. `offset + length` must lie inside the virtual disk."""
        total, kind, where = self._block_run(offset, length)
        while total < length and (offset + total) % self._joint == 0 and kind is not Kind.ERROR:
            more, next_kind, next_where = self._block_run(offset + total, length - total)
            if next_kind is not kind or (kind is Kind.DATA and next_where != where + total):
                break
            if more == self._block_size:
                more += self._alike(offset + total, length - total - more)
            total += more
        return total, kind, where

    def _alike(self, offset: int, length: int) -> int:
        """How many bytes in whole blocks, at most `length`, follow the block at `offset` and continue its run, as far
        as their BAT entries alone can tell. There may be more."""
        block = offset // self._block_size
        word = self.bat.payload(block)
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        if state in _STATE_KINDS:
            return self.bat.alike(block, length // self._block_size, 0) * self._block_size
        if state != _FULLY_PRESENT or start < self._occupied_end:
            return 0
        inside = min(length, self._whole_end - start - self._block_size)
        return self.bat.alike(block, max(inside, 0) // self._block_size, self._block_size) * self._block_size

    def mixture_at(self, offset: int, length: int) -> tuple[int, list[tuple[int, int]]] | None:
        """Of `length` bytes at `offset` that lie in one partially present block: the file offset, and start and end,
        from `offset` on, of each stretch that is not in the file. None where a read by runs is as good, or says what
        is wrong."""
        block, within = divmod(offset, self._block_size)
        if not self.has_parent or within + length > self._block_size:
            return None
        try:
            word = self.bat.payload(block)
            start = word & spec.FILE_OFFSET_MASK
            if word & spec.STATE_MASK != _PARTIALLY_PRESENT or start + within + length > self._whole_end:
                return None
            if start < self._occupied_end and self._collision(block, start):
                return None
            absent = self._bitmaps.absent(offset, length)
        except VhdxError:
            return None
        if absent is None or len(absent) * _COARSE < length:
            return None
        return start + within, absent

    def error_at(self, offset: int) -> VhdxError:
        """Why the ERROR run at `offset` cannot be read. What the medium did not give is asked for again next time."""
        block = offset // self._block_size
        try:
            word = self.bat.payload(block)
        except VhdxError as error:
            self.bat.forget(block)
            return error
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        entry_offset = self.bat.entry_offset(self.bat.geometry.payload_index(block))
        if state == _PARTIALLY_PRESENT and not self.has_parent:
            message = f"payload block {block} is partially present, but the disk has no parent"
            return breach("payload.partially_present", message, entry_offset)
        if state not in (_FULLY_PRESENT, _PARTIALLY_PRESENT):
            return breach("payload.state", f"payload block {block} has the unknown state {state}", entry_offset)
        span = self._collision(block, start)
        if span is not None:
            message = f"payload block {block} lies at {start:#x}, on the {span.name}"
            return breach("payload.overlap", message, entry_offset)
        if state == _PARTIALLY_PRESENT:
            try:
                self._bitmaps.run_at(offset, 1)
            except VhdxError as error:
                self._bitmaps.forget(offset)
                return error
        missing = max(start + offset % self._block_size, self._whole_end)
        message = f"payload block {block} lies at {start:#x}, but the file ends at {self._whole_end:#x}"
        if missing < self.source.size:
            message += ", and nothing in its log writes these bytes (Windows, which extends the file, would show zeros)"
        return breach("payload.past_end", message, missing)

    def holds_block(self, block: int, start: int) -> bool:
        """Whether all is there that is needed of the payload block at file offset `start`."""
        return self.source.holds_all(start, self._needed(block))

    def count_missing(self) -> int:
        """How many present payload blocks are not all there; of the first million of blocks."""
        present = self.bat.present(_LOOKED_AT)
        return sum(not self.holds_block(block, word & spec.FILE_OFFSET_MASK) for block, word in present)

    def _needed(self, block: int) -> int:
        """The bytes of a payload block: the part of the last one that lies behind the virtual disk's end need not
        exist."""
        return min(self._block_size, self.size - block * self._block_size)

    def _block_run(self, offset: int, length: int) -> Run:
        """The run at `offset` within its block; where it ends at a multiple of `_joint`, the next may continue it."""
        block, within = divmod(offset, self._block_size)
        rest, length = length, min(length, self._block_size - within)
        try:
            word = self.bat.payload(block)
        except VhdxError:
            alike = self.bat.alike(block, (rest + within) // self._block_size, 0)
            return min(rest, (alike + 1) * self._block_size - within), Kind.ERROR, 0
        state, start = word & spec.STATE_MASK, word & spec.FILE_OFFSET_MASK
        if state != _FULLY_PRESENT and not (state == _PARTIALLY_PRESENT and self._takes_partial):
            return length, _STATE_KINDS.get(state, Kind.ERROR), 0
        if start < self._occupied_end and self._collision(block, start):
            return length, Kind.ERROR, 0
        if state == _PARTIALLY_PRESENT and self.has_parent:
            try:
                present, length = self._bitmaps.run_at(offset, length)
            except VhdxError:
                return self._bitmaps.unreadable_run(offset, length), Kind.ERROR, 0
            if not present:
                return length, Kind.ABSENT, 0
        if start + within + length > self._whole_end:
            held, length = self.source.holds(start + within, length)
            if not held:
                return length, Kind.ERROR, 0
        return length, Kind.DATA, start + within

    def _collision(self, block: int, start: int) -> Span | None:
        """The structure that the block at file offset `start` overlaps."""
        return collision(self.occupied, start, start + self._needed(block))


# Offset in the virtual disk, depth in the chain, run.
ChainRun: TypeAlias = tuple[int, int, Run]


def chain_runs(layers: Sequence[AddressMap], offset: int, length: int, depth: int = 0) -> Iterator[ChainRun]:
    """Each run of the whole range, in order, from the file at `depth` on: what is absent in a file comes from the next,
    its parent.

    A parent that is smaller than its child ends in zeros [2.6.2.6.3].
    """
    pending = [(depth, offset, length)] if length else []
    while pending:
        depth, offset, length = pending.pop()
        layer = layers[depth]
        inside = min(length, layer.size - offset)
        if inside <= 0:
            yield offset, depth, (length, Kind.ZERO, 0)
            continue
        run = layer.run_at(offset, inside)
        size, kind, _ = run
        if size < length:
            pending.append((depth, offset + size, length - size))
        if kind is Kind.ABSENT and depth + 1 < len(layers):
            pending.append((depth + 1, offset, size))
        else:
            yield offset, depth, run


def layer_error(layers: Sequence[AddressMap], depth: int, offset: int) -> VhdxError:
    """Why the ERROR run at `offset` in the file at `depth` cannot be read; names that file unless it is the child."""
    error = layers[depth].error_at(offset)
    error.filename, error.disk_offset = layers[depth].source.name, offset
    if depth:
        error.message = f"parent {layers[depth].source.name}: {error.message}"
    return error


def extents(layers: Sequence[AddressMap], offset: int, length: int) -> Iterator[Extent]:
    """The merged map of a chain over a range that lies inside the virtual disk; neighbours alike are one extent."""
    runs = chain_runs(layers, offset, length)
    following = next(runs, None)
    while following is not None:
        start, depth, (size, kind, where) = following
        following = next(runs, None)
        # Zeros of a parent and those behind its end are the one kind of neighbours that comes in two runs.
        while following is not None and kind is Kind.ZERO and following[1] == depth and following[2][1] is kind:
            size += following[2][0]
            following = next(runs, None)
        yield Extent(
            start,
            size,
            kind,
            depth,
            layers[depth].source.name,
            zero=kind is Kind.ZERO or (kind is Kind.ABSENT and not layers[depth].has_parent),
            file_offset=where if kind is Kind.DATA else None,
            error=layer_error(layers, depth, start) if kind is Kind.ERROR else None,
        )
