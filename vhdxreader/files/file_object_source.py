"""File objects of every kind as sources."""

from __future__ import annotations

import io
import os
from collections.abc import Hashable
from functools import partial
from typing import Any

from .descriptors import file_identity, file_state, path_identity
from .locks import writer_lock
from .source import Source
from .turns import turns_of

_MOST_AT_ONCE = 4 << 20  # it may well make a copy of what it gives


def is_file(file: Any, *buffered: type) -> bool:
    """Whether a file object is a file itself, perhaps `buffered` in one of these ways.

    A subclass, or what wraps a file, need not show the file's own bytes.
    """
    return type(file) is io.FileIO or (type(file) in buffered and type(file.raw) is io.FileIO)


class FileObjectSource(Source):
    """A file object, read by seeking, by whoever has the turn. It is what its methods say, and nothing else.

    It is borrowed unless it has the `path` that it was opened by: never closed, but put back to where it stood.
    """

    def __init__(self, file: Any, name: str, *, path: str | None = None) -> None:
        self.name, self.path = name, path
        self._file = file
        self._is_closed = False
        self._is_file = is_file(file, io.BufferedReader, io.BufferedRandom)
        # What only the object has may be that of a container, of which the file object is a part.
        self._reads_into = hasattr(type(file), "readinto")
        # The object's address is unique while it lives, and it is held here.
        self.identity = file_identity(os.fstat(file.fileno())) if self._is_file else id(file)
        self._turns = turns_of(file)
        self._position, self.size = self._turns.run(lambda: (file.tell(), self._seek_to_end()))

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        return self._turns.run(partial(self._seek_and_read, buffer[:_MOST_AT_ONCE], offset))

    def _seek_and_read(self, buffer: memoryview, offset: int) -> int:
        if self._is_closed:
            raise ValueError("I/O operation on closed image")
        self._file.seek(offset)
        return _read_into(self._file, buffer) if self._reads_into else _read(self._file, buffer)

    def _seek_to_end(self) -> int:
        end: int | None = self._file.seek(0, os.SEEK_END)
        return self._file.tell() if end is None else end  # mmap's gives None

    def status(self) -> os.stat_result | None:
        return os.fstat(self._file.fileno()) if self._is_file else None

    def stamp(self) -> Hashable:
        status = self.status()
        if status is not None:
            return file_state(status), path_identity(self.path)
        return self._turns.run(self._seek_to_end)

    def files(self) -> set[Hashable]:
        from .underlying import files_under

        return {self.identity, *files_under(self._file)}

    def writer_lock(self) -> str:
        return writer_lock(self._file.fileno()) if self._is_file else ""

    def close(self) -> None:
        if self._turns.is_lost:
            self._is_closed = True
        else:
            self._turns.run(self._close)

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self.path is not None:
            self._file.close()
        elif not getattr(self._file, "closed", False):
            self._file.seek(self._position)


def _read_into(file: Any, buffer: memoryview) -> int:
    return file.readinto(buffer) or 0


def _read(file: Any, buffer: memoryview) -> int:
    data: bytes = file.read(len(buffer))
    if len(data) > len(buffer):
        raise OSError(f"{type(file).__name__}.read gave more than was asked for")
    buffer[: len(data)] = data
    return len(data)
