"""The images that are measured, made when first asked for, in one folder. Sizes are bytes.

They come from the tests' independent builder; only the 64 TB ones get their BAT written straight into the file.
"""

from __future__ import annotations

import random
import sys
from array import array
from functools import cached_property
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from builder import GB, MB, TB, Locator, Spec, build, differencing, dynamic, full, partial

DENSE_SIZE = GB
SPARSE_SIZE = 64 * GB
HUGE_SIZE = 64 * TB
VAST_SIZE = 8 * TB
PARTIAL_SIZE = 64 * MB
_VAST_BLOCK = 32 * MB
_VAST_BLOCKS = (0, 1000, VAST_SIZE // _VAST_BLOCK - 1)
_CLUSTER = 1000  # blocks
_FULLY_PRESENT = 6
_HUGE_CHUNK = 4096  # payload blocks of 1 MB to a sector bitmap entry, at 512-byte sectors


class Images:
    """Paths of images and raw files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def dense(self) -> Path:
        """1 GB, every block present and full of noise; blocks of 1 MB, none behind its predecessor in the file."""
        blocks = {number: full(_noise(number)) for number in range(DENSE_SIZE // MB)}
        image = dynamic(DENSE_SIZE, blocks)
        self._dense_guid = image.data_write_guid
        return image.save(self.folder / "dense.vhdx")

    @cached_property
    def dense_raw(self) -> Path:
        """The raw file of the same bytes as `dense`."""
        path = self.folder / "dense.raw"
        with path.open("wb") as file:
            for number in range(DENSE_SIZE // MB):
                file.write(_noise(number))
        return path

    @cached_property
    def sparse(self) -> Path:
        """64 GB of which every 200th block of 1 MB is there, full of noise."""
        blocks = {number: full(_noise(number)) for number in range(0, SPARSE_SIZE // MB, 200)}
        return dynamic(SPARSE_SIZE, blocks).save(self.folder / "sparse.vhdx")

    def chain(self, length: int) -> list[Path]:
        """`length` files, child first: all of the data is in the oldest, `dense`."""
        paths, parent = [self.dense], self._dense_guid
        for number in range(1, length):
            locator = Locator.to(parent, paths[-1].name)
            image = build(Spec("differencing", DENSE_SIZE, locator=locator, name=f"{length} {number}"))
            paths.append(image.save(self.folder / f"chain_{length}_{number}.vhdx"))
            parent = image.data_write_guid
        return paths[::-1]

    @cached_property
    def alternating(self) -> tuple[Path, Path]:
        """A child and its parent, of 64 MB: every other sector is the child's."""
        count = PARTIAL_SIZE // MB
        parent = dynamic(PARTIAL_SIZE, {number: full(_noise(number)) for number in range(count)}, name="alternating")
        path = parent.save(self.folder / "alternating_parent.vhdx")
        blocks = {number: partial(range(0, 2048, 2)) for number in range(count)}
        child = differencing(PARTIAL_SIZE, blocks, parent=parent, parent_path=path.name)
        return child.save(self.folder / "alternating.vhdx"), path

    def forest(self, count: int) -> Path:
        """A folder of so many images: chains of ten, each a base and its checkpoints."""
        folder = self.folder / "forest"
        folder.mkdir(exist_ok=True)
        parent = None
        for number in range(count):
            name = f"{number:04}.vhdx"
            locator = Locator.to(parent.data_write_guid, f"{number - 1:04}.vhdx") if parent and number % 10 else None
            kind = "differencing" if locator else "dynamic"
            parent = build(Spec(kind, GB, locator=locator, name=name))
            parent.save(folder / name)
        return folder

    @cached_property
    def small(self) -> Path:
        """10 MB with two blocks."""
        return dynamic(10 * MB, {0: full(), 9: full()}).save(self.folder / "small.vhdx")

    @cached_property
    def vast(self) -> Path:
        """8 TB in blocks of 32 MB, three present."""
        blocks = {number: full(_noise(number)) for number in _VAST_BLOCKS}
        return dynamic(VAST_SIZE, blocks, block_size=_VAST_BLOCK).save(self.folder / "vast.vhdx")

    @cached_property
    def vast_raw(self) -> Path:
        """The raw file of the same bytes as `vast`, sparse."""
        path = self.folder / "vast.raw"
        with path.open("wb") as file:
            for number in _VAST_BLOCKS:
                file.seek(number * _VAST_BLOCK)
                file.write(_noise(number).ljust(_VAST_BLOCK, b"\0"))
            file.truncate(VAST_SIZE)
        return path

    @cached_property
    def huge_empty(self) -> Path:
        """64 TB in blocks of 1 MB, none present."""
        return dynamic(HUGE_SIZE).save(self.folder / "huge_empty.vhdx")

    @cached_property
    def huge_clustered(self) -> Path:
        """64 TB in blocks of 1 MB, 1% of them present in clusters of 1000, each cluster in one piece in the file."""
        image = dynamic(HUGE_SIZE)
        path = image.save(self.folder / "huge_clustered.vhdx")
        at = image.file.length
        with path.open("r+b") as file:
            for first in range(0, HUGE_SIZE // MB - _CLUSTER, 100 * _CLUSTER):
                for block in range(first, first + _CLUSTER):
                    file.seek(image.bat_offset + 8 * (block + block // _HUGE_CHUNK))
                    file.write(array("Q", [_FULLY_PRESENT | at]).tobytes())
                    at += MB
            file.truncate(at)
        return path


def _noise(number: int) -> bytes:
    """1 MB that differs from number to number and does not compress."""
    return random.Random(number).randbytes(MB)
