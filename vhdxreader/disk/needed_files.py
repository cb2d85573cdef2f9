"""What must never be written over: the files that images are read from, and those that they name as their parents.

In: opened images. Out: identities of files, and paths as `path_key` makes them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable, Iterator
from typing import Protocol

from ..files.beneath import Beneath
from ..files.descriptors import file_identity, path_key
from ..format.parent_locator import ParentLocator
from .image import VhdxImage
from .parent_search import places

_LONG = "\\\\?\\"  # how Windows begins a path that is taken as it is


class Disk(Protocol):
    """Whatever has images."""

    @property
    def images(self) -> tuple[VhdxImage, ...]:
        """The files of a chain."""


def needed_files(disk: Disk) -> set[Hashable]:
    """The `protected` files of `WholeFile` for what is written from a disk: those that its images are read from, also
    where they are parts of an archive, and those that they name as parents, opened or not."""
    found: set[Hashable] = set()
    for image in disk.images:
        found |= image.files()
        found |= named_files(image.parent_locator, image.path)
    return found


def named_files(locator: ParentLocator | None, path: str | None) -> set[Hashable]:
    """Those that an image at a path names. In its own folder they are looked for; elsewhere they go by their paths, and
    nothing is asked of the system."""
    return set() if locator is None or path is None else set(_named(locator, os.path.abspath(path)))


def _named(locator: ParentLocator, path: str) -> Iterator[Hashable]:
    folder = Beneath(os.path.dirname(path))
    for place in places(locator, path, "all", folder):
        yield path_key(place.path.removeprefix(_LONG))
        with contextlib.suppress(OSError, ValueError):
            yield file_identity(folder.stat(place.path))
