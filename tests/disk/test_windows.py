"""What only Windows has: files that are not shared, long paths, drives, shares. `make test-wine` runs it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest
from builder import MB, Locator, differencing, dynamic, full

import vhdxreader

pytestmark = pytest.mark.skipif(os.name != "nt", reason="of Windows")

PARENT = dynamic(3 * MB, {0: full(), 2: full()}, name="parent")
CHILD = differencing(3 * MB, {1: full()}, parent=PARENT, parent_path="..\\base\\parent.vhdx")


@pytest.fixture
def held(tmp_path):
    """An image that this process has open for itself, as Hyper-V has a running machine's."""
    path = PARENT.save(tmp_path / "disk.vhdx")
    create = ctypes.windll.kernel32.CreateFileW
    create.restype = ctypes.c_void_p
    handle = create(str(path), 0xC0000000, 0, None, 3, 0x80, None)  # read and write, share nothing, must exist
    yield path
    ctypes.windll.kernel32.CloseHandle(ctypes.c_void_p(handle))


def test_an_image_that_is_not_shared(held):
    with pytest.raises(PermissionError, match=r"another program has it for itself.*checkpoint"):
        vhdxreader.open(held)
    done = subprocess.run([sys.executable, "-m", "vhdxreader", "info", held], capture_output=True, text=True)
    assert done.returncode == 1
    assert "another program has it for itself" in done.stderr
    assert "Traceback" not in done.stderr


def save_chain(folder):
    """The child's path, relative to which its parent's is."""
    for name in ("base", "child"):
        os.makedirs(os.path.join(folder, name))
    PARENT.save(os.path.join(folder, "base", "parent.vhdx"))
    return CHILD.save(os.path.join(folder, "child", "child.vhdx"))


@pytest.mark.parametrize("length", [261, 300, 400, 1000])
def test_a_chain_in_a_long_path(length, tmp_path):
    folder = f"\\\\?\\{tmp_path}"
    while len(folder) < length - 1:
        folder = os.path.join(folder, "x" * min(length - len(folder) - 1, 100))
    with vhdxreader.open(save_chain(folder)) as disk:
        assert len(disk.images[1].name) >= length
        assert disk.read() == CHILD.expected()


@pytest.fixture(params=["\\\\", "\\\\?\\UNC\\"])
def shared(request, tmp_path):
    """The test's folder, by the share that Windows makes of a drive for its administrators."""
    path = f"{request.param}localhost\\{tmp_path.drive[0]}${str(tmp_path)[2:]}"
    if not os.path.isdir(path):
        pytest.skip("no share of the drive")
    return path


def test_a_chain_on_a_share(shared):
    with vhdxreader.open(save_chain(shared)) as disk:
        assert [image.name.startswith(shared) for image in disk.images] == [True, True]
        assert disk.read() == CHILD.expected()


def check_absolute(start, tmp_path):
    """A parent by its absolute path, from a folder's spelling on."""
    (tmp_path / "elsewhere").mkdir()
    PARENT.save(tmp_path / "elsewhere" / "parent.vhdx")
    linkage = ("parent_linkage", f"{{{PARENT.data_write_guid}}}")
    locator = Locator([linkage, ("absolute_win32_path", f"{start}\\elsewhere\\parent.vhdx")])
    child = differencing(3 * MB, {1: full()}, parent=PARENT, locator=locator).save(tmp_path / "child.vhdx")
    with pytest.raises(vhdxreader.ParentNotFoundError, match='followed only with parents="all"'):
        vhdxreader.open(child)
    with vhdxreader.open(child, parents="all") as disk:
        assert disk.read() == CHILD.expected()


def test_a_parent_on_a_share(shared, tmp_path):
    check_absolute(shared, tmp_path)


@pytest.mark.parametrize("prefix", ["", "\\\\?\\"])
def test_a_parent_on_a_drive(prefix, tmp_path):
    check_absolute(f"{prefix}{tmp_path}", tmp_path)


@pytest.mark.parametrize(
    "path",
    ["\\\\.\\PhysicalDrive0", "\\\\?\\GLOBALROOT\\Device\\Null", "\\\\.\\pipe\\x", "\\\\localhost\\pipe\\x", "NUL"],
)
def test_a_parent_that_is_no_file_on_a_drive(path, tmp_path):
    locator = Locator([("parent_linkage", f"{{{PARENT.data_write_guid}}}"), ("absolute_win32_path", path)])
    child = differencing(3 * MB, {1: full()}, parent=PARENT, locator=locator).save(tmp_path / "child.vhdx")
    with pytest.raises(vhdxreader.ParentNotFoundError, match="not a path on a drive"):
        vhdxreader.open(child, parents="all")


def test_convert_leaves_a_target_that_is_open(tmp_path):
    image, target = PARENT.save(tmp_path / "disk.vhdx"), tmp_path / "disk.raw"
    target.write_bytes(b"before")
    with target.open("rb"), vhdxreader.open(image) as disk, pytest.raises(PermissionError):
        vhdxreader.convert(disk, target, overwrite=True)
    assert target.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.raw", "disk.vhdx"]


@pytest.mark.parametrize("encoding", ["cp437", "cp1252"])
def test_a_name_that_the_console_cannot_show(encoding, tmp_path):
    path = PARENT.save(tmp_path / "\u00fc\u6f22.vhdx")
    variables = {**os.environ, "PYTHONIOENCODING": encoding}
    for command in ("info", "map"):
        arguments = [sys.executable, "-m", "vhdxreader", command, path]
        done = subprocess.run(arguments, capture_output=True, env=variables, check=False)
        assert (done.returncode, b"Error" in done.stderr) == (0, False)
