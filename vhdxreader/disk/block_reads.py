"""Positioned reads of the virtual disk of one file, or of a chain.

In: address maps, child first. Out: bytes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from operator import index
from typing import TYPE_CHECKING

from .. import spec
from ..errors import VhdxError
from ..files.descriptor_source import DescriptorSource
from ..files.partial_reads import fill_around
from ..files.source import fill_zeros, filled
from ..format.rules import breach
from .address_map import AddressMap, Extent, Kind, chain_runs, extents, layer_error
from .salvage import Salvaging

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_STEP_MASK = spec.MB - 1
_MOST_AT_ONCE = 1 << 30  # the system gives no more than 2 GiB
_JOINED = 1 << 22  # of so little, pieces are joined: quicker, and twice the memory
_REMOTE_STEP_MASK = 8 * spec.MB - 1  # many requests at a time
_SMALLEST_MIX = 16 * spec.KB
_PAGE_SHIFT = 12  # places in a page
_PAGE_MASK = (1 << _PAGE_SHIFT) - 1
_EMPTY_PAGE = array("q", bytes(8 << _PAGE_SHIFT))
_MAX_PAGES = 128  # 4 MiB

# A place says how to read a stretch of the virtual disk. If it lies in one piece in the file at depth d, its place is
# d + 2 plus how much further on it lies there, which is a multiple of 1 MiB.
_UNKNOWN, _BY_RUNS = 0, 1
_FILE_MASK = spec.MB - 1


class Reader:
    """Reads over `layers`. With `salvaging`, it goes on where it cannot read, and keeps what that concerns there. Safe
    for threads.

    For each stretch, of the smallest block's size, it remembers its place; at most 4 MiB of places are kept. A read
    inside a stretch that lies in one piece is one call of the system; all else is read by the runs of the map.
    """

    def __init__(self, layers: Sequence[AddressMap], salvaging: Salvaging | None = None) -> None:
        self._layers = tuple(layers)
        self._salvaging = salvaging
        self._size = layers[0].size
        self._stretch = min(layer.bat.geometry.block_size for layer in layers)
        self._is_remote = any(layer.source.is_remote for layer in layers)
        self._step_mask = _REMOTE_STEP_MASK if self._is_remote else _STEP_MASK
        self._mask = self._stretch - 1
        self._shift = self._mask.bit_length()
        self._page_shift = self._shift + _PAGE_SHIFT
        self._pages: dict[int, array[int]] = {}
        self._files: list[DescriptorSource | None] = [None] * (len(layers) + 2)
        self._closed = False

    def pread(self, size: int, offset: int) -> bytes:
        """The `size` bytes at `offset`, less only at the disk's end."""
        size, offset = index(size), index(offset)  # others' integers wrap in silence
        try:
            place = self._pages[offset >> self._page_shift][offset >> self._shift & _PAGE_MASK]
        except KeyError:
            return self._pread_pieces(size, offset)
        number = place & _FILE_MASK
        file = self._files[number]
        if file is None or not 0 <= size <= self._stretch - (offset & self._mask):
            return self._pread_pieces(size, offset)
        try:
            data = os.pread(file.fd, size, offset + place - number)
        except OSError:  # closed, or out of order; the other way says what it is
            data = b""
        return data if len(data) == size else self._pread_runs(size, offset)

    def preadinto(self, buffer: WriteableBuffer, offset: int) -> int:
        """As `pread`, into a writable buffer; how many bytes."""
        view = _flat(buffer)
        size, offset = len(view), index(offset)
        try:
            place = self._pages[offset >> self._page_shift][offset >> self._shift & _PAGE_MASK]
        except KeyError:
            return self._preadinto_pieces(view, offset)
        number = place & _FILE_MASK
        file = self._files[number]
        if file is None or size > self._stretch - (offset & self._mask):
            return self._preadinto_pieces(view, offset)
        try:
            done = os.preadv(file.fd, (view,), offset + place - number)
        except OSError:
            done = -1
        if done != size:
            self._fill(view, offset, zeroed=False)
        return size

    def extents(self, offset: int, length: int | None) -> Iterator[Extent]:
        """The map of `length` bytes from `offset` on, or up to the end."""
        offset = index(offset)
        length = None if length is None else index(length)
        self._check(offset)
        if length is not None and length < 0:
            raise ValueError(f"negative length {length}")
        rest = max(self._size - offset, 0)
        return extents(self._layers, offset, rest if length is None else min(length, rest))

    def account(self, offset: int, depth: int, size: int, kind: Kind) -> bool:
        """What a read of a run does beside giving bytes: raise where there are none, or list it as lost, and what is
        doubtful. Whether there are bytes, or zeros."""
        if kind is Kind.ERROR or (kind is Kind.ABSENT and self._layers[depth].has_parent):
            self._lose(offset, depth, size, self._error(offset, depth, size, kind))
            return False
        if self._salvaging is not None:
            self._salvaging.doubt(offset, size, depth)
        return True

    def _lose(self, offset: int, depth: int, size: int, error: VhdxError) -> None:
        if self._salvaging is None or self._salvaging.raises:
            raise error
        self._salvaging.lost.add(offset, size, depth, error.rule or "", str(error))

    def close(self) -> None:
        """Have all further reads raise `ValueError`; the files are not its own."""
        self._closed = True
        self._pages = {}  # so that every read comes by `_check`

    def _check(self, offset: int) -> None:
        if self._closed:
            raise ValueError("I/O operation on closed file")
        if offset < 0:
            raise ValueError(f"negative offset {offset}")

    def _piece(self, offset: int, end: int) -> tuple[DescriptorSource | None, int, int]:
        """The file, the offset in it and the end of what can be read at once from `offset` on; no file: by runs."""
        place = self._place(offset)
        stop = (offset | self._mask) + 1
        while stop < end and self._place(stop) == place:
            stop += self._stretch
        number = place & _FILE_MASK
        return self._files[number], offset + place - number, min(stop, end)

    def _place(self, offset: int) -> int:
        """The place of the stretch with the byte at `offset`."""
        page = self._pages.get(offset >> self._page_shift)
        if page is None:
            if len(self._pages) >= _MAX_PAGES:
                self._pages.clear()
            page = self._pages[offset >> self._page_shift] = _EMPTY_PAGE[:]
        number = offset >> self._shift & _PAGE_MASK
        if page[number] == _UNKNOWN:
            page[number] = self._find_place(offset & ~self._mask)
        return page[number]

    def _find_place(self, start: int) -> int:
        if start + self._stretch > self._size:
            return _BY_RUNS
        _, depth, (length, kind, where) = next(chain_runs(self._layers, start, self._stretch))
        if kind is not Kind.DATA or length < self._stretch:
            return _BY_RUNS
        file = self._layers[depth].source.file_of(where, length)
        if file is None or not (self._salvaging is None or self._salvaging.is_certain(start, self._stretch, depth)):
            return _BY_RUNS
        self._files[depth + 2] = file
        return where - start + depth + 2

    def _pread_pieces(self, size: int, offset: int) -> bytes:
        self._check(offset)
        if size < 0:
            raise ValueError(f"negative size {size}")
        size = min(size, max(self._size - offset, 0))
        if not size:
            return b""
        end = offset + size
        file, where, stop = self._piece(offset, min(end, offset + _MOST_AT_ONCE))
        if stop < end and size > _JOINED:
            return filled(
                size, lambda view, start: self._fill_pieces(view, offset + start, zeroed=True), remote=self._is_remote
            )
        parts = [self._pread_piece(file, where, offset, stop)]
        while stop < end:
            at = stop
            file, where, stop = self._piece(at, end)
            parts.append(self._pread_piece(file, where, at, stop))
        return b"".join(parts)

    def _pread_piece(self, file: DescriptorSource | None, where: int, at: int, stop: int) -> bytes:
        data = b"" if file is None else _read(file, stop - at, where)
        return data or self._pread_runs(stop - at, at)

    def _preadinto_pieces(self, view: memoryview, offset: int) -> int:
        self._check(offset)
        view = view[: max(self._size - offset, 0)]
        self._fill_pieces(view, offset, zeroed=False)
        return len(view)

    def _fill_pieces(self, view: memoryview, offset: int, *, zeroed: bool) -> None:
        end, at = offset + len(view), offset
        while at < end:
            file, where, stop = self._piece(at, min(end, at + _MOST_AT_ONCE))
            part = view[at - offset : stop - offset]
            if file is None or not _read_into(file, part, where):
                self._fill(part, at, zeroed=zeroed and file is None)
            at = stop

    def _pread_runs(self, size: int, offset: int) -> bytes:
        first = next(chain_runs(self._layers, offset, size), None)
        if first is None:
            return b""
        _, depth, (length, kind, where) = first
        if length < size or self._salvaging is not None:
            return filled(
                size, lambda view, start: self._fill(view, offset + start, zeroed=True), remote=self._is_remote
            )
        if kind is Kind.DATA:
            return self._layers[depth].source.read_at(where, size)
        self.account(offset, depth, size, kind)
        return bytes(size)

    def _fill(self, view: memoryview, offset: int, *, zeroed: bool) -> None:
        """Fill by runs; `zeroed` if all is zeros already. In a chain in steps, since sectors may take turns there."""
        end, at = offset + len(view), offset
        while at < end:
            stop = min((at | self._step_mask) + 1, end) if len(self._layers) > 1 else end
            part = view[at - offset : stop - offset]
            if not self._mix(part, at):
                self._fill_runs(part, at, zeroed=zeroed)
            at = stop

    def _fill_runs(self, view: memoryview, offset: int, *, zeroed: bool) -> None:
        far: dict[int, list[tuple[memoryview, int]]] = {}
        for start, depth, (size, kind, where) in chain_runs(self._layers, offset, len(view)):
            part = view[start - offset : start - offset + size]
            if kind is Kind.DATA:
                if self._salvaging is None and self._layers[depth].source.is_remote:
                    far.setdefault(depth, []).append((part, where))
                else:
                    self._read_data(part, start, depth, where)
            elif not self.account(start, depth, size, kind):
                self._fill_lost(part, start)
            elif not zeroed:
                fill_zeros(part)
        for depth, parts in far.items():
            self._layers[depth].source.read_many(parts)

    def _read_data(self, view: memoryview, offset: int, depth: int, where: int) -> None:
        """Fill from the file at `depth`, down to the sector where its medium fails."""
        source, salvaging = self._layers[depth].source, self._salvaging
        if salvaging is None:
            source.read_into(view, where)
            return
        done = 0
        for gap in fill_around(source, view, where):
            start, end = gap.start - where, gap.end - where
            self._lose(offset + start, depth, end - start, gap.error)
            self._fill_lost(view[start:end], offset + start)
            salvaging.doubt(offset + done, start - done, depth)
            done = end
        salvaging.doubt(offset + done, len(view) - done, depth)

    def _fill_lost(self, view: memoryview, offset: int) -> None:
        assert self._salvaging is not None
        self._salvaging.fill_lost(view, offset)

    def _mix(self, view: memoryview, offset: int) -> bool:
        """Fill from a partially present block of short stretches and from what lies below it in one piece: read both
        whole, then put together what belongs to whom. False where that is not so, and nothing is done."""
        depth, size = 0, len(view)
        if size < _SMALLEST_MIX or self._salvaging is not None:
            return False
        while depth + 1 < len(self._layers) and self._layers[depth].run_at(offset, size)[:2] == (size, Kind.ABSENT):
            depth += 1
            if offset + size > self._layers[depth].size:
                return False
        mixture = self._layers[depth].mixture_at(offset, size) if depth + 1 < len(self._layers) else None
        if mixture is None:
            return False
        _, below, (length, kind, where) = next(chain_runs(self._layers, offset, size, depth + 1))
        if length < size or kind is Kind.ERROR or (kind is Kind.ABSENT and self._layers[below].has_parent):
            return False
        other = memoryview(bytearray(size))
        try:
            self._layers[depth].source.read_into(view, mixture[0])
            if kind is Kind.DATA:
                self._layers[below].source.read_into(other, where)
        except OSError:  # perhaps of bytes that nobody needs
            fill_zeros(view)
            return False
        for start, end in mixture[1]:
            view[start:end] = other[start:end]
        return True

    def _error(self, offset: int, depth: int, size: int, kind: Kind) -> VhdxError:
        if kind is Kind.ERROR:
            return layer_error(self._layers, depth, offset)
        message = f"the {size} bytes at {offset:#x} of the disk are in the parent of {self._layers[depth].source.name}"
        return breach("parent.absent", f"{message}, which is not open", None, self._layers[depth].source.name)


def _read(file: DescriptorSource, size: int, where: int) -> bytes:
    """All of it in one call, or nothing."""
    try:
        data = os.pread(file.fd, size, where)
    except OSError:  # closed, or out of order; who reads by runs is told what it is
        return b""
    return data if len(data) == size else b""


def _read_into(file: DescriptorSource, buffer: memoryview, where: int) -> bool:
    try:
        return os.preadv(file.fd, (buffer,), where) == len(buffer)
    except OSError:
        return False


def _flat(buffer: WriteableBuffer) -> memoryview:
    """The bytes of a writable buffer of any shape and item size."""
    view = memoryview(buffer)
    if view.readonly:
        raise TypeError("a writable buffer is expected")
    return view.cast("B") if view.nbytes else memoryview(bytearray())
