"""Comparing: against the model's bytes, and against what cmp says of raw files."""

from __future__ import annotations

import io
import os
import random
import subprocess

import dirty_images
import pytest
from builder import MB, LogEntry, differencing, dynamic, full, partial, reserved, zeroed
from dirty_images import wet, write

import vhdxreader
from vhdxreader.files.opening import open_source
from vhdxreader.tools.compare import DiskSide, RawSide, StreamSide, compare

SIZE = 5 * MB + 512
BASE = dynamic(SIZE, {0: full(), 2: full(), 5: full()}, name="base")
CHILD = differencing(SIZE, {1: partial({3: b"x"}), 2: zeroed()}, parent=BASE)


def base_side():
    return DiskSide(vhdxreader.open(BASE.open()))


def child_side():
    return DiskSide(vhdxreader.open(CHILD.open(), parent=BASE.open()))


def raw(data: bytes):
    return RawSide(open_source(io.BytesIO(data)))


def differing(a: bytes, b: bytes) -> tuple[int | None, int, list[tuple[int, int]]]:
    """First difference, how many, and the ranges of 512 bytes with one; the shorter one counts as ending in zeros."""
    size = max(len(a), len(b))
    a, b = a.ljust(size, b"\0"), b.ljust(size, b"\0")
    sectors = [at for at in range(0, size, 512) if a[at : at + 512] != b[at : at + 512]]
    places = [i for at in sectors for i in range(at, min(at + 512, size)) if a[i] != b[i]]
    ranges: list[list[int]] = []
    for at in sectors:
        if ranges and ranges[-1][1] == at:
            ranges[-1][1] += 512
        else:
            ranges.append([at, at + 512])
    return (places[0] if places else None), len(places), [(start, min(end, size) - start) for start, end in ranges]


def check(result, a: bytes, b: bytes):
    first, count, ranges = differing(a, b)
    assert (result.first_difference, result.differing_byte_count) == (first, count)
    assert [(one.disk_offset, one.length) for one in result.ranges] == ranges
    assert result.range_count == len(ranges)
    assert result.equal == (first is None)
    assert (result.size_a, result.size_b) == (len(a), len(b))


SIDES = {
    "base": (base_side, BASE.expected),
    "child": (child_side, CHILD.expected),
    "raw base": (lambda: raw(BASE.expected()), BASE.expected),
    "raw child": (lambda: raw(CHILD.expected()), CHILD.expected),
    "short": (lambda: raw(BASE.expected()[: 3 * MB + 100]), lambda: BASE.expected()[: 3 * MB + 100]),
    "long": (lambda: raw(BASE.expected() + bytes(2 * MB) + b"!"), lambda: BASE.expected() + bytes(2 * MB) + b"!"),
    "longer by zeros": (lambda: raw(BASE.expected() + bytes(MB)), lambda: BASE.expected() + bytes(MB)),
    "stream": (lambda: StreamSide(io.BytesIO(CHILD.expected())), CHILD.expected),
    "short stream": (lambda: StreamSide(io.BytesIO(b"abc")), lambda: b"abc"),
    "empty": (lambda: raw(b""), lambda: b""),
}


@pytest.mark.parametrize("b", SIDES)
@pytest.mark.parametrize("a", SIDES)
def test_every_pair(a, b):
    (make_a, want_a), (make_b, want_b) = SIDES[a], SIDES[b]
    check(compare(make_a(), make_b()), want_a(), want_b())


def test_strict_takes_no_other_size():
    longer = raw(BASE.expected() + bytes(MB))
    assert compare(base_side(), longer).equal
    assert not compare(base_side(), longer, strict=True).equal
    assert compare(base_side(), raw(BASE.expected()), strict=True).equal


def test_first_only_ends_there():
    a, b = bytearray(BASE.expected()), BASE.expected()
    a[2 * MB + 7] ^= 1
    a[4 * MB] ^= 1
    result = compare(raw(bytes(a)), raw(b), first_only=True)
    assert (result.equal, result.first_difference, result.differing_byte_count) == (False, 2 * MB + 7, 1)


def test_what_both_have_from_one_file_is_not_read():
    reads = []
    parent = vhdxreader.open(BASE.open())
    with vhdxreader.open(CHILD.open(), parent=parent) as child:
        side = DiskSide(child)
        read = side.read_into
        side.read_into = lambda view, offset: reads.append((offset, len(view))) or read(view, offset)
        result = compare(side, DiskSide(parent))
    # blocks 0 and 5 are the parent's in both; block 1 has one sector of the child's, block 2 is zeros over data
    assert reads == [(MB + 3 * 512, 512)]
    check(result, CHILD.expected(), BASE.expected())


def test_before_and_after_a_logs_replay_the_same_place_is_not_the_same():
    image = wet([(0, LogEntry(1, flushed=dirty_images.SIZE, last=dirty_images.SIZE, descriptors=[write(0)]))])
    file = image.open()
    with vhdxreader.open(file) as after, vhdxreader.open(file, log="ignore") as before:
        check(compare(DiskSide(after), DiskSide(before)), after.read(), before.read())
        assert after.pread(4, 0) != before.pread(4, 0)


def test_a_read_that_fails_is_no_comparison():
    broken = dynamic(SIZE, {3: reserved(4)})
    with vhdxreader.open(broken.open()) as disk, pytest.raises(vhdxreader.CorruptImageError):
        compare(DiskSide(disk), raw(bytes(SIZE)))
    with vhdxreader.open(broken.open()) as one, pytest.raises(vhdxreader.CorruptImageError):
        compare(DiskSide(one), DiskSide(one))


def test_as_cmp_counts(tmp_path):
    rng = random.Random(5)
    a = bytearray(rng.randbytes(300_000))
    b = bytearray(a)
    for _ in range(1000):
        b[rng.randrange(len(b))] = rng.randrange(256)
    (tmp_path / "a").write_bytes(a)
    (tmp_path / "b").write_bytes(b)
    lines = subprocess.run(["cmp", "-l", "a", "b"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    with open_source(tmp_path / "a") as a_file, open_source(tmp_path / "b") as b_file:
        result = compare(RawSide(a_file), RawSide(b_file))
    assert result.differing_byte_count == len(lines.splitlines())
    assert result.first_difference == int(lines.split()[0]) - 1


def test_holes_of_raw_files(tmp_path):
    for name, data in (("a", {3 * MB: b"x"}), ("b", {3 * MB: b"x", 7 * MB: bytes(4096)})):
        with open(tmp_path / name, "wb") as file:
            os.truncate(file.fileno(), 20 * MB)
            for offset, part in data.items():
                os.pwrite(file.fileno(), part, offset)
    with open_source(tmp_path / "a") as a_file, open_source(tmp_path / "b") as b_file:
        result = compare(RawSide(a_file), RawSide(b_file))
    assert (result.equal, result.size_a) == (True, 20 * MB)
