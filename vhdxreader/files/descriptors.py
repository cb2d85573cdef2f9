"""What can be asked of a descriptor: what it stands for, how large that is, where it has data.

In: a descriptor, or what `fstat` says of it. Out: plain values.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import unicodedata
from collections.abc import Callable, Hashable, Iterator
from typing import TypeAlias, TypeVar

T = TypeVar("T")
StatOf: TypeAlias = Callable[[str], os.stat_result]

# APFS of macOS has told of holes where data is (coreutils and tar do not ask there, either).
_TELLS_HOLES = hasattr(os, "SEEK_DATA") and sys.platform != "darwin"

# What Linux shows as files, whose reading may wait, take something away or do something to a device.
_KERNEL_FILES = (
    "autofs binder binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts efivarfs functionfs fusectl mqueue nfsd nsfs"
    " openpromfs proc pstore resctrl rpc_pipefs securityfs selinuxfs smackfs spufs sysfs tracefs xenfs"
)


def file_identity(status: os.stat_result) -> tuple[int, int]:
    """The device that a file is on, and its inode; for a block device, which may have many nodes, itself and 0."""
    if stat.S_ISBLK(status.st_mode):
        return status.st_rdev, 0
    return status.st_dev, status.st_ino


def path_key(path: str) -> str:
    """The same for two paths that may be spellings of one."""
    return name_key(os.path.normpath(path))


def name_key(name: str) -> str:
    """The same for names that differ in case, or in how a Mac writes accents."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def real_path(path: str) -> str:
    """The absolute path without links; with them where the system does not say where they lead, as Windows does not of
    every drive."""
    try:
        return os.path.realpath(path)
    except OSError:
        return os.path.abspath(path)


def check_regular(status: os.stat_result) -> None:
    """`OSError` unless it is a regular file; what the kernel makes up when it is read, as below /proc and /sys, is
    none."""
    if not stat.S_ISREG(status.st_mode) or _is_made_up(status.st_dev):
        raise OSError(errno.EINVAL, "not a regular file")


def _is_made_up(device: int) -> bool:
    """By what Linux says is mounted; elsewhere, and where it does not say, nothing is known to be."""
    if os.name != "posix" or os.major(device) != 0:  # these have no device
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            rows = [line.split() for line in mounts]
    except OSError:
        return False
    return any(row[2] == number and row[row.index("-") + 1] in _KERNEL_FILES.split() for row in rows)


def file_state(status: os.stat_result) -> Hashable:
    """What differs as a rule after a file was changed."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def path_identity(path: str | None, stat_of: StatOf = os.stat) -> Hashable:
    """The file that has the path by now; None where none has. A path that is not absolute may mean another folder."""
    if path is None or not os.path.isabs(path):
        return None
    try:
        return file_identity(stat_of(path))
    except OSError:
        return None


def seekable_size(fd: int, name: str) -> int:
    """How many bytes it has; moves the position."""
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    except OSError as error:  # which does not say what it is about
        raise OSError(error.errno, "the file is not seekable", name) from error


def data_ranges(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of a range that are no holes, as far as the system tells; moves the position. What a system says that
    makes no sense is taken for data, which is read as it is."""
    while start < end:
        data, hole = _next_data(fd, start, end)
        if data < hole:
            yield data, hole
        start = hole


def _next_data(fd: int, start: int, end: int) -> tuple[int, int]:
    """The next range of data: it begins at `start` or later, and ends after that; at the end, it may be empty."""
    if _TELLS_HOLES:
        with contextlib.suppress(OSError):
            data = _first_data(fd, start, end)
            if data >= end:
                return end, end
            hole = os.lseek(fd, data, os.SEEK_HOLE)
            if start <= data < hole:
                return data, min(hole, end)
    return start, end


def _first_data(fd: int, start: int, end: int) -> int:
    try:
        return os.lseek(fd, start, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: nothing but a hole up to the file's end. If that is nearer by now, let a read meet it.
        if error.errno != errno.ENXIO or os.fstat(fd).st_size < end:
            raise
        return end


def keeping_position(fd: int, work: Callable[[], T]) -> T:
    """What `work` gives, which moves the position."""
    position = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        return work()
    finally:
        os.lseek(fd, position, os.SEEK_SET)


def make_useless(fd: int) -> None:
    """Have a descriptor stand for a pipe without an end, of which all positioned reads fail: nobody else gets its
    number. Where no descriptor is left for a pipe, nothing changes."""
    with contextlib.suppress(OSError):
        ends = os.pipe()
        os.dup2(ends[0], fd, inheritable=False)
        for end in ends:
            os.close(end)
