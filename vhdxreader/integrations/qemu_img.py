"""Formats that qemu-img writes, from a disk that it reads over NBD.

In: an opened disk. Out: a file that is whole or not there. Nothing of the format is known here.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from .. import CorruptImageError, Extent, PartitionStream, VirtualDisk, WholeFile, needed_files
from .nbd import nbd_uri, served

FORMATS = ("qcow2", "vmdk", "vdi", "vhdx")
"""Those that are known by their suffix."""


class QemuImgMissingError(Exception):
    """qemu-img is not installed."""


class _Watched:
    """A disk, and the first reason why a read of it failed: NBD tells its client only that one did."""

    def __init__(self, disk: VirtualDisk | PartitionStream) -> None:
        self.size = disk.size
        self.error: CorruptImageError | None = None
        self._disk = disk

    def preadinto(self, buffer: Any, offset: int, /) -> int:
        try:
            return self._disk.preadinto(buffer, offset)
        except CorruptImageError as error:
            self.error = self.error or error
            raise

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        return self._disk.extents(offset=offset, length=length)


def convert_by_qemu_img(
    disk: VirtualDisk | PartitionStream,
    target: str,
    format_name: str,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> None:
    """Write the disk to a file in a format of qemu-img's; it is there whole or not at all, as by `convert`.

    With `progress`, qemu-img shows its own. Raises what a read of the disk raises; `QemuImgMissingError`;
    `FileExistsError`, `shutil.SameFileError`, and `OSError` with what qemu-img says where it fails.
    """
    program = shutil.which("qemu-img")
    if program is None:
        raise QemuImgMissingError(f"{format_name} is written by qemu-img, which is not installed (qemu-utils)")
    watched = _Watched(disk)
    with (
        WholeFile(target, overwrite=overwrite, protected=needed_files(disk)) as whole,
        served({"": watched}) as socket,
    ):
        options = ["-p"] if progress else []
        command = [program, "convert", *options, "-f", "raw", "-O", format_name, nbd_uri("", socket), whole.temporary]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
        if watched.error is not None:
            raise watched.error
        if done.returncode:
            raise OSError(errno.EIO, f"qemu-img failed: {done.stderr.strip()}", target)
