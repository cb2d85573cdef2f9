"""Pages of remote files that are kept for the next read, within one bound for the whole process.

In: pages by file and number. Out: those that are still there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from .. import spec

PAGE = 64 * spec.KB
_MAX_PAGES = 1024  # 64 MiB, of all files together


class KeptPages:
    """A cache that gives up what was not asked for the longest. Safe for threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pages: OrderedDict[tuple[Hashable, int], memoryview] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, file: Hashable, number: int) -> memoryview | None:
        """The page, if it is kept."""
        with self._lock:
            page = self._pages.get((file, number))
            if page is not None:
                self._pages.move_to_end((file, number))
            return page

    def has(self, file: Hashable, number: int) -> bool:
        """Whether the page is kept."""
        return (file, number) in self._pages

    def keep(self, file: Hashable, number: int, page: memoryview) -> None:
        """Keep a page, and drop the oldest for it."""
        with self._lock:
            self._pages[file, number] = page
            while len(self._pages) > self._limit:
                self._pages.popitem(last=False)

    def forget(self, file: Hashable) -> None:
        """Drop all pages of a file."""
        with self._lock:
            for key in [key for key in self._pages if key[0] == file]:
                del self._pages[key]


KEPT = KeptPages(_MAX_PAGES)
