"""Bytes at offsets: positioned, exact reads that move nothing and may run in parallel, over whatever gives some bytes.

In: some of the bytes asked for. Out: all of them, or an error.
"""

from __future__ import annotations

import errno
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import index
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from ..errors import TruncatedImageError, UnreadableError, VhdxError

if TYPE_CHECKING:
    from .descriptor_source import DescriptorSource

_ZEROS = memoryview(bytes(1 << 20))
_STEP = 1 << 21  # of what is filled at once
_REMOTE_STEP = 1 << 25  # four requests at once

# What a system reports of a bad place of the medium, and of one whose checksum is wrong.
_MEDIUM_ERRORS = frozenset(
    getattr(errno, name)
    for name in ("EIO", "ENODATA", "EILSEQ", "EREMOTEIO", "EBADMSG", "EUCLEAN")
    if hasattr(errno, name)
)


class Closing(ABC):
    """Has a `close`, which a `with` statement calls, whatever happened in it. It cannot be copied or pickled: what a
    copy closes, the original would read from."""

    @abstractmethod
    def close(self) -> None:
        """Give back what this object itself opened."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"cannot pickle or copy {type(self).__name__!r} object: it holds an open file")


class Source(Closing):
    """Bytes at offsets from 0 to `size`, as they were when the source was opened. Safe for threads."""

    name: str  # for messages
    path: str | None  # None where there is no path
    size: int
    is_remote: bool = False  # whether a read costs a round trip: few are best, and many at a time
    version: str | None = None  # what its server tells versions of a remote file apart by, if it does
    identity: Hashable  # equal for two sources of one file, as far as can be told: `file_identity`, if it is one

    @abstractmethod
    def _read_some(self, buffer: memoryview, offset: int) -> int:
        """Fill the start of the buffer, at least one byte unless at the end; how many bytes."""

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer with the bytes at `offset`; `TruncatedImageError` where the file has less."""
        offset = index(offset)  # others' integers wrap in silence
        done = self._read_there(buffer, offset)
        while done < len(buffer):
            count = self._read_there(buffer[done:], offset + done)
            if count <= 0:
                raise TruncatedImageError(
                    f"the file ends {len(buffer) - done} bytes before the end of what is read",
                    file_offset=offset + done,
                )
            done += count

    def read_at(self, offset: int, size: int) -> bytes:
        """The `size` bytes at `offset`, never less."""
        offset, size = index(offset), index(size)
        if size > max(self.size - offset, 0):  # before anything is allocated
            raise TruncatedImageError(
                f"{size} bytes are expected, but the file ends at {self.size:#x}", file_offset=offset
            )
        return filled(size, lambda view, start: self.read_into(view, offset + start), remote=self.is_remote)

    def read_many(self, parts: Sequence[tuple[memoryview, int]]) -> None:
        """As `read_into` for each buffer and offset, in any order; what is wrong with one may leave all undefined."""
        for buffer, offset in parts:
            self.read_into(buffer, offset)

    def will_read(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Hear which bytes, from start up to end, will soon be read. Those of a remote file are fetched, at once."""

    def neighbour(self, relative: str) -> Source | None:  # noqa: ARG002  # for those that have one
        """The file at a path relative to this one's folder, with "/", opened, if this source is remote: on the same
        server, in the same bucket. None where there is no folder; `OSError` where there is no such file."""
        return None

    def _read_there(self, buffer: memoryview, offset: int) -> int:
        """`_read_some`, with an error that says of which file, and where."""
        try:
            return self._read_some(buffer, offset)
        except VhdxError:
            raise
        except OSError as error:
            if error.errno in _MEDIUM_ERRORS:
                raise self._unreadable(error, offset) from error
            if error.errno is not None:
                raise OSError(error.errno, f"{error.strerror} at file offset {offset:#x}", self.name) from error
            raise

    def _unreadable(self, error: OSError, offset: int) -> UnreadableError:
        message = f"{self.name} cannot be read: {error.strerror}"
        found = UnreadableError(message, file_offset=offset, rule="file.unreadable", section="2.4")
        found.filename, found.errno = self.name, error.errno
        return found

    @property
    def whole_end(self) -> int:
        """Up to here no byte is missing; behind it, `holds` tells."""
        return self.size

    def holds(self, offset: int, length: int) -> tuple[bool, int]:
        """Whether the byte at `offset` is there, and for how many bytes, at most `length`, that holds."""
        offset, length = index(offset), index(length)
        inside = min(self.size - offset, length)
        return (True, inside) if inside > 0 else (False, length)

    def holds_all(self, offset: int, length: int) -> bool:
        """Whether all of these bytes are there."""
        offset, length = index(offset), index(length)
        return offset + length <= self.whole_end or self.holds(offset, length) == (True, length)

    def data_ranges(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a range that may hold anything but zeros; what the file system knows as holes is left out."""
        yield index(start), index(end)

    def file_of(self, offset: int, size: int) -> DescriptorSource | None:
        """Where these very bytes can be read at the same offset through a descriptor; None where they cannot."""
        index(offset), index(size)
        return None

    def status(self) -> os.stat_result | None:
        """What the system says of the file that is open, whatever has its path by now; None for one that is not the
        system's."""
        return None

    def stamp(self) -> Hashable:
        """What can be told of the file without reading it. Where it differs from what it was, the file was changed;
        where it does not, no change was seen."""
        return None

    def files(self) -> set[Hashable]:
        """Identities of what the bytes come from, such as the archive that a file object is a part of."""
        return {self.identity}

    def writer_lock(self) -> str:
        """Who is known by a lock to have the file open for writing, in words; empty where nobody is."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Give back what the source itself opened. Further reads raise `ValueError`."""

    def discard(self) -> None:
        """Close what nobody but the caller has: all is given back at once."""
        self.close()


def filled(size: int, fill: Callable[[memoryview, int], object], *, remote: bool) -> bytes:
    """The bytes that `fill(view, start)` puts into views of zeros, one after another: `size` in all. Of a remote file
    the views are larger: each is worth several requests.

    Whoever keeps the error of a failed read keeps such a view with it. It must be one of memory that is only dropped:
    for a `BytesIO` of which a view is left in a cycle, CPython 3.12.1 crashes, and 3.13 complains.
    """
    step = _REMOTE_STEP if remote else _STEP
    if size <= step:
        part = bytearray(size)
        fill(memoryview(part), 0)
        return bytes(part)
    whole = io.BytesIO()
    whole.seek(size - 1)
    whole.write(b"\0")  # all of it at once, and no more
    whole.seek(0)
    for start in range(0, size, step):
        part = bytearray(min(step, size - start))
        fill(memoryview(part), start)
        whole.write(part)
    return whole.getvalue()  # not copied


def fill_zeros(buffer: memoryview) -> None:
    """Make all bytes of a buffer zero."""
    for start in range(0, len(buffer), len(_ZEROS)):
        part = buffer[start : start + len(_ZEROS)]
        part[:] = _ZEROS[: len(part)]
