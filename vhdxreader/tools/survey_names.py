"""The images that a survey is of: in files, folders, globs and URLs, the largest first.

In: what somebody named. Out: paths and URLs, each once.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..disk.folder_search import MAX_DEPTH, find_images, has_image_name
from ..files.opening import is_url

Named = tuple[str, int]  # a path or URL, and its size in bytes; 0 where that is not known


def largest_first(paths: Iterable[str | os.PathLike[str]]) -> list[Named]:
    """All images that these name. Raises `OSError` for a path that is not there, or a folder that is not for us."""
    found: dict[str, int] = {}
    for path in paths:
        name = os.fsdecode(path)
        found.update(_remote_images(name) if is_url(name) else _local_images(name))
    return sorted(found.items(), key=lambda item: -item[1])


def _local_images(path: str) -> Iterator[Named]:
    is_glob = glob.has_magic(path) and not os.path.lexists(path)
    for name in _matching(path) if is_glob else [path]:
        unread: list[OSError] = []
        try:
            for image in find_images(name, onerror=unread.append):
                yield image, _size(image)
        except OSError:
            if not is_glob:
                raise
            yield name, 0
        yield from ((error.filename, 0) for error in unread)  # their records say why


def _matching(pattern: str) -> list[str]:
    """Not by `glob.glob`, which follows symbolic links round and round."""
    parts = Path(pattern).parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    names = sorted(map(str, Path(*parts[:first]).glob(os.path.join(*parts[first:]))))
    if not names:
        raise FileNotFoundError(errno.ENOENT, "nothing matches", pattern)
    return names


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:  # gone already: its record says so
        return 0


def _remote_images(url: str) -> Iterator[Named]:
    """The image; or those that a glob matches; or those with an image's name in a folder (by HTTP, a URL with a slash
    at its end, if the server lists it). What is unpacked on the way, such as `zip://…::…`, is one image."""
    from ..files.remote import locate_url

    if "::" in url:
        yield url, 0
        return
    system, path = locate_url(url)
    if "*" in path or "[" in path:
        found: dict[str, Any] = system.glob(path, detail=True)
    elif url.endswith("/") or ("http" not in system.protocol and system.isdir(path)):
        found = system.find(path, maxdepth=MAX_DEPTH + 1, detail=True)
        found = {name: info for name, info in found.items() if has_image_name(name)}
    else:
        yield url, 0
        return
    for name, info in found.items():
        if info.get("type") != "directory":
            yield system.unstrip_protocol(name), int(info.get("size") or 0)
