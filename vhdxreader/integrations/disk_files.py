"""A disk as a few files: what integrations that show files have in common.

In: an opened disk. Out: the disk, its partitions and its findings by file name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from .. import Partition, PartitionStream, PartitionTable, VirtualDisk

File: TypeAlias = "VirtualDisk | PartitionStream | bytes"

DISK = "disk.raw"
FINDINGS = "findings.txt"


def disk_files(disk: VirtualDisk) -> dict[str, File]:
    """`disk.raw`, `partition1.raw` and so on by their numbers, and `findings.txt` with all that was tolerated."""
    files: dict[str, File] = {DISK: disk}
    findings = [f"{image.name}: {finding}" for image in disk.images for finding in image.findings]
    try:
        table = disk.partitions()
    except OSError as error:
        findings.append(f"error: the partition table cannot be read: {error}")
    else:
        findings += [str(finding) for finding in table.findings]
        files |= _partition_files(disk, table)
    return {**files, FINDINGS: as_text(findings)}


def partition_files(disk: VirtualDisk) -> dict[str, PartitionStream]:
    """`partition1.raw` and so on; none where the partition table cannot be read."""
    try:
        return _partition_files(disk, disk.partitions())
    except OSError:
        return {}


def _partition_files(disk: VirtualDisk, table: PartitionTable) -> dict[str, PartitionStream]:
    parts = [part for part in table.partitions if not part.extended]
    return {f"partition{part.number}.raw": PartitionStream(disk, part) for part in parts}


def new_stream(file: VirtualDisk | PartitionStream) -> PartitionStream:
    """The same bytes with a position of its own; closing it closes nothing else."""
    if isinstance(file, PartitionStream):
        return PartitionStream(file.disk, file.partition)
    return PartitionStream(file, Partition(0, 0, file.size, "", None))


def as_text(lines: Iterable[str]) -> bytes:
    """Lines of text that may come from an image, as a file."""
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
