"""Replay of the log [MS-VHDX 2.3.3]: what it makes of a file, what it says, and that it writes nothing."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from builder import (
    KB,
    LOG_GUID,
    MB,
    TB,
    Data,
    Image,
    Log,
    Update,
    Zero,
    damaged,
    diff,
    differencing,
    dirty,
    dynamic,
    full,
    hide,
    partial,
    pattern,
    run,
    with_log,
)
from dirty_images import (
    DISK,
    IMAGE,
    LATE,
    NEW,
    OLD,
    OTHER,
    SECTOR,
    SIZE,
    first_sectors,
    replayed_blocks,
    rules_of,
    same_disk,
    target,
    wet,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import vhdxreader
from vhdxreader import CorruptImageError, DirtyLogError, Severity, TruncatedImageError
from vhdxreader import spec as constants
from vhdxreader.files.opening import open_source
from vhdxreader.format.header import choose_current, read_headers
from vhdxreader.format.rules import Findings

# ---- the whole disk, all structures


@pytest.fixture(scope="module")
def sealed() -> Image:
    return dynamic(20 * MB, {n: full() for n in (0, 5, 7, 11, 19)}, log=Log(4 * MB))


@pytest.mark.parametrize("per_entry", [1, 5, 126, 127, 128, 254, 255, 1000])
@pytest.mark.parametrize("where", [0, 4 * MB - 8 * KB, 4 * MB - 4 * KB])
def test_replay_restores_every_structure(sealed: Image, per_entry: int, where: int) -> None:
    """Both region tables, metadata, BAT and payload; in entries of many sizes, wrapping between them or inside one."""
    stale, updates = hide(
        sealed,
        (192 * KB, 128 * KB),
        (sealed.metadata_offset, 128 * KB),
        (sealed.bat_offset, 8 * KB),
        *((offset, 160 * KB) for offset in sealed.block_offset.values()),
    )
    image = dirty(stale, updates, per_entry=per_entry, at=where)
    with vhdxreader.open(image.open()) as disk:
        assert disk.read() == sealed.expected()
        assert disk.image.log is not None
        assert disk.image.log.sectors == len([update for update in updates if isinstance(update, Data)])
        assert [entry.sequence_number for entry in disk.image.log.active.to_replay] == list(
            range(1, 1 + len(image.spec.log.entries))
        )
        changes = disk.image.log_changes()
    assert changes.region_tables == (1, 2)
    assert changes.bat_entries == 5
    assert changes.metadata_length > 100
    with pytest.raises(CorruptImageError, match="no valid region table"):
        vhdxreader.open(image.open(), log="ignore")


@pytest.mark.parametrize("count", [0, 1, 125, 126, 127, 128, 253, 254, 255, 256])
@pytest.mark.parametrize("kind", ["zero", "data", "both"])
def test_descriptor_sectors(count: int, kind: str) -> None:
    """126 descriptors in the first sector, 128 in each further one."""
    image = dynamic(DISK, {n: full({0: OLD}) for n in range(16)}, log=Log(2 * MB))
    size = image.file.length
    updates: list[Update] = []
    for n in range(count):
        where = image.block_offset[n % 16] + n // 16 * SECTOR
        zero = kind == "zero" or (kind == "both" and n % 3)
        updates.append(Zero(where, SECTOR) if zero else Data(where, pattern(str(n), SECTOR)))
    last = [Data(image.block_offset[15] + MB - SECTOR, LATE)]
    entries = run([updates, last], length=2 * MB, flushed=size, last=size)
    image = with_log(image, Log(2 * MB, entries, LOG_GUID))
    with vhdxreader.open(image.open()) as disk:
        assert len(disk.image.log.active.to_replay) == 2
    same_disk(image, image.replayed())


def test_empty_entries_belong_to_a_sequence() -> None:
    """Windows begins with one; as the only entry it is a sequence, too."""
    image = wet(run([[], [write(1)], [], [write(2)], []], flushed=SIZE, last=SIZE))
    assert replayed_blocks(image) == {1: NEW, 2: NEW}
    assert replayed_blocks(wet(run([[]], flushed=SIZE, last=SIZE))) == {}


# ---- replay


def test_the_later_write_wins() -> None:
    """Between entries and inside one."""
    entries = run([[write(1), write(1, OTHER)], [write(2), write(3)], [write(2, LATE)]], flushed=SIZE, last=SIZE)
    assert replayed_blocks(wet(entries)) == {1: OTHER, 2: LATE, 3: NEW}


ZEROS = bytes(SECTOR)


@pytest.mark.parametrize(
    ("groups", "wanted"),
    [
        ([[write(1)], [Zero(target(1), MB)]], ZEROS),
        ([[write(1), Zero(target(1), MB)]], ZEROS),
        ([[Zero(target(1), MB)], [write(1)]], NEW),
        ([[Zero(target(1), MB), write(1)]], NEW),
        ([[write(1)], [Zero(target(1), MB)], [write(1, LATE)]], LATE),
        ([[write(1)], [Zero(target(1), MB)], [write(1, LATE)], [Zero(target(1), SECTOR)]], ZEROS),
        ([[write(1)], [Zero(target(1) + SECTOR, SECTOR)]], NEW),
        ([[write(1)], [Zero(target(1), 0)]], NEW),
    ],
)
def test_zeros_and_data_by_their_order(groups: list[list[Update]], wanted: bytes) -> None:
    image = wet(run(groups, flushed=SIZE, last=SIZE))
    assert first_sectors(image, [1]) == [wanted]


def test_a_zero_descriptor_takes_a_block_away() -> None:
    """Its BAT entry becomes NOT_PRESENT."""
    image = wet(run([[Zero(IMAGE.bat_offset, SECTOR)]], flushed=SIZE, last=SIZE))
    with vhdxreader.open(image.open()) as disk:
        assert disk.read() == bytes(DISK)
        assert disk.image.log_changes().bat_entries == 16


def test_a_descriptor_that_targets_payload_is_honoured() -> None:
    data = pattern("payload", SECTOR)
    image = wet(run([[Data(target(3, 7), data)]], flushed=SIZE, last=SIZE))
    with vhdxreader.open(image.open()) as disk:
        assert disk.pread(3 * SECTOR, 3 * MB + 6 * SECTOR) == IMAGE.expected(
            3 * MB + 6 * SECTOR, SECTOR
        ) + data + bytes(SECTOR)
        assert disk.pread(10, 3 * MB + 7 * SECTOR + 4) == data[4:14]  # leading bytes and data
        assert disk.pread(8, 3 * MB + 8 * SECTOR - 6) == data[-6:] + bytes(2)  # data and trailing bytes


def test_growth() -> None:
    """Writes behind the end extend the file; what they, or LastFileOffset alone, leave out is missing."""
    whole = dynamic(DISK, {n: full() for n in range(16)})
    last_block = max(whole.block_offset, key=lambda n: whole.block_offset[n])
    short = whole.copy().truncate(whole.block_offset[last_block])
    size = short.file.length
    with vhdxreader.open(short.open()) as disk, pytest.raises(TruncatedImageError):
        disk.pread(1, last_block * MB)

    grown = with_log(short, Log(MB, run([[]], flushed=size, last=size + MB), LOG_GUID))
    with vhdxreader.open(grown.open()) as disk:
        with pytest.raises(TruncatedImageError, match="Windows") as caught:
            disk.pread(MB, last_block * MB)
        assert (caught.value.rule, caught.value.file_offset) == ("payload.past_end", size)
        assert disk.image.log_changes().grown == MB
        assert disk.image.file_size == size
    assert rules_of(grown)["log.file_short"] is Severity.WARNING

    update = Data(size + 64 * KB, NEW)
    half = with_log(short, Log(MB, run([[update]], flushed=size, last=0), LOG_GUID))
    with vhdxreader.open(half.open()) as disk:
        assert disk.pread(4 * KB, last_block * MB + 64 * KB) == NEW
        for offset in (0, 64 * KB - 1, 68 * KB):
            with pytest.raises(TruncatedImageError):
                disk.pread(1, last_block * MB + offset)
    assert "log.file_short" not in rules_of(half)

    zeros = with_log(short, Log(MB, run([[Zero(size, 1 << 62)]], flushed=size), LOG_GUID))
    with vhdxreader.open(zeros.open()) as disk:
        assert disk.pread(MB, last_block * MB) == bytes(MB)
        assert disk.image.log_changes().grown == 1 << 62


@pytest.mark.parametrize("beside", [[], [write(1)], [Zero(target(1), SECTOR)]])
def test_a_zero_descriptor_of_no_length_changes_nothing(beside: list[Update]) -> None:
    """It does not extend the file either."""
    image = wet(run([[Zero(SIZE + 64 * MB, 0), *beside]], flushed=SIZE, last=SIZE))
    with vhdxreader.open(image.open()) as disk:
        log = disk.image.log
        assert log.sectors + log.ranges == len(beside)
        assert log.bytes == SECTOR * len(beside)
        assert disk.image.log_changes().grown == 0


def test_only_the_heads_file_offsets_count() -> None:
    entries = run([[write(1)], [write(2)]], flushed=SIZE, last=SIZE)
    entries = damaged(entries, 0, flushed_file_offset=1 << 60, last_file_offset=1 << 62)
    with vhdxreader.open(wet(entries).open()) as disk:
        assert disk.image.log.overlay.size == SIZE


def test_a_file_shorter_than_what_was_flushed() -> None:
    image = wet(run([[write(1)]], flushed=SIZE + MB, last=SIZE + MB))
    with pytest.raises(TruncatedImageError) as caught:
        vhdxreader.open(image.open())
    assert caught.value.rule == "log.flushed_file_offset"
    assert caught.value.file_offset == SIZE
    assert replayed_blocks(image, log="ignore") == {}


@pytest.mark.parametrize(("flushed", "last"), [(SIZE - 1, SIZE), (SIZE, SIZE + 1), (12345, 6789)])
def test_file_offsets_that_are_no_megabytes(flushed: int, last: int) -> None:
    """As qemu writes them."""
    image = wet(run([[write(1)]], flushed=flushed, last=last))
    assert replayed_blocks(image) == {1: NEW}
    short = {"log.file_short": Severity.WARNING} if last > SIZE else {}
    assert rules_of(image) == {"log.replayed": Severity.WARNING, "log.file_offsets": Severity.INFO, **short}


def test_reserved_fields() -> None:
    for field in ("reserved", "desc[0].reserved"):
        entries = damaged(run([[Zero(target(1), MB), write(2)]], flushed=SIZE, last=SIZE), 0, **{field: 1})
        assert rules_of(wet(entries)) == {"log.replayed": Severity.WARNING, "log.reserved": Severity.WARNING}


def test_a_replayed_bitmap_and_a_replayed_bat_of_a_child() -> None:
    parent = dynamic(4 * MB, {0: full(), 1: full(), 3: full()})
    child = differencing(4 * MB, {0: partial([1, 5, 2047]), 1: full(), 2: partial([0])}, parent=parent, log=Log(4 * MB))
    stale, updates = hide(child, (child.bat_offset, 64 * KB), (child.bitmap_offset[0], MB))
    image = dirty(stale, updates)
    with vhdxreader.open(image.open(), parent=parent.open()) as disk:
        assert disk.read() == child.expected()


def test_a_region_moved_onto_the_log_by_the_replay() -> None:
    """Checked behind the replay, when the regions are known."""
    onto = dynamic(DISK, overrides={"region.bat.file_offset": IMAGE.log_offset})
    updates = diff(IMAGE.file, onto.file)
    tables = [update for update in updates if 192 * KB <= update.offset < 320 * KB]
    assert len(tables) == 2
    image = wet(run([tables], flushed=SIZE, last=SIZE))
    with pytest.raises(CorruptImageError) as caught:
        vhdxreader.open(image.open())
    assert caught.value.rule == "region.overlap"
    assert replayed_blocks(image, log="ignore") == {}


def test_more_zeroed_ranges_than_our_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused; what touches counts once."""
    monkeypatch.setattr(constants, "MAX_LOG_ZERO_RANGES", 1000)
    monkeypatch.setattr("vhdxreader.files.range_union.STRETCH", 100)
    apart: list[Update] = [Zero(TB + 2 * n * SECTOR, SECTOR) for n in range(2000)]
    touching: list[Update] = [Zero(TB + n * SECTOR, SECTOR) for n in range(2000)]
    with pytest.raises(DirtyLogError) as caught:
        vhdxreader.open(wet(run([apart], flushed=SIZE, last=SIZE)).open())
    assert caught.value.rule == "log.too_many_ranges"
    with vhdxreader.open(wet(run([touching], flushed=SIZE, last=SIZE)).open()) as disk:
        assert disk.image.log.ranges == 1
        assert disk.image.log.bytes == 2000 * SECTOR


# ---- log="replay", "refuse", "ignore"


def test_the_three_ways_to_open() -> None:
    image = wet(run([[write(1)], [write(2), Zero(target(3), MB)]], flushed=SIZE, last=SIZE))
    assert replayed_blocks(image) == {1: NEW, 2: NEW, 3: ZEROS}
    assert replayed_blocks(image, log="replay") == {1: NEW, 2: NEW, 3: ZEROS}
    with pytest.raises(DirtyLogError) as caught:
        vhdxreader.open(image.open(), log="refuse")
    assert caught.value.rule == "log.dirty"
    assert replayed_blocks(image, log="ignore") == {}
    assert rules_of(image, log="ignore") == {"log.ignored": Severity.ERROR}
    with vhdxreader.open(image.open(), log="ignore") as disk:
        assert not disk.image.log.is_replayed
        assert len(disk.image.log.active.to_replay) == 2
        assert (disk.image.log.sectors, disk.image.log.ranges, disk.image.log.bytes) == (0, 0, 0)
        assert disk.image.log_changes() is None
    with vhdxreader.open(image.open()) as disk:
        log = disk.image.log
        assert (log.guid, log.file_offset, log.length) == (LOG_GUID, image.log_offset, MB)
        assert log.is_replayed
        assert (log.sectors, log.ranges, log.bytes) == (2, 1, 2 * SECTOR + MB)


@pytest.mark.parametrize("how", ["replay", "refuse", "ignore"])
def test_a_clean_image_is_the_same_all_three_ways(how: str) -> None:
    """Whatever stale entries its log has."""
    stale = with_log(IMAGE, Log(MB, run([[write(1)]], flushed=SIZE, last=SIZE)))
    assert replayed_blocks(stale, log=how) == {}
    assert rules_of(stale, log=how) == {}
    with vhdxreader.open(stale.open(), log=how) as disk:
        assert disk.image.log is None
        assert disk.image.log_changes() is None


def test_a_log_guid_without_any_entry() -> None:
    """What a crash of qemu can leave."""
    image = wet([])
    with pytest.raises(DirtyLogError) as caught:
        vhdxreader.open(image.open())
    assert caught.value.rule == "log.no_sequence"
    assert replayed_blocks(image, log="ignore") == {}
    assert rules_of(image, log="ignore") == {"log.ignored": Severity.ERROR}


@pytest.mark.parametrize("value", ["", "REPLAY", "zero", None, True])
def test_an_invalid_value(value: object) -> None:
    with pytest.raises(ValueError, match="replay"):
        vhdxreader.open(IMAGE.open(), log=value)  # type: ignore[arg-type]


# ---- the file stays as it is


def test_nothing_is_written(tmp_path: Path) -> None:
    """A file that nobody may write serves, and has the same bytes and times afterwards."""
    path = wet(run([[write(1)]], flushed=SIZE, last=SIZE)).save(tmp_path / "a.vhdx")
    path.chmod(0o444)
    before = hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns
    with vhdxreader.open(path) as disk:
        assert disk.pread(SECTOR, MB) == NEW
    assert (hashlib.sha256(path.read_bytes()).digest(), path.stat().st_mtime_ns) == before


@pytest.mark.parametrize("how", ["path", "raw file", "buffered file"])
def test_the_holes_of_a_sparse_log_are_left_out(how: str, tmp_path: Path) -> None:
    """And a borrowed file's buffer is not led astray by the search for them."""
    big = dynamic(DISK, {n: full({0: OLD}) for n in range(16)}, log=Log(1024 * MB))
    offset = {n: big.block_offset[n] for n in (1, 2)}
    size = big.file.length
    entries = run(
        [[Data(offset[1], NEW)], [Data(offset[2], NEW)]],
        length=1024 * MB,
        at=1024 * MB - 12 * KB,
        flushed=size,
        last=size,
    )
    path = with_log(big, Log(1024 * MB, entries, LOG_GUID)).save(tmp_path / "a.vhdx")
    with open(path, "rb", buffering=0) as raw, open(path, "rb") as buffered:
        buffered.read(10)
        file = {"path": path, "raw file": raw, "buffered file": buffered}[how]
        source = open_source(file)
        header = choose_current(read_headers(source), Findings())
        ranges = list(source.data_ranges(header.log_offset, header.log_offset + header.log_length))
        source.close()
        assert sum(end - start for start, end in ranges) < 64 * MB
        with vhdxreader.open(file) as disk:
            assert disk.pread(SECTOR, MB) == disk.pread(SECTOR, 2 * MB) == NEW
            assert disk.pread(SECTOR, 3 * MB) == OLD
        if how == "buffered file":
            assert buffered.tell() == 10
            assert buffered.read(6) == os.pread(raw.fileno(), 6, 10)


updates_strategy = st.lists(
    st.one_of(
        st.builds(lambda n, k: Zero(target(0) + n * SECTOR, k * SECTOR), st.integers(0, 30), st.integers(0, 20)),
        st.builds(
            lambda n, c: Data(target(0) + n * SECTOR, bytes([c]) * SECTOR), st.integers(0, 30), st.integers(1, 255)
        ),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(updates_strategy, min_size=1, max_size=8), st.sampled_from([2, 5, 1 << 15]))
def test_any_updates_are_replayed_in_their_order(groups: list[list[Update]], stretch: int) -> None:
    image = wet(run(groups, flushed=SIZE, last=SIZE))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vhdxreader.files.range_union.STRETCH", stretch)
        patch.setattr("vhdxreader.format.log_replay.STRETCH", stretch)
        with vhdxreader.open(image.open()) as disk:
            overlay = disk.image.log.overlay
            ours = overlay.read_at(target(0), 64 * SECTOR)
    assert ours == image.replayed().file.read(target(0), 64 * SECTOR).ljust(64 * SECTOR, b"\0")
