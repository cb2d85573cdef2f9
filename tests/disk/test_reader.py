"""Reads over the shortcuts of the reader and of the map: always what the builder's model says, shortcut or not."""

from __future__ import annotations

import os
import random
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from builder import KB, MB, TB, differencing, dirty, dynamic, full, hide, not_present, partial, reserved, zeroed

import vhdxreader
from vhdxreader import Kind
from vhdxreader.files.source import Source
from vhdxreader.format.bat import Bat
from vhdxreader.format.block_geometry import Geometry


def by_path(image, folder, name="disk.vhdx"):
    return image.save(folder / name)


def random_ranges(size, count=200, longest=3 * MB, seed=0):
    choose = random.Random(seed)
    for _ in range(count):
        offset = choose.randrange(size)
        length = choose.choice([1, 512, 4096, 16 * KB, 64 * KB, MB, choose.randrange(longest)])
        if choose.random() < 0.5:
            offset, length = offset // 512 * 512, -(-length // 512) * 512
        yield offset, length


def assert_reads(disk, image, ranges):
    for offset, length in ranges:
        expected = image.expected(offset, length)
        assert disk.pread(length, offset) == expected
        buffer = bytearray(b"\xee" * length)
        assert disk.preadinto(buffer, offset) == len(expected)
        assert buffer[: len(expected)] == expected
        assert buffer[len(expected) :] == b"\xee" * (length - len(expected))


def alternating(step, first=0, count=2048):
    return [sector for sector in range(count) if (sector // step + first) % 2 == 0]


def scattered(seed):
    choose = random.Random(seed)
    return [sector for sector in range(2048) if choose.random() < 0.5]


SECTORS = {
    "every other": alternating(1),
    "every other, the parent's first": alternating(1, 1),
    "by 4 KiB": alternating(8),
    "by 64 KiB": alternating(128),
    "scattered": scattered(1),
    "only the first": [0],
    "all but the last": range(2047),
}
PARENT = dynamic(6 * MB + 3 * 512, {n: full() for n in (0, 1, 2, 4)}, name="parent")


@pytest.mark.parametrize("sectors", SECTORS.values(), ids=SECTORS)
def test_sectors_that_take_turns(tmp_path, sectors):
    """Over a parent that has data, that is zeros, and that ends."""
    blocks = {n: partial(sectors) for n in (0, 1, 3, 6)} | {2: full(), 7: zeroed()}
    child = differencing(9 * MB, blocks, parent=PARENT)
    by_path(PARENT, tmp_path, "parent.vhdx")
    with vhdxreader.open(by_path(child, tmp_path)) as disk:
        assert_reads(disk, child, [(0, 9 * MB), *random_ranges(9 * MB)])


def test_sectors_that_take_turns_in_many_files(tmp_path):
    """A chain of five, of which three have partially present blocks, one above the other and above absent ones."""
    chain = [by_path(PARENT, tmp_path, "0.vhdx")]
    image = PARENT
    plans = [
        {0: partial(scattered(2)), 3: partial(scattered(3))},
        {},
        {0: partial(alternating(1)), 1: partial(scattered(4))},
        {2: partial(alternating(3, 1)), 5: full()},
    ]
    for number, blocks in enumerate(plans, 1):
        image = differencing(8 * MB, blocks, parent=image, parent_path=f"{number - 1}.vhdx", name=f"{number}")
        chain.append(by_path(image, tmp_path, f"{number}.vhdx"))
    with vhdxreader.open(chain[-1]) as disk:
        assert_reads(disk, image, [(0, 8 * MB), *random_ranges(8 * MB, 40, longest=MB)])


def test_a_block_that_the_parent_lost_is_missed_only_where_it_is_needed(tmp_path):
    parent = dynamic(2 * MB, {0: reserved(), 1: full()}, name="parent")
    child = differencing(2 * MB, {0: partial(alternating(1))}, parent=parent)
    by_path(parent, tmp_path, "parent.vhdx")
    path = by_path(child, tmp_path)
    with vhdxreader.open(path) as disk:
        assert disk.pread(512, 0)
        with pytest.raises(vhdxreader.CorruptImageError):
            disk.pread(MB, 0)
    with vhdxreader.open(path, errors="zero") as disk:
        data = disk.pread(MB, 0)
        for sector in range(0, 2048, 2):
            assert data[sector * 512 : sector * 512 + 512] == disk.pread(512, sector * 512)
            assert not any(data[sector * 512 + 512 : sector * 512 + 1024])
        assert sum(lost.length for lost in disk.lost) == MB // 2


@pytest.mark.parametrize("failing", ["child", "parent"])
def test_a_bad_spot_that_nobody_needs(tmp_path, monkeypatch, failing):
    """A range that is read whole to pick sectors out of it may have one that cannot be read, and is not asked for."""
    child = differencing(2 * MB, {0: partial(alternating(1))}, parent=PARENT)
    paths = {"parent": by_path(PARENT, tmp_path, "parent.vhdx"), "child": by_path(child, tmp_path)}
    bad = child.block_offset[0] + 512 if failing == "child" else PARENT.block_offset[0]
    preadv, inode = os.preadv, paths[failing].stat().st_ino

    def failing_preadv(fd, buffers, offset):
        if os.fstat(fd).st_ino == inode and offset <= bad < offset + sum(len(buffer) for buffer in buffers):
            raise OSError(5, "Input/output error")
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing_preadv)
    with vhdxreader.open(paths["child"]) as disk:
        assert disk.pread(MB, 0) == child.expected(0, MB)


def test_a_dirty_image(tmp_path):
    """What the log replaces is never read from the file, though its neighbours are, straight."""
    image = dynamic(6 * MB, {0: full(), 1: full(), 2: full(), 5: full()})
    place = image.block_offset[1]
    stale, updates = hide(image, (place + 64 * KB, 8 * KB), (image.block_offset[5] + MB - 4096, 4096))
    with vhdxreader.open(by_path(dirty(stale, updates), tmp_path)) as disk:
        for _ in range(2):
            assert_reads(disk, image, [(0, 6 * MB), *random_ranges(6 * MB)])


# ---- places that are remembered


def test_the_second_read_is_as_the_first(tmp_path):
    image = dynamic(40 * MB + 512, {n: full() for n in range(0, 41, 3)})
    with vhdxreader.open(by_path(image, tmp_path)) as disk:
        for seed in (0, 0, 1):
            assert_reads(disk, image, random_ranges(image.size, seed=seed))


def test_more_places_than_are_kept(tmp_path):
    """Each of 300 pages of places, twice: data in the first block of every hundredth."""
    span = 4096 * MB
    image = dynamic(300 * span, {n: full(f"block {n}".encode()) for n in range(0, 300 * 4096, 100 * 4096)})
    with vhdxreader.open(by_path(image, tmp_path)) as disk:
        for _ in range(2):
            for page in range(300):
                assert disk.pread(16, page * span) == image.expected(page * span, 16)
                assert disk.pread(16, page * span + span - 8) == image.expected(page * span + span - 8, 16)


def test_threads_read_right(tmp_path):
    image = dynamic(64 * MB, {n: full() for n in range(0, 64, 2)})
    with vhdxreader.open(by_path(image, tmp_path)) as disk, ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(assert_reads, disk, image, list(random_ranges(64 * MB, 60, seed=n))) for n in range(8)]
        for task in tasks:
            task.result()


def test_a_file_cut_short_after_it_was_opened(tmp_path):
    image = dynamic(3 * MB, {0: full(), 1: full(), 2: full()}, block_order=[("block", n) for n in range(3)])
    path = by_path(image, tmp_path)
    with vhdxreader.open(path) as disk:
        assert disk.pread(3 * MB, 0) == image.expected()
        os.truncate(path, image.block_offset[2] + 100)
        assert disk.pread(2 * MB + 100, 0) == image.expected(0, 2 * MB + 100)
        for call in (disk.pread, lambda size, offset: disk.preadinto(bytearray(size), offset)):
            for size, offset in ((101, 2 * MB), (MB, 2 * MB), (2 * MB, MB), (3 * MB, 0)):
                with pytest.raises(vhdxreader.TruncatedImageError):
                    call(size, offset)


def test_a_closed_parent_is_not_read_through_its_number(tmp_path):
    """The descriptor's number may belong to another file by then."""
    child = differencing(2 * MB, {1: full()}, parent=PARENT)
    parent_disk = vhdxreader.open(by_path(PARENT, tmp_path, "parent.vhdx"))
    with vhdxreader.open(by_path(child, tmp_path), parent=parent_disk) as disk:
        assert disk.pread(512, 0) == child.expected(0, 512)
        parent_disk.close()
        decoys = [os.open(tmp_path / "disk.vhdx", os.O_RDONLY) for _ in range(8)]
        try:
            for call in (disk.pread, lambda size, offset: disk.preadinto(bytearray(size), offset)):
                with pytest.raises(ValueError, match="closed"):
                    call(512, 0)
            assert disk.pread(512, MB) == child.expected(MB, 512)
        finally:
            for fd in decoys:
                os.close(fd)


# ---- runs of BAT entries


class Words(Source):
    """A BAT at offset 0."""

    name, path = "words", None

    def __init__(self, words):
        self._data = array("Q", words).tobytes()
        self.size = len(self._data)

    def _read_some(self, buffer, offset):
        data = self._data[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    def close(self):
        pass


@pytest.mark.parametrize("step", [0, MB])
@pytest.mark.parametrize("length", [0, 1, 2, 31, 32, 33, 1000])
def test_entries_alike_are_counted(step, length):
    """`length` entries behind the first continue it, then one does not, then more that would."""
    for odd in (1, step or 1, -1 if step else 8):
        words = [10 * MB + 6 + step * n for n in range(2000)]
        words[length + 1] += odd
        bat = Bat(Words(words), 0, Geometry(2000 * MB, MB, 512, has_parent=False))
        assert bat.alike(0, 1999, step) == length
        assert bat.alike(0, length // 2, step) == length // 2
        assert bat.alike(length + 2, 5000, step) == 2000 - (length + 3)


def blocks_of(pattern):
    return {n: {"d": full(b"d%d" % n), "z": zeroed(), "a": not_present()}[kind] for n, kind in enumerate(pattern)}


@pytest.mark.parametrize("order", ["shuffled", "in order"])
def test_extents_are_the_model_s(tmp_path, order):
    """Long runs of every kind, over the borders of pages and chunks, and single blocks between them."""
    choose = random.Random(3)
    pattern = "".join(choose.choice("dza") * choose.choice([1, 1, 2, 3, 50, 900]) for _ in range(20))[:9000].ljust(
        9000, "a"
    )
    pattern = pattern[:4090] + "d" * 12 + pattern[4102:]
    data = [n for n, kind in enumerate(pattern) if kind == "d"]
    more = {} if order == "shuffled" else {"block_order": [("block", n) for n in data]}
    image = dynamic(9000 * MB, blocks_of(pattern), **more)
    with vhdxreader.open(by_path(image, tmp_path)) as disk:
        extents = list(disk.extents())
    kinds = {"d": Kind.DATA, "z": Kind.ZERO, "a": Kind.ABSENT}
    assert [extent.disk_offset for extent in extents] == [0, *(e.disk_offset + e.length for e in extents[:-1])]
    assert extents[-1].disk_offset + extents[-1].length == image.size
    for extent in extents:
        for block in range(extent.disk_offset // MB, (extent.disk_offset + extent.length) // MB):
            assert extent.kind is kinds[pattern[block]]
            if extent.kind is Kind.DATA:
                assert extent.file_offset + block * MB - extent.disk_offset == image.block_offset[block]
    for one, next_one in pairwise(extents):
        adjacent = one.kind is Kind.DATA and one.file_offset + one.length == next_one.file_offset
        assert one.kind is not next_one.kind or (one.kind is Kind.DATA and not adjacent)


def test_extents_of_the_largest_disk(tmp_path):
    """64 TiB in blocks of 1 MiB: 67 million entries, of which three say something."""
    blocks = {0: full(b"first"), 40_000_000: zeroed(), (1 << 26) - 1: full(b"last")}
    image = dynamic(64 * TB, blocks)
    with vhdxreader.open(by_path(image, tmp_path)) as disk:
        found = [(extent.disk_offset // MB, extent.length // MB, extent.kind) for extent in disk.extents()]
    assert found == [
        (0, 1, Kind.DATA),
        (1, 39_999_999, Kind.ABSENT),
        (40_000_000, 1, Kind.ZERO),
        (40_000_001, (1 << 26) - 40_000_002, Kind.ABSENT),
        ((1 << 26) - 1, 1, Kind.DATA),
    ]


def test_data_runs_end_with_the_file(tmp_path):
    """Entries in order, of which the last lie behind the end of the file."""
    order = [("block", n) for n in range(8)]
    image = dynamic(8 * MB, {n: full() for n in range(8)}, block_order=order)
    image.truncate(image.block_offset[5] + 512)
    with vhdxreader.open(by_path(image, tmp_path)) as disk:
        extents = [(extent.disk_offset, extent.length, extent.kind) for extent in disk.extents()]
        assert extents[0] == (0, 5 * MB + 512, Kind.DATA)
        assert {kind for _, _, kind in extents[1:]} == {Kind.ERROR}
        assert disk.pread(5 * MB + 512, 0) == image.expected(0, 5 * MB + 512)
        with pytest.raises(vhdxreader.TruncatedImageError):
            disk.pread(5 * MB + 513, 0)
