"""`skeleton`: the beginning of an image without its payload, and what the other commands make of it."""

from __future__ import annotations

import json
import uuid

import pytest
from builder import KB, MB, TB, Region, differencing, dynamic, full, partial
from grammar_tools import BUILT

import vhdxreader
from vhdxreader.cli.app import run

UNKNOWN = uuid.UUID("00000000-1111-2222-3333-444444444444")
BLOCKS = {0: full(b"first"), 2: full(b"third")}


def make(image, tmp_path, *options, code=0):
    """The image's path, and that of its skeleton."""
    path, out = image.save(tmp_path / "disk.vhdx"), tmp_path / "skeleton.vhdx"
    assert run(["skeleton", str(path), str(out), *options]) == code
    return path, out


@pytest.mark.parametrize(
    ("last", "more"),
    [
        ("bat", {}),
        ("metadata", {"order": ("log", "bat", "metadata", "junk", "blocks")}),
        ("log", {"order": ("metadata", "bat", "log", "junk", "blocks")}),
        ("bat", {"order": ("log", "metadata", "junk", "blocks", "bat")}),
        ("mine", {"extra_regions": [Region("mine", UNKNOWN, 2 * MB)]}),
    ],
)
def test_it_ends_with_the_last_structure_that_is_no_payload(last, more, tmp_path, capsys):
    image = dynamic(4 * MB, BLOCKS, **more)
    _, out = make(image, tmp_path)
    end = image.region_offset[last] + image.region_length[last]
    assert out.read_bytes() == image.file.read(0, end)
    assert capsys.readouterr().out.startswith(f"{end // MB} MiB ({end} bytes), up to the end of the ")


def test_sector_bitmap_blocks_on_request(tmp_path):
    blocks = {0: full(), 1: partial([3]), 2: full()}
    order = [("block", 0), ("bitmap", 0), ("block", 2), ("block", 1)]
    image = differencing(4 * MB, blocks, parent=dynamic(4 * MB), block_order=order)
    _, out = make(image, tmp_path)
    assert out.stat().st_size == image.bat_offset + MB
    _, out = make(image, tmp_path, "--bitmaps", "--force")
    assert out.read_bytes() == image.file.read(0, image.bitmap_offset[0] + MB)
    assert {finding.rule for finding in vhdxreader.check(out, parents=None).findings} == {"file.skeleton"}


@pytest.mark.parametrize("name", ["every_state", "child", "dirty_log", "broken_header", "junk_tables"])
def test_everything_but_the_payload_is_shown_as_before(name, tmp_path, capsys):
    path, out = make(BUILT[name](), tmp_path)
    capsys.readouterr()
    for section in ("header", "region", "metadata", "locator", "log"):
        shown = []
        for file in (path, out):
            assert run(["dump", str(file), section]) == 0
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1]


def test_info_and_dump_say_once_that_the_payload_is_not_there(tmp_path, capsys):
    path, out = make(dynamic(4 * MB, BLOCKS), tmp_path)
    sentence = "not there: the file ends with its last structure"
    capsys.readouterr()
    for arguments in (["info"], ["dump"]):
        assert run([*arguments, str(out)]) == 0
        assert capsys.readouterr().out.count(sentence) == 1
        assert run([*arguments, str(path)]) == 0
        assert sentence not in capsys.readouterr().out
    for file, lacks in ((out, True), (path, False)):
        run(["info", "--json", str(file)])
        assert json.loads(capsys.readouterr().out)["lacks_payload"] is lacks


@pytest.mark.parametrize("name", ["every_state", "child", "many_chunks", "fixed_4k"])
def test_check_says_once_that_the_payload_is_not_there(name, tmp_path):
    path, out = make(BUILT[name](), tmp_path)
    before, after = (vhdxreader.check(file, parents=None) for file in (path, out))
    new = [finding for finding in after.findings if finding.rule not in before.counts]
    assert [finding.rule for finding in new] == ["file.skeleton"]
    assert f"{after.allocated_blocks + after.bitmap_blocks} blocks" in new[0].message
    assert (after.virtual_size, after.allocated_blocks) == (before.virtual_size, before.allocated_blocks)
    with vhdxreader.open(out, parents=None) as disk, pytest.raises(vhdxreader.TruncatedImageError):
        disk.pread(512, 0)


def test_an_image_without_payload_is_its_own_skeleton(tmp_path):
    path, out = make(dynamic(64 * TB, block_size=32 * MB), tmp_path)
    assert out.stat().st_size == path.stat().st_size
    for file in (path, out):
        assert vhdxreader.check(file, parents=None).findings == ()
        assert run(["info", str(file)]) == 0


def test_a_dirty_image(tmp_path, capsys):
    path, out = make(BUILT["dirty_log"](), tmp_path)
    assert out.stat().st_size < path.stat().st_size
    assert run(["info", str(out)]) == 0
    assert capsys.readouterr().out.count("Payload") == 1
    assert run(["info", str(out), "--log", "ignore"]) == 0
    assert "not there: the file ends with its last structure" in capsys.readouterr().out
    shown = []
    for file in (path, out):
        assert run(["log", str(file), "--json"]) == 0
        shown.append(json.loads(capsys.readouterr().out)["entries"])
    assert shown[0] == shown[1]
    assert "log.flushed_file_offset" in {finding.rule for finding in vhdxreader.check(out, parents=None).findings}


def test_more_than_is_wanted_is_not_written(tmp_path, capsys):
    _, out = make(BUILT["largest"](), tmp_path, "--max-size", "16M", code=1)
    assert not out.exists()
    words = capsys.readouterr().err
    assert "its last structure, the BAT region, has 20 MiB (20971520 bytes): more than --max-size" in words


def test_what_is_there_is_not_overwritten(tmp_path):
    path, out = make(dynamic(4 * MB, BLOCKS), tmp_path)
    before = path.read_bytes()
    assert run(["skeleton", str(path), str(out)]) == 1
    assert run(["skeleton", str(path), str(out), "--force"]) == 0
    assert run(["skeleton", str(path), str(path), "--force"]) == 1
    assert path.read_bytes() == before


def test_damaged_and_foreign_files(tmp_path):
    _, out = make(BUILT["truncated"](), tmp_path)
    assert out.stat().st_size == 200 * KB
    path = tmp_path / "other"
    path.write_bytes(bytes(MB))
    assert run(["skeleton", str(path), str(tmp_path / "none")]) == 1
    assert not (tmp_path / "none").exists()
