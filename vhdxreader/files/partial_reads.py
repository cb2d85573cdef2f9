"""Reads that go on behind what cannot be read: bad places of the medium, and bytes that the file does not have.

In: a source. Out: the bytes that can be had, and the gaps between them, or each of some parts by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from ..errors import TruncatedImageError, UnreadableError, VhdxError, untraced
from .source import Source, fill_zeros

SECTOR = 512
"""A medium gives its bytes in sectors, of 512 at least."""

# After a failure, what is tried next: each read of a bad place can take seconds.
_STEPS = (64 << 10, 4 << 10, SECTOR)

_NEAR = 64 << 10  # bytes that parts may span to be read together


class Gap(NamedTuple):
    """The bytes of the file from `start` up to `end` cannot be read, for the reason `error`.

    It is a `TruncatedImageError` where the file does not have them.
    """

    start: int
    end: int
    error: VhdxError


def read_around(source: Source, offset: int, size: int) -> tuple[bytes, list[Gap]]:
    """The `size` bytes at `offset`, with zeros for what is in a gap, and the gaps in order. For sizes that are bounded:
    they are allocated, whatever the file's size."""
    if source.holds_all(offset, size):  # as a rule, and then nothing more is to be done
        with suppress(TruncatedImageError, UnreadableError):
            return source.read_at(offset, size), []
    buffer = bytearray(size)
    gaps = list(fill_around(source, memoryview(buffer), offset))
    return bytes(buffer), gaps


def read_together(source: Source, parts: Iterable[tuple[int, int]]) -> Callable[[int, int], bytes]:
    """A `read_at` for these parts of the file, offset and size of each. One read gets all, where they are near to each
    other; where it fails, each is read by itself, so that a bad place costs none but those in it."""
    spans = [(offset, offset + size) for offset, size in parts]
    start = min((start for start, _ in spans), default=0)
    size = max((end for _, end in spans), default=0) - start
    if size > _NEAR:
        return source.read_at
    try:
        data = source.read_at(start, size)
    except (TruncatedImageError, UnreadableError):
        return source.read_at
    return lambda offset, size: data[offset - start : offset - start + size]


def fill_around(source: Source, view: memoryview, offset: int) -> Iterator[Gap]:
    """Fill the buffer with the bytes at `offset`, gaps with zeros; each gap comes as it is met, down to the sector.

    Another `OSError` where the file cannot be read for another reason.
    """
    last: Gap | None = None
    for gap in _gaps(source, view, offset):
        if last is not None and last.end == gap.start and type(last.error) is type(gap.error):
            last = Gap(last.start, gap.end, last.error)
            continue
        if last is not None:
            yield last
        last = gap
    if last is not None:
        yield last


def _gaps(source: Source, view: memoryview, offset: int) -> Iterator[Gap]:
    at, end = offset, offset + len(view)
    while at < end:
        held, length = source.holds(at, end - at)
        part = view[at - offset : at - offset + length]
        if held:
            yield from _bad_places(source, part, at)
        else:
            fill_zeros(part)
            message = f"{length} bytes are expected, but the file ends at {source.whole_end:#x}"
            yield Gap(at, at + length, TruncatedImageError(message, file_offset=at))
        at += length


def _bad_places(source: Source, view: memoryview, offset: int) -> Iterator[Gap]:
    end, error = offset + len(view), _failure(source, view, offset)
    if error is None:
        return
    if offset // SECTOR == (end - 1) // SECTOR:
        fill_zeros(view)
        yield Gap(offset, end, error)
        return
    step = next(step for step in _STEPS if step < len(view) or step == SECTOR)
    for start, stop in _aligned(offset, end, step):
        yield from _bad_places(source, view[start - offset : stop - offset], start)


def _failure(source: Source, view: memoryview, offset: int) -> VhdxError | None:
    """What is wrong with these bytes. It may be kept for long, and the frames of a traceback have parts of the view."""
    outer = sys.exception()
    try:
        source.read_into(view, offset)
    except (TruncatedImageError, UnreadableError) as error:
        return untraced(error, outer)
    return None


def _aligned(start: int, end: int, step: int) -> Iterator[tuple[int, int]]:
    """A range cut at multiples of `step`."""
    while start < end:
        stop = min(start // step * step + step, end)
        yield start, stop
        start = stop
