"""Whether another process holds a lock on a file that says it is being written. Only asks: nothing is locked here.

In: a descriptor. Out: words. Linux only; elsewhere nothing can be told.
"""

from __future__ import annotations

import os
import struct
import sys

if sys.platform == "linux":
    import fcntl

_FLOCK = "hhqqi0q"  # l_type, l_whence, l_start, l_len, l_pid as C lays them out; on 32 bits it is flock64
# QEMU locks the byte at 100 plus a number for each permission that it uses: 1 is to write, 3 to resize. All of its
# locks are shared ones, so that a second user can see them.
_QEMU_WRITES = (101, 103)


def writer_lock(fd: int) -> str:
    """Who is known by a lock to have the file open for writing; empty if nobody is."""
    if sys.platform != "linux":
        return ""
    try:
        if _conflicts(fd, fcntl.F_RDLCK, 0, 0):
            return "another process holds an exclusive lock on it"
        if any(_conflicts(fd, fcntl.F_WRLCK, at, 1) for at in _QEMU_WRITES):
            return "QEMU, or a program with locks like QEMU's, has it open for writing"
    except OSError:  # a file system without locks
        return ""
    return "another process holds an exclusive lock (flock) on it" if _is_flocked(fd) else ""


def _conflicts(fd: int, kind: int, start: int, length: int) -> bool:
    """Whether somebody's lock is in the way of one of this kind; a length of 0 is up to the end."""
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, asked)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _is_flocked(fd: int) -> bool:
    """By the system's list: to try such a lock would be to have it for a moment."""
    status = os.fstat(fd)
    file = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            return any(line.split()[1:2] == ["FLOCK"] and "WRITE" in line and file in line.split() for line in locks)
    except OSError:
        return False
