"""Opening what an image's bytes come from.

In: a path, URL, binary file object or source. Out: a `Source`.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

from .descriptor_source import DescriptorSource
from .descriptors import StatOf, check_regular, seekable_size
from .file_object_source import FileObjectSource, is_file
from .source import Source

AnyPath: TypeAlias = "str | bytes | os.PathLike[str] | os.PathLike[bytes]"
PathOrFile: TypeAlias = "AnyPath | BinaryFile | Source | RemotePath"

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")  # a scheme of one letter is a drive
_SECRETS = re.compile(r"(?<=://)[^/@:]*(:[^/@]*)?@|[?#][^:]*(?=$|::)")

# A pipe must not hang the opening; the flag does nothing to regular files. Not every flag exists everywhere.
OPEN_FLAGS = os.O_RDONLY
for _flag in ("O_BINARY", "O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY"):
    OPEN_FLAGS |= getattr(os, _flag, 0)

_SHARING_VIOLATION = 32  # of Windows; a share that Linux has mounted gives EBUSY or ETXTBSY
_IS_WINDOWS = os.name == "nt"
_HELD = (
    "another program has it for itself, as Hyper-V has the disks of a running machine: make a checkpoint, or a snapshot"
    " of the volume, and read the file that this leaves as it is"
)


class BinaryFile(Protocol):
    """What a file object must have for an image to be read from it; it need not come from the module `io`."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes from the position on; none at the end only."""

    def seek(self, offset: int, whence: Literal[0, 2] = 0, /) -> object:
        """Move the position, from the start (0) or the end (2)."""

    def tell(self) -> int:
        """The position."""


class RemotePath(Protocol):
    """A path and the file system of fsspec that it is in, as a `UPath` of universal_pathlib and fsspec's files are."""

    @property
    def fs(self) -> object:
        """A file system of fsspec."""

    @property
    def path(self) -> str:
        """The path in it, as text."""


def open_source(file: PathOrFile) -> Source:
    """A source over a path or URL, which it opens and closes, or over what it borrows: a seekable binary file object,
    or another source.

    A text is a URL if no such path exists, and it begins with `://` or `::` behind a scheme of more than one letter.
    Anything with fsspec's `fs` and `path` is read by these. Raises `OSError` where the file cannot be opened.
    """
    if isinstance(file, Source):
        from .borrowed_source import BorrowedSource

        return BorrowedSource(file)
    if is_url(file) or _has_file_system(file):
        source = _open_remote(file)
        if source is not None:
            return source
    if isinstance(file, (str, bytes, os.PathLike)):
        return _open_path(file)
    if not hasattr(file, "read") or hasattr(file, "encoding"):
        raise TypeError(f"a path or a binary file object is expected, not {type(file).__name__}")
    if hasattr(file, "seekable") and not file.seekable():
        raise io.UnsupportedOperation("the file object is not seekable")
    return _borrow(file)


def is_url(file: object) -> bool:
    """Whether it is a URL, and no path that exists."""
    return isinstance(file, str) and _URL.match(file) is not None and not os.path.lexists(file)


def without_secrets(file: str) -> str:
    """A URL without what may be a secret, password and query; a path as it is."""
    return _SECRETS.sub("", file) if _URL.match(file) and not os.path.lexists(file) else file


def _has_file_system(file: object) -> bool:
    """Whether fsspec's file system and path are there; what is unpacked on the way is no such thing."""
    system = getattr(file, "fs", None)
    return hasattr(system, "cat_file") and hasattr(file, "path") and getattr(file, "compression", None) is None


def _open_remote(file: Any) -> Source | None:
    """A source by fsspec; None for an open file that is a local one."""
    from .remote import locate_url, open_remote

    system, path, url = (*locate_url(file), file) if isinstance(file, str) else (file.fs, str(file.path), None)
    if "file" not in system.protocol and "local" not in system.protocol:
        return open_remote(system, path, url)
    return None if hasattr(file, "read") and not isinstance(file, os.PathLike) else _open_path(path)


def open_regular(path: AnyPath) -> Source:
    """A source over a path that may name anything: `OSError` unless it is a regular file, before a byte is read.

    A device or a pipe is not even opened, unless it takes the file's place at this very moment.
    """
    check_regular(os.stat(path))
    return _open_path(path, only_regular=True)


def adopt_regular(open_it: Callable[[], int], path: str, stat_of: StatOf) -> Source:
    """As `open_regular`, of what `open_it` gives a descriptor of; what has the path later, `stat_of` says."""
    return _adopt(open_it, path, only_regular=True, stat_of=stat_of)


def name_of(file: object) -> str:
    """What to call a file object in messages."""
    return str(getattr(file, "name", None) or f"<{type(file).__name__}>")


def _borrow(file: Any) -> Source:
    if hasattr(os, "preadv") and is_file(file, io.BufferedReader):  # no writes wait in it
        return DescriptorSource(os.dup(file.fileno()), name_of(file), owner=file)
    return FileObjectSource(file, name_of(file))


def _open_path(path: AnyPath, *, only_regular: bool = False) -> Source:
    return _adopt(lambda: os.open(path, OPEN_FLAGS), os.fsdecode(path), only_regular=only_regular)


def _adopt(open_it: Callable[[], int], name: str, *, only_regular: bool, stat_of: StatOf = os.stat) -> Source:
    try:
        return _source_over(open_it(), name, only_regular=only_regular, stat_of=stat_of)
    except OSError as error:
        if getattr(error, "winerror", None) == _SHARING_VIOLATION or error.errno in (errno.EBUSY, errno.ETXTBSY):
            raise OSError(error.errno, f"{error.strerror}; {_HELD}", name) from error
        if _IS_WINDOWS and error.errno == errno.EACCES and os.path.isfile(name):  # `os.open` says no more there
            raise OSError(error.errno, f"{error.strerror}; perhaps {_HELD}", name) from error
        raise


def _source_over(fd: int, name: str, *, only_regular: bool, stat_of: StatOf) -> Source:
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if only_regular:
            check_regular(status)
        if not hasattr(os, "preadv"):
            seekable_size(fd, name)
    except BaseException:
        os.close(fd)
        raise
    if not hasattr(os, "preadv"):
        return FileObjectSource(io.FileIO(fd), name, path=name)
    return DescriptorSource(fd, name, path=name, stat_of=stat_of)
