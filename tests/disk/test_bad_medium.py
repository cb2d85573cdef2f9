"""Bad sectors of a real file system, which gives EIO: the commands as a person would run them, and ddrescue."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from builder import KB, MB, differencing, dynamic, full, partial

import vhdxreader
from vhdxreader import UnreadableError

SIZE = 12 * MB
IMAGE = dynamic(SIZE, {0: full(), 3: full(), 4: full(), 11: full()}, name="medium")
PAGE = 4 * KB  # what the kernel gives up at a time


@pytest.fixture
def failing(tmp_path, witness):
    witness("fusermount3")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse for this user")

    @contextmanager
    def mounted(image, *places):
        """The image's path, on a medium with a bad sector at each of these file offsets."""
        path, folder = image.save(tmp_path / "disk.vhdx"), tmp_path / "medium"
        folder.mkdir()
        script = Path(__file__).with_name("failing_medium.py")
        sectors = [str(place // 512) for place in places]
        process = subprocess.Popen([sys.executable, script, path, folder, *sectors], stderr=subprocess.PIPE)
        try:
            for _ in range(400):
                if os.path.ismount(folder) or process.poll() is not None:
                    break
                time.sleep(0.05)
            assert process.poll() is None, process.stderr.read()
            yield folder / "disk.vhdx"
        finally:
            subprocess.run(["fusermount3", "-u", folder], capture_output=True, check=False)
            process.wait(30)
            process.stderr.close()

    return mounted


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "vhdxreader", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.witness
def test_payload_on_bad_sectors(failing, tmp_path, witness):
    ddrescue = witness("ddrescue")
    first, second = IMAGE.block_offset[3] + 20 * KB, IMAGE.block_offset[4] + MB - 512
    with failing(IMAGE, first + 512, second) as path:
        with pytest.raises(OSError, match="Input/output error"):
            path.read_bytes()  # it really does
        with vhdxreader.open(path) as disk:
            assert disk.pread(20 * KB, 3 * MB) == IMAGE.expected(3 * MB, 20 * KB)
            with pytest.raises(UnreadableError) as caught:
                disk.read()
            assert caught.value.errno == errno.EIO
            assert first <= caught.value.file_offset < first + PAGE
            assert str(path) in str(caught.value)

        out = tmp_path / "disk.raw"
        done = command("convert", "--salvage", "--fill", "?", "--json", path, out)
        assert done.returncode == 2, done.stderr
        lost = json.loads(done.stdout)["lost"]
        assert all(entry["problem"]["rule"] == "file.unreadable" for entry in lost)
        ranges = [(entry["disk_offset"], entry["length"]) for entry in lost]
        assert ranges == [(3 * MB + 20 * KB, PAGE), (5 * MB - PAGE, PAGE)]
        right(out, ranges)

        done = command("check", "--deep", "--json", path)
        assert done.returncode == 2
        found = [finding for finding in json.loads(done.stdout)["findings"] if finding["rule"] == "file.unreadable"]
        assert {finding["file_offset"] for finding in found} == {first, second + 512 - PAGE}

    good = tmp_path / "good.raw"
    good.write_bytes(IMAGE.expected())
    subprocess.run([ddrescue, "-q", "-r1", good, out, f"{out}.map"], check=True)
    assert out.read_bytes() == IMAGE.expected()


def right(out: Path, ranges: list[tuple[int, int]]) -> None:
    data, wanted = out.read_bytes(), bytearray(IMAGE.expected())
    for offset, length in ranges:
        wanted[offset : offset + length] = b"?" * length
    assert data == wanted


@pytest.mark.witness
def test_structures_on_bad_sectors(failing):
    """One copy of headers and region tables, and a page of the BAT behind the entries that matter."""
    image = dynamic(1200 * MB, {0: full(), 900: full()})
    with failing(image, 64 * KB, 256 * KB, image.bat_offset + PAGE) as path:
        with vhdxreader.open(path) as disk:
            rules = {finding.rule for finding in disk.image.findings}
            assert rules == {"header.unreadable", "region_table.unreadable"}
            assert disk.pread(MB, 0) == image.expected(0, MB)
            with pytest.raises(UnreadableError):
                disk.pread(1, 900 * MB)
        done = command("cat", "--salvage", "--offset", "510M", "--length", "4M", path)
        assert done.returncode == 2
        assert f"lost: {2 * MB:#x} bytes at {512 * MB:#x}: file.unreadable" in done.stderr
        done = command("check", path)
        assert done.returncode == 2
        assert "file.unreadable" in done.stdout


@pytest.mark.witness
def test_sector_bitmap_on_a_bad_sector(failing):
    parent = dynamic(64 * MB, {n: full() for n in range(0, 64, 5)}, name="parent")
    image = differencing(64 * MB, {n: partial([0, 9]) for n in range(64)}, parent=parent)
    with (
        failing(image, image.bitmap_offset[0] + PAGE) as path,
        vhdxreader.open(path, parent=parent.open(), errors="zero") as disk,
    ):
        assert disk.pread(16 * MB, 0) == image.expected(0, 16 * MB)
        disk.pread(32 * MB, 16 * MB)
        assert disk.pread(MB, 32 * MB) == image.expected(32 * MB, MB)
        assert [(lost.disk_offset, lost.length) for lost in disk.lost] == [(16 * MB, 16 * MB)]
