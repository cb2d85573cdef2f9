"""`report_page(file)`: all that can be seen of an image on one page, for whoever keeps it as evidence.

In: a path or file object. Out: HTML.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Hashable, Sequence

from ...disk.chain import Parents, Policy
from ...disk.needed_files import named_files, needed_files
from ...disk.opening import open as open_disk
from ...disk.structures import read_structures
from ...errors import VhdxError
from ...files.opening import AnyPath, PathOrFile, open_source
from ...files.source import Source
from ...files.writing import WholeFile, write_all_at
from ...format.log_replay import Log, LogMode
from ...format.rules import Findings
from ..digests import new_hasher
from .facts import image_facts
from .html import render


def report_page(
    file: PathOrFile,
    *,
    parent: Parents = None,
    parents: Policy = "relative",
    log: Log = "replay",
    deep: bool = False,
    digests: Sequence[str] = (),
    progress: Callable[[int, int], object] | None = None,
) -> str:
    """One HTML page: what the image is, what is wrong with it and what that means, pictures of disk and file, the
    chain, structures, partitions. It needs no script and no network, and has less than 2 MB, whatever the disk's size.

    Works on images that `open` refuses. `file`, `parent`, `parents` and `log` are as in `open`, `deep` and `progress`
    as in `check`; `digests` are algorithms of digests to make of each file of the chain, such as "sha256".

    Raises `ImportError` without jinja2 (`pip install vhdxreader[report]`), `ValueError` for an algorithm that cannot be
    made here, and `OSError` where the file cannot be opened.
    """
    for name in digests:
        new_hasher(name)
    facts = image_facts(file, parent=parent, parents=parents, log=log, deep=deep, digests=digests, progress=progress)
    return render("image.html", **facts)


def write_report(
    file: PathOrFile,
    target: AnyPath,
    *,
    overwrite: bool = False,
    parent: Parents = None,
    parents: Policy = "relative",
    log: Log = "replay",
    deep: bool = False,
    digests: Sequence[str] = (),
    progress: Callable[[int, int], object] | None = None,
) -> None:
    """Write the page that `report_page` makes with the same keywords to a file, which is there whole or not at all.

    Raises what `report_page` does, `FileExistsError` where `target` is there and without `overwrite`, and
    `shutil.SameFileError` where it is a file that the image needs, or names as its parent.
    """
    if not overwrite and os.path.lexists(target):  # before the work; what comes there meanwhile is not replaced, either
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fsdecode(target))
    with open_source(file) as source:
        page = report_page(file, parent=parent, parents=parents, log=log, deep=deep, digests=digests, progress=progress)
        protected = _protected(file, source, parent, parents)
        with WholeFile(target, overwrite=overwrite, protected=protected) as output:
            write_all_at(output.fd, memoryview(page.encode()), 0)


def _protected(file: PathOrFile, source: Source, parent: Parents, parents: Policy) -> set[Hashable]:
    """The files that must not be replaced."""
    try:
        disk = open_disk(file, parent=parent, parents=parents, log="ignore", errors="zero")
    except VhdxError:
        found = read_structures(source, Findings(strict=False, keep=1), LogMode.IGNORE)
        return source.files() | named_files(found.parent_locator, source.path)
    with disk:
        return source.files() | needed_files(disk)
