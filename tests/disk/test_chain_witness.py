"""Other readers on our chains, where they are right: chains of whole blocks, states 0 and 6 only."""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from builder import MB, Image, Junk, differencing, dynamic, full

import vhdxreader

pytestmark = pytest.mark.witness


def full_block_chain(folder: Path) -> tuple[Image, list[Path]]:
    """Three generations, child first. libvhdi needs a sector bitmap block though no block is partially present."""
    as_written = {"junk": Junk.NONE, "bitmap_states": {0: 6}}
    oldest = dynamic(9 * MB, {n: full() for n in (0, 1, 2, 5)}, name="oldest")
    old = differencing(
        9 * MB,
        {1: full(), 3: full()},
        parent=oldest,
        parent_path="oldest.vhdx",
        name="old",
        **as_written,
    )
    new = differencing(
        9 * MB,
        {2: full(), 3: full(), 8: full()},
        parent=old,
        parent_path="old.vhdx",
        name="new",
        **as_written,
    )
    paths = [
        image.save(folder / name) for image, name in ((new, "new.vhdx"), (old, "old.vhdx"), (oldest, "oldest.vhdx"))
    ]
    return new, paths


def ours(path: Path) -> bytes:
    with vhdxreader.open(path) as disk:
        return disk.read()


def test_7zz(tmp_path):
    program = shutil.which("7zz")
    if program is None:
        pytest.skip("7zz is not installed")
    image, paths = full_block_chain(tmp_path)
    done = subprocess.run([program, "e", "-so", paths[0]], capture_output=True, check=True)
    assert done.stdout == ours(paths[0]) == image.expected()


def test_libvhdi(tmp_path):
    pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi's Python binding is not installed")
    image, paths = full_block_chain(tmp_path)
    files = [pyvhdi.file() for _ in paths]
    for file, path in zip(files, paths, strict=True):
        file.open(str(path))
    for file, parent in pairwise(files):
        file.set_parent(parent)
    assert files[0].read_buffer_at_offset(image.size, 0) == ours(paths[0]) == image.expected()
