"""Ranges of a remote file through fsspec, each whole or an `OSError` that names the URL.

In: a file system of fsspec and a path in it. Out: the file's size, what tells its versions apart, and bytes.
"""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from typing import Any, TypeVar

from fsspec.asyn import AsyncFileSystem

T = TypeVar("T")

_PAUSES = (0.1, 0.4, 1.6)  # seconds before each further try
# What no further try mends. Others come from the network, or from whatever library the protocol has.
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError, ImportError, ValueError)
# What tells versions of a file apart, as the file systems of fsspec call it.
_VERSION_KEYS = frozenset(
    {"etag", "lastmodified", "last_modified", "last-modified", "mtime", "modified", "updated", "created"}
    | {"md5", "md5hash", "content_md5", "generation", "version_id", "versionid"}
)


_QUERY = re.compile(r"[?#][^\s'\"]*")


class FinalError(OSError):
    """What no further try mends."""


class Transport(ABC):
    """One remote file. Safe for threads. `size` is in bytes; `version` is None where the server tells none."""

    size: int
    version: Hashable

    def __init__(self, name: str) -> None:
        """`name` is what messages call the file."""
        self.name = name
        self._process = os.getpid()

    def get(self, start: int, end: int) -> bytes:
        """The bytes from `start` up to `end`."""
        return self._tried(lambda: whole(self._get(start, end), end - start, start))

    @abstractmethod
    def version_now(self) -> Hashable:
        """Size and version, asked for anew."""

    @abstractmethod
    def _get(self, start: int, end: int) -> bytes:
        """The bytes of a range, perhaps less or more if something is wrong."""

    def _tried(self, work: Callable[[], T]) -> T:
        """What `work` gives; what fails is tried again, a few times, unless that is of no use."""
        for pause in _PAUSES:
            try:
                return self._translated(work)
            except FinalError:
                raise
            except OSError as error:
                if isinstance(error, _FINAL):
                    raise
            time.sleep(pause)
        return self._translated(work)

    def _translated(self, work: Callable[[], T]) -> T:
        """What `work` gives; whatever a library raises becomes an `OSError` that names the file."""
        if os.getpid() != self._process:
            raise FinalError(errno.EINVAL, "opened in another process; start processes by spawn", self.name)
        return translated(work, self.name)


class FileSystemTransport(Transport):
    """A file of any file system of fsspec."""

    def __init__(self, system: Any, path: str, name: str) -> None:
        super().__init__(name)
        self._system, self._path = system, path
        # What is not asynchronous below may have one position for all.
        self._one_by_one = nullcontext() if isinstance(system, AsyncFileSystem) else threading.Lock()
        self.size, self.version = self._tried(self._ask)

    def version_now(self) -> Hashable:
        self._system.invalidate_cache(self._path)
        self._system.invalidate_cache(self._path.rpartition("/")[0])
        return self._tried(self._ask)

    def _ask(self) -> tuple[int, Hashable]:
        info = self._system.info(self._path)
        if info.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if info.get("size") is None:
            raise FinalError(errno.ENOTSUP, "its size is not known")
        known = {key: str(value) for key, value in info.items() if key.lower() in _VERSION_KEYS and value is not None}
        return int(info["size"]), tuple(sorted(known.items())) or None

    def _get(self, start: int, end: int) -> bytes:
        with self._one_by_one:
            data: bytes = self._system.cat_file(self._path, start=start, end=end)
        return data


def translated(work: Callable[[], T], name: str) -> T:
    """What `work` gives; whatever a library raises becomes an `OSError` that names the file."""
    try:
        return work()
    except FinalError as error:
        raise FinalError(error.errno or errno.EPROTO, error.strerror or str(error), name) from error
    except _FINAL as error:
        kind = type(error) if isinstance(error, OSError) else FinalError
        raise kind(getattr(error, "errno", None) or errno.ENOENT, _text(error), name) from error
    except Exception as error:  # of whatever library
        number = getattr(error, "errno", None)
        if number in (None, errno.EIO):  # what a medium's error leads to, sector by sector, is of no use here
            number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.ECONNABORTED
        raise OSError(number, _text(error), name) from error


def whole(data: bytes, size: int, start: int) -> bytes:
    """The bytes of a range, if that is what came."""
    if len(data) != size:
        raise OSError(errno.EPROTO, f"{len(data)} bytes came instead of {size} at file offset {start:#x}")
    return data


def _text(error: BaseException) -> str:
    """What a library says, without the queries of URLs, which may be secret."""
    return getattr(error, "strerror", None) or _QUERY.sub("", f"{type(error).__name__}: {error}").rstrip(": ")
