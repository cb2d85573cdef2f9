"""Dirty images for the tests of log and replay: what the log does shows in the first sectors of payload blocks."""

from __future__ import annotations

from collections.abc import Sequence

from builder import (
    KB,
    LOG_GUID,
    MB,
    Data,
    Image,
    Log,
    LogEntry,
    dynamic,
    full,
    pattern,
    with_log,
)

import vhdxreader
from vhdxreader import Severity

SECTOR = 4 * KB
DISK = 16 * MB
OLD, NEW, OTHER, LATE = (pattern(name, SECTOR) for name in ("old", "new", "other", "late"))

Entries = Sequence[tuple[int, LogEntry]]


def target(block: int = 0, sector: int = 0) -> int:
    """Where the log's updates go in most tests: a sector of a payload block, whose content shows what was replayed."""
    return IMAGE.block_offset[block] + sector * SECTOR


IMAGE = dynamic(DISK, {n: full({0: OLD}) for n in range(16)})
SIZE = IMAGE.file.length


def wet(entries: Entries, image: Image = IMAGE) -> Image:
    return with_log(image, Log(image.spec.log.length, entries, LOG_GUID))


def first_sectors(image: Image, blocks: Sequence[int] = range(16), **how: str) -> list[bytes]:
    """The first sector of each block, as read."""
    with vhdxreader.open(image.open(), **how) as disk:
        return [disk.pread(SECTOR, n * MB) for n in blocks]


def replayed_blocks(image: Image, **how: str) -> dict[int, bytes]:
    """The blocks whose first sector is not the old one."""
    return {n: data for n, data in enumerate(first_sectors(image, **how)) if data != OLD}


def rules_of(image: Image, **how: str) -> dict[str, Severity]:
    with vhdxreader.open(image.open(), **how) as disk:
        return {finding.rule: finding.severity for finding in disk.image.findings if finding.rule.startswith("log.")}


def same_disk(image: Image, after: Image) -> None:
    """The image reads as the model of replay says, all of it."""
    with vhdxreader.open(image.open()) as disk:
        assert disk.read() == after.reread()


def write(block: int, data: bytes = NEW) -> Data:
    return Data(target(block), data)
