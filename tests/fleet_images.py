"""A folder of many images as fleets have them: chains of 1 to 8, of which some are bad, dirty, orphaned or doubled.

Also what has an image kill the process that looks at it, and a cluster of such processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

from builder import KB, MB, Image, Junk, differencing, dirty, dynamic, full, hide

import vhdxreader

SIZE = 4 * MB
STUB = b"vhdxfile stub"
PERIOD = 20  # one image in so many is bad, one is dirty


def bad(image: Image, kind: int) -> bytes:
    """The bytes of an image that is broken in one way or another."""
    broken = image.copy()
    ways: list[Callable[[], object]] = [
        lambda: broken.patch("header1.signature", b"dead").patch("header2.signature", b"dead"),
        lambda: broken.patch("region1.signature", b"dead").patch("region2.signature", b"dead"),
        lambda: broken.patch("metadata.signature", b"metadead"),
        lambda: broken.truncate(1 * MB),
        lambda: broken.truncate(64 * KB),
        lambda: broken.file.write(broken.bat_offset, b"\xff" * 8),
    ]
    ways[kind % len(ways)]()
    return broken.tobytes()


def build_fleet(folder: Path, size: int) -> Path:
    """`size` images in sub-folders of one chain each; the same whenever it is called."""
    numbers = islice(count(), size)
    for chain, length in enumerate(cycle(range(1, 9))):
        where = folder / f"vm{chain:03}"
        image = None
        for depth in range(length):
            number = next(numbers, None)
            if number is None:
                if hasattr(os, "sync"):
                    os.sync()  # until then, a file system may not have given them their space
                return folder
            where.mkdir(parents=True, exist_ok=True)
            image = _link(image, chain, depth)
            _save(image, where / _name(depth), number)
    raise AssertionError("never")


def kill_or_survey(path: str, task: vhdxreader.SurveyTask) -> dict[str, object]:
    """`survey_image`, which one file kills: in place of a fault of a library of the system."""
    if os.path.getsize(path) == len(STUB):
        os.kill(os.getpid(), signal.SIGKILL)
    return vhdxreader.survey_image(path, task)


def plain_loop(paths: Iterable[str], task: vhdxreader.SurveyTask) -> Iterator[tuple[str, dict[str, Any]]]:
    """One image after another, in this process."""
    for path in paths:
        yield path, vhdxreader.survey_image(path, task)


@contextmanager
def local_cluster(workers: int = 2, threads: int = 1) -> Iterator[str]:
    """The address of a Dask cluster of processes on this machine, which replaces workers that die: a `LocalCluster`
    otherwise drops one for ever that is not there 15 s after it died, be it new or dead once more."""
    import dask
    from distributed import LocalCluster

    keeps = {"distributed.deploy.lost-worker-timeout": "1h", "distributed.scheduler.allowed-failures": 1}
    quiet = {"dashboard_address": None, "worker_dashboard_address": None, "silence_logs": "CRITICAL"}
    with (
        dask.config.set(keeps),
        LocalCluster(n_workers=workers, threads_per_worker=threads, processes=True, **quiet) as cluster,
    ):
        yield cluster.scheduler_address


def _name(depth: int) -> str:
    return f"{depth}.avhdx" if depth else "base.vhdx"


def _link(parent: Image | None, chain: int, depth: int) -> Image:
    """The next image of a chain; all of a chain have one VirtualDiskId, as Windows has it."""
    more = {"name": f"{chain} {depth}", "disk_id": uuid.UUID(int=chain + 1), "junk": Junk.NONE}
    blocks = {depth % 4: full(b"data"), 3: full(b"more")}
    if parent is None:
        return dynamic(SIZE, blocks, **more)
    return differencing(SIZE, blocks, parent=parent, parent_path=f".\\{_name(depth - 1)}", **more)


def _save(image: Image, path: Path, number: int) -> None:
    kind, place = divmod(number, PERIOD)
    if place == 7:
        path.write_bytes(bad(image, kind))
    elif place == 11:
        dirty(*hide(image, (image.bat_offset, 4 * KB))).save(path)
    else:
        image.save(path)
    if place == 17:
        shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
