"""An image as a file system of fsspec (`pip install vhdxreader[remote]`), so that whatever opens URLs reaches in.

    fsspec.open("vhdx://partition2.raw::disk.vhdx")
    fsspec.open("vhdx://disk.raw::https://example.org/disk.vhdx")

The files are those of `disk_files`. The protocol is known to fsspec as soon as the package is installed.
"""

from __future__ import annotations

import io
import os
import weakref
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import fsspec
from fsspec.archive import AbstractArchiveFileSystem

import vhdxreader

from .disk_files import disk_files, new_stream


class VhdxFileSystem(AbstractArchiveFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The files of one image, read-only. The image stays open as long as the file system, or a file of it, is there."""

    root_marker = ""
    protocol = "vhdx"
    cachable = False

    def __init__(
        self,
        fo: str | os.PathLike[str] | BinaryIO = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **how: Any,
    ) -> None:
        """`fo` is the image: a path, a URL or a file object; `how` are the options of `vhdxreader.open`."""
        options = {name: how.pop(name) for name in ("parent", "parents", "log", "errors") if name in how}
        super().__init__(fo, **how)
        if isinstance(fo, (str, os.PathLike)) and target_protocol not in (None, "file", "local"):
            system = fsspec.filesystem(target_protocol, **target_options or {})
            fo = cast("BinaryIO", SimpleNamespace(fs=system, path=os.fspath(fo)))  # read as a URL is
        self.fo = fo
        self.disk = vhdxreader.open(cast("BinaryIO", fo), **options)
        weakref.finalize(self.disk, _close, self.disk.images)  # when no file has it any longer
        self._files = disk_files(self.disk)
        self.dir_cache: dict[str, dict[str, Any]] = {}

    def _get_dirs(self) -> None:
        for name, file in self._files.items():
            size = len(file) if isinstance(file, bytes) else file.size
            self.dir_cache[name] = {"name": name, "size": size, "type": "file"}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path)
        return stripped.lstrip("/")

    def _open(self, path: str, mode: str = "rb", **_how: Any) -> BinaryIO:
        if mode not in ("rb", "r"):
            raise io.UnsupportedOperation("a virtual disk is read-only")
        file = self._files.get(self._strip_protocol(path))
        if file is None:
            raise FileNotFoundError(path)
        return io.BytesIO(file) if isinstance(file, bytes) else io.BufferedReader(new_stream(file))


def _close(images: tuple[vhdxreader.VhdxImage, ...]) -> None:
    for image in images:
        image.close()
