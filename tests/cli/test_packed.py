"""Images in archives and on standard input: the same answers, bounded space, and nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import subprocess
import sys
import zipfile
import zlib

import pytest
from builder import MB, dynamic, full

import vhdxreader
from vhdxreader import UnsupportedImageError, VhdxError, is_packed, open_unpacked
from vhdxreader.cli.app import run

IMAGE = dynamic(4 * MB, {0: full(), 2: full()})
RAW = IMAGE.tobytes()
DIGEST = hashlib.sha256(IMAGE.expected(0, 4 * MB)).hexdigest()


def zipped(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


PACKED = {
    "disk.vhdx.gz": gzip.compress(RAW),
    "disk.vhdx.xz": lzma.compress(RAW),
    "two.vhdx.xz": lzma.compress(RAW[:MB]) + lzma.compress(RAW[MB:]),
    "disk.vhdx.bz2": bz2.compress(RAW),
    "disk.ZIP": zipped(disk=RAW),
}


@pytest.fixture
def folder(tmp_path):
    for name, data in PACKED.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("name", PACKED)
def test_the_image_in_an_archive(folder, name, capsys):
    assert is_packed(folder / name)
    with open_unpacked(folder / name) as source, vhdxreader.open(source) as disk:
        assert disk.pread(4 * MB, 0) == IMAGE.expected(0, 4 * MB)
        assert disk.name == str(folder / name)
    assert run(["hash", str(folder / name)]) == 0
    output = capsys.readouterr()
    assert output.out == f"{DIGEST}  {folder / name}\n"
    assert f"was unpacked, which takes {vhdxreader.short_size(len(RAW))}" in output.err
    for command in ("info", "check", "map", "log", "dump", "partitions", "measure"):
        assert run([command, str(folder / name)]) in (0, 3), command


def piped(data, *arguments):
    command = [sys.executable, "-m", "vhdxreader", *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=False)


@pytest.mark.parametrize("data", [RAW, PACKED["disk.vhdx.gz"], PACKED["disk.vhdx.xz"]])
def test_standard_input(data):
    done = piped(data, "hash", "-")
    assert (done.returncode, done.stdout.decode().splitlines()) == (0, [f"{DIGEST}  -"])
    assert b"temporary space" in done.stderr


def test_a_file_on_standard_input_is_read_where_it_is(tmp_path):
    path = IMAGE.save(tmp_path / "disk.vhdx")
    command = [sys.executable, "-m", "vhdxreader", "hash", "-"]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode().splitlines(), done.stderr) == (0, [f"{DIGEST}  -"], b"")


def test_other_files_are_not_unpacked(tmp_path):
    path = IMAGE.save(tmp_path / "disk.gz")
    assert not is_packed(path)
    assert not is_packed(tmp_path / "none.gz")
    assert run(["info", str(path)]) == 0


@pytest.mark.parametrize("name", PACKED)
def test_no_more_space_than_is_allowed(folder, name, capsys):
    with pytest.raises(VhdxError, match="more than 1048576 bytes when it is unpacked"):
        open_unpacked(folder / name, max_size=MB)
    assert run(["info", str(folder / name), "--max-temp", "1M"]) == 1
    assert "which is the limit" in capsys.readouterr().err


def test_no_stream_behind_much_padding_is_lost(tmp_path):
    path = tmp_path / "padded.vhdx.xz"
    path.write_bytes(lzma.compress(RAW[:MB]) + bytes(3 * MB) + lzma.compress(RAW[MB:]) + bytes(4))
    with open_unpacked(path) as source:
        assert source.read_at(0, source.size) == RAW


def test_a_bomb_ends_at_the_limit(tmp_path):
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=9) as file:
        for _ in range(64):
            file.write(bytes(MB))
    seen = []
    with pytest.raises(VhdxError, match="which is the limit"):
        open_unpacked(bomb, max_size=8 * MB, progress=seen.append)
    assert max(seen) <= 8 * MB


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_damaged_archives(folder, name, harm):
    data = bytearray(PACKED[name])
    if harm == "cut":
        del data[len(data) * 2 // 3 :]
    else:
        data[len(data) // 2] ^= 0x55
    (folder / name).write_bytes(data)
    with pytest.raises(VhdxError, match="cannot be unpacked"):
        open_unpacked(folder / name)


def test_zips_that_hold_no_one_image(tmp_path):
    for members in ({}, {"a": b"1", "b": b"2"}):
        path = tmp_path / "some.zip"
        path.write_bytes(zipped(**members))
        with pytest.raises(UnsupportedImageError, match=f"has {len(members)} files in it"):
            open_unpacked(path)


def test_an_xz_that_wants_much_memory_is_refused(tmp_path):
    path = tmp_path / "greedy.xz"
    data = bytearray(PACKED["disk.vhdx.xz"])
    data[data.index(b"\x21\x01", 12) + 2] = 40  # the properties of LZMA2: a dictionary of 4 GiB
    end = 12 + (data[12] + 1) * 4 - 4  # of the block header, which has its own checksum
    data[end : end + 4] = zlib.crc32(data[12:end]).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(VhdxError, match=r"[Mm]emory"):
        open_unpacked(path)


def test_the_archive_is_never_overwritten(folder, capsys):
    archive = folder / "disk.vhdx.gz"
    assert run(["convert", str(archive), str(archive), "--force"]) == 1
    assert run(["report", str(archive), str(archive), "--force"]) == 1
    assert archive.read_bytes() == PACKED["disk.vhdx.gz"]
    assert capsys.readouterr().err.count("is the image itself, or one that it needs") == 2


def test_a_stream_that_is_borrowed_stays_open():
    stream = io.BytesIO(PACKED["disk.vhdx.gz"])
    with open_unpacked(stream) as source:
        assert source.read_at(0, 8) == b"vhdxfile"
    assert not stream.closed


def test_nothing_is_left(folder, monkeypatch):
    temporary = folder / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with open_unpacked(folder / "disk.ZIP"):
        assert os.listdir(temporary) == [] or os.name == "nt"  # which gives it a name until it is closed
    assert os.listdir(temporary) == []
    with pytest.raises(VhdxError):
        open_unpacked(folder / "disk.ZIP", max_size=1)
    assert not before or len(os.listdir("/proc/self/fd")) == before
