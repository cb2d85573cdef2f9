"""What an image takes and what a copy would: as qemu-img measure and the file system say."""

from __future__ import annotations

import os

import pytest
from builder import GB, KB, MB, TB, dynamic, full, zeroed

import vhdxreader
from vhdxreader.tools.measure import FileUse, measure


def test_raw_and_vhd(tmp_path):
    size = 7 * MB + 512
    path = dynamic(size, {0: full(), 3: zeroed(), 7: full()}).save(tmp_path / "disk.vhdx")
    with vhdxreader.open(path) as disk:
        found, vhd = measure(disk), measure(disk, "vhd")
    assert (found.virtual_size, found.required, found.fully_allocated) == (size, MB + 512, size)
    assert (vhd.required, vhd.fully_allocated) == (MB + 512 + 512, 8 * MB + 512)
    status = os.stat(path)
    assert found.files[0].size == status.st_size
    assert found.files[0].allocated == status.st_blocks * 512


def test_no_file_no_use():
    with vhdxreader.open(dynamic(MB).open()) as disk:
        (use,) = measure(disk).files
    assert (use.allocated, use.shared) == (None, None)
    assert isinstance(use, FileUse)


def test_a_vhd_has_at_most_2040_gib():
    with vhdxreader.open(dynamic(2040 * GB).open()) as disk:
        assert measure(disk, "vhd").fully_allocated == 2040 * GB + 512
    with vhdxreader.open(dynamic(2040 * GB + 4 * KB).open()) as disk, pytest.raises(OverflowError, match="2,040 GiB"):
        measure(disk, "vhd")
    with vhdxreader.open(dynamic(TB).open()) as disk, pytest.raises(ValueError, match="vmdk"):
        measure(disk, "vmdk")
