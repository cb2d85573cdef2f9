"""A file object is what its methods say, and its position is one, however many disks are over it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import threading

import pytest
from builder import MB, dynamic, full

import vhdxreader

IMAGE = dynamic(4 * MB, {n: full() for n in range(4)})
DATA = IMAGE.expected()
READS = int(os.environ.get("SHARED_READS", "2000"))


class Part:
    """A part of a container; what it does not have itself is the container's."""

    def __init__(self, container, start):
        self._container, self._start, self._at = container, start, 0
        self.raw = container

    def read(self, size=-1):
        self._container.seek(self._start + self._at)
        data = self._container.read(size)
        self._at += len(data)
        return data

    def seek(self, offset, whence=0):
        self._at = offset if whence == 0 else IMAGE.file.length + offset
        return self._at

    def tell(self):
        return self._at

    def __getattr__(self, name):
        return getattr(self._container, name)


def test_part_of_a_container(tmp_path):
    """It has a hole where the part has data."""
    with (tmp_path / "container").open("wb") as file:
        file.seek(64 * MB)
        file.write(IMAGE.tobytes())
    with (tmp_path / "container").open("rb", buffering=0) as file, vhdxreader.open(Part(file, 64 * MB)) as disk:
        assert disk.read() == DATA
        vhdxreader.convert(disk, tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == DATA


@pytest.mark.parametrize("kind", ["memory", "raw", "buffered"])
def test_two_disks_over_one_file_object(kind, tmp_path):
    path = IMAGE.save(tmp_path / "disk.vhdx")
    file = io.BytesIO(IMAGE.tobytes()) if kind == "memory" else path.open("rb", buffering=0 if kind == "raw" else -1)
    wrong = []

    def read(seed):
        rng = random.Random(seed)
        with vhdxreader.open(file) as disk:
            for _ in range(READS):
                at = rng.randrange(4 * MB - 4096)
                if disk.pread(4096, at) != DATA[at : at + 4096] or not vhdxreader.is_vhdx(file):
                    wrong.append(at)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert not wrong


@pytest.mark.parametrize("kind", ["path", "memory", "raw"])
def test_a_signal_handler_may_read_the_same_disk(kind, tmp_path):
    """It ends: with right bytes, or an error."""
    path = IMAGE.save(tmp_path / "disk.vhdx")
    file = {"path": lambda: path, "memory": lambda: io.BytesIO(IMAGE.tobytes()), "raw": lambda: path.open("rb", 0)}[
        kind
    ]()
    seen = []

    def handler(*_):
        try:
            seen.append(disk.pread(1000, MB + 5) == DATA[MB + 5 : MB + 1005])
        except RuntimeError:
            seen.append(True)

    before = signal.signal(signal.SIGALRM, handler)
    with vhdxreader.open(file) as disk:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        try:
            while len(seen) < 50:
                assert disk.pread(1000, 7) == DATA[7:1007]
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
    if kind == "raw":
        file.close()
    assert all(seen)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no process is forked here")
@pytest.mark.parametrize("kind", ["raw", "to write, too", "part", "memory"])
def test_both_processes_of_a_fork_read(kind, tmp_path):
    """Right bytes, or an error in the new one; the one position is then the old one's, also at the end."""
    path = IMAGE.save(tmp_path / "disk.vhdx")
    with path.open("r+b" if kind == "to write, too" else "rb", buffering=0 if kind == "raw" else -1) as under:
        file = {"part": lambda: Part(under, 0), "memory": lambda: io.BytesIO(IMAGE.tobytes())}.get(
            kind, lambda: under
        )()
        file.seek(17)
        disk = vhdxreader.open(file)
        child = os.fork()
        if not child:
            code = 70
            with contextlib.suppress(BaseException):
                wrong = read_here_and_there(disk, errors_do=kind in ("part", "to write, too"))
                disk.close()
                code = wrong if disk.closed else 71
            os._exit(code)
        assert read_here_and_there(disk) == 0
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert read_here_and_there(disk) == 0
        disk.close()
        assert file.tell() == 17


def read_here_and_there(disk, *, errors_do=False):
    """How many of the reads went wrong, up to 50; where an error is no such, each has to be one."""
    wrong = 0
    rng = random.Random(os.getpid())
    for _ in range(500):
        at = rng.randrange(4 * MB - 4096)
        try:
            wrong += disk.pread(4096, at) != DATA[at : at + 4096] or errors_do
        except RuntimeError:
            wrong += not errors_do
    return min(wrong, 50)
