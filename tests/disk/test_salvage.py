"""Salvaging reads: zeros where a read would raise for what is wrong with the image, and a list of every such place."""

from __future__ import annotations

import errno
import json
import random
import sys
import threading
from copy import copy
from itertools import pairwise

import pytest
from builder import (
    GB,
    IS_REQUIRED,
    KB,
    LOG_GUID,
    MB,
    TB,
    Data,
    Image,
    Item,
    Log,
    Region,
    bat_entry,
    differencing,
    dirty,
    dynamic,
    full,
    hide,
    partial,
    reserved,
    with_log,
    zeroed,
)

import vhdxreader
from vhdxreader import (
    CorruptImageError,
    DirtyLogError,
    Geometry,
    NotVhdxError,
    ParentMismatchError,
    ParentNotFoundError,
    Severity,
    TruncatedImageError,
    UnreadableError,
    VhdxError,
)
from vhdxreader.cli.app import run
from vhdxreader.disk.salvage import DamagedRanges, Lost

SIZE = 6 * MB


def broken(**more) -> Image:
    """Blocks 1 and 2 are in reserved states, 4 lies past the end of the file, 5 on the metadata region."""
    overrides = {"block[4]": bat_entry(6, TB), "block[5]": bat_entry(6, 2 * MB)}
    blocks = {0: full(), 1: reserved(4), 2: reserved(5), 3: full()}
    return dynamic(SIZE, **{"blocks": blocks, "overrides": overrides, **more})


def salvaged(image: Image, **how) -> vhdxreader.VirtualDisk:
    return vhdxreader.open(image.open(), errors="zero", **how)


def lost(disk: vhdxreader.VirtualDisk) -> list[tuple[int, int, str]]:
    return [(entry.disk_offset, entry.length, entry.rule) for entry in disk.lost]


def test_zeros_for_what_is_lost_and_a_list_of_it():
    image = broken()
    with salvaged(image) as disk:
        data = disk.read()
        assert lost(disk) == [
            (MB, 2 * MB, "payload.state"),
            (4 * MB, MB, "payload.past_end"),
            (5 * MB, MB, "payload.overlap"),
        ]
    for n in (0, 3):
        assert data[n * MB : (n + 1) * MB] == image.expected(n * MB, MB)
    assert not any(data[MB : 3 * MB])
    assert not any(data[4 * MB :])


def test_only_what_was_read_is_listed():
    with salvaged(broken()) as disk:
        disk.pread(MB, 0)
        assert disk.lost == ()
        disk.pread(1000, 2 * MB - 500)
        assert lost(disk) == [(2 * MB - 500, 1000, "payload.state")]
        for _ in range(3):
            disk.pread(2000, 2 * MB - 1000)
        assert lost(disk) == [(2 * MB - 1000, 2000, "payload.state")]


def test_reason_is_the_error_that_a_read_raises():
    image = broken()
    with salvaged(image) as disk, vhdxreader.open(image.open()) as strict:
        disk.read()
        for entry in disk.lost:
            with pytest.raises(VhdxError) as caught:
                strict.pread(1, entry.disk_offset)
            assert entry.reason == str(caught.value)
            assert entry.rule == caught.value.rule
        assert strict.lost == ()


def test_every_way_to_read_salvages():
    with salvaged(broken()) as disk:
        buffer = bytearray(512)
        disk.seek(MB)
        assert disk.read(512) == bytes(512)
        assert disk.readinto(buffer) == 512
        assert disk.preadinto(buffer, MB + 1024) == 512
        assert lost(disk) == [(MB, 1536, "payload.state")]
        assert not any(buffer)


def test_image_alone_and_the_default_raise():
    with salvaged(broken()) as disk, pytest.raises(CorruptImageError):
        disk.image.pread(1, MB)
    with vhdxreader.open(broken().open()) as disk, pytest.raises(CorruptImageError):
        disk.read()
    with pytest.raises(ValueError, match="errors is 'ignore'"):
        vhdxreader.open(broken().open(), errors="ignore")


@pytest.mark.parametrize("missing", [1, 511, 512, 700, MB - 1, MB, MB + 5])
def test_file_cut_short_in_its_last_blocks(missing):
    image = dynamic(2 * MB, blocks={0: full(), 1: full()}, block_order=[("block", 0), ("block", 1)])
    image.truncate(image.file.length - missing)
    with salvaged(image) as disk:
        kept = 2 * MB - missing
        assert disk.read() == image.expected(0, kept) + bytes(missing)
        assert lost(disk) == [(kept, missing, "payload.past_end")]


def test_table_cut_short():
    image = dynamic(4 * MB, blocks={0: zeroed(), 3: full()}, order=("log", "metadata", "blocks", "bat"))
    image.truncate(image.bat_offset + 12)
    with salvaged(image) as disk:
        assert disk.read() == bytes(4 * MB)
        assert lost(disk) == [(MB, 3 * MB, "region.past_end")]


def child_of(parent: Image, **more) -> Image:
    return differencing(SIZE, blocks={1: full(), 2: partial([0, 9]), 3: zeroed()}, parent=parent, **more)


def test_missing_sector_bitmap():
    parent = dynamic(SIZE, blocks={0: full(), 2: full()})
    image = child_of(parent, bitmap_states={0: 0})
    with salvaged(image, parent=parent.open()) as disk:
        data = disk.read()
        assert lost(disk) == [(2 * MB, MB, "bitmap.not_present")]
        assert data[: 2 * MB] == image.expected(0, 2 * MB)
        assert data[3 * MB :] == image.expected(3 * MB)


def test_absent_parent():
    image = child_of(dynamic(SIZE))
    with salvaged(image, parents=None) as disk:
        disk.read()
        assert lost(disk) == [
            (0, MB, "parent.absent"),
            (2 * MB + 512, 8 * 512, "parent.absent"),
            (2 * MB + 5120, MB - 5120, "parent.absent"),
            (4 * MB, 2 * MB, "parent.absent"),
        ]
    with vhdxreader.open(image.open(), parents=None) as disk, pytest.raises(ParentNotFoundError):
        disk.read()


def test_damage_in_the_parent_names_its_depth():
    parent = dynamic(SIZE, blocks={0: reserved(), 4: full()})
    with salvaged(child_of(parent), parent=parent.open()) as disk:
        disk.read()
        assert [(entry.disk_offset, entry.depth, entry.rule) for entry in disk.lost] == [(0, 1, "payload.state")]
        assert "parent" in disk.lost[0].reason


def test_where_nothing_can_be_had_one_line_says_what_is_missing():
    for image in (dynamic(4 * MB).truncate(2 * MB), dynamic(4 * MB, without={"virtual_disk_size"})):
        with pytest.raises(CorruptImageError, match="give the geometry"):
            salvaged(image)
    with pytest.raises(NotVhdxError):
        salvaged(dynamic(4 * MB).truncate(3))
    with pytest.raises(DirtyLogError, match="asked"):
        salvaged(with_log(dynamic(4 * MB), Log(guid=LOG_GUID)), log="refuse")


def whole(image: Image, **how) -> list[tuple[int, int, str]]:
    """All of the disk is right; what is doubtful of it."""
    with salvaged(image, **how) as disk:
        assert disk.read() == image.expected()
        assert disk.lost == ()
        assert any(finding.severity is Severity.ERROR for finding in disk.image.findings)
        return [(entry.disk_offset, entry.length, entry.rule) for entry in disk.doubtful]


def sound(**more) -> Image:
    return dynamic(SIZE, **{"blocks": {0: full(), 3: full()}, **more})


def test_headers_that_agree_need_no_checksum():
    """As one writer left them in images in the wild."""
    image = sound()
    image.patch("header1.data_write_guid", image.data_write_guid)
    assert whole(image.flip(64 * KB + 4).flip(128 * KB + 4)) == []


def test_headers_that_disagree_and_a_log_that_tells():
    stale, updates = hide(sound(), (sound().bat_offset, 4 * KB))
    image = dirty(stale, updates)
    image.patch("header1.log_guid", bytes(16)).flip(64 * KB + 4).flip(128 * KB + 4)
    assert whole(image) == []


def test_headers_that_disagree_with_nothing_that_tells():
    image = sound().flip(64 * KB + 4).flip(128 * KB + 4)
    assert whole(image) == [(0, SIZE, "header.unproven")]
    image = sound(sequence_numbers=(8, 8)).patch("header2.data_write_guid", bytes(16)).fix_checksums("header2")
    assert whole(image) == [(0, SIZE, "header.unproven")]


def test_identifier_of_zeros():
    assert whole(sound().patch(0, bytes(512))) == []


def test_region_tables_that_agree_need_no_checksum():
    assert whole(sound(overrides={"region.checksum": 7})) == []


def test_region_table_that_leads_to_metadata():
    image = sound(overrides={"region.checksum": 7, "region1.metadata.file_offset": 5 * MB})
    assert whole(image) == []
    image = sound(overrides={"region.checksum": 7, "region2.metadata.length": 5 * MB})
    assert whole(image) == [(0, SIZE, "region_table.unproven")]


def test_bat_region_that_is_too_small():
    image = dynamic(200 * GB, {0: full(), 150_000: full()}, overrides={"region.bat.length": MB})
    with salvaged(image) as disk:
        assert disk.pread(MB, 0) == image.expected(0, MB)
        there = 131072 - 131072 // 4097
        disk.pread(4 * MB, (there - 2) * MB)
        disk.pread(MB, 150_000 * MB)
        assert lost(disk) == [(there * MB, 2 * MB, "bat.too_small"), (150_000 * MB, MB, "bat.too_small")]
        errors = [extent for extent in disk.extents() if extent.kind == "error"]
        assert (errors[0].disk_offset, errors[-1].disk_offset + errors[-1].length) == (there * MB, disk.size)
        assert len(errors) < 30
        assert disk.doubtful == ()


def test_disk_size_that_is_no_multiple_of_the_sector():
    image = sound(overrides={"virtual_disk_size.size": SIZE - 5})
    with salvaged(image) as disk:
        assert disk.read() == image.expected()[:-5]
        assert disk.lost == disk.doubtful == ()


def test_unknown_things_that_are_required_make_all_doubtful():
    image = sound(extra_items=[Item("mine", LOG_GUID, b"x", IS_REQUIRED)])
    assert whole(image) == [(0, SIZE, "item.unknown_required")]
    image = sound(extra_regions=[Region("mine", LOG_GUID, required=1)])
    assert whole(image) == [(0, SIZE, "region.unknown_required")]


def test_log_that_is_ignored_makes_doubtful_what_it_changes():
    good = sound()
    stale, updates = hide(good, (good.block_offset[0] + 8 * KB, 4 * KB))
    entry = int.to_bytes(2 << 0, 8, "little")  # block 3: ZERO
    page = bytearray(good.file.read(good.bat_offset, 4 * KB))
    page[24:32] = entry
    image = dirty(stale, [*updates, Data(good.bat_offset, bytes(page))])
    with salvaged(image, log="ignore") as disk:
        disk.read()
        assert disk.lost == ()
        assert [(d.disk_offset, d.length, d.rule) for d in disk.doubtful] == [
            (8 * KB, 4 * KB, "log.ignored"),
            (3 * MB, MB, "log.ignored"),
        ]


def test_log_that_is_ignored_or_cannot_be_replayed_makes_all_doubtful():
    image = with_log(sound(), Log(guid=LOG_GUID))
    assert whole(image) == [(0, SIZE, "log.no_sequence")]
    assert whole(image, log="ignore") == [(0, SIZE, "log.ignored")]


def test_flushed_file_offset_behind_the_end():
    """Replayed; what the file lacks is lost, and all else is right."""
    good = sound(block_order=[("block", 0), ("block", 3)])
    stale, updates = hide(good, (good.bat_offset, 4 * KB))
    image = dirty(stale, updates).truncate(good.block_offset[3] + 100)
    with pytest.raises(TruncatedImageError):
        vhdxreader.open(image.open())
    with salvaged(image) as disk:
        assert disk.read() == good.expected(0, 3 * MB + 100).ljust(SIZE, b"\0")
        assert lost(disk) == [(3 * MB + 100, MB - 100, "payload.past_end")]
        assert disk.doubtful == ()


def test_partially_present_block_without_a_parent():
    image = sound(blocks={0: full(), 3: partial([0, 5])})
    with salvaged(image) as disk:
        data = disk.read()
        assert lost(disk) == []
        assert [(d.disk_offset, d.length, d.rule) for d in disk.doubtful] == [(3 * MB, MB, "payload.partially_present")]
        assert data[3 * MB :][:MB] == image.file.read(image.block_offset[3], MB)


def test_blocks_that_share_space_are_doubtful():
    blocks = {0: full(b"a", file_offset=8 * MB), 1: full(), 2: full(b"a", file_offset=8 * MB)}
    with salvaged(sound(blocks=blocks)) as disk:
        disk.read()
        assert [(d.disk_offset, d.length, d.rule) for d in disk.doubtful] == [
            (0, MB, "block.shared"),
            (2 * MB, MB, "block.shared"),
        ]


GEOMETRY = Geometry(SIZE, MB, 512, has_parent=False)


def test_geometry_for_metadata_that_are_gone():
    image = sound()
    broken = image.copy().patch(image.metadata_offset, bytes(64 * KB))
    assert whole(broken, geometry=GEOMETRY) == [(0, SIZE, "metadata.given")]
    with pytest.raises(VhdxError, match="say it"):
        salvaged(image, geometry=GEOMETRY)
    with pytest.raises(ValueError, match="errors"):
        vhdxreader.open(image.open(), geometry=GEOMETRY)


def test_geometry_of_a_child():
    parent = dynamic(SIZE, blocks={0: full(), 5: full()})
    image = child_of(parent)
    broken = image.copy().patch(image.metadata_offset, bytes(64 * KB))
    geometry = Geometry(SIZE, MB, 512, has_parent=True)
    with salvaged(broken, geometry=geometry) as disk:
        data = disk.read()
        assert (0, MB, "parent.absent") in lost(disk)
        assert data[MB : 2 * MB] == image.expected(MB, MB)
    assert whole(broken, geometry=geometry, parent=parent.open())


def test_a_parent_that_is_missing_or_does_not_match_is_lost():
    parent = dynamic(SIZE, blocks={0: full()})
    image = child_of(parent)
    other = dynamic(SIZE, name="other").open()
    for how, rule in (({"parents": lambda _: None}, "parent.not_found"), ({"parent": other}, "parent.mismatch")):
        with salvaged(image, **how) as disk:
            disk.read()
            assert {entry.rule for entry in disk.lost} == {"parent.absent"}
            assert disk.doubtful == ()
            assert rule in {finding.rule for finding in disk.image.findings}
    with pytest.raises(ParentMismatchError):
        vhdxreader.open(image.open(), parent=other)


@pytest.mark.parametrize("errors", ["raise", "zero"])
def test_a_parent_that_does_not_match_can_be_asked_for(errors):
    parent = dynamic(SIZE, blocks={0: full()})
    image = child_of(parent)
    other = dynamic(SIZE, blocks={0: full()}, name="other")
    with vhdxreader.open(image.open(), parent=other.open(), ignore_mismatch=True, errors=errors) as disk:
        assert disk.pread(MB, MB) == image.expected(MB, MB)
        assert disk.doubtful == ()
        assert disk.pread(MB, 0) == other.expected(0, MB)
        assert [(d.disk_offset, d.length, d.depth) for d in disk.doubtful] == [(0, MB, 1)]
        assert "parent.mismatch" in {f.rule for f in disk.image.findings if f.severity is Severity.ERROR}


def test_lost_bytes_are_filled_with_a_pattern():
    with salvaged(broken(), fill=b"LOST SECTOR\n") as disk:
        data = disk.read()
        assert data[:MB] == broken().expected(0, MB)
        for entry in disk.lost:
            pattern = (b"LOST SECTOR\n" * (entry.end // 12 + 1))[entry.disk_offset : entry.end]
            assert data[entry.disk_offset : entry.end] == pattern
        assert disk.pread(100, MB + 5) == data[MB + 5 :][:100]
    with pytest.raises(ValueError, match="empty"):
        salvaged(broken(), fill=b"")


# ---- bad sectors


def failing(image: Image, *sectors: int):
    """The image on a medium that does not give these sectors of 512 bytes."""

    class Failing(type(image.open())):
        def readinto(self, buffer):
            if any(self.tell() < (n + 1) * 512 and n * 512 < self.tell() + len(buffer) for n in sectors):
                raise OSError(errno.EIO, "bad sector")
            return super().readinto(buffer)

    return Failing(image.file)


def test_bad_sectors_of_a_payload_block_are_lost_alone():
    image = sound()
    first = image.block_offset[0] // 512
    medium = failing(image, first + 3, first + 4, first + 2047)
    with vhdxreader.open(medium) as disk:
        with pytest.raises(UnreadableError) as caught:
            disk.pread(512, 3 * 512)
        assert (caught.value.file_offset, caught.value.errno) == (image.block_offset[0] + 3 * 512, errno.EIO)
        assert disk.pread(3 * 512, 0) == image.expected(0, 3 * 512)
    with vhdxreader.open(medium, errors="zero", fill=b"?") as disk:
        data = disk.read()
        assert lost(disk) == [(3 * 512, 1024, "file.unreadable"), (2047 * 512, 512, "file.unreadable")]
    for n in range(SIZE // 512):
        wanted = b"?" * 512 if n in (3, 4, 2047) else image.expected(n * 512, 512)
        assert data[n * 512 : (n + 1) * 512] == wanted


def test_bad_sector_of_the_bat_concerns_its_blocks_alone():
    image = dynamic(200 * MB, {0: full(), 63: full(), 64: full(), 128: full()})
    medium = failing(image, image.bat_offset // 512 + 1)
    with vhdxreader.open(medium) as disk:
        assert disk.pread(MB, 63 * MB) == image.expected(63 * MB, MB)
        with pytest.raises(UnreadableError) as caught:
            disk.pread(1, 64 * MB)
        assert caught.value.file_offset == image.bat_offset + 512
    with vhdxreader.open(medium, errors="zero") as disk:
        data = disk.read()
        assert lost(disk) == [(64 * MB, 64 * MB, "file.unreadable")]
    assert data[: 64 * MB] == image.expected(0, 64 * MB)
    assert data[128 * MB :] == image.expected(128 * MB)


def test_bad_sector_of_a_sector_bitmap():
    parent = dynamic(8 * MB, {0: full(), 2: full(), 3: full(), 7: full()})
    image = differencing(8 * MB, {n: partial([0, 9]) for n in range(8)}, parent=parent)
    medium = failing(image, image.bitmap_offset[0] // 512 + 1)
    with vhdxreader.open(medium, parent=parent.open(), errors="zero") as disk:
        data = disk.read()
        assert lost(disk) == [(2 * MB, 2 * MB, "file.unreadable")]
    assert data[: 2 * MB] == image.expected(0, 2 * MB)
    assert data[4 * MB :] == image.expected(4 * MB)


def test_bad_sectors_of_structures_of_which_there_are_two():
    image = sound()
    bad = [64 * KB // 512, 192 * KB // 512 + 3]
    with vhdxreader.open(failing(image, *bad)) as disk:
        assert disk.read() == image.expected()
        assert {finding.rule for finding in disk.image.findings} == {"header.unreadable", "region_table.unreadable"}


@pytest.mark.parametrize("place", ["header", "table", "items", "log", "beginning"])
def test_check_goes_on_behind_bad_sectors(place):
    image = dirty(sound(item_offsets={"virtual_disk_id": 128 * KB}), [])
    places = {
        "header": [64 * KB, 128 * KB],
        "table": [192 * KB + 1024, 256 * KB + 2048],
        "items": [image.item_offset["virtual_disk_id"]],
        "log": [image.log_offset + 8 * KB],
        "beginning": [0],
    }
    medium = failing(image, *(at // 512 for at in places[place]))
    report = vhdxreader.check(medium)
    assert report.worst is (Severity.WARNING if place == "items" else Severity.ERROR)
    assert report.payload_blocks == 6
    if place != "items":
        with pytest.raises((UnreadableError, CorruptImageError)):
            vhdxreader.open(medium)
    with vhdxreader.open(medium, errors="zero") as disk:
        data = disk.read()
        assert data == image.expected() or disk.lost
        assert bool(disk.doubtful) == (place in ("header", "log"))


def test_threads_lose_the_same():
    image = broken()
    with salvaged(image) as disk:
        starts = list(range(0, SIZE, 4096))
        random.Random(4).shuffle(starts)
        threads = [
            threading.Thread(target=lambda part: [disk.pread(4096, at) for at in part], args=(starts[n::4],))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [entry[:2] for entry in lost(disk)] == [(MB, 2 * MB), (4 * MB, MB), (5 * MB, MB)]


# ---- the list itself


def add(ranges: DamagedRanges, offset: int, length: int, rule: str = "payload.state", depth: int = 0) -> None:
    ranges.add(offset, length, depth, rule, f"at {offset}")


def test_ranges_against_a_set_of_bytes():
    rng = random.Random(5)
    for _ in range(300):
        ranges, wanted = DamagedRanges(Lost), set()
        for _ in range(rng.randrange(1, 30)):
            offset, length = rng.randrange(100), rng.randrange(1, 12)
            add(ranges, offset, length)
            wanted |= set(range(offset, offset + length))
        found = ranges.snapshot()
        assert {n for entry in found for n in range(entry.disk_offset, entry.end)} == wanted
        assert all(one.end < other.disk_offset for one, other in pairwise(found))


def test_neighbours_of_another_rule_or_file_stay_apart():
    ranges = DamagedRanges(Lost)
    add(ranges, 0, 10)
    add(ranges, 10, 10, "payload.overlap")
    add(ranges, 20, 10, "payload.overlap", depth=1)
    add(ranges, 30, 10, "payload.overlap", depth=1)
    assert [(entry.disk_offset, entry.length, entry.depth) for entry in ranges.snapshot()] == [
        (0, 10, 0),
        (10, 10, 0),
        (20, 20, 1),
    ]


def test_many_ranges_are_bounded_and_still_cover_all(monkeypatch):
    monkeypatch.setattr("vhdxreader.disk.salvage._MAX_RANGES", 50)
    rng = random.Random(6)
    ranges, wanted = DamagedRanges(Lost), set()
    for offset in rng.sample(range(0, 100_000, 3), 1000):
        add(ranges, offset, 1)
        wanted.add(offset)
    found = ranges.snapshot()
    assert len(found) == 50
    assert wanted <= {n for entry in found for n in range(entry.disk_offset, entry.end)}
    assert any("not all of this one" in entry.reason for entry in found)


# ---- the command


def test_command(tmp_path, capfdbinary):
    image = broken()
    path = str(image.save(tmp_path / "disk.vhdx"))
    assert run(["cat", path]) == 2
    assert b"payload.state" in capfdbinary.readouterr().err
    assert run(["cat", path, "--salvage"]) == 2
    output = capfdbinary.readouterr()
    assert output.out[:MB] == image.expected(0, MB)
    assert len(output.out) == SIZE
    lines = output.err.decode().splitlines()
    lost = [line for line in lines if line.startswith("lost: ")]
    assert lost[0] == "lost: 0x200000 bytes at 0x100000: payload.state"  # nothing that is true of its start only
    assert len(lost) == 3
    assert len([line for line in lines if line.startswith("payload.state: the block is lost; at 0x100000 since ")]) == 1
    assert "4 MiB (4194304 bytes) in 3 ranges were lost" in lines[-1]
    assert run(["cat", path, "--salvage", "--length", "1M"]) == 0
    assert capfdbinary.readouterr().err == b""


@pytest.mark.parametrize("command", ["cat", "convert", "hash", "hash --blocks", "hash --json"])
def test_what_somebody_should_know_is_said_once(command, tmp_path, capfdbinary):
    """A log that was replayed, since other tools' hashes differ; two blocks in one place, which only a BAT tells."""
    image = dynamic(4 * MB, blocks={0: full(), 2: full()})
    image.patch(image.block_entry_offset(1), bat_entry(6, image.block_offset[0]))
    image.flip(64 * 1024 + 9)
    path = str(image.save(tmp_path / "disk.vhdx"))
    target = [str(tmp_path / "disk.raw")] if command == "convert" else []
    assert run([*command.split(), path, *target]) == 2
    printed, said = capfdbinary.readouterr()
    assert said.count(b"rule header.checksum") == said.count(b"rule block.shared") == 1
    if command == "hash --json":
        assert [each["rule"] for each in json.loads(printed)["findings"]] == ["header.checksum", "block.shared"]
    if command == "cat":
        assert run(["cat", path, "--length", "1M"]) == 0
        assert b"block.shared" not in capfdbinary.readouterr().err  # the whole BAT is not read for a part


def test_command_of_a_truncated_image(tmp_path, capfd):
    """click takes an EOFError, which this error is as well, for the user's wish to stop."""
    path = str(dynamic(GB).truncate(2 * MB + 5).save(tmp_path / "disk.vhdx"))
    assert run(["cat", path]) == 2
    assert "metadata.truncated" in capfd.readouterr().err


def test_commands_on_an_image_whose_metadata_are_gone(tmp_path, capfdbinary):
    image = sound()
    path = str(image.copy().patch(image.metadata_offset, bytes(64 * KB)).save(tmp_path / "disk.vhdx"))
    assert run(["cat", "--salvage", path]) == 2
    assert b"give the geometry" in capfdbinary.readouterr().err
    geometry = f"size={SIZE},block=1M,sector=512,parent=no"
    assert run(["cat", "--salvage", "--geometry", geometry, path]) == 2
    output = capfdbinary.readouterr()
    assert output.out == image.expected()
    assert b"doubtful: 0x600000 bytes at 0x0: metadata.given" in output.err
    for wrong in ("size=1G", f"{geometry},more=1", geometry.replace("1M", "3M"), geometry.replace("512", "1024")):
        assert run(["cat", "--salvage", "--geometry", wrong, path]) == 64
    whole = str(image.save(tmp_path / "whole.vhdx"))
    assert run(["cat", "--salvage", "--geometry", geometry, whole]) == 1
    assert run(["cat", "--geometry", geometry, path]) == 64
    assert run(["cat", "--ignore-mismatch", whole]) == 64


@pytest.mark.parametrize(("option", "pattern"), [("0xDEADBEEF", b"\xde\xad\xbe\xef"), ("LOST", b"LOST")])
def test_command_with_a_pattern(option, pattern, tmp_path):
    path, out = str(broken().save(tmp_path / "disk.vhdx")), tmp_path / "disk.raw"
    assert run(["convert", "--salvage", "--fill", option, path, str(out)]) == 2
    data = out.read_bytes()
    assert data[:MB] == broken().expected(0, MB)
    assert data[MB : 3 * MB] == pattern * (2 * MB // 4)
    assert data[3 * MB : 4 * MB] == broken().expected(3 * MB, MB)
    assert data[4 * MB :] == pattern * (2 * MB // 4)
    assert run(["convert", "--fill", option, path, str(out)]) == 64
    assert run(["convert", "--salvage", "--fill", "0xABC", path, str(out)]) == 64


def test_mapfile_says_what_is_lost_and_doubtful(tmp_path):
    blocks = {0: full(b"a", file_offset=8 * MB), 1: full(b"a", file_offset=8 * MB), 2: reserved(4)}
    path, out = str(sound(blocks=blocks).save(tmp_path / "disk.vhdx")), tmp_path / "disk.raw"
    assert run(["convert", "--salvage", path, str(out)]) == 2
    lines = (tmp_path / "disk.raw.map").read_text().splitlines()
    assert [line.split()[1:4] for line in lines if ": 0x" in line] == [
        ["lost:", "0x00200000", "0x00100000"],
        ["doubtful:", "0x00000000", "0x00200000"],
    ]
    assert [line.split() for line in lines if not line.startswith("#")][1:] == [
        ["0x00000000", "0x00200000", "+"],
        ["0x00200000", "0x00100000", "-"],
        ["0x00300000", "0x00300000", "+"],
    ]


@pytest.mark.corpus
def test_whole_images_are_salvaged_without_a_word(corpus):
    for path in corpus.iterdir():
        with vhdxreader.open(path) as disk, vhdxreader.open(path, errors="zero") as salvaged_disk:
            for extent in disk.extents():
                length = min(extent.length, 4 * MB)
                offset = extent.disk_offset
                assert salvaged_disk.pread(length, offset) == disk.pread(length, offset)
            assert salvaged_disk.lost == salvaged_disk.doubtful == ()
            assert salvaged_disk.image.findings == disk.image.findings


def test_a_copied_disk_salvages_as_the_first(tmp_path):
    path = broken().save(tmp_path / "disk.vhdx")
    with vhdxreader.open(path, errors="zero", fill=b"LOST") as disk, copy(disk) as again:
        assert again.read() == disk.read()
        assert again.lost == disk.lost


def test_a_signal_handler_may_salvage_at_any_moment():
    """It runs before each instruction of the list's in turn; nothing lost is missing."""
    moment, was_there = 0, True
    while was_there:
        ranges = DamagedRanges(Lost)
        for offset in range(0, 80, 20):
            ranges.add(offset, 5, 0, "payload.state", "")
        moment += 1
        was_there = interrupted(ranges, moment)
        found = {byte for lost in ranges.snapshot() for byte in range(lost.disk_offset, lost.end)}
        extra = range(35, 40) if was_there else ()
        assert found == {n for at in range(0, 80, 20) for n in range(at, at + 5)} | {42, 43, 44, *extra}
    assert moment > 50  # instructions, of which newer Pythons need fewer


def interrupted(ranges, moment):
    """Add a range, while another is added before an instruction; whether there are so many."""
    left = moment

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename != sys.modules[DamagedRanges.__module__].__file__:
            return None
        if event == "call":
            frame.f_trace_opcodes = True
            sys.settrace(trace)  # again: CPython 3.12 looks for such frames only here
        elif event == "opcode":
            left -= 1
            if left == 0:
                sys.settrace(None)
                ranges.add(35, 5, 0, "payload.state", "")
                assert any(lost.disk_offset <= 35 < lost.end for lost in ranges.snapshot())
        return trace if left else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        ranges.add(42, 3, 0, "payload.state", "")
    finally:
        sys.settrace(before)
    return left <= 0
