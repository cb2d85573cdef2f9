"""The overlay and the union of ranges below it, each beside a plain model."""

from __future__ import annotations

import io
import os
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vhdxreader.errors import TruncatedImageError
from vhdxreader.files import range_union as ranges
from vhdxreader.files.descriptor_source import DescriptorSource
from vhdxreader.files.file_object_source import FileObjectSource
from vhdxreader.files.opening import open_source
from vhdxreader.files.overlay import OverlaySource, Sectors
from vhdxreader.files.range_union import Keys, Ranges, RangeUnion
from vhdxreader.files.word_columns import all_at_least, as_doubles, from_doubles
from vhdxreader.files.word_columns import joined as column

SECTOR = 4096
SECTORS = 24  # in the model's file; the overlay reaches behind its end

spans = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def as_keys(numbers: list[int]) -> array[float]:
    return array("d", [(1 << 52) + number for number in numbers])


def joined(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of ranges, by the numbers in them."""
    numbers = sorted({number for start, end in pairs for number in range(start, end)})
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n + 1 for n in numbers if n + 1 not in numbers]
    return list(zip(starts, ends, strict=True))


def pairs_of(union: Ranges) -> list[tuple[int, int]]:
    return list(zip(*union, strict=True))


@settings(deadline=None)
@given(st.lists(st.lists(spans, max_size=8), max_size=8), st.integers(1, 9))
def test_the_union_is_that_of_the_numbers(batches: list[list[tuple[int, int]]], stretch: int) -> None:
    """Whatever the order, and however many stretches have to be merged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "STRETCH", stretch)
        union = RangeUnion()
        for batch in batches:
            starts, ends = ([pair[side] for pair in batch] for side in (0, 1))
            union.add(Keys(as_keys(starts), as_keys(ends)))
        result = union.result()
    wanted = joined([pair for batch in batches for pair in batch])
    assert pairs_of(result) == wanted
    assert result.total() == sum(end - start for start, end in wanted)
    assert union.count >= len(wanted)
    for number in range(60):
        assert result.covers(number) == any(start <= number < end for start, end in wanted)


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 52) - 1), max_size=20))
def test_doubles_keep_numbers_and_their_order(numbers: list[int]) -> None:
    doubles = as_doubles(column(array("Q", numbers)), len(numbers))
    assert list(doubles) == [(1 << 52) + number for number in numbers]
    assert list(from_doubles(array("d", sorted(doubles)))) == sorted(numbers)


@settings(deadline=None)
@given(st.lists(st.integers(0, (1 << 63) - 1), min_size=1, max_size=20), st.integers(0, (1 << 63) - 1))
def test_all_words_at_once(words: list[int], least: int) -> None:
    for limit in (least, min(words), min(words) + 1):
        if limit < 1 << 63:
            assert all_at_least(column(array("Q", words)), limit, len(words)) == (min(words) >= limit)


def data_sector(number: int, position: int) -> bytes:
    """Content without signature and sequence numbers, which only descriptors know."""
    return bytes((number * 7 + position + i) % 251 + 1 for i in range(SECTOR))


@st.composite
def overlays(draw: st.DrawFn) -> tuple[OverlaySource, bytes, set[int]]:
    """An overlay, the file as it must look, and the places in it that nobody ever wrote."""
    base_size = draw(st.integers(SECTORS - 4, SECTORS)) * SECTOR - draw(st.sampled_from([0, 1, 512, 4095]))
    size = draw(st.integers(0, (SECTORS + 8) * SECTOR))
    zeros = joined(draw(st.lists(spans.filter(lambda pair: pair[1] <= SECTORS + 4), max_size=4)))
    numbers = sorted(draw(st.sets(st.integers(0, SECTORS + 3), max_size=6)))
    base = bytearray(bytes(range(1, 252)) * (base_size // 251 + 1))[:base_size]
    contents = {n: data_sector(n, base_size) for n in numbers}
    log = b"".join(b"data\xee\xee\xee\xee" + content[8:-4] + b"\xee\xee\xee\xee" for content in contents.values())

    wanted = bytearray(base)
    ends = [base_size, size, *(end * SECTOR for _, end in zeros), *(n * SECTOR + SECTOR for n in numbers)]
    wanted.extend(bytes(max(ends) - base_size))
    for start, end in zeros:
        wanted[start * SECTOR : end * SECTOR] = bytes((end - start) * SECTOR)
    for n, content in contents.items():
        wanted[n * SECTOR : (n + 1) * SECTOR] = content

    class Base(FileObjectSource):
        """The model's file; the data sectors lie far behind it."""

        def read_at(self, offset: int, length: int) -> bytes:
            if offset >= 1 << 40:
                return log[offset - (1 << 40) :][:length]
            return super().read_at(offset, length)

    edges = b"".join(content[:8] + content[-4:] for content in contents.values())
    positions = array("Q", [(1 << 40) + i * SECTOR for i in range(len(numbers))])
    ranges_ = Ranges(array("Q", [start for start, _ in zeros]), array("Q", [end for _, end in zeros]))
    overlay = OverlaySource(
        Base(io.BytesIO(base), "base"), max(ends), ranges_, Sectors(array("Q", numbers), positions, edges)
    )
    written = {*numbers, *(n for start, end in zeros for n in range(start, end))}
    missing = {at for at in range(base_size, len(wanted)) if at // SECTOR not in written}
    return overlay, bytes(wanted), missing


@settings(deadline=None)
@given(overlays(), st.data())
def test_the_overlay_is_the_file_after_the_writes(
    pair: tuple[OverlaySource, bytes, set[int]], data: st.DataObject
) -> None:
    overlay, wanted, missing = pair
    assert overlay.size == len(wanted)
    assert overlay.whole_end == overlay.base.size
    overlaid = {at for start, end in overlay.overlaid_ranges(0, 1 << 62) for at in range(start, end)}
    for _ in range(8):
        offset = data.draw(st.integers(0, len(wanted)))
        length = data.draw(st.one_of(st.integers(0, 9000), st.integers(0, len(wanted)))) % (len(wanted) - offset + 1)
        read_and_compare(overlay, offset, length, wanted, missing)
        if length:
            places = range(offset, offset + length)
            assert overlay.is_overlaid(offset, length) == any(at in overlaid or at in missing for at in places)
            held, run = overlay.holds(offset, length)
            assert 0 < run <= length
            assert {at not in missing for at in places[:run]} == {held}
            assert run == length or (places[run] in missing) == held
    replaced = set(overlay.sectors.numbers) | {
        n for start, end in zip(*overlay.zeros, strict=True) for n in range(start, end)
    }
    assert overlay.overlaid_bytes() == SECTOR * len(replaced)
    assert overlaid == {at for at in range(len(wanted)) if at // SECTOR in replaced}
    with pytest.raises(TruncatedImageError) as caught:
        overlay.read_at(len(wanted) - 1, 2)
    assert caught.value.file_offset is not None


def read_and_compare(overlay: OverlaySource, offset: int, length: int, wanted: bytes, missing: set[int]) -> None:
    """What is there reads right; of what is missing, the error names the first byte."""
    gone = [at for at in range(offset, offset + length) if at in missing]
    if not gone:
        assert overlay.read_at(offset, length) == wanted[offset : offset + length]
        return
    with pytest.raises(TruncatedImageError) as caught:
        overlay.read_at(offset, length)
    assert caught.value.file_offset == gone[0]


def test_reads_that_begin_and_end_around_every_border() -> None:
    """Between base, zeros, a sector, and the growth; also in the middle of a sector right behind a border."""
    content = data_sector(5, 0)
    base = bytes(range(1, 252)) * 200
    base = base[: 10 * SECTOR - 100]
    wanted = bytearray(base.ljust(12 * SECTOR, b"\0"))
    wanted[2 * SECTOR : 4 * SECTOR] = bytes(2 * SECTOR)
    wanted[5 * SECTOR : 6 * SECTOR] = content
    wanted[7 * SECTOR : 8 * SECTOR] = bytes(SECTOR)
    log = len(base) - SECTOR  # the data sector lies in the base itself, at an offset that no log would have
    base = base[:log] + b"data\0\0\0\0" + content[8:-4] + bytes(4)
    wanted[log : len(base)] = base[log:]
    sectors = Sectors(array("Q", [5]), array("Q", [log]), content[:8] + content[-4:])
    zeros = Ranges(array("Q", [2, 7]), array("Q", [4, 8]))
    overlay = OverlaySource(open_source(io.BytesIO(base)), len(wanted), zeros, sectors)
    missing = set(range(len(base), len(wanted)))
    places = [at for n in range(13) for at in (n * SECTOR - 1, n * SECTOR, n * SECTOR + 1, n * SECTOR + 100)]
    places = [at for at in places if 0 <= at <= len(wanted)]
    for start in places:
        for end in places:
            if start <= end:
                read_and_compare(overlay, start, end - start, bytes(wanted), missing)


def test_what_is_not_overlaid_goes_to_the_base_as_it_is() -> None:
    """The caller's own buffer, in one piece: no copy, no cut."""
    asked: list[tuple[int, int, int]] = []

    class Base(FileObjectSource):
        def read_into(self, buffer: memoryview, offset: int) -> None:
            asked.append((id(buffer.obj), offset, len(buffer)))

    zeros = Ranges(array("Q", [2, 20]), array("Q", [3, 21]))
    base = Base(io.BytesIO(bytes(40 * SECTOR)), "base")
    overlay = OverlaySource(base, 0, zeros, Sectors(array("Q"), array("Q"), b""))
    buffer = bytearray(17 * SECTOR)
    overlay.read_into(memoryview(buffer), 3 * SECTOR)
    assert asked == [(id(buffer), 3 * SECTOR, 17 * SECTOR)]


def test_a_zeroed_range_of_any_length_costs_nothing() -> None:
    zeros = Ranges(array("Q", [1]), array("Q", [1 << 51]))
    overlay = OverlaySource(open_source(io.BytesIO(b"x" * 8192)), 1 << 63, zeros, Sectors(array("Q"), array("Q"), b""))
    assert overlay.size == 1 << 63
    assert overlay.read_at((1 << 62) - 1, 10) == bytes(10)
    assert overlay.read_at(4090, 10) == b"x" * 6 + bytes(4)


def test_holes_of_the_file_are_holes_unless_the_log_writes_there(tmp_path: Path) -> None:
    path, step = tmp_path / "sparse", 1 << 16
    with path.open("wb") as file:
        file.truncate(16 * step)
        file.seek(4 * step)
        file.write(b"x" * step)
    content = data_sector(2 * 16, 0)  # in the third step
    log = tmp_path / "log"
    log.write_bytes(b"data\0\0\0\0" + content[8:-4] + bytes(4))

    class Base(DescriptorSource):
        def read_at(self, offset: int, size: int) -> bytes:
            return log.read_bytes() if offset == 1 << 40 else super().read_at(offset, size)

    sectors = Sectors(array("Q", [2 * 16]), array("Q", [1 << 40]), content[:8] + content[-4:])
    zeros = Ranges(array("Q", [4 * 16]), array("Q", [4 * 16 + 1]))
    with Base(os.open(path, os.O_RDONLY), "sparse") as base:
        overlay = OverlaySource(base, 20 * step, zeros, sectors)
        whole, data = overlay.read_at(0, 16 * step), set[int]()
        for number in range(20):
            ranges = list(overlay.data_ranges(number * step, (number + 1) * step))
            data.update(at for start, end in ranges for at in range(start, end))
        assert not any(value for at, value in enumerate(whole) if at not in data)
        assert {2 * step, 4 * step, 16 * step, 20 * step - 1} <= data  # what the file lacks is no hole
        assert (8 * step in data) == bool(list(base.data_ranges(8 * step, 9 * step)))
