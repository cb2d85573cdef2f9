"""How a virtual disk is cut into blocks and chunks, and where the BAT has the entry of each [2.4, 2.5].

The only place that knows how payload blocks and sector bitmap blocks interleave; whatever divides by a chunk ratio asks
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index as plain_int

from .. import spec


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a virtual disk is cut into blocks; sizes in bytes, both powers of two."""

    virtual_disk_size: int
    block_size: int
    sector_size: int
    has_parent: bool

    @classmethod
    def checked(cls, virtual_disk_size: int, block_size: int, sector_size: int, has_parent: bool) -> Geometry:
        """Of values that somebody gave; `ValueError` for what no disk can have [2.6.2]."""
        virtual_disk_size, block_size, sector_size = map(plain_int, (virtual_disk_size, block_size, sector_size))
        if block_size & (block_size - 1) or not spec.MIN_BLOCK_SIZE <= block_size <= spec.MAX_BLOCK_SIZE:
            raise ValueError("a block has a power of two from 1 MiB to 256 MiB")
        if sector_size not in spec.SECTOR_SIZES:
            raise ValueError("a sector has 512 or 4096 bytes")
        if not 0 <= virtual_disk_size <= spec.MAX_VIRTUAL_DISK_SIZE:
            raise ValueError("a disk has 64 TiB at most")
        return cls(virtual_disk_size, block_size, sector_size, has_parent)

    @property
    def chunk_ratio(self) -> int:
        """Payload blocks that one sector bitmap block describes [2.4]."""
        return self.chunk_size // self.block_size

    @property
    def chunk_size(self) -> int:
        """Bytes of the virtual disk that one sector bitmap block describes [2.4]."""
        return spec.SECTORS_PER_BITMAP * self.sector_size

    @property
    def payload_blocks(self) -> int:
        return -(-self.virtual_disk_size // self.block_size)

    @property
    def bitmap_blocks(self) -> int:
        return -(-self.payload_blocks // self.chunk_ratio)

    @property
    def entries(self) -> int:
        """BAT entries that must exist [2.5]: up to the last sector bitmap's if the disk has a parent, else up to the
        last payload block's."""
        if self.has_parent:
            return self.bitmap_blocks * (self.chunk_ratio + 1)
        return self.payload_blocks + max(self.payload_blocks - 1, 0) // self.chunk_ratio

    def payload_index(self, block: int) -> int:
        """Index in the BAT of payload block `block`."""
        block = plain_int(block)
        return block + block // self.chunk_ratio

    def bitmap_index(self, chunk: int) -> int:
        """Index in the BAT of sector bitmap block `chunk`."""
        return plain_int(chunk) * (self.chunk_ratio + 1) + self.chunk_ratio

    def block_at(self, index: int) -> tuple[bool, int]:
        """What entry `index` of the BAT is about: whether a sector bitmap block, and the block's number."""
        chunk, place = divmod(plain_int(index), self.chunk_ratio + 1)
        is_bitmap = place == self.chunk_ratio
        return is_bitmap, chunk if is_bitmap else chunk * self.chunk_ratio + place

    def block_name(self, index: int) -> str:
        """As `block_at`, in words."""
        is_bitmap, number = self.block_at(index)
        return f"sector bitmap block {number}" if is_bitmap else f"payload block {number}"
