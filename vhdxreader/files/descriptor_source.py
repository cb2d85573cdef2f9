"""Files of the system as sources, read by descriptors that keep their numbers until nobody can use them."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from operator import index
from typing import Any, TypeVar

from .descriptors import (
    StatOf,
    data_ranges,
    file_identity,
    file_state,
    keeping_position,
    make_useless,
    path_identity,
    seekable_size,
)
from .locks import writer_lock
from .source import Source
from .turns import turns_of

T = TypeVar("T")

_MOST_AT_ONCE = 1 << 30  # the system gives no more than 2 GiB


class DescriptorSource(Source):
    """A file that is read with `pread`, by a descriptor of its own.

    Reads hold no lock, so closing does not free the number `fd`: another file could get it while a thread reads by it.
    From then on all reads by it fail, and it is free when the source dies.
    """

    _is_closed = False

    def __init__(
        self, fd: int, name: str, *, path: str | None = None, owner: Any = None, stat_of: StatOf = os.stat
    ) -> None:
        """The source closes `fd`. An `owner` is the file object of `io` that it is a duplicate of: once that is closed,
        nothing is read. What has the path later, `stat_of` says."""
        self.fd = fd
        self.name, self.path = name, path
        self._stat_of = stat_of
        self._owner = owner
        try:
            self.identity = file_identity(os.fstat(fd))
            self.size = self._keeping_position(lambda: seekable_size(fd, name))
        except BaseException:
            self.discard()
            raise

    def _read_some(self, buffer: memoryview, offset: int) -> int:
        self._check_open()
        try:
            return os.preadv(self.fd, (buffer,), offset)
        except OSError:
            self._check_open()  # it may have been closed just now
            raise

    def read_at(self, offset: int, size: int) -> bytes:
        offset, size = index(offset), index(size)
        if offset + size <= self.size and size <= _MOST_AT_ONCE:
            self._check_open()
            with contextlib.suppress(OSError):  # the other way says where it is
                data = os.pread(self.fd, size, offset)
                if len(data) == size:
                    return data
        return super().read_at(offset, size)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        self._check_open()
        start, end = index(start), index(end)
        if self._owner is None:
            return data_ranges(self.fd, start, end)
        return iter(self._keeping_position(lambda: list(data_ranges(self.fd, start, end))))

    def file_of(self, offset: int, size: int) -> DescriptorSource | None:
        end = index(offset) + index(size)
        return self if self._owner is None and end <= self.size else None

    def status(self) -> os.stat_result:
        self._check_open()
        return os.fstat(self.fd)

    def stamp(self) -> Hashable:
        return file_state(self.status()), path_identity(self.path, self._stat_of)

    def writer_lock(self) -> str:
        self._check_open()
        return writer_lock(self.fd)

    def close(self) -> None:
        if not self._is_closed and self.fd >= 0:
            self._is_closed = True
            make_useless(self.fd)

    def discard(self) -> None:
        self._is_closed = True
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    # When the interpreter ends, modules may be empty.
    def __del__(self, _warn: Callable[..., None] = warnings.warn, _close: Callable[[int], None] = os.close) -> None:
        fd: int = self.__dict__.get("fd", -1)
        try:
            if fd >= 0 and not self._is_closed:
                _warn(f"unclosed image file {self.name!r}", ResourceWarning, stacklevel=2, source=self)
        finally:
            if fd >= 0:
                _close(fd)

    def _check_open(self) -> None:
        if self._is_closed or (self._owner is not None and self._owner.closed):
            raise ValueError("I/O operation on closed image")

    def _keeping_position(self, work: Callable[[], T]) -> T:
        """What `work` gives, which moves the descriptor's position; an owner has the same and relies on it."""
        if self._owner is None:
            return work()
        return turns_of(self._owner).run(partial(keeping_position, self.fd, work))
