"""A file system in which one file has bad sectors: `python failing_medium.py FILE MOUNTPOINT SECTOR...`, by FUSE.

Reads that touch a sector of 512 bytes that is named fail with EIO, as a dying disk's do.
"""

from __future__ import annotations

import errno
import os
import stat
import sys

import mfusepy

# ruff: noqa: ARG002  # the names and arguments are those of FUSE


class FailingMedium(mfusepy.Operations):
    """Shows FILE as /disk.vhdx."""

    def __init__(self, path: str, sectors: list[int]) -> None:
        self._fd = os.open(path, os.O_RDONLY)
        self._sectors = sectors

    def getattr(self, path, fh=None):
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o555, "st_nlink": 2}
        return {"st_mode": stat.S_IFREG | 0o444, "st_nlink": 1, "st_size": os.fstat(self._fd).st_size}

    def readdir(self, path, fh):
        return [".", "..", "disk.vhdx"]

    def read(self, path, size, offset, fh):
        if any(n * 512 < offset + size and offset < (n + 1) * 512 for n in self._sectors):
            raise mfusepy.FuseOSError(errno.EIO)
        return os.pread(self._fd, size, offset)


if __name__ == "__main__":
    file, mountpoint, *sectors = sys.argv[1:]
    mfusepy.FUSE(FailingMedium(file, [int(n) for n in sectors]), mountpoint, foreground=True, ro=True)
