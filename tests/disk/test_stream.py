"""The stream contract: `VirtualDisk` against the same disk as a raw file, opened with `open(raw, "rb", buffering=0)`.

Every call is made on both, and must give the same value, the same type of error, and leave the same position.
"""

from __future__ import annotations

import array
import ctypes
import hashlib
import io
import mmap
import operator
import os
import random
import shutil
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from builder import MB, differencing, dynamic, fixed, full, partial, zeroed
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import vhdxreader

SIZE = 3 * MB + 1536
LINES = b"".join(b"line %06d of a text that is here to be read\n" % n for n in range(MB // 48 + 1))
BLOCKS = {0: full(), 1: full(LINES[:MB]), 3: full(LINES[:1536])}
PARENT = dynamic(2 * MB + 512, {0: full(LINES[7 : MB + 7]), 1: full()})
IMAGES = {
    "dynamic": dynamic(SIZE, BLOCKS),
    "fixed": fixed(SIZE, BLOCKS),
    "differencing": differencing(SIZE, {1: full(), 2: partial([0, 5, 7]), 3: zeroed()}, parent=PARENT),
    "4096-byte sectors": dynamic(3 * MB + 4096, {0: full(LINES[:MB]), 2: full()}, sector_size=4096),
    "empty": dynamic(0),
}
EDGES = [0, 1, 511, 512, MB - 1, MB, MB + 1, 2 * MB, 3 * MB - 1, 3 * MB, SIZE - 1, SIZE, SIZE + 1, 4 * MB]

offsets = st.one_of(st.sampled_from(EDGES), st.integers(0, 4 * MB + 10))
moves = st.one_of(offsets, offsets.map(operator.neg), st.integers(-1000, 1000))
sizes = st.one_of(st.integers(0, 3000), st.sampled_from([MB - 1, MB, MB + 1, 2 * MB, SIZE, 5 * MB]))


def open_disk(name, source):
    """A disk of one of the images: by path, or over a file object."""
    parent = PARENT.open() if name == "differencing" else None
    return vhdxreader.open(source, parent=parent)


def outcome(call):
    """What a call gives: its value, or the type of its error (and the errno of an `OSError`)."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  whatever it is, it must be the same
        return type(error), getattr(error, "errno", None)


class Structure(ctypes.Structure):
    _fields_ = [("a", ctypes.c_uint32), ("b", ctypes.c_uint8 * 60)]


class Five:
    def __index__(self):
        return 5


class BigEndian(ctypes.BigEndianStructure):
    _fields_ = [("a", ctypes.c_uint32), ("b", ctypes.c_uint16)]


# Each makes a new buffer; some are none that can be read into.
BUFFERS = {
    "bytearray": lambda size: bytearray(size),
    "bytes": lambda size: bytes(size),
    "words": lambda size: array.array("I", bytes(size // 4 * 4)),
    "doubles": lambda size: array.array("d", bytes(size // 8 * 8)),
    "view": lambda size: memoryview(bytearray(size + 9))[4:-5],
    "view of words": lambda size: memoryview(bytearray(size // 8 * 8)).cast("Q"),
    "matrix": lambda size: memoryview(bytearray(12 * (size // 12 + 1))).cast("B").cast("I", (size // 12 + 1, 3)),
    "every second": lambda size: memoryview(bytearray(2 * size + 4))[::2],
    "backwards": lambda size: memoryview(bytearray(size + 2))[::-1],
    "read-only view": lambda size: memoryview(bytearray(size)).toreadonly(),
    "mmap": lambda size: mmap.mmap(-1, size + 1),
    "characters": lambda size: ctypes.create_string_buffer(size + 1),
    "structure": lambda _: Structure(),
    "structures": lambda size: (BigEndian * (size // 8 + 1))(),
    "text": lambda size: "x" * size,
    "number": lambda size: size,
    "none": lambda _: None,
}
# Arguments of a wrong kind, or of a kind that happens to be accepted.
ODD = [None, True, 1.5, 2.0, "3", b"4", [], -1, Five()]


def content(buffer):
    try:
        return memoryview(buffer).tobytes()
    except TypeError:
        return None


def is_open(machine):
    """Odd arguments are for open files: which of two faults a closed one reports first is nobody's contract."""
    return not machine.disk.closed


class Contract(RuleBasedStateMachine):
    """One disk and the raw file of it, side by side."""

    @initialize(name=st.sampled_from(sorted(IMAGES)), by_path=st.booleans())
    def start(self, name, by_path):
        self.folder = tempfile.TemporaryDirectory()
        image, raw = IMAGES[name], Path(self.folder.name, "raw")
        raw.write_bytes(image.expected())
        self.raw = raw.open("rb", buffering=0)
        self.data = image.expected()
        self.disk = open_disk(name, image.save(raw.with_suffix(".vhdx")) if by_path else image.open())

    def teardown(self):
        if hasattr(self, "folder"):
            self.disk.close()
            self.raw.close()
            self.folder.cleanup()

    def both(self, call):
        expected = outcome(lambda: call(self.raw))
        assert outcome(lambda: call(self.disk)) == expected
        return expected

    @invariant()
    def same_position(self):
        if hasattr(self, "folder"):
            self.both(lambda file: file.tell())
            self.both(lambda file: file.closed)

    # ---- moving

    @rule(offset=moves, whence=st.sampled_from([0, 1, 2]))
    def seek(self, offset, whence):
        self.both(lambda file: file.seek(offset, whence))

    @precondition(is_open)
    @rule(offset=st.one_of(offsets, st.sampled_from(ODD)))
    def seek_without_whence(self, offset):
        self.both(lambda file: file.seek(offset))

    @precondition(is_open)
    @rule(offset=st.sampled_from([0, *ODD]), whence=st.sampled_from([*ODD, 0, 7, 1 << 20]))
    def seek_oddly(self, offset, whence):
        self.both(lambda file: file.seek(offset, whence))

    # ---- reading

    @rule(size=sizes)
    def read(self, size):
        self.both(lambda file: file.read(size))

    @precondition(is_open)
    @rule(size=st.sampled_from(ODD))
    def read_oddly(self, size):
        self.both(lambda file: file.read(size))

    @rule(how=st.sampled_from(["read", "readall"]))
    def read_the_rest(self, how):
        self.both(lambda file: getattr(file, how)())

    @precondition(is_open)
    @rule(kind=st.sampled_from(sorted(BUFFERS)), size=sizes)
    def readinto(self, kind, size):
        buffers = []

        def readinto(file):
            buffers.append(BUFFERS[kind](size))
            return file.readinto(buffers[-1])

        self.both(readinto)
        assert content(buffers[0]) == content(buffers[1])

    @rule(limit=st.integers(0, 100))
    def readline_with_limit(self, limit):
        self.both(lambda file: file.readline(limit))

    @precondition(lambda self: not self.raw.closed and b"\n" in self.data[self.raw.tell() :][:200])
    @rule(how=st.sampled_from([lambda file: file.readline(), next, lambda file: file.readline(None)]))
    def readline(self, how):
        self.both(how)

    @precondition(lambda self: not self.raw.closed and b"\n" in self.data[self.raw.tell() :][:200])
    @rule(hint=st.integers(1, 40))
    def readlines(self, hint):
        self.both(lambda file: file.readlines(hint))

    @precondition(is_open)
    @rule(argument=st.sampled_from([1.5, "3", b"4"]))
    def readline_oddly(self, argument):
        self.both(lambda file: file.readline(argument))

    # ---- reading elsewhere; the position stays

    @rule(size=sizes, offset=offsets)
    def pread(self, size, offset):
        if not self.disk.closed:
            expected = os.pread(self.raw.fileno(), size, offset)
            assert self.disk.pread(size, offset) == expected
            buffer = array.array("H", bytes(size // 2 * 2))
            assert self.disk.preadinto(buffer, offset) == len(expected[: size // 2 * 2])
            assert buffer.tobytes().startswith(expected[: size // 2 * 2])

    # ---- what else a file does

    @rule(
        name=st.sampled_from(
            ["readable", "seekable", "writable", "isatty", "flush", "truncate", "__iter__", "__enter__"]
        )
    )
    def method(self, name):
        self.both(lambda file: (getattr(file, name)() is file) if name.startswith("__") else getattr(file, name)())

    @rule(
        call=st.sampled_from(
            [
                lambda file: file.write(b"x"),
                lambda file: file.truncate(5),
                lambda file: file.writelines([b"x"]),
                lambda file: file.writelines([]),
            ]
        )
    )
    def write(self, call):
        self.both(call)

    @rule(now=st.sampled_from([False] * 15 + [True]))
    def close(self, now):
        if now or self.disk.closed:
            self.both(lambda file: file.close())


TestContract = Contract.TestCase
TestContract.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)


# ---- through what others put on top of a raw file


@pytest.fixture(params=sorted(IMAGES))
def disk(request):
    with open_disk(request.param, IMAGES[request.param].open()) as disk:
        disk.bytes = IMAGES[request.param].expected()
        yield disk


def test_buffered_reader(disk):
    """Seeks and reads of all lengths, against the same over the bytes themselves."""
    rng = random.Random(1)
    buffered, plain = io.BufferedReader(disk, 5000), io.BytesIO(disk.bytes)
    for _ in range(300):
        at, size = rng.randrange(disk.size + 10), rng.choice([1, 7, 512, 4999, 5000, 5001, 70_000, MB])
        assert buffered.seek(at) == plain.seek(at)
        assert buffered.read(size) == plain.read(size)
        assert buffered.peek(1)[:1] == plain.getvalue()[plain.tell() :][:1]
    buffered.seek(0)
    assert buffered.read() == disk.bytes
    buffered.close()
    assert disk.closed


def test_copyfileobj(disk):
    out = io.BytesIO()
    shutil.copyfileobj(disk, out, 100_000)
    assert out.getvalue() == disk.bytes


def test_file_digest(disk):
    assert hashlib.file_digest(disk, "sha256").digest() == hashlib.sha256(disk.bytes).digest()


def test_text_wrapper(disk):
    text = io.TextIOWrapper(io.BufferedReader(disk), encoding="latin-1", newline="")
    assert text.read() == disk.bytes.decode("latin-1")
    text.close()
    assert disk.closed


def test_archive_in_a_disk():
    """A program that seeks a lot and knows nothing of disks: a ZIP file at the disk's end."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("lines.txt", LINES)
    data = inner.getvalue()
    blocks = {n: full(block) for n, block in enumerate((bytes(MB), (bytes(MB - len(data) // 2) + data)[:MB]))}
    rest = data[len(data) // 2 :]
    image = dynamic(2 * MB + len(rest) + -len(rest) % 512, {**blocks, 2: full(rest)})
    with vhdxreader.open(image.open()) as disk, zipfile.ZipFile(disk) as archive:
        assert archive.read("lines.txt") == LINES


# ---- what a disk is not


def test_no_descriptor(disk):
    """A program that got one would read the container instead of the disk."""
    with pytest.raises(io.UnsupportedOperation):
        disk.fileno()


def test_no_lines_of_the_operating_system(disk):
    """`SEEK_DATA` and the like are the file's, not the disk's."""
    for whence in (3, 4):
        with pytest.raises(OSError, match="Invalid argument"):
            disk.seek(0, whence)


def test_what_it_says_of_itself(tmp_path):
    path = IMAGES["dynamic"].save(tmp_path / "disk.vhdx")
    disk = vhdxreader.open(path)
    assert isinstance(disk, io.RawIOBase)
    assert (disk.mode, disk.name, disk.size) == ("rb", str(path), SIZE)
    assert repr(disk) == f"<VirtualDisk {str(path)!r} {SIZE} bytes>"
    disk.close()
    assert repr(disk) == f"<VirtualDisk {str(path)!r} {SIZE} bytes closed>"
    assert (disk.name, disk.size) == (str(path), SIZE)


def test_closed_for_positioned_reads_too(disk):
    disk.close()
    disk.close()
    for call in (lambda: disk.pread(1, 0), lambda: disk.preadinto(bytearray(1), 0), lambda: list(disk.extents())):
        with pytest.raises(ValueError, match="closed"):
            call()


# ---- positioned reads


@pytest.mark.parametrize(("size", "offset"), [(1, -1), (0, -1), (1, -(1 << 70))])
def test_negative_offsets(disk, size, offset):
    for call in (lambda: disk.pread(size, offset), lambda: disk.preadinto(bytearray(size), offset)):
        with pytest.raises(ValueError, match="negative offset"):
            call()


def test_negative_size(disk):
    with pytest.raises(ValueError, match="negative"):
        disk.pread(-1, 0)


def test_far_behind_the_end(disk):
    assert disk.pread(10, 1 << 70) == b""
    assert disk.preadinto(bytearray(10), 1 << 70) == 0
    assert disk.seek(1 << 62) == 1 << 62
    assert disk.read() == disk.read(10) == b""
    assert disk.readinto(bytearray(10)) == 0


@pytest.mark.parametrize("kind", ["words", "doubles", "matrix", "view of words", "structures", "characters"])
def test_image_reads_into_every_buffer(kind):
    """`VhdxImage.preadinto` is as the disk's."""
    image = IMAGES["dynamic"]
    with vhdxreader.open(image.open()) as disk:
        for offset in (0, MB - 100, SIZE - 100):
            buffer = BUFFERS[kind](1200)
            count = disk.image.preadinto(buffer, offset)
            size = memoryview(buffer).nbytes
            assert memoryview(buffer).tobytes() == image.expected(offset, size).ljust(size, b"\0")
            assert count == len(image.expected(offset, size))


@pytest.mark.parametrize("source", ["path", "file object", "without preadv"])
def test_eight_threads(source, tmp_path, monkeypatch):
    """Positioned reads of one disk from eight threads at once, while a ninth moves its position."""
    image = IMAGES["differencing"]
    data, path = image.expected(), image.save(tmp_path / "child.vhdx")
    PARENT.save(tmp_path / "parent.vhdx")
    if source == "without preadv":
        monkeypatch.delattr(os, "preadv")
    file = path.open("rb") if source == "file object" else None
    disk = vhdxreader.open(file or path, parent=tmp_path / "parent.vhdx")

    def reads(seed):
        rng = random.Random(seed)
        for _ in range(150):
            offset, size = rng.randrange(SIZE), rng.choice([1, 512, 4096, 100_000])
            buffer = bytearray(size)
            assert disk.pread(size, offset) == data[offset : offset + size]
            assert disk.preadinto(buffer, offset) == len(data[offset : offset + size])
            assert buffer.startswith(data[offset : offset + size])
        return True

    with disk, ThreadPoolExecutor(9) as pool:
        done = [pool.submit(reads, seed) for seed in range(8)]
        while not all(future.done() for future in done):
            disk.seek(0)
            assert disk.read(3000) == data[:3000]
        assert all(future.result() for future in done)
    if file:
        file.close()
