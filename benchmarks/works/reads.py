"""Reads of a dense 1 GB image, page cache warm, beside the raw file of the same bytes.

"same file" is `os.pread` of the image's own file where the bytes lie in it: what a reader without any cost of its own
would take. It differs from "raw" by how the two files happen to lie in the page cache.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence

import peers
from images import DENSE_SIZE, Images
from measure import Values, Work, each, rate, timed

import vhdxreader

_MB = 1 << 20
_OFTEN = 7
_RANDOM_READS = 3_000
_CROSSING_READS = 1_000
_SEQUENTIAL_SIZE = DENSE_SIZE // 2
_CROSSING_SIZE = 64 << 10


def works(images: Images) -> Iterator[Work]:
    """Random, sequential, and across the borders of blocks."""
    disk = vhdxreader.open(images.dense)
    raw = os.open(images.dense_raw, os.O_RDONLY)
    libraries = {"ours": disk.pread, **peers.positioned_reads(images.dense)}
    yield _random(images, raw, libraries)
    yield _seek_and_read(disk, libraries)
    yield _sequential_read(images, disk, raw, libraries)
    yield _sequential_readinto(disk, raw)
    yield from _crossing(images, disk, raw, libraries)
    disk.close()
    os.close(raw)


def _random(images: Images, raw: int, libraries: dict[str, peers.Pread]) -> Work:
    offsets = _offsets(_RANDOM_READS, 4096, 4096)

    def read_raw() -> None:
        for offset in offsets:
            os.pread(raw, 4096, offset)

    def beyond_raw(values: Values) -> float:
        return (values["ours"] - values["raw"]) / (values["pyvhdi"] - values["raw"])

    same = _same_file(images, 4096, offsets)
    contestants = {"raw": timed(read_raw), "same file": same, **_preads(libraries, 4096, offsets)}
    what = "cost beyond raw, ours / pyvhdi's"
    return Work("random 4 KB pread", contestants, each(len(offsets)), what, beyond_raw, 0.5, often=_OFTEN)


def _seek_and_read(disk: vhdxreader.VirtualDisk, libraries: dict[str, peers.Pread]) -> Work:
    offsets = _offsets(_RANDOM_READS, 4096, 4096)

    def ours() -> None:
        for offset in offsets:
            disk.seek(offset)
            disk.read(4096)

    contestants = {"ours": timed(ours), **_preads({n: r for n, r in libraries.items() if n != "ours"}, 4096, offsets)}
    what = "ours / pyvhdi's positioned read"
    return Work("random 4 KB seek + read", contestants, each(len(offsets)), what, _by_pyvhdi, 1, often=_OFTEN)


def _sequential_read(images: Images, disk: vhdxreader.VirtualDisk, raw: int, libraries: dict[str, peers.Pread]) -> Work:
    offsets = range(0, _SEQUENTIAL_SIZE, _MB)

    def read_raw() -> None:
        for offset in offsets:
            os.pread(raw, _MB, offset)

    def ours() -> None:
        disk.seek(0)
        for _ in offsets:
            disk.read(_MB)

    others = {name: read for name, read in libraries.items() if name != "ours"}
    same = _same_file(images, _MB, offsets)
    contestants = {"raw": timed(read_raw), "same file": same, "ours": timed(ours), **_preads(others, _MB, offsets)}
    return Work(
        "sequential 1 MB read",
        contestants,
        rate(_SEQUENTIAL_SIZE),
        "raw / ours",
        _raw_by_ours,
        0.95,
        at_least=True,
        often=_OFTEN,
    )


def _sequential_readinto(disk: vhdxreader.VirtualDisk, raw: int) -> Work:
    buffer, offsets = bytearray(_MB), range(0, _SEQUENTIAL_SIZE, _MB)

    def read_raw() -> None:
        for offset in offsets:
            os.preadv(raw, (buffer,), offset)

    def ours() -> None:
        disk.seek(0)
        for _ in offsets:
            disk.readinto(buffer)

    contestants = {"raw": timed(read_raw), "ours": timed(ours)}
    name = "sequential 1 MB readinto one buffer"
    return Work(
        name, contestants, rate(_SEQUENTIAL_SIZE), "raw / ours", _raw_by_ours, 0.95, at_least=True, often=_OFTEN
    )


def _crossing(
    images: Images, disk: vhdxreader.VirtualDisk, raw: int, libraries: dict[str, peers.Pread]
) -> Iterator[Work]:
    """One in 16 of these reads crosses a border of its blocks; then the worst case, in which all of them do."""
    size = _CROSSING_SIZE
    anywhere = _offsets(_CROSSING_READS, size, 512)
    borders = [at // _MB * _MB + _MB - size // 2 for at in _offsets(_CROSSING_READS, 2 * _MB, _MB)]
    buffer = bytearray(size)
    for name, offsets, goal in (("64 KB anywhere", anywhere, 0.9), ("64 KB across a border", borders, None)):

        def read_raw(offsets: Sequence[int] = offsets) -> None:
            for offset in offsets:
                os.pread(raw, size, offset)

        def read_raw_into(offsets: Sequence[int] = offsets) -> None:
            for offset in offsets:
                os.preadv(raw, (buffer,), offset)

        def ours_into(offsets: Sequence[int] = offsets) -> None:
            for offset in offsets:
                disk.preadinto(buffer, offset)

        same = _same_file(images, size, offsets)
        contestants = {"raw": timed(read_raw), "same file": same, **_preads(libraries, size, offsets)}
        show = each(len(offsets))
        yield Work(f"{name}, pread", contestants, show, "raw / ours", _raw_by_ours, goal, at_least=True, often=_OFTEN)
        contestants = {"raw": timed(read_raw_into), "ours": timed(ours_into)}
        yield Work(
            f"{name}, preadinto", contestants, show, "raw / ours", _raw_by_ours, goal, at_least=True, often=_OFTEN
        )


def _same_file(images: Images, size: int, offsets: Sequence[int]) -> Callable[[], float]:
    descriptor = os.open(images.dense, os.O_RDONLY)
    with vhdxreader.open(images.dense) as disk:
        places = [next(disk.extents(offset=offset, length=1)).file_offset or 0 for offset in offsets]

    def read() -> None:
        for place in places:
            os.pread(descriptor, size, place)

    return timed(read)


def _preads(libraries: dict[str, peers.Pread], size: int, offsets: Sequence[int]) -> dict[str, Callable[[], float]]:
    def loop(pread: peers.Pread) -> Callable[[], None]:
        def reads() -> None:
            for offset in offsets:
                pread(size, offset)

        return reads

    return {name: timed(loop(pread)) for name, pread in libraries.items()}


def _offsets(count: int, size: int, unit: int) -> list[int]:
    """Random offsets at which `size` bytes can be read, multiples of `unit`, the same in every run."""
    choose = random.Random(0)
    return [choose.randrange((DENSE_SIZE - size) // unit + 1) * unit for _ in range(count)]


def _by_pyvhdi(values: Values) -> float:
    return values["ours"] / values["pyvhdi"]


def _raw_by_ours(values: Values) -> float:
    return values["raw"] / values["ours"]
