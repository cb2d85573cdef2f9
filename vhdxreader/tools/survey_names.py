"""The images that somebody means: in files, folders, globs and URLs.

In: what somebody named. Out: paths and URLs, each once.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..disk.folder_search import MAX_DEPTH, find_images, has_image_name
from ..files.opening import is_url, without_secrets

Named = tuple[str, int]  # a path or URL, and its size in bytes; 0 where that is not known


def largest_first(paths: Iterable[str | os.PathLike[str]]) -> list[Named]:
    """All images that these name, and the folders below that cannot be listed: their records say why. Raises as
    `named_images` does."""
    unread: list[OSError] = []
    found = named_images(paths, onerror=unread.append)
    found.update((error.filename, 0) for error in unread)
    return sorted(found.items(), key=lambda item: -item[1])


def named_images(
    paths: Iterable[str | os.PathLike[str]],
    depth: int = MAX_DEPTH,
    onerror: Callable[[OSError], object] | None = None,
) -> dict[str, int]:
    """All images that these name, paths, URLs or globs, with their sizes in bytes, 0 where that is not known: of
    folders those at most `depth` folders down, as `find_images`, which a folder on a server tells by their names.

    Raises `OSError` for a path that is not there, a folder that is not for us, or a server that lists no image. One
    below that cannot be listed is passed over, and its error given to `onerror`; without that, one on a server raises.
    """
    found: dict[str, int] = {}
    for path in paths:
        name = os.fsdecode(path)
        found.update(_remote_images(name, depth, onerror) if is_url(name) else _local_images(name, depth, onerror))
    return found


def _local_images(path: str, depth: int, onerror: Callable[[OSError], object] | None) -> Iterator[Named]:
    is_glob = glob.has_magic(path) and not os.path.lexists(path)
    for name in _matching(path) if is_glob else [path]:
        try:
            for image in find_images(name, depth, onerror):
                yield image, _size(image)
        except OSError:
            if not is_glob:
                raise
            yield name, 0


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


def _remote_images(url: str, depth: int, onerror: Callable[[OSError], object] | None) -> Iterator[Named]:
    """The image; or those that a glob matches; or those with an image's name in a folder. What is unpacked on the way,
    such as `zip://…::…`, is one image."""
    from ..files.remote_folder import RemoteFolder

    folder = None if "::" in url else RemoteFolder(url)
    if folder is not None and folder.is_glob:
        found = list(folder.matching())
    elif folder is not None and folder.is_folder():
        found = [(name, size) for name, size in folder.files(depth, onerror) if has_image_name(name)]
    else:
        found = [(url, 0)]
    if not found:  # nor does fsspec say why a server lists nothing
        raise FileNotFoundError(errno.ENOENT, "no image is listed there", without_secrets(url))
    yield from found
