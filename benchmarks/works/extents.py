"""The whole map of a 64 TB image, by the rate at which its BAT of 512 MB goes by."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import peers
from images import HUGE_SIZE, Images
from measure import Work, rate, timed

import vhdxreader

_BAT_SIZE = HUGE_SIZE // (1 << 20) * 8


def works(images: Images) -> Iterator[Work]:
    """An empty image and one with clusters."""
    for name, path in (("empty", images.huge_empty), ("1% full", images.huge_clustered)):
        contestants = {"ours": timed(_extents(path))}
        if peers.command("qemu-img"):
            words = ["qemu-img", "info", str(path)]  # its map shows one extent for any VHDX; opening reads the BAT
            contestants["qemu-img"] = timed(lambda words=words: subprocess.run(words, check=True, stdout=-3))
        what = "MB/s of BAT"
        yield Work(f"extents of 64 TB, {name}", contestants, rate(_BAT_SIZE), what, _rate, 500, at_least=True, rounds=3)


def _extents(path: Path) -> Callable[[], None]:
    def run() -> None:
        with vhdxreader.open(path) as disk:
            deque(disk.extents(), maxlen=0)

    return run


def _rate(values: dict[str, float]) -> float:
    return _BAT_SIZE / values["ours"] / 1e6
