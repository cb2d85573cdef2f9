"""Images that are packed, or come from a pipe: unpacked into temporary space, since an image is read all over.

In: a path, or a stream that is read once. Out: a source. Memory is bounded, and so is the temporary space.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack
from operator import index
from typing import IO, Any, BinaryIO

from ..errors import UnsupportedImageError, VhdxError
from .borrowed_source import BorrowedSource
from .opening import AnyPath, open_source
from .source import Source
from .underlying import files_under

_STEP = 1 << 20
_XZ_MEMORY = 256 << 20  # what a decompressor may take; xz -9 needs 65 MiB
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_SUFFIXES = (".gz", ".xz", ".bz2", ".zip")
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError, ValueError)


def is_packed(path: AnyPath) -> bool:
    """Whether a file is one that `open_unpacked` unpacks, by its suffix (.gz, .xz, .bz2, .zip) and how it begins."""
    if not os.fsdecode(path).lower().endswith(_SUFFIXES) or not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return _opener(file.read(6)) is not None


def open_unpacked(
    file: AnyPath | BinaryIO, *, max_size: int | None = None, progress: Callable[[int], object] | None = None
) -> Source:
    """A source over the image in a packed file (gzip, xz, bzip2, or a zip with one file in it), or over all that a
    stream gives, packed or not; to be handed to `open`, `check` and all others.

    All of it is unpacked into a temporary file without a name, which is gone when the source is closed; zeros become
    holes. It may have `max_size` bytes, by default half of what is free there. `progress` is called with the number of
    bytes by then. Parents are not looked for beside the archive.

    Raises `VhdxError` where the archive is damaged, and where it has more than `max_size` bytes;
    `UnsupportedImageError` for a zip that does not hold one file; `OSError` where it cannot be read.
    """
    name = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else str(getattr(file, "name", file))
    most = shutil.disk_usage(tempfile.gettempdir()).free // 2 if max_size is None else index(max_size)
    with ExitStack() as stack:
        packed = file if not isinstance(file, (str, bytes, os.PathLike)) else stack.enter_context(open(file, "rb"))
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115  # the source closes it
        try:
            _copy(_pieces(packed, stack, name), unpacked, name, most, progress)
            return UnpackedSource(unpacked, name, files_under(packed))
        except BaseException:
            unpacked.close()
            raise


class UnpackedSource(BorrowedSource):
    """A source over a temporary file, which it closes; `files` has the archive, too."""

    def __init__(self, file: IO[bytes], name: str, archive: set[Hashable]) -> None:
        super().__init__(open_source(file))
        self.name = name
        self._file = file
        self._archive = archive

    def files(self) -> set[Hashable]:
        return super().files() | self._archive

    def close(self) -> None:
        super().close()
        self._file.close()


def _copy(
    pieces: Iterator[bytes], target: IO[bytes], name: str, most: int, progress: Callable[[int], object] | None
) -> None:
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise VhdxError(f"{name} has more than {most} bytes when it is unpacked, which is the limit")
            if piece.count(0) < len(piece):
                target.write(piece)
            else:
                target.seek(len(piece), os.SEEK_CUR)
            if progress is not None:
                progress(size)
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system; that of bad data has no number
            raise
        raise VhdxError(f"{name} cannot be unpacked behind byte {size} of what is in it: {error}") from error
    target.truncate(size)
    target.flush()


def _pieces(packed: Any, stack: ExitStack, name: str) -> Iterator[bytes]:
    """What is in it, piece by piece."""
    buffered = packed
    if not isinstance(packed, io.BufferedReader):
        buffered = io.BufferedReader(packed)
        stack.callback(buffered.detach)  # it would close what is not ours
    unpack = _opener(buffered.peek(6)[:6])
    if unpack is _unzip:
        yield from _unzip(buffered, stack, name)
    else:
        yield from _read(buffered) if unpack is None else unpack(buffered)


def _opener(begin: bytes) -> Callable[..., Iterator[bytes]] | None:
    """What unpacks something that begins like this."""
    return next((unpack for magic, unpack in _KINDS.items() if begin.startswith(magic)), None)


def _read(file: Any) -> Iterator[bytes]:
    while piece := file.read(_STEP):
        yield piece


def _gunzip(file: IO[bytes]) -> Iterator[bytes]:
    return _read(gzip.GzipFile(fileobj=file))


def _bunzip(file: IO[bytes]) -> Iterator[bytes]:
    return _read(bz2.BZ2File(file))


def _unxz(file: IO[bytes]) -> Iterator[bytes]:
    """By a decompressor with a limit of its memory, which `lzma.open` cannot have: the file says how much it takes."""
    rest = b""
    while data := _behind_padding(rest, file):
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        while not stream.eof:
            piece = stream.decompress(data, _STEP)
            if piece:
                yield piece
            data = b"" if stream.eof or not stream.needs_input else file.read(_STEP)
            if not data and not stream.eof and stream.needs_input:
                raise EOFError("the file ends before the end of its data")
        rest = stream.unused_data


def _behind_padding(rest: bytes, file: IO[bytes]) -> bytes:
    """What begins the next stream; nothing at the end."""
    data = rest.lstrip(b"\0")
    while not data and (more := file.read(_STEP)):
        data = more.lstrip(b"\0")
    return data


def _unzip(file: IO[bytes], stack: ExitStack, name: str) -> Iterator[bytes]:
    if not file.seekable():
        raise UnsupportedImageError(f"{name} is a zip, which cannot be unpacked from a pipe")
    archive = stack.enter_context(zipfile.ZipFile(file))
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        raise UnsupportedImageError(f"{name} has {len(members)} files in it, expected one image")
    if members[0].compress_type not in _ZIP_METHODS:
        raise UnsupportedImageError(f"{name} is packed by method {members[0].compress_type}, which is not supported")
    return _read(stack.enter_context(archive.open(members[0])))


_KINDS: dict[bytes, Callable[..., Iterator[bytes]]] = {
    b"\x1f\x8b": _gunzip,
    b"\xfd7zXZ\0": _unxz,
    b"BZh": _bunzip,
    b"PK": _unzip,
}
