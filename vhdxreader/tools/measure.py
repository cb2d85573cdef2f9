"""What an image takes on disk, and what a copy of its virtual disk would take.

In: an opened disk. Out: sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..disk.image import VhdxImage
from ..disk.virtual_disk import VirtualDisk
from ..files.disk_usage import shared_bytes
from ..plain_values import plain
from .vhd import padded_size, vhd_footer


@dataclass(frozen=True, slots=True)
class FileUse:
    """What one file of the chain takes: `size` is its length, `allocated` what the file system gave it, None where that
    cannot be known, and `shared` how much of it other files have, too (reflinks)."""

    filename: str
    size: int
    allocated: int | None
    shared: int | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "filename": plain(self.filename),
            "file_size": self.size,
            "allocated_size": self.allocated,
            "shared_size": self.shared,
        }


@dataclass(frozen=True, slots=True)
class Measurement:
    """`required` bytes are needed for a copy of the disk in the format, `fully_allocated` where it has no holes."""

    format: str
    virtual_size: int
    required: int
    fully_allocated: int
    files: tuple[FileUse, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "format": self.format,
            "virtual_size": self.virtual_size,
            "required_size": self.required,
            "fully_allocated_size": self.fully_allocated,
            "files": plain(self.files),
        }


def measure(disk: VirtualDisk, format: str = "raw") -> Measurement:  # as `open` calls it
    """What a copy as "raw" or (fixed) "vhd" needs, and what each file of the chain takes.

    Raises `ValueError` for another format, and `OverflowError` for a disk over 2,040 GiB as a VHD.
    """
    data = sum(extent.length for extent in disk.extents() if not extent.zero)
    if format not in ("raw", "vhd"):
        raise ValueError(f"format is {format!r}, expected 'raw' or 'vhd'")
    full, footer = disk.size, 0
    if format == "vhd":
        full = padded_size(disk.size)
        footer = len(vhd_footer(full))
    files = tuple(_file_use(image) for image in disk.images)
    return Measurement(format, disk.size, data + footer, full + footer, files)


def _file_use(image: VhdxImage) -> FileUse:
    blocks = None if image.path is None else getattr(image.source.status(), "st_blocks", None)
    file = None if image.path is None else image.source.file_of(0, 0)
    allocated = None if blocks is None else blocks * 512
    return FileUse(image.name, image.file_size, allocated, None if file is None else shared_bytes(file.fd))
