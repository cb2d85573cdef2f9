"""Real dirty images: read as others agree they must, and as qemu reads them once it has repaired a copy."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import crash_images
import pytest
from builder import (
    MB,
)

import vhdxreader


@pytest.fixture
def real_dirty(corpus: Path) -> Path:
    return corpus / "vhdx-log-replay.vhdx"


def digest(read: Callable[[int], bytes]) -> str:
    sha = hashlib.sha256()
    while data := read(4 * MB):
        sha.update(data)
    return sha.hexdigest()


@pytest.mark.corpus
def test_a_real_dirty_image(real_dirty: Path) -> None:
    """By DiscUtils' test data: the BAT in the file is empty; after replay there is an MBR with two partitions."""
    before = hashlib.sha256(real_dirty.read_bytes()).digest()
    with vhdxreader.open(real_dirty) as disk:
        assert digest(disk.read) == "3ba3b309425b7ff5e8e0199edceed95226250f880c53b24e8eae93865f3fad5e"
        mbr = disk.pread(512, 0)
        assert mbr[510:] == b"\x55\xaa"
        assert sum(mbr[446 + 16 * n + 4] != 0 for n in range(4)) == 2
        log = disk.image.log
        assert len(log.entries) == 5
        assert len(log.active.to_replay) == 2
        assert disk.image.log_changes().bat_entries == 4
    with vhdxreader.open(real_dirty, log="ignore") as disk:
        assert disk.image.allocated_blocks() == 0
        assert not any(disk.pread(MB, 0))
    assert hashlib.sha256(real_dirty.read_bytes()).digest() == before


@pytest.mark.corpus
@pytest.mark.witness
def test_a_real_dirty_image_beside_qemu(real_dirty: Path, witness: Callable[[str], str], tmp_path: Path) -> None:
    copy, raw = tmp_path / "copy.vhdx", tmp_path / "copy.raw"
    shutil.copy(real_dirty, copy)
    crash_images.run(witness("qemu-img"), "check", "-r", "all", str(copy))
    crash_images.run(witness("qemu-img"), "convert", "-f", "vhdx", "-O", "raw", str(copy), str(raw))
    with vhdxreader.open(real_dirty) as disk, raw.open("rb") as theirs:
        assert disk.size == os.path.getsize(raw)
        assert digest(disk.read) == digest(theirs.read)
    with vhdxreader.open(copy) as disk:
        assert disk.image.log is None


@pytest.mark.slow
@pytest.mark.witness
@pytest.mark.parametrize("seed", range(6))
def test_what_a_killed_writer_leaves(seed: int, witness: Callable[[str], str], tmp_path: Path) -> None:
    """A hundred of them: `python tests/disk/crash_images.py`."""
    assert witness("qemu-io")
    assert witness("qemu-img")
    path = tmp_path / "image.vhdx"
    crash_images.crash(path, random.Random(seed), tries=2)
    crash_images.compare(path, tmp_path)
