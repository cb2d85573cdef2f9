"""The builder's own tests: formulas, layout, its two models against each other, other readers as witnesses."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import os
import random
import shutil
import struct
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from builder import (
    GB,
    IS_REQUIRED,
    JUNK,
    KB,
    LOG_GUID,
    MB,
    TB,
    Block,
    Data,
    Geometry,
    Image,
    Item,
    Junk,
    Locator,
    Log,
    LogEntry,
    MustFail,
    Region,
    SparseFile,
    Zero,
    bat_entry,
    crc32c,
    damaged,
    diff,
    differencing,
    dirty,
    dynamic,
    fixed,
    full,
    hide,
    not_present,
    partial,
    pattern,
    replay,
    reserved,
    run,
    undefined,
    unmapped,
    with_log,
    zeroed,
)
from builder import layout as builder_layout

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"

BLOCKS = {
    0: full(),
    1: zeroed(),
    2: full(b"two"),
    3: not_present(),
    4: undefined(),
    5: unmapped(),
    7: full(),
    8: full(),
}


def words(image: Image, offset: int, count: int = 1) -> tuple[int, ...]:
    return struct.unpack(f"<{count}Q", image.file.read(offset, 8 * count))


# ---- the bottom


def test_crc32c_vectors() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_sparse_file_is_a_file() -> None:
    rng = random.Random(1)
    sparse, plain = SparseFile(), bytearray()
    for _ in range(2000):
        offset, length = rng.randrange(4000), rng.randrange(300)
        plain.extend(bytes(max(0, offset + length - len(plain))))
        if rng.random() < 0.7 and length:
            data = rng.randbytes(length)
            sparse.write(offset, data)
            plain[offset : offset + length] = data
        else:
            sparse.zero(offset, length)
            plain[offset : offset + length] = bytes(length)
        if rng.random() < 0.02:
            cut = rng.randrange(len(plain) + 1)
            sparse.truncate(cut)
            del plain[cut:]
        at, size = rng.randrange(5000), rng.randrange(500)
        assert sparse.read(at, size) == plain[at : at + size]
    assert sparse.tobytes() == plain
    reader = sparse.open()
    assert reader.seek(-10, os.SEEK_END) == len(plain) - 10
    assert reader.read(20) == plain[-10:]


def test_pattern_differs_in_every_sector() -> None:
    data = pattern("x", MB)
    assert len({data[at : at + 512] for at in range(0, MB, 512)}) == 2048
    assert JUNK not in data


# ---- layout and formulas


@pytest.mark.parametrize(
    ("geometry", "ratio", "entries"),
    [
        (Geometry("dynamic", 0, MB, 512), 4096, 0),
        (Geometry("dynamic", 1 * GB, 32 * MB, 512), 128, 32),
        (Geometry("dynamic", 4 * GB, MB, 512), 4096, 4096),
        (Geometry("dynamic", 4 * GB + 512, MB, 512), 4096, 4098),
        (Geometry("fixed", 8 * GB, MB, 512), 4096, 8193),
        (Geometry("differencing", MB, MB, 512), 4096, 4097),
        (Geometry("differencing", 4 * GB + 512, MB, 512), 4096, 2 * 4097),
        (Geometry("dynamic", 64 * TB, MB, 512), 4096, (1 << 26) + (1 << 14) - 1),
        (Geometry("differencing", 64 * TB, 256 * MB, 4096), 128, 2048 * 129),
    ],
)
def test_geometry(geometry: Geometry, ratio: int, entries: int) -> None:
    assert geometry.chunk_ratio == ratio
    assert geometry.bat_entries == entries


def test_bat_interleaves() -> None:
    geometry = Geometry("differencing", 100 * GB, 256 * MB, 512)
    bitmaps = {geometry.bitmap_index(k) for k in range(geometry.chunks)}
    assert bitmaps == {i for i in range(geometry.bat_entries) if (i + 1) % (geometry.chunk_ratio + 1) == 0}
    payload = [geometry.block_index(n) for n in range(geometry.blocks)]
    assert payload == [i for i in range(geometry.bat_entries) if i not in bitmaps][: geometry.blocks]


def test_header_section() -> None:
    image = dynamic(blocks=BLOCKS, creator="x")
    data = image.tobytes()
    assert data[:8] == b"vhdxfile"
    assert data[8:12] == b"x\0\0\0"
    for at, number in ((64 * KB, 7), (128 * KB, 8)):
        header = data[at : at + 4 * KB]
        assert header[:4] == b"head"
        assert struct.unpack_from("<I", header, 4)[0] == crc32c(header[:4] + bytes(4) + header[8:])
        assert struct.unpack_from("<Q", header, 8)[0] == number
        assert struct.unpack_from("<HHIQ", header, 64) == (0, 1, MB, image.log_offset)
    for at in (192 * KB, 256 * KB):
        table = data[at : at + 64 * KB]
        assert table[:4] == b"regi"
        assert struct.unpack_from("<I", table, 4)[0] == crc32c(table[:4] + bytes(4) + table[8:])
        assert struct.unpack_from("<I", table, 8)[0] == 2
    assert data[320 * KB : MB].replace(JUNK, b"") == b""


def test_nothing_overlaps_and_all_is_aligned() -> None:
    image = differencing(
        9 * GB,
        {0: full(), 4096: partial([3]), 9000: full(), 8999: partial([0]), 4097: zeroed()},
        parent=dynamic(),
    )
    spans = [(image.region_offset[name], image.region_length[name]) for name in image.region_offset]
    spans += [(at, MB) for at in [*image.block_offset.values(), *image.bitmap_offset.values(), image.junk_offset]]
    spans.sort()
    assert len(spans) == 3 + 4 + 2 + 1
    assert all(at % MB == 0 for at, _ in spans)
    assert all(a + length <= b for (a, length), (b, _) in pairwise(spans))
    assert spans[0][0] == MB
    assert sum(spans[-1]) == image.file.length


def test_blocks_lie_out_of_order() -> None:
    for count in range(2, 40):
        image = fixed(count * MB)
        order = sorted(image.block_offset, key=image.block_offset.__getitem__)
        assert sorted(order) == list(range(count))
        assert all(b != a + 1 for a, b in pairwise(order))


def test_bat_entries() -> None:
    image = differencing(5 * GB, {0: full(), 1: zeroed(), 4096: partial([1]), 4100: reserved(5)}, parent=dynamic())
    assert image.block_entry_offset(4096) == image.bat_offset + 8 * 4097
    assert words(image, image.block_entry_offset(0)) == (6 | image.block_offset[0] // MB << 20,)
    assert words(image, image.block_entry_offset(1)) == (2 | image.junk_offset // MB << 20,)
    assert words(image, image.bitmap_entry_offset(0)) == (0,)
    assert words(image, image.block_entry_offset(4096)) == (7 | image.block_offset[4096] // MB << 20,)
    assert words(image, image.bitmap_entry_offset(1)) == (6 | image.bitmap_offset[1] // MB << 20,)
    assert words(image, image.block_entry_offset(4100))[0] & 7 == 5
    assert image.file.read(image.bitmap_offset[1], 256) == b"\x02" + bytes(255)


def test_metadata_items_are_where_the_table_says() -> None:
    image = differencing(parent=dynamic())
    at = image.metadata_offset
    signature, count = struct.unpack_from("<8s2xH", image.file.read(at, 32))
    assert (signature, count) == (b"metadata", 6)
    for name in image.item_offset:
        entry = image.file.read(image.fields[f"metadata.{name}.item_id"].offset, 32)
        guid, offset, _length = struct.unpack_from("<16sII", entry)
        assert uuid.UUID(bytes_le=guid) == builder_layout.ITEM_GUIDS[name]
        assert at + offset == image.item_offset[name]
    assert words(image, image.item_offset["virtual_disk_size"]) == (10 * MB,)
    assert list(image.item_offset.values()) != sorted(image.item_offset.values())


def test_everything_can_be_moved() -> None:
    image = dynamic(
        blocks=BLOCKS,
        order=("blocks", "extra", "bat", "log", "metadata"),
        extra_regions=[Region("extra", uuid.UUID(int=5), 2 * MB, data=b"x")],
        offsets={"log": 50 * MB},
        region_order=("extra", "metadata", "bat"),
        item_offsets={"virtual_disk_size": 70000},
        item_order=("virtual_disk_size",),
        extra_items=[Item("mine", uuid.UUID(int=6), b"data", offset=99999)],
        block_order=[("block", n) for n in (0, 2, 7, 8)],
    )
    assert image.block_offset == {0: MB, 2: 2 * MB, 7: 3 * MB, 8: 4 * MB}
    assert image.region_offset == {"extra": 5 * MB, "bat": 7 * MB, "log": 50 * MB, "metadata": 8 * MB}
    assert image.file.length == 51 * MB
    assert image.item_offset["virtual_disk_size"] == 8 * MB + 70000
    assert image.fields["metadata.virtual_disk_size.item_id"].offset == 8 * MB + 32
    assert image.file.read(8 * MB + 99999, 4) == b"data"
    assert image.fields["region1.extra.guid"].offset == 192 * KB + 16
    assert image.reread() == image.expected()


def test_images_of_tera_bytes_are_cheap(tmp_path: Path) -> None:
    start = time.perf_counter()
    base = dynamic(64 * TB, {0: full(), (1 << 26) - 1: full()})
    image = differencing(64 * TB, {5: full(), (1 << 26) - 1: partial([1, 2])}, parent=base)
    path = image.save(tmp_path / "big.vhdx")
    assert time.perf_counter() - start < 2
    assert path.stat().st_size > 512 * MB
    assert path.stat().st_blocks * 512 < 8 * MB
    assert image.expected(64 * TB - MB, 2 * MB) == image.reread(64 * TB - MB, 2 * MB)
    assert image.expected(0, MB) == base.expected(0, MB) == pattern(" block 0 at 0", MB)


# ---- breaking things


def test_overrides() -> None:
    image = dynamic(
        blocks=BLOCKS,
        overrides={
            "header1.signature": b"xxxx",
            "header.version": 2,
            "region.bat.length": 3,
            "region2.checksum": 4,
            "metadata.virtual_disk_id.flags": 5,
            "logical_sector_size.size": 6,
            "block[2]": 7,
            "bat[9]": 8,
        },
    )
    data = image.tobytes()
    assert data[64 * KB :][:4] == b"xxxx"
    assert data[64 * KB + 66] == data[128 * KB + 66] == 2
    assert struct.unpack_from("<I", data, 64 * KB + 4)[0] == crc32c(
        data[64 * KB :][:4] + bytes(4) + data[64 * KB + 8 : 68 * KB]
    )
    assert struct.unpack_from("<I", data, 256 * KB + 4)[0] == 4
    assert data[image.fields["region1.bat.length"].offset] == data[image.fields["region2.bat.length"].offset] == 3
    assert data[image.fields["metadata.virtual_disk_id.flags"].offset] == 5
    assert data[image.item_offset["logical_sector_size"]] == 6
    assert words(image, image.bat_offset, 10)[2::7] == (7, 8)


def test_a_mistyped_override_is_refused() -> None:
    with pytest.raises(KeyError, match=r"header1\.versoin"):
        dynamic(overrides={"header1.versoin": 2})
    with pytest.raises(ValueError, match="do not exist"):
        dynamic(10 * MB, {10: full()})


def test_patch_truncate_and_checksums() -> None:
    image = dynamic(junk=Junk.NONE)
    broken = image.copy().patch("header2.sequence_number", 99).patch(MB + 5, b"abc")
    changed = [i for i, (a, b) in enumerate(zip(image.tobytes(), broken.tobytes(), strict=True)) if a != b]
    assert changed == [128 * KB + 8, MB + 5, MB + 6, MB + 7]
    broken.fix_checksums("header2")
    assert (
        broken.patch("header2.sequence_number", 8).patch(MB + 5, bytes(3)).fix_checksums().tobytes() == image.tobytes()
    )
    assert broken.truncate(100).tobytes() == image.tobytes()[:100]
    assert image.copy().flip(0, 1).file.read(0, 8) == b"whdxfile"


def test_dropped_and_replaced_items() -> None:
    image = dynamic(
        without={"physical_sector_size", "metadata"},
        item_data={"virtual_disk_id": b"short", "logical_sector_size": b""},
    )
    assert "metadata.physical_sector_size.item_id" not in image.fields
    assert "region1.metadata.guid" not in image.fields
    assert image.file.read(image.item_offset["virtual_disk_id"], 5) == b"short"
    entry = image.fields["metadata.logical_sector_size.offset"].offset
    assert image.file.read(entry, 8) == bytes(8)
    with pytest.raises(MustFail, match="too short"):
        image.reread()
    duplicate = Item("twice", builder_layout.ITEM_GUIDS["virtual_disk_size"], bytes(8), IS_REQUIRED)
    with pytest.raises(MustFail, match="twice"):
        dynamic(extra_items=[duplicate]).reread()


def test_locator() -> None:
    image = differencing(parent=dynamic(), locator=Locator([("k", "v1"), ("k", b"\0")]))
    at = image.item_offset["parent_locator"]
    item = image.file.read(at, 100)
    assert uuid.UUID(bytes_le=item[:16]) == uuid.UUID("B04AEFB7-D19E-4A81-B789-25B8E9445913")
    assert struct.unpack_from("<HH", item, 16) == (0, 2)
    for i, (key, value) in enumerate([(b"k\0", b"v\0001\0"), (b"k\0", b"\0")]):
        key_at, value_at, key_length, value_length = struct.unpack_from("<IIHH", item, 20 + 12 * i)
        assert item[key_at : key_at + key_length] == key
        assert item[value_at : value_at + value_length] == value
    linked = differencing(parent=dynamic(), parent_path="../a/b.vhdx")
    assert "..\\a\\b.vhdx".encode("utf-16-le") in linked.tobytes()


# ---- the models


def chain() -> Image:
    """Three generations with block sizes 2, 1 and 32 MiB: the second is larger, the third smaller than its parent."""
    old = dynamic(
        20 * MB + 512,
        {0: full(), 3: full(), 5: zeroed(), 9: full(), 10: full()},
        block_size=2 * MB,
        name="old",
    )
    sectors = [0, 1, 5, 2046, 2047]
    blocks = {
        0: partial(sectors),
        1: zeroed(),
        7: full(),
        20: partial([0, 1]),
        22: partial(range(0, 2048, 2)),
        23: undefined(),
    }
    middle = differencing(24 * MB, blocks, parent=old, name="middle")
    return differencing(22 * MB + 1024, {0: partial([1, 40000])}, parent=middle, block_size=32 * MB, name="young")


def whole_disks() -> dict[str, Image]:
    return {
        "dynamic": dynamic(blocks=BLOCKS),
        "fixed": fixed(7 * MB + 512, {0: full(), 6: full()}),
        "no bytes": dynamic(0),
        "cut": dynamic(9 * MB - 1024, {0: full(), 8: full()}, pad_last_block=False),
        "4096": dynamic(9 * MB + 4096, {0: full(), 9: full()}, sector_size=4096),
        "no junk": dynamic(blocks=BLOCKS, junk=Junk.NONE),
        "two chunks": dynamic(33 * GB, {0: full(), 4095: full(), 4096: full(), 33 * 1024 - 1: full()}),
        "chain": chain(),
        "4096 child": differencing(
            8 * MB + 4096,
            {0: partial({3: b"three", 255: b"last"}), 8: partial([0])},
            parent=dynamic(9 * MB, {0: full(), 7: full()}, sector_size=4096),
            sector_size=4096,
        ),
    }


@pytest.mark.parametrize("name", whole_disks())
def test_the_models_agree(name: str) -> None:
    image = whole_disks()[name]
    rng = random.Random(7)
    for _ in range(100):
        offset = rng.choice([0, image.size // 2, image.size, rng.randrange(image.size + 1)])
        offset = max(0, offset - rng.randrange(5000))
        length = rng.randrange(100 * KB)
        assert image.expected(offset, length) == image.reread(offset, length)
    if image.size < GB:
        disk = image.expected()
        assert disk == image.reread()
        assert len(disk) == image.size
        assert JUNK not in disk


def test_expected_by_hand() -> None:
    parent = dynamic(2 * MB, {0: full(b"P" * MB), 1: full(b"Q" * MB)})
    child = differencing(3 * MB, {0: partial({1: b"C" * 512, 3: b"D"}), 2: full(b"E" * 10)}, parent=parent)
    disk = b"P" * 512 + b"C" * 512 + b"P" * 512 + b"D".ljust(512, b"\0") + b"P" * (MB - 2048) + b"Q" * MB + b"E" * 10
    assert child.expected() == disk.ljust(3 * MB, b"\0")
    assert child.expected(500, 600) == disk[500:1100]
    assert child.expected(3 * MB - 1, 10) == b"\0"
    assert child.expected(3 * MB, 10) == b""
    assert child.expected(0, 4, parent=lambda _, length: b"R" * length) == b"RRRR"


@pytest.mark.parametrize(
    "image",
    [
        dynamic(blocks={1: reserved(4)}),
        dynamic(blocks={1: reserved(5)}),
        dynamic(blocks={1: Block(7)}),
        fixed(blocks={1: partial([1])}),
        differencing(blocks={1: partial([])}, parent=dynamic(), bitmap_states={0: 0}),
        differencing(blocks={1: partial([])}, parent=dynamic(), bitmap_states={0: 3}),
        differencing(blocks={0: full(), 2: full()}, parent=dynamic(blocks={1: reserved()})),
    ],
)
def test_models_say_what_must_fail(image: Image) -> None:
    for model in (image.expected, image.reread):
        assert len(model(0, MB)) == MB
        assert len(model(2 * MB, MB)) == MB
        with pytest.raises(MustFail):
            model(0, MB + 1)
        with pytest.raises(MustFail):
            model(2 * MB - 1, 2)


def test_an_orphan_needs_its_parent() -> None:
    orphan = differencing(blocks={0: full(), 1: partial([0])}, parent=dynamic())
    orphan = replace(orphan, spec=replace(orphan.spec, parent=None))
    for model in (orphan.expected, orphan.reread):
        assert len(model(0, MB + 512)) == MB + 512
        with pytest.raises(MustFail) as caught:
            model(0, MB + 513)
        assert caught.value.offset == MB + 512


def test_a_deep_chain() -> None:
    image = dynamic(MB, {0: full()}, name="0")
    for n in range(1, 201):
        image = differencing(MB, {0: partial({n: b"%d" % n})}, parent=image, name=str(n))
    disk = image.expected()
    assert disk == image.reread()
    for n in range(201, 2048):
        assert disk[512 * n : 512 * n + 512] == pattern("0 block 0 at 0", MB)[512 * n : 512 * n + 512]
    for n in range(1, 201):
        assert disk[512 * n : 512 * n + 512].rstrip(b"\0") == b"%d" % n


def test_reread_follows_what_was_patched() -> None:
    image = dynamic(blocks=BLOCKS)
    swapped = image.copy().patch(image.block_entry_offset(2), bat_entry(6, image.block_offset[0]))
    assert swapped.reread(2 * MB, MB) == image.expected(0, MB)
    assert image.copy().patch("virtual_disk_size.size", 512).reread() == image.expected(0, 512)
    for state, place in (
        (6, 0),
        (6, image.log_offset),
        (6, image.bat_offset),
        (6, image.metadata_offset),
        (6, 99 * MB),
    ):
        bad = image.copy().patch(image.block_entry_offset(2), bat_entry(state, place))
        assert bad.reread(0, 2 * MB) == image.expected(0, 2 * MB)
        with pytest.raises(MustFail):
            bad.reread(2 * MB, 1)
    for name, value in {
        "virtual_disk_size.size": 513,
        "file_parameters.block_size": 3 * MB,
        "metadata.signature": 0,
    }.items():
        with pytest.raises(MustFail):
            image.copy().patch(name, value).reread(0, 1)


def test_truncation_leaves_the_rest() -> None:
    image = fixed(4 * MB, {n: full() for n in range(4)})
    last = max(image.block_offset, key=image.block_offset.__getitem__)
    cut = image.copy().truncate(image.file.length - MB + 1000)
    assert cut.reread(last * MB, 1000) == image.expected(last * MB, 1000)
    with pytest.raises(MustFail) as caught:
        cut.reread(last * MB, 1001)
    assert caught.value.offset == last * MB + 1000


# ---- the log


def page(label: str) -> bytes:
    return pattern(label, 4 * KB)


def test_entry_by_hand() -> None:
    number = (5 << 32) + 9
    updates: list[Zero | Data] = [Zero(3 * MB, 8 * KB), Data(4 * MB, page("a"))]
    entry = LogEntry(number, 4096, LOG_GUID, flushed=5 * MB, last=6 * MB, descriptors=updates)
    data = entry.tobytes()
    assert len(data) == len(entry) == 8 * KB
    assert data[:4] == b"loge"
    assert struct.unpack_from("<IIIQII", data, 4) == (
        crc32c(data[:4] + bytes(4) + data[8:]),
        8 * KB,
        4096,
        number,
        2,
        0,
    )
    assert uuid.UUID(bytes_le=data[32:48]) == LOG_GUID
    assert struct.unpack_from("<QQ", data, 48) == (5 * MB, 6 * MB)
    assert struct.unpack_from("<4sIQQQ", data, 64) == (b"zero", 0, 8 * KB, 3 * MB, number)
    assert struct.unpack_from("<4s4s8sQQ", data, 96) == (
        b"desc",
        page("a")[-4:],
        page("a")[:8],
        4 * MB,
        number,
    )
    assert struct.unpack_from("<4sI4084sI", data, 4 * KB) == (b"data", 5, page("a")[8:-4], 9)


@pytest.mark.parametrize(
    ("count", "sectors"), [(0, 1), (1, 1), (126, 1), (127, 2), (254, 2), (255, 3), (382, 3), (383, 4)]
)
def test_descriptor_sectors(count: int, sectors: int) -> None:
    entry = LogEntry(1, descriptors=[Zero(n * MB, 4 * KB) for n in range(count)])
    assert len(entry.tobytes()) == len(entry) == 4 * KB * sectors
    assert entry.tobytes().count(b"zero") == count


def test_damage_with_and_without_a_right_checksum() -> None:
    entry = LogEntry(1, descriptors=[Data(MB, page("a")), Data(2 * MB, page("b"))])
    for name in (
        "signature",
        "tail",
        "desc[1].signature",
        "desc[0].sequence_number",
        "data[0].high",
        "data[1].low",
    ):
        for fix in (True, False):
            data = replace(entry, overrides={name: 7}, fix_checksum=fix).tobytes()
            differing = {i // 4 * 4 for i, (a, b) in enumerate(zip(entry.tobytes(), data, strict=True)) if a != b}
            assert (4 in differing) == fix
            assert differing - {4}
            assert (crc32c(data[:4] + bytes(4) + data[8:]) == struct.unpack_from("<I", data, 4)[0]) == fix
    short = replace(entry, overrides={"entry_length": 4 * KB}).tobytes()
    assert crc32c(short[:4] + bytes(4) + short[8 : 4 * KB]) == struct.unpack_from("<I", short, 4)[0]
    longer = replace(entry, extra_sectors=1)
    assert struct.unpack_from("<I", longer.tobytes(), 8)[0] == len(longer) == len(entry) + 4 * KB
    assert damaged([(0, entry)], 0, tail=5)[0][1].overrides == {"tail": 5}
    with pytest.raises(KeyError):
        replace(entry, overrides={"data[2].low": 1}).tobytes()


def test_entries_wrap_around() -> None:
    groups = [[Data(n * MB, page(f"{n}"))] for n in range(20, 24)]
    entries = run(groups, at=MB - 12 * KB, first=2**32 - 2)
    assert [at for at, _ in entries] == [MB - 12 * KB, MB - 4 * KB, 4 * KB, 12 * KB]
    assert [entry.sequence for _, entry in entries] == [2**32 - 2, 2**32 - 1, 2**32, 2**32 + 1]
    image = dynamic(log=Log(entries=entries, guid=LOG_GUID))
    split_entry = entries[1][1].tobytes()
    assert image.file.read(image.log_offset + MB - 4 * KB, 4 * KB) == split_entry[: 4 * KB]
    assert image.file.read(image.log_offset, 4 * KB) == split_entry[4 * KB :]
    assert image.file.read(64 * KB + 48, 16) == LOG_GUID.bytes_le
    broken = image.copy().patch(image.log_offset + MB - 4 * KB + 4, bytes(4))
    assert broken.tobytes() != image.tobytes()
    assert broken.fix_checksums("log[1]").tobytes() == image.tobytes()


def test_diff_is_what_replay_undoes() -> None:
    image = dynamic(blocks=BLOCKS)
    stale, updates = hide(image, (image.bat_offset, 64 * KB), (192 * KB, 128 * KB), (image.metadata_offset, 128 * KB))
    assert any(isinstance(update, Data) for update in updates)
    wet = dirty(stale, updates, per_entry=3, at=MB - 16 * KB)
    assert wet.file.read(image.bat_offset, 64 * KB) == bytes(64 * KB)
    with pytest.raises(MustFail):
        wet.reread()
    assert wet.replayed().reread() == image.expected()
    changed = {update.offset for update in diff(wet.replayed().file, image.file)}
    assert all(at in (64 * KB, 128 * KB) or MB <= at < 2 * MB for at in changed), "headers and log only"
    assert all(isinstance(update, Zero) for update in diff(image.file, stale.file))


def test_replay_in_order_and_growth() -> None:
    file = SparseFile(10 * KB)
    entries = [
        LogEntry(1, descriptors=[Data(4 * KB, page("a")), Zero(4 * KB, 4 * KB), Data(8 * KB, page("b"))]),
        LogEntry(2, descriptors=[Data(4 * KB, page("c"))], last=64 * KB),
    ]
    assert replay(file, entries).tobytes() == (bytes(4 * KB) + page("c") + page("b")).ljust(64 * KB, b"\0")
    assert replay(file, entries[:1]).length == 12 * KB


# ---- other readers as witnesses; where one is wrong (format.md, section 11), it is not asked


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def output_of(*command: str | Path, codes: tuple[int, ...] = (0,)) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode in codes, f"{command}: {done.stderr.decode()}"
    return done.stdout


def qemu_reads(image: Image, path: Path) -> bytes:
    """The disk as qemu-img sees it; its check must find nothing wrong."""
    qemu_img = tool("qemu-img")
    output_of(qemu_img, "check", image.save(path))
    output_of(qemu_img, "convert", "-f", "vhdx", "-O", "raw", path, path.with_suffix(".raw"))
    return path.with_suffix(".raw").read_bytes()


def seven_zip_reads(path: Path) -> bytes:
    return output_of(tool("7zz"), "e", "-so", path)


def libvhdi_reads(image: Image, *paths: Path) -> bytes:
    """The disk as libvhdi sees it: the image, its parent, and so on."""
    pyvhdi = pytest.importorskip("pyvhdi")
    files = [pyvhdi.file() for _ in paths]
    for file, path in zip(files, paths, strict=True):
        file.open(str(path))
    for child, parent in pairwise(files):
        child.set_parent(parent)
    data: bytes = files[0].read_buffer_at_offset(image.size, 0)
    return data


KINDS: dict[str, Callable[..., Image]] = {"dynamic": dynamic, "fixed": fixed}


def various(kind: str, block_size: int, size: int, sector_size: int = 512) -> Image:
    """An image with every state that a disk of this kind can have."""
    last = -(-size // block_size) - 1
    blocks = {last // 4: unmapped(), last // 3: zeroed(), last // 2: full(b"middle"), 0: full(), last: full()}
    return KINDS[kind](size, blocks, block_size=block_size, sector_size=sector_size)


@pytest.mark.witness
@pytest.mark.parametrize("size", [40 * MB, 41 * MB + 512])
@pytest.mark.parametrize("block_size", [MB, 2 * MB, 32 * MB])
@pytest.mark.parametrize("kind", KINDS)
def test_qemu_agrees(kind: str, block_size: int, size: int, tmp_path: Path) -> None:
    image = various(kind, block_size, size)
    assert qemu_reads(image, tmp_path / "a.vhdx") == image.expected()


@pytest.mark.witness
def test_qemu_agrees_on_a_last_block_cut_short_and_on_a_moved_layout(tmp_path: Path) -> None:
    cut = dynamic(9 * MB - 1024, {0: full(), 8: full()}, pad_last_block=False)
    assert cut.file.length % MB
    assert qemu_reads(cut, tmp_path / "a.vhdx") == cut.expected()
    moved = dynamic(blocks=BLOCKS, order=("blocks", "bat", "junk", "log", "metadata"), sequence_numbers=(9, 3))
    assert qemu_reads(moved, tmp_path / "b.vhdx") == moved.expected()


@pytest.mark.witness
def test_qemu_agrees_behind_the_first_chunk(tmp_path: Path) -> None:
    image = dynamic(
        9 * GB, {4095: full(), 4096: full(), 8191: full(), 8192: full(), 9215: full()}, bitmap_states={1: 0}
    )
    qemu_io = tool("qemu-io")
    path = image.save(tmp_path / "a.vhdx")
    for n in image.block_offset:
        line = output_of(qemu_io, "-r", "-f", "vhdx", "-c", f"read -v {n * MB + 512} 16", path).decode().splitlines()[0]
        assert bytes.fromhex("".join(line.split()[1:17])) == image.expected(n * MB + 512, 16)


@pytest.mark.witness
@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("kind", KINDS)
def test_seven_zip_and_libvhdi_agree(kind: str, sector_size: int, tmp_path: Path) -> None:
    image = various(kind, 2 * MB, 41 * MB, sector_size)
    path = image.save(tmp_path / "a.vhdx")
    disk = image.expected()
    assert libvhdi_reads(image, path) == disk
    assert seven_zip_reads(path) == disk


@pytest.mark.witness
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_seven_zip_agrees_on_children(sector_size: int, tmp_path: Path) -> None:
    parent = dynamic(10 * MB, {0: full(), 1: full(), 7: full()}, sector_size=sector_size, name="parent")
    blocks = {0: full(), 1: partial([0, 3, 255]), 3: zeroed(), 7: undefined(), 8: full()}
    child = differencing(10 * MB, blocks, parent=parent, sector_size=sector_size, name="child")
    parent.save(tmp_path / "parent.vhdx")
    assert seven_zip_reads(child.save(tmp_path / "child.vhdx")) == child.expected()


@pytest.mark.witness
def test_libvhdi_agrees_on_children_without_junk_bits(tmp_path: Path) -> None:
    """It looks at the bits of blocks that are not PARTIALLY_PRESENT, and at the parent in states 1 to 3."""
    parent = dynamic(10 * MB, {0: full(), 1: full(), 7: full()}, name="parent")
    child = differencing(
        10 * MB, {0: full(), 1: partial([0, 3, 255]), 8: full()}, parent=parent, junk=Junk.ALL & ~Junk.BITS
    )
    paths = child.save(tmp_path / "child.vhdx"), parent.save(tmp_path / "parent.vhdx")
    assert libvhdi_reads(child, *paths) == child.expected()


@functools.cache
def dirty_images() -> dict[str, tuple[Image, Image]]:
    """Images whose log restores what the file lacks, each with what right replay makes of it."""
    image = dynamic(20 * MB, {n: full() for n in (0, 5, 7, 11, 19)}, log=Log(4 * MB))
    data = [(at, 64 * KB) for at in image.block_offset.values()]
    stale, updates = hide(image, (image.bat_offset, 64 * KB))
    everything = hide(image, (192 * KB, 128 * KB), (image.metadata_offset, 128 * KB), (image.bat_offset, 8 * KB), *data)
    zeros = [Zero(image.block_offset[5], MB), Zero(image.bat_offset, 4 * KB), *updates]
    short = image.copy().truncate(image.file.length - 2 * MB)
    images = {
        "BAT": dirty(stale, updates),
        "all structures and data": dirty(*everything, per_entry=7),
        "wrapped run": dirty(*everything, per_entry=5, at=4 * MB - 12 * KB),
        "wrapped entry": dirty(*everything, per_entry=300, at=4 * MB - 12 * KB),
        "large numbers": dirty(*everything, first=(1 << 32) - 2, per_entry=20),
        "many descriptors": dirty(*everything, per_entry=300),
        "zeros, then data": dirty(stale, zeros, per_entry=1),
        "grown": dirty(short, diff(short.file, image.file), per_entry=126),
    }
    pairs = {name: (wet, wet.replayed()) for name, wet in images.items()}
    return {**pairs, "among stale ones": among_stale_ones(stale, updates)}


def among_stale_ones(stale: Image, updates: Sequence[Zero | Data]) -> tuple[Image, Image]:
    """The active sequence, an older one before it, a damaged newer one and one of another log behind it."""
    size = stale.file.length
    wrong = [Data(stale.bat_offset, page("wrong"))]
    older = run([wrong, wrong], length=4 * MB, first=10, flushed=size, last=size)
    active = run([wrong, updates], length=4 * MB, at=MB, first=50, flushed=size, last=size)
    torn = run([wrong], length=4 * MB, at=2 * MB, first=90, flushed=size, last=size)
    torn = damaged(torn, 0, fix_checksum=False, **{"data[0].low": 89})
    foreign = run([wrong], length=4 * MB, at=3 * MB, first=99, guid=uuid.UUID(int=1), flushed=size, last=size)
    wet = with_log(stale, Log(4 * MB, [*older, *active, *torn, *foreign], LOG_GUID))
    return wet, wet.replayed(entry for _, entry in active)


@pytest.mark.parametrize("name", dirty_images())
def test_replay_restores_the_disk(name: str) -> None:
    image, after = dirty_images()[name]
    assert image.file.read(64 * KB + 48, 16) == image.file.read(128 * KB + 48, 16) == LOG_GUID.bytes_le
    disk = after.reread()
    lost = range(5 * MB, 6 * MB) if name == "zeros, then data" else range(0)
    assert disk[: lost.start] == image.expected(0, lost.start)
    assert disk[lost.start : lost.stop] == bytes(len(lost))
    assert disk[lost.stop :] == image.expected(lost.stop)


# Of a run that wraps, qemu replays only the part at the ring's start, though its head's Tail is not in it.
@pytest.mark.witness
@pytest.mark.parametrize("name", [name for name in dirty_images() if name != "wrapped run"])
def test_qemu_replays_as_the_model_does(name: str, tmp_path: Path) -> None:
    image, after = dirty_images()[name]
    qemu_img, path = tool("qemu-img"), image.save(tmp_path / "a.vhdx")
    output_of(qemu_img, "check", "-r", "all", path)
    output_of(qemu_img, "convert", "-f", "vhdx", "-O", "raw", path, tmp_path / "a.raw")
    assert (tmp_path / "a.raw").read_bytes() == after.reread()


# ---- real images


@pytest.fixture(scope="module")
def real() -> Callable[[str], SparseFile]:
    """A real image by name, as a sparse file."""

    def load(name: str) -> SparseFile:
        found = list(CORPUS.glob(f"{name}.vhdx.*"))
        if not found:
            pytest.skip(f"the real image {name} is not there")
        file = SparseFile()
        with gzip.open(found[0]) if found[0].suffix == ".gz" else bz2.open(found[0]) as source:
            for at, chunk in enumerate(iter(lambda: source.read(64 * KB), b"")):
                file.truncate(64 * KB * at + len(chunk))
                if any(chunk):
                    file.write(64 * KB * at, chunk)
        return file

    return functools.cache(load)


WINDOWS_ITEMS = {
    "file_parameters": 65536,
    "virtual_disk_size": 65544,
    "logical_sector_size": 65552,
    "physical_sector_size": 65556,
    "virtual_disk_id": 65560,
}


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["swap", "iotest-dynamic-1G", "vhdx-log-replay"])
def test_windows_lays_the_same_bytes(name: str, real: Callable[[str], SparseFile]) -> None:
    """Given the values of a real image, the builder writes its structures to the byte."""
    file = real(name)
    items = {item: file.read(2 * MB + at, 16) for item, at in WINDOWS_ITEMS.items()}
    header = file.read(128 * KB, 4 * KB)
    log = Log(guid=uuid.UUID(bytes_le=header[48:64]))
    image = dynamic(
        virtual_size=int.from_bytes(items["virtual_disk_size"][:8], "little"),
        block_size=int.from_bytes(items["file_parameters"][:4], "little"),
        creator=file.read(8, 512),
        sequence_numbers=(0, int.from_bytes(header[8:16], "little")),
        file_write_guid=uuid.UUID(bytes_le=header[16:32]),
        data_write_guid=uuid.UUID(bytes_le=header[32:48]),
        disk_id=uuid.UUID(bytes_le=items["virtual_disk_id"]),
        log=log,
        item_order=list(WINDOWS_ITEMS),
        item_offsets=WINDOWS_ITEMS,
        junk=Junk.NONE,
    )
    entries_end = 32 + 32 * len(WINDOWS_ITEMS)  # behind it Windows left the last entry a second time
    metadata = (2 * MB, entries_end), (2 * MB + entries_end + 32, MB - entries_end - 32)
    assert file.read(2 * MB + entries_end, 32) == file.read(2 * MB + entries_end - 32, 32)
    for offset, length in ((0, 64 * KB), (128 * KB, MB - 128 * KB), *metadata):
        assert image.file.read(offset, length) == file.read(offset, length)


@pytest.mark.corpus
def test_windows_writes_the_same_log_entries(real: Callable[[str], SparseFile]) -> None:
    ring = real("vhdx-log-replay").read(MB, MB)
    entries = 0
    for at in range(0, MB, 4 * KB):
        if ring[at : at + 4] != b"loge":
            continue
        length, tail, number, count = struct.unpack_from("<IIQI", ring, at + 8)
        guid, flushed, last = struct.unpack_from("<16sQQ", ring, at + 32)
        data = ring[at : at + length]
        updates = []
        for i in range(count):
            signature, trailing, leading, offset = struct.unpack_from("<4s4s8sQ", data, 64 + 32 * i)
            assert signature == b"desc"
            updates.append(Data(offset, leading + data[4 * KB * (i + 1) + 8 : 4 * KB * (i + 2) - 4] + trailing))
        entry = LogEntry(number, tail, uuid.UUID(bytes_le=guid), flushed, last, updates)
        assert entry.tobytes() == data
        entries += 1
    assert entries == 5


@pytest.mark.corpus
def test_the_model_reads_a_real_image(real: Callable[[str], SparseFile]) -> None:
    file = real("iotest-dynamic-1G")
    image = replace(dynamic(), file=file, region_offset={"log": MB, "metadata": 2 * MB, "bat": 3 * MB})
    digest = hashlib.sha256()
    for at in range(0, GB, 32 * MB):
        digest.update(image.reread(at, 32 * MB))
    assert digest.hexdigest() == "d3d112d8dab7fd360609f7d5a7b769904b7a2a7d7b6b8c535f65a23293c05478"
