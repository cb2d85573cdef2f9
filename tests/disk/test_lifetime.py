"""Who may still read: a descriptor's number is nobody else's while anyone can use it, and what is closed says so."""

from __future__ import annotations

import contextlib
import copy
import errno
import gc
import io
import os
import pickle
import subprocess
import sys
import threading
import time

import pytest
from builder import MB, differencing, dynamic, full, partial

import vhdxreader

OURS, OTHERS = b"\xaa" * MB, b"\xbb" * MB
IMAGE = dynamic(4 * MB, {n: full(OURS) for n in range(4)})
STRANGER = OTHERS * 16
PARENT = dynamic(4 * MB, {n: full() for n in range(4)}, name="parent")
CHILD = differencing(4 * MB, {0: full(), 1: partial([1, 3])}, parent=PARENT, name="child")
ROUNDS = int(os.environ.get("CLOSING_ROUNDS", "100"))


@pytest.fixture
def path(tmp_path):
    return IMAGE.save(tmp_path / "disk.vhdx")


@pytest.fixture
def busy_threads():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


# ---- closing while others read


class Readers:
    """Threads that read `disk`, whether it is closed or not, and keep what is wrong."""

    def __init__(self, disk):
        self.disk, self.wrong, self.done = disk, [], False
        self.threads = [threading.Thread(target=self.read, args=(into,)) for into in (False, True, False)]

    def read(self, into):
        buffer = bytearray(4096)
        while not self.done:
            disk = self.disk
            with contextlib.suppress(ValueError):
                data = bytes(buffer) if into and disk.preadinto(buffer, 2 * MB + 4096) else disk.pread(4096, MB)
                if data != OURS[:4096]:
                    self.wrong.append(data)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.done = True
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize("opened_as", ["path", "file object"])
@pytest.mark.usefixtures("busy_threads")
def test_closing_under_readers_never_gives_another_files_bytes(opened_as, path, tmp_path):
    """Another file is opened at once, which takes the number that is free. With a file object, that is closed, too."""
    other = tmp_path / "other"
    other.write_bytes(STRANGER)

    def open_disk():
        file = path.open("rb", buffering=0) if opened_as == "file object" else path
        return file, vhdxreader.open(file)

    file, disk = open_disk()
    with Readers(disk) as readers:
        for _ in range(ROUNDS):
            disk.pread(1, MB)
            if opened_as == "file object":
                file.close()
            disk.close()
            strangers = [os.open(other, os.O_RDONLY) for _ in range(4)]
            time.sleep(0)
            file, disk = open_disk()
            readers.disk = disk
            for fd in strangers:
                os.close(fd)
    disk.close()
    if opened_as == "file object":
        file.close()
    assert not readers.wrong


def test_a_closed_disk_reads_nothing_by_any_way(path):
    disk = vhdxreader.open(path)
    assert disk.pread(4, MB) == OURS[:4]
    image, reader, extents = disk.image, disk.pread, disk.extents()
    disk.close()
    strangers = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    for call in (lambda: reader(4, MB), lambda: image.pread(4, MB), lambda: image.preadinto(bytearray(4), 0)):
        with pytest.raises(ValueError, match="closed"):
            call()
    del extents
    for fd in strangers:
        os.close(fd)


def test_closing_gives_the_file_back_at_once(path):
    """What it takes on the medium can be freed, and nobody is kept from unmounting."""
    disk = vhdxreader.open(path)
    disk.close()
    assert str(path) not in [os.path.realpath(f"/dev/fd/{fd}") for fd in os.listdir("/dev/fd")]


def test_closing_where_no_descriptor_is_left(path):
    """Then the file stays open until the disk is gone, and nobody reads it either."""
    code = f"""
import os, resource, vhdxreader
disk = vhdxreader.open({str(path)!r})
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")), 64))
disk.close()
try:
    disk.pread(1, 0)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("I/O operation on closed file\n", "")


# ---- copies


@pytest.mark.parametrize("function", [pickle.dumps, copy.copy, copy.deepcopy])
def test_images_cannot_be_copied(function, path):
    """A copy that is half-made dies, and must not take the descriptor with it."""
    with vhdxreader.open(path) as disk, vhdxreader.read_log(path) as log:
        gc.collect()  # of other tests
        before = os.listdir("/dev/fd")
        for thing in (disk.image, disk.image._source, disk.images, log):
            if function is not copy.copy or thing is not disk.images:
                with pytest.raises(TypeError, match="pickle"):
                    function(thing)
        gc.collect()
        assert os.listdir("/dev/fd") == before
        assert disk.pread(4, MB) == OURS[:4]


def again(disk):
    return pickle.loads(pickle.dumps(disk))


@pytest.mark.parametrize("function", [again, copy.copy, copy.deepcopy])
def test_a_disk_is_copied_as_how_to_open_it(function, path, tmp_path, monkeypatch):
    """Wherever the working directory is by then; each has its own position, and closes for itself."""
    monkeypatch.chdir(tmp_path)
    with vhdxreader.open(path.name) as disk:
        disk.seek(MB - 2)
        monkeypatch.chdir("/")
        other = function(disk)
        assert other.tell() == MB - 2
        assert other.read(4) == OURS[:4]
        assert disk.tell() == MB - 2
        other.close()
        assert disk.read(4) == OURS[:4]
    with pytest.raises(ValueError, match="closed"):
        function(disk)


@pytest.mark.parametrize("how", ["relative", "parent", "disk"])
def test_a_chain_is_copied_with_how_its_parents_are_found(how, tmp_path):
    parent = PARENT.save(tmp_path / ("parent.vhdx" if how == "relative" else "elsewhere.vhdx"))
    child = CHILD.save(tmp_path / "child.avhdx")
    given = {"relative": lambda: None, "parent": lambda: parent, "disk": lambda: vhdxreader.open(parent)}[how]()
    with vhdxreader.open(child, parent=given, log="ignore", errors="zero") as disk:
        other = again(disk)
        assert [image.path for image in other.images] == [image.path for image in disk.images]
        assert other.read() == disk.read() == CHILD.expected()
        assert other.lost == ()
        other.close()
        for image in other.images:
            image.close()
    if how == "disk":
        given.close()


def test_a_disk_over_a_file_object_is_copied_as_that_is(path):
    with vhdxreader.open(io.BytesIO(path.read_bytes())) as disk:
        assert again(disk).read() == OURS * 4
    with path.open("rb") as file, vhdxreader.open(file) as disk, pytest.raises(TypeError, match="pickle"):
        pickle.dumps(disk)


# ---- who keeps what open


def test_the_chain_keeps_the_parents_disk(tmp_path):
    parent, child = PARENT.save(tmp_path / "base.vhdx"), CHILD.save(tmp_path / "child.avhdx")

    def read(**how):
        with vhdxreader.open(child, **how) as disk:
            how.clear()
            gc.collect()
            return disk.read()

    with pytest.warns(ResourceWarning, match="unclosed image file .*base.vhdx"):
        assert read(parent=vhdxreader.open(parent)) == CHILD.expected()
    with pytest.warns(ResourceWarning, match="unclosed image file .*base.vhdx"):
        assert read(parents=lambda _: vhdxreader.open(parent)) == CHILD.expected()


def test_extents_keep_the_disk(path):
    with pytest.warns(ResourceWarning, match="unclosed image file"):
        assert {extent.kind for extent in vhdxreader.open(path).extents()} == {"data"}
    with pytest.warns(ResourceWarning, match="unclosed image file"):
        assert vhdxreader.open(path).image.pread(4, MB) == OURS[:4]


@pytest.mark.parametrize("keeping", ["disk", "[disk]", "cycle", "buffered", "thread"])
def test_the_interpreters_end_prints_nothing(keeping, path):
    code = f"""
import io, threading, vhdxreader
disk = vhdxreader.open({str(path)!r})
disk.read(5)
keeping = {keeping!r}
if keeping == "cycle":
    class Holder: pass
    disk.holder = Holder()
    disk.holder.disk = disk
    del disk
elif keeping == "buffered":
    disk = io.BufferedReader(disk)
elif keeping == "thread":
    thread = threading.Thread(target=lambda: threading.Event().wait(9), daemon=True)
    thread.disk = disk
    thread.start()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ---- what an error keeps


def test_a_failed_read_that_is_remembered_dies_in_silence(tmp_path):
    """Whoever keeps the error makes a cycle with the frames, and these have parts of the buffer. `-X dev` has Python
    3.11 and 3.12 say what newer ones always do."""
    path = dynamic(4 * MB, {n: full() for n in range(3)}).save(tmp_path / "disk.vhdx")
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - MB)
    program = (
        "import gc, sys, vhdxreader\n"
        "def read(disk):\n"
        "    try: disk.pread(3 << 20, 4096)\n"
        "    except OSError as error: kept = error\n"
        "with vhdxreader.open(sys.argv[1]) as disk: read(disk)\n"
        "gc.collect()"
    )
    done = subprocess.run([sys.executable, "-X", "dev", "-c", program, path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


class Dying(io.BytesIO):
    """A file object whose medium fails from an offset on; the part before it is read well."""

    end = 1 << 62

    def readinto(self, buffer):
        if self.tell() >= self.end:
            raise OSError(errno.EIO, "bad sector")
        return super().readinto(memoryview(buffer)[: self.end - self.tell()])


@pytest.mark.parametrize("errors", ["raise", "zero"])
@pytest.mark.parametrize("size", [MB, 3 * MB + 4096], ids=["in one block", "over blocks"])
def test_a_failed_read_keeps_no_view(errors, size):
    """With a traceback in a cycle, views of the half-read bytes made CPython 3.12.1 crash and 3.13 complain."""
    file = Dying(IMAGE.tobytes())
    with vhdxreader.open(file, errors=errors) as disk:
        file.end = next(disk.extents()).file_offset + 512 * 1024
        gc.collect()
        before = views()
        try:
            disk.pread(size, 0)
        except OSError as error:
            kept = error
            assert errors == "raise"
        else:
            kept = list(disk.lost)
        assert kept
        assert views() == before


def views():
    """How many views of the buffer of a `BytesIO` live on."""
    found = []
    for view in [value for value in gc.get_objects() if type(value) is memoryview]:
        with contextlib.suppress(ValueError):  # released
            found.append(type(view.obj).__name__ == "_BytesIOBuffer")
    return sum(found)


# ---- garbage


def raw(path: str) -> io.FileIO:
    return io.FileIO(path)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")
@pytest.mark.parametrize(
    "use",
    [
        lambda path: vhdxreader.open(path, errors="zero").close(),
        lambda path: vhdxreader.open_chain(path).close(),
        lambda path: vhdxreader.check(path),
        lambda path: vhdxreader.open(raw(path)),
        lambda path: vhdxreader.open(path, parent=os.path.dirname(path) + "/gone"),
    ],
    ids=["salvage", "chain", "check", "file object", "given"],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of files that are dropped unclosed
def test_a_missing_parent_keeps_no_descriptor_until_garbage_is_collected(use, tmp_path):
    path = str(CHILD.save(tmp_path / "orphan.avhdx"))
    gc.collect()
    before = os.listdir("/proc/self/fd")
    gc.disable()
    try:
        for _ in range(3):
            with contextlib.suppress(vhdxreader.ParentNotFoundError):
                use(path)
        assert len(os.listdir("/proc/self/fd")) <= len(before)
    finally:
        gc.enable()
