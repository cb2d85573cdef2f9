"""Read Microsoft VHDX disk images [MS-VHDX]; never write them.

with vhdxreader.open("disk.vhdx") as disk:
    disk.seek(510)
    disk.read(2)
"""

from __future__ import annotations

from . import header as _header
from .errors import (
    CorruptImageError,
    DirtyLogError,
    Finding,
    NotVhdxError,
    ParentError,
    ParentMismatchError,
    ParentNotFoundError,
    Severity,
    TruncatedImageError,
    UnsupportedImageError,
    VhdxError,
)
from .extents import Extent, Kind
from .image import VhdxImage
from .source import PathOrFile, open_source
from .stream import VirtualDisk

__all__ = [
    "CorruptImageError",
    "DirtyLogError",
    "Extent",
    "Finding",
    "Kind",
    "NotVhdxError",
    "ParentError",
    "ParentMismatchError",
    "ParentNotFoundError",
    "Severity",
    "TruncatedImageError",
    "UnsupportedImageError",
    "VhdxError",
    "VhdxImage",
    "VirtualDisk",
    "is_vhdx",
    "open",
]


def open(file: PathOrFile, *, log: str = "replay") -> VirtualDisk:
    """The virtual disk in an image, as a read-only file object.

    `file` is a path, which is opened and closed, or a seekable binary file object, which is borrowed: the image starts
    at its offset 0, it is never closed, and its position is moved by reads.

    `log` says what to do with an image that was not closed cleanly: "replay" its log in memory, as the specification
    wants it, "refuse" it with `DirtyLogError`, or "ignore" the log and give the stale state. The file is never written.

    Raises `NotVhdxError`, `CorruptImageError`, `TruncatedImageError`, `UnsupportedImageError`, `DirtyLogError`; and
    `OSError` where the file itself cannot be opened or read.
    """
    source = open_source(file)
    try:
        return VirtualDisk([VhdxImage(source, log=log)])
    except BaseException:
        source.close()
        raise


def is_vhdx(file: PathOrFile) -> bool:
    """Whether a file begins with the signature of a VHDX [2.2.1]; says nothing of the rest.

    A file object's position is restored. Raises `OSError` where the file cannot be opened or read.
    """
    source = open_source(file)
    try:
        return _header.is_vhdx(source)
    finally:
        source.close()
