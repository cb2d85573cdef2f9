"""The works, by the name with which `run.py` can be asked for some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from images import Images
from measure import Work

from . import chain, convert, extents, reads, replay, serving, startup, threads, whole_disks

WORKS: dict[str, Callable[[Images], Iterator[Work]]] = {
    "reads": reads.works,
    "chain": chain.works,
    "replay": replay.works,
    "startup": startup.works,
    "extents": extents.works,
    "threads": threads.works,
    "convert": convert.works,
    "whole": whole_disks.works,
    "serving": serving.works,
}
