"""The bottom of the test image builder: a sparse file, named fields, CRC-32C, recognisable bytes.

Nothing here knows what a VHDX image is made of. All offsets and lengths are bytes.
"""

from __future__ import annotations

import io
import os
import struct
import uuid
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import crc32c as _crc32c

KB, MB, GB, TB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

NO_GUID = uuid.UUID(int=0)

JUNK = b"JUNK"
"""What fills every place that no right reader looks at: `assert JUNK not in data` catches one that does."""

Value = int | bytes | uuid.UUID
"""A field's value: bytes are taken as they are (shorter than the field: padded with zeros)."""


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """CRC-32C (Castagnoli) of `data`."""
    return int(_crc32c.crc32c(data))


def align_up(value: int, unit: int) -> int:
    """The smallest multiple of `unit` that is not less than `value`."""
    return -(-value // unit) * unit


def junk(length: int) -> bytes:
    """`length` bytes that must never be read as data."""
    return (JUNK * (length // len(JUNK) + 1))[:length]


@lru_cache(maxsize=64)
def pattern(label: str, length: int) -> bytes:
    """`length` bytes of which each 512 say `label` and their own offset: no two sectors are alike."""
    lines = (f"{label}+{at:08x} ".encode() for at in range(0, length, 512))
    return b"".join((line * (512 // len(line) + 1))[:512] for line in lines)[:length]


class SparseFile:
    """A file in memory of which only the written pieces exist; the rest is holes that read as zeros."""

    def __init__(self, length: int = 0) -> None:
        self.length = length
        self.missing: tuple[tuple[int, int], ...] = ()  # ranges inside `length` that nobody ever wrote
        self._starts: list[int] = []
        self._pieces: dict[int, memoryview] = {}

    def copy(self) -> SparseFile:
        """A file of its own with the same content."""
        other = SparseFile(self.length)
        other.missing = self.missing
        other._starts, other._pieces = list(self._starts), dict(self._pieces)
        return other

    def pieces(self) -> Iterator[tuple[int, memoryview]]:
        """(offset, bytes) of what was written, in ascending order, never overlapping."""
        return ((start, self._pieces[start]) for start in self._starts)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put `data` at `offset`; the file grows as it must."""
        if len(data):
            self._cut(offset, offset + len(data))
            insort(self._starts, offset)
            self._pieces[offset] = memoryview(bytes(data))
            self.length = max(self.length, offset + len(data))

    def zero(self, offset: int, length: int) -> None:
        """Make a hole of any size; the file grows as it must."""
        self._cut(offset, offset + length)
        self.length = max(self.length, offset + length)

    def truncate(self, length: int) -> None:
        """Cut the file, or grow it by a hole."""
        self._cut(length, max(length, self.length))
        self.length = length

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, fewer where the file ends."""
        end = min(offset + length, self.length)
        out = bytearray(max(0, end - offset))
        for start in self._touching(offset, end):
            piece = self._pieces[start]
            a, b = max(start, offset), min(start + len(piece), end)
            out[a - offset : b - offset] = piece[a - start : b - start]
        return bytes(out)

    def tobytes(self) -> bytes:
        """The whole file; for small ones."""
        if self.length > GB:
            raise ValueError(f"a file of {self.length} bytes is for save() or open(), not for tobytes()")
        return self.read(0, self.length)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file with holes where nothing was written; gives the path back."""
        with Path(path).open("wb") as out:
            for start, piece in self.pieces():
                out.seek(start)
                out.write(piece)
            out.truncate(self.length)
        return Path(path)

    def open(self) -> SparseReader:
        """A read-only binary file object over this file."""
        return SparseReader(self)

    def _touching(self, start: int, end: int) -> list[int]:
        """Starts of the pieces that have a byte in [start, end)."""
        if start >= end:
            return []
        first = bisect_left(self._starts, start)
        if first and self._starts[first - 1] + len(self._pieces[self._starts[first - 1]]) > start:
            first -= 1
        return self._starts[first : bisect_left(self._starts, end)]

    def _cut(self, start: int, end: int) -> None:
        """Take out what was written in [start, end)."""
        touching = self._touching(start, end)
        if not touching:
            return
        kept: list[int] = []
        for at in touching:
            piece = self._pieces.pop(at)
            for keep_at, keep in ((at, piece[: max(0, start - at)]), (end, piece[max(0, end - at) :])):
                if len(keep):
                    self._pieces[keep_at] = keep
                    kept.append(keep_at)
        first = bisect_left(self._starts, touching[0])
        self._starts[first : first + len(touching)] = kept


class SparseReader(io.RawIOBase):
    """A `SparseFile` as a read-only, seekable binary file object."""

    def __init__(self, file: SparseFile) -> None:
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.length}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


@dataclass(frozen=True, slots=True)
class Field:
    """Where one named field lies in the file."""

    offset: int
    size: int

    def pack(self, value: int | uuid.UUID) -> bytes:
        """The bytes of a value that fills the field."""
        return value.to_bytes(self.size, "little") if isinstance(value, int) else value.bytes_le


Fields = Sequence[tuple[str, str, Value]]
"""A structure: (field name, struct format of the field, value), one after another without padding."""


@dataclass
class StructureWriter:
    """Writes structures field by field, keeps where each field went, and lets `overrides` replace any of
    them.

    A field's full name is `prefix.name`. `header.version` and `region.bat.length` (no digit) stand for both
    copies.
    """

    file: SparseFile
    overrides: Mapping[str, Value] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def put(self, offset: int, prefix: str, structure: Fields) -> int:
        """Write a structure at `offset`; gives the offset behind it."""
        out = bytearray()
        for name, layout, value in structure:
            full_name = f"{prefix}.{name}" if prefix else name
            packed = pack(layout, self.override(full_name, value))
            self.fields[full_name] = Field(offset + len(out), len(packed))
            out += packed
        self.file.write(offset, out)
        return offset + len(out)

    def override(self, full_name: str, value: Value) -> Value:
        """The value that the test wants instead of `value`, if any."""
        head, dot, rest = full_name.partition(".")
        for name in (full_name, head.rstrip("12") + dot + rest):
            if name in self.overrides:
                self.used.add(name)
                return self.overrides[name]
        return value

    def reject_unused(self) -> None:
        """A mistyped override would make a test pass for nothing."""
        unused = sorted(set(self.overrides) - self.used)
        if unused:
            raise KeyError(f"no such field: {', '.join(unused)}; there are: {', '.join(self.fields)}")


def pack(layout: str, value: Value) -> bytes:
    """`value` in the little-endian struct format `layout`; bytes and GUIDs go in as they are."""
    size = struct.calcsize("<" + layout)
    if isinstance(value, int):
        return value.to_bytes(size, "little") if layout[-1] == "s" else struct.pack("<" + layout, value)
    raw = value.bytes_le if isinstance(value, uuid.UUID) else value
    if len(raw) > size:
        raise ValueError(f"{raw!r} is longer than its field of {size} bytes")
    return raw.ljust(size, b"\0")
