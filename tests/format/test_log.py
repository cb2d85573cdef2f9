"""The log [MS-VHDX 2.3], sentence by sentence: which entries are valid, and which are the active sequence."""

from __future__ import annotations

import io
import struct
import uuid

import pytest
from builder import (
    KB,
    LOG_GUID,
    MB,
    TB,
    Data,
    Image,
    Log,
    LogEntry,
    Update,
    Zero,
    damaged,
    dynamic,
    full,
    pattern,
    run,
    with_log,
)
from dirty_images import (
    DISK,
    IMAGE,
    NEW,
    OLD,
    SECTOR,
    SIZE,
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
from vhdxreader import DirtyLogError, Severity, VhdxError
from vhdxreader.files.opening import open_source
from vhdxreader.format import grammar
from vhdxreader.format.header import choose_current, read_headers
from vhdxreader.format.log import Ring, examine, find_active
from vhdxreader.format.log_descriptors import Descriptors, data_sectors_are_good
from vhdxreader.format.rules import Findings

# ---- the grammar's layout and ours


def test_descriptors_are_as_the_grammar_says() -> None:
    sequence = 0x0102030405060708
    updates = [Zero(0x1122334455667000, 0x8899AA000), Data(0x99000, NEW), Zero(MB, 0)]
    entry = LogEntry(sequence, descriptors=updates, overrides={"desc[2].reserved": 5}).tobytes()
    ours = Descriptors.unpack(memoryview(entry)[64 : 64 + 3 * 32])
    assert ours.problem(sequence) == ""
    for i in (0, 2):
        theirs = grammar.decode("LogZeroDescriptor", entry[64 + 32 * i : 96 + 32 * i], 0)
        assert (ours.offsets[i], ours.lengths[i]) == (theirs.ofs_file, theirs.len_zero)
        assert theirs.sequence_number == sequence
    theirs = grammar.decode("LogDataDescriptor", entry[96:128], 0)
    assert (ours.offsets[1], ours.lengths[1]) == (theirs.ofs_file, SECTOR)
    assert ours.edges(1) == theirs.leading_bytes + theirs.trailing_bytes
    assert ours.data_indexes() == [1]
    assert ours.data_count == 1
    assert not ours.reserved_is_zero()
    starts, ends = ours.zero_ranges().ranges()
    assert list(starts) == [0x1122334455667]
    assert list(ends) == [0x1122334455667 + 0x8899AA]

    sector = memoryview(entry)[SECTOR:]
    theirs = grammar.decode("LogDataSector", bytes(sector), 0)
    assert data_sectors_are_good(sector, theirs.sequence_high << 32 | theirs.sequence_low)
    assert theirs.sequence_high << 32 | theirs.sequence_low == sequence
    assert theirs.data == NEW[8:-4]


@pytest.mark.parametrize("count", [1, 2, 126, 127, 128])
@pytest.mark.parametrize("index", [0, -1])
@pytest.mark.parametrize(
    ("field", "value"),
    [("offset", 1), ("offset", 0x800), ("length", 1), ("length", 0xFFF), ("end", 1 << 64), ("sequence", 8)],
)
def test_one_bad_descriptor_among_many_is_seen(count: int, index: int, field: str, value: int) -> None:
    """Where ours holds a whole column against a rule at once."""
    rows = [[b"zero", 0, MB, 16 * MB + MB * n, 7] for n in range(count)]
    row = rows[index]
    if field == "offset":
        row[3] += value
    elif field == "length":
        row[2] += value
    elif field == "end":
        row[2] = value - row[3]
    else:
        row[4] = value
    good = b"".join(struct.pack("<4sIQQQ", b"zero", 0, (1 << 63) - MB, 1 << 63, 7) for _ in range(count))
    assert Descriptors.unpack(memoryview(good)).problem(7) == ""
    raw = b"".join(struct.pack("<4sIQQQ", *row) for row in rows)
    assert Descriptors.unpack(memoryview(raw)).problem(7) != ""


# ---- an entry is valid if ...


GUID = uuid.UUID(int=77)

BAD_FIELDS = {
    "signature": {"signature": b"logE"},
    "checksum": {"checksum": 0x12345678},
    "length 0": {"entry_length": 0},
    "length unaligned": {"entry_length": 8 * KB + 1},
    "length short of its descriptor sectors": {"descriptor_count": 300},
    "length beyond the log": {"entry_length": 2 * MB},
    "length huge": {"entry_length": 0xFFFFF000},
    "tail unaligned": {"tail": 512},
    "tail outside": {"tail": MB},
    "sequence number": {"sequence_number": 9},
    "descriptor count": {"descriptor_count": 3},
    "descriptor count huge": {"descriptor_count": 0xFFFFFFFF},
    "log GUID": {"log_guid": GUID},
    "descriptor signature": {"desc[0].signature": b"dexc"},
    "descriptor signature, first letter": {"desc[0].signature": b"xesc"},
    "descriptor sequence number": {"desc[0].sequence_number": 3},
    "data target unaligned": {"desc[0].file_offset": 5 * MB + 512},
    "data target overflows": {"desc[0].file_offset": (1 << 64) - SECTOR},
    "zero length unaligned": {"desc[1].zero_length": 512},
    "zero target unaligned": {"desc[1].file_offset": 5 * MB + 1},
    "zero target overflows": {"desc[1].zero_length": (1 << 64) - SECTOR},
    "data sector signature": {"data[0].signature": b"dat\0"},
    "data sector high": {"data[0].high": 1},
    "data sector low": {"data[0].low": 1},
}


@pytest.mark.parametrize("what", BAD_FIELDS)
def test_an_entry_that_is_not_valid_ends_the_sequence(what: str) -> None:
    """Without an error, and without a finding but that of replay: it is how a power cut looks."""
    good = run([[write(1)], [write(2), Zero(target(3), SECTOR)], [write(4)]], flushed=SIZE, last=SIZE)
    image = wet(damaged(good, 1, fix_checksum=what != "checksum", **BAD_FIELDS[what]))
    assert replayed_blocks(image) == {1: NEW}
    assert rules_of(image) == {"log.replayed": Severity.WARNING}


@pytest.mark.parametrize("offset", [0, 4, 100, 4095, 4096, 8191])
def test_any_flipped_byte_of_the_last_entry(offset: int) -> None:
    image = wet(run([[write(1)], [write(2)]], flushed=SIZE, last=SIZE))
    image.flip(image.log_offset + 8 * KB + offset)
    assert replayed_blocks(image) == {1: NEW}


def test_sequence_number_zero() -> None:
    image = wet([(0, LogEntry(0, descriptors=[write(1)], flushed=SIZE, last=SIZE))])
    with pytest.raises(DirtyLogError):
        vhdxreader.open(image.open())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("rule", "updates"),
    [
        ("log.target_header", [Data(128 * KB, NEW)]),
        ("log.target_header", [Data(188 * KB, NEW)]),
        ("log.target_header", [Zero(0, SECTOR)]),
        ("log.target_header", [Zero(188 * KB, 800 * KB)]),
        ("log.target_log", [Data(IMAGE.log_offset, NEW)]),
        ("log.target_log", [Data(IMAGE.log_offset + MB - SECTOR, NEW)]),
        ("log.target_log", [Zero(IMAGE.log_offset - SECTOR, 2 * SECTOR)]),
        ("log.target_log", [write(4), Zero(IMAGE.log_offset + MB - SECTOR, 64 * TB)]),
        ("log.target_log", [Zero(192 * KB, 64 * TB)]),
    ],
)
def test_targets_that_make_an_entry_invalid(rule: str, updates: list[Update], count: int) -> None:
    """Our reading of the specification: so that replay falls back to an older state is said."""
    image = wet(run([[write(1)], *([updates] * count)], flushed=SIZE, last=SIZE))
    assert replayed_blocks(image) == {1: NEW}
    assert rules_of(image) == {rule: Severity.WARNING, "log.replayed": Severity.WARNING}
    with vhdxreader.open(image.open()) as disk:
        (finding,) = (finding for finding in disk.image.findings if finding.rule == rule)
    assert finding.file_offset == image.log_offset + 8 * KB
    assert ("2 more like it" in finding.message) == (count == 3)


@pytest.mark.parametrize(
    "update", [Data(192 * KB, bytes(SECTOR)), Zero(320 * KB, MB - 320 * KB), Data(IMAGE.log_offset + MB, NEW)]
)
def test_targets_just_beside_the_forbidden_ones(update: Update) -> None:
    """The first sector of region table 1, the reserved part of the header section, the first sector behind the log."""
    other = dynamic(DISK, {n: full({0: OLD}) for n in range(16)}, order=("log", "blocks", "metadata", "bat"))
    image = wet(run([[write(1)], [update]], flushed=SIZE, last=SIZE), other)
    with vhdxreader.open(image.open()) as disk:
        assert len(disk.image.log.active.to_replay) == 2


def claims(image: Image, ring_offset: int, length: int) -> Image:
    """An entry that claims another length, with the checksum of it all."""
    start = image.log_offset + ring_offset
    data = bytearray(image.file.read(start, length))
    data[8:12] = struct.pack("<I", length)
    image.patch(start, bytes(data))
    image.spec.log.fix_checksum(image.file, image.log_offset, ring_offset, length)
    return image


@pytest.mark.parametrize("length", [4 * KB, 12 * KB, 64 * KB])
def test_an_entry_longer_or_shorter_than_its_content(length: int) -> None:
    image = claims(wet(run([[write(1)], [write(2)]], flushed=SIZE, last=SIZE)), 8 * KB, length)
    assert replayed_blocks(image) == {1: NEW}
    assert rules_of(image) == {"log.entry_length": Severity.WARNING, "log.replayed": Severity.WARNING}


def test_two_of_our_readings_at_once_are_just_no_entry() -> None:
    updates: list[Update] = [Zero(0, SECTOR), Zero(IMAGE.log_offset, SECTOR)]
    assert rules_of(wet(run([[write(1)], updates], flushed=SIZE, last=SIZE))) == {"log.replayed": Severity.WARNING}


def test_our_readings_need_a_right_checksum() -> None:
    entries = damaged(run([[write(1)], [Zero(0, SECTOR)]], flushed=SIZE, last=SIZE), 1, checksum=1)
    assert rules_of(wet(entries)) == {"log.replayed": Severity.WARNING}


def test_an_entry_does_not_swallow_another() -> None:
    """One that claims to reach over the next is none, whatever its checksum; the next is one."""
    entries = run([[write(1)], [write(2)]], tail=8 * KB, flushed=SIZE, last=SIZE)
    image = claims(wet(entries), 0, 16 * KB)
    assert replayed_blocks(image) == {2: NEW}
    assert rules_of(image) == {"log.replayed": Severity.WARNING}


# ---- a sequence is ...


def test_the_tail_says_where_replay_begins() -> None:
    """What lies before it was applied long ago, and may be payload by now."""
    groups = [[write(n)] for n in range(1, 6)]
    image = wet(run(groups, tail=2 * 8 * KB, flushed=SIZE, last=SIZE))
    assert replayed_blocks(image) == {3: NEW, 4: NEW, 5: NEW}
    with vhdxreader.open(image.open()) as disk:
        active = disk.image.log.active
        assert len(disk.image.log.entries) == len(active.entries) == 5
        assert active.tail == 2
        assert [entry.sequence_number for entry in active.to_replay] == [3, 4, 5]


def test_the_tail_can_be_the_head() -> None:
    assert replayed_blocks(wet(run([[write(1)], [write(2)]], tail=8 * KB, flushed=SIZE, last=SIZE))) == {2: NEW}


def test_only_the_heads_tail_counts() -> None:
    """Others may point anywhere inside the log."""
    entries = run([[write(1)], [write(2)], [write(3)]], flushed=SIZE, last=SIZE)
    entries = damaged(damaged(entries, 0, tail=512 * KB), 1, tail=900 * KB)
    assert set(replayed_blocks(wet(entries))) == {1, 2, 3}


@pytest.mark.parametrize("tail", [4 * KB, 24 * KB, 512 * KB, MB - 4 * KB])
def test_a_head_whose_tail_is_at_no_entry_of_its_run(tail: int) -> None:
    """The run is no sequence, and none of its shorter ends is; an older one elsewhere is."""
    lost = run([[write(1)], [write(2)], [write(3)]], tail=tail, first=50, flushed=SIZE, last=SIZE)
    with pytest.raises(DirtyLogError) as caught:
        vhdxreader.open(wet(lost).open())
    assert caught.value.rule == "log.no_sequence"
    older = run([[write(7)]], at=256 * KB, first=3, flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet([*lost, *older]))) == {7}


def test_a_tail_at_an_entry_of_another_run() -> None:
    older = run([[write(7)]], at=256 * KB, first=3, flushed=SIZE, last=SIZE)
    newer = run([[write(1)], [write(2)]], tail=256 * KB, first=50, flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet([*older, *newer]))) == {7}


def test_a_tail_at_an_entry_before_the_start_of_a_run() -> None:
    """From the ring's start on, the run is a part of the sequence that began at its end: found from there."""
    groups = [[write(n)] for n in range(1, 5)]
    image = wet(run(groups, at=MB - 16 * KB, flushed=SIZE, last=SIZE))
    assert set(replayed_blocks(image)) == {1, 2, 3, 4}


def test_the_part_of_a_wrapped_run_that_is_a_sequence_itself() -> None:
    """The Tail is at the ring's start: what lies at its end is not replayed, though it belongs to the run."""
    groups = [[write(n)] for n in range(1, 5)]
    image = wet(run(groups, at=MB - 16 * KB, tail=0, flushed=SIZE, last=SIZE))
    assert set(replayed_blocks(image)) == {3, 4}
    with vhdxreader.open(image.open()) as disk:
        assert [entry.sequence_number for entry in disk.image.log.active.entries] == [3, 4]


@pytest.mark.parametrize("step", [0, 2, -1])
def test_sequence_numbers_rise_by_exactly_one(step: int) -> None:
    first = run([[write(1)], [write(2)]], first=10, flushed=SIZE, last=SIZE)
    behind = run([[write(3)]], at=16 * KB, first=11 + step, tail=0, flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet([*first, *behind]))) == {1, 2}


@pytest.mark.parametrize("first", [1, (1 << 32) - 2, (1 << 32) + 5, 80117443871106389, (1 << 64) - 3])
def test_sequence_numbers_of_any_size(first: int) -> None:
    image = wet(run([[write(1)], [write(2)], [write(3)]], first=first, flushed=SIZE, last=SIZE))
    assert set(replayed_blocks(image)) == {1, 2, 3}


def test_the_greatest_sequence_number_does_not_wrap() -> None:
    entries = run([[write(1)]], first=(1 << 64) - 1, flushed=SIZE, last=SIZE)
    behind = LogEntry(0, 0, descriptors=[write(2)], flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet([*entries, (8 * KB, behind)]))) == {1}


@pytest.mark.parametrize("order", [(3, 40, 500), (500, 40, 3), (40, 500, 3)])
def test_the_sequence_with_the_greatest_head_is_active(order: tuple[int, ...]) -> None:
    entries: list[tuple[int, LogEntry]] = []
    for place, first in enumerate(order):
        group = [[Data(target(first % 7 + n), pattern(f"{first}", SECTOR))] for n in range(3)]
        entries += run(group, at=place * 128 * KB, first=first, flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet(entries))) == {500 % 7 + n for n in range(3)}


def test_a_torn_head_leaves_the_sequence_before_it() -> None:
    entries = run([[write(1)], [write(2)], [write(3)]], flushed=SIZE, last=SIZE)
    image = wet(entries)
    image.patch(image.log_offset + 16 * KB + 4 * KB, bytes(4 * KB))
    assert set(replayed_blocks(image)) == {1, 2}


def test_starts_move_on_by_a_sector_not_by_an_entry() -> None:
    """A stale entry that would swallow the first of the active sequence hides nothing."""
    active = run([[write(1)], [write(2)]], at=8 * KB, first=70, flushed=SIZE, last=SIZE)
    stale = LogEntry(60, 0, descriptors=[write(5), write(6), write(7)], flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet([(0, stale), *active]))) == {1, 2}


def test_behind_a_sequence_the_search_goes_on() -> None:
    """An older sequence in front; entries of it are not mixed with the newer one right behind."""
    older = run([[write(1)], [write(2)]], first=10, flushed=SIZE, last=SIZE)
    newer = run([[write(3)]], at=16 * KB, first=20, flushed=SIZE, last=SIZE)
    assert set(replayed_blocks(wet([*older, *newer]))) == {3}


def test_a_run_that_fills_the_ring() -> None:
    """It does not lap itself."""
    groups = [[Data(target(n % 16, n // 16), NEW)] for n in range(128)]
    for where in (0, 4 * KB, MB - 4 * KB):
        image = wet(run(groups, at=where, tail=where, flushed=SIZE, last=SIZE))
        with vhdxreader.open(image.open()) as disk:
            assert len(disk.image.log.active.to_replay) == 128
            assert disk.image.log.sectors == 128


def test_one_entry_that_fills_the_ring() -> None:
    updates = [Data(target(n % 16, n // 16), pattern(str(n), SECTOR)) for n in range(254)]
    assert len(LogEntry(1, descriptors=updates)) == MB
    for where in (0, 4 * KB, MB - 4 * KB, MB - 8 * KB):
        image = wet(run([updates], at=where, tail=where, flushed=SIZE, last=SIZE))
        same_disk(image, image.replayed())


# ---- hostile logs: only their outcome; time and memory are for benchmarks/log_replay.py


def raw_log(content: bytes, length: int = MB) -> Image:
    base = dynamic(DISK, {n: full({0: OLD}) for n in range(16)}, log=Log(length))
    image = with_log(base, Log(length, [], LOG_GUID))
    return image.patch(image.log_offset, content)


class CountingFile(io.RawIOBase):
    """Counts the bytes that are read: the work, which must grow with the log's size only."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file
        self.count = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:
        self.count += len(buffer)
        return self._file.readinto(buffer)


@pytest.mark.parametrize(
    "sector",
    [
        struct.pack("<4sIIIQII16s", b"loge", 0, 16 * MB, 0, 1, 0, 0, LOG_GUID.bytes_le),
        struct.pack("<4sIIIQII16s", b"loge", 0, SECTOR, 0, 1, 0xFFFFFFFF, 0, LOG_GUID.bytes_le),
        struct.pack("<4sIIIQII16s", b"loge", 0, 16 * MB, 0, 1, 126 + 128 * 4095, 0, LOG_GUID.bytes_le),
        b"loge" * 1024,
        b"\0loge\0log" * 512,
    ],
)
def test_every_sector_looks_like_an_entry(sector: bytes) -> None:
    image = raw_log(sector.ljust(SECTOR, b"\0") * 4096, 16 * MB)
    file = CountingFile(image.open())
    with pytest.raises(DirtyLogError):
        vhdxreader.open(file)
    assert file.count < 3 * 16 * MB  # once to find the entries, once to look at each


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_to_a_log_is_an_error_of_ours_or_none(data: st.DataObject) -> None:
    """And what opens reads whole."""
    image = wet(run([[write(1)], [write(2), Zero(target(3), MB)], [write(4)]], flushed=SIZE, last=SIZE))
    for _ in range(data.draw(st.integers(1, 4))):
        field = data.draw(st.sampled_from([8, 12, 16, 24, 48, 56, 64, 68, 72, 80, 88, 96, 104, 112]))
        entry = data.draw(st.sampled_from([0, 8 * KB, 20 * KB - 4 * KB]))
        value = data.draw(st.one_of(st.integers(0, 1 << 64).map(lambda v: v % (1 << 64)), st.just(SECTOR), st.just(MB)))
        image.patch(image.log_offset + entry + field, value)
    for ring_offset, length in ((0, 8 * KB), (8 * KB, 8 * KB), (16 * KB, 8 * KB)):
        image.spec.log.fix_checksum(image.file, image.log_offset, ring_offset, length)
    try:
        with vhdxreader.open(image.open()) as disk:
            assert len(disk.pread(DISK, 0)) == DISK
    except VhdxError:
        pass


def naive_active(entries: list[tuple[int, LogEntry]], length: int) -> list[int] | None:
    """[MS-VHDX] 2.3.2 to the letter: every start, sector by sector; sequence numbers of what is replayed."""
    by_offset = dict(entries)
    best: list[LogEntry] | None = None
    start = 0
    while start < length:
        found: list[tuple[int, LogEntry]] = []
        where, used = start, 0
        while (entry := by_offset.get(where)) and used + len(entry) <= length:
            if found and entry.sequence != found[-1][1].sequence + 1:
                break
            found.append((where, entry))
            used += len(entry)
            where = (where + len(entry)) % length
        offsets = [offset for offset, _ in found]
        if found and found[-1][1].tail in offsets:
            replayed = [entry for _, entry in found[offsets.index(found[-1][1].tail) :]]
            if best is None or replayed[-1].sequence > best[-1].sequence:
                best = replayed
            start += used
        else:
            start += SECTOR
    return None if best is None else [entry.sequence for entry in best]


@st.composite
def rings(draw: st.DrawFn) -> list[tuple[int, LogEntry]]:
    """A ring full of small entries, with runs, gaps and Tails at entries or anywhere."""
    entries: list[tuple[int, LogEntry]] = []
    start = where = draw(st.integers(0, 255)) * SECTOR
    number = draw(st.integers(1, 5))
    while where - start < MB and len(entries) < 40:
        sectors = draw(st.integers(1, 3))
        if where + sectors * SECTOR - start > MB:
            break
        number = draw(st.sampled_from([number + 1] * 6 + [number + 2, number, 1, 100]))
        known = [offset for offset, _ in entries] + [where % MB]
        tail = draw(st.sampled_from([*known[-4:], known[0], 0, start, 5 * SECTOR]))
        updates = [Data(target(n), pattern(str(number), SECTOR)) for n in range(sectors - 1)]
        entries.append((where % MB, LogEntry(number, tail, descriptors=updates, flushed=0, last=0)))
        where += sectors * SECTOR
        if draw(st.integers(0, 9)) == 0:
            where += SECTOR * draw(st.integers(1, 100))
    return entries


@settings(max_examples=150, deadline=None)
@given(rings())
def test_the_active_sequence_is_that_of_a_naive_search(entries: list[tuple[int, LogEntry]]) -> None:
    source = open_source(wet(entries).open())
    header = choose_current(read_headers(source), Findings())
    ring = Ring(source, header)
    found = [examined.entry for examined in examine(ring, LOG_GUID) if not examined.problem]
    assert sorted(entry.log_offset for entry in found) == sorted(offset for offset, _ in entries)
    active = find_active(found, ring.length)
    ours = None if active is None else [entry.sequence_number for entry in active.to_replay]
    assert ours == naive_active(entries, ring.length)
