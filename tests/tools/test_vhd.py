"""Fixed VHDs: their size must be the same to every reader, whatever it goes by."""

from __future__ import annotations

import io
import json
import subprocess
import uuid

import pytest
from builder import GB, MB, dynamic, full

import vhdxreader
from vhdxreader.tools.vhd import MAX_SIZE, geometry, padded_size, vhd_footer

# Sizes that cylinders, heads and sectors cannot say, and the largest that a VHD has.
SIZES = [MB, MB + 3 * 512, 100 * MB, 40 * MB + 512, GB, 127 * GB, 127 * GB + MB, 2039 * GB, MAX_SIZE, 7 * 512]


def test_the_footer_by_the_specification():
    footer = vhd_footer(100 * MB, unique_id=uuid.UUID(int=0x0102), created=946_684_800 + 5)
    assert len(footer) == 512
    assert footer[:8] == b"conectix"
    assert footer[8:24] == bytes.fromhex("00000002 00010000 ffffffffffffffff")
    assert footer[24:28] == (5).to_bytes(4, "big")
    assert footer[40:48] == footer[48:56] == (100 * MB).to_bytes(8, "big")
    assert footer[60:64] == (2).to_bytes(4, "big")
    assert footer[68:84] == uuid.UUID(int=0x0102).bytes
    assert not any(footer[84:])
    assert int.from_bytes(footer[64:68], "big") == ~(sum(footer) - sum(footer[64:68])) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("size", "chs"),  # computed by hand from the specification's appendix
    [
        (100 * MB, (1003, 12, 17)),
        (504 * MB, (1024, 16, 63)),
        (MAX_SIZE, (65535, 16, 255)),
        (127 * GB, (65278, 16, 255)),
    ],
)
def test_geometry(size, chs):
    assert geometry(size // 512) == chs


@pytest.mark.witness
@pytest.mark.parametrize("size", SIZES)
def test_every_reader_sees_the_exact_size(size, tmp_path, witness):
    path = tmp_path / "disk.vhd"
    with open(path, "wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(vhd_footer(size))
    command = [witness("qemu-img"), "info", "--output=json", "-f", "vpc", path]
    shown = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(shown.stdout)["virtual-size"] == size
    pyvhdi = pytest.importorskip("pyvhdi")
    opened = pyvhdi.file()
    opened.open(str(path))
    assert opened.get_media_size() == size
    opened.close()


@pytest.mark.witness
@pytest.mark.parametrize("exact", [False, True])
def test_a_disk_as_a_vhd(exact, tmp_path, witness):
    size = 5 * MB + 512 * 3
    image = dynamic(size, {0: full(), 2: full(), 5: full()})
    target = tmp_path / "disk.vhd"
    with vhdxreader.open(image.open()) as disk:
        vhdxreader.convert(disk, target, format="vhd", exact=exact)
        stream = io.BytesIO()
        vhdxreader.convert(disk, stream, format="vhd", exact=exact)
    padded = size if exact else 6 * MB
    want = image.expected() + bytes(padded - size)
    assert target.read_bytes()[:-512] == want
    assert stream.getvalue()[:-512] == want
    (tmp_path / "disk.raw").write_bytes(want)
    command = [witness("qemu-img"), "compare", "-f", "vpc", "-F", "raw", target, tmp_path / "disk.raw"]
    assert "identical" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_padding_and_the_largest():
    assert padded_size(1) == MB
    assert padded_size(513, exact=True) == 1024
    assert padded_size(0) == 0
    with pytest.raises(OverflowError, match="2,040 GiB"):
        vhd_footer(MAX_SIZE + 512)
    with vhdxreader.open(dynamic(MAX_SIZE + MB).open()) as disk, pytest.raises(OverflowError):
        vhdxreader.convert(disk, io.BytesIO(), format="vhd")
