"""Opening an image whose log is full: 64 MB to replay."""

from __future__ import annotations

from collections.abc import Iterator

from images import Images
from log_replay import data_log, make, zero_log
from measure import Work, milliseconds, timed

import vhdxreader

_LOG_SIZE = 64 << 20


def works(images: Images) -> Iterator[Work]:
    """Data descriptors throughout, and zero descriptors throughout."""
    kinds = {"data": (data_log(_LOG_SIZE, 126), 0.5), "zero": (zero_log(_LOG_SIZE, shuffled=True), 2)}
    for kind, (entries, goal) in kinds.items():
        path = images.folder / f"log_{kind}.vhdx"
        make(path, _LOG_SIZE, entries)
        contestants = {"ours": timed(lambda path=path: vhdxreader.open(path).close())}
        yield Work(f"replay of 64 MB of {kind} descriptors", contestants, milliseconds, "s", lambda v: v["ours"], goal)
