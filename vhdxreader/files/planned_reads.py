"""Reads where each request costs a round trip: few requests, many at a time, nothing fetched twice.

In: a function that gets a range of a file. Out: the bytes of many reads. Small reads are rounded up to pages, which are
kept; while they are sequential, more and more is fetched at once. Large ones are exact, and not kept. Parts that are
near to each other are one request.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

from .. import spec
from .kept_pages import KEPT, PAGE

Part: TypeAlias = tuple[memoryview, int]
"""A buffer to fill, and the offset of its bytes."""
Range: TypeAlias = tuple[int, int]
"""Start and end of bytes of the file, or of pages."""

_LARGE = spec.MB  # reads that are larger are exact
_MIN_WINDOW = 2  # pages that one request gets at least
_MAX_WINDOW = 128  # pages: 8 MiB
_MAX_REQUEST = 8 * spec.MB
_AT_ONCE = 16  # requests of one read
_STREAMS = 8  # sequential readers that are known at a time
_MAX_HINT = 16 * spec.MB


class PlannedReads:
    """Reads of a file of `size` bytes; `get(start, end)` gives just these bytes, or raises. Safe for threads."""

    def __init__(self, get: Callable[[int, int], bytes], size: int) -> None:
        self._get = get
        self._size = size
        self._coming: dict[int, Future[dict[int, memoryview]]] = {}  # pages that somebody is fetching
        self._windows: OrderedDict[int, int] = OrderedDict()  # by the page where a sequential reader goes on
        self._lock = threading.Lock()

    def read_many(self, parts: Sequence[Part]) -> None:
        """Fill all buffers; the parts lie inside the file."""
        small = [part for part in parts if 0 < len(part[0]) <= _LARGE]
        large = [part for part in parts if len(part[0]) > _LARGE]
        pages = self._pages(_numbers(small), sequential=len(small) == 1)
        for view, offset in small:
            _fill(view, offset, pages)
        _each(self._fill_exactly, [piece for view, offset in large for piece in _pieces(view, offset)])

    def will_read(self, ranges: Iterable[Range]) -> None:
        """Fetch what will be read soon, at most 16 MiB of it, with as few requests at once as can be."""
        numbers: list[int] = []
        for start, end in ranges:
            room = _MAX_HINT // PAGE - len(numbers)
            end = min(end, self._size)
            if start < end:
                numbers += range(start // PAGE, -(-end // PAGE))[:room]
        self._pages(sorted(set(numbers)), sequential=False)

    def put(self, data: bytes) -> None:
        """Keep the file's first bytes, which came without a read."""
        self._keep(0, data)

    def forget(self) -> None:
        """Keep nothing."""
        KEPT.forget(id(self))

    def _fill_exactly(self, part: Part) -> None:
        view, offset = part
        view[:] = self._get(offset, offset + len(view))

    def _pages(self, numbers: Sequence[int], *, sequential: bool) -> dict[int, memoryview]:
        """These pages, ascending: kept ones, those that others are fetching, and what this fetches."""
        found: dict[int, memoryview] = {}
        others: dict[int, Future[dict[int, memoryview]]] = {}
        with self._lock:
            for number in numbers:
                page = KEPT.get(id(self), number)
                if page is not None:
                    found[number] = page
                elif number in self._coming:
                    others[number] = self._coming[number]
            missing = [number for number in numbers if number not in found and number not in others]
            runs = list(self._requests(missing, sequential=sequential))
            mine = [(run, Future[dict[int, memoryview]]()) for run in runs]
            for run, future in mine:
                self._coming.update(dict.fromkeys(range(*run), future))
        _each(self._fetch, mine)
        for number, future in [*others.items(), *((n, future) for run, future in mine for n in range(*run))]:
            found[number] = future.result()[number]
        return found

    def _requests(self, missing: Sequence[int], *, sequential: bool) -> Iterator[Range]:
        """The pages that are fetched for the missing ones, in runs, each a request."""
        for start, end in _runs(missing):
            wanted = end - start
            window = max(wanted, _MIN_WINDOW)
            if sequential:
                window = max(window, min(2 * self._windows.pop(start, 0), _MAX_WINDOW))
            stop = start + wanted
            last = min(start + window, -(-self._size // PAGE))
            while stop < last and stop not in self._coming and not KEPT.has(id(self), stop):
                stop += 1
            if sequential:
                self._windows[stop] = stop - start
                while len(self._windows) > _STREAMS:
                    self._windows.popitem(last=False)
            yield from _cut(start, stop, _MAX_WINDOW)

    def _fetch(self, job: tuple[Range, Future[dict[int, memoryview]]]) -> None:
        (start, end), future = job
        try:
            data = self._get(start * PAGE, min(end * PAGE, self._size))
        except BaseException as error:
            future.set_exception(error)
            raise
        else:
            future.set_result(self._keep(start, data))
        finally:
            with self._lock:
                for number in range(start, end):
                    self._coming.pop(number, None)

    def _keep(self, first: int, data: bytes) -> dict[int, memoryview]:
        """The pages in `data`, kept as far as they are whole. Each is a copy: a page must not hold its neighbours."""
        pages = {}
        for at in range(0, len(data), PAGE):
            number = first + at // PAGE
            page = pages[number] = memoryview(data[at : at + PAGE])
            if number * PAGE + len(page) in (self._size, (number + 1) * PAGE):
                KEPT.keep(id(self), number, page)
        return pages


def _numbers(parts: Sequence[Part]) -> list[int]:
    """The pages that the parts need, ascending."""
    return sorted({n for view, offset in parts for n in range(offset // PAGE, -(-(offset + len(view)) // PAGE))})


def _fill(view: memoryview, offset: int, pages: dict[int, memoryview]) -> None:
    done = 0
    while done < len(view):
        number, within = divmod(offset + done, PAGE)
        page = pages[number][within : within + len(view) - done]
        view[done : done + len(page)] = page
        done += len(page)


def _runs(numbers: Sequence[int]) -> Iterator[Range]:
    """Ascending numbers in runs without a gap of more than one."""
    if not numbers:
        return
    start = last = numbers[0]
    for number in numbers:
        if number - last > 2:
            yield start, last + 1
            start = number
        last = number
    yield start, last + 1


def _cut(start: int, end: int, step: int) -> Iterator[Range]:
    for at in range(start, end, step):
        yield at, min(at + step, end)


def _pieces(view: memoryview, offset: int) -> Iterator[Part]:
    """A large part in requests of bounded size."""
    for start, end in _cut(0, len(view), _MAX_REQUEST):
        yield view[start:end], offset + start


def _each(work: Callable[..., None], jobs: Sequence[object]) -> None:
    """Do all the jobs, several at a time."""
    if len(jobs) < 2:
        for job in jobs:
            work(job)
        return
    with ThreadPoolExecutor(max_workers=min(_AT_ONCE, len(jobs))) as pool:
        list(pool.map(work, jobs))
