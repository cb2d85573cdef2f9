"""Constants of the format: GUIDs, sizes, limits, states.

Plain numbers are bytes. Section numbers are those of [MS-VHDX].
"""

from __future__ import annotations

from enum import IntEnum
from uuid import UUID

KB = 1 << 10
MB = 1 << 20
TB = 1 << 40

NIL_GUID = UUID(int=0)

# Header section [2.2]
HEADER_SECTION_SIZE = MB
IDENTIFIER_SIGNATURE = b"vhdxfile"  # 2.2.1
IDENTIFIER_SIZE = 520  # Signature and Creator
HEADER_SIGNATURE = b"head"  # 2.2.2
HEADER_OFFSETS = (64 * KB, 128 * KB)
HEADER_SIZE = 4 * KB
HEADER_VERSION = 1
LOG_VERSION = 0
REGION_TABLE_SIGNATURE = b"regi"  # 2.2.3
REGION_TABLE_OFFSETS = (192 * KB, 256 * KB)
REGION_TABLE_SIZE = 64 * KB
REGION_TABLE_HEADER_SIZE = 16
REGION_ENTRY_SIZE = 32
MAX_REGION_ENTRIES = 2047
CHECKSUM_OFFSET = 4  # of the Checksum field in headers, region tables and log entries

REGION_BAT = UUID("2DC27766-F623-4200-9D64-115E9BFD4A08")
REGION_METADATA = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E")
REGION_NAMES = {REGION_BAT: "BAT", REGION_METADATA: "metadata"}

# Metadata region [2.6]
METADATA_SIGNATURE = b"metadata"
METADATA_TABLE_SIZE = 64 * KB
METADATA_TABLE_HEADER_SIZE = 32
METADATA_ENTRY_SIZE = 32
MAX_METADATA_ENTRIES = 2047
MAX_USER_ITEMS = 1024
MAX_ITEM_LENGTH = MB

ITEM_FILE_PARAMETERS = UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
ITEM_VIRTUAL_DISK_SIZE = UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
ITEM_VIRTUAL_DISK_ID = UUID("BECA12AB-B2E6-4523-93EF-C309E000C746")
ITEM_LOGICAL_SECTOR_SIZE = UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
ITEM_PHYSICAL_SECTOR_SIZE = UUID("CDA348C7-445D-4471-9CC9-E9885251C556")
ITEM_PARENT_LOCATOR = UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
# Not of the specification, but written by Windows: the first two say nothing of the data.
ITEM_CHS_PARAMETERS = UUID("DA02D7BC-3D3A-423C-AC88-2A36AB21479B")
ITEM_PMEM_LABEL = UUID("10E1AE8A-4B7E-4169-A40F-CD70DE928393")
IGNORED_ITEMS = frozenset({ITEM_CHS_PARAMETERS, ITEM_PMEM_LABEL})
ITEM_INCOMPLETE = UUID("71CC85F0-1B69-4E28-9558-C3BF83AE75D3")  # its creation or conversion was never finished

MIN_BLOCK_SIZE = MB
MAX_BLOCK_SIZE = 256 * MB
MAX_VIRTUAL_DISK_SIZE = 64 * TB
SECTOR_SIZES = (512, 4096)

LOCATOR_VHDX = UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")  # 2.6.2.6.1
LOCATOR_HEADER_SIZE = 20
LOCATOR_ENTRY_SIZE = 12
MAX_CHAIN_LENGTH = 256  # files, the child and all its ancestors; our own limit

# Blocks and the BAT [2.4, 2.5]
BAT_ENTRY_SIZE = 8
SECTORS_PER_BITMAP = 1 << 23  # one bit each in a sector bitmap block
SECTOR_BITMAP_SIZE = MB
STATE_MASK = 0x7  # bits 0-2 of a BAT entry
RESERVED_MASK = 0xFFFF8  # bits 3-19
FILE_OFFSET_MASK = ~0xFFFFF & 0xFFFF_FFFF_FFFF_FFFF  # bits 20-63: FileOffsetMB, in place a byte offset


class PayloadState(IntEnum):
    """State of a payload block's BAT entry [2.5.1.1]."""

    NOT_PRESENT = 0
    UNDEFINED = 1
    ZERO = 2
    UNMAPPED = 3
    FULLY_PRESENT = 6
    PARTIALLY_PRESENT = 7


# A block in these keeps the place that it had, while nothing else is put there.
TRIMMED_STATES = (PayloadState.UNDEFINED, PayloadState.UNMAPPED)


class BitmapState(IntEnum):
    """State of a sector bitmap block's BAT entry [2.5.1.2]."""

    NOT_PRESENT = 0
    PRESENT = 6


# Log [2.3]
LOG_SECTOR_SIZE = 4 * KB
LOG_ENTRY_SIGNATURE = b"loge"  # 2.3.1.1
LOG_ENTRY_HEADER_SIZE = 64
LOG_DESCRIPTOR_SIZE = 32
ZERO_DESCRIPTOR_SIGNATURE = b"zero"  # 2.3.1.2
DATA_DESCRIPTOR_SIGNATURE = b"desc"  # 2.3.1.3
DATA_SECTOR_SIGNATURE = b"data"  # 2.3.1.4
LEADING_BYTES = 8  # of an update's 4 KiB, kept in its descriptor
TRAILING_BYTES = 4
LOG_TARGETS_START = REGION_TABLE_OFFSETS[0]  # identifier and headers are never logged
MAX_LOG_ZERO_RANGES = 1 << 21  # of replay, which keeps 16 bytes for each; more than a log of 64 MiB holds descriptors
