"""Disks as files in a folder: a read-only FUSE file system, by mfusepy (`pip install vhdxreader[fuse]`).

An image is shown as a folder with `disk.raw`, `partition1.raw` and so on, and `findings.txt`. It is opened when one
looks into that folder, and only some stay open, so that there may be many. What cannot be read is EIO, and a line in
the log.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from .. import VhdxError, VirtualDisk
from .disk_files import FINDINGS, File, as_text, disk_files

_log = logging.getLogger("vhdxreader.fuse")

MAX_IDLE = 64
"""Images that stay open while nobody has a file of theirs open."""


class FuseMissingError(Exception):
    """FUSE cannot be used here; the message says what is missing and how to get it."""


@dataclass(slots=True)
class _Image:
    """The files of an opened image; `disk` is None where it does not open. `users` have a file of it open."""

    files: dict[str, File]
    disk: VirtualDisk | None
    modified: int  # nanoseconds since 1970
    users: int = 0


class DiskFiles:
    """The operations of the file system, under the names that mfusepy calls them by. Safe for threads."""

    use_ns = True

    def __init__(self, images: Mapping[str, Callable[[], VirtualDisk]]) -> None:
        """`images` open the image that is shown as the folder at a path such as "/disk.vhdx"; "" is the root."""
        self.is_mounted = False
        self._openers = dict(images)
        self._folders = _folders(self._openers)
        self._images: OrderedDict[str, _Image] = OrderedDict()
        self._handles: dict[int, tuple[str, File, _Image]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        """Of a folder or a file."""
        path = path.rstrip("/")
        if path in self._folders:
            return _status(stat.S_IFDIR | 0o555, 0, 0)
        with self._lock:
            image, file = self._find(path)
            return _status(stat.S_IFREG | 0o444, len(file) if isinstance(file, bytes) else file.size, image.modified)

    def readdir(self, path: str, _handle: int) -> list[str]:
        """What a folder holds."""
        path = path.rstrip("/")
        if path not in self._folders:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        names = list(self._folders[path])
        with self._lock:
            names += self._image(path).files if path in self._openers else ()
        return [".", "..", *names]

    def open(self, path: str, flags: int) -> int:
        """A handle for `read`; what would write is refused."""
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        with self._lock:
            image, file = self._find(path)
            number = next(self._numbers)
            self._handles[number] = path, file, image
            image.users += 1
        return number

    def read(self, buffer: memoryview, offset: int, handle: int) -> int:
        """Fill the buffer with the bytes at `offset`, and say how many; less only at the end. EIO for whatever keeps
        them from being read. Nothing has the buffer when this returns."""
        path, file, _ = self._handles[handle]
        try:
            return _copy(file, buffer, offset) if isinstance(file, bytes) else file.preadinto(buffer, offset)
        except (OSError, ValueError) as error:
            _log.error("%s: %d bytes at %#x cannot be read: %s", path, len(buffer), offset, error)
            raise OSError(errno.EIO, os.strerror(errno.EIO), path) from error

    def release(self, _path: str, handle: int) -> int:
        """Nobody has the handle any longer."""
        with self._lock:
            *_, image = self._handles.pop(handle)
            image.users -= 1
        return 0

    def statfs(self, _path: str) -> dict[str, int]:
        """No space is free."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255, "f_flag": getattr(os, "ST_RDONLY", 1)}

    def destroy(self, _path: str) -> None:
        """It was unmounted: close all images."""
        with self._lock:
            for image in self._images.values():
                _close(image)
            self._images.clear()

    def _find(self, path: str) -> tuple[_Image, File]:
        folder, _, name = path.rpartition("/")
        if folder in self._openers:
            image = self._image(folder)
            if name in image.files:
                return image, image.files[name]
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def _image(self, folder: str) -> _Image:
        """The image that is shown as a folder, opened if it was not. The lock is held, as in `_find`.

        One that does not open is not kept: the reason may pass, such as too many open files.
        """
        image = self._images.get(folder)
        if image is None:
            idle = [other for other, image in self._images.items() if not image.users]
            for other in idle[: max(len(idle) - MAX_IDLE + 1, 0)]:
                _close(self._images.pop(other))
            image = _open(self._openers[folder])
            if image.disk is None:
                return image
            self._images[folder] = image
        self._images.move_to_end(folder)
        return image


def mount(operations: DiskFiles, mountpoint: str, **options: Any) -> None:
    """Mount the file system and serve it until it is unmounted; without `foreground` in the background.

    `options` are those of FUSE, such as `foreground`, `allow_other` or `direct_io`. Raises `FuseMissingError` where
    FUSE cannot be used here, and `OSError` where it cannot be mounted.
    """
    library = _library()
    if not os.path.isdir(mountpoint):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), mountpoint)
    try:
        library.Fuse(operations, mountpoint, ro=True, fsname="vhdxreader", max_idle_threads=library.THREADS, **options)
    except RuntimeError as error:  # whose text is a number; FUSE has said more on standard error
        if operations.is_mounted:  # a signal ended it
            return
        raise OSError(errno.EIO, "FUSE could not mount it", mountpoint) from error


def _library() -> ModuleType:
    if "FUSE_LIBRARY_PATH" not in os.environ and (library := find_library("fuse3")):
        os.environ["FUSE_LIBRARY_PATH"] = library  # where there is libfuse 2, too, mfusepy would take that
    try:
        from . import fuse_library
    except ModuleNotFoundError as error:
        raise FuseMissingError("mounting needs the package mfusepy: pip install vhdxreader[fuse]") from error
    except OSError as error:
        raise FuseMissingError("mounting needs libfuse 3 (Debian: apt-get install fuse3)") from error
    if os.path.exists("/dev") and not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise FuseMissingError("mounting needs /dev/fuse, which is not there or not for this user (modprobe fuse)")
    return fuse_library


def _folders(images: Iterable[str]) -> dict[str, dict[str, None]]:
    """All folders, and those in each."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    found[""]
    for path in images:
        found[path]
        while path:
            above, _, name = path.rpartition("/")
            found[above][name] = None
            path = above
    return dict(found)


def _open(opener: Callable[[], VirtualDisk]) -> _Image:
    """The files of an image; of one that cannot be opened only the reason."""
    try:
        disk = opener()
    except (OSError, VhdxError) as error:
        return _Image({FINDINGS: as_text([f"error: the image cannot be opened: {error}"])}, None, 0)
    status = disk.image.source.status()
    return _Image(disk_files(disk), disk, status.st_mtime_ns if status else 0)


def _copy(data: bytes, buffer: memoryview, offset: int) -> int:
    """Fill the buffer as far as there is data."""
    part = data[offset : offset + len(buffer)]
    buffer[: len(part)] = part
    return len(part)


def _close(image: _Image) -> None:
    if image.disk is not None:
        image.disk.close()


def _status(mode: int, size: int, modified: int) -> dict[str, int]:
    times = dict.fromkeys(("st_mtime", "st_ctime", "st_atime"), modified)
    owner = {"st_uid": os.getuid(), "st_gid": os.getgid()} if hasattr(os, "getuid") else {}  # none on Windows
    return {"st_mode": mode, "st_nlink": 1, "st_size": size, "st_blocks": -(-size // 512), **owner, **times}
