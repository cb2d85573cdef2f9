"""Where bytes come from: paths and file objects of every kind, who closes what, and files that do not keep still."""

from __future__ import annotations

import errno
import gc
import gzip
import io
import mmap
import os
import signal
import socket
import tempfile
from contextlib import contextmanager

import pytest
from builder import MB, split
from cases import valid

import vhdxreader
from vhdxreader import NotVhdxError, TruncatedImageError
from vhdxreader.files.opening import open_source

IMAGE = valid()
BYTES = IMAGE.tobytes()
DISK = IMAGE.expected()


@pytest.fixture
def path(tmp_path):
    return IMAGE.save(tmp_path / "disk.vhdx")


@contextmanager
def no_hang(seconds=20):
    """Interrupts what blocks; it would not come back by itself."""

    def alarm(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def opened_files():
    return [os.path.realpath(f"/dev/fd/{fd}") for fd in open_descriptors()]


def open_descriptors():
    gc.collect()  # what other tests left
    return sorted(os.listdir("/dev/fd"))


# ---- paths


def test_every_kind_of_path(path):
    class Wrapped:
        def __fspath__(self):
            return str(path)

    for given in (path, str(path), os.fsencode(path), Wrapped()):
        assert vhdxreader.is_vhdx(given)
        with vhdxreader.open(given) as disk:
            assert disk.read() == DISK
            assert disk.name == disk.image.name == disk.image.path == str(path)
            assert disk.image.file_size == len(BYTES)


def test_a_relative_path_and_odd_names(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    odd = os.fsdecode(b"caf\xe9 \xf0\x9f\x92\xbe.vhdx")
    os.link(path, odd)
    with vhdxreader.open(odd) as disk:
        assert disk.read(10) == DISK[:10]
        assert disk.name == odd


def test_a_path_is_closed(path):
    before = open_descriptors()
    disk = vhdxreader.open(path)
    assert open_descriptors() != before
    disk.close()
    assert str(path) not in opened_files()
    del disk  # until then, nobody else gets the number
    assert open_descriptors() == before
    with vhdxreader.open(path):
        pass
    vhdxreader.is_vhdx(path)
    assert open_descriptors() == before


def test_a_path_is_closed_where_opening_fails(path):
    before = open_descriptors()
    for at in (0, 192 * 1024, 2 * MB):
        IMAGE.copy().flip(at).flip(at + 64 * 1024).save(path)
        with pytest.raises(vhdxreader.VhdxError):
            vhdxreader.open(path)
    assert open_descriptors() == before


def test_paths_that_name_no_file(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        vhdxreader.open(tmp_path / "missing")
    assert str(tmp_path / "missing") in str(caught.value)
    for function in (vhdxreader.open, vhdxreader.is_vhdx):
        with pytest.raises(IsADirectoryError, match=tmp_path.name):
            function(tmp_path)
    with pytest.raises(NotVhdxError):
        vhdxreader.open(os.devnull)


@pytest.mark.parametrize("function", [vhdxreader.open, vhdxreader.is_vhdx])
def test_pipes_and_sockets_do_not_hang(function, tmp_path):
    """The error names the path."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    before = open_descriptors()
    with no_hang(), pytest.raises(OSError, match="fifo") as caught:
        function(fifo)
    assert not isinstance(caught.value, vhdxreader.VhdxError)
    assert open_descriptors() == before
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with no_hang(), pytest.raises(OSError, match="socket"):
            function(tmp_path / "socket")


def test_without_preadv(path, monkeypatch):
    """As on Windows: a file object of our own, which is closed like a descriptor."""
    monkeypatch.delattr(os, "preadv")
    before = open_descriptors()
    with vhdxreader.open(path) as disk:
        assert disk.read() == DISK
        assert disk.pread(100, MB - 50) == DISK[MB - 50 : MB + 50]
        assert disk.name == str(path)
    assert open_descriptors() == before
    disk.close()
    with pytest.raises(ValueError, match="closed"):
        disk.read()


# ---- file objects


class OnlyReads:
    """The least that can be called a seekable binary file; like `mmap`, its `seek` may give None."""

    def __init__(self, data=BYTES):
        self._file = io.BytesIO(data)

    def read(self, size=-1):
        return self._file.read(size)

    def seek(self, offset, whence=os.SEEK_SET):
        self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()


class Short(io.RawIOBase):
    """A raw file that gives a few bytes at a time, as it may."""

    def __init__(self, step=4099):
        self._file, self._step = io.BytesIO(BYTES), step

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=os.SEEK_SET):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def readinto(self, buffer):
        return self._file.readinto(memoryview(buffer)[: self._step])


class ShortReads(OnlyReads):
    def read(self, size=-1):
        return super().read(min(size, 4099) if size >= 0 else size)


def temporary(kind):
    file = kind()
    file.write(BYTES)
    return file


def anonymous_map():
    area = mmap.mmap(-1, len(BYTES))
    area[:] = BYTES
    return area


FILES = {
    "BytesIO": lambda: io.BytesIO(BYTES),
    "raw": IMAGE.open,
    "buffered": lambda: io.BufferedReader(IMAGE.open()),
    "buffered small": lambda: io.BufferedReader(IMAGE.open(), 16),
    "read only": OnlyReads,
    "short readinto": Short,
    "short read": ShortReads,
    "mmap": anonymous_map,
    "temporary": lambda: temporary(tempfile.TemporaryFile),
    "named": lambda: temporary(tempfile.NamedTemporaryFile),
    "spooled": lambda: temporary(tempfile.SpooledTemporaryFile),
    "gzip": lambda: gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(BYTES, 1))),
    "a disk in a disk": lambda: vhdxreader.open(valid(virtual_size=len(BYTES), blocks=split(BYTES)).open()),
}


@pytest.fixture(params=FILES)
def file(request):
    opened = FILES[request.param]()
    yield opened
    getattr(opened, "close", bool)()


def test_every_kind_of_file_object(file):
    """Wherever it stands, before and in between: its position is not relied on, and it is never closed."""
    file.seek(12345)
    disk = vhdxreader.open(file)
    for offset in (0, MB - 100, 3 * MB + 1000):
        file.seek(offset // 2)
        assert disk.pread(2000, offset) == DISK[offset : offset + 2000]
    file.seek(99)
    assert disk.read() == DISK
    assert disk.image.path is None
    assert disk.image.file_size == len(BYTES)
    disk.close()
    assert not getattr(file, "closed", False)
    file.seek(0)
    assert file.read(8) == b"vhdxfile"


def test_is_vhdx_puts_the_file_back(file):
    for position in (0, 5, len(BYTES)):
        file.seek(position)
        assert vhdxreader.is_vhdx(file)
        assert file.tell() == position


@pytest.mark.parametrize("data", [b"", b"vhdxfil", b"conectix" * 100])
def test_is_vhdx_of_other_files(data, tmp_path):
    file = io.BytesIO(data)
    file.seek(3)
    assert not vhdxreader.is_vhdx(file)
    assert file.tell() == 3
    assert not file.closed
    (tmp_path / "other").write_bytes(data)
    assert not vhdxreader.is_vhdx(tmp_path / "other")


def test_a_file_object_stays_open_where_opening_fails():
    for data in (b"", b"vhdxfile", BYTES[: 200 * 1024]):
        file = io.BytesIO(data)
        with pytest.raises(vhdxreader.VhdxError):
            vhdxreader.open(file)
        assert not file.closed


def test_a_file_object_closed_by_its_owner(path):
    with path.open("rb") as file:
        disk = vhdxreader.open(file)
    with pytest.raises(ValueError, match="closed"):
        disk.read(1)
    disk.close()


def test_one_file_object_for_two_disks():
    file = io.BytesIO(BYTES)
    with vhdxreader.open(file) as one, vhdxreader.open(file) as two:
        assert one.read(MB) == DISK[:MB]
        assert two.read(1000) == DISK[:1000]
        one.close()
        assert two.read(1000) == DISK[1000:2000]


@pytest.mark.parametrize("function", [vhdxreader.open, vhdxreader.is_vhdx])
def test_text_files_are_refused(function, path):
    with path.open(encoding="latin-1") as text:
        for given in (text, io.StringIO("vhdxfile")):
            with pytest.raises(TypeError, match="binary file object is expected"):
                function(given)
    for given in (5, None, object(), [str(path)]):
        with pytest.raises(TypeError, match="path or a binary file object"):
            function(given)


@pytest.mark.parametrize("function", [vhdxreader.open, vhdxreader.is_vhdx])
def test_pipes_are_refused(function):
    reading, writing = os.pipe()
    os.close(writing)
    with no_hang():
        for buffering in (0, -1):
            with open(os.dup(reading), "rb", buffering=buffering) as pipe:
                with pytest.raises(io.UnsupportedOperation, match="seekable"):
                    function(pipe)
                assert not pipe.closed
    os.close(reading)


# ---- files that do not keep still


def test_a_file_that_shrinks(path):
    """Never short, never zeros: what is gone is an error, what is left reads."""
    at = IMAGE.block_offset[2]
    with vhdxreader.open(path) as disk:
        os.truncate(path, at + 1000)
        assert disk.pread(1000, 2 * MB) == DISK[2 * MB : 2 * MB + 1000]
        with pytest.raises(TruncatedImageError) as caught:
            disk.pread(1001, 2 * MB)
        assert caught.value.file_offset == at + 1000


@pytest.mark.parametrize("file", [Short(0), ShortReads(b"")], ids=["readinto", "read"])
def test_a_file_that_gives_nothing(file):
    source = open_source(file)
    source.size = len(BYTES)
    with no_hang(), pytest.raises(TruncatedImageError):
        source.read_at(0, 8)


def test_a_file_that_gives_more_than_asked():
    class Generous(OnlyReads):
        def read(self, size=-1):
            return super().read(size) + b"more"

    with pytest.raises(OSError, match="more than was asked"):
        vhdxreader.open(Generous())


def test_errors_of_the_file_come_through():
    class Failing(OnlyReads):
        def read(self, size=-1):
            if self.tell() >= MB:
                raise OSError(errno.EREMOTEIO, "the cable is out")
            return super().read(size)

    with pytest.raises(OSError, match="cable") as caught:
        vhdxreader.open(Failing())
    assert caught.value.errno == errno.EREMOTEIO


@pytest.mark.parametrize("kind", ["path", "file object"])
def test_reads_are_held_against_the_size_before_memory_is(kind, path):
    source = open_source(path if kind == "path" else io.BytesIO(BYTES))
    for offset, size in [(0, 1 << 62), (1 << 62, 1), (len(BYTES), 1), (len(BYTES) - 1, 2)]:
        with pytest.raises(TruncatedImageError):
            source.read_at(offset, size)
    assert source.read_at(len(BYTES) - 1, 1) == BYTES[-1:]
    assert source.read_at(len(BYTES), 0) == b""
    source.close()


def test_a_disk_that_is_dropped_does_not_leak(path):
    """It says so, as a file of `open` that is dropped does."""
    gc.collect()  # what other tests left
    before = open_descriptors()
    with pytest.warns(ResourceWarning, match="unclosed image file .*disk.vhdx"):
        vhdxreader.open(path).read(10)
    assert open_descriptors() == before


def test_kept_errors_keep_no_descriptor(path):
    before = open_descriptors()
    path.write_bytes(BYTES[: MB + 4096])
    kept = []
    for _ in range(5):
        with pytest.raises(vhdxreader.VhdxError) as caught:
            vhdxreader.open(path)
        kept.append(caught)
    assert len(open_descriptors()) <= len(before)
