"""Positioned reads of the virtual disk of one file, or of a chain.

In: address maps, child first. Out: bytes. Layer 4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias

from .errors import VhdxError
from .extents import AddressMap, ChainRun, Extent, Kind, chain_runs, extents, layer_error
from .lost import Lost, LostRanges
from .rules import breach
from .source import DescriptorSource, fill_zeros

# Where a stretch of the virtual disk lies in one piece: the file, how much further than in the disk, and its end there.
Direct: TypeAlias = tuple[DescriptorSource, int, int]

_MAX_DIRECT = 1 << 14  # 4 MB


class Reader:
    """Reads over `layers`. With `lost`, what cannot be read is zeros and goes there. Safe for threads.

    For each stretch of the smallest block's size it remembers whether it lies in one piece in one file: then a read
    inside it is one call of the system. All other reads go by the runs of the map.
    """

    def __init__(self, layers: Sequence[AddressMap], lost: LostRanges | None = None) -> None:
        self._layers = tuple(layers)
        self._lost = lost
        self._size = layers[0].size
        self._shift = min(layer.bat.geometry.block_size for layer in layers).bit_length() - 1
        self._direct: dict[int, Direct | None] = {}

    @property
    def lost(self) -> tuple[Lost, ...]:
        """What was read as zeros since it cannot be read, by offset."""
        return () if self._lost is None else self._lost.snapshot()

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset`, less only at the disk's end."""
        try:
            direct = self._direct[offset >> self._shift]
        except KeyError:
            direct = self._find_direct(offset)
        if direct is not None:
            file, distance, end = direct
            if 0 <= size <= end - offset:
                try:
                    data = os.pread(file.fd, size, offset + distance)
                except OSError:  # closed, or out of order; the other way says what it is
                    data = b""
                if len(data) == size:
                    return data
        return self._pread_runs(size, offset)

    def preadinto(self, buffer: Any, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        view = _flat(buffer)
        try:
            direct = self._direct[offset >> self._shift]
        except KeyError:
            direct = self._find_direct(offset)
        if direct is not None:
            file, distance, end = direct
            size = len(view)
            with suppress(OSError):
                if size <= end - offset and os.preadv(file.fd, (view,), offset + distance) == size:
                    return size
        view = view[: max(self._size - offset, 0)]
        self._fill(view, offset, chain_runs(self._layers, offset, len(view)), zeroed=False)
        return len(view)

    def extents(self, offset: int, length: int | None) -> Iterator[Extent]:
        """The map of `length` bytes from `offset` on, or up to the end."""
        if offset < 0 or (length is not None and length < 0):
            raise ValueError(f"negative offset {offset} or length {length}")
        rest = max(self._size - offset, 0)
        return extents(self._layers, offset, rest if length is None else min(length, rest))

    def lose(self, offset: int, depth: int, size: int, kind: Kind) -> None:
        """What a read does at a run that is no data: nothing where it is zeros, else raise or record it in `lost`."""
        if kind is Kind.ZERO or (kind is Kind.ABSENT and not self._layers[depth].has_parent):
            return
        error = self._error(offset, depth, size, kind)
        if self._lost is None:
            raise error
        self._lost.add(offset, size, depth, error)

    def _find_direct(self, offset: int) -> Direct | None:
        """Look for the stretch with the byte at `offset`, and remember what was found."""
        if offset < 0:
            raise ValueError(f"negative offset {offset}")
        number = offset >> self._shift
        start, size = number << self._shift, 1 << self._shift
        if start + size > self._size:
            return None
        _, depth, (length, kind, where) = next(chain_runs(self._layers, start, size))
        file = self._layers[depth].source.file_of(where, size) if kind is Kind.DATA and length == size else None
        direct = None if file is None else (file, where - start, start + size)
        if len(self._direct) >= _MAX_DIRECT:
            self._direct.clear()
        self._direct[number] = direct
        return direct

    def _pread_runs(self, size: int, offset: int) -> bytes:
        if size < 0:
            raise ValueError(f"negative size {size}")
        size = min(size, max(self._size - offset, 0))
        runs = chain_runs(self._layers, offset, size)
        first = next(runs, None)
        if first is None:
            return b""
        _, depth, (length, kind, where) = first
        if length < size:
            buffer = bytearray(size)
            self._fill(memoryview(buffer), offset, chain((first,), runs), zeroed=True)
            return bytes(buffer)
        if kind is Kind.DATA:
            return self._layers[depth].source.read_at(where, size)
        self.lose(offset, depth, size, kind)
        return bytes(size)

    def _fill(self, view: memoryview, offset: int, runs: Iterable[ChainRun], *, zeroed: bool) -> None:
        for start, depth, (size, kind, where) in runs:
            part = view[start - offset : start - offset + size]
            if kind is Kind.DATA:
                self._layers[depth].source.read_into(part, where)
                continue
            self.lose(start, depth, size, kind)
            if not zeroed:
                fill_zeros(part)

    def _error(self, offset: int, depth: int, size: int, kind: Kind) -> VhdxError:
        if kind is Kind.ERROR:
            return layer_error(self._layers, depth, offset)
        message = f"the {size} bytes at {offset:#x} of the disk are in the parent of {self._layers[depth].source.name}"
        return breach("parent.absent", f"{message}, which is not open")


def _flat(buffer: Any) -> memoryview:
    """The bytes of a writable buffer of any shape and item size."""
    view = memoryview(buffer)
    if view.readonly:
        raise TypeError("a writable buffer is expected")
    return view.cast("B") if view.nbytes else memoryview(bytearray())
