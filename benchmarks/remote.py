"""Requests and bytes that remote reads take, from a local web server: the table of docs/remote.md.

.venv/bin/python benchmarks/remote.py
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from builder import MB, TB, dynamic, full, hide
from builder import dirty as make_dirty
from ranged_server import ranged_server

import vhdxreader


class Plain:
    """A file object without fsspec's `fs`, so that it is read as it caches itself."""

    def __init__(self, file: Any) -> None:
        self.read, self.seek, self.tell, self.name = file.read, file.seek, file.tell, "plain"


def first_sector(file: Any) -> None:
    """Open an image, and read one sector."""
    with vhdxreader.open(file) as disk:
        disk.pread(512, 0)


def random_reads(file: Any) -> Callable[[], None]:
    """Reads all over an opened disk."""
    disk = vhdxreader.open(file)
    disk.pread(512, 0)
    places = random.Random(0)

    def run() -> None:
        for _ in range(64):
            disk.pread(4096, places.randrange(disk.size // 4096) * 4096)
        disk.close()

    return run


def info(file: Any) -> None:
    """All that the image says of itself."""
    with vhdxreader.open(file) as disk:
        disk.image.to_dict()


def map_all(file: Any) -> None:
    """The whole map."""
    with vhdxreader.open(file) as disk:
        for _ in disk.extents():
            pass


def main() -> None:
    """Print the table."""
    dense = dynamic(256 * MB, {number: full() for number in range(256)})
    stale, updates = hide(dense, (3 * MB, 4096))
    sparse = dynamic(8 * TB, {0: full(), 5000: full()})
    ways = {
        "fsspec, no cache": lambda url: Plain(fsspec.filesystem("http").open(url, cache_type="none")),
        'fsspec, default ("bytes")': lambda url: Plain(fsspec.filesystem("http").open(url)),
        "vhdxreader.open(url)": lambda url: url,
    }
    print("requests / MB | first sector | dirty | 8 TiB sparse | 64 random 4 KiB | info | map of 8 TiB")
    with ranged_server() as server:
        urls = {
            name: server.put(f"/{name}.vhdx", bytes(image.tobytes()))
            for name, image in {"dense": dense, "dirty": make_dirty(stale, updates), "sparse": sparse}.items()
        }
        for name, way in ways.items():
            row = []
            jobs = [(first_sector, "dense"), (first_sector, "dirty"), (first_sector, "sparse"), (random_reads, "dense")]
            for job, image in [*jobs, (info, "dense"), (map_all, "sparse")]:
                file = way(urls[image])
                prepared = job(file) if job is random_reads else None
                server.requests.clear() if prepared else None
                prepared() if prepared else job(file)
                row.append(f"{len(server.requests)} / {server.byte_count / 1e6:.1f}")
                server.requests.clear()
            print(name, *row, sep=" | ")


if __name__ == "__main__":
    main()
