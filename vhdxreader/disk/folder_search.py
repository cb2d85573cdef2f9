"""Looking for images in folders: all of them, or those with a DataWriteGuid, since Windows renames and moves files.

In: folders. Out: paths. Of a file its signature is read, and for its GUID the headers; symbolic links are not followed.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import index
from uuid import UUID

from ..errors import VhdxError
from ..files.opening import AnyPath, open_regular
from ..format import header as headers
from ..format.parent_locator import ParentLocator
from ..format.rules import Findings
from .parent_search import SEARCH_KEY, Place

MAX_DEPTH = 16
"""How many folders deep images are looked for, unless the caller says otherwise."""

_IMAGE_NAMES = (".vhdx", ".avhdx")
_MAX_IMAGES = 100_000  # that a search for parents looks at


class FolderSearch:
    """The images in some folders and below, by DataWriteGuid; looked at when the first parent is looked for."""

    def __init__(self, folders: Sequence[str | os.PathLike[str]]) -> None:
        self._folders = [os.fspath(folder) for folder in folders]
        self._found: dict[UUID, list[str]] | None = None

    def places(self, locator: ParentLocator) -> Iterator[Place]:
        """The files that have the GUID of the parent, in the folders' order."""
        if self._found is None:
            self._found = self._look()
        for guid in dict.fromkeys((locator.linkage, locator.linkage2)):
            if guid is not None:
                yield from (Place(SEARCH_KEY, path) for path in self._found.get(guid, ()))

    def others(self, locator: ParentLocator, taken: str) -> list[str]:
        """The files, but the one that was taken, that have the GUID which that was taken for."""
        paths = dict.fromkeys(place.path for place in self.places(locator))
        return [path for path in paths if not _is_same(path, taken)]

    def _look(self) -> dict[UUID, list[str]]:
        found: dict[UUID, list[str]] = defaultdict(list)
        for path in islice((path for folder in self._folders for path in find_images(folder)), _MAX_IMAGES):
            guid = _data_write_guid(path)
            if guid is not None:
                found[guid].append(path)
        return found


def find_images(
    path: AnyPath, depth: int = MAX_DEPTH, onerror: Callable[[OSError], object] | None = None
) -> Iterator[str]:
    """The file itself, or the images in a folder and at most `depth` folders below, sorted by name.

    In a folder all regular files count that begin with the signature, whatever they are called, and those that cannot
    be opened but are called as images are. Raises `OSError` for a path that is not there, or a folder that cannot be
    listed; those below are passed over, and the error is given to `onerror`, as by `os.walk`.
    """
    depth, path = index(depth), os.fsdecode(path)
    if not os.path.isdir(path):
        os.stat(path)
        yield path
        return
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            if depth > 0:
                yield from _in_folder(entry.path, depth - 1, onerror)
        elif entry.is_file(follow_symlinks=False) and _looks_like_one(entry.path):
            yield entry.path


def has_image_name(path: str) -> bool:
    """Whether a file is called as Windows calls images of virtual disks."""
    return path.lower().endswith(_IMAGE_NAMES)


def _in_folder(path: str, depth: int, onerror: Callable[[OSError], object] | None) -> Iterator[str]:
    try:
        yield from find_images(path, depth, onerror)
    except OSError as error:  # gone meanwhile, or not for us: the other folders can be looked at
        error.filename = error.filename or path
        if onerror is not None:
            onerror(error)


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:  # gone meanwhile
        return True


def _looks_like_one(path: str) -> bool:
    try:
        with open_regular(path) as source:
            return headers.is_vhdx(source)
    except OSError:
        return has_image_name(path)


def _data_write_guid(path: str) -> UUID | None:
    """Of the current header; None where there is none."""
    try:
        with open_regular(path) as source:
            header = headers.choose_current(headers.read_headers(source), Findings())
    except (OSError, VhdxError):
        return None
    return None if header is None else header.data_write_guid
