"""What a volume holds, by its signature: a file system, encryption, or a member of something larger.

In: positioned reads and where the volume begins. Out: a word for it, or None. Nothing is verified but the signature.
"""

from __future__ import annotations

from collections.abc import Callable

_LOOKED_AT = 0x10048  # bytes: the furthest signature, btrfs's, ends there

# Offset from the volume's start, the bytes there, and what they mean; the first that fits decides.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (3, b"-FVE-FS-", "BitLocker"),
    (0xA0, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"), "BitLocker"),  # GUID of a volume encrypted by Windows 7
    (0x1A8, bytes.fromhex("3bd66749292ed84a8399f6a339e3d001"), "BitLocker"),  # of BitLocker To Go
    (3, b"NTFS    ", "NTFS"),
    (3, b"ReFS\0\0\0\0", "ReFS"),
    (3, b"EXFAT   ", "exFAT"),
    (0x52, b"FAT32   ", "FAT32"),
    (0x36, b"FAT16   ", "FAT16"),
    (0x36, b"FAT12   ", "FAT12"),
    (0, b"LUKS\xba\xbe", "LUKS"),
    (0, b"XFSB", "XFS"),
    (0x10040, b"_BHRfS_M", "btrfs"),
    (0xFF6, b"SWAPSPACE2", "swap"),
    (0x8001, b"CD001", "ISO 9660"),
    (0, b"hsqs", "squashfs"),
)
_LVM_SECTORS = range(0, 4 * 512, 512)
_EXT_FEATURES = 0x45C  # of the superblock: compatible, incompatible and read-only compatible ones
_HAS_JOURNAL, _EXT4_INCOMPATIBLE = 0x4, 0x2C0  # extents, 64bit and flex_bg


def find_volume(pread: Callable[[int, int], bytes], offset: int, length: int) -> str | None:
    """What the `length` bytes at `offset` hold, such as "NTFS" or "ext4"; None for what has no known signature.

    Raises what the read of the volume's first 66 KiB raises.
    """
    return volume_of(pread(min(length, _LOOKED_AT), offset))


def volume_of(data: bytes) -> str | None:
    """The same of the volume's first bytes."""
    for at, signature, name in _SIGNATURES:
        if data.startswith(signature, at):
            return name
    if any(data.startswith(b"LABELONE", at) and data.startswith(b"LVM2 001", at + 24) for at in _LVM_SECTORS):
        return "LVM"
    if data.startswith(b"\x53\xef", 0x438):
        return _ext(data[_EXT_FEATURES : _EXT_FEATURES + 8])
    return None


def is_boot_sector(sector: bytes) -> bool:
    """Whether a sector is the first of a volume, whose last bytes are a partition table's only by their signature."""
    return volume_of(sector) in _BOOT_SECTORS


_BOOT_SECTORS = frozenset({"BitLocker", "NTFS", "ReFS", "exFAT", "FAT32", "FAT16", "FAT12"})


def _ext(features: bytes) -> str:
    compatible, incompatible = (int.from_bytes(features[at : at + 4], "little") for at in (0, 4))
    if incompatible & _EXT4_INCOMPATIBLE:
        return "ext4"
    return "ext3" if compatible & _HAS_JOURNAL else "ext2"
