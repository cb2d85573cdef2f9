"""Which files a file object is read from, as far as it shows: what reads from an archive is no reason to replace that.

In: any object. Out: identities of files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Hashable
from typing import Any

from .descriptors import file_identity

# Where objects of io, zipfile, tarfile, gzip, bz2, lzma, tempfile, fsspec and dissect keep what they read from; a disk
# keeps its images, and these their sources.
_BELOW = (
    "raw", "buffer", "fileobj", "_fileobj", "myfileobj", "_fp", "fp", "_file", "file", "_fh", "fh", "fo", "f", "fs",
    "zip", "tar", "disk", "images",
)  # fmt: skip
_MAX_OBJECTS = 256


def files_under(thing: object) -> set[Hashable]:
    """Identities of the files that an object, and what it holds under a usual name, has open."""
    found: set[Hashable] = set()
    seen: list[object] = []  # which keeps them alive: addresses stay their own
    pending = [thing]
    while pending and len(seen) < _MAX_OBJECTS:
        one = pending.pop()
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        found.add(_identity(one))
        pending += one if isinstance(one, (tuple, list)) else [_part(one, name) for name in _BELOW]
    return found - {None}


def _identity(thing: Any) -> Hashable:
    with contextlib.suppress(Exception):  # whatever a stranger's method raises
        return file_identity(os.fstat(thing.fileno()))
    identity = _part(thing, "identity")
    return identity if isinstance(identity, tuple) else None


def _part(thing: object, name: str) -> Any:
    with contextlib.suppress(Exception):
        return getattr(thing, name, None)
    return None
