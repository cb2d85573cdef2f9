"""Opening: what most callers of the package begin with.

In: a path or file object, and where parents may come from. Out: a `VirtualDisk`.
"""

from __future__ import annotations

import os
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

from ..errors import ParentError, VhdxError
from ..files.opening import PathOrFile, is_url, open_source
from ..format import header
from ..format.block_geometry import Geometry
from ..format.log_replay import Log
from ..format.rules import finding
from .chain import Parents, Policy, open_chain
from .image import VhdxImage
from .trimmed_map import show_trimmed
from .virtual_disk import VirtualDisk

Errors: TypeAlias = Literal["raise", "zero"]


def open(
    file: PathOrFile,
    *,
    parent: Parents = None,
    parents: Policy = "relative",
    log: Log = "replay",
    errors: Errors = "raise",
    fill: bytes = b"\0",
    geometry: Geometry | None = None,
    ignore_mismatch: bool = False,
    trimmed: bool = False,
) -> VirtualDisk:
    """The virtual disk in an image, as a read-only file object.

    `file` is a path or URL, which is opened and closed, anything with `fs` and `path` as fsspec has them, or what is
    borrowed: a `Source` or a seekable binary file object, in which the image starts at offset 0. What is borrowed is
    never closed, and its position may be moved by reads.

    `parent` is the parent of a differencing image: a path, a file object, or an opened disk, which stays open for the
    caller to close; a sequence gives the parent, then its parent, and so on. Without it, and for the parent's own
    parents, `parents` says where they may come from:

    - "relative": where the image's relative_path points to from its folder, `..` included;
    - "inside": the same, but never out of the folder of `file`, by no link either: nothing outside is looked at;
    - "all": also volume and absolute paths where this system can name them;
    - a list of folders: as "relative", else any file in them or below that has the parent's DataWriteGuid, whatever it
      is called: Windows renames and moves checkpoints;
    - None: from nowhere; reads that need a parent raise `ParentNotFoundError`;
    - a callable: gets the `ParentLocator`, gives a path, a file object, an opened disk or None.

    Of what an image names only regular files are opened; what the caller names may be a device, as `file` may. Only a
    parent that matches the child's linkage is used [2.6.2.6.3].

    `log` says what to do with an image that was not closed cleanly: "replay" its log in memory, as the specification
    wants it, "refuse" it with `DirtyLogError`, or "ignore" the log and give the stale state. The file is never written.

    `errors` says what happens where the image is damaged, its medium fails, or a parent is missing: "raise", or "zero",
    which gives all that can be had. Then what would refuse the image is a finding; a read gives zeros, or `fill` over
    and over, for what cannot be read, and the disk lists that in `lost`; what can be read, but is not proven to be in
    its place, it lists in `doubtful`. What is in neither is right. Where nothing can be had, the error says what is
    missing; if that is the metadata, `geometry` may say what they should (`VhdxError` for an image that says it).

    `ignore_mismatch` takes the `parent` that was given also where the child was not made from it; all that comes from
    it is `doubtful`.

    With `trimmed`, blocks that were trimmed but keep their place read as their old content, where nothing else was put
    there; as a rule they are zeros. This reads the whole BAT of each file.

    The disk can be copied and pickled, as how to open it again: by its absolute path, or by what its file object is
    copied or pickled as. Threads may share a disk; a process that was forked may, too, unless it is over a file object
    other than a plain file.

    Raises `NotVhdxError`, `CorruptImageError`, `TruncatedImageError`, `UnsupportedImageError`, `DirtyLogError`;
    `ParentNotFoundError`, `ParentPermissionError`, `ParentMismatchError`, and `ParentError` for a chain of more than
    256 files; and `OSError` where the file itself cannot be opened or read, or where too many files are open.
    """
    if errors not in get_args(Errors):
        raise ValueError(f"errors is {errors!r}, expected one of {get_args(Errors)}")
    salvage = errors == "zero"
    if geometry is not None and not salvage:
        raise ValueError('a geometry is only taken with errors="zero"')
    if geometry is not None:
        geometry = Geometry.checked(
            geometry.virtual_disk_size, geometry.block_size, geometry.sector_size, geometry.has_parent
        )
    if not fill:
        raise ValueError("fill is empty")
    chain = open_chain(
        file,
        parent=parent,
        parents=parents,
        log=log,
        salvage=salvage,
        geometry=geometry,
        ignore_mismatch=ignore_mismatch,
    )
    if chain.error is not None and (not salvage or chain.error.rule == "parent.unexpected"):
        chain.discard()
        try:
            raise chain.error
        finally:
            del chain  # which has the error, whose traceback has this frame: the caller's file would live on
    if chain.error is not None:
        _add_missing_parent(chain.opened[-1], chain.error)
    if trimmed:
        show_trimmed(chain.opened, lenient=salvage)
    disk = VirtualDisk(chain.opened, chain.borrowed, salvage=salvage, fill=bytes(fill))
    disk.opened_by = partial(
        open,
        _lasting(file),
        parent=_lasting(parent),
        parents=parents,
        log=log,
        errors=errors,
        fill=fill,
        geometry=geometry,
        ignore_mismatch=ignore_mismatch,
        trimmed=trimmed,
    )
    return disk


def _add_missing_parent(child: VhdxImage, error: VhdxError) -> None:
    """A finding that there is no parent, where there should be one."""
    rule = (error.rule if isinstance(error, ParentError) else None) or "parent.not_found"
    child.findings += (finding(rule, error.message, error.file_offset, child.name),)


def _lasting(file: Any) -> Any:
    """The same file, or sequence of files, wherever the working directory is by then."""
    if isinstance(file, (str, bytes, os.PathLike)) and not is_url(file) and not hasattr(file, "fs"):
        return os.path.abspath(os.fspath(file))
    return [_lasting(each) for each in file] if isinstance(file, (list, tuple)) else file


def is_vhdx(file: PathOrFile) -> bool:
    """Whether a file begins with the signature of a VHDX [2.2.1]; says nothing of the rest.

    A file object's position is restored. Raises `OSError` where the file cannot be opened or read.
    """
    with open_source(file) as source:
        return header.is_vhdx(source)
