"""The footer that makes a raw image a fixed VHD, by Microsoft's Virtual Hard Disk Image Format Specification.

In: the disk's size. Out: the 512 bytes behind its last one. All numbers are big-endian.
"""

from __future__ import annotations

import struct
import time
import uuid

from .. import spec

MAX_SIZE = 2040 << 30
"""Bytes of the largest VHD."""

FOOTER_SIZE = 512
_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_CHECKSUM_AT = 64
_EPOCH = 946_684_800  # 2000-01-01, in seconds since 1970
_FIXED = 2
# qemu and libvhdi take the disk's size from the footer, and not from its geometry, where these names stand
_CREATOR, _HOST = b"win ", b"Wi2k"
_CREATOR_VERSION = 0x000A_0000


def padded_size(size: int, *, exact: bool = False) -> int:
    """The size of a disk as a VHD: whole megabytes, as Azure wants them, or with `exact` whole sectors of 512 bytes."""
    unit = 512 if exact else spec.MB
    return -(-size // unit) * unit


def vhd_footer(size: int, *, unique_id: uuid.UUID | None = None, created: float | None = None) -> bytes:
    """The footer of a fixed VHD of `size` bytes. Raises `OverflowError` for more than a VHD can have."""
    if size > MAX_SIZE:
        raise OverflowError(f"a VHD has at most 2,040 GiB, the disk has {size} bytes")
    cylinders, heads, sectors = geometry(size // 512)
    footer = bytearray(
        _FOOTER.pack(
            b"conectix",
            0x2,  # no features; the bit is always set
            0x0001_0000,
            0xFFFF_FFFF_FFFF_FFFF,  # a fixed disk has no other structure
            int((time.time() if created is None else created) - _EPOCH),
            _CREATOR,
            _CREATOR_VERSION,
            _HOST,
            size,
            size,
            cylinders,
            heads,
            sectors,
            _FIXED,
            0,
            (uuid.uuid4() if unique_id is None else unique_id).bytes,
            0,
        )
    )
    struct.pack_into(">I", footer, _CHECKSUM_AT, ~sum(footer) & 0xFFFF_FFFF)
    return bytes(footer)


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors a track of a disk, as the specification's appendix computes them; what does not go
    into them is lost there, not in the size."""
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    tracks = sectors // 17
    heads = max(-(-tracks // 1024), 4)
    track = 17
    if tracks >= heads * 1024 or heads > 16:
        track, heads = 31, 16
        tracks = sectors // track
    if tracks >= heads * 1024:
        track, heads = 63, 16
        tracks = sectors // track
    return tracks // heads, heads, track
