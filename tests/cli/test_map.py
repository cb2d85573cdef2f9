"""Extents of one file and of a chain, held against what the builder placed where, sector by sector."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from builder import MB, Image, differencing, dynamic, full, partial, reserved, undefined, unmapped, zeroed

import vhdxreader
from vhdxreader import Extent, Kind

Piece = tuple[int, Kind, int | None]
"""Depth, kind, and the file offset of data."""


def in_memory(*images: Image, **how) -> vhdxreader.VirtualDisk:
    rest = iter(images[1:])
    return vhdxreader.open(images[0].open(), **(how or {"parents": lambda _: next(rest).open()}))


def piece(images: list[Image], depth: int, offset: int) -> Piece:
    """Where one sector comes from, looked up as the format says."""
    spec = images[depth].spec
    if offset >= spec.virtual_size:
        return depth, Kind.ZERO, None
    n, within = divmod(offset, spec.block_size)
    block = spec.block(n)
    if block.state in (1, 2, 3):
        return depth, Kind.ZERO, None
    if block.state == 6 or (block.state == 7 and within // spec.sector_size in block.sectors):
        return depth, Kind.DATA, images[depth].block_offset[n] + within
    if depth + 1 < len(images):
        return piece(images, depth + 1, offset)
    return depth, Kind.ABSENT, None


def expected(images: list[Image]) -> list[tuple[int, int, int, Kind, int | None]]:
    """(offset, length, depth, kind, file offset), neighbours alike joined."""
    joined: list[tuple[int, int, int, Kind, int | None]] = []
    for offset in range(0, images[0].size, 512):
        depth, kind, where = piece(images, 0, offset)
        if joined:
            start, length, last_depth, last_kind, last_where = joined[-1]
            goes_on = where is None or (last_where is not None and last_where + length == where)
            if (last_depth, last_kind) == (depth, kind) and goes_on:
                joined[-1] = (start, length + 512, depth, kind, last_where)
                continue
        joined.append((offset, 512, depth, kind, where))
    return joined


def plain(extents: Iterator[Extent]) -> list[tuple[int, int, int, Kind, int | None]]:
    return [(e.disk_offset, e.length, e.depth, e.kind, e.file_offset) for e in extents]


def family(seed: int = 1) -> list[Image]:
    """Three files, child first; blocks that follow each other in the file, too."""
    rng = random.Random(seed)
    in_order = [("block", n) for n in (0, 1, 2, 3)]
    oldest = dynamic(
        9 * MB,
        {0: full(), 1: full(), 2: full(), 3: full(), 5: zeroed(), 6: undefined()},
        block_order=in_order,
        name="oldest",
    )
    old = differencing(
        7 * MB + 512,
        {0: partial(rng.sample(range(2048), 300)), 1: partial([0, 2047]), 2: partial([0]), 5: full(), 7: zeroed()},
        parent=oldest,
        block_order=[("bitmap", 0), ("block", 0), ("block", 1), ("block", 2), ("block", 5)],
        name="old",
    )
    blocks = {0: partial(range(0, 4096, 100)), 1: partial([5]), 2: unmapped(), 3: partial(range(4096))}
    new = differencing(
        12 * MB,
        blocks,
        block_size=2 * MB,
        parent=old,
        block_order=[("block", 3), ("block", 0), ("block", 1), ("bitmap", 0)],
        name="new",
    )
    return [new, old, oldest]


@pytest.mark.parametrize("seed", [1, 2])
def test_merged_map_of_a_chain(seed):
    images = family(seed)
    with in_memory(*images) as disk:
        assert plain(disk.extents()) == expected(images)


def test_any_range_is_cut_out_of_the_whole():
    images = family()
    whole = expected(images)
    rng = random.Random(3)
    with in_memory(*images) as disk:
        for _ in range(200):
            offset = rng.randrange(disk.size + 1)
            length = min(rng.choice([0, 1, 700, 5000, MB, 12 * MB]), disk.size - offset)
            wanted = []
            for start, size, depth, kind, where in whole:
                first, end = max(start, offset), min(start + size, offset + length)
                if first < end:
                    moved = None if where is None else where + first - start
                    wanted.append((first, end - first, depth, kind, moved))
            assert plain(disk.extents(offset=offset, length=length)) == wanted


def test_data_is_where_the_map_says():
    images = family()
    want = images[0].expected()
    with in_memory(*images) as disk:
        for extent in disk.extents():
            if extent.kind is Kind.DATA:
                own = images[extent.depth].file.read(extent.file_offset, extent.length)
                assert own == want[extent.disk_offset : extent.disk_offset + extent.length]


def test_own_map_is_what_this_file_changed():
    images = family()
    with in_memory(*images) as disk:
        own = list(disk.extents(chain=False))
        assert plain(iter(own)) == expected(images[:1]) == plain(disk.image.extents())
        assert all(not e.zero for e in own if e.kind is Kind.ABSENT)
    with in_memory(images[0], parents=None) as disk:
        assert list(disk.extents()) == own == list(disk.extents(chain=False))


def test_what_is_absent_everywhere_is_zero():
    base = dynamic(2 * MB, {0: full()}, name="base")
    child = differencing(2 * MB, {1: partial([0])}, parent=base, name="child")
    with in_memory(child, base) as disk:
        absent = list(disk.extents())[-1]
    assert absent.kind is Kind.ABSENT
    assert (absent.disk_offset, absent.depth) == (MB + 512, 1)
    assert (absent.present, absent.zero, absent.data) == (False, True, False)


def test_zeros_of_a_parent_and_those_behind_its_end_are_one_extent():
    base = dynamic(4 * MB, {n: full() for n in range(4)}, name="base")
    parent = differencing(2 * MB, {1: zeroed()}, parent=base, name="parent")
    child = differencing(4 * MB, {}, parent=parent, name="child")
    with in_memory(child, parent, base) as disk:
        assert plain(disk.extents())[-1] == (MB, 3 * MB, 1, Kind.ZERO, None)


def test_kinds_as_qemu_img_says_them():
    base = dynamic(4 * MB, {0: full(), 1: zeroed()}, name="base")
    with in_memory(base) as disk:
        data, zero, absent = disk.extents()
    assert (data.present, data.zero, data.data) == (True, False, True)
    assert (zero.present, zero.zero, zero.data) == (True, True, False)
    assert (absent.present, absent.zero, absent.data) == (False, True, False)


def test_each_extent_names_its_file(tmp_path):
    images = family()
    child = images[0].save(tmp_path / "new.avhdx")
    old, oldest = images[1].save(tmp_path / "old.avhdx"), images[2].save(tmp_path / "oldest.vhdx")
    with (
        vhdxreader.open(oldest) as base,
        vhdxreader.open(old, parent=base) as middle,
        vhdxreader.open(child, parent=middle) as disk,
    ):
        names = {extent.depth: extent.filename for extent in disk.extents()}
    assert names == {0: str(child), 1: str(old), 2: str(oldest)}


def test_errors_are_extents_with_the_reason():
    base = dynamic(4 * MB, {0: reserved(5), 1: full()}, name="base")
    child = differencing(4 * MB, {2: partial([3]), 3: full()}, bitmap_states={0: 2}, parent=base, name="child")
    with in_memory(child, base) as disk:
        extents = list(disk.extents())
        assert [(e.disk_offset, e.length, e.depth, e.kind) for e in extents] == [
            (0, MB, 1, Kind.ERROR),
            (MB, MB, 1, Kind.DATA),
            (2 * MB, MB, 0, Kind.ERROR),
            (3 * MB, MB, 0, Kind.DATA),
        ]
        for extent in extents:
            if extent.kind is Kind.ERROR:
                assert (extent.present, extent.zero, extent.data) == (False, False, False)
                with pytest.raises(type(extent.error)) as caught:
                    disk.pread(1, extent.disk_offset)
                assert str(caught.value) == str(extent.error)
            else:
                assert extent.error is None


def test_bitmap_runs_longer_than_a_page():
    """Bits are looked up by pages: runs that cross several of them are one extent."""
    sectors = range(5, 65536 * 2 - 7)  # 64 MiB of 512-byte sectors; a page of 4 KiB has the bits of 16 MiB
    base = dynamic(64 * MB, {}, block_size=64 * MB, name="base")
    child = differencing(64 * MB, {0: partial(dict.fromkeys(sectors, b""))}, block_size=64 * MB, parent=base, name="c")
    end = 64 * MB - 7 * 512
    with in_memory(child, base) as disk:
        where = child.block_offset[0]
        assert plain(disk.extents()) == [
            (0, 5 * 512, 1, Kind.ABSENT, None),
            (5 * 512, end - 5 * 512, 0, Kind.DATA, where + 5 * 512),
            (end, 7 * 512, 1, Kind.ABSENT, None),
        ]


@pytest.mark.parametrize("seed", range(4))
def test_runs_of_bits_at_any_place(seed):
    """All pairs of start and length near the borders of bytes, words and pages."""
    rng = random.Random(seed)
    present = set()
    at = 0
    while at < 65536:
        run = rng.choice([1, 2, 3, 7, 8, 9, 63, 64, 65, 66, 500, 4096, 33000])
        if rng.random() < 0.5:
            present.update(range(at, min(at + run, 65536)))
        at += run
    base = dynamic(32 * MB, {}, block_size=32 * MB, name="base")
    child = differencing(32 * MB, {0: partial(dict.fromkeys(present, b""))}, block_size=32 * MB, parent=base, name="c")
    want = expected([child, base])
    with in_memory(child, base) as disk:
        assert plain(disk.extents()) == want
        for _ in range(300):
            first = rng.choice([rng.randrange(65536), rng.choice(sorted(present)[:500])])
            count = rng.choice([1, 8, 64, 65, 128, 5000])
            got = list(disk.extents(offset=first * 512, length=min(count, 65536 - first) * 512))
            bits = [e.kind is Kind.DATA for e in got for _ in range(e.length // 512)]
            assert bits == [sector in present for sector in range(first, min(first + count, 65536))]
