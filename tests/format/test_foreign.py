"""Files that are no VHDX: each is named, with what can be done; made by the programs that make them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import zipfile
from pathlib import Path

import pytest
from builder import KB, MB, dynamic, full

import vhdxreader
from vhdxreader.cli.app import run

IMAGE = dynamic(4 * MB, blocks={0: full()})
PAGE = b"<!DOCTYPE html>\n<html><title>404 Not Found</title></html>"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"

CONTENT = {
    "empty": (b"", "copy or download it again"),
    "gzip": (gzip.compress(b"vhdxfile"), "gzip -d"),
    "bzip2": (bz2.compress(b"vhdxfile"), "bzip2 -d"),
    "xz": (lzma.compress(b"vhdxfile"), "xz -d"),
    "Git LFS pointer": (POINTER, "git lfs pull"),
    "web page": (PAGE, "download again"),
    "text with markup": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "download again"),
    "VMRS": (bytes.fromhex("14202801") + bytes(8 * KB), "files of their own"),
    "VDI": (
        b"<<< Oracle VM VirtualBox Disk Image >>>\n".ljust(64, b"\0") + b"\x7f\x10\xda\xbe" + bytes(512),
        "qemu-img",
    ),
    "zeros": (bytes(MB), "never finished"),
    "raw disk image": (bytes(510) + b"\x55\xaa" + bytes(MB), "needs no reader"),
}


def message(path: Path) -> str:
    with pytest.raises(vhdxreader.NotVhdxError) as caught:
        vhdxreader.open(path)
    assert caught.value.rule == "identifier.signature"
    report = vhdxreader.check(path)
    assert [finding.message for finding in report.findings] == [caught.value.message]
    return caught.value.message


@pytest.mark.parametrize("kind", CONTENT)
def test_named_by_its_content(kind, tmp_path, capsys):
    content, advice = CONTENT[kind]
    path = tmp_path / "disk.vhdx"
    path.write_bytes(content)
    assert kind in message(path).partition("it is ")[2]
    for command in ("cat", "info", "map", "log", "dump", "check"):
        assert run([command, str(path)]) == 1
        output = capsys.readouterr()
        assert advice in output.err + output.out


@pytest.mark.witness
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vpc", "subformat=fixed", "fixed VHD"),
        ("vpc", "subformat=dynamic", "dynamic VHD"),
        ("vmdk", "subformat=monolithicSparse", "VMDK"),
        ("vmdk", "subformat=monolithicFlat", "VMDK"),
        ("qcow2", "compat=1.1", "QCOW2"),
        ("vdi", "static=off", "VDI"),
    ],
)
def test_other_formats_of_qemu(name, options, words, tmp_path, witness):
    """The advice is one that works."""
    path, raw = tmp_path / "disk.vhdx", tmp_path / "raw"
    tool = witness("qemu-img")
    subprocess.run([tool, "create", "-q", "-f", name, "-o", options, path, "4M"], check=True)
    said = message(path)
    assert words in said
    command = said[said.index("qemu-img convert") :].rstrip(")").split()
    subprocess.run([tool, *command[1:], path, raw], check=True)
    assert raw.stat().st_size >= 4 * MB


def test_a_zip_archive(tmp_path):
    path = tmp_path / "disk.vhdx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("disk.vhdx", b"vhdxfile")
    assert "a zip archive" in message(path)


def test_what_is_not_known_gets_no_guess(tmp_path):
    path = tmp_path / "disk.vhdx"
    path.write_bytes(b"something else" * 1000)
    assert message(path).endswith('does not begin with "vhdxfile"')


@pytest.mark.parametrize("found", [bytes(64 * KB), b"X" * 8, gzip.compress(b"")])
def test_overwritten_beginning_is_a_corrupt_image(found, tmp_path, capsys):
    path = str(IMAGE.copy().patch(0, found).save(tmp_path / "disk.vhdx"))
    with pytest.raises(vhdxreader.CorruptImageError, match="valid headers follow"):
        vhdxreader.open(path)
    assert run(["cat", path]) == run(["check", path]) == 2
    assert "identifier.damaged" in capsys.readouterr().out
