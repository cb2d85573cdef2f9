"""Where a file has data, by systems that tell it in their own ways: nothing that is data is left out, and it ends."""

from __future__ import annotations

import errno
import os
from itertools import islice

import pytest

from vhdxreader.files import descriptors

if not hasattr(os, "SEEK_DATA"):
    pytest.skip("the system does not tell", allow_module_level=True)

KB = 1024
DATA, END = (256 * KB, 320 * KB), 1024 * KB


def fails(number):
    def lseek(*_):
        raise OSError(number, os.strerror(number))

    return lseek


def only(whence, answer):
    """The system's answers, but those to one of the questions."""

    def lseek(fd, offset, asked, seek=os.lseek):
        return answer(fd, offset, asked) if asked == whence else seek(fd, offset, asked)

    return lseek


SYSTEMS = {
    "this one": os.lseek,
    "invalid": fails(errno.EINVAL),  # macFUSE
    "not for this device": fails(errno.ENOTTY),
    "not supported": fails(errno.EOPNOTSUPP),
    "always the start": only(os.SEEK_DATA, lambda *_: 0),  # ZFS, of a hole at the end
    "always the end": only(os.SEEK_HOLE, lambda *_: END),
    "no end of data": only(os.SEEK_HOLE, fails(errno.ENXIO)),
    "a hole of no size": only(os.SEEK_HOLE, lambda *asked: asked[1]),
    "everything is data": lambda *asked: asked[1] if asked[2] == os.SEEK_DATA else END,
}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("start", [0, DATA[0] + 4 * KB])
def test_no_data_is_left_out(system, start, tmp_path, monkeypatch):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(END)
        file.seek(DATA[0])
        file.write(b"x" * (DATA[1] - DATA[0]))
    fd = os.open(path, os.O_RDONLY)
    monkeypatch.setattr(os, "lseek", SYSTEMS[system])
    ranges = list(islice(descriptors.data_ranges(fd, start, END), 1000))
    monkeypatch.undo()
    os.close(fd)
    assert len(ranges) < 1000
    at = [start, *(place for found in ranges for place in found), END]
    assert at == sorted(at)
    assert any(first <= max(DATA[0], start) and last >= DATA[1] for first, last in ranges)
