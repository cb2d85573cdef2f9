"""The BAT and its blocks [2.4, 2.5]: geometry by hand, states, paging, what is missing or in the way."""

from __future__ import annotations

import random
import sys
import tracemalloc
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import builder
import pytest
from builder import GB, JUNK, KB, MB, TB, Block, bat_entry, full, not_present, reserved, undefined, unmapped, zeroed
from cases import BLOCKS, Case, broken, parametrize, valid

import vhdxreader
from vhdxreader import CorruptImageError, Kind, TruncatedImageError, VhdxError
from vhdxreader.files.source import Source
from vhdxreader.format.bat import Bat
from vhdxreader.format.block_geometry import Geometry

BAT_LAST = ("log", "metadata", "junk", "blocks", "bat")  # an order in the file
BLOCKS_LAST = ("log", "metadata", "bat", "junk", "blocks")


# ---- geometry [2.5]: all numbers worked out by hand from the formulas of the specification


@pytest.mark.parametrize(
    ("size", "block", "sector", "ratio", "payload", "bitmaps", "entries", "entries_with_parent"),
    [
        (0, MB, 512, 4096, 0, 0, 0, 0),
        (512, MB, 512, 4096, 1, 1, 1, 4097),
        (MB + 512, MB, 512, 4096, 2, 1, 2, 4097),
        (4 * GB, MB, 512, 4096, 4096, 1, 4096, 4097),  # one chunk, and no bitmap entry behind it
        (4 * GB + 512, MB, 512, 4096, 4097, 2, 4098, 8194),
        (8 * GB, MB, 512, 4096, 8192, 2, 8193, 8194),
        (64 * TB, MB, 512, 4096, 67108864, 16384, 67125247, 67125248),
        (4 * GB, 2 * MB, 512, 2048, 2048, 1, 2048, 2049),
        (10 * GB, 32 * MB, 512, 128, 320, 3, 322, 387),
        (4 * GB + 512, 256 * MB, 512, 16, 17, 2, 18, 34),
        (64 * TB, 256 * MB, 512, 16, 262144, 16384, 278527, 278528),
        (32 * GB, MB, 4096, 32768, 32768, 1, 32768, 32769),
        (32 * GB + 4096, MB, 4096, 32768, 32769, 2, 32770, 65538),
        (64 * TB, MB, 4096, 32768, 67108864, 2048, 67110911, 67110912),
        (64 * TB, 256 * MB, 4096, 128, 262144, 2048, 264191, 264192),
    ],
)
def test_geometry(size, block, sector, ratio, payload, bitmaps, entries, entries_with_parent):
    geometry = Geometry(size, block, sector, has_parent=False)
    child = Geometry(size, block, sector, has_parent=True)
    assert geometry.chunk_ratio == child.chunk_ratio == ratio
    assert geometry.payload_blocks == child.payload_blocks == payload
    assert geometry.bitmap_blocks == child.bitmap_blocks == bitmaps
    assert (geometry.entries, child.entries) == (entries, entries_with_parent)


@pytest.mark.parametrize(
    ("block", "sector", "indexes", "bitmap_indexes"),
    [
        (MB, 512, {0: 0, 4095: 4095, 4096: 4097, 8191: 8192, 8192: 8194}, {0: 4096, 1: 8193, 16383: 67125247}),
        (32 * MB, 512, {127: 127, 128: 129, 255: 256, 256: 258}, {0: 128, 1: 257}),
        (256 * MB, 512, {15: 15, 16: 17, 31: 32, 32: 34}, {0: 16, 1: 33}),
        (MB, 4096, {32767: 32767, 32768: 32769, 67108863: 67110910}, {0: 32768, 1: 65537, 2047: 67110911}),
    ],
)
def test_interleaving(block, sector, indexes, bitmap_indexes):
    geometry = Geometry(64 * TB, block, sector, has_parent=True)
    assert {n: geometry.payload_index(n) for n in indexes} == indexes
    assert {n: geometry.bitmap_index(n) for n in bitmap_indexes} == bitmap_indexes
    assert [geometry.block_at(index) for index in indexes.values()] == [(False, n) for n in indexes]
    assert [geometry.block_at(index) for index in bitmap_indexes.values()] == [(True, n) for n in bitmap_indexes]


# ---- how large it must be

ENTRIES_OF_1_MB = 131072
BLOCKS_IN_1_MB = 131041  # and (131041 - 1) // 4096 = 31 sector bitmap entries between them

CASES = [
    Case(
        "bat.too_small",
        lambda: broken_bat_length(BLOCKS_IN_1_MB + 1),
        CorruptImageError,
        at=192 * KB + 16,
        says=f"{8 * (ENTRIES_OF_1_MB + 1):#x}",
    )
]


def broken_bat_length(blocks):
    """A disk of so many blocks of 1 MiB, whose BAT region has 1 MiB."""
    return valid(virtual_size=blocks * MB, blocks={blocks - 1: full(b"end")}, overrides={"region.bat.length": MB})


@parametrize(CASES)
def test_rule(case):
    case.check()


def test_bat_just_large_enough():
    assert BLOCKS_IN_1_MB + (BLOCKS_IN_1_MB - 1) // 4096 == ENTRIES_OF_1_MB
    with vhdxreader.open(broken_bat_length(BLOCKS_IN_1_MB).open()) as disk:
        assert disk.image.findings == ()
        assert disk.pread(3, disk.size - MB) == b"end"


# ---- states


def test_states_of_a_dynamic_disk():
    """Stale offsets in states 0 to 3 point at junk, which must not show."""
    states = {0: full(), 1: zeroed(), 2: not_present(), 3: undefined(), 4: unmapped(), 6: full()}
    image = valid(virtual_size=8 * MB, blocks=states)
    with vhdxreader.open(image.open()) as disk:
        data = disk.read()
        kinds = {
            extent.disk_offset // MB: extent.kind for n in range(8) for extent in disk.extents(offset=n * MB, length=MB)
        }
    assert data == image.expected()
    assert JUNK not in data
    zeros = dict.fromkeys((1, 3, 4), Kind.ZERO)
    assert kinds == {0: Kind.DATA, 6: Kind.DATA, **zeros, **dict.fromkeys((2, 5, 7), Kind.ABSENT)}


def test_reserved_bits_of_an_entry_are_no_offset():
    image = valid(blocks={0: Block(6, reserved_bits=0x1FFFF), 2: Block(2, reserved_bits=0x15555)})
    with vhdxreader.open(image.open()) as disk:
        assert disk.read() == image.expected()


def test_sector_bitmap_entries_of_a_dynamic_disk_are_not_looked_at():
    image = valid(virtual_size=4 * GB + 3 * MB, blocks={4095: full(), 4096: full()}, bitmap_states={0: 6})
    with vhdxreader.open(image.open()) as disk:
        assert disk.pread(2 * MB, 4095 * MB) == image.expected(4095 * MB, 2 * MB)


def test_count_of_allocated_blocks():
    blocks = {0: full(), 1: zeroed(), 4095: full(), 4096: full(), 5000: full()}
    image = valid(virtual_size=5 * GB, blocks=blocks, bitmap_states={0: 6})
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.allocated_blocks() == 4


# ---- what cannot be read: the block is lost, the rest reads


def onto(name):
    """An image whose block 2 is said to lie on a region."""
    return lambda: broken(**{"block[2]": bat_entry(6, valid().region_offset[name])})


def far_away():
    """An image whose block 2 lies where no file ends."""
    return broken(**{"block[2]": bat_entry(6, ((1 << 44) - 1) * MB)})


LOST = [
    Case("payload.state", lambda: valid(blocks={**BLOCKS, 2: reserved(4)}), CorruptImageError, says="state 4"),
    Case("payload.state", lambda: valid(blocks={**BLOCKS, 2: reserved(5)}), CorruptImageError, says="state 5"),
    Case("payload.partially_present", lambda: valid(blocks={**BLOCKS, 2: Block(7)}), CorruptImageError),
    Case("payload.overlap", lambda: broken(**{"block[2]": 6}), CorruptImageError, says="header section"),
    Case("payload.overlap", onto("log"), CorruptImageError, says="log"),
    Case("payload.overlap", onto("bat"), CorruptImageError, says="BAT"),
    Case("payload.overlap", onto("metadata"), CorruptImageError, says="metadata"),
    Case("payload.past_end", far_away, TruncatedImageError, says="the file ends"),
]


@parametrize(LOST)
def test_a_lost_block(case):
    """Everything up to it reads, a read that touches one byte of it is the error, and all behind it reads."""
    image = case.make()
    with vhdxreader.open(image.open()) as disk:
        assert disk.image.findings == ()
        assert disk.pread(2 * MB, 0) == valid().expected(0, 2 * MB)
        assert disk.pread(MB, 3 * MB) == valid().expected(3 * MB, MB)
        for size, offset in [(1, 2 * MB), (1, 3 * MB - 1), (2, 2 * MB - 1), (MB + 2, 2 * MB - 1), (disk.size, 0)]:
            with pytest.raises(VhdxError) as caught:
                disk.pread(size, offset)
            assert (type(caught.value), caught.value.rule) == (case.error, case.rule)
            assert case.says in caught.value.message
        case.pick(image, vhdxreader.check(image.open()).findings)
        lost = [extent for extent in disk.extents() if extent.kind is Kind.ERROR]
        assert [(extent.disk_offset, extent.length) for extent in lost] == [(2 * MB, MB)]
        assert (type(lost[0].error), lost[0].error.rule) == (case.error, case.rule)


def test_a_read_that_fails_moves_nothing():
    with vhdxreader.open(valid(blocks={**BLOCKS, 2: reserved()}).open()) as disk:
        disk.seek(2 * MB - 10)
        for read in (lambda: disk.read(20), disk.read, lambda: disk.readinto(bytearray(20))):
            with pytest.raises(CorruptImageError):
                read()
            assert disk.tell() == 2 * MB - 10
        assert len(disk.read(10)) == 10


def test_a_file_that_ends_inside_a_block():
    image = valid(order=BLOCKS_LAST, block_order=[("block", n) for n in (3, 0, 2)])
    end = image.block_offset[2] + 700 * KB + 1
    image.truncate(end)
    at = 2 * MB + 700 * KB + 1
    with vhdxreader.open(image.open()) as disk:
        assert disk.pread(at, 0) == image.expected(0, at)
        assert disk.pread(1536, 3 * MB) == image.expected(3 * MB, 1536)
        for size, offset in [(1, at), (1, 3 * MB - 1), (2, at - 1), (MB, 3 * MB - MB)]:
            with pytest.raises(TruncatedImageError) as caught:
                disk.pread(size, offset)
            assert caught.value.rule == "payload.past_end"
            assert caught.value.file_offset == max(end, image.block_offset[2] + offset % MB)
        extents = [(e.disk_offset, e.length, e.kind) for e in disk.extents(offset=2 * MB, length=MB)]
    assert extents == [(2 * MB, at - 2 * MB, Kind.DATA), (at, 3 * MB - at, Kind.ERROR)]


def test_the_last_block_may_end_with_the_disk():
    image = valid(pad_last_block=False)
    assert image.file.length % MB == 1536
    with vhdxreader.open(image.open()) as disk:
        assert [finding.rule for finding in disk.image.findings] == ["file.size"]
        assert disk.read() == image.expected()
    with vhdxreader.open(image.truncate(image.file.length - 1).open()) as disk:
        assert disk.pread(1535, 3 * MB) == image.expected(3 * MB, 1535)
        with pytest.raises(TruncatedImageError):
            disk.pread(1, 3 * MB + 1535)


def test_what_lies_behind_the_disks_end_in_the_last_block():
    """A writer may use it: only the disk's own bytes must not overlap anything."""
    order = ("log", "blocks", "metadata", "bat")
    image = valid(virtual_size=4 * MB + 512, block_size=4 * MB, blocks={1: full()}, order=order, pad_last_block=False)
    assert image.metadata_offset == image.block_offset[1] + MB
    with vhdxreader.open(image.open()) as disk:
        assert disk.read() == image.expected()


@pytest.mark.parametrize("kept", [4000, 4096, 4097, 5000])
def test_a_truncated_bat(kept):
    """The entries that are there serve, the others are an error that says so: within a page, and a page behind."""
    image = valid(virtual_size=9 * GB, blocks={0: full(), 3999: full(), 4095: full()}, order=BAT_LAST)
    image.truncate(image.bat_offset + 8 * kept + 7)  # most of one more entry
    there = kept - kept // 4097
    with vhdxreader.open(image.open()) as disk:
        assert {finding.rule for finding in disk.image.findings} == {"region.past_end", "file.size"}
        assert disk.pread(MB, 3999 * MB) == image.expected(3999 * MB, MB)
        assert disk.pread(MB, (there - 1) * MB) == image.expected((there - 1) * MB, MB)
        for block in (there, there + 1, 9 * 1024 - 1):
            with pytest.raises(TruncatedImageError) as caught:
                disk.pread(1, block * MB)
            error = caught.value
            assert (error.rule, error.section) == ("region.past_end", "2.2.3.2")
            assert error.file_offset == image.bat_offset + 8 * (block + block // 4096)
        with pytest.raises(TruncatedImageError):
            disk.image.allocated_blocks()
        with pytest.raises(TruncatedImageError):
            disk.pread(2, there * MB - 1)


# ---- paging


class Words(Source):
    """A file in which the BAT at 1 MiB says of entry n: present, at n megabytes."""

    def __init__(self, entries):
        self.size = MB + 8 * entries
        self.asked = []

    def _read_some(self, buffer, offset):
        first, count = (offset - MB) // 8, len(buffer) // 8
        self.asked.append((first, count))
        words = array("Q", range(first << 20 | 6, first + count << 20 | 6, 1 << 20))
        if sys.byteorder == "big":
            words.byteswap()
        buffer[: 8 * count] = words.tobytes()
        return 8 * count

    def close(self):
        pass


def paged(blocks=64 * (1 << 20)):
    geometry = Geometry(blocks * MB, MB, 512, has_parent=False)
    source = Words(geometry.entries)
    return Bat(source, MB, geometry), source


def test_paging_is_lazy_and_bounded():
    """One entry of each of 200 pages, forth and back: always right, and never more kept than the stated 4 MiB."""
    bat, source = paged()
    assert source.asked == []
    tracemalloc.start()
    try:
        for index in [*range(0, 200 * 4096, 4096), *range(200 * 4096 - 1, 0, -4096)]:
            assert bat.word(index) == index << 20 | 6
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 4.5 * MB
    assert max(count for _, count in source.asked) <= 4096


def test_a_page_is_read_once():
    bat, source = paged(10)
    assert [bat.payload(n) >> 20 for n in range(10)] == list(range(10))
    assert source.asked == [(0, 10)]


@pytest.mark.parametrize(("count", "missing"), [(10000, 0), (8192, 0), (1, 0), (0, 0), (10000, 3), (10000, 20000)])
def test_a_walk_over_the_pages_ends_with_the_file(count, missing):
    bat, source = paged(20000)
    source.size = max(MB - 8, source.size - 8 * (20004 - count + missing))
    pages = list(bat.pages(count))
    assert [first for first, _, _ in pages] == list(range(0, count - missing, 4096))
    words = [word for _, words, _ in pages for word in words]
    assert words == [index << 20 | 6 for index in range(count - missing)]


def test_the_last_entry_of_the_largest_disk():
    bat, source = paged()
    assert bat.payload((1 << 26) - 1) >> 20 == 67125246
    assert sum(count for _, count in source.asked) <= 4096


def test_threads_share_the_pages():
    bat, _ = paged()

    def walk(seed):
        rng = random.Random(seed)
        indexes = [rng.randrange(200) * 4096 + rng.randrange(4096) for _ in range(300)]
        return all(bat.word(index) == index << 20 | 6 for index in indexes)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(walk, range(8)))


def test_reading_across_many_pages():
    """A disk whose BAT has more pages than the cache holds: data in the first, the last and the middle of them."""
    blocks = {n: full(f"block {n}".encode()) for n in (0, 4095, 4096, 300_000, 599_999, 614_399)}
    image = valid(virtual_size=600 * GB, blocks=blocks)
    with vhdxreader.open(image.open()) as disk:
        for n in [*blocks, *range(0, 614_400, 4096), *blocks]:
            assert disk.pread(16, n * MB) == image.expected(n * MB, 16)


def test_more_than_one_chunk():
    """Around each sector bitmap entry the neighbours stay in place, for both sector sizes and a fixed disk too."""
    for kind, size, block, sector, ratio in [
        ("dynamic", 9 * GB, MB, 512, 4096),
        ("dynamic", 65 * GB, 2 * MB, 4096, 16384),
        ("dynamic", 9 * GB, 256 * MB, 512, 16),
        ("fixed", 8 * GB + 256 * MB + 512, 256 * MB, 512, 16),
    ]:
        near = (0, ratio - 1, ratio, 2 * ratio - 1, 2 * ratio)
        image = builder.build(builder.Spec(kind, size, block, sector, blocks={n: full(str(n).encode()) for n in near}))
        with vhdxreader.open(image.open()) as disk:
            for n in near:
                at = max(n * block - 8, 0)
                assert disk.pread(24, at) == image.expected(at, 24)


# ---- extents


def mixed():
    return valid(
        virtual_size=9 * MB + 512,
        blocks={0: full(), 1: full(), 2: zeroed(), 3: unmapped(), 6: full(), 7: reserved(), 8: reserved(5), 9: full()},
        block_order=[("block", n) for n in (0, 1, 9, 6, 7, 8)],
    )


def test_extents_cover_the_disk_and_say_where():
    image = mixed()
    with vhdxreader.open(image.open()) as disk:
        extents = list(disk.extents())
    kinds = [(extent.disk_offset // MB, extent.length, extent.kind) for extent in extents]
    assert kinds == [
        (0, 2 * MB, Kind.DATA),  # adjacent in the file too
        (2, 2 * MB, Kind.ZERO),
        (4, 2 * MB, Kind.ABSENT),
        (6, MB, Kind.DATA),
        (7, MB, Kind.ERROR),
        (8, MB, Kind.ERROR),
        (9, 512, Kind.DATA),
    ]
    assert all(a.disk_offset + a.length == b.disk_offset for a, b in pairwise(extents))
    for extent in extents:
        assert extent.depth == 0
        assert (extent.file_offset is not None) == (extent.kind is Kind.DATA)
        assert (extent.error is not None) == (extent.kind is Kind.ERROR)
        if extent.kind is Kind.DATA:
            there = image.file.read(extent.file_offset, extent.length)
            assert there == image.expected(extent.disk_offset, extent.length)


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, 0, []),
        (5, 10, [(5, 10)]),
        (2 * MB - 1, 2, [(2 * MB - 1, 1), (2 * MB, 1)]),
        (9 * MB, None, [(9 * MB, 512)]),
        (9 * MB + 511, 1 << 70, [(9 * MB + 511, 1)]),
        (9 * MB + 512, None, []),
        (1 << 70, None, []),
    ],
)
def test_extents_of_a_range(offset, length, expected):
    with vhdxreader.open(mixed().open()) as disk:
        for extents in (disk.extents, disk.image.extents):
            found = list(extents(offset=offset, length=length))
            assert [(extent.disk_offset, extent.length) for extent in found] == expected


@pytest.mark.parametrize("arguments", [{"offset": -1}, {"length": -1}])
def test_extents_of_no_range(arguments):
    with vhdxreader.open(mixed().open()) as disk, pytest.raises(ValueError, match="negative"):
        list(disk.extents(**arguments))


def test_a_fixed_disk_in_order_is_one_extent():
    image = builder.fixed(5 * MB + 512, block_order=[("block", n) for n in range(6)])
    with vhdxreader.open(image.open()) as disk:
        extents = [(extent.length, extent.kind, extent.file_offset) for extent in disk.extents()]
        assert extents == [(5 * MB + 512, Kind.DATA, image.block_offset[0])]
        assert disk.read() == image.expected()
