"""Reads of a dense 1 GB image, page cache warm, beside the raw file of the same bytes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence

import peers
from images import DENSE_SIZE, Images
from measure import Values, Work, each, rate, timed

import vhdxreader

_MB = 1 << 20
_RANDOM_READS = 20_000
_CROSSING_READS = 5_000
_CROSSING_SIZE = 64 << 10


def works(images: Images) -> Iterator[Work]:
    """Random, sequential, and across the borders of blocks."""
    disk = vhdxreader.open(images.dense)
    raw = os.open(images.dense_raw, os.O_RDONLY)
    libraries = {"ours": disk.pread, **peers.positioned_reads(images.dense)}
    yield _random(raw, libraries)
    yield _seek_and_read(disk, libraries)
    yield _sequential_read(disk, raw, libraries)
    yield _sequential_readinto(disk, raw)
    yield from _crossing(disk, raw, libraries)
    disk.close()
    os.close(raw)


def _random(raw: int, libraries: dict[str, peers.Pread]) -> Work:
    offsets = _offsets(_RANDOM_READS, 4096, 4096)

    def read_raw() -> None:
        for offset in offsets:
            os.pread(raw, 4096, offset)

    def beyond_raw(values: Values) -> float:
        return (values["ours"] - values["raw"]) / (values["pyvhdi"] - values["raw"])

    contestants = {"raw": timed(read_raw), **_preads(libraries, 4096, offsets)}
    what = "cost beyond raw, ours / pyvhdi's"
    return Work("random 4 KB pread", contestants, each(len(offsets)), what, beyond_raw, 0.5)


def _seek_and_read(disk: vhdxreader.VirtualDisk, libraries: dict[str, peers.Pread]) -> Work:
    offsets = _offsets(_RANDOM_READS, 4096, 4096)

    def ours() -> None:
        for offset in offsets:
            disk.seek(offset)
            disk.read(4096)

    contestants = {"ours": timed(ours), **_preads({n: r for n, r in libraries.items() if n != "ours"}, 4096, offsets)}
    what = "ours / pyvhdi's positioned read"
    return Work("random 4 KB seek + read", contestants, each(len(offsets)), what, lambda v: v["ours"] / v["pyvhdi"], 1)


def _sequential_read(disk: vhdxreader.VirtualDisk, raw: int, libraries: dict[str, peers.Pread]) -> Work:
    offsets = range(0, DENSE_SIZE, _MB)

    def read_raw() -> None:
        for offset in offsets:
            os.pread(raw, _MB, offset)

    def ours() -> None:
        disk.seek(0)
        while disk.read(_MB):
            pass

    others = {name: read for name, read in libraries.items() if name != "ours"}
    contestants = {"raw": timed(read_raw), "ours": timed(ours), **_preads(others, _MB, offsets)}
    return Work("sequential 1 MB read", contestants, rate(DENSE_SIZE), "raw / ours", _raw_by_ours, 0.95, at_least=True)


def _sequential_readinto(disk: vhdxreader.VirtualDisk, raw: int) -> Work:
    buffer = bytearray(_MB)

    def read_raw() -> None:
        for offset in range(0, DENSE_SIZE, _MB):
            os.preadv(raw, (buffer,), offset)

    def ours() -> None:
        disk.seek(0)
        while disk.readinto(buffer):
            pass

    contestants = {"raw": timed(read_raw), "ours": timed(ours)}
    name = "sequential 1 MB readinto one buffer"
    return Work(name, contestants, rate(DENSE_SIZE), "raw / ours", _raw_by_ours, 0.95, at_least=True)


def _crossing(disk: vhdxreader.VirtualDisk, raw: int, libraries: dict[str, peers.Pread]) -> Iterator[Work]:
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

        contestants = {"raw": timed(read_raw), **_preads(libraries, size, offsets)}
        show = each(len(offsets))
        yield Work(f"{name}, pread", contestants, show, "raw / ours", _raw_by_ours, goal, at_least=True)
        contestants = {"raw": timed(read_raw_into), "ours": timed(ours_into)}
        yield Work(f"{name}, preadinto", contestants, show, "raw / ours", _raw_by_ours, goal, at_least=True)


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


def _raw_by_ours(values: Values) -> float:
    return values["raw"] / values["ours"]
