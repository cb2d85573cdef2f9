"""What a caller gives: integers of other libraries, which wrap in silence, and sizes that no memory has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from builder import MB, TB, dynamic, full
from integers import Wrapping

import vhdxreader

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
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, image.save(tmp_path / "disk.vhdx")]
    done = subprocess.run([*command, str(size - 5), way], capture_output=True, text=True, check=True)
    count, memory = map(int, done.stdout.split())
    assert count >= size - 5
    assert memory < size + 8 * MB


def test_a_size_beyond_the_end_is_cut_before_memory_is_asked_for(tmp_path):
    with vhdxreader.open(dynamic(64 * TB).save(tmp_path / "disk.vhdx")) as disk:
        assert disk.pread(1 << 70, disk.size - 3) == bytes(3)
