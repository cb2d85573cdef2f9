"""Systems that lack functions: a process that has them taken away before the package is imported, and a system's name.

What Windows and macOS lack is taken from their Pythons' documentation; `make test-wine` asks the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from builder import MB, differencing, dynamic, full
from builder import run as log_of
from dirty_images import NEW, SIZE, wet, write

import vhdxreader

WINDOWS = "preadv pread pwrite pwritev O_NONBLOCK O_NOCTTY O_CLOEXEC O_DIRECTORY SEEK_DATA SEEK_HOLE copy_file_range"
WINDOWS += " fchmod posix_fadvise posix_fallocate sendfile fork mkfifo"
SYSTEMS = {
    "windows": WINDOWS,
    "macos": "copy_file_range posix_fadvise posix_fallocate O_PATH",
    "old macos": "preadv pwritev copy_file_range posix_fadvise posix_fallocate O_PATH",
    "no holes": "SEEK_DATA SEEK_HOLE",
    "no links": "link",
    "no final paths": "",
}
PRELUDE = """
import os, subprocess, sys, tempfile, threading, shutil, mmap
from pathlib import Path
for name in {names!r}.split():
    if hasattr(os, name):
        delattr(os, name)
if {names!r}.startswith("preadv pread "):
    sys.modules["fcntl"] = sys.modules["resource"] = None
    os.supports_dir_fd = set()
if {system!r} != "no holes":
    sys.platform = "win32" if {system!r} == "windows" else "darwin"
if {system!r} == "no final paths":
    def realpath(*_, **__):
        raise OSError(234, "More data is available")
    os.path.realpath = realpath
import vhdxreader
child, out = map(Path, sys.argv[1:])
"""
WORK = """
with vhdxreader.open(child) as disk:
    whole = disk.read()
    results = []
    def read():
        results.append(all(disk.pread(9000, at) == whole[at : at + 9000] for at in range(0, disk.size, 70_000)))
    threads = [threading.Thread(target=read) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == [True] * 4
    assert sum(extent.length for extent in disk.extents()) == disk.size
    assert not disk.has_changed()
    vhdxreader.convert(disk, out)
    vhdxreader.convert(disk, out, overwrite=True, verify_source=True)
    vhdxreader.convert(disk, str(out) + ".vhd", format="vhd", exact=True)
for policy in ("relative", "inside"):
    with vhdxreader.open(child, parents=policy) as disk:
        assert disk.read() == whole
assert sorted(node.link.name for node in vhdxreader.chain_forest([child.parent]).nodes.values()) == ["FOUND", "NONE"]
with vhdxreader.CustodyRecord(str(out) + ".json", command="none") as record:
    record.add_output(out, None)
    with vhdxreader.open(child) as disk, record.reading(disk):
        disk.read()
assert all(finding.severity.name != "ERROR" for finding in vhdxreader.check(child).findings)
vhdxreader.write_skeleton(child, str(out) + ".skeleton", max_size=1 << 30)
"""


def run(system: str, code: str, *arguments: Path) -> str:
    text = PRELUDE.format(names=SYSTEMS[system], system=system) + code
    command = [sys.executable, "-c", text, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("system", SYSTEMS)
def test_everything_works_without_them(system, tmp_path):
    parent = dynamic(6 * MB, {0: full(b"a"), 3: full(b"b")})
    parent.save(tmp_path / "parent.vhdx")
    image = differencing(6 * MB, {1: full(b"c")}, parent=parent)
    run(system, WORK, image.save(tmp_path / "child.avhdx"), tmp_path / "out.raw")
    assert (tmp_path / "out.raw").read_bytes() == image.expected()
    assert (tmp_path / "out.raw.vhd").read_bytes()[:-512] == image.expected()


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with names")
def test_a_pipe_does_not_hang_an_old_macos(tmp_path):
    """Without `preadv` the file was opened in another way, which waited for somebody to write into the pipe."""
    os.mkfifo(tmp_path / "pipe")
    code = """
try:
    vhdxreader.open(child)
except OSError as error:
    print(type(error).__name__)
"""
    assert run("old macos", code, tmp_path / "pipe", tmp_path) in {"UnsupportedOperation", "OSError"}


def test_windows_does_not_say_that_a_file_is_not_shared(tmp_path, monkeypatch):
    """`os.open` there gives EACCES alone, without the system's own number."""
    path = dynamic(1 << 20).save(tmp_path / "disk.vhdx")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("vhdxreader.files.opening._IS_WINDOWS", True)
    monkeypatch.setattr("vhdxreader.files.opening.os.open", refuse)
    with pytest.raises(PermissionError, match=r"Permission denied; perhaps another program has it for itself"):
        vhdxreader.open(path)


def test_macos_is_not_asked_where_holes_are(tmp_path):
    """Its APFS has told of holes where data is; a log that is taken for one would not be replayed."""
    code = """
def lseek(fd, offset, whence, seek=os.lseek):
    if whence in (os.SEEK_DATA, os.SEEK_HOLE):
        raise OSError(6, "No such device or address")
    return seek(fd, offset, whence)
os.lseek = lseek
with vhdxreader.open(child) as disk:
    out.write_bytes(disk.read())
"""
    run(
        "macos",
        code,
        wet(log_of([[write(1)]], flushed=SIZE, last=SIZE)).save(tmp_path / "dirty.vhdx"),
        tmp_path / "out.raw",
    )
    assert (tmp_path / "out.raw").read_bytes()[MB : MB + 4096] == NEW
