"""Dirty images that were cut short: what the real file lacks and no update of the log writes is never zeros."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise

import pytest
from builder import KB, MB, Data, Image, Zero, differencing, dirty, dynamic, full, hide, partial, pattern
from builder.model import MustFail

import vhdxreader
from vhdxreader import Kind, Severity, TruncatedImageError, VhdxError
from vhdxreader.cli.app import run

WHOLE = "759cc6aaf5af4887c977d8b0638e3f6567dea807a0b1b0cc7310bcaec36ed2fc"
DISK = 40 * MB
FIRST = 4 * MB  # where the disk's first block lies in the file; the second follows

# Length of the file, what is left of the disk, findings of check that a whole file does not have.
CUTS = [
    (FIRST, 0, {"log.file_short", "file.skeleton"}),
    (30_000_000, 30_000_000 - FIRST, {"log.file_short", "file.size", "payload.past_end"}),
    (36 * MB, 32 * MB, {"log.file_short", "payload.past_end"}),
    (44 * MB - 1, DISK - 1, {"log.file_short", "file.size", "payload.past_end"}),
    (71_303_167, DISK, {"log.file_short", "file.size", "file.cut_short", "payload.short_last"}),
]


@pytest.fixture(params=CUTS, ids=lambda cut: str(cut[0]))
def cut(request, corpus, tmp_path):
    """An image that Windows wrote, with FlushedFileOffset 4 MiB and LastFileOffset 68 MiB, cut short."""
    length, good, rules = request.param
    path = tmp_path / "cut.vhdx"
    path.write_bytes((corpus / "small_ntfs_test.vhdx").read_bytes()[:length])
    return path, good, rules


@pytest.mark.corpus
def test_windows_image_reads_what_is_there(cut, corpus):
    path, good, _ = cut
    with vhdxreader.open(corpus / "small_ntfs_test.vhdx") as disk:
        whole = disk.read()
    assert hashlib.sha256(whole).hexdigest() == WHOLE
    with vhdxreader.open(path) as disk:
        assert disk.pread(good, 0) == whole[:good]
        assert [(e.disk_offset, e.kind) for e in disk.extents() if e.kind is not Kind.DATA][:1] == (
            [(good, Kind.ERROR)] if good < DISK else []
        )
        for offset in range(good, DISK, 1 + DISK // 7):
            with pytest.raises(TruncatedImageError, match="Windows") as caught:
                disk.pread(1, offset)
            assert caught.value.rule == "payload.past_end"
            assert caught.value.file_offset == FIRST + offset
    with vhdxreader.open(path, errors="zero") as disk:
        assert disk.read() == whole[:good].ljust(DISK, b"\0")
        assert [(lost.disk_offset, lost.end) for lost in disk.lost] == ([(good, DISK)] if good < DISK else [])


@pytest.mark.corpus
def test_windows_image_in_the_commands(cut, tmp_path, capsys):
    path, good, rules = cut
    code = 2 if good < DISK else 3
    assert run(["check", "--json", str(path)]) == code
    found = {finding["rule"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert found == {"log.replayed", *rules}
    assert run(["map", str(path)]) == (2 if good < DISK else 0)
    assert run(["convert", str(path), str(tmp_path / "disk.raw")]) == (2 if good < DISK else 0)
    assert (tmp_path / "disk.raw").exists() == (good == DISK)


# ---- images of the builder, cut anywhere

SIZE = 6 * MB
PARENT = dynamic(SIZE, blocks={1: full(), 4: full()}, name="parent")
BLOCKS = {0: full(), 2: full(), 5: partial([0, 3, 2000])}


def base(*order: str) -> Image:
    return differencing(SIZE, BLOCKS, parent=PARENT, order=order)


def grown(*order: str) -> Image:
    """A dirty image: its log has metadata, BAT, some of the payload and zeros; its head says that 1 MiB was flushed."""
    image = base(*order)
    hidden = [(image.bat_offset, 4 * KB), (image.metadata_offset, 68 * KB), (image.block_offset[0] + 64 * KB, 8 * KB)]
    stale, updates = hide(image, *hidden)
    updates = [Zero(image.metadata_offset, 68 * KB), *updates]
    more = [Data(image.block_offset[2] + 512 * KB, pattern("new", 4 * KB)), Zero(image.block_offset[5], 8 * KB)]
    wet = dirty(stale, [*updates, *more])
    at = wet.log_offset + wet.spec.log.entries[0][0]
    return wet.patch(at + 48, (MB).to_bytes(8, "little")).fix_checksums("log[0]")


ORDERS = [
    ("log", "metadata", "bat", "blocks"),
    ("log", "metadata", "blocks", "bat"),
    ("log", "bat", "blocks", "metadata"),
    ("log", "blocks", "bat", "metadata"),
]


def lengths(image: Image) -> list[int]:
    """Every megabyte behind the log, and places around every page that the log writes."""
    end = image.file.length
    every = set(range(2 * MB, end, MB)) | {length + 512 * KB + 700 for length in range(2 * MB, end, MB)}
    for update in image.spec.log.entries[0][1].descriptors:
        every |= {update.offset - 5, update.offset, update.offset + 4096 + 1, update.offset + 128 * KB}
    return sorted(length for length in every if 2 * MB <= length <= end)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_cut_anywhere_each_byte_is_right_or_an_error(order):
    image = grown(*order)
    opened = 0
    for length in lengths(image):
        cut = image.copy().truncate(length)
        model = cut.replayed()
        try:
            model.reread(0, 0)
        except (MustFail, ValueError):
            with pytest.raises(VhdxError):
                vhdxreader.open(cut.open(), parent=PARENT.open())
            continue
        with vhdxreader.open(cut.open(), parent=PARENT.open()) as disk:
            agree(disk, model)
        opened += 1
    assert opened > 3


def agree(disk: vhdxreader.VirtualDisk, model: Image) -> None:
    """Each piece of 16 KiB is as the model has it, or fails where the model must."""
    for offset in range(0, SIZE, 16 * KB):
        try:
            wanted = model.reread(offset, 16 * KB)
        except MustFail:
            with pytest.raises(VhdxError):
                disk.pread(16 * KB, offset)
        else:
            assert disk.pread(16 * KB, offset) == wanted, offset
    ends = [0, *(extent.disk_offset + extent.length for extent in disk.extents())]
    assert all(one < other for one, other in pairwise(ends))
    assert ends[-1] == SIZE


def test_entries_of_the_bat_that_the_log_does_not_write_are_lost():
    """Its first page is in the log, and the file ends before it: all other entries are gone, and are no zeros."""
    big = dynamic(2 << 30, {0: full(), 600: full(), 1500: full()}, order=("log", "metadata", "blocks", "bat"))
    stale, updates = hide(big, (big.bat_offset, 4 * KB))
    cut = dirty(stale, updates).truncate(big.bat_offset)
    wet = cut.patch(cut.log_offset + 48, bytes(8)).fix_checksums("log[0]")
    with vhdxreader.open(wet.open()) as disk:
        assert disk.pread(MB, 0) == big.expected(0, MB)
        assert disk.pread(MB, 511 * MB) == bytes(MB)
        with pytest.raises(TruncatedImageError) as caught:
            disk.pread(1, 512 * MB)
        assert (caught.value.rule, caught.value.file_offset) == ("region.past_end", big.bat_offset + 4 * KB)
    with vhdxreader.open(wet.open(), errors="zero") as disk:
        disk.pread(MB, 600 * MB)
        disk.pread(MB, 100 * MB)
        assert [(lost.disk_offset, lost.length, lost.rule) for lost in disk.lost] == [(600 * MB, MB, "region.past_end")]
    assert {"region.past_end", "log.file_short"} <= set(vhdxreader.check(wet.open()).counts)


def test_sector_bitmap_that_the_file_lacks():
    image = differencing(SIZE, {1: partial([0, 9])}, parent=PARENT, block_order=[("block", 1), ("bitmap", 0)])
    stale, updates = hide(image, (image.bat_offset, 4 * KB))
    wet = dirty(stale, updates).truncate(image.bitmap_offset[0])
    wet.patch(wet.log_offset + 48, bytes(8)).fix_checksums("log[0]")
    with vhdxreader.open(wet.open(), parent=PARENT.open()) as disk:
        with pytest.raises(TruncatedImageError) as caught:
            disk.pread(1, MB)
        assert caught.value.rule == "bitmap.past_end"
        assert disk.pread(MB, 4 * MB) == PARENT.expected(4 * MB, MB)
    assert vhdxreader.check(wet.open()).counts["bitmap.past_end"] == 1


def test_skeleton_of_a_dirty_image(tmp_path, capsys):
    image = grown("log", "metadata", "bat", "blocks")
    path, out = image.save(tmp_path / "disk.vhdx"), tmp_path / "skeleton.vhdx"
    assert run(["skeleton", str(path), str(out)]) == 0
    report = vhdxreader.check(out)
    assert {f.rule for f in report.findings if f.severity is Severity.ERROR} == {"file.skeleton", "parent.not_found"}
    with vhdxreader.open(out, parent=PARENT.open()) as disk, pytest.raises(TruncatedImageError):
        disk.pread(1, 0)
    capsys.readouterr()
    assert run(["info", "--json", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["lacks_payload"]
