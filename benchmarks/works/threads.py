"""Positioned reads of one opened disk from 8 threads, beside the same reads from one, and beside `os.pread`'s."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
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
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        yield _without_lock(disk.pread, _pread(raw))
    disk.close()
    os.close(raw)


def _without_lock(ours: peers.Pread, raw: peers.Pread) -> Work:
    """Two threads where no lock makes them take turns; those of `os.pread` show what the machine gives."""
    choose = random.Random(2)
    offsets = [choose.randrange(DENSE_SIZE // 4096) * 4096 for _ in range(50_000)]
    contestants = {
        "one": timed(lambda: _read(ours, 4096, offsets)),
        "two": timed(lambda: _in_threads(ours, 4096, offsets, 2)),
        "raw one": timed(lambda: _read(raw, 4096, offsets)),
        "raw two": timed(lambda: _in_threads(raw, 4096, offsets, 2)),
    }
    name = "4 KB pread from 2 threads, without a lock"
    return Work(name, contestants, each(len(offsets)), "one / two", lambda v: v["one"] / v["two"], 1.7, True, often=3)


def _pread(descriptor: int) -> peers.Pread:
    return lambda size, offset: os.pread(descriptor, size, offset)


def _read(pread: peers.Pread, size: int, offsets: list[int]) -> None:
    for offset in offsets:
        pread(size, offset)


def _in_threads(pread: peers.Pread, size: int, offsets: list[int], threads: int = _THREADS) -> None:
    with ThreadPoolExecutor(threads) as pool:
        parts = [pool.submit(_read, pread, size, offsets[number::threads]) for number in range(threads)]
        for part in parts:
            part.result()
