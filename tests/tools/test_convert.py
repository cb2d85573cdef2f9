"""Export to raw: the disk's bytes, holes, and never a file that is not whole."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import io
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from builder import (
    KB,
    MB,
    TB,
    differencing,
    dirty,
    dynamic,
    fixed,
    full,
    hide,
    not_present,
    partial,
    reserved,
    zeroed,
)

import vhdxreader
from vhdxreader import convert
from vhdxreader.cli.app import run

ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="holes and signals as Linux has them")


def parent_and_child(tmp_path: Path) -> tuple[Path, bytes]:
    parent = dynamic(6 * MB, {0: full(), 1: full(), 3: full(), 5: full()}, name="parent")
    sectors = [*range(100), *range(101, 2000, 2)]
    child = differencing(7 * MB, {0: partial(sectors), 1: full(), 2: zeroed(), 3: zeroed()}, parent=parent)
    parent.save(tmp_path / "parent.vhdx")
    return child.save(tmp_path / "child.vhdx"), child.expected()


def dirty_image(tmp_path: Path) -> tuple[Path, bytes]:
    image = dynamic(4 * MB, {0: full(), 2: full()})
    place = image.block_offset[2]
    stale, updates = hide(image, (place + 64 * KB, 100 * KB), (image.block_entry_offset(0) // 4096 * 4096, 4096))
    return dirty(stale, updates).save(tmp_path / "dirty.vhdx"), image.expected()


def built(**spec: object) -> Callable[[Path], tuple[Path, bytes]]:
    def make(tmp_path: Path) -> tuple[Path, bytes]:
        image = dynamic(**spec)
        return image.save(tmp_path / "disk.vhdx"), image.expected()

    return make


def fixed_image(tmp_path: Path) -> tuple[Path, bytes]:
    image = fixed(3 * MB, {1: full(b"only this")})
    return image.save(tmp_path / "disk.vhdx"), image.expected()


IMAGES = {
    "blocks": built(virtual_size=10 * MB, blocks={0: full(), 3: full(b"x" * 5000), 5: zeroed(), 9: full()}),
    "odd end": built(virtual_size=3 * MB - 7 * 512, blocks={2: full()}, pad_last_block=False),
    "4 KiB sectors": built(virtual_size=8 * MB, block_size=2 * MB, sector_size=4096, blocks={1: full()}),
    "of no bytes": built(virtual_size=0),
    "fixed": fixed_image,
    "chain": parent_and_child,
    "dirty": dirty_image,
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """5 MiB, of which the first and the last are data."""
    return dynamic(5 * MB, {0: full(), 4: full()}).save(tmp_path / "disk.vhdx")


def open_descriptors() -> list[str]:
    gc.collect()  # what other tests left
    return sorted(os.listdir("/dev/fd"))


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".vhdxreader-*"))


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("options", [{}, {"detect_zeroes": True}, {"sparse": False}], ids=str)
def test_the_file_has_the_disks_bytes(tmp_path: Path, name: str, options: dict[str, bool]) -> None:
    path, expected = IMAGES[name](tmp_path)
    with vhdxreader.open(path) as disk:
        convert(disk, tmp_path / "disk.raw", **options)
    assert (tmp_path / "disk.raw").read_bytes() == expected
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("name", IMAGES)
def test_a_stream_gets_the_same_bytes(tmp_path: Path, name: str) -> None:
    path, expected = IMAGES[name](tmp_path)
    for out in (io.BytesIO(), Stingy()):
        with vhdxreader.open(path) as disk:
            convert(disk, out)
        assert out.getvalue() == expected


class Stingy(io.BytesIO):
    """Takes 100 000 bytes at a time, as a pipe may."""

    def write(self, data: memoryview) -> int:
        return super().write(data[:100_000])


class Uncounting(io.BytesIO):
    """Does not say how much it took, as many classes that people write."""

    def write(self, data: memoryview) -> None:  # type: ignore[override]
        super().write(data)


class Full(io.RawIOBase):
    """As a pipe that does not block, when nobody reads."""

    def __init__(self, answer: int | None) -> None:
        self.answer = answer

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> int | None:
        return self.answer


def test_a_file_object_that_does_not_count(image: Path) -> None:
    out = Uncounting()
    with vhdxreader.open(image) as disk:
        convert(disk, out)
        assert out.getvalue() == disk.read()


@pytest.mark.parametrize("answer", [None, 0])
def test_a_file_object_that_takes_nothing(image: Path, answer: int | None) -> None:
    with vhdxreader.open(image) as disk, pytest.raises(BlockingIOError):
        convert(disk, Full(answer))


def refuse(*_: object) -> int:
    raise OSError(errno.EXDEV, "not across file systems")


def copy_little(source: int, target: int, count: int, where: int, offset: int) -> int:
    return os.pwrite(target, os.pread(source, min(count, 70_000), where), offset)


def copy_nothing(*_: object) -> int:
    return 0


@pytest.mark.skipif(not hasattr(os, "copy_file_range"), reason="the system cannot copy for us")
@pytest.mark.parametrize("instead", [refuse, copy_little, copy_nothing, None])
def test_it_does_not_depend_on_the_kernels_copying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: Callable[..., int] | None
) -> None:
    path, expected = IMAGES["blocks"](tmp_path)
    if instead is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", instead)
    with vhdxreader.open(path) as disk:
        convert(disk, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == expected


def test_an_image_given_as_a_file_object(tmp_path: Path) -> None:
    path, expected = IMAGES["blocks"](tmp_path)
    with path.open("rb") as file, vhdxreader.open(file) as disk:
        convert(disk, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == expected


# ---- holes


def used(path: Path) -> int:
    return path.stat().st_blocks * 512


@ON_LINUX
def test_zero_and_absent_blocks_are_holes(tmp_path: Path) -> None:
    image = dynamic(40 * MB, {1: full(), 20: zeroed(), 39: full()}).save(tmp_path / "disk.vhdx")
    for name, sparse in (("sparse.raw", True), ("whole.raw", False)):
        with vhdxreader.open(image) as disk:
            convert(disk, tmp_path / name, sparse=sparse)
    assert 2 * MB <= used(tmp_path / "sparse.raw") < 2 * MB + 64 * KB
    assert used(tmp_path / "whole.raw") >= 40 * MB
    assert (tmp_path / "sparse.raw").stat().st_size == 40 * MB


@ON_LINUX
def test_zeros_inside_data_are_holes_if_asked_for(tmp_path: Path) -> None:
    content = (b"a" * 4096 + bytes(60 * KB)) * 16
    image = dynamic(4 * MB, {0: full(content), 1: full(bytes(MB)), 3: full(bytes(MB - 1) + b"z")})
    path = image.save(tmp_path / "disk.vhdx")
    for name, detect in (("as_is.raw", False), ("detected.raw", True)):
        with vhdxreader.open(path) as disk:
            convert(disk, tmp_path / name, detect_zeroes=detect)
        assert (tmp_path / name).read_bytes() == image.expected()
    assert used(tmp_path / "as_is.raw") >= 3 * MB
    assert 17 * 4096 <= used(tmp_path / "detected.raw") <= 17 * 4096 + 64 * KB


@ON_LINUX
def test_holes_of_the_image_are_holes(tmp_path: Path) -> None:
    image = fixed(20 * MB, {7: full(b"only this")})
    with vhdxreader.open(image.save(tmp_path / "disk.vhdx")) as disk:
        convert(disk, tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == image.expected()
    assert used(tmp_path / "disk.raw") <= 64 * KB


# ---- what must not be overwritten


def test_what_exists_stays_unless_told_otherwise(tmp_path: Path, image: Path) -> None:
    target = tmp_path / "disk.raw"
    target.write_bytes(b"precious")
    with vhdxreader.open(image) as disk:
        with pytest.raises(FileExistsError):
            convert(disk, target)
        assert target.read_bytes() == b"precious"
        convert(disk, target, overwrite=True)
        assert target.read_bytes() == disk.read()
    assert not leftovers(tmp_path)


def test_what_came_there_meanwhile_stays(tmp_path: Path, image: Path) -> None:
    target = tmp_path / "disk.raw"
    with vhdxreader.open(image) as disk, pytest.raises(FileExistsError):
        convert(disk, target, progress=lambda *_: target.write_bytes(b"precious"))
    assert target.read_bytes() == b"precious"
    assert not leftovers(tmp_path)


def test_where_there_are_no_hard_links(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_link(*_: str) -> None:
        raise PermissionError(errno.EPERM, "no hard links")

    monkeypatch.setattr(os, "link", refuse_link)
    with vhdxreader.open(image) as disk:
        convert(disk, tmp_path / "disk.raw")
        assert (tmp_path / "disk.raw").read_bytes() == disk.read()
        with pytest.raises(FileExistsError):
            convert(disk, tmp_path / "other.raw", progress=lambda *_: (tmp_path / "other.raw").touch())
    assert not leftovers(tmp_path)


def test_a_symbolic_link_is_followed(tmp_path: Path, image: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "link.raw").symlink_to(tmp_path / "inner" / "disk.raw")
    for overwrite in (False, True):
        with vhdxreader.open(image) as disk:
            convert(disk, tmp_path / "link.raw", overwrite=overwrite)
            assert (tmp_path / "inner" / "disk.raw").read_bytes() == disk.pread(disk.size, 0)
    assert (tmp_path / "link.raw").is_symlink()


@pytest.mark.parametrize("member", ["child.vhdx", "parent.vhdx"])
@pytest.mark.parametrize("way", ["itself", "hard link", "symbolic link", "dotted"])
def test_never_an_image_of_the_chain(tmp_path: Path, member: str, way: str) -> None:
    path, _ = parent_and_child(tmp_path)
    target = {"itself": tmp_path / member, "dotted": tmp_path / "." / ".." / tmp_path.name / member}.get(way)
    if target is None:
        target = tmp_path / "link"
        (target.hardlink_to if way == "hard link" else target.symlink_to)(tmp_path / member)
    before = (tmp_path / member).read_bytes()
    with vhdxreader.open(path) as disk:
        with pytest.raises(shutil.SameFileError):
            convert(disk, target, overwrite=True)
        with pytest.raises(shutil.SameFileError):
            convert(disk, tmp_path / "disk.raw", lost_map=target, overwrite=True)
    assert (tmp_path / member).read_bytes() == before
    assert not (tmp_path / "disk.raw").exists()
    assert not leftovers(tmp_path)


def bind(path: Path) -> None:
    """A special file of the test's own: where the code is wrong and root runs it, no device may be lost."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@ON_LINUX
@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
@pytest.mark.parametrize(
    "words", [["convert", "--mapfile", "{0}", "{1}", "{2}"], ["skeleton", "{1}", "{0}"]], ids=lambda words: words[0]
)
def test_nothing_but_files_is_replaced(tmp_path: Path, image: Path, kind: str, words: list[str]) -> None:
    special = tmp_path / "special"
    {"pipe": os.mkfifo, "socket": bind, "folder": os.mkdir}[kind](special)
    before = special.stat()
    assert run([*(word.format(special, image, tmp_path / "disk.raw") for word in words), "--force"]) == 1
    assert special.stat().st_ino == before.st_ino
    assert not (tmp_path / "disk.raw").exists()
    assert not leftovers(tmp_path)


def test_a_folder_is_refused_before_anything_is_copied(tmp_path: Path, image: Path) -> None:
    seen: list[int] = []
    with vhdxreader.open(image) as disk, pytest.raises(OSError, match="not a regular file"):
        convert(disk, tmp_path, overwrite=True, progress=lambda done, _: seen.append(done))
    assert not seen


@ON_LINUX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_what_replaces_a_file_has_its_permissions(tmp_path: Path, image: Path, mode: int) -> None:
    target = tmp_path / "disk.raw"
    target.touch()
    target.chmod(mode)
    seen: set[int] = set()
    with vhdxreader.open(image) as disk:
        convert(
            disk,
            target,
            overwrite=True,
            progress=lambda *_: seen.update(path.stat().st_mode & 0o777 for path in leftovers(tmp_path)),
        )
        assert target.read_bytes() == disk.read()
    assert seen == {mode}
    assert target.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("buffering", [0, -1])
def test_never_an_image_given_as_a_file_object(tmp_path: Path, image: Path, buffering: int) -> None:
    before = image.read_bytes()
    with image.open("rb", buffering=buffering) as file, vhdxreader.open(file) as disk:
        with pytest.raises(shutil.SameFileError):
            convert(disk, image, overwrite=True)
        with pytest.raises(shutil.SameFileError):
            convert(disk, tmp_path / "disk.raw", lost_map=image, overwrite=True)
    assert image.read_bytes() == before


def pretend_device(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Have a file of the test's own look like the block device of this number."""
    inode = path.stat().st_ino

    def wrap(real: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def pretended(*arguments: object, **options: object) -> os.stat_result:
            status = real(*arguments, **options)
            if status.st_ino != inode:
                return status
            fields = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
            return types.SimpleNamespace(**{**fields, "st_mode": stat.S_IFBLK | 0o600, "st_rdev": number})  # type: ignore[return-value]

        return pretended

    for name in ("stat", "fstat"):
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))


@ON_LINUX
@pytest.mark.parametrize("where", ["on it", "it itself", "elsewhere"])
def test_a_block_device_is_not_overwritten_with_an_image_on_it(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    device = tmp_path / "device"
    device.write_bytes(image.read_bytes())
    before = device.read_bytes()
    pretend_device(monkeypatch, device, image.stat().st_dev + (where != "on it"))
    with vhdxreader.open(device if where == "it itself" else image) as disk:
        if where == "elsewhere":
            convert(disk, device, overwrite=True)
            assert device.read_bytes()[: disk.size] == disk.read()
            return
        with pytest.raises(shutil.SameFileError):
            convert(disk, device, overwrite=True)
    assert device.read_bytes() == before


# ---- errors on the way


def test_nothing_is_left_of_a_failed_write(tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = open_descriptors()
    for failing in ("write", "fsync"):
        with monkeypatch.context() as patch, vhdxreader.open(image) as disk:
            patch.setattr(os, "copy_file_range", no_space, raising=False)
            patch.setattr(os, failing, no_space)
            with pytest.raises(OSError, match="No space left") as caught:
                convert(disk, tmp_path / "disk.raw")
            assert caught.value.errno == errno.ENOSPC
        del disk, caught  # a closed disk keeps its descriptor's number as long as somebody could read by it
        assert open_descriptors() == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["disk.vhdx"]


@ON_LINUX
def test_a_full_device_and_the_largest_file_size(image: Path) -> None:
    assert run(["convert", str(image), "/dev/full"]) == 1
    limited = f"ulimit -f 100; exec {sys.executable} -m vhdxreader convert {image} {image.parent}/disk.raw"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert sorted(path.name for path in image.parent.iterdir()) == ["disk.vhdx"]


def test_nothing_is_left_where_the_image_is_corrupt(tmp_path: Path) -> None:
    path = dynamic(3 * MB, {0: full(), 2: reserved()}).save(tmp_path / "disk.vhdx")
    assert run(["convert", str(path), str(tmp_path / "disk.raw")]) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["disk.vhdx"]


@pytest.mark.parametrize("as_object", [False, True])
@pytest.mark.parametrize("left", [4, 5, 7])
def test_an_image_that_shrinks_is_an_error_and_no_zeros(tmp_path: Path, as_object: bool, left: int) -> None:
    path = fixed(8 * MB, {n: full() for n in range(8)}).save(tmp_path / "disk.vhdx")
    with path.open("rb") as file, vhdxreader.open(file if as_object else path) as disk:
        os.truncate(path, left * MB)
        with pytest.raises(vhdxreader.ImageChangedError):
            convert(disk, tmp_path / "disk.raw")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["disk.vhdx"]


def test_a_folder_that_is_not_there(tmp_path: Path, image: Path) -> None:
    with vhdxreader.open(image) as disk, pytest.raises(FileNotFoundError):
        convert(disk, tmp_path / "nowhere" / "disk.raw")


def test_messages_name_the_target_and_the_way_out(
    tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere, there = tmp_path / "nowhere" / "disk.raw", tmp_path / "there"
    there.touch()
    for command in ("convert", "skeleton"):
        assert run([command, str(image), str(nowhere)]) == 1
        assert str(nowhere) in (said := capsys.readouterr().err)
        assert ".part" not in said
        assert run([command, str(image), str(there)]) == 1
        assert str(there) in (said := capsys.readouterr().err)
        assert "--force" in said


STEPS = ("open", "truncate", "lseek", "write", "copy_file_range", "fsync", "close", "link", "replace", "unlink")


def write_and_die(command: list[str], number: int, at: int, source: Path, target: Path) -> bool:
    """Write in a child process that sends itself a signal before step `at`; whether it came so far."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            count = 0

            def stop_before(step: Callable[..., object]) -> Callable[..., object]:
                def stepped(*arguments: object) -> object:
                    nonlocal count
                    count += 1
                    if count == at:
                        os.kill(os.getpid(), number)
                    return step(*arguments)

                return stepped

            for name in STEPS:
                setattr(os, name, stop_before(getattr(os, name)))
            os._exit(run([*command, "--force", str(source), str(target)]))
        os._exit(99)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL, 130)
    return code != 0


@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # by threads of other tests
@ON_LINUX
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("command", [["convert", "--detect-zeroes"], ["skeleton"]], ids=lambda words: words[0])
def test_a_signal_at_any_step_leaves_a_whole_file_or_none(
    tmp_path: Path, image: Path, command: list[str], name: str
) -> None:
    number: int = getattr(signal, name)
    target = tmp_path / "disk.raw"
    assert run([*command, str(image), str(target)]) == 0
    whole = target.read_bytes()
    for step in range(1, 1000):
        target.unlink(missing_ok=True)
        stopped = write_and_die(command, number, step, image, target)
        assert target.read_bytes() == whole if target.exists() else stopped
        if number == signal.SIGKILL:
            for path in leftovers(tmp_path):
                path.unlink()
        assert not leftovers(tmp_path)
        if not stopped:
            break
    assert 10 < step < 999


@ON_LINUX
def test_a_signal_that_is_ignored_stays_so(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def look(*_: object, **__: object) -> None:
        seen.append([signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL])

    monkeypatch.setattr("vhdxreader.convert", look)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        run(["convert", str(image), str(image.parent / "disk.raw")])
        assert seen == [[signal.SIG_IGN, False]]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- salvage


def test_what_was_lost_is_in_a_mapfile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = dynamic(5 * MB, {0: full(), 1: reserved(4), 2: reserved(5), 4: full()})
    path, target = image.save(tmp_path / "disk.vhdx"), tmp_path / "disk.raw"
    assert run(["convert", "--salvage", str(path), str(target)]) == 2
    data = target.read_bytes()
    assert data[:MB] == image.expected(0, MB)
    assert data[MB : 4 * MB] == bytes(3 * MB)
    assert data[4 * MB :] == image.expected(4 * MB, MB)
    lines = [line.split() for line in (tmp_path / "disk.raw.map").read_text().splitlines() if line[0] != "#"]
    assert lines[0] == ["0x00500000", "+", "1"]
    blocks = [(int(start, 16), int(size, 16), status) for start, size, status in lines[1:]]
    assert blocks == [(0, MB, "+"), (MB, 2 * MB, "-"), (3 * MB, 2 * MB, "+")]
    assert "lost" in capsys.readouterr().err


def test_a_mapfile_of_a_run_that_lost_nothing(tmp_path: Path, image: Path) -> None:
    assert (
        run(["convert", "--salvage", "--mapfile", str(tmp_path / "map"), str(image), str(tmp_path / "disk.raw")]) == 0
    )
    assert "0x00000000  0x00500000  +" in (tmp_path / "map").read_text().splitlines()


def test_an_existing_mapfile_stays(tmp_path: Path, image: Path) -> None:
    (tmp_path / "disk.raw.map").write_text("precious")
    assert run(["convert", "--salvage", str(image), str(tmp_path / "disk.raw")]) == 1
    assert (tmp_path / "disk.raw.map").read_text() == "precious"
    assert not (tmp_path / "disk.raw").exists()


@pytest.mark.parametrize("way", ["exists", "is the target", "is linked to it", "has no folder"])
def test_a_mapfile_that_cannot_be_written_is_known_before_the_copy(tmp_path: Path, image: Path, way: str) -> None:
    target, place = tmp_path / "disk.raw", tmp_path / "map"
    if way == "exists":
        place.write_text("precious")
    elif way == "is the target":
        place = tmp_path / "." / "disk.raw"
    elif way == "is linked to it":
        place.symlink_to(target)
    else:
        place = tmp_path / "nowhere" / "map"
    seen: list[int] = []
    with vhdxreader.open(image, errors="zero") as disk, pytest.raises(OSError, match=r"disk\.raw|map"):
        convert(disk, target, lost_map=place, overwrite=way != "exists", progress=lambda done, _: seen.append(done))
    assert not seen
    assert not target.exists()
    assert not leftovers(tmp_path)


def test_a_lost_parent_is_not_read_at_all(tmp_path: Path) -> None:
    parent = dynamic(4 * TB, name="parent")
    path = differencing(4 * TB, {1: full(), 2: not_present()}, parent=parent).save(tmp_path / "child.vhdx")
    with vhdxreader.open(path, parents=None, errors="zero") as disk, (tmp_path / "disk.raw").open("w+b") as file:
        for extent in disk.extents(length=4 * MB):
            if not extent.data:
                disk.account(extent)
        assert [(lost.disk_offset, lost.length) for lost in disk.lost] == [(0, MB), (2 * MB, 2 * MB)]
        assert not file.read()
    with vhdxreader.open(path, parents=None) as disk, pytest.raises(vhdxreader.ParentNotFoundError):
        convert(disk, tmp_path / "other.raw")


# ---- the command


def test_standard_output(tmp_path: Path) -> None:
    path, expected = IMAGES["blocks"](tmp_path)
    command = [sys.executable, "-m", "vhdxreader", "convert", "--progress", str(path), "-"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == expected


def test_progress_rises_to_the_end(tmp_path: Path) -> None:
    path, expected = IMAGES["chain"](tmp_path)
    seen: list[int] = []
    with vhdxreader.open(path) as disk:
        convert(disk, tmp_path / "disk.raw", progress=lambda done, _: seen.append(done))
    assert seen == sorted(seen)
    assert seen[-1] == len(expected)


@ON_LINUX
def test_other_kinds_of_target(tmp_path: Path, image: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = subprocess.Popen(["sha256sum", fifo], stdout=subprocess.PIPE, text=True)
    assert run(["convert", str(image), str(fifo)]) == 0
    with vhdxreader.open(image) as disk:
        assert reader.communicate()[0].split()[0] == hashlib.sha256(disk.read()).hexdigest()
    assert run(["convert", str(image), "/dev/null"]) == 0
    assert run(["convert", str(image), str(tmp_path)]) == 1
    assert fifo.is_fifo()
