"""Cells of pictures, held against what the builder placed where."""

from __future__ import annotations

import random

import pytest
from builder import GB, MB, TB, Image, differencing, dynamic, full, partial, reserved, unmapped, zeroed

import vhdxreader
from vhdxreader import disk_cells, file_cells, total_parts

SIZE = 64 * MB


def family() -> tuple[Image, Image, Image]:
    base = dynamic(SIZE, {0: full(), 1: full(), 3: full(), 4: zeroed(), 40: full()}, name="base")
    middle = differencing(SIZE, {3: partial([0, 1, 2]), 5: full(), 30: partial(range(1024))}, parent=base, name="m")
    child = differencing(SIZE, {0: partial([5]), 10: full(), 11: zeroed(), 50: unmapped()}, parent=middle, name="c")
    return child, middle, base


def opened(*images: Image, **how) -> vhdxreader.VirtualDisk:
    rest = iter(images[1:])
    return vhdxreader.open(images[0].open(), parents=lambda _: next(rest).open(), **how)


def test_bytes_are_counted_by_what_they_come_from():
    cells = disk_cells(opened(*family()), 64)
    assert [(cell.disk_offset, cell.length) for cell in cells] == [(n * MB, MB) for n in range(64)]
    assert cells[0].parts() == {"data": 512, "parent 2": MB - 512}
    assert cells[3].parts() == {"parent 1": 3 * 512, "parent 2": MB - 3 * 512}
    assert cells[4].parts() == cells[11].parts() == cells[50].parts() == {"zero": MB}
    assert cells[10].parts() == {"data": MB}
    assert cells[30].parts() == {"parent 1": MB // 2, "absent": MB // 2}
    assert total_parts(cells) == {
        "data": MB + 512,
        "parent 1": MB + 3 * 512 + MB // 2,
        "parent 2": 4 * MB - 4 * 512,
        "zero": 3 * MB,
        "absent": SIZE - 10 * MB + MB // 2,
    }
    assert all(cell.exact for cell in cells)


def test_any_number_of_cells_makes_up_the_disk():
    disk = opened(dynamic(10 * MB + 1536, {0: full(), 10: full()}))
    for most in (1, 2, 3, 7, 100, 5000):
        cells = disk_cells(disk, most)
        assert len(cells) <= most
        assert cells[0].length & (cells[0].length - 1) == 0 or len(cells) == 1
        assert [cell.disk_offset for cell in cells] == [n * cells[0].length for n in range(len(cells))]
        assert sum(cell.length for cell in cells) == disk.size
        assert total_parts(cells)["data"] == MB + 1536


def test_what_is_in_a_parent_that_is_not_open_is_not_called_zeros():
    child, *_ = family()
    parts = total_parts(disk_cells(vhdxreader.open(child.open(), parents=None), 8))
    assert parts == {"data": MB + 512, "zero": 2 * MB, "unknown": SIZE - 3 * MB - 512}


def test_what_cannot_be_read_is_lost():
    image = dynamic(8 * MB, {0: full(), 1: reserved(5), 2: full()}, overrides={"block[2]": 6 + (900 << 20)})
    cells = disk_cells(opened(image), 8)
    assert [list(cell.parts()) for cell in cells[:4]] == [["data"], ["lost"], ["lost"], ["absent"]]


def test_jumps_are_where_data_do_not_follow_in_the_file():
    image = dynamic(64 * MB, {n: full() for n in range(64)})
    cells = disk_cells(opened(image), 16)
    follow = [image.block_offset[n + 1] == image.block_offset[n] + MB for n in range(63)]
    assert sum(cell.jumps for cell in cells) == follow.count(False)
    places = [image.block_offset[n] for n in range(4)]
    assert (cells[0].file_start, cells[0].file_end) == (min(places), max(places) + MB)


def test_very_many_parts_are_estimated(monkeypatch):
    """Sectors of a child and its parent in turn, and a cell where one in ten is the child's."""
    monkeypatch.setattr("vhdxreader.tools.allocation._EXTENTS", 400)
    rng = random.Random(4)
    some = sorted(rng.sample(range(2048), 205))
    base = dynamic(4 * MB, {n: full() for n in range(4)}, name="base")
    child = differencing(4 * MB, {0: partial(range(0, 2048, 2)), 1: partial(some), 2: full()}, parent=base, name="c")
    cells = disk_cells(opened(child, base), 4)
    assert [cell.exact for cell in cells] == [False, False, True, True]
    assert all(sum(cell.parts().values()) == MB for cell in cells)
    assert cells[0].parts()["data"] == pytest.approx(MB / 2, rel=0.05)
    assert cells[1].parts()["data"] == pytest.approx(MB / 10, rel=0.2)
    assert cells[2].parts() == {"data": MB}


def test_the_largest_disk():
    image = dynamic(64 * TB, {5: full(), 60 * 1024 * 1024: full()})
    cells = disk_cells(opened(image), 1000)
    assert len(cells) <= 1000
    assert total_parts(cells) == {"data": 2 * MB, "absent": 64 * TB - 2 * MB}
    assert sum(cell.length for cell in file_cells(opened(image).image, 1000)) == opened(image).image.file_size


def test_the_file_is_structures_blocks_and_what_belongs_to_nothing():
    image = dynamic(8 * MB, {0: full(), 3: full(), 4: full()})
    disk = opened(image)
    cells = {cell.file_offset: cell for cell in file_cells(disk.image, 1000)}
    assert {cell.length for cell in cells.values()} == {MB}
    for offset in (0, image.log_offset, image.bat_offset, image.metadata_offset):
        assert cells[offset].parts() == {"structures": MB}
    for offset in image.block_offset.values():
        assert cells[offset].parts() == {"blocks": MB}
    rest = set(cells) - {0, image.log_offset, image.bat_offset, image.metadata_offset, *image.block_offset.values()}
    assert all(cells[offset].parts() == {"unused": MB} for offset in rest)
    unused = sum(part.length for part in vhdxreader.unused_ranges(disk.image))
    assert total_parts(list(cells.values())).get("unused", 0) == unused


def test_cells_are_json():
    cell = disk_cells(opened(*family()), 64)[0]
    assert cell.to_dict()["data_lengths"] == [{"depth": 0, "length": 512}, {"depth": 2, "length": MB - 512}]
    assert file_cells(opened(*family()).image, 4)[0].to_dict()["file_offset"] == 0


def test_a_file_of_many_gigabytes():
    image = dynamic(40 * GB, {0: full()}, block_size=32 * MB)
    assert len(file_cells(opened(image).image, 10)) <= 10
    assert disk_cells(opened(image), 3)[0].length >= 10 * GB
    assert disk_cells(opened(dynamic(MB)), 10**6)[0].length == 512
