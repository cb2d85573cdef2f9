"""The whole virtual disk, byte by byte, as other readers give it: qemu-img first, 7-Zip and libvhdi where qemu cannot.

Where one of them is wrong is known (format.md, section 11); there the builder's model decides, and nobody is asked.
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from itertools import pairwise

import builder
import pytest
from builder import GB, KB, MB, full, pattern, zeroed
from running import running

import vhdxreader
from vhdxreader import Kind

PIECE = 4 * MB
EDGE = 64 * KB


def compare_with_raw(image, raw):
    """Hold every byte of the disk against a raw file; where both say by their maps that there is nothing, the edges."""
    with vhdxreader.open(image) as disk, raw.open("rb", buffering=0) as other:
        assert os.fstat(other.fileno()).st_size == disk.size
        at = 0
        while at < disk.size:
            data = next_data(other.fileno(), at, disk.size)
            for extent in disk.extents(offset=at, length=data - at):
                compare(disk, None, extent.disk_offset, extent.length, edges=extent.kind is not Kind.DATA)
            at = os.lseek(other.fileno(), data, os.SEEK_HOLE) if data < disk.size else data
            compare(disk, other, data, at - data)


def next_data(fd, at, end):
    """Where a sparse file goes on after a hole."""
    try:
        return os.lseek(fd, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return end


def compare(disk, other, offset, length, edges=False):
    """Hold a range of the disk against another file, or against zeros; all of it, or its edges."""
    mine, theirs = bytearray(PIECE), bytearray(PIECE)
    end = offset + length
    for at in (offset, max(end - EDGE, offset)) if edges else range(offset, end, PIECE):
        count = min(EDGE if edges else PIECE, end - at)
        assert disk.preadinto(memoryview(mine)[:count], at) == count
        if other is not None:
            other.seek(at)
            assert other.readinto(memoryview(theirs)[:count]) == count
        assert same(mine, theirs, count), f"the disks differ in the {count} bytes at {at}"


def same(mine, theirs, count):
    return mine == theirs if count == PIECE else mine[:count] == theirs[:count]


def compare_with_stream(image, read):
    """Against what comes out of `read(buffer)`, from the first to the last byte."""
    mine, theirs = bytearray(PIECE), bytearray(PIECE)
    with vhdxreader.open(image) as disk:
        for at in range(0, disk.size, PIECE):
            count = disk.readinto(mine)
            assert count == min(PIECE, disk.size - at)
            assert read(memoryview(theirs)[:count]) == count, f"the other disk ends in the {PIECE} bytes at {at}"
            assert same(mine, theirs, count), f"the disks differ in the {PIECE} bytes at {at}"
    assert read(memoryview(bytearray(1))) == 0, "the other disk goes on"


def make_raw(path, size):
    """A sparse raw disk: data at its start and end, around most boundaries of blocks and chunks, and holes."""
    places = {0, 5 * MB + 512, 256 * MB - 70_000, 4 * GB - MB, size // 2 // 512 * 512, size - 66_048}
    with path.open("wb") as raw:
        raw.truncate(size)
        for at in sorted(place for place in places if 0 <= place < size):
            os.pwrite(raw.fileno(), pattern(f"at {at}", 140_000)[: size - at], at)
    return path


# ---- real images


@pytest.mark.corpus
@pytest.mark.witness
@pytest.mark.parametrize("name", ["swap.vhdx", "iotest-dynamic-1G.vhdx"])
def test_real_images(name, corpus, qemu, tmp_path):
    compare_with_raw(corpus / name, qemu.to_raw(corpus / name, tmp_path / "raw"))


@pytest.mark.corpus
def test_sum_of_a_real_image(corpus):
    """The one that several readers agreed on."""
    with vhdxreader.open(corpus / "iotest-dynamic-1G.vhdx") as disk:
        digest = hashlib.file_digest(disk, "sha256").hexdigest()
    assert digest == "d3d112d8dab7fd360609f7d5a7b769904b7a2a7d7b6b8c535f65a23293c05478"


# ---- what qemu makes

SIZES = {1: (96 * MB, 95 * MB + 512), 2: (96 * MB, 95 * MB + 512), 32: (320 * MB, 300 * MB + 1536)}
SIZES[256] = (512 * MB, 300 * MB + 512)


@pytest.mark.witness
@pytest.mark.parametrize("aligned", [True, False], ids=["whole blocks", "partial last block"])
@pytest.mark.parametrize("megabytes", SIZES)
@pytest.mark.parametrize("subformat", ["fixed", "dynamic"])
def test_images_by_qemu(subformat, megabytes, aligned, qemu, tmp_path):
    size = SIZES[megabytes][0 if aligned else 1]
    assert (size % (megabytes * MB) == 0) == aligned
    raw = make_raw(tmp_path / "raw", size)
    image = qemu.to_vhdx(raw, tmp_path / "disk.vhdx", subformat, megabytes * MB)
    with vhdxreader.open(image) as disk:
        assert (disk.size, disk.image.geometry.block_size) == (size, megabytes * MB)
        assert disk.image.metadata.disk_type == subformat
    compare_with_raw(image, raw)
    # Then blocks are written in another order than they have on the disk, across boundaries, up to the last sector.
    writes = [(0x5A, size - 512, 512), (0xA5, 64 * MB - 1024, 2048), (0x11, 31 * MB + 512, 2 * MB), (0x77, 0, 512)]
    qemu.write(image, *writes)
    with raw.open("r+b") as out:
        for value, at, length in writes:
            out.seek(at)
            out.write(bytes([value]) * length)
    compare_with_raw(image, raw)
    compare_with_raw(image, qemu.to_raw(image, tmp_path / "raw again"))


@pytest.mark.witness
@pytest.mark.parametrize("megabytes", [1, 256])
def test_more_than_one_chunk_by_qemu(megabytes, qemu, tmp_path):
    """4 GiB are a chunk, whatever the block size."""
    raw = make_raw(tmp_path / "raw", 4 * GB + 300 * MB + 512)
    image = qemu.to_vhdx(raw, tmp_path / "disk.vhdx", "dynamic", megabytes * MB)
    qemu.write(image, (0x33, 4 * GB - 4096, 8192), (0x44, 4 * GB + 300 * MB, 512))
    compare_with_raw(image, qemu.to_raw(image, tmp_path / "raw again"))


# ---- images of the builder: three agree, the model, the witness and the reader


def scattered(kind, size, block_size, sector_size=512):
    """Blocks of several states at the start, around the end of the first chunk, and at the end of the disk."""
    ratio = (1 << 23) * sector_size // block_size
    last = -(-size // block_size) - 1
    used = (0, 2, ratio - 1, ratio, last - 1)
    data = {n: full({0: f"block {n}".encode() * 100, block_size - 512: b"x"}) for n in used}
    blocks = {**data, 1: zeroed(), last: full({0: pattern("last", 2048)})}
    blocks = {n: block for n, block in blocks.items() if n <= last}
    return builder.build(builder.Spec(kind, size, block_size, sector_size, blocks=blocks))


def agrees_with_model(image, path):
    """Around the places where there is data, and where zeros begin and end."""
    with vhdxreader.open(path) as disk:
        edges = {extent.disk_offset for extent in disk.extents()} | {disk.size}
        for edge in edges:
            at = max(edge - 70 * KB, 0)
            assert disk.pread(140 * KB, at) == image.expected(at, 140 * KB)


@pytest.mark.witness
@pytest.mark.parametrize(
    ("kind", "size", "block_size"),
    [
        ("dynamic", 20 * MB + 512, MB),
        ("fixed", 20 * MB + 512, MB),
        ("dynamic", 4 * GB + 64 * MB + 512, 32 * MB),
    ],
)
def test_qemu_reads_the_builders_images(kind, size, block_size, qemu, tmp_path):
    image = scattered(kind, size, block_size)
    path = image.save(tmp_path / "disk.vhdx")
    agrees_with_model(image, path)
    compare_with_raw(path, qemu.to_raw(path, tmp_path / "raw"))


@pytest.mark.witness
@pytest.mark.parametrize(
    ("kind", "size", "block_size", "sector_size"),
    [
        ("dynamic", 200 * MB + 8192, 32 * MB, 4096),
        ("fixed", 100 * MB + 8192, MB, 4096),
        pytest.param("fixed", 4 * GB + MB + 1024, 256 * MB, 512, marks=pytest.mark.slow),
    ],
)
def test_seven_zip_reads_what_qemu_cannot(kind, size, block_size, sector_size, witness, tmp_path):
    """4096-byte sectors, and a fixed disk over 4 GiB with a partial last block; all with an even number of sectors."""
    image = scattered(kind, size, block_size, sector_size)
    path = image.save(tmp_path / "disk.vhdx")
    agrees_with_model(image, path)
    with running([witness("7zz"), "e", "-so", str(path)], stdout=subprocess.PIPE) as program:
        compare_with_stream(path, program.stdout.readinto)
    assert program.returncode == 0


@pytest.mark.witness
@pytest.mark.parametrize(("kind", "sector_size"), [("dynamic", 4096), ("fixed", 4096), ("fixed", 512)])
def test_libvhdi_reads_what_it_can(kind, sector_size, tmp_path):
    """4096-byte sectors; fixed disks up to 4 GiB."""
    pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi's Python binding is not installed")
    image = scattered(kind, 100 * MB + 4096, 2 * MB, sector_size)
    path = image.save(tmp_path / "disk.vhdx")
    agrees_with_model(image, path)
    other = pyvhdi.file()
    other.open(str(path))

    def read(buffer):
        data = other.read_buffer(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    compare_with_stream(path, read)
    other.close()


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
@pytest.mark.parametrize("sector_size", [512, 4096])
def test_the_model_decides(kind, sector_size, tmp_path):
    """More than one chunk, a partial last block, both sector sizes: what no single witness reads in all cases."""
    block_size = 256 * MB
    size = 4 * GB * sector_size // 512 + 300 * MB + 4096
    image = scattered(kind, size, block_size, sector_size)
    path = image.save(tmp_path / "disk.vhdx")
    agrees_with_model(image, path)
    with vhdxreader.open(path) as disk:
        extents = list(disk.extents())
    assert extents[0].disk_offset == 0
    assert extents[-1].disk_offset + extents[-1].length == size
    assert all(a.disk_offset + a.length == b.disk_offset for a, b in pairwise(extents))
    data = {
        at // block_size
        for e in extents
        if e.kind is Kind.DATA
        for at in range(e.disk_offset, e.disk_offset + e.length, MB)
    }
    assert data == {n for n in range(-(-size // block_size)) if image.spec.block(n).state == 6}
