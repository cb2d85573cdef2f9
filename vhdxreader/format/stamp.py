"""What an image was when it was opened, to see later whether somebody has changed it since.

In: a source. Out: yes, or "not seen": a write into a block that has its place already may leave no trace but a time,
and not even that at once.
"""

from __future__ import annotations

from .. import spec
from ..errors import ImageChangedError, TruncatedImageError
from ..files.source import Source
from .header import Header
from .log import Ring, examine
from .log_replay import LogState


class Stamp:
    """What the file system says of a file, and both headers. To be made before anything else is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._state = source.stamp()
        self._headers = _headers(source)

    def differs(self) -> bool:
        """Whether a change is seen."""
        return self._source.stamp() != self._state or _headers(self._source) != self._headers

    def error(self) -> ImageChangedError:
        """That what was read is of no one moment."""
        return changed_error(self._source.name)


def changed_error(name: str) -> ImageChangedError:
    """The error for the image of this name."""
    message = f"{name} was changed while it was read: what was read is of no one moment"
    return ImageChangedError(message, rule="file.changed", section="2.2.2")


def log_differs(source: Source, header: Header, log: LogState) -> bool:
    """Whether the log's valid entries are other ones by now; `source` is the file without a replay."""
    try:
        found = [examined.entry for examined in examine(Ring(source, header), header.log_guid) if not examined.problem]
    except TruncatedImageError:
        return True
    return found != list(log.entries)


def _headers(source: Source) -> tuple[bytes, ...]:
    return tuple(_bytes(source, offset) for offset in spec.HEADER_OFFSETS)


def _bytes(source: Source, offset: int) -> bytes:
    try:
        return source.read_at(offset, spec.HEADER_SIZE)
    except OSError:  # the end of the file, or a bad sector
        return b""
