"""Positioned reads of one opened disk from 8 threads, beside the same reads from one, and beside `os.pread`'s."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import peers
from images import DENSE_SIZE, Images
from measure import Work, each, timed

import vhdxreader

_BYTES = 128 << 20
_THREADS = 8


def works(images: Images) -> Iterator[Work]:
    """Small reads, which the interpreter's lock serialises, and large ones."""
    disk = vhdxreader.open(images.dense)
    raw = os.open(images.dense_raw, os.O_RDONLY)
    for size in (4 << 10, 64 << 10, 1 << 20):
        choose = random.Random(1)
        count = min(4_000, _BYTES // size)
        offsets = [choose.randrange((DENSE_SIZE - size) // 512) * 512 for _ in range(count)]
        contestants = {
            "one": timed(lambda offsets=offsets, size=size: _read(disk.pread, size, offsets)),
            "ours": timed(lambda offsets=offsets, size=size: _in_threads(disk.pread, size, offsets)),
            "raw one": timed(lambda offsets=offsets, size=size: _read(_pread(raw), size, offsets)),
            "raw": timed(lambda offsets=offsets, size=size: _in_threads(_pread(raw), size, offsets)),
        }
        name = f"{size >> 10} KB pread from {_THREADS} threads"
        yield Work(name, contestants, each(count), "8 threads / 1", lambda v: v["ours"] / v["one"], 1.0, often=3)
    disk.close()
    os.close(raw)


def _pread(descriptor: int) -> peers.Pread:
    return lambda size, offset: os.pread(descriptor, size, offset)


def _read(pread: Callable[[int, int], bytes], size: int, offsets: list[int]) -> None:
    for offset in offsets:
        pread(size, offset)


def _in_threads(pread: Callable[[int, int], bytes], size: int, offsets: list[int]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [pool.submit(_read, pread, size, offsets[number::_THREADS]) for number in range(_THREADS)]
        for part in parts:
            part.result()
