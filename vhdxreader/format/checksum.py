"""CRC-32C (Castagnoli) of a structure whose Checksum field counts as zero."""

from __future__ import annotations

from ..spec import CHECKSUM_OFFSET

try:
    from crc32c import crc32c
except ModuleNotFoundError as error:
    from .parser_state import NOT_BUILT

    raise ImportError(NOT_BUILT.format(error), name=error.name) from None

_ZEROS = bytes(4)


def checksum(structure: bytes | memoryview) -> int:
    """CRC-32C over the whole structure, its four bytes at `CHECKSUM_OFFSET` taken as zero [2.2.2, 2.2.3, 2.3.1.1]."""
    crc = crc32c(_ZEROS, crc32c(structure[:CHECKSUM_OFFSET]))
    return crc32c(structure[CHECKSUM_OFFSET + 4 :], crc)


def extended(crc: int, more: bytes | memoryview) -> int:
    """`checksum` of a structure whose first piece gave `crc`, over its next piece."""
    return crc32c(more, crc)


def stored_checksum(structure: bytes | memoryview) -> int:
    """The Checksum field itself."""
    return int.from_bytes(structure[CHECKSUM_OFFSET : CHECKSUM_OFFSET + 4], "little")
