"""What lies in a folder and below, reached without leaving it: no link leads out, also none that appears meanwhile.

In: a folder, and paths in it as text. Out: what the system says of a file, or a `Source`. Of places outside, nothing is
ever asked.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .descriptors import check_regular, file_identity, real_path
from .opening import OPEN_FLAGS, adopt_regular
from .source import Source

# Whether a folder can be opened, and a name be looked up in it: everywhere but on Windows.
_HAS_FOLDERS = {os.open, os.stat, os.readlink} <= os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0) | _NO_LINK | getattr(os, "O_CLOEXEC", 0)
_WAY = _FOLDER | getattr(os, "O_PATH", 0)  # to go through a folder, it need not be readable

_MAX_STEPS = 512  # of one way, those of links included; 260 characters of Windows are 130 names


class _End(NamedTuple):
    """Of a way: a name in an open folder, or a path where folders cannot be opened; and the way to it without links."""

    folder: int | None
    name: str
    status: os.stat_result
    way: tuple[str, ...]


class Beneath:
    """A folder, and what lies in it. Links that stay in it are followed; where one does not, or a path, it is `OSError`
    with `EXDEV`, whatever is there.

    On Windows, where no folder can be held open for this, no link is followed at all; one that takes a folder's place
    between the look and the opening is not noticed there.
    """

    def __init__(self, folder: str) -> None:
        self._spelled = os.path.abspath(folder)
        self._root = real_path(folder)

    def __contains__(self, path: str) -> bool:
        """Whether an absolute path, as text, leads to something below."""
        return bool(self._names(path))

    def stat(self, path: str) -> os.stat_result:
        """As `os.stat`."""
        with self._reached(path) as end:
            return end.status

    def realpath(self, path: str) -> str:
        """The path without links; as it is where it leads to nothing here."""
        try:
            with self._reached(path) as end:
                return os.path.join(self._root, *end.way)
        except (OSError, ValueError):
            return path

    def listdir(self, path: str) -> list[str]:
        """As `os.listdir`."""
        with self._reached(path) as end:
            if end.folder is None:
                return os.listdir(end.name)
            fd = os.open(end.name, _FOLDER, dir_fd=end.folder)
        try:
            return os.listdir(fd)
        finally:
            os.close(fd)

    def open(self, path: str) -> Source:
        """The regular file at the path, as `open_regular` does it."""
        return adopt_regular(lambda: self._open(path), path, self.stat)

    def _open(self, path: str) -> int:
        with self._reached(path) as end:
            check_regular(end.status)
            fd = os.open(end.name, OPEN_FLAGS | _NO_LINK, dir_fd=end.folder)
        if file_identity(os.fstat(fd)) != file_identity(end.status):
            os.close(fd)
            raise OSError(errno.EAGAIN, "another file took its place while it was opened")
        return fd

    @contextmanager
    def _reached(self, path: str) -> Iterator[_End]:
        names = self._names(path)
        if names is None:
            raise _leaves()
        if not _HAS_FOLDERS:
            yield self._reach_without_links(names)
            return
        walk = _Walk(self._root, names, self._names)
        try:
            yield walk.run()
        finally:
            walk.close()

    def _names(self, path: str) -> list[str] | None:
        """The way from the folder, however that is spelled, to an absolute path; None for one that is not in it."""
        for folder in (self._spelled, self._root):
            if path == folder:
                return []
            if path.startswith(os.path.join(folder, "")):
                return path[len(folder) :].split(os.sep)
        return None

    def _reach_without_links(self, names: Sequence[str]) -> _End:
        path = self._root
        status = os.lstat(path)
        for name in names:
            path = os.path.join(path, name)
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode) or _is_junction(status):
                raise _leaves()
        return _End(None, path, status, tuple(names))


class _Walk:
    """A way from a folder, step by step."""

    def __init__(self, root: str, names: Sequence[str], names_of: Callable[[str], Sequence[str] | None]) -> None:
        self._names_of = names_of  # the way to an absolute path
        self._way: list[str] = []
        self._rest: list[str] = []  # backwards
        self._add(names)
        self._top = os.open(root, _WAY)
        try:
            self._here = os.dup(self._top)
        except OSError:
            os.close(self._top)
            raise

    def run(self) -> _End:
        """Go to the end, which is good until `close`."""
        for _ in range(_MAX_STEPS):
            end = self._step()
            if end is not None:
                return end
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def close(self) -> None:
        os.close(self._top)
        os.close(self._here)

    def _step(self) -> _End | None:
        name = self._rest.pop() if self._rest else "."
        if name == "..":
            self._go_up()
            return None
        status = os.stat(name, dir_fd=self._here, follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            self._follow(os.readlink(name, dir_fd=self._here))
        elif self._rest:
            self._enter(name, self._here)
            self._way.append(name)
        else:
            return _End(self._here, name, status, (*self._way, *([] if name == "." else [name])))
        return None

    def _go_up(self) -> None:
        """By the way from the top: the folder that is above this one may be another by now."""
        if not self._way:
            raise _leaves()
        self._start_again(self._way[:-1])

    def _follow(self, target: str) -> None:
        if not os.path.isabs(target):
            self._add(target.split(os.sep))
            return
        names = self._names_of(target)
        if names is None:
            raise _leaves()
        self._start_again(names)

    def _start_again(self, names: Sequence[str]) -> None:
        self._enter(".", self._top)
        self._way.clear()
        self._add(names)

    def _add(self, names: Sequence[str]) -> None:
        self._rest += [name for name in reversed(names) if name not in ("", ".")]

    def _enter(self, name: str, above: int) -> None:
        folder = os.open(name, _WAY, dir_fd=above)
        os.close(self._here)
        self._here = folder


def _leaves() -> OSError:
    return OSError(errno.EXDEV, "it is not in the folder")


def _is_junction(status: os.stat_result) -> bool:
    """What Windows has beside links."""
    tag = getattr(status, "st_reparse_tag", None)
    return tag is not None and tag == getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", 0)
