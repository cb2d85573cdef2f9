"""What a caller gives: integers of other libraries, which wrap in silence, and sizes that no memory has."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest
from builder import MB, TB, dynamic, full

import vhdxreader


class Wrapping:
    """An unsigned integer of `bits` as numpy's: all that is done with it stays in so many bits."""

    def __init__(self, value, bits):
        self.value, self.bits = value, bits

    def __index__(self):
        return self.value

    def _wrap(self, value):
        return Wrapping(value & (1 << self.bits) - 1, self.bits)

    def __add__(self, other):
        return self._wrap(self.value + int(other))

    def __radd__(self, other):
        return self._wrap(int(other) + self.value)

    def __rshift__(self, other):
        return self._wrap(self.value >> int(other))

    def __and__(self, other):
        return self._wrap(self.value & int(other))

    def __hash__(self):
        return hash(self.value)

    def __eq__(self, other):
        return self.value == int(other)

    def __le__(self, other):
        return self.value <= int(other)

    def __ge__(self, other):
        return self.value >= int(other)

    def __lt__(self, other):
        return self.value < int(other)

    def __int__(self):
        return self.value


LAST = 4000
IMAGE = dynamic((LAST + 300) * MB, {1: full(), LAST: full()})


@pytest.fixture
def disk(tmp_path):
    with vhdxreader.open(IMAGE.save(tmp_path / "disk.vhdx")) as disk:
        yield disk


def test_integers_that_wrap(disk):
    offset = Wrapping(LAST * MB, 32)
    wanted = IMAGE.expected(LAST * MB, 4096)
    for reader in (disk, disk.image):
        for _ in range(2):  # at first, and from what it remembers
            buffer = bytearray(4096)
            assert reader.pread(4096, offset) == wanted
            assert reader.pread(Wrapping(4096, 16), LAST * MB) == wanted
            assert len(reader.pread(Wrapping(60000, 16), 10000)) == 60000
            assert (reader.preadinto(buffer, offset), bytes(buffer)) == (4096, wanted)
        extents = list(reader.extents(offset=offset, length=Wrapping(4096, 16)))
        assert [(extent.disk_offset, extent.length) for extent in extents] == [(LAST * MB, 4096)]


@pytest.mark.parametrize("argument", [1.0, "1", None])
def test_what_is_no_integer(disk, argument):
    calls = [
        lambda: disk.pread(argument, 0),
        lambda: disk.pread(1, argument),
        lambda: disk.preadinto(bytearray(1), argument),
    ]
    for call in [*calls, lambda: disk.extents(offset=argument)]:
        with pytest.raises(TypeError):
            call()
    assert disk.pread(True, False) == IMAGE.expected(0, 1)


TABLE = bytes(446) + struct.pack("<4xB3xII", 0x83, 2, 3000)
WITH_PARTITION = dynamic(2 * MB, {0: full(TABLE.ljust(510, b"\0") + b"\x55\xaa"), 1: full()})


def preadinto(part, offset):
    buffer = bytearray(9)
    return part.preadinto(buffer, offset), buffer


CALLS = {
    "pread": lambda _, part, n: part.pread(9, n),
    "pread size": lambda _, part, n: part.pread(n, 9),
    "preadinto": lambda _, part, n: preadinto(part, n),
    "extents": lambda _, part, n: list(part.extents(offset=n)),
    "extents length": lambda _, part, n: list(part.extents(length=n)),
    "read": lambda _, part, n: (part.seek(0), part.read(n)),
    "seek": lambda _, part, n: part.seek(n),
    "partition": lambda disk, _, n: disk.partition(n).size,
    "disk_cells": lambda disk, _, n: vhdxreader.disk_cells(disk, n),
    "file_cells": lambda disk, _, n: vhdxreader.file_cells(disk.image, n),
    "dump first": lambda disk, _, n: list(vhdxreader.dump(disk.image.path, ["bat"], first=n)),
    "dump count": lambda disk, _, n: list(vhdxreader.dump(disk.image.path, ["bat"], count=n)),
    "hash_file": lambda disk, _, n: vhdxreader.hash_file(disk.image.path, ["md5"], length=n),
}


class Index:
    """An integer, and nothing else."""

    def __init__(self, value):
        self._value = value

    def __index__(self):
        return self._value


@pytest.mark.parametrize("name", CALLS)
def test_every_integer_is_one(name, tmp_path):
    with vhdxreader.open(WITH_PARTITION.save(tmp_path / "disk.vhdx")) as disk, disk.partition(1) as part:
        wanted = CALLS[name](disk, part, 1)
        for same in (Wrapping(1, 8), Wrapping(1, 64), Index(1), True):
            assert CALLS[name](disk, part, same) == wanted
        for other in (1.0, "1"):
            with pytest.raises(TypeError):
                CALLS[name](disk, part, other)


MEASURE = r"""
import io, re, sys, vhdxreader
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) << 10
disk = vhdxreader.open(open(sys.argv[1], "rb") if sys.argv[3] == "file object" else sys.argv[1], parents=None)
disk.pread(1, 0)
before = peak()
data = disk.pread(int(sys.argv[2]), 5) if sys.argv[3] != "read" else disk.read()
print(len(data), peak() - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="the system does not tell the peak of memory")
@pytest.mark.parametrize("way", ["path", "file object", "read"])
def test_a_read_takes_what_is_read_and_little_more(way, tmp_path):
    size = 100 * MB
    image = dynamic(size, {n: full() for n in range(0, 100, 2)})
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        MEASURE.replace("\\\\\\\\", "\\\\"),
        image.save(tmp_path / "disk.vhdx"),
    ]
    done = subprocess.run([*command, str(size - 5), way], capture_output=True, text=True, check=True)
    count, memory = map(int, done.stdout.split())
    assert count >= size - 5
    assert memory < size + 8 * MB


def test_a_size_beyond_the_end_is_cut_before_memory_is_asked_for(tmp_path):
    with vhdxreader.open(dynamic(64 * TB).save(tmp_path / "disk.vhdx")) as disk:
        assert disk.pread(1 << 70, disk.size - 3) == bytes(3)
