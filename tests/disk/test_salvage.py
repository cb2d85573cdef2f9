"""Salvaging reads: zeros where a read would raise for what is wrong with the image, and a list of every such place."""

from __future__ import annotations

import random
import threading
from itertools import pairwise

import pytest
from builder import (
    GB,
    KB,
    LOG_GUID,
    MB,
    TB,
    Image,
    Log,
    bat_entry,
    differencing,
    dynamic,
    full,
    partial,
    reserved,
    with_log,
    zeroed,
)

import vhdxreader
from vhdxreader import CorruptImageError, DirtyLogError, ParentNotFoundError, TruncatedImageError, VhdxError
from vhdxreader.cli.app import run
from vhdxreader.disk.salvage import LostRanges
from vhdxreader.format.rules import breach

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


def test_what_is_refused_stays_refused():
    with pytest.raises(TruncatedImageError):
        salvaged(dynamic(4 * MB).truncate(2 * MB))
    with pytest.raises(CorruptImageError):
        salvaged(dynamic(4 * MB).flip(64 * KB + 9).flip(128 * KB + 9))
    with pytest.raises(DirtyLogError):
        salvaged(with_log(dynamic(4 * MB), Log(guid=LOG_GUID)))
    with pytest.raises(ParentNotFoundError):
        salvaged(child_of(dynamic(SIZE)), parents=lambda _: None)


def test_a_failing_medium_is_no_damage_of_the_image():
    class Failing(type(broken().open())):
        def readinto(self, buffer):
            if len(buffer) == 700:
                raise OSError(5, "bad place")
            return super().readinto(buffer)

    disk = vhdxreader.open(Failing(broken().file), errors="zero")
    with pytest.raises(OSError, match="bad place"):
        disk.pread(700, 0)
    assert disk.lost == ()


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


def add(ranges: LostRanges, offset: int, length: int, rule: str = "payload.state", depth: int = 0) -> None:
    ranges.add(offset, length, depth, breach(rule, f"at {offset}"))


def test_ranges_against_a_set_of_bytes():
    rng = random.Random(5)
    for _ in range(300):
        ranges, wanted = LostRanges(), set()
        for _ in range(rng.randrange(1, 30)):
            offset, length = rng.randrange(100), rng.randrange(1, 12)
            add(ranges, offset, length)
            wanted |= set(range(offset, offset + length))
        found = ranges.snapshot()
        assert {n for entry in found for n in range(entry.disk_offset, entry.end)} == wanted
        assert all(one.end < other.disk_offset for one, other in pairwise(found))


def test_neighbours_of_another_rule_or_file_stay_apart():
    ranges = LostRanges()
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
    ranges, wanted = LostRanges(), set()
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


@pytest.mark.parametrize("command", ["cat", "convert"])
def test_what_somebody_should_know_is_said_once(command, tmp_path, capfdbinary):
    """A log that was replayed, since other tools' hashes differ; two blocks in one place, which only a BAT tells."""
    image = dynamic(4 * MB, blocks={0: full(), 2: full()})
    image.patch(image.block_entry_offset(1), bat_entry(6, image.block_offset[0]))
    image.flip(64 * 1024 + 9)
    path = str(image.save(tmp_path / "disk.vhdx"))
    target = [str(tmp_path / "disk.raw")] if command == "convert" else []
    assert run([command, path, *target]) == 2
    said = capfdbinary.readouterr().err
    assert said.count(b"rule header.checksum") == said.count(b"rule block.shared") == 1
    if command == "cat":
        assert run(["cat", path, "--length", "1M"]) == 0
        assert b"block.shared" not in capfdbinary.readouterr().err  # the whole BAT is not read for a part


def test_command_of_a_truncated_image(tmp_path, capfd):
    """click takes an EOFError, which this error is as well, for the user's wish to stop."""
    path = str(dynamic(GB).truncate(2 * MB + 5).save(tmp_path / "disk.vhdx"))
    assert run(["cat", path]) == 2
    assert "metadata.truncated" in capfd.readouterr().err
