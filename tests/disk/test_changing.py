"""Images that change while they are read: `has_changed`, what commands make of it, and the locks of writers."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from builder import LOG_GUID, MB, Log, LogEntry, bat_entry, differencing, dynamic, full, with_log
from running import running

import vhdxreader
import vhdxreader.tools.check
from vhdxreader import ImageChangedError, convert
from vhdxreader.cli.app import run

SIZE = 64 * MB


class Writer:
    """A qemu-io that has an image open, as a running machine has."""

    def __init__(self, program: str, path: Path) -> None:
        self._process = subprocess.Popen(
            [program, "-f", "vhdx", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.do("length")  # it is open when it has answered

    def do(self, command: str) -> str:
        """What it answers to a command."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        stdin.write(f"{command}\n")
        stdin.flush()
        return stdout.readline()

    def write(self, value: int, offset: int, length: int) -> None:
        assert "wrote" in self.do(f"write -P {value} {offset} {length}")
        self._process.stdout.readline()  # type: ignore[union-attr]

    def close(self) -> None:
        self._process.communicate("quit\n", timeout=30)


@contextmanager
def writing(program: str, path: Path) -> Iterator[Writer]:
    writer = Writer(program, path)
    try:
        yield writer
    finally:
        writer.close()


@pytest.fixture
def qemu_image(tmp_path, witness) -> Path:
    path = tmp_path / "disk.vhdx"
    options = "subformat=dynamic,block_size=1M"
    subprocess.run([witness("qemu-img"), "create", "-q", "-f", "vhdx", "-o", options, path, str(SIZE)], check=True)
    subprocess.run([witness("qemu-io"), "-f", "vhdx", "-c", "write -P 1 0 2M", path], check=True, capture_output=True)
    return path


# ---- has_changed


def test_no_change_is_seen_where_there_is_none(tmp_path):
    path = dynamic(4 * MB, blocks={0: full(), 2: full()}).save(tmp_path / "disk.vhdx")
    with vhdxreader.open(path) as disk:
        disk.read()
        assert not disk.has_changed()
        os.utime(path, ns=(1, os.stat(path).st_mtime_ns))
    with pytest.raises(ValueError, match="closed"):
        disk.has_changed()


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()),
        lambda path: os.truncate(path, 20 * MB),
        lambda path: os.utime(path),
        lambda path: path.with_suffix(".new").write_bytes(path.read_bytes()) and path.with_suffix(".new").replace(path),
    ],
    ids=["written", "grown", "touched", "replaced"],
)
def test_what_the_file_system_says(change, tmp_path):
    path = dynamic(4 * MB, blocks={0: full()}).save(tmp_path / "disk.vhdx")
    with vhdxreader.open(path) as disk:
        change(path)
        assert disk.has_changed()


def in_memory(image) -> io.BytesIO:
    """A file of which nothing is known but its size and its bytes."""
    return io.BytesIO(image.open().read())


def test_headers_are_read_again():
    image = dynamic(4 * MB, blocks={0: full()})
    file = in_memory(image)
    with vhdxreader.open(file) as disk:
        assert not disk.has_changed()
        file.getbuffer()[128 * 1024 + 100] ^= 1  # the older header's reserved bytes count, too
        assert disk.has_changed()


def test_bat_pages_that_were_read_are_read_again():
    """Of a BAT of many pages, only those."""
    image = dynamic(8192 * MB, blocks={0: full(), 8000: full()})
    file = in_memory(image)
    with vhdxreader.open(file) as disk:
        disk.pread(10, 0)
        file.getbuffer()[image.block_entry_offset(8000)] ^= 1
        assert not disk.has_changed()
        file.getbuffer()[image.block_entry_offset(1)] ^= 6
        assert disk.has_changed()


def test_the_log_is_examined_again():
    image = with_log(dynamic(4 * MB), Log(MB, [(0, LogEntry(1))], LOG_GUID))
    more = with_log(dynamic(4 * MB), Log(MB, [(0, LogEntry(1)), (4096, LogEntry(2))], LOG_GUID))
    file = in_memory(image)
    with vhdxreader.open(file) as disk:
        assert not disk.has_changed()
        file.getbuffer()[:] = more.open().read()
        assert disk.has_changed()


def test_a_parent_that_changes(tmp_path):
    parent = dynamic(4 * MB, blocks={0: full()})
    child = differencing(4 * MB, blocks={1: full()}, parent=parent).save(tmp_path / "child.vhdx")
    base = parent.save(tmp_path / "parent.vhdx")
    with vhdxreader.open(child, parent=base) as disk:
        assert not disk.has_changed()
        os.utime(base)
        assert disk.has_changed()


# ---- commands


@pytest.mark.witness
def test_a_write_during_convert_names_no_target(qemu_image, tmp_path, witness):
    """The mixture of before and after had exit code 0."""
    target = tmp_path / "disk.raw"
    with writing(witness("qemu-io"), qemu_image) as writer, vhdxreader.open(qemu_image) as disk:

        def write(done: int, _size: int) -> None:
            if done == 2 * MB:
                writer.write(9, 0, MB)
                writer.write(9, 40 * MB, MB)

        with pytest.raises(ImageChangedError, match=r"of no one moment.*rule file\.changed"):
            convert(disk, target, progress=write)
        assert not target.exists()
        convert(disk, target, changing=True)
        assert target.stat().st_size == SIZE


class Slow(io.BytesIO):
    """A target that has something happen while it is written to."""

    def __init__(self, event) -> None:
        super().__init__()
        self.event = event

    def write(self, data) -> int:
        event, self.event = self.event, lambda: None
        event()
        return super().write(data)


def test_a_second_reading_sees_a_block_overwritten_in_place():
    """Where nothing else tells: a file object, whose size stays."""
    image = dynamic(4 * MB, blocks={0: full(), 2: full()})
    file = in_memory(image)

    def overwrite() -> None:
        file.getbuffer()[image.block_offset[0] + 5] ^= 1

    with vhdxreader.open(file) as disk:
        convert(disk, Slow(lambda: None), verify_source=True)
        convert(disk, Slow(overwrite))
        with pytest.raises(ImageChangedError):
            convert(disk, Slow(overwrite), verify_source=True)


def test_verify_source_of_a_file(tmp_path, capsys):
    image = dynamic(4 * MB + 512, blocks={0: full(), 2: full(), 4: full()})
    path, target = image.save(tmp_path / "disk.vhdx"), tmp_path / "disk.raw"
    assert run(["convert", "--verify-source", str(path), str(target)]) == 0
    assert target.read_bytes() == image.expected()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("command", ["cat", "convert"])
def test_commands_end_with_1_unless_told_otherwise(command, tmp_path, capfdbinary, monkeypatch):
    path, target = dynamic(4 * MB, blocks={0: full()}).save(tmp_path / "disk.vhdx"), tmp_path / "disk.raw"
    real = vhdxreader.VirtualDisk.preadinto

    def touched(disk, buffer, offset):
        os.utime(path)
        return real(disk, buffer, offset)

    monkeypatch.setattr(vhdxreader.VirtualDisk, "preadinto", touched)
    arguments = [command, str(path), *([str(target), "--verify-source"] if command == "convert" else [])]
    assert run(arguments) == 1
    assert b"rule file.changed" in capfdbinary.readouterr().err
    assert not target.exists()
    assert run([*arguments, "--changing"]) == 0
    assert b"warning: " in capfdbinary.readouterr().err


def test_damage_of_a_changed_image_is_not_blamed_on_it(tmp_path, capfdbinary, monkeypatch):
    """The file grew and its BAT with it, but we know the old size."""
    image = dynamic(8192 * MB, blocks={0: full()})
    path = image.save(tmp_path / "disk.vhdx")
    real = vhdxreader.VirtualDisk.preadinto

    def grown(disk, buffer, offset):
        end = os.stat(path).st_size
        with path.open("r+b") as file:
            file.truncate(end + MB)
            file.seek(image.block_entry_offset(5000))
            file.write(bat_entry(6, end).to_bytes(8, "little"))
        return real(disk, buffer, offset)

    monkeypatch.setattr(vhdxreader.VirtualDisk, "preadinto", grown)
    assert run(["cat", str(path), "--offset", "5000M", "--length", "1"]) == 1
    assert b"rule file.changed" in capfdbinary.readouterr().err


def test_check_has_no_verdict_on_a_moving_image(tmp_path, capsys, monkeypatch):
    """A sound image that grows was called corrupt."""
    image = dynamic(4 * MB, blocks={0: full()}, overrides={"block[1]": bat_entry(6, 100 * MB)})
    path = image.save(tmp_path / "disk.vhdx")
    assert run(["check", str(path)]) == 2
    real = vhdxreader.tools.check.BlockWalk.run

    def grown(walk, **options):
        os.truncate(path, 200 * MB)
        real(walk, **options)

    monkeypatch.setattr(vhdxreader.tools.check.BlockWalk, "run", grown)
    report = vhdxreader.check(path)
    assert (report.changed, report.is_corrupt, report.counts["file.changed"]) == (True, False, 1)
    os.truncate(path, 10 * MB)
    assert run(["check", str(path)]) == 1
    assert "of no one moment" in capsys.readouterr().out


def test_info_of_a_moving_image(tmp_path, capsys, monkeypatch):
    path = dynamic(4 * MB).save(tmp_path / "disk.vhdx")
    real = vhdxreader.VhdxImage.has_changed

    def touched(image):
        os.utime(path)
        return real(image)

    assert run(["info", str(path)]) == 0
    monkeypatch.setattr(vhdxreader.VhdxImage, "has_changed", touched)
    assert run(["info", str(path)]) == 1
    assert "file.changed" in capsys.readouterr().out


# ---- locks


@pytest.mark.witness
@pytest.mark.skipif(sys.platform != "linux", reason="locks are looked for on Linux only")
def test_a_writers_lock_is_a_finding(qemu_image, witness, capsys):
    with writing(witness("qemu-io"), qemu_image):
        with vhdxreader.open(qemu_image) as disk:
            found = {finding.rule: finding for finding in disk.image.findings}
            assert "QEMU" in found["file.locked"].message
            assert found["file.locked"].severity is vhdxreader.Severity.WARNING
        assert run(["check", str(qemu_image)]) == 3
        assert "file.locked" in capsys.readouterr().out
        with qemu_image.open("rb") as file, vhdxreader.open(file) as disk:
            assert "file.locked" in {finding.rule for finding in disk.image.findings}
    with vhdxreader.open(qemu_image) as disk:
        assert "file.locked" not in {finding.rule for finding in disk.image.findings}


@pytest.mark.skipif(sys.platform != "linux", reason="locks are looked for on Linux only")
def test_other_locks(tmp_path):
    import fcntl

    path = dynamic(4 * MB).save(tmp_path / "disk.vhdx")

    def rules() -> set[str]:
        with vhdxreader.open(path) as disk:
            return {finding.rule for finding in disk.image.findings}

    with path.open("r+b") as other:
        for kind, is_found in ((fcntl.LOCK_EX, True), (fcntl.LOCK_SH, False)):
            fcntl.flock(other, kind)
            assert ("file.locked" in rules()) is is_found
        fcntl.flock(other, fcntl.LOCK_UN)
        code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX); print('held'); input()"
    with running(
        [sys.executable, "-uc", code.replace("open(", "f := open("), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        assert "file.locked" in rules()
        holder.communicate(b"\n")
    assert rules() == set()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.ETXTBSY])
def test_a_sharing_violation_says_what_to_do(number, tmp_path, capsys, monkeypatch):
    """What Linux gives for a file on a share that Windows has open for itself."""

    def refuse(path, *_arguments, **_options):
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "open", refuse)
    assert run(["info", str(tmp_path / "disk.vhdx")]) == 1
    said = capsys.readouterr().err
    assert "checkpoint" in said
    assert "snapshot" in said
