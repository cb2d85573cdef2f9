"""Writing: a new file that is there whole or not at all, and all bytes of a buffer to whatever takes bytes.

In: a path, a descriptor or a file object. Out: a file that gets its name when it is whole and on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
from collections.abc import Collection, Hashable, Iterator
from types import TracebackType
from typing import BinaryIO

from ..errors import VhdxError
from .descriptors import path_key, real_path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


class WholeFile:
    """A context in which `fd` is written to; at its end the file gets its name, after an error it is removed.

    Until then it has the name `temporary`, which begins with ".vhdxreader-", in the same folder. A symbolic link is
    followed. What has the name already is replaced only with `overwrite`, by one with the same permissions; never where
    it is not a regular file, nor where its device and inode are in `protected`, or its path as `path_key` makes it.
    An error that does not say which file it is about is about this one.
    """

    def __init__(
        self,
        path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
        *,
        overwrite: bool,
        protected: Collection[Hashable],
    ) -> None:
        name = os.fsdecode(path)
        if not os.path.basename(name):
            raise IsADirectoryError(errno.EISDIR, "a file is to be written, not a folder", name)
        self.path = real_path(name)
        self._overwrite = overwrite
        self._spelled = os.path.abspath(name)
        replaced = self._check_free(protected)
        self._folder = os.path.dirname(self.path)
        self.temporary = os.path.join(self._folder, f".vhdxreader-{os.urandom(8).hex()}.part")
        self._replaced_mode = None if replaced is None else replaced.st_mode & 0o777
        self.fd = -1

    def __enter__(self) -> WholeFile:
        try:
            self._create()
        except BaseException:  # also an interrupt that came when the file was there already
            with contextlib.suppress(OSError):
                os.unlink(self.temporary)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with naming(self.path):
            try:
                self._end(is_whole=kind is None)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.temporary)
        if kind is None:
            _sync_folder(self._folder)
        elif isinstance(error, OSError):
            add_name(error, self.path)

    def _end(self, *, is_whole: bool) -> None:
        try:
            if is_whole:
                os.fsync(self.fd)
        finally:
            os.close(self.fd)
        if is_whole:
            self._name()

    def _create(self) -> None:
        mode = self._replaced_mode
        try:
            self.fd = os.open(self.temporary, _FLAGS, 0o666 if mode is None else mode)
        except OSError as error:  # the temporary name would tell nobody anything
            raise OSError(error.errno, error.strerror, self.path) from None
        if mode is not None and hasattr(os, "fchmod"):
            with contextlib.suppress(OSError):  # without, it is open to fewer only: the umask took them away
                os.fchmod(self.fd, mode)

    def _check_free(self, protected: Collection[Hashable]) -> os.stat_result | None:
        """What is there and may be replaced; None where nothing is."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return None
        keys = {(status.st_dev, status.st_ino), path_key(self.path), path_key(self._spelled)}
        if not keys.isdisjoint(protected):
            raise shutil.SameFileError(f"{self.path} is the image itself, or one that it needs")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", self.path)
        if not self._overwrite:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path)
        return status

    def _name(self) -> None:
        if self._overwrite:
            os.replace(self.temporary, self.path)
            return
        try:
            os.link(self.temporary, self.path)  # unlike a renaming, it never replaces what came there meanwhile
        except FileExistsError as error:
            raise FileExistsError(error.errno, error.strerror, self.path) from None
        except (OSError, AttributeError):  # a file system without hard links, or a system
            self._check_free(())
            os.rename(self.temporary, self.path)


def _sync_folder(path: str) -> None:
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def add_name(error: OSError, name: str) -> None:
    """Say which file an error of the system is about, unless it does: those of writing do not."""
    is_ours = isinstance(error, VhdxError) or error.errno is None
    if not is_ours and not isinstance(error.filename, (str, bytes)):  # it may be a descriptor
        error.filename = name


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """A context in which errors of the system are about a file."""
    try:
        yield
    except OSError as error:
        add_name(error, name)
        raise


def write_all(file: BinaryIO, data: memoryview) -> None:
    """Write all of it: a raw file, such as the standard output of `python -u`, may take only a part at once.

    Raises `BlockingIOError` where the file takes nothing without a wait. An `OSError` names the file.
    """
    with naming(str(getattr(file, "name", type(file).__name__))):
        _write_all(file, data)


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while len(data):
        count: int | None = file.write(data)
        if count is None and not isinstance(file, io.RawIOBase):
            return  # not of the io module, and does not count: it has no other way than to take all
        if not count:
            raise BlockingIOError(errno.EAGAIN, "the target takes no more data without a wait")
        data = data[count:]


def write_all_at(fd: int, data: memoryview, offset: int) -> None:
    """Write all of it at an offset of a descriptor."""
    os.lseek(fd, offset, os.SEEK_SET)
    while len(data):
        data = data[os.write(fd, data) :]
