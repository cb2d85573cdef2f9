"""The fsspec file system, by the URLs that other packages hand to fsspec."""

from __future__ import annotations

import subprocess
import sys

import fsspec
import pytest
from builder import MB, differencing, dynamic, full, partial
from fsspec.implementations.memory import MemoryFileSystem

from vhdxreader import ParentNotFoundError

SIZE = 3 * MB
TABLE = bytes(446) + bytes([0, 0, 0, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (100).to_bytes(4, "little")
SECTOR = TABLE.ljust(510, b"\0") + b"\x55\xaa"
IMAGE = dynamic(SIZE, {0: full({0: SECTOR}), 1: full()}, name="fsspec")
INSIDE = IMAGE.expected(MB, 100 * 512)


@pytest.fixture
def path(tmp_path):
    return IMAGE.save(tmp_path / "disk.vhdx")


def test_by_url(path):
    with fsspec.open(f"vhdx://partition1.raw::{path}") as file:
        assert file.read() == INSIDE
    with fsspec.open(f"vhdx://disk.raw::file://{path}") as file:
        assert file.seek(MB - 10) == MB - 10
        assert file.read(20) == IMAGE.expected(MB - 10, 20)


def test_in_a_fresh_process(path):
    """As an entry point: nothing of ours is imported before."""
    code = "import fsspec, sys; print(fsspec.open(sys.argv[1]).open().read()[:16].hex())"
    url = f"vhdx://partition1.raw::{path}"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == INSIDE[:16].hex()


def test_over_another_file_system():
    MemoryFileSystem().pipe_file("/images/disk.vhdx", bytes(IMAGE.tobytes()))
    with fsspec.open("vhdx://disk.raw::memory://images/disk.vhdx") as file:
        assert file.read() == IMAGE.expected()


def test_listing_and_what_is_not_there(path):
    system = fsspec.filesystem("vhdx", fo=str(path))
    assert sorted(system.ls("", detail=False)) == ["disk.raw", "findings.txt", "partition1.raw"]
    assert system.info("partition1.raw")["size"] == 100 * 512
    assert system.cat_file("partition1.raw", 512, 1024) == INSIDE[512:1024]
    with pytest.raises(FileNotFoundError):
        system.open("partition2.raw")
    with pytest.raises(OSError, match="read-only"):
        system.open("disk.raw", "wb")


def test_files_have_positions_of_their_own_and_close_alone(path):
    system = fsspec.filesystem("vhdx", fo=str(path))
    with system.open("disk.raw") as one, system.open("disk.raw") as other:
        one.seek(MB)
        assert other.read(512) == SECTOR
        assert one.read(512) == IMAGE.expected(MB, 512)
    with system.open("disk.raw") as again:
        assert again.read(512) == SECTOR


def test_options_of_open(tmp_path):
    child = differencing(SIZE, {1: partial({0: b"child"})}, parent=IMAGE)
    path = child.save(tmp_path / "child.avhdx")
    IMAGE.save(tmp_path / "elsewhere.vhdx")
    with pytest.raises(ParentNotFoundError):
        fsspec.filesystem("vhdx", fo=str(path))
    system = fsspec.filesystem("vhdx", fo=str(path), parent=str(tmp_path / "elsewhere.vhdx"))
    assert system.cat_file("disk.raw") == child.expected()
