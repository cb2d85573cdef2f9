"""The Sleuth Kit over our disks: files of a real NTFS and a real FAT, of which one is in an image with a dirty log."""

from __future__ import annotations

import pytest
import pytsk3

import vhdxreader
from vhdxreader.integrations.tsk import ImgInfo

FILES = {
    "small_ntfs_test.vhdx": ("NTFS", "$MFT"),
    "config2_base.vhdx": ("FAT32", None),
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", FILES)
def test_files_of_real_file_systems(name, corpus):
    volume, wanted = FILES[name]
    with vhdxreader.open(corpus / name) as disk:
        table = disk.partitions()
        (part,) = [part for part in table.partitions if part.volume == volume]
        for system in (
            pytsk3.FS_Info(ImgInfo(disk), offset=part.disk_offset),
            pytsk3.FS_Info(ImgInfo(disk.partition(part.number))),
        ):
            names = [entry.info.name.name.decode() for entry in system.open_dir("/")]
            assert wanted is None or wanted in names
            assert names
        volumes = pytsk3.Volume_Info(ImgInfo(disk))
        starts = {entry.start * 512 for entry in volumes if entry.flags == pytsk3.TSK_VS_PART_FLAG_ALLOC}
        assert part.disk_offset in starts


def test_what_cannot_be_read_is_an_error():
    from builder import MB, dynamic, reserved

    with vhdxreader.open(dynamic(MB, {0: reserved(4)}).open()) as disk, pytest.raises(OSError, match="state 4"):
        ImgInfo(disk).read(0, 512)
