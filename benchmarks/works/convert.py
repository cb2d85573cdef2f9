"""`vhdxreader convert` to raw, each as a process, the bytes on disk before the clock stops."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import peers
from images import DENSE_SIZE, Images
from measure import Work, milliseconds, rate, timed

_ROUNDS = 5


def works(images: Images) -> Iterator[Work]:
    """Dense beside cp and qemu-img, sparse beside qemu-img; then what the sparse one takes on disk."""
    target = images.folder / "converted.raw"
    dense = {"ours": _ours(images.dense, target), "cp": _cp(images.dense_raw, target)}
    sparse = {"ours": _ours(images.sparse, target)}
    if peers.command("qemu-img"):
        dense["qemu-img"] = _qemu(images.dense, target)
        sparse["qemu-img"] = _qemu(images.sparse, target)
    if peers.command("7zz"):
        dense["7zz"] = _seven_zip(images.dense, target)
    name, show = "convert of dense 1 GB", rate(DENSE_SIZE)
    yield Work(name, dense, show, "ours / cp", lambda v: v["ours"] / v["cp"], 1.1, rounds=_ROUNDS)
    qemu = {who: run for who, run in dense.items() if who in ("ours", "qemu-img")}
    yield Work(name, qemu, show, "ours / qemu-img", lambda v: v["ours"] / v["qemu-img"], 1.0, rounds=_ROUNDS)
    what = "qemu-img / ours"
    yield Work(
        "convert of 64 GB, 0.5% full",
        sparse,
        milliseconds,
        what,
        lambda v: v["qemu-img"] / v["ours"],
        1.5,
        at_least=True,
        rounds=_ROUNDS,
    )
    use = {"source": _use(images.sparse), "ours": _use(target, _ours(images.sparse, target))}
    yield Work("its disk use", use, _megabytes, "ours / source", lambda v: v["ours"] / v["source"], 1.05, rounds=1)
    target.unlink(missing_ok=True)


def _ours(source: Path, target: Path) -> Callable[[], float]:
    """Syncs by itself."""
    return _fresh(target, peers.own_command(target.parent, "convert", source, target))


def _cp(source: Path, target: Path) -> Callable[[], float]:
    return _synced(target, ["cp", "--reflink=never", "--sparse=never", str(source), str(target)])


def _qemu(source: Path, target: Path) -> Callable[[], float]:
    return _synced(target, ["qemu-img", "convert", "-f", "vhdx", "-O", "raw", str(source), str(target)])


def _seven_zip(source: Path, target: Path) -> Callable[[], float]:
    def extract() -> None:
        with target.open("wb") as file:
            subprocess.run(["7zz", "e", "-so", str(source)], check=True, stdout=file, stderr=subprocess.DEVNULL)
        _sync(target)

    return _fresh(target, extract)


def _synced(target: Path, words: list[str]) -> Callable[[], float]:
    def run() -> None:
        subprocess.run(words, check=True)
        _sync(target)

    return _fresh(target, run)


def _fresh(target: Path, task: Callable[[], object]) -> Callable[[], float]:
    """`task`, timed, where there is no target and nothing of the one before is still on its way to the disk."""

    def run() -> float:
        target.unlink(missing_ok=True)
        os.sync()
        return timed(task)()

    return run


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _use(path: Path, make: Callable[[], float] | None = None) -> Callable[[], float]:
    def use() -> float:
        if make:
            make()
        return path.stat().st_blocks * 512

    return use


def _megabytes(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
