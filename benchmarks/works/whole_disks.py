"""Work that goes over whole disks or many: `compare` beside cmp, a digest beside hashlib, `tree` of a folder."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import peers
from images import DENSE_SIZE, Images
from measure import Work, milliseconds, processor_time, rate, timed

import vhdxreader

_ROUNDS = 5
_MANY = 1000


def works(images: Images) -> Iterator[Work]:
    """Each by the clock and by the time of the processors, which other work on the machine disturbs less."""
    tasks = {"hash of dense 1 GB, sha256": ("hashlib", 0.95, _digests(images))}
    if peers.command("cmp"):
        tasks["compare of two equal dense 1 GB"] = ("cmp", 0.9, _comparisons(images))
    for name, (peer, goal, contestants) in tasks.items():
        for clock, unit in ((timed, "time"), (processor_time, "processor time")):
            runs = {who: clock(task) for who, task in contestants.items()}
            yield Work(
                name,
                runs,
                rate(DENSE_SIZE),
                f"{peer} / ours, {unit}",
                lambda v, peer=peer: v[peer] / v["ours"],
                goal,
                at_least=True,
                rounds=_ROUNDS,
            )
    tree = peers.own_command(images.folder, "tree", images.forest(_MANY))
    for clock, unit in ((timed, "s"), (processor_time, "s of processors")):
        runs = {"ours": clock(tree)}
        yield Work(f"tree of {_MANY} images", runs, milliseconds, unit, lambda v: v["ours"], 5, rounds=_ROUNDS)


def _digests(images: Images) -> dict[str, Callable[[], object]]:
    """In this process, of the raw file and of the disk in the image."""
    return {"hashlib": lambda: _raw_digest(images.dense_raw), "ours": lambda: _digest(images.dense)}


def _raw_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path) -> str:
    with vhdxreader.open(path) as disk:
        return vhdxreader.hash_disk(disk)["sha256"]


def _comparisons(images: Images) -> dict[str, Callable[[], object]]:
    """As processes, of two raw files and of the two images of the same bytes."""
    raw, image = (_copy(path) for path in (images.dense_raw, images.dense))
    cmp = ["cmp", str(images.dense_raw), str(raw)]
    return {
        "cmp": lambda: subprocess.run(cmp, check=True),
        "ours": peers.own_command(images.folder, "compare", images.dense, image),
    }


def _copy(path: Path) -> Path:
    return Path(shutil.copyfile(path, path.with_name(f"copy of {path.name}")))
