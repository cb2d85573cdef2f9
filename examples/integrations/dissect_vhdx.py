"""VHDX in dissect.target by this reader: dirty images replayed, chains followed, checksums verified.

Put it into a folder that DISSECT_PLUGINS names, or import it before a target is opened.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from dissect.target import container

import vhdxreader


class VhdxReaderContainer(container.Container):
    """A disk, as dissect.target wants it."""

    __type__ = "vhdx"

    def __init__(self, fh: BinaryIO | Path, *args: object, **kwargs: object) -> None:
        self.disk = vhdxreader.open(fh)
        super().__init__(fh, self.disk.size, *args, **kwargs)

    @staticmethod
    def _detect_fh(fh: BinaryIO, _original: object) -> bool:
        return fh.read(8) == b"vhdxfile"

    @staticmethod
    def detect_path(path: Path, _original: object) -> bool:
        """By the name."""
        return path.suffix.lower() in (".vhdx", ".avhdx")

    def read(self, length: int) -> bytes:
        """From the position on."""
        return self.disk.read(length)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        return self.disk.seek(offset, whence)

    def tell(self) -> int:
        """The position."""
        return self.disk.tell()

    def close(self) -> None:
        """Close the image."""
        self.disk.close()


container.CONTAINERS.insert(0, VhdxReaderContainer)
