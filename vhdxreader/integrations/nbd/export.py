"""What can be served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from vhdxreader import Extent


class Export(Protocol):
    """A `VirtualDisk`, a partition of one, or anything else with its positioned reads, safe for threads."""

    size: int

    def preadinto(self, buffer: Any, offset: int, /) -> int:
        """Fill the buffer with the bytes at `offset`; `OSError` where they cannot be had."""

    def extents(self, *, offset: int = 0, length: int | None = None) -> Iterator[Extent]:
        """What the bytes from `offset` on come from."""
