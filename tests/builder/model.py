"""What a right reader must return: two models, naive on purpose, that share only the block arithmetic.

`expected` computes from what the test asked for and never looks at the file; `reread` computes from the
file's bytes, so that it holds for a patched or truncated one too. Both raise `MustFail` where a read must be
an error. All offsets are bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .base import KB, MB, TB, SparseFile

if TYPE_CHECKING:
    from .spec import Spec


class MustFail(Exception):  # noqa: N818  it is what must happen, not an error of ours
    """A right reader must not return data for this range; `offset` is the virtual disk's first bad byte."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"{reason}, at {offset} of the virtual disk")
        self.reason = reason
        self.offset = offset


class HasSpec(Protocol):
    """What a parent must offer; an `Image` does."""

    @property
    def spec(self) -> Spec: ...

    def expected(self, offset: int, length: int) -> bytes: ...


Parent = HasSpec | Callable[[int, int], bytes] | None
"""A parent as the models take it: an image, or a function (offset, length) -> bytes."""


@dataclass(frozen=True)
class Geometry:
    """The block arithmetic, each formula as the format has it."""

    kind: str
    virtual_size: int
    block_size: int
    sector_size: int

    @property
    def chunk_ratio(self) -> int:
        return (1 << 23) * self.sector_size // self.block_size

    @property
    def blocks(self) -> int:
        """Payload blocks."""
        return -(-self.virtual_size // self.block_size)

    @property
    def chunks(self) -> int:
        """Sector bitmap blocks."""
        return -(-self.blocks // self.chunk_ratio)

    @property
    def bat_entries(self) -> int:
        if self.kind == "differencing":
            return self.chunks * (self.chunk_ratio + 1)
        return self.blocks + (self.blocks - 1) // self.chunk_ratio if self.blocks else 0

    def block_index(self, n: int) -> int:
        """Index in the BAT of payload block n."""
        return n + n // self.chunk_ratio

    def bitmap_index(self, chunk: int) -> int:
        """Index in the BAT of a chunk's sector bitmap entry."""
        return chunk * (self.chunk_ratio + 1) + self.chunk_ratio

    def parts(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """(block, start in the block, end in the block) of a range of the virtual disk, clipped to it."""
        end = min(offset + length, self.virtual_size)
        while offset < end:
            n, start = divmod(offset, self.block_size)
            stop = min(self.block_size, start + end - offset)
            yield n, start, stop
            offset += stop - start


def from_parent(parent: Parent, offset: int, length: int) -> bytes:
    """The parent's bytes; zeros behind its end."""
    if parent is None:
        raise MustFail("the parent is needed", offset)
    data = parent(offset, length) if callable(parent) else parent.expected(offset, length)
    return data.ljust(length, b"\0")


# ---- from what the test asked for

Piece = tuple[int, int, bytes | MustFail | None]
"""(start, stop) of the virtual disk and what is there: bytes, an error, or None for what the parent has."""


def expected(spec: Spec, offset: int, length: int, parent: Parent) -> bytes:
    """The virtual disk's bytes as the blocks of `spec`, and below them its parents', define them.

    Goes down the chain in a loop, with a list of the ranges that are still wanted; what no image covers is zero.
    """
    end = max(offset, min(offset + length, spec.virtual_size))
    out = bytearray(end - offset)
    failures: list[MustFail] = []
    wanted = [(offset, end)]
    while wanted:
        below: list[tuple[int, int]] = []
        for at, stop, what in (piece for span in wanted for piece in pieces(spec, *span)):
            if what is None:
                below.append((at, stop))
            elif isinstance(what, MustFail):
                failures.append(what)
            else:
                out[at - offset : stop - offset] = what
        wanted = below
        if parent is None or callable(parent):
            for at, stop in wanted:
                try:
                    out[at - offset : stop - offset] = from_parent(parent, at, stop - at)
                except MustFail as failure:
                    failures.append(failure)
            break
        spec, parent = parent.spec, parent.spec.parent
    if failures:
        raise min(failures, key=lambda failure: failure.offset)
    return bytes(out)


def pieces(spec: Spec, offset: int, end: int) -> Iterator[Piece]:
    """What one image itself says of [offset, end), block by block, up to its end."""
    for n, start, stop in spec.geometry.parts(offset, end - offset):
        state, base = spec.block(n).state, n * spec.block_size
        reason = why_unreadable(spec, n)
        if reason:
            yield base + start, base + stop, MustFail(reason, base + start)
        elif state == 0 and spec.kind == "differencing":
            yield base + start, base + stop, None
        elif state == 7:
            yield from sector_pieces(spec, n, start, stop)
        else:
            yield base + start, base + stop, wanted_content(spec, n).read(start, stop - start)


def why_unreadable(spec: Spec, n: int) -> str:
    """Why a read of block n must be an error, or nothing."""
    state = spec.block(n).state
    if state in (4, 5):
        return f"block {n} is in reserved state {state}"
    if state == 7 and spec.kind != "differencing":
        return f"block {n} is PARTIALLY_PRESENT in a {spec.kind} disk"
    if state == 7 and spec.bitmap_state(n // spec.geometry.chunk_ratio) != 6:
        return f"block {n} has no sector bitmap"
    return ""


def sector_pieces(spec: Spec, n: int, start: int, stop: int) -> Iterator[Piece]:
    """Bytes [start, stop) of a PARTIALLY_PRESENT block: each sector of its own, and what lies between them."""
    base, size = n * spec.block_size, spec.sector_size
    own = wanted_content(spec, n)
    for sector in sorted(spec.block(n).sectors):
        at, end = max(start, sector * size), min(stop, (sector + 1) * size)
        if at < end:
            if start < at:
                yield base + start, base + at, None
            yield base + at, base + end, own.read(at, end - at)
            start = end
    if start < stop:
        yield base + start, base + stop, None


def wanted_content(spec: Spec, n: int) -> SparseFile:
    """Block n as the test gave it."""
    block = SparseFile(spec.block_size)
    for offset, data in spec.content(n).items():
        block.write(offset, data)
    return block


# ---- from the file's own bytes

KNOWN_ITEMS = {
    uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B"): ("file parameters", 8),
    uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8"): ("virtual disk size", 8),
    uuid.UUID("BECA12AB-B2E6-4523-93EF-C309E000C746"): ("virtual disk id", 16),
    uuid.UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F"): ("logical sector size", 4),
    uuid.UUID("CDA348C7-445D-4471-9CC9-E9885251C556"): ("physical sector size", 4),
    uuid.UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C"): ("parent locator", 20),
}


def number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def reread(
    file: SparseFile,
    offsets: Mapping[str, int],
    lengths: Mapping[str, int],
    offset: int,
    length: int | None,
    parent: Parent,
) -> bytes:
    """The virtual disk's bytes as metadata, BAT and bitmaps in `file` define them now."""
    geometry = read_geometry(file, offsets["metadata"], lengths["metadata"])
    if 8 * geometry.bat_entries > lengths["bat"]:
        raise MustFail(f"a BAT region of {lengths['bat']} bytes is too small for {geometry.bat_entries} entries")
    reader = Rereader(file, geometry, offsets, lengths, parent)
    wanted = geometry.virtual_size if length is None else length
    return b"".join(reader.part(n, start, stop) for n, start, stop in geometry.parts(offset, wanted))


def read_items(file: SparseFile, region: int, region_length: int) -> dict[str, bytes]:
    """The known metadata items, cut to their size; `MustFail` for a table that refuses the image."""
    count = number(file.read(region + 10, 2))
    if file.read(region, 8) != b"metadata" or count > 2047:
        raise MustFail("no metadata table")
    items: dict[str, bytes] = {}
    seen: list[tuple[int, int]] = []
    keys: set[tuple[uuid.UUID, int]] = set()
    for at in range(region + 32, region + 32 + 32 * count, 32):
        entry = file.read(at, 32)
        guid, offset, length = uuid.UUID(bytes_le=entry[:16]), number(entry[16:20]), number(entry[20:24])
        user, required = entry[24] & 1, entry[24] & 4
        if (guid, user) in keys:
            raise MustFail(f"metadata item {guid} stands there twice")
        keys.add((guid, user))
        empty = offset == length == 0
        if not empty and (offset < 64 * KB or not length or length > MB or offset + length > region_length):
            raise MustFail(f"metadata item {guid} does not lie in the region")
        if any(offset < b and a < offset + length for a, b in seen):
            raise MustFail(f"metadata item {guid} overlaps another")
        seen += [] if empty else [(offset, offset + length)]
        if guid in KNOWN_ITEMS and not user:
            name, size = KNOWN_ITEMS[guid]
            if length < size:
                raise MustFail(f"metadata item {name} is too short")
            items[name] = file.read(region + offset, size)
        elif required:
            raise MustFail(f"unknown required metadata item {guid}")
    return items


def read_geometry(file: SparseFile, region: int, region_length: int) -> Geometry:
    """The disk's geometry from its metadata, held against the format's limits."""
    items = read_items(file, region, region_length)
    missing = {"file parameters", "virtual disk size", "logical sector size"} - set(items)
    if missing:
        raise MustFail(f"no metadata item {missing}")
    block_size, flags = number(items["file parameters"][:4]), number(items["file parameters"][4:])
    size, sector = number(items["virtual disk size"]), number(items["logical sector size"])
    kind = "differencing" if flags & 2 else "fixed" if flags & 1 else "dynamic"
    if not MB <= block_size <= 256 * MB or block_size & block_size - 1:
        raise MustFail(f"block size {block_size}")
    if sector not in (512, 4096) or size % sector or size > 64 * TB:
        raise MustFail(f"virtual size {size} with sectors of {sector} bytes")
    if kind == "differencing" and "parent locator" not in items:
        raise MustFail("no parent locator")
    return Geometry(kind, size, block_size, sector)


@dataclass
class Rereader:
    """Reads blocks one at a time, looking every single thing up anew."""

    file: SparseFile
    geometry: Geometry
    offsets: Mapping[str, int]
    lengths: Mapping[str, int]
    parent: Parent

    def entry(self, index: int) -> tuple[int, int]:
        """(state, file offset) of a BAT entry."""
        at = self.offsets["bat"] + 8 * index
        if any(start < at + 8 and at < end for start, end in self.file.missing):
            raise MustFail(f"BAT entry {index} was never written")
        word = number(self.file.read(at, 8))
        return word & 7, (word >> 20) * MB

    def present(self, at: int, length: int, where: int) -> int:
        """`at`, if a block there overlaps neither the header section nor a region that is needed."""
        if at < MB:
            raise MustFail(f"a block at {at}, in the header section", where)
        for name in ("log", "bat", "metadata"):
            if at < self.offsets[name] + self.lengths[name] and self.offsets[name] < at + length:
                raise MustFail(f"a block at {at}, on top of the {name}", where)
        return at

    def bytes_at(self, at: int, length: int, where: int) -> bytes:
        """Bytes of a block, all of them."""
        data = self.file.read(at, length)
        gaps = [max(start, at) for start, end in self.file.missing if start < at + length and at < end]
        good = min([len(data), *(start - at for start in gaps)])
        if good < length:
            raise MustFail(f"the file ends at {self.file.length}, or was never written there", where + good)
        return data

    def part(self, n: int, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of payload block n."""
        geometry = self.geometry
        base = n * geometry.block_size
        state, at = self.entry(geometry.block_index(n))
        if state in (4, 5) or (state == 7 and geometry.kind != "differencing"):
            raise MustFail(f"block {n} of a {geometry.kind} disk is in state {state}", base + start)
        if state == 0 and geometry.kind == "differencing":
            return from_parent(self.parent, base + start, stop - start)
        if state < 6:
            return bytes(stop - start)
        self.present(at, min(geometry.block_size, geometry.virtual_size - base), base + start)
        if state == 6:
            return self.bytes_at(at + start, stop - start, base + start)
        return b"".join(self.sectors(n, at, start, stop))

    def sectors(self, n: int, at: int, start: int, stop: int) -> Iterator[bytes]:
        """Bytes [start, stop) of the PARTIALLY_PRESENT block n at `at`, sector by sector."""
        geometry = self.geometry
        size, base = geometry.sector_size, n * geometry.block_size
        chunk = n // geometry.chunk_ratio
        state, bitmap = self.entry(geometry.bitmap_index(chunk))
        if state != 6:
            raise MustFail(f"block {n} has no sector bitmap", base + start)
        self.present(bitmap, MB, base + start)

        def present(at: int) -> bool:
            sector = (base + at) // size - chunk * (1 << 23)
            byte = self.bytes_at(bitmap + sector // 8, 1, base + at)[0]
            return bool(byte >> sector % 8 & 1)

        while start < stop:
            end = min(stop, (start // size + 1) * size)
            if present(start):
                yield self.bytes_at(at + start, end - start, base + start)
            else:
                while end < stop and not present(end):
                    end = min(stop, end + size)
                yield from_parent(self.parent, base + start, end - start)
            start = end
