"""Chains of files: reads whose data is in the oldest parent, and partially present blocks."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import peers
from images import DENSE_SIZE, PARTIAL_SIZE, Images
from measure import Work, each, rate, timed

import vhdxreader

_READS = 10_000
_LEVEL = 0.3e-6  # seconds that each further file may cost
_MB = 1 << 20


def works(images: Images) -> Iterator[Work]:
    """Chains of 8 and of 64 files, beside the oldest of them alone; then alternating sectors."""
    for length in (8, 64):
        yield from _oldest(images, length)
    yield from _partial(images)


def _oldest(images: Images, length: int) -> Iterator[Work]:
    """Warm, as the other reads; and the first read of each block, by a disk that was just opened."""
    chain = images.chain(length)
    choose = random.Random(2)
    offsets = [choose.randrange(DENSE_SIZE // 4096) * 4096 for _ in range(_READS)]
    with vhdxreader.open(images.dense) as single, vhdxreader.open(chain[0]) as disk:
        contestants = {"single": _reads(single.pread, offsets), "ours": _reads(disk.pread, offsets)}
        if peers.PYVHDI and length < 64:
            contestants["pyvhdi"] = _reads(peers.open_pyvhdi(*chain).read_buffer_at_offset, offsets)
        allowed = _LEVEL * (length - 1) * _READS
        what = "ours / (2 single + 0.3 µs a level)"
        name = f"chain of {length}, random 4 KB pread"
        yield Work(name, contestants, each(_READS), what, lambda v: v["ours"] / (2 * v["single"] + allowed), 1)
    firsts = [block * _MB for block in range(DENSE_SIZE // _MB)]
    choose.shuffle(firsts)
    what, name = "µs a level beyond single", f"chain of {length}, first read of each block"
    levels = len(firsts) * (length - 1) * 1e-6
    contestants = {"single": _first_reads(images.dense, firsts), "ours": _first_reads(chain[0], firsts)}
    yield Work(name, contestants, each(len(firsts)), what, lambda v: (v["ours"] - v["single"]) / levels)


def _partial(images: Images) -> Iterator[Work]:
    child, parent = images.alternating
    with vhdxreader.open(child) as disk:
        buffer = bytearray(_MB)

        def read() -> None:
            for offset in range(0, PARTIAL_SIZE, _MB):
                disk.preadinto(buffer, offset)

        contestants = {"ours": timed(read)}
        if peers.PYVHDI:
            pread = peers.open_pyvhdi(child, parent).read_buffer_at_offset
            contestants["pyvhdi"] = timed(
                lambda: [pread(_MB, offset) and None for offset in range(0, PARTIAL_SIZE, _MB)]
            )
        name = "alternating sectors, sequential 1 MB"
        what = "pyvhdi / ours"
        yield Work(name, contestants, rate(PARTIAL_SIZE), what, lambda v: v["pyvhdi"] / v["ours"], 5, at_least=True)


def _reads(pread: peers.Pread, offsets: list[int]) -> Callable[[], float]:
    def run() -> None:
        for offset in offsets:
            pread(4096, offset)

    return timed(run)


def _first_reads(path: object, offsets: list[int]) -> Callable[[], float]:
    """The opening is not timed."""

    def run() -> float:
        with vhdxreader.open(path) as disk:
            disk.pread(4096, DENSE_SIZE - 4096)  # the pages of the BAT
            return _reads(disk.pread, offsets)()

    return run
