"""The FUSE file system: really mounted, and its operations where they can be called by hand."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from builder import MB, dirty, dynamic, full, hide, reserved

import vhdxreader
from vhdxreader.integrations import fuse
from vhdxreader.integrations.fuse import DiskFiles
from vhdxreader.integrations.nbd import nbd_uri, served

SIZE = 9 * MB + 512
IMAGE = dynamic(SIZE, {0: full(), 2: full(), 9: full()}, name="fuse")
MOUNT = """
import sys, vhdxreader
from vhdxreader.integrations.fuse import DiskFiles, mount
image, mountpoint, *options = sys.argv[1:]
mount(DiskFiles({"": lambda: vhdxreader.open(image)}), mountpoint, foreground=True, **dict.fromkeys(options, True))
"""


@contextmanager
def mounted(image, folder, *options):
    """The mount point and the process that serves it; unmounted at the end."""
    folder.mkdir()
    process = subprocess.Popen([sys.executable, "-c", MOUNT, image, folder, *options], stderr=subprocess.PIPE)
    try:
        for _ in range(400):
            if os.path.ismount(folder) or process.poll() is not None:
                break
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read()
        yield folder, process
    finally:
        subprocess.run(["fusermount3", "-u", folder], capture_output=True, check=False)
        if process.poll() is None:
            assert process.wait(30) == 0
        process.stderr.close()


@pytest.fixture
def fuse_here(witness):
    witness("fusermount3")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/fuse for this user")


@pytest.mark.usefixtures("fuse_here")
@pytest.mark.witness
def test_nbdfuse_shows_the_disk_that_is_served(tmp_path, witness):
    """The way to a file without mfusepy: FUSE by libnbd, from our NBD server."""
    file = tmp_path / "mnt" / "disk.raw"
    file.parent.mkdir()
    with vhdxreader.open(IMAGE.open()) as disk, served({"": disk}) as path:
        process = subprocess.Popen([witness("nbdfuse"), "-r", file, nbd_uri("", path)])
        try:
            for _ in range(400):
                if file.exists() or process.poll() is not None:
                    break
                time.sleep(0.05)
            assert file.stat().st_size == SIZE
            assert file.read_bytes() == IMAGE.expected()
        finally:
            subprocess.run(["fusermount3", "-u", file.parent], check=True)
            assert process.wait(30) == 0


@pytest.mark.usefixtures("fuse_here")
@pytest.mark.witness
@pytest.mark.parametrize("options", [(), ("direct_io",)])
def test_every_byte_by_four_readers(options, tmp_path):
    path = IMAGE.save(tmp_path / "disk.vhdx")
    want = IMAGE.expected()
    with mounted(path, tmp_path / "mnt", *options) as (folder, _):
        assert sorted(os.listdir(folder)) == ["disk.raw", "findings.txt"]
        status = os.stat(folder / "disk.raw")
        assert (status.st_size, stat.S_IMODE(status.st_mode)) == (SIZE, 0o444)
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda _: (folder / "disk.raw").read_bytes() == want, range(4))) == [True] * 4
        with pytest.raises(OSError, match="Read-only"):
            os.open(folder / "disk.raw", os.O_RDWR)
        with pytest.raises(OSError, match="Read-only"):
            (folder / "new").write_bytes(b"x")
    assert not os.path.ismount(tmp_path / "mnt")


@pytest.mark.usefixtures("fuse_here")
@pytest.mark.witness
def test_root_has_the_system_read_further_ahead(tmp_path):
    with mounted(IMAGE.save(tmp_path / "disk.vhdx"), tmp_path / "odd \\ \xa0 \n") as (folder, _):
        device = os.stat(folder).st_dev
        ahead = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
        if not os.access(ahead, os.W_OK):
            pytest.skip("the system's settings are not for this user")
        with open(ahead) as file:
            assert int(file.read()) == 512
        assert (folder / "disk.raw").read_bytes() == IMAGE.expected()


@pytest.mark.usefixtures("fuse_here")
@pytest.mark.witness
def test_a_file_system_inside_is_mounted_in_turn(tmp_path, witness):
    """An ext4 in a partition of a dirty image, whose log holds what was changed last."""
    raw, text = tmp_path / "ext4.raw", "from inside\n" * 1000
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file.txt").write_text(text)
    with open(raw, "wb") as file:
        os.truncate(file.fileno(), 16 * MB)
    subprocess.run([witness("mkfs.ext4"), "-q", "-d", tmp_path / "root", raw], check=True)
    disk = bytes(MB) + raw.read_bytes()
    script = b"label: dos\nstart=2048, type=83\n"
    raw.write_bytes(disk)
    subprocess.run([witness("sfdisk"), "-q", raw], input=script, check=True, capture_output=True)
    disk = raw.read_bytes()
    blocks = {n: full({0: disk[n * MB : (n + 1) * MB]}) for n in range(17) if any(disk[n * MB : (n + 1) * MB])}
    image = dynamic(17 * MB, blocks)
    wet = dirty(*hide(image, (image.bat_offset, 4096), (image.block_offset[0], 4096)))
    inside = tmp_path / "inside"
    inside.mkdir()
    with mounted(wet.save(tmp_path / "disk.vhdx"), tmp_path / "mnt") as (folder, _):
        assert "log.replayed" in (folder / "findings.txt").read_text()
        loop = ["mount", "-o", "loop,ro,noload", folder / "partition1.raw", inside]
        done = subprocess.run(loop, capture_output=True, text=True, check=False)
        if done.returncode and not os.environ.get("CI"):
            pytest.skip(f"no loop mount here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        try:
            assert (inside / "file.txt").read_text() == text
        finally:
            subprocess.run(["umount", inside], check=True)


@pytest.mark.usefixtures("fuse_here")
@pytest.mark.witness
@pytest.mark.parametrize("options", [(), ("direct_io",)])
def test_what_cannot_be_read_is_an_io_error_and_the_rest_is_there(options, tmp_path):
    broken = dynamic(SIZE, {0: full(), 1: reserved(4), 2: full()})
    path = broken.save(tmp_path / "disk.vhdx")
    with mounted(path, tmp_path / "mnt", *options) as (folder, _), open(folder / "disk.raw", "rb") as file:
        for at in range(0, MB, 65536):  # the system reads ahead, at last into what cannot be read
            assert os.pread(file.fileno(), 65536, at) == broken.expected(at, 65536)
        for at in (MB, 2 * MB - 4096):
            with pytest.raises(OSError, match="Input/output error"):
                os.pread(file.fileno(), 4096, at)
        assert os.pread(file.fileno(), 4096, 2 * MB) == broken.expected(2 * MB, 4096)


@pytest.mark.usefixtures("fuse_here")
@pytest.mark.witness
def test_killed_and_unmounted(tmp_path):
    path = IMAGE.save(tmp_path / "disk.vhdx")
    with mounted(path, tmp_path / "mnt") as (folder, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(OSError, match="not connected"):
            os.listdir(folder)
    assert not os.path.ismount(tmp_path / "mnt")
    with mounted(path, tmp_path / "again") as (folder, _):
        assert (folder / "disk.raw").read_bytes() == IMAGE.expected()


# ---- the operations, by hand


def test_a_folder_of_images(tmp_path):
    good, bad = IMAGE.save(tmp_path / "good.vhdx"), tmp_path / "bad.vhdx"
    bad.write_bytes(b"vhdxfile")
    openers = {"/sub/good.vhdx": lambda: vhdxreader.open(good), "/bad.vhdx": lambda: vhdxreader.open(bad)}
    files = DiskFiles(openers)
    assert files.readdir("/", 0) == [".", "..", "sub", "bad.vhdx"]
    assert files.readdir("/sub", 0) == [".", "..", "good.vhdx"]
    assert files.readdir("/sub/good.vhdx", 0) == [".", "..", "disk.raw", "findings.txt"]
    assert files.readdir("/bad.vhdx", 0) == [".", "..", "findings.txt"]
    handle = files.open("/bad.vhdx/findings.txt", os.O_RDONLY)
    buffer = bytearray(1000)
    done = files.read(buffer, 0, handle)
    assert b"cannot be opened" in buffer[:done]
    assert buffer[done:] == bytes(1000 - done)
    assert files.read(buffer, done, handle) == 0
    assert files.getattr("/sub/good.vhdx/disk.raw")["st_size"] == SIZE
    for path in ("/nothing", "/sub/good.vhdx/nothing", "/sub/good.vhdx/disk.raw/x", "/bad.vhdx/disk.raw"):
        with pytest.raises(FileNotFoundError):
            files.getattr(path)
    files.destroy("/")


def test_only_some_images_stay_open(monkeypatch):
    monkeypatch.setattr(fuse, "MAX_IDLE", 2)
    disks = []

    def opener():
        disks.append(vhdxreader.open(IMAGE.open()))
        return disks[-1]

    files = DiskFiles({f"/{n}": opener for n in range(6)})
    handle = files.open("/0/disk.raw", os.O_RDONLY)
    for n in range(6):
        files.getattr(f"/{n}/disk.raw")
    assert [disk.closed for disk in disks] == [False, True, True, True, False, False]
    buffer = bytearray(512)
    assert files.read(buffer, 0, handle) == 512
    assert buffer == IMAGE.expected(0, 512)
    files.release("/0/disk.raw", handle)
    files.getattr("/1/disk.raw")
    assert [disk.closed for disk in disks] == [True, True, True, True, True, False, False]
    files.destroy("/")
    assert all(disk.closed for disk in disks)


def test_an_image_that_did_not_open_is_opened_again():
    reasons = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]

    def opener():
        if reasons:
            raise reasons.pop()
        return vhdxreader.open(IMAGE.open())

    files = DiskFiles({"/a.vhdx": opener})
    assert files.readdir("/a.vhdx", 0) == [".", "..", "findings.txt"]
    assert "disk.raw" in files.readdir("/a.vhdx", 0)
    files.destroy("/")


def test_writing_is_refused():
    files = DiskFiles({"": lambda: vhdxreader.open(IMAGE.open())})
    for flags in (os.O_WRONLY, os.O_RDWR):
        with pytest.raises(OSError, match="Read-only"):
            files.open("/disk.raw", flags)
    files.destroy("/")


def test_what_is_missing_is_said(tmp_path, monkeypatch):
    files = DiskFiles({})
    monkeypatch.setitem(sys.modules, "mfusepy", None)
    monkeypatch.delitem(sys.modules, "vhdxreader.integrations.fuse_library", raising=False)  # of an earlier mount
    monkeypatch.delattr("vhdxreader.integrations.fuse_library", raising=False)
    with pytest.raises(fuse.FuseMissingError, match=r"pip install vhdxreader\[fuse\]"):
        fuse.mount(files, str(tmp_path))
    monkeypatch.undo()
    if shutil.which("fusermount3"):
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(fuse.FuseMissingError, match="/dev/fuse"):
            fuse.mount(files, str(tmp_path))
