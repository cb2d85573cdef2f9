"""Read Microsoft VHDX disk images [MS-VHDX]; never write them.

with vhdxreader.open("disk.vhdx") as disk:
    disk.seek(510)
    disk.read(2)
"""

from __future__ import annotations

from .disk.address_map import Extent, Kind
from .disk.chain import Errors, Parents, Policy, open_disk
from .disk.image import VhdxImage
from .disk.salvage import Lost
from .disk.virtual_disk import VirtualDisk
from .errors import (
    CorruptImageError,
    DirtyLogError,
    Finding,
    NotVhdxError,
    ParentError,
    ParentMismatchError,
    ParentNotFoundError,
    Severity,
    Tried,
    TruncatedImageError,
    UnsupportedImageError,
    VhdxError,
)
from .files.source import PathOrFile, open_source
from .format import header as _header
from .format.parent_locator import ParentLocator
from .tools.check import Report, check

__all__ = [
    "CorruptImageError",
    "DirtyLogError",
    "Extent",
    "Finding",
    "Kind",
    "Lost",
    "NotVhdxError",
    "ParentError",
    "ParentLocator",
    "ParentMismatchError",
    "ParentNotFoundError",
    "Report",
    "Severity",
    "Tried",
    "TruncatedImageError",
    "UnsupportedImageError",
    "VhdxError",
    "VhdxImage",
    "VirtualDisk",
    "check",
    "is_vhdx",
    "open",
]


def open(
    file: PathOrFile,
    *,
    parent: Parents = None,
    parents: Policy = "relative",
    log: str = "replay",
    errors: Errors = "raise",
) -> VirtualDisk:
    """The virtual disk in an image, as a read-only file object.

    `file` is a path, which is opened and closed, or a seekable binary file object, which is borrowed: the image starts
    at its offset 0, it is never closed, and its position is moved by reads.

    `parent` is the parent of a differencing image: a path, a file object, or an opened disk, which stays open for the
    caller to close; a sequence gives the parent, then its parent, and so on. Without it, and for the parent's own
    parents, `parents` says where they may come from:

    - "relative": where the image's relative_path points to from its folder, `..` included;
    - "inside": the same, but never out of the folder of `file`, with symbolic links resolved;
    - "all": also volume and absolute paths where this system can name them;
    - None: from nowhere; reads that need a parent raise `ParentNotFoundError`;
    - a callable: gets the `ParentLocator`, gives a path, a file object, an opened disk or None.

    Only regular files are opened as parents, and only one that matches the child's linkage is used [2.6.2.6.3].

    `log` says what to do with an image that was not closed cleanly: "replay" its log in memory, as the specification
    wants it, "refuse" it with `DirtyLogError`, or "ignore" the log and give the stale state. The file is never written.

    `errors` says what a read does where the image does not hold what it should, or a parent is not open: "raise", or
    "zero" for zeros, which the disk lists in `lost`. What is refused at opening is refused with either; to go without
    a parent that is lost, `parents=None`.

    Raises `NotVhdxError`, `CorruptImageError`, `TruncatedImageError`, `UnsupportedImageError`, `DirtyLogError`;
    `ParentNotFoundError`, `ParentMismatchError`, and `ParentError` for a chain of more than 256 files; and `OSError`
    where the file itself cannot be opened or read.
    """
    return open_disk(file, parent=parent, parents=parents, log=log, errors=errors)


def is_vhdx(file: PathOrFile) -> bool:
    """Whether a file begins with the signature of a VHDX [2.2.1]; says nothing of the rest.

    A file object's position is restored. Raises `OSError` where the file cannot be opened or read.
    """
    source = open_source(file)
    try:
        return _header.is_vhdx(source)
    finally:
        source.close()
