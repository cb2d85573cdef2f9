"""Stands in for crc32c, bit by bit as CRC-32C is defined, where no wheel of it is to be had: under emulation only."""

from __future__ import annotations

TABLE = []
for byte in range(256):
    remainder = byte
    for _ in range(8):
        remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    TABLE.append(remainder)


def crc32c(data, value: int = 0, gil_release_mode: int = -1) -> int:  # noqa: ARG001  # as crc32c's
    remainder = value ^ 0xFFFFFFFF
    for byte in memoryview(data).cast("B"):
        remainder = TABLE[(remainder ^ byte) & 255] ^ remainder >> 8
    return remainder ^ 0xFFFFFFFF
