"""What can be asked of the test image builder: blocks, items, regions, locators, and `Spec`, which holds them
together.

All offsets, lengths and sizes are bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import Flag, auto

from .base import KB, MB, Value, pattern
from .log import Log
from .model import Geometry, Parent

VHDX_LOCATOR = uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")


class Junk(Flag):
    """Where to leave bytes that no right reader looks at.

    STALE    FileOffsetMB of the blocks given in states 0 to 3, which point at junk
    SECTORS  absent sectors of a PARTIALLY_PRESENT block; the last block behind the disk's end
    BITS     sector bitmap bits of blocks that are not PARTIALLY_PRESENT
    GAPS     the header section's reserved part; between metadata items; behind the last entry of the
             metadata table and of the BAT
    """

    NONE = 0
    STALE = auto()
    SECTORS = auto()
    BITS = auto()
    GAPS = auto()
    ALL = STALE | SECTORS | BITS | GAPS


@dataclass(frozen=True)
class Block:
    """One payload block as a test wants it: made by `full`, `partial`, `zeroed` and so on.

    data           from the block's start, or {offset in it: bytes}; None is a recognisable pattern, over the
                   whole of a block up to 4 MiB, else over 64 KiB at the start, in the middle and at the end
    sectors        those whose bitmap bit is 1: numbers in the block, alone or with the bytes of that sector
    file_offset    a place in the file, a multiple of 1 MiB (the test takes care that it is free); in states 0
                   to 3 a stale FileOffsetMB
    reserved_bits  bits 3 to 19 of the BAT entry
    """

    state: int
    data: bytes | Mapping[int, bytes] | None = None
    sectors: Mapping[int, bytes] | Sequence[int] = ()
    file_offset: int | None = None
    reserved_bits: int = 0

    @property
    def in_file(self) -> bool:
        """Whether it takes space in the file. In a reserved state it does, so that nothing but the state is
        wrong.
        """
        return self.state >= 4


def not_present(file_offset: int | None = None) -> Block:
    """State 0: zeros, or the parent's data."""
    return Block(0, file_offset=file_offset)


def undefined(file_offset: int | None = None) -> Block:
    """State 1: zeros."""
    return Block(1, file_offset=file_offset)


def zeroed(file_offset: int | None = None) -> Block:
    """State 2: zeros."""
    return Block(2, file_offset=file_offset)


def unmapped(file_offset: int | None = None) -> Block:
    """State 3: zeros."""
    return Block(3, file_offset=file_offset)


def reserved(state: int = 4) -> Block:
    """State 4 or 5: a read of it must be an error."""
    return Block(state)


def full(data: bytes | Mapping[int, bytes] | None = None, *, file_offset: int | None = None) -> Block:
    """State 6: `data` from the block's start, or {offset in it: bytes}, or a pattern; zeros elsewhere."""
    return Block(6, data, file_offset=file_offset)


def partial(sectors: Mapping[int, bytes] | Iterable[int], *, file_offset: int | None = None) -> Block:
    """State 7: sector numbers in the block, alone (a pattern) or with the bytes of that one sector."""
    kept = dict(sectors) if isinstance(sectors, Mapping) else tuple(sectors)
    return Block(7, sectors=kept, file_offset=file_offset)


def split(disk: bytes, block_size: int = MB) -> dict[int, Block]:
    """The blocks of a disk with the given content; all-zero blocks stay absent."""
    chunks = {n: disk[at : at + block_size] for n, at in enumerate(range(0, len(disk), block_size))}
    return {n: full(chunk) for n, chunk in chunks.items() if chunk.strip(b"\0")}


@dataclass(frozen=True)
class Item:
    """A metadata item beside the usual ones. `offset` is from the region's start; None lets the builder
    choose.
    """

    name: str
    guid: uuid.UUID
    data: bytes
    flags: int = 0
    offset: int | None = None


@dataclass(frozen=True)
class Region:
    """A region beside the BAT and the metadata."""

    name: str
    guid: uuid.UUID
    length: int = MB
    required: int = 0
    data: bytes = b""


@dataclass(frozen=True)
class Locator:
    """A parent locator: (key, value) in table order, also twice; text becomes UTF-16LE, bytes stay raw."""

    pairs: Sequence[tuple[str | bytes, str | bytes]]
    type: uuid.UUID = VHDX_LOCATOR

    @classmethod
    def to(cls, guid: uuid.UUID, relative_path: str) -> Locator:
        """The usual pairs for a parent with this DataWriteGuid."""
        return cls([("parent_linkage", f"{{{guid}}}"), ("relative_path", relative_path.replace("/", "\\"))])


@dataclass(frozen=True)
class Spec:
    """All that can be chosen about an image; `build` turns it into one."""

    kind: str = "dynamic"
    virtual_size: int = 10 * MB
    block_size: int = MB
    sector_size: int = 512
    physical_sector_size: int = 4096

    blocks: Mapping[int, Block] = field(default_factory=dict)
    # by chunk; those not given are 6 where a block needs them, else 0
    bitmap_states: Mapping[int, int] = field(default_factory=dict)
    parent: Parent = None
    locator: Locator | None = None
    log: Log = field(default_factory=Log)

    # `name` goes into patterns and GUIDs, so that two images of the same shape differ
    name: str = ""
    creator: str | bytes = "vhdxreader test builder"
    sequence_numbers: tuple[int, int] = (7, 8)
    # those left None are derived from the rest
    file_write_guid: uuid.UUID | None = None
    data_write_guid: uuid.UUID | None = None
    disk_id: uuid.UUID | None = None

    # in the file; names of extra regions may stand in it too. `offsets` puts one elsewhere, at the test's risk
    order: Sequence[str] = ("log", "metadata", "bat", "junk", "blocks")
    offsets: Mapping[str, int] = field(default_factory=dict)
    # ("block", n) and ("bitmap", chunk); None is a fixed shuffle in which no block follows its predecessor
    block_order: Sequence[tuple[str, int]] | None = None
    # False: the last block is the last in the file and ends with the virtual disk
    pad_last_block: bool = True

    extra_regions: Sequence[Region] = ()
    region_order: Sequence[str] = ("bat", "metadata")
    metadata_length: int = MB
    extra_items: Sequence[Item] = ()
    # in the table; `item_offsets` are from the region's start, `item_data` replaces an item's usual bytes
    item_order: Sequence[str] = ()
    item_offsets: Mapping[str, int] = field(default_factory=dict)
    item_data: Mapping[str, bytes] = field(default_factory=dict)

    junk: Junk = Junk.ALL
    # metadata items and regions that the tables shall lack, by name
    without: Set[str] = frozenset()
    # any field by its name (`image.fields` has them all; `header.` and `region.` stand for both copies), and
    # raw BAT entries: bat[index], block[n], bitmap[chunk]. Checksums are computed afterwards
    overrides: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        beyond = [n for n in self.blocks if n >= self.geometry.blocks]
        if beyond:
            raise ValueError(f"blocks {beyond} do not exist on a disk of {self.geometry.blocks} blocks")

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.kind, self.virtual_size, self.block_size, self.sector_size)

    def guid(self, role: str) -> uuid.UUID:
        """A GUID that differs from role to role and from image to image, but not from run to run."""
        states = sorted((n, block.state) for n, block in self.blocks.items())
        disk = (self.kind, self.virtual_size, self.block_size, self.sector_size, states, self.locator)
        return uuid.UUID(bytes=hashlib.md5(repr((role, self.name, disk)).encode()).digest(), version=4)

    def block(self, n: int) -> Block:
        """Block n; those not given are absent, or on a fixed disk present and zero."""
        return self.blocks.get(n, full(b"") if self.kind == "fixed" else not_present())

    def used(self, n: int) -> int:
        """How much of block n belongs to the virtual disk."""
        return min(self.block_size, self.virtual_size - n * self.block_size)

    def content(self, n: int) -> dict[int, bytes]:
        """The bytes of block n that are its own, by offset in it; the rest is zero, or the parent's."""
        block = self.block(n)
        if block.state == 7:
            size, sectors = self.sector_size, block.sectors
            if not isinstance(sectors, Mapping):
                sectors = {s: pattern(f"{self.name} block {n} sector {s}", size) for s in sectors}
            return {s * size: data.ljust(size, b"\0") for s, data in sectors.items()}
        if block.state != 6:
            return {}
        if block.data is None:
            return self.default_content(n)
        return {0: block.data} if isinstance(block.data, bytes) else dict(block.data)

    def default_content(self, n: int) -> dict[int, bytes]:
        size = self.block_size
        places = {0: size} if size <= 4 * MB else dict.fromkeys((0, size // 2, size - 64 * KB), 64 * KB)
        return {at: pattern(f"{self.name} block {n} at {at:x}", length) for at, length in places.items()}

    def bitmap_state(self, chunk: int) -> int:
        """State of a sector bitmap entry."""
        return self.bitmap_states.get(chunk, 6 if chunk in self.chunks_with_partial_blocks() else 0)

    def chunks_with_partial_blocks(self) -> set[int]:
        """The chunks whose sector bitmap a reader needs."""
        if self.kind != "differencing":
            return set()
        return {n // self.geometry.chunk_ratio for n, block in self.blocks.items() if block.state == 7}
